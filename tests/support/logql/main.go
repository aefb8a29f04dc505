// Runs queries in LogQL over lines of leadrouterd by the engine of Loki itself.
// Usage: logql LABELS QUERY... <LINES
// LINES are one stream with LABELS, as {unit="leadrouterd.service"}; a line's time is its field "time", or that of the line before it.
// Lines are asked for of the last hour, sums as of now. One JSON array per query: the lines, oldest first, or objects with labels and
// value.
//
// What this links is under the GNU AGPL 3.0, and so is the program that comes out. It is built on the machine that runs the test, it is not
// passed on, and neither the server nor any client has a part of it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/grafana/dskit/user"
	"github.com/grafana/loki/v3/pkg/logproto"
	"github.com/grafana/loki/v3/pkg/logql"
	"github.com/grafana/loki/v3/pkg/logql/syntax"
	"github.com/grafana/loki/v3/pkg/logqlmodel"
	"github.com/prometheus/prometheus/promql"
)

const linesMax = 5000 // what Loki gives at most, unless it is told otherwise

type sample struct {
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "logql:", err)
		os.Exit(1)
	}
}

func entries() []logproto.Entry {
	var found []logproto.Entry
	var last time.Time
	scanner := bufio.NewScanner(os.Stdin)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line struct{ Time time.Time }
		if json.Unmarshal(scanner.Bytes(), &line) == nil && !line.Time.IsZero() {
			last = line.Time
		}
		found = append(found, logproto.Entry{Timestamp: last, Line: scanner.Text()})
	}
	check(scanner.Err())
	sort.SliceStable(found, func(i, j int) bool { return found[i].Timestamp.Before(found[j].Timestamp) })
	return found
}

// What Grafana asks for: lines by a query over a range of time, sums as of one moment.
func run(engine *logql.QueryEngine, query string, now time.Time) any {
	expression, err := syntax.ParseExpr(query)
	check(err)
	start := now
	if _, sums := expression.(syntax.SampleExpr); !sums {
		start = now.Add(-time.Hour)
	}
	params, err := logql.NewLiteralParams(query, start, now, 0, 0, logproto.FORWARD, linesMax, nil, nil)
	check(err)
	result, err := engine.Query(params).Exec(user.InjectOrgID(context.Background(), "test"))
	check(err)
	switch found := result.Data.(type) {
	case logqlmodel.Streams: // one per set of labels, and what a line says is labels by now
		return lines(found)
	case promql.Vector:
		samples := []sample{}
		for _, one := range found {
			samples = append(samples, sample{one.Metric.Map(), one.F})
		}
		return samples
	}
	check(fmt.Errorf("neither lines nor sums: %T", result.Data))
	return nil
}

func lines(streams logqlmodel.Streams) []string {
	var all []logproto.Entry
	for _, stream := range streams {
		all = append(all, stream.Entries...)
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Timestamp.Before(all[j].Timestamp) })
	texts := []string{}
	for _, entry := range all {
		texts = append(texts, entry.Line)
	}
	return texts
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: logql LABELS QUERY... <LINES")
		os.Exit(2)
	}
	streams := []logproto.Stream{{Labels: os.Args[1], Entries: entries()}}
	engine := logql.NewEngine(logql.EngineOpts{}, logql.NewMockQuerier(0, streams), logql.NoLimits, nil)
	now := time.Now()
	for _, query := range os.Args[2:] {
		check(json.NewEncoder(os.Stdout).Encode(run(engine, query, now)))
	}
}
