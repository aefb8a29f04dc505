"""Goal: `leadctl slo` says of each level what was measured, by a server and by a Prometheus, and whether it is met; what a Prometheus
answers that is none, or that is too much, late or refused, is said in a line; and what it asks gives, by the rules of deploy/, what the
levels mean."""
import http.server
import json
import re
import subprocess
import threading
import time
import urllib.parse

import pytest
import yaml

from monitoring_rules import RECORDED, calls, decisions, locks, needed, rules, series_name, values, waits
from support.admin import address_of
from support.certificates import Authority
from support.monitoring import POLL_S, Monitoring
from support.ports import free_port
from support.postgres import LEADCTL, ROOT
from support.product_cluster import wait_until
from support.retries import WORKSPACES, create, queue, route
from support.server import Server

PATIENCE_S = 60
NAMES = ["availability", "routing_success", "latency_p95", "latency_p99", "retries_due", "lock_acquisition", "stale_locks"]
SETTINGS = {"availability": "availability", "routing_success": "success_share_level", "latency_p95": "p95_seconds",
            "latency_p99": "p99_seconds", "retries_due": "retries_due_level", "lock_acquisition": "lock_share_level",
            "stale_locks": "stale_locks_level"}
EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


def slo(*words):
    return subprocess.run([LEADCTL, "slo", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)


def levels(*words, code=0):
    """{name: level} of the answer, and the whole of it."""
    done = slo(*words, "--json")
    assert done.returncode == code, done
    report = json.loads(done.stdout)
    assert [level["name"] for level in report["levels"]] == NAMES
    assert (report["met"], report["missed"], report["no_data"]) == tuple(
        sum(level["verdict"] == verdict for level in report["levels"]) for verdict in ("met", "missed", "no_data"))
    return {level["name"]: level for level in report["levels"]}, report


class Pretender:
    """Answers as a Prometheus would, or not: `answer(handler, query)` is given each request."""

    def __init__(self, answer, context=None):
        self.queries, self.headers = [], []
        pretender = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, disable_nagle_algorithm = "HTTP/1.1", True # or each answer waits for an acknowledgement

            def do_GET(self): # pylint: disable=invalid-name
                url = urllib.parse.urlparse(self.path)
                parameters = urllib.parse.parse_qs(url.query)
                pretender.queries.append((url.path, parameters.get("query", [""])[0], parameters.get("time", [None])[0]))
                pretender.headers.append(dict(self.headers))
                answer(self, pretender.queries[-1][1])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(POLL_S,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def says(body, status=200, kind="application/json", **headers):
    """An answerer that always says this."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(handler, _):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            handler.wfile.write(raw)
        except OSError: # who asked has had enough
            pass
    return answer


def numbers(value, *series):
    """The same for a vector of series (labels), all of this value."""
    return says({"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": labels, "value": [1764374400.5, value]} for labels in series or ({"job": "leadrouter"},)]}})


# --- What a Prometheus can say --------------------------------------------------------------------------------------------------------


def test_targets_are_those_of_the_settings():
    settings = yaml.safe_load((ROOT / "deploy/monitoring/settings.yml").read_text(encoding="utf-8"))["thresholds"]
    with Pretender(says(EMPTY)) as nothing:
        answered, _ = levels("--prometheus", nothing.url, code=1)
    assert {name: level["target"] for name, level in answered.items()} == {name: settings[key] for name, key in SETTINGS.items()}
    assert {name: level["bound"] for name, level in answered.items()} == dict.fromkeys(NAMES, ">=") | {
        "latency_p95": "<", "latency_p99": "<", "retries_due": "<", "stale_locks": "<="}


def test_the_guide_has_the_levels():
    """docs/monitoring.md: each with its target as people read it, and the series that are asked."""
    text = (ROOT / "docs/monitoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    with Pretender(says(EMPTY)) as nothing:
        answered, _ = levels("--prometheus", nothing.url, code=1)
        shown = slo("--prometheus", nothing.url).stdout.splitlines()[1:8]
    assert [name for name, _, _ in rows] == NAMES
    assert [target for _, target, _ in rows] == [re.search(r" -  +(.*?)  +-  no data$", line)[1] for line in shown]
    for name, _, series in rows:
        asked = set(RECORDED.findall(" ".join(answered[name]["queries"])))
        assert set(RECORDED.findall(series)) <= asked
        assert asked <= set(RECORDED.findall(text)) | {"leadrouter:decisions_waited_for:rate5m"}, name


def test_an_empty_prometheus():
    """It knows of nothing: no level is met, none is missed, and that is no success."""
    with Pretender(says(EMPTY)) as nothing:
        answered, report = levels("--prometheus", nothing.url, code=1)
        assert {level["verdict"] for level in answered.values()} == {"no_data"} and report["covered_seconds"] == 0
        assert {level["measured"] for level in answered.values()} == {None}
        done = slo("--prometheus", nothing.url)
    assert done.returncode == 1 and "nothing is recorded there" in done.stderr
    assert "0 met, 0 missed, 7 without data." in done.stdout and "data of none of them" in done.stdout


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_no_numbers(value):
    with Pretender(numbers(value)) as prometheus:
        answered, _ = levels("--prometheus", prometheus.url, code=1)
    assert {level["verdict"] for level in answered.values()} == {"no_data"}


def test_all_queries_are_about_one_moment():
    with Pretender(numbers("1")) as prometheus:
        _, report = levels("--prometheus", prometheus.url + "/", "--window", "2h", code=1)
    assert report["until"] == "2025-11-29T00:00:00.500Z" and report["window_seconds"] == 7200
    assert [moment for _, _, moment in prometheus.queries] == [None, *["1764374400.500"] * (len(prometheus.queries) - 1)]
    assert {path for path, _, _ in prometheus.queries} == {"/api/v1/query"}
    assert all("[2h" in query or query.startswith("leadrouter:") for _, query, _ in prometheus.queries)


def test_several_deployments():
    """One must be chosen; and what is chosen is part of every query, whatever is in it."""
    with Pretender(numbers("1", {"job": "a"}, {"job": "b\x1b"})) as prometheus:
        done = slo("--prometheus", prometheus.url)
        assert done.returncode == 2 and "--select LABEL=VALUE" in done.stderr and '{job="a"}' in done.stderr and "\x1b" not in done.stderr
    with Pretender(numbers("0")) as prometheus:
        levels("--prometheus", prometheus.url, "--select", 'job=a"}\\', "--select", "env=")
    assert all(r'{job="a\"}\\",env=""}' in query or r',job="a\"}\\",env=""}' in query for _, query, _ in prometheus.queries)
    for wrong in ("job", "=a", "1a=b", "a-b=c"):
        done = slo("--prometheus", "http://127.0.0.1:1", "--select", wrong)
        assert done.returncode == 2 and "is not LABEL=VALUE" in done.stderr


def test_a_warning_is_passed_on():
    partial = {**EMPTY, "warnings": ["a store is away\x1b[2J"]}
    with Pretender(says(partial)) as prometheus:
        done = slo("--prometheus", prometheus.url)
    assert done.stderr.count("Prometheus warns: a store is away\\x1b[2J") == 1


@pytest.mark.parametrize("answer, said", [
    (says(b"<html><body>Log in</body></html>", kind="text/html"), r"not Prometheus' \(text/html\)"),
    (says(b"", kind="text/plain"), "not Prometheus'"),
    (says({"status": "success"}), "not Prometheus'"),
    (says({"status": "success", "data": {"resultType": "matrix", "result": []}}), "not Prometheus'"),
    (says([1]), "not Prometheus'"),
    (says(b"\xff\x00{", kind="x\x1b"), "not Prometheus'"),
    (says({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "many"]}]}}), "no number"),
    (says({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1]}]}}), "no number"),
    (says({"status": "success", "data": {"resultType": "vector", "result": [7]}}), "no number"),
    (says({"status": "error", "errorType": "bad_data", "error": "1:5: parse error\x1b"}, status=400), r"bad_data: 1:5: parse error\\x1b"),
    (says({"status": "error", "errorType": "timeout", "error": "query timed out"}, status=503), "timeout: query timed out"),
    (says(b"no", status=401), "answers 401: --prometheus-token-file"),
    (says(b"", status=302, Location="https://sso.example/login"), "answers 302, and points to https://sso.example/login"),
    (says(b"404 page not found", status=404, kind="text/plain"), "answers 404 to /api/v1/query: is that Prometheus"),
    (says(b"", status=500), "answers 500"),
])
def test_bad_answers(answer, said):
    with Pretender(answer) as pretender:
        done = slo("--prometheus", pretender.url)
    assert done.returncode == 1 and not done.stdout, done
    assert re.search(said, done.stderr) and done.stderr.count("\n") == 1 and "\x1b" not in done.stderr


def test_a_huge_answer():
    """4 MiB are read at most, whatever is announced."""
    sent, over = [0], threading.Event()

    def answer(handler, _):
        handler.send_response(200)
        handler.end_headers()
        try:
            while sent[0] < 1 << 30:
                sent[0] += handler.wfile.write(b"[" * 65536)
        except OSError:
            pass
        finally:
            over.set()
    with Pretender(answer) as pretender:
        done = slo("--prometheus", pretender.url)
        assert over.wait(PATIENCE_S)
    assert done.returncode == 1 and "is larger than 4 MiB" in done.stderr
    assert sent[0] < 64 << 20 # 4 MiB, and what buffers of sockets hold


def test_one_that_hangs():
    """Before it answers, and in the middle; the time is for all queries together."""
    free = threading.Event()

    def silent(handler, _):
        free.wait(PATIENCE_S)

    def half(handler, _):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"status"')
        handler.wfile.flush()
        free.wait(PATIENCE_S)
    for answer in (silent, half):
        with Pretender(answer) as pretender:
            began = time.monotonic()
            done = slo("--prometheus", pretender.url, "--timeout", "1")
            assert done.returncode == 1 and "has not answered within 1 s (--timeout gives it more)" in done.stderr
            assert 1 <= time.monotonic() - began < PATIENCE_S / 2
    free.set()


def test_nobody_there():
    done = slo("--prometheus", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1 and re.fullmatch(r"leadctl: nobody answers at \S+ \(is Prometheus running\? [^\n]+\)\n", done.stderr)


@pytest.mark.parametrize("words, said", [
    (["--window", "1h"], "--window needs --prometheus"),
    (["--select", "job=a"], "--select needs --prometheus"),
    (["--prometheus-ca", "x"], "--prometheus-ca needs --prometheus"),
    (["--prometheus", "http://10.0.0.1:9090"], "is not a loopback address"),
    (["--prometheus", "http://127.0.0.1.example"], "is not a loopback address"),
    (["--prometheus", "http://me:geheim@127.0.0.1:9090"], "not part of the address"),
    (["--prometheus", "127.0.0.1:9090"], "is no address"),
    (["--prometheus", "ftp://127.0.0.1"], "begins with http:// or https://"),
    (["--prometheus", "file:///etc/passwd"], "begins with http:// or https://"),
    (["--prometheus", "http://127.0.0.1:9090/graph?x=1"], "has a query or fragment"),
    (["--prometheus", "http://127.0.0.1:99999"], "is no address"),
    (["--prometheus", ""], "is no address"),
    (["--prometheus", "http://127.0.0.1:9", "--window", "30"], "is not a time"),
    (["--prometheus", "http://127.0.0.1:9", "--window", "299s"], "is not a time"),
    (["--prometheus", "http://127.0.0.1:9", "--window", "367d"], "is not a time"),
    (["--prometheus", "http://127.0.0.1:9", "--window", "5m]"], "is not a time"),
    (["--prometheus", "http://127.0.0.1:9", "--prometheus-user", "me"], "--prometheus-user needs --prometheus-token-file"),
    (["--prometheus", "http://127.0.0.1:9", "--prometheus-token-file", "/nowhere"], "could not open /nowhere"),
    (["--prometheus", "http://127.0.0.1:9", "--prometheus-key", "x"], "need each other"),
    (["--prometheus", "http://127.0.0.1:9", "--timeout", "0"], "is not a number from 1 to 600"),
    (["--promethus", "http://127.0.0.1:9"], "did you mean --prometheus?"),
])
def test_wrong_usage(words, said):
    done = slo(*words)
    assert done.returncode == 2 and said in done.stderr and "geheim" not in done.stderr, done


def test_who_asks(tmp_path):
    """A token, or a name and a password, out of a file that others cannot read; over TLS to whom the CA has signed, and to nobody else."""
    import ssl # pylint: disable=import-outside-toplevel
    token = tmp_path / "token"
    token.write_text("secret-token\n", encoding="utf-8")
    token.chmod(0o600)
    ca, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    certificate, key = ca.issue("server", "IP:127.0.0.1", "serverAuth")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Pretender(numbers("0"), context) as prometheus:
        levels("--prometheus", prometheus.url, "--prometheus-ca", ca.file, "--prometheus-token-file", token)
        assert {headers["Authorization"] for headers in prometheus.headers} == {"Bearer secret-token"}
        prometheus.headers.clear()
        levels("--prometheus", prometheus.url, "--prometheus-ca", ca.file, "--prometheus-token-file", token, "--prometheus-user", "me")
        assert {headers["Authorization"] for headers in prometheus.headers} == {"Basic bWU6c2VjcmV0LXRva2Vu"}
        prometheus.headers.clear()
        for words in ([], ["--prometheus-ca", stranger.file]):
            done = slo("--prometheus", prometheus.url, "--prometheus-token-file", token, *words)
            assert done.returncode == 1 and "no agreement on TLS" in done.stderr
        assert not prometheus.headers
    token.chmod(0o644)
    done = slo("--prometheus", "http://127.0.0.1:9", "--prometheus-token-file", token)
    assert done.returncode == 2 and "is open to everybody" in done.stderr and "secret-token" not in done.stderr


def test_a_token_follows_nobody(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret-token", encoding="utf-8")
    token.chmod(0o600)
    with Pretender(numbers("0")) as other, Pretender(says(b"", status=307, Location=other.url + "/api/v1/query")) as first:
        done = slo("--prometheus", first.url, "--prometheus-token-file", token)
        assert done.returncode == 1 and "answers 307" in done.stderr and not other.queries


# --- What it asks, by the rules -------------------------------------------------------------------------------------------------------

# Series as test_alert_rules.py has them; then what each query that is asked of them gives at the end. A day of one sample a minute.
RESET = {'leadrouter_decisions_total{outcome="routed",origin="call"}': "0+10x30 0+10x30",
         'leadrouter_decisions_total{outcome="failed",origin="call"}': "0+10x30 0+10x30"}
EVALUATED = [
    ("availability", calls((60, 1, 999)), 0.001), # exactly what is allowed
    ("availability", calls((60, 1000, 10), method="grpc.health.v1.Health/Check"), None),
    ("routing_success", decisions((60, 80, 15, 5)), 0.05),
    ("routing_success", RESET, 0.5), # a server that was started anew is no negative number
    ("routing_success", decisions((60, 0, 0, 0)), None),
    ("latency_p95", waits((60, 100, 95, 100)), 0.05),
    ("latency_p99", waits((60, 100, 90, 99)), 0.01),
    ("lock_acquisition", locks((60, 95, 5)), 0.05),
]


@pytest.fixture(scope="module")
def queries():
    with Pretender(says(EMPTY)) as nothing:
        answered, _ = levels("--prometheus", nothing.url, "--window", "1h", code=1)
    return {name: level["queries"] for name, level in answered.items()}


def evaluated(tmp_path, series, tests):
    recorded = rules("rules.yml")
    group = {"name": "all", "rules": needed(" ".join(test["expr"] for test in tests), recorded)}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    inputs = [{"series": series_name(name), "values": stages if isinstance(stages, str) else values(stages)}
              for name, stages in series.items()]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [
        {"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]}), encoding="utf-8")
    return subprocess.run(["promtool", "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("name, series, bad", EVALUATED)
def test_what_is_asked_means_the_level(tmp_path, queries, name, series, bad):
    """The share of events that are not well, rounded: promtool compares numbers exactly."""
    ask_bad, ask_all = queries[name][:2]
    expression = f"sum(round({ask_bad} / ignoring(within) ({ask_all} > 0), 0.000001))"
    wanted = [] if bad is None else [{"labels": "{}", "value": bad}]
    done = evaluated(tmp_path, series, [{"expr": expression, "eval_time": "60m", "exp_samples": wanted}])
    assert done.returncode == 0, done.stdout + done.stderr


def test_quantiles_and_gauges(tmp_path, queries):
    """p95 lies at 2 s when 5 in 100 are later; a gauge is the most that there was, with the share of the time in which it kept its
    level."""
    done = evaluated(tmp_path, waits((60, 100, 95, 100)), [
        {"expr": f"round(sum({queries['latency_p95'][2]}), 0.001)", "eval_time": "60m", "exp_samples": [{"labels": "{}", "value": 2}]}])
    assert done.returncode == 0, done.stdout + done.stderr
    gauges = {"leadrouter_retries_due": [(30, 99), (6, 130), (24, 7)], "leadrouter_stale_locks": [(60, 0)],
              "leadrouter_database_up": [(60, 1)]}
    # Promtool holds no more than 10,000 samples: minutes in place of seconds.
    most, now, kept, none = (f"sum({query})".replace(":1s]", ":1m]") for query in [*queries["retries_due"], queries["stale_locks"][2]])
    done = evaluated(tmp_path, gauges, [
        {"expr": most, "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": 130}]},
        {"expr": now, "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": 7}]},
        {"expr": f"round({kept}, 0.01)", "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": 0.9}]},
        {"expr": none, "eval_time": "59m", "exp_samples": [{"labels": "{}", "value": 1}]}])
    assert done.returncode == 0, done.stdout + done.stderr


# --- For real -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(cluster, database, sql):
    """A server that does nothing by itself."""
    sql(WORKSPACES)
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as server:
        yield server


def test_by_a_server(quiet, sql):
    """Nothing has happened; then all is well; then leads fail, retries wait and a lock is stale."""
    at = ["--target", quiet.address]
    answered, report = levels(*at)
    assert {name for name, level in answered.items() if level["verdict"] == "no_data"} >= {"routing_success", "latency_p95", "latency_p99",
                                                                                          "lock_acquisition"}
    assert (report["source"], report["address"]) == ("server", quiet.address) and report["until"]
    for lead in create(quiet, 38, "good", country="DE"):
        route(quiet, lead)
    wait_until(lambda: levels(*at)[0]["routing_success"]["events"] == 38, "not counted")
    answered, report = levels(*at)
    assert {level["verdict"] for level in answered.values()} == {"met"}
    assert report["covered_seconds"] == report["window_seconds"] < 600
    assert 0 < answered["latency_p95"]["measured"] < 2 and answered["latency_p95"]["events"] == 38
    for lead in create(quiet, 2, "bad"):
        route(quiet, lead, max_attempts=1)
    wait_until(lambda: levels(*at)[0]["routing_success"]["events"] == 40, "not counted")
    success = levels(*at)[0]["routing_success"] # 38 of 40: at the target, with nothing left
    assert (success["measured"], success["verdict"], success["budget_left"]) == (0.95, "met", 0)
    leads = queue(quiet, sql, 100, "waits")
    held, = create(quiet, 1, "held")
    sql("select acquire_routing_lock(%s, gen_random_uuid())", (held,))
    sql("set session_replication_role = replica; update leads set routing_locked_at = now() - interval '10 minutes' where id = %s", (held,))
    route(quiet, create(quiet, 1, "worse")[0], max_attempts=1)
    wait_until(lambda: slo(*at, "--json").returncode == 1 and levels(*at, code=1)[1]["missed"] == 3, "not seen")
    answered, _ = levels(*at, code=1)
    assert [name for name, level in answered.items() if level["verdict"] == "missed"] == ["routing_success", "retries_due", "stale_locks"]
    assert (answered["retries_due"]["measured"], answered["stale_locks"]["measured"]) == (len(leads), 1)
    assert answered["routing_success"]["budget_left"] < 0
    done = slo(*at)
    assert re.search(r"^retries due +100 +< 100 +- +missed +now, of all servers$", done.stdout, re.MULTILINE), done.stdout


def test_a_server_that_is_away():
    done = slo("--target", "127.0.0.1:1")
    assert done.returncode == 1 and "nobody answers at 127.0.0.1:1" in done.stderr


@pytest.mark.long
def test_by_a_prometheus(cluster, database, sql, quiet):
    """Levels that are met; then leads fail and retries wait; and, after those are gone, what it was like is still known. The server is
    started anew in between."""
    with Monitoring() as monitoring:
        ask = ["--prometheus", f"http://127.0.0.1:{monitoring.port}", "--window", "1h"]

        def when(condition, what, server):
            def look():
                for lead in create(server, 5, f"{what}{time.monotonic()}", country="DE"):
                    route(server, lead)
                done = slo(*ask, "--json")
                assert done.returncode in (0, 1) and done.stdout, done
                answered = {level["name"]: level for level in json.loads(done.stdout)["levels"]}
                return answered if condition(answered) else None
            return wait_until(look, what)
        monitoring.watch([":".join(map(str, address_of(quiet)))])
        answered = when(lambda levels: all(level["verdict"] == "met" for level in levels.values()), "not all are met", quiet)
        assert 0 < answered["latency_p95"]["measured"] < 2 and answered["availability"]["budget_left"] == 1
        assert answered["retries_due"]["measured"] == 0 and answered["retries_due"]["kept_share"] == 1
        queue(quiet, sql, 120, "waits")
        bad = create(quiet, 400, "bad")
        for lead in bad:
            route(quiet, lead, max_attempts=1)
        answered = when(lambda levels: {levels[name]["verdict"] for name in ("retries_due", "routing_success")} == {"missed"},
                        "not missed", quiet)
        assert answered["retries_due"]["now"] == 120 and answered["routing_success"]["budget_left"] < 0
        assert answered["availability"]["verdict"] == "met"
        sql("update lead_routing_queue set next_retry_at = now() + interval '1 hour' where processed_at is null")
        quiet.stop()
        with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as second:
            monitoring.watch([":".join(map(str, address_of(second)))])
            answered = when(lambda levels: levels["retries_due"]["now"] == 0, "not seen to be gone", second)
            assert answered["retries_due"]["verdict"] == "missed" and answered["retries_due"]["measured"] == 120
            assert 0 < answered["retries_due"]["kept_share"] < 1
            assert answered["routing_success"]["verdict"] == "missed" and 0 <= answered["routing_success"]["measured"] <= 1
        done = slo(*ask)
        assert done.returncode == 1 and re.search(r"^routing success +[\d.]+ % +≥ 95 % +-\d+ % +missed", done.stdout, re.MULTILINE)
