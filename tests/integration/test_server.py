"""Goal: leadrouterd starts only where it can serve, says in one clear line why it does not, outlives its database,
stops without losing anything, and logs each start, stop and failed request as one JSON line with nothing private in
it."""
import concurrent.futures
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import threading
import time

import grpc
import pytest

from support.postgres import LEADROUTERD, scratch
from support.product_cluster import ProductCluster, execute, wait_until
from support.server import Server, wait_ready
from support.stubs import leads_pb2, routing_pb2

PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000002"
RULES = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)
values ('{PARTNER}', 'all', '{{}}', '{DESK}');
"""
PATIENCE_S = 60
CALL_S = 10
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


@pytest.fixture
def directory():
    """A directory that the user postgres can reach, unlike pytest's own."""
    path = scratch("server")
    yield pathlib.Path(path)
    shutil.rmtree(path)


def leadrouterd(*words, **environment):
    return subprocess.run([LEADROUTERD, *words], capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **environment},
                          stdin=subprocess.DEVNULL)


def refuses(*words):
    """The one line with which a server that cannot start ends."""
    done = leadrouterd("serve", "--listen", "127.0.0.1:0", *words)
    assert done.returncode == 1, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["server.failed"], done.stderr
    return lines[0]["error"]


def create(server, count, prefix="x", route=False, timeout=CALL_S):
    leads = [leads_pb2.NewLead(external_id=f"{prefix}-{number}", email=f"{prefix}{number}@example.com") for number in range(count)]
    return server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads, route=route), timeout=timeout)


def route(server, lead_id, timeout=CALL_S):
    return server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER), timeout=timeout)


def status(call, *arguments):
    """How a call ended."""
    try:
        call(*arguments)
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


# --- Words ------------------------------------------------------------------------------------------------------------------------------


def test_help():
    done = leadrouterd("--help")
    assert done.returncode == 0 and "serve" in done.stdout and "migrate" in done.stdout and not done.stderr
    done = leadrouterd("serve", "--help")
    assert done.returncode == 0 and "--listen HOST:PORT" in done.stdout and "LEADROUTER_LISTEN, default 127.0.0.1:7450" in done.stdout
    assert leadrouterd("--version").stdout.startswith("leadrouterd ")
    for words in ((), ("serve",), ("migrate",), ("cluster",)): # a terminal has 80 columns
        assert [line for line in leadrouterd(*words, "--help").stdout.splitlines() if len(line) > 79] == []


@pytest.mark.parametrize("words, message", [
    ((), "Usage: leadrouterd COMMAND"),
    (("srve",), '"srve" is not a command; did you mean serve?'),
    (("serve",), "serve needs one of --database, --database-file and --embedded"),
    (("serve", "--database", "x", "--embedded", "y"), "serve needs one of --database, --database-file and --embedded"),
    (("serve", "--nonsense"), "--nonsense: no such flag; see --help"),
    (("serve", "--listne", "x"), "--listne: no such flag; did you mean --listen?"),
    (("serve", "--lanes"), "--lanes: needs a value"),
    (("serve", "--lanes", "many"), 'lanes: "many" is not a number from 1 to 64'),
    (("serve", "--lanes", "0"), 'lanes: "0" is not a number from 1 to 64'),
    (("serve", "--waiting-max", "99999999999999999999"), "waiting-max: "),
    (("serve", "--retry-lanes", "0"), 'retry-lanes: "0" is not a number from 1 to 64'),
    (("serve", "--log-keep-days", "0"), 'log-keep-days: "0" is not a number from 1 to 36500'),
    (("serve", "--listen-database"), "--listen-database: needs a value"),
    (("serve", "--no-jobs=maybe"), '--no-jobs: "maybe" is not 1, true'),
    (("serve", "--database", "x", "--log-level", "loud"), 'log-level: "loud" is not'),
    (("serve", "extra"), "extra: not expected here"),
    (("cluster",), "cluster needs --embedded DIR"),
    (("serve", "--yes"), "--yes: no such flag"),
])
def test_wrong_words(words, message):
    done = leadrouterd(*words, LEADROUTER_DATABASE="", LEADROUTER_EMBEDDED="")
    assert done.returncode == 2 and message in done.stderr and not done.stdout


def test_wrong_environment():
    done = leadrouterd("serve", LEADROUTER_LANES="65")
    assert done.returncode == 2 and 'LEADROUTER_LANES: "65" is not a number from 1 to 64' in done.stderr
    done = leadrouterd("serve", "--database", "x", LEADROUTER_LANSE="3")
    assert (done.returncode, done.stderr) == (2, "leadrouterd: LEADROUTER_LANSE: no such variable; did you mean LEADROUTER_LANES?\n")


# --- Starting ---------------------------------------------------------------------------------------------------------------------------


def test_database_gone_at_start():
    started = time.monotonic()
    text = refuses("--database", "host=/nonexistent user=leadrouter_service dbname=x")
    assert time.monotonic() - started < 15 and text.startswith("the database is away: "), text


def test_database_url_that_is_none():
    assert "connection string" in refuses("--database", "this is no url")


def test_schema_of_another_version(cluster, database, sql):
    empty = cluster.database("template0")
    text = refuses("--database", cluster.service_url(empty))
    assert "schema version 0" in text or "no schema" in text, text
    cluster.drop_database(empty)
    sql("insert into leadrouter.migrations (number, name, applied_at) values (99, 'future', now())")
    sql("create or replace function leadrouter.schema_version() returns int language sql as 'select 99'")
    text = refuses("--database", cluster.service_url(database))
    assert "99" in text and "1" in text, text


def test_port_taken(cluster, database):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} is in use" in refuses("--database", cluster.service_url(database), "--listen", f"127.0.0.1:{port}")


def refuses_settings(*words):
    """The exit code and the one line about settings that are wrong; nothing was started for it, nor a database asked."""
    done = leadrouterd("serve", "--database", "this is no url", *words)
    assert done.stderr.startswith("leadrouterd: ") and done.stderr.count("\n") == 1 and not done.stdout, done.stderr
    return done.returncode, done.stderr


WITH_TLS = ("--tls-certificate", "x", "--tls-key", "x", "--no-client-certificates")
NO_FORM = "is not an address of the form host:port"
NO_PORT = "has no port between 0 and 65535"


@pytest.mark.parametrize("address, text", [
    *((address, "is not a loopback address") for address in ("0.0.0.0:0", "192.0.2.1:0", "[::]:0", "example.com:0", "127.example.com:0")),
    *((address, NO_FORM) for address in ("127.0.0.1", "nonsense", ":7450")),
    *((address, NO_PORT) for address in ("127.0.0.1:70000", "127.0.0.1:", "127.0.0.1:x")),
])
def test_addresses_that_are_refused(address, text):
    code, line = refuses_settings("--listen", address)
    assert code == 2 and f'--listen: "{address}" {text}' in line, line


@pytest.mark.parametrize("setting", ["--listen", "--admin-listen"])
@pytest.mark.parametrize("address, text", [
    ("127.0.0.1", NO_FORM), ("nonsense", NO_FORM), ("::1:0", NO_FORM), ("127.0.0.1:70000", NO_PORT),
    ("[nonsense]:0", "there is no such host"),
])
def test_addresses_that_are_refused_with_tls(setting, address, text):
    code, line = refuses_settings(setting, address, *WITH_TLS)
    assert code == 2 and f'{setting}: "{address}"' in line and text in line, line


@pytest.mark.parametrize("words", [("--listen", "no.such.host.invalid:0", *WITH_TLS), ("--admin-listen", "no.such.host.invalid:0")])
def test_host_that_is_none(words):
    """Where nobody can be asked for names that is told instead, with the code after which whoever supervises tries again."""
    code, line = refuses_settings(*words)
    known = f'{words[0]}: "no.such.host.invalid:0": there is no such host' in line
    assert known or f'{words[0]}: could not look up "no.such.host.invalid:0": ' in line, line
    assert code == (2 if known else 1)


@pytest.mark.parametrize("listen, admin_listen", [
    ("127.0.0.1:7450", "127.0.0.1:7450"), ("localhost:7450", "127.0.0.1:7450"), ("[::1]:7450", "[::1]:7450")])
def test_two_listeners_on_one_address(listen, admin_listen):
    assert refuses_settings("--listen", listen, "--admin-listen", admin_listen) == (
        2, f"leadrouterd: --listen {listen} and --admin-listen {admin_listen} are one address: each needs its own\n")


def test_directories_that_cannot_be_used(directory):
    (directory / "file").write_text("", encoding="ascii")
    assert f"{directory}/file" in refuses("--embedded", str(directory / "file"))
    assert f"{directory}/file" in refuses("--embedded", str(directory / "file" / "below"))
    assert "/proc/leadrouter" in refuses("--embedded", "/proc/leadrouter")


# --- Running ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_stops_clean(server, sql):
    """With a lead routed, a call refused and a connection left open; under AddressSanitizer a leak would change the exit code."""
    sql(RULES)
    assert create(server, 3, route=True).results[2].routing.outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
    assert status(route, server, PARTNER) == grpc.StatusCode.NOT_FOUND
    assert server.stop() == 0, server.text()
    events = [line["event"] for line in server.lines() if not line["event"].startswith("routing.")] # of leads routed, a share
    assert events == ["server.started", "rpc.failed", "server.stopping", "server.stopped"]
    failed, = server.events("rpc.failed")
    assert (failed["method"], failed["code"]) == ("/leadrouter.v1.RoutingService/RouteLead", "NOT_FOUND") and failed["error"]


@pytest.mark.asan
def test_stops_at_once_without_a_call(server):
    assert server.stop() == 0, server.text()


@pytest.mark.asan
def test_sigterm_under_load_loses_nothing(cluster, database, server, sql):
    """Every call has an answer; each lead whose caller heard that it is decided is decided, with that decision, and nothing is held."""
    sql(RULES)
    ids = [result.lead_id for result in create(server, 1000).results]
    stopping = threading.Event()

    def ask(number):
        if number == 100:
            stopping.set()
        try:
            return ids[number], route(server, ids[number], PATIENCE_S), None
        except grpc.RpcError as error:
            return ids[number], None, error.code()

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(ask, number) for number in range(len(ids))]
        assert stopping.wait(PATIENCE_S)
        assert server.stop() == 0, server.text()
        answers = [answer.result(PATIENCE_S) for answer in answers]
    decided = {lead: answer.decision_id for lead, answer, _ in answers if answer}
    assert decided and all(code in AWAY for _, answer, code in answers if not answer)
    stored = dict(sql("select id::text, decision_id::text from leads where routing_status = 'routed'"))
    assert decided.items() <= stored.items()
    assert sql("select count(*) from leads where routing_status = 'routing'") == [(0,)]
    assert sql("select count(*) from lead_routing_logs") == [(len(stored),)]


def take_all(stream):
    """What a stream still brings before it is broken off."""
    answers = []
    with pytest.raises(grpc.RpcError):
        for answer in stream:
            answers.append(answer)
    return answers


@pytest.mark.asan
def test_streams_end_when_the_server_stops(cluster, database, server, sql):
    """One that is idle does not hold it up; what was sent is answered first, and its client is told to go elsewhere."""
    sql(RULES)
    ids = [result.lead_id for result in create(server, 50).results]
    requests = queue.Queue()
    idle = server.routing.RouteLeads(iter(queue.Queue().get, None))
    stream = server.routing.RouteLeads(iter(requests.get, None))

    def send(number):
        lead = routing_pb2.RouteLeadRequest(lead_id=ids[number], source_workspace_id=PARTNER)
        requests.put(routing_pb2.RouteLeadsRequest(index=number, lead=lead))

    send(0)
    assert next(stream).index == 0
    with cluster.connect(database) as holder:
        holder.autocommit = False
        holder.cursor().execute("lock table lead_dedupe_claims in share mode") # deciding waits
        for number in range(1, len(ids)):
            send(number)
        wait_until(lambda: sql("select count(*) from pg_locks where not granted") != [(0,)], "nothing is being decided")
        os.kill(server.process.pid, signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as caught:
            next(idle)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE and "the server is stopping" in caught.value.details()
        holder.rollback()
    answered = [answer.index for answer in take_all(stream)]
    assert stream.code() == grpc.StatusCode.UNAVAILABLE and "the server is stopping" in stream.details()
    assert answered and sql("select count(*) from leads where routing_status = 'routed'") == [(1 + len(answered),)]
    assert server.wait(5) == 0, "an open stream holds the stop up"
    requests.put(None)


def test_two_servers_on_one_database(cluster, database, server, sql):
    sql(RULES)
    with Server(cluster.service_url(database)) as other:
        lead_id = create(server, 1).results[0].lead_id
        assert route(server, lead_id).decision_id == route(other, lead_id).decision_id
        assert other.stop() == 0


def test_database_gone_in_the_middle():
    """Calls get UNAVAILABLE while it is away, and the same server answers again once it is back; what was answered is there."""
    with ProductCluster() as cluster:
        name = cluster.database()
        execute(cluster, name, RULES)
        with Server(cluster.service_url(name)) as server:
            ids = [result.lead_id for result in create(server, 20).results]
            decided = {lead_id: route(server, lead_id).decision_id for lead_id in ids[:10]}
            cluster.kill()
            for _ in range(3):
                assert status(route, server, ids[10]) == grpc.StatusCode.UNAVAILABLE
                assert status(create, server, 1, "y") == grpc.StatusCode.UNAVAILABLE
                assert status(server.routing.Health, routing_pb2.HealthRequest()) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK)
            cluster.restart()
            wait_until(lambda: status(route, server, ids[10]) == grpc.StatusCode.OK, "routing did not recover")
            wait_until(lambda: status(create, server, 1, "z") == grpc.StatusCode.OK, "creating did not recover")
            for lead_id in ids:
                answer = route(server, lead_id)
                assert decided.setdefault(lead_id, answer.decision_id) == answer.decision_id
            rows = execute(cluster, name, "select id::text, decision_id::text from leads where external_id like 'x-%'")
            assert dict(rows) == decided
            assert server.stop() == 0
            server.check_log()


# --- The embedded database --------------------------------------------------------------------------------------------------------------


def test_embedded_survives_a_kill_and_is_for_one_server(directory):
    """Killed, it is adopted or recovered by the next start; a second server on the same directory is refused."""
    where = str(directory / "made" / "here")
    with Server(None, "--embedded", where) as server:
        shown = leadrouterd("migrate", "status", "--embedded", where)
        assert shown.returncode == 1 and where in shown.stderr
        assert f"another process uses the directory {where}" in refuses("--embedded", where)
        assert server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S).schema_version == 1
        server.kill()
    with Server(None, "--embedded", where) as server:
        wait_ready(server)
        assert server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S).schema_version == 1
        os.kill(server.process.pid, signal.SIGINT)
        assert server.wait() == 0
        assert server.events("server.stopped")[0]["signal"] == "SIGINT"
    assert not (directory / "made" / "here" / "data" / "postmaster.pid").exists()
