"""The files of deploy/ for Prometheus, Alertmanager and Grafana: made from their source, valid for the tools that read them, about
metrics that there are, and each alert says what its reader needs."""
import json
import pathlib
import re
import subprocess

import pytest
import yaml

from monitoring_rules import calls, decisions, locks, needed, series_name, values, waits
from support.postgres import ROOT

DEPLOY = ROOT / "deploy"
GENERATE = DEPLOY / "monitoring" / "generate"
METRIC = re.compile(r"\b((?:leadrouter|process)_[a-z0-9_]+)\b(\{[^}]*\})?")
RECORDED = re.compile(r"leadrouter:[a-z_]+:[a-z0-9_]+")
HISTOGRAM_ENDS = re.compile(r"_(bucket|sum|count)$")


def load(path):
    return yaml.load((DEPLOY / path).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def rules(name):
    return [rule for group in load(f"prometheus/{name}.yml")["groups"] for rule in group["rules"]]


def dashboards():
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((DEPLOY / "grafana").glob("*.json"))}


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True)


def documented_metrics():
    """Name: (type, labels), from the page that is made from the server's table."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def expressions():
    """Every PromQL text there is, as (where, text)."""
    for name in ("rules", "alerts"):
        for rule in rules(name):
            yield rule.get("record") or rule["alert"], rule["expr"]
    for name, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"].replace("$__rate_interval", "5m").replace("$job", "leadrouter")


def test_generated_files_are_up_to_date():
    done = run(GENERATE, "--check")
    assert done.returncode == 0, done.stderr


def test_what_is_not_up_to_date_is_named(tmp_path):
    """A changed threshold, a file that is missing, and one that should not be there."""
    assert run(GENERATE, "--output", tmp_path).returncode == 0
    assert run(GENERATE, "--output", tmp_path, "--check").returncode == 0
    settings = (DEPLOY / "monitoring" / "settings.yml").read_text(encoding="utf-8")
    (tmp_path / "settings.yml").write_text(settings.replace("stale_locks: 10\n", "stale_locks: 11\n"), encoding="utf-8")
    (tmp_path / "grafana" / "database.json").unlink()
    (tmp_path / "grafana" / "old.json").write_text("{}", encoding="utf-8")
    done = run(GENERATE, "--output", tmp_path, "--check", "--settings", tmp_path / "settings.yml")
    named = {str(pathlib.Path(line.split(" is not ")[0]).relative_to(tmp_path)) for line in done.stderr.splitlines()}
    assert done.returncode == 1
    # One threshold changes rule, monitor, and widgets.
    assert named == {"prometheus/alerts.yml", "datadog/monitors/LeadrouterStaleLocks.json", "datadog/dashboards/routing.json",
                     "grafana/routing.json", "grafana/database.json", "grafana/old.json"}
    assert run(GENERATE, "--output", tmp_path, "--settings", tmp_path / "settings.yml").returncode == 0
    assert not (tmp_path / "grafana" / "old.json").exists()
    assert "leadrouter:stale_locks:max > 11" in (tmp_path / "prometheus" / "alerts.yml").read_text(encoding="utf-8")


def test_more_labels_tell_deployments_apart(tmp_path):
    """group_by and job reach every rule."""
    settings = load("monitoring/settings.yml")
    settings.update(job="router", group_by=["job", "environment"])
    (tmp_path / "settings.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert run(GENERATE, "--output", tmp_path, "--settings", tmp_path / "settings.yml").returncode == 0
    text = (tmp_path / "prometheus" / "rules.yml").read_text() + (tmp_path / "prometheus" / "alerts.yml").read_text()
    assert "by (job)" not in text and "by (job, environment)" in text and "on (job, environment, instance)" in text
    assert '"leadrouter"' not in text and 'up{job="router"}' in text
    done = run("promtool", "check", "rules", tmp_path / "prometheus" / "rules.yml", tmp_path / "prometheus" / "alerts.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules_and_the_configuration():
    done = run("promtool", "check", "rules", DEPLOY / "prometheus/rules.yml", DEPLOY / "prometheus/alerts.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run("promtool", "check", "config", DEPLOY / "prometheus/prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_takes_the_configuration():
    done = run("amtool", "check-config", DEPLOY / "alertmanager/alertmanager.yml")
    assert done.returncode == 0 and "1 templates" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("labels, receivers", [
    ("severity=critical area=routing", "pager,channel"), ("severity=critical area=database", "database-pager,pager,channel"),
    ("severity=critical area=server", "pager,channel"), ("severity=warning area=routing", "channel"),
    ("severity=warning area=data_quality", "data-quality"), ("severity=info area=data_quality", "mail"),
    ("severity=info area=server", "mail")])
def test_routes(labels, receivers):
    """Who is told of what."""
    done = run("amtool", "config", "routes", "test", f"--config.file={DEPLOY / 'alertmanager/alertmanager.yml'}", *labels.split(),
               f"--verify.receivers={receivers}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_secret_is_written_down():
    """Secrets come from files."""
    text = (DEPLOY / "alertmanager/alertmanager.yml").read_text() + (DEPLOY / "prometheus/prometheus.yml").read_text()
    for line in text.splitlines():
        key = line.split("#")[0].split(":")[0].strip(" -")
        assert not re.search(r"(_key|password|_url|credentials|token)$", key), line


def test_every_alert_says_what_its_reader_needs():
    for rule in rules("alerts"):
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
        notes = rule["annotations"]
        assert set(notes) == {"summary", "value", "expected", "impact", "actions", "runbook_url", "dashboard_url"}, rule["alert"]
        assert all(text.strip() for text in notes.values()) and notes["actions"].startswith("1. "), rule["alert"]
        board = notes["dashboard_url"].rsplit("/", 1)[1]
        assert board in [made["uid"] for made in dashboards().values()], rule["alert"]


def test_the_guide_has_each_alert_and_series():
    """docs/monitoring.md: alerts with their severity and runbook, and no series that there is not."""
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(Leadrouter\w+)` \| (\w+) \| [^|]+ \| `([a-z-]+)` \|$", text, re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"], rule["annotations"]["runbook_url"].rsplit("/", 1)[1].removesuffix(".md"))
                    for rule in rules("alerts")]
    assert set(RECORDED.findall(text)) <= {rule["record"] for rule in rules("rules")} | {"leadrouter:rpc_failed:ratio_rate",
                                                                                       "leadrouter:decisions_late:ratio_rate"}


def test_inhibitions_and_routes_name_alerts_that_there_are():
    names = {rule["alert"] for rule in rules("alerts")}
    for rule in load("alertmanager/alertmanager.yml")["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            for pattern in re.search(r'alertname=~?"(.*)"', matcher).group(1).split("|"):
                assert any(re.fullmatch(pattern, name) for name in names), pattern


def test_expressions_are_about_metrics_and_labels_that_there_are():
    known = documented_metrics()
    recorded = {rule["record"] for rule in rules("rules")}
    seen = set()
    for where, text in expressions():
        for name in RECORDED.findall(text):
            assert name in recorded, f"{where}: {name}"
        for name, selector in METRIC.findall(RECORDED.sub("", text)):
            base = HISTOGRAM_ENDS.sub("", name) if HISTOGRAM_ENDS.sub("", name) in known else name
            assert base in known, f"{where}: {name}"
            seen.add(base)
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"job", "instance"}
            assert labels <= known[base][1] | ({"le"} if known[base][0] == "histogram" else set()), f"{where}: {selector}"
    assert len(seen) > 50


def test_recorded_names_are_used():
    """A rule that nothing reads is work for Prometheus for nothing, but for the windows that people ask for."""
    texts = [text for _, text in expressions()] + [(ROOT / "src/levels/levels.c").read_text(encoding="utf-8")]
    for rule in rules("rules"):
        if not rule["record"].endswith(("_rate24h", "_rate1d", "increase1d")):
            assert any(rule["record"] in RECORDED.findall(text) for text in texts), rule["record"]


def test_grafana_dashboards():
    """What Grafana's importer and its panels need: a uid, a schema version, panels with ids that do not overlap, and queries."""
    boards = dashboards()
    assert set(boards) == {"routing", "performance", "retries", "database", "levels"}
    for name, board in boards.items():
        assert board["uid"] == f"leadrouter-{name}" and len(board["uid"]) <= 40 and board["schemaVersion"] >= 36 and board["title"]
        assert "id" not in board # the importing Grafana's business
        variables = {variable["name"] for variable in board["templating"]["list"]}
        taken = set()
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert set(place) == {"x", "y", "w", "h"} and place["x"] + place["w"] <= 24 and place["w"] > 0 and place["h"] > 0
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            assert not taken & cells, f"{name}: {panel['title']} stands on another"
            taken |= cells
            assert panel["type"] in ("timeseries", "stat", "bargauge") and panel["title"] and panel["targets"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            for target in panel["targets"]:
                used = set(re.findall(r"\$\{?(\w+)", json.dumps(target)))
                assert used <= variables | {"__rate_interval"}, f"{name}: {panel['title']}: {used}"
                assert re.search(r'job="\$job"', target["expr"]), f"{name}: {panel['title']}"
            values = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
            assert values[0] is None and values[1:] == sorted(values[1:])


# What is measured within 30 days, and what the widgets of the levels show then.
MONTH = {**calls((60, 1, 1999)), **decisions((60, 90, 8, 2)), **waits((60, 100, 99, 98)), **locks((60, 90, 10)),
         "leadrouter_retries_due": [(30, 99), (6, 130), (24, 100)], "leadrouter_stale_locks": [(45, 0), (15, 2)],
         "leadrouter_database_up": [(60, 1)]}
SHOWN = {"Availability, 30 days (≥ 99.9 %)": 0.9995, "Availability: budget left": 0.5,
         "Routing success, 30 days (≥ 95 %)": 0.98, "Routing success: budget left": 0.6,
         "Within 2 s, 30 days (≥ 95 %)": 0.99, "Within 2 s: budget left": 0.8,
         "Within 5 s, 30 days (≥ 99 %)": 0.98, "Within 5 s: budget left": -1,
         "Lock acquisition, 30 days (≥ 95 %)": 0.9, "Lock acquisition: budget left": -1,
         "Retries due, most in 30 days (< 100)": 130, "Retries due: time kept": 0.5,
         "Stale locks, most in 30 days (≤ 0)": 2, "Stale locks: time kept": 0.75}


def test_levels_over_30_days(tmp_path):
    """Each level has its value beside its target, and what is left of its budget; a count, for how long it was kept."""
    panels = {panel["title"]: panel for panel in dashboards()["levels"]["panels"]}
    assert list(panels)[:len(SHOWN)] == list(SHOWN)
    tests = []
    for title, value in SHOWN.items():
        target, = panels[title]["targets"]
        expression = target["expr"].replace("$job", "leadrouter")
        tests.append({"expr": f"sum(round({expression}, 0.000001))", "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": value}]})
    group = {"name": "all", "rules": needed(" ".join(test["expr"] for test in tests), rules("rules"))}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    inputs = [{"series": series_name(name), "values": values(stages)} for name, stages in MONTH.items()]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]}), encoding="utf-8")
    done = run("promtool", "test", "rules", tmp_path / "tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_colours_of_levels():
    """Red is a level that is missed, and nothing else is; a number that is its own bound counts as `leadctl slo` judges it."""
    def colour(title, value):
        steps = panels[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        return [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    panels = {panel["title"]: panel for panel in dashboards()["levels"]["panels"]}
    assert [colour("Availability, 30 days (≥ 99.9 %)", value) for value in (0.9989, 0.999)] == ["red", "green"]
    assert [colour("Lock acquisition: budget left", value) for value in (-0.1, 0, 0.25)] == ["red", "orange", "green"]
    assert [colour("Retries due, most in 30 days (< 100)", value) for value in (99, 100)] == ["green", "red"]
    assert [colour("Stale locks, most in 30 days (≤ 0)", value) for value in (0, 1)] == ["green", "red"]
    assert [colour("Stale locks: time kept", value) for value in (0.9999, 1)] == ["red", "green"]


@pytest.mark.parametrize("value, told", [("1.7", "1.5 or 2"), ("0", "0.0001"), ("60", "10"), ("2.0", None), ("0.10", None)])
def test_a_latency_between_two_edges_is_refused(tmp_path, value, told):
    """Its rules would count nothing, and nobody would be told."""
    settings = (DEPLOY / "monitoring" / "settings.yml").read_text(encoding="utf-8")
    changed = re.sub(r"(p9[59]_seconds:) \d", rf"\1 {value}", settings)
    (tmp_path / "settings.yml").write_text(changed, encoding="utf-8")
    done = run(GENERATE, "--output", tmp_path / "made", "--settings", tmp_path / "settings.yml")
    if told:
        assert done.returncode == 2 and not (tmp_path / "made").exists()
        lines = done.stderr.splitlines()
        assert len(lines) == 2, done.stderr
        for line, name in zip(lines, ("p95_seconds", "p99_seconds"), strict=True):
            assert line.startswith(f"{tmp_path}/settings.yml: {name} is {value}, ") and f"take {told} (" in line
    else:
        assert done.returncode == 0, done.stderr


def test_edges_are_those_of_the_histogram():
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = re.search(r"`leadrouter_routing_duration_seconds`.* Edges: ([0-9. ]+)\. \|", metrics)
    assert f'"{documented.group(1)}"' in GENERATE.read_text(encoding="utf-8")


def test_targets_in_texts_are_those_of_the_settings(tmp_path):
    """Titles, lines and edges follow the settings."""
    settings = load("monitoring/settings.yml")
    settings["thresholds"].update(availability=0.9995, lock_share_level=0.97, p95_seconds=1.5, retries_due_level=40, stale_locks_level=3)
    (tmp_path / "settings.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert run(GENERATE, "--output", tmp_path, "--settings", tmp_path / "settings.yml").returncode == 0
    text = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "grafana").glob("*.json"))
    for title in ("Availability, 30 days (≥ 99.95 %)", "Lock acquisition, 30 days (≥ 97 %)", "Within 1.5 s, 30 days (≥ 95 %)",
                  "Retries due, most in 30 days (< 40)", "Stale locks, most in 30 days (≤ 3)",
                  "Service level: p95 under 1.5 s, p99 under 5 s."):
        assert title in text, title
    assert 'within=\\"1.5s\\"' in text and "[[" not in text
    recorded = (tmp_path / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    assert 'le="1.5"' in recorded and "within: 1.5s" in recorded and 'le="2"' not in recorded
    alerts = (tmp_path / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    assert 'within="1.5s"' in alerts and 'within="2s"' not in alerts and "later than 2 s" not in alerts


def test_the_six_widgets():
    """Those of the dashboard for on-call, with their ranges and thresholds."""
    panels = {panel["title"]: panel for panel in dashboards()["routing"]["panels"][:6]}
    steps = {title: [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] for title, panel in panels.items()}
    assert list(panels) == ["Success rate", "Retry queue depth", "Lock acquisition, last hour", "Latency",
                            "Duplicates by workspace, last hour", "Stale locks"]
    success = panels["Success rate"]["fieldConfig"]["defaults"]
    assert (success["min"], success["max"], success["unit"]) == (0.9, 1, "percentunit")
    assert steps["Retry queue depth"] == [None, 50, 100]
    assert panels["Lock acquisition, last hour"]["fieldConfig"]["defaults"]["decimals"] == 2
    assert [target["legendFormat"] for target in panels["Latency"]["targets"]] == ["p50", "p95", "p99"]
    assert panels["Duplicates by workspace, last hour"]["type"] == "bargauge"
    assert steps["Stale locks"] == [None, 10]
