"""The files of deploy/datadog are what Datadog's public API takes: by the models of its own client, and by its rules for queries."""
import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from support.fetched_program import pypi_package
from support.postgres import ROOT

DATADOG = ROOT / "deploy" / "datadog"
MODELS = ROOT / "tests" / "monitoring" / "datadog_models.py"
MONITOR = re.compile(r"(avg|sum|min|max|percentile)\(last_(\d+)([mhd])\):(.+) (<|>=?) ([0-9.]+)")
WINDOWS_MAX = {"m": 10080, "h": 168, "d": 1} # longer ones are no windows of monitors, nor is a number of days
QUERY = re.compile(r"(sum|min|max|avg|count|count\(v: v(?:<|<=|>|>=)[0-9.]+\)|p50|p95|p99):([a-z_.]+)"
                   r"\{([^}]*)\}( by \{[a-z_,]+\})?(\.as_(count|rate)\(\))?(\.rollup\(sum, \d+\))?")


def files(kind):
    return sorted((DATADOG / f"{kind}s").glob("*.json"))


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def problems(kind, *paths):
    package = pypi_package("datadog-api-client")
    done = subprocess.run([sys.executable, MODELS, kind, *map(str, paths)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(package)})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["monitor", "dashboard", "slo"])
def test_the_client_of_datadog_understands_them(kind):
    assert len(files(kind)) > 1
    assert problems(kind, *files(kind)) == ""


def test_faults_are_found(tmp_path):
    """A type, a field, a missing query, a source of data, a widget, a comparator that there are not."""
    def plant(kind, name, change):
        content = load(DATADOG / f"{kind}s" / name)
        change(content)
        path = tmp_path / "planted.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return problems(kind, path)

    request = lambda board: board["widgets"][1]["definition"]["requests"][0] # pylint: disable=unnecessary-lambda-assignment
    stale = "LeadrouterStaleLocks.json"
    assert plant("monitor", stale, lambda monitor: None) == ""
    assert plant("monitor", stale, lambda monitor: monitor.update(type="query alarm"))
    assert plant("monitor", stale, lambda monitor: monitor.pop("query"))
    assert plant("monitor", stale, lambda monitor: monitor["options"].update(threshold={}))
    assert plant("monitor", "LeadrouterExpirySummary.json",
                 lambda monitor: monitor["options"]["scheduling_options"]["custom_schedule"]["recurrences"][0].update(hour="09:00"))
    assert plant("dashboard", "routing.json", lambda board: request(board)["queries"][0].update(data_source="metric"))
    assert plant("dashboard", "routing.json", lambda board: request(board)["conditional_formats"][0].update(comparator="above"))
    assert plant("dashboard", "routing.json", lambda board: board["widgets"][0]["definition"].update(type="timeserie"))


def metrics():
    """Names that the agent makes of the server's metrics, as deploy/datadog/openmetrics.d says."""
    settings, = yaml.safe_load((DATADOG / "openmetrics.d" / "conf.yaml").read_text(encoding="utf-8"))["instances"]
    assert settings["namespace"] == "leadrouter" and settings["histogram_buckets_as_distributions"]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE)
    names = {}
    for name, kind in rows:
        base = "leadrouter." + name.removeprefix(settings["raw_metric_prefix"])
        names[base.removesuffix("_total") + ".count" if kind == "counter" else base] = kind
    return names


def check_queries(text, known, where):
    """All metrics in a query exist, and are asked for as their type allows."""
    asked = QUERY.findall(text)
    assert asked, f"{where}: {text}"
    for aggregate, name, scope, *_ in asked:
        assert name == "tls.days_left" or name in known, f"{where}: {name}"
        assert aggregate[0] not in "pc" or known[name] == "histogram", f"{where}: {name}"
        words = set(re.findall(r"\b[A-Z]+\b", scope))
        assert words <= {"IN", "NOT", "AND"}, f"{where}: tags are in lower case"
        assert not words or not re.search(r"[!,]", re.sub(r"\([^)]*\)", "", scope)), f"{where}: signs and words stand together in {scope}"


def test_monitors():
    """Each query is of the form that monitors have, its number is the threshold, and its metrics exist."""
    known = metrics()
    for path in files("monitor"):
        monitor = load(path)
        if monitor["type"] == "service check":
            assert monitor["query"].startswith('"leadrouter.openmetrics.health".over(')
            continue
        match = MONITOR.fullmatch(monitor["query"])
        assert match, monitor["query"]
        assert float(match[6]) == monitor["options"]["thresholds"]["critical"], path.name
        assert int(match[2]) <= WINDOWS_MAX[match[3]], path.name
        check_queries(match[4], known, path.name)
        assert monitor["priority"] in (1, 3, 5) and "Runbook: " in monitor["message"] and "@" in monitor["message"]
        assert "$value" not in monitor["message"] and "$labels" not in monitor["message"]


def test_messages():
    """What people are told: the value, what is expected, what it means, what to do, where to read on; in it nothing that the monitor does
    not know, which would be an empty place."""
    for path in files("monitor"):
        monitor = load(path)
        lines = monitor["message"].split("\n")
        beginnings = ["Value: ", "Expected: ", "Impact: ", "First:", "1. ", "Runbook: https://", "Dashboard: https://"]
        places = [next(n for n, line in enumerate(lines) if line.startswith(beginning)) for beginning in beginnings]
        assert places == sorted(places) and lines[0] and not lines[1], path.name
        groups = re.findall(r"by (?:\{([a-z_,]+)\}|\(([a-z_,\"]+)\))", monitor["query"].replace(".by(", " by ("))
        known = {"value"} | {f"{name}.name" for both in groups for part in both for name in part.replace('"', "").split(",") if name}
        assert set(re.findall(r"{{(.*?)}}", monitor["message"])) <= known, f"{path.name}: {known}"
        assert not re.search(r"{{value}} (of|rows)", lines[0]) or "percentile" not in monitor["query"], f"{path.name}: a time is no share"


def test_halves_of_alerts():
    """Where an alert has two conditions there are two monitors."""
    queries = {path.stem: load(path)["query"] for path in files("monitor")}
    for name, text in (("LeadrouterRetriesDue", "max:leadrouter.retries_due{*} > 100"),
                       ("LeadrouterRetriesDueOfWorkspace", "max:leadrouter.workspace_retries_due{*} by {workspace} > 50"),
                       ("LeadrouterSelfProbe", "leadrouter.self_probe_failures.count{*} by {host}.as_count() > 0"),
                       ("LeadrouterSelfProbeAge", "leadrouter.self_probe_age_seconds{*} by {host} > 15"),
                       ("LeadrouterLatencyHigh", "(last_10m):p95:leadrouter.routing_duration_seconds{*} > 2"),
                       ("LeadrouterLatencyHighP99", "(last_10m):p99:leadrouter.routing_duration_seconds{*} > 5")):
        assert queries[name].endswith(text), name
    for name, beginning, share in (("Fast", "sum(last_1h)", "0.0144"), ("FastOverSixHours", "sum(last_6h)", "0.006"),
                                   ("Slowly", "sum(last_1d)", "0.003"), ("SlowlyOverThreeDays", "sum(last_72h)", "0.001")):
        query = queries[f"LeadrouterAvailabilityBurns{name}"]
        assert query.startswith(beginning) and query.endswith(f" > {share}") and query.count("NOT method:grpc.*") == 2, name


def test_the_six_widgets():
    """Those of the dashboard for on-call, as in Grafana: kinds, ranges, thresholds, and over what time."""
    definitions = [widget["definition"] for widget in load(DATADOG / "dashboards" / "routing.json")["widgets"][:6]]
    assert [(one["title"], one["type"]) for one in definitions] == [
        ("Success rate", "timeseries"), ("Retry queue depth", "query_value"), ("Lock acquisition, last hour", "query_value"),
        ("Latency", "timeseries"), ("Duplicates by workspace, last hour", "toplist"), ("Stale locks", "query_value")]
    success, due, locks, latency, duplicates, stale = definitions
    assert (success["yaxis"]["min"], success["yaxis"]["max"], success["time"]["live_span"]) == ("0.9", "1", "1d")
    for widget, formats in ((due, [(">", 100, "white_on_red"), (">", 50, "white_on_yellow")]), (stale, [(">", 10, "white_on_red")])):
        request, = widget["requests"]
        assert [(one["comparator"], one["value"], one["palette"]) for one in request["conditional_formats"]] == formats
        assert [query["aggregator"] for query in request["queries"]] == ["last"]
    assert (locks["precision"], locks["time"]["live_span"]) == (2, "1h")
    assert {query["aggregator"] for query in locks["requests"][0]["queries"]} == {"sum"}
    assert [formula["alias"] for formula in latency["requests"][0]["formulas"]] == ["p50", "p95", "p99"]
    assert duplicates["requests"][0]["sort"]["count"] == 10


def test_levels():
    """Each level that is a share of events is one of Datadog's, over 30 days, of metrics that there are."""
    known, targets = metrics(), yaml.safe_load((ROOT / "deploy/monitoring/settings.yml").read_text(encoding="utf-8"))["thresholds"]
    levels = {path.stem: load(path) for path in files("slo")}
    assert {name: level["thresholds"] for name, level in levels.items()} == {
        name: [{"timeframe": "30d", "target": pytest.approx(100 * targets[target])}] for name, target in (
            ("availability", "availability"), ("routing-success", "success_share_level"), ("latency-p95", "p95_share"),
            ("latency-p99", "p99_share"), ("lock-acquisition", "lock_share_level"))}
    for name, level in levels.items():
        every, bad = level["query"]["denominator"], level["query"]["numerator"].removeprefix(level["query"]["denominator"] + " - ")
        for query in (every, bad):
            assert QUERY.fullmatch(query), f"{name}: {query}"
            check_queries(query, known, name)


def test_a_tag_reaches_levels_and_monitors(tmp_path):
    """Of several deployments, the one of the settings; conditions stay whole."""
    settings = yaml.safe_load((ROOT / "deploy/monitoring/settings.yml").read_text(encoding="utf-8"))
    settings["datadog"]["tag"] = "env:production"
    (tmp_path / "settings.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    subprocess.run([ROOT / "deploy/monitoring/generate", "--settings", tmp_path / "settings.yml", "--output", tmp_path], check=True)
    made = {path.name: load(path) for kind in ("monitors", "slos") for path in (tmp_path / "datadog" / kind).glob("*.json")}
    queries = [text for body in made.values() if body["type"] != "service check"
               for text in (body["query"].values() if body["type"] == "metric" else [body["query"]])]
    scopes = [scope for text in queries for scope in re.findall(r"\{([^}]*)\}(?! by)", re.sub(r" by \{[^}]*\}", "", text))]
    assert len(scopes) > 40 and all(re.match(r"env:production($| AND |,)", scope) for scope in scopes), scopes
    for text in queries:
        check_queries(text, metrics(), text)


def test_each_alert_has_a_monitor():
    """But for one that Datadog cannot say; deploy/README.md names it."""
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    assert alerts - {path.stem for path in files("monitor")} == {"LeadrouterAbsent"}


def test_the_daily_summary():
    """At the time that the alert and its text have, whatever the number is, and for nobody but those who read it later; no other monitor
    waits for a time of day."""
    scheduled = {path.stem: monitor for path in files("monitor") if "scheduling_options" in (monitor := load(path))["options"]}
    (summary,) = scheduled.values()
    assert list(scheduled) == ["LeadrouterExpirySummary"] and summary["query"].endswith(".as_count() >= 0")
    (recurrence,) = summary["options"]["scheduling_options"]["custom_schedule"]["recurrences"]
    hour, = re.findall(r"hour\(\) == (\d+)", (ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))
    assert recurrence == {"rrule": "FREQ=DAILY;INTERVAL=1", "timezone": "UTC", "start": f"2026-01-01T{hour:>02}:00:00"}
    settings = yaml.safe_load((ROOT / "deploy/monitoring/settings.yml").read_text(encoding="utf-8"))["datadog"]
    assert f"daily at {hour:>02}:00 UTC" in summary["message"] and summary["message"].endswith("\n" + settings["info"])


def test_dashboards():
    """Queries ask for what there is; widgets lie within twelve columns and not on each other."""
    known = metrics()
    for path in files("dashboard"):
        taken = set()
        for widget in load(path)["widgets"]:
            place = widget["layout"]
            right, bottom = place["x"] + place["width"], place["y"] + place["height"]
            cells = {(x, y) for x in range(place["x"], right) for y in range(place["y"], bottom)}
            assert right <= 12 and not taken & cells, f"{path.name}: {widget['definition']['title']}"
            taken |= cells
            for request in widget["definition"]["requests"]:
                names = [query["name"] for query in request["queries"]]
                assert len(set(names)) == len(names)
                for query in request["queries"]:
                    check_queries(query["query"], known, f"{path.name}: {widget['definition']['title']}")
                for formula in request["formulas"]:
                    assert set(re.findall(r"\bq\d+\b", formula["formula"])) <= set(names)
