"""Goal: the admin listener says how the server is, also while its database is away; it serves whom it should; and no request, however
made, keeps it from that."""
import http.client
import os
import pathlib
import re
import resource
import socket
import ssl
import subprocess
import time
import uuid

import grpc
import pytest

from support.admin import address_of, get, health, raw, scrape, value
from support.certificates import Authority
from support.postgres import LEADROUTERD
from support.process import limit_descriptors
from support.product_cluster import PATIENCE_S, ProductCluster, wait_until
from support.retries import CALL_S, WORKSPACES, queue
from support.server import Server
from support.stubs import leads_pb2, maintenance_pb2, routing_pb2

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs/metrics.md"
TOKEN = "a-token-of-the-test-0123456789"
CONNECTIONS_MAX = 64
STRICT = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY",
          "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"}


@pytest.fixture(scope="module")
def shared(cluster):
    """For tests that change nothing."""
    name = cluster.database()
    with Server(cluster.service_url(name), "--no-jobs", "--admin-listen", "127.0.0.1:0") as running:
        yield running
        running.check_log()
    cluster.drop_database(name)


@pytest.fixture
def server(cluster, database):
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as running:
        yield running
        running.check_log()


def when_ready(server, status):
    return wait_until(lambda: (answer := get(server, "/readyz")).status == status and answer, f"/readyz is not {status}")


def test_it_is_off_unless_asked_for(cluster, database):
    with Server(cluster.service_url(database), "--no-jobs") as server:
        assert "admin" not in server.wait_for("server.started")


def test_what_is_served_is_what_is_documented(shared):
    """Every family of docs/metrics.md is served with its type, labels, unit and text, and no other is."""
    answer = get(shared, "/metrics")
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", answer.text, re.M))
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in
                  re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| ", DOCUMENT.read_text(encoding="utf-8"), re.M)}
    assert types == {name: kind for name, (kind, _) in documented.items()}
    row = r"^\| `(\w+)` \| \w+ \| [^|]*\| (\w*) ?\| (.*?)(?: Edges: [0-9. ]+)? \|$"
    texts = {name: (unit, text) for name, unit, text in re.findall(row, DOCUMENT.read_text(encoding="utf-8"), re.M)}
    assert {name: text for name, (_, text) in texts.items()} == dict(re.findall(r"^# HELP (\S+) (.*)$", answer.text, re.M))
    for name, (unit, _) in texts.items():
        assert unit == next((word for word in ("seconds", "bytes") if name.removesuffix("_total").endswith(word)), ""), name
    labels = {}
    for name, pairs in scrape(shared):
        family = name if name in types else re.sub("_(bucket|sum|count)$", "", name)
        labels.setdefault(family, set()).update(label for label, _ in pairs if label != "le")
    assert labels == {name: wanted for name, (_, wanted) in documented.items() if name in labels}
    assert {name for name in types if name not in labels} == {"leadrouter_workspace_retries_due", "leadrouter_workspace_duplicates"}


def test_promtool_finds_nothing_wrong(shared):
    check = subprocess.run(["promtool", "check", "metrics"], input=get(shared, "/metrics").text, capture_output=True, text=True,
                           check=False)
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")


def test_calls_are_counted(server, sql):
    sql(WORKSPACES)
    before = scrape(server)
    method = {"method": "leadrouter.v1.RoutingService/Health"}
    for _ in range(3):
        server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        server.routing.Health(routing_pb2.HealthRequest(workspace_id="x"), timeout=CALL_S)
    after = scrape(server)
    assert value(before, "leadrouter_rpc_started_total", **method) == 0
    assert value(after, "leadrouter_rpc_started_total", **method) == 4
    assert value(after, "leadrouter_rpc_handled_total", code="OK", **method) == 3
    assert value(after, "leadrouter_rpc_handled_total", code="INVALID_ARGUMENT", **method) == 1
    assert value(after, "leadrouter_rpc_duration_seconds_count", **method) == 4
    assert 0 < value(after, "leadrouter_rpc_duration_seconds_sum", **method) < 40
    assert value(after, "leadrouter_rpc_in_flight", **method) == 0
    with pytest.raises(Exception, match="UNIMPLEMENTED"):
        server.channels[0].unary_unary("/no.such/Method")(b"", timeout=CALL_S)
    assert value(scrape(server), "leadrouter_rpc_handled_total", code="UNIMPLEMENTED", method="other") == 1


def test_alive_and_ready(shared):
    answer = get(shared, "/livez")
    assert (answer.status, answer.text) == (200, "ok\nprocess: ok\nlistener: ok\n")
    answer = when_ready(shared, 200)
    assert re.fullmatch(r"ready\ndatabase: ok\nschema: ok: version (\d+), needed is \1\n"
                        r"partitions: ok: the audit log has room for today and 30 more days\n"
                        r"descriptors: ok: \d+ of \d+ in use\ndraining: ok: no\n", answer.text)
    for name, wanted in STRICT.items():
        assert answer.headers[name] == wanted
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert get(shared, "/livez", method="HEAD").text == ""


def ask(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_listener_that_takes_nobody(cluster, database):
    """Without descriptors no new connection is made: not alive, and not ready; told to connections that were there before. The gRPC core
    may lose its listener by that for good."""
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0", "--self-probe-ms", "0") as server:
        when_ready(server, 200)
        pid, connections = server.process.pid, [http.client.HTTPConnection(*address_of(server), timeout=10) for _ in range(2)]
        for connection in connections:
            connection.connect()
        get(server, "/metrics") # they have been accepted: it came after them
        limit, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        taken = set(os.listdir(f"/proc/{pid}/fd"))
        limit_descriptors(pid, next(number for number in range(limit) if str(number) not in taken), for_good=False)
        try:
            alive, ready = (ask(connection, path) for connection, path in zip(connections, ("/livez", "/readyz")))
        finally:
            limit_descriptors(pid, limit, for_good=False)
            for connection in connections:
                connection.close()
        assert alive[0] == 503 and re.fullmatch("not ok\nprocess: ok\nlistener: not ok: .+\n", alive[1]), alive
        assert ready[0] == 503 and re.search("^descriptors: not ok: ", ready[1], re.M) and "\ndatabase: ok\n" in ready[1]


def test_another_schema_is_not_ready(server, sql):
    when_ready(server, 200)
    sql("update leadrouter.migrations set number = number + 1")
    try:
        assert "schema: not ok: version 2, needed is 1" in when_ready(server, 503).text
    finally:
        sql("update leadrouter.migrations set number = number - 1")
    when_ready(server, 200)


def test_a_log_without_room_is_not_ready(server, sql):
    """Below two days ahead, while there is time to do something about it."""
    when_ready(server, 200)
    drop = """do $$ declare t text; begin
        for t in select c.oid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = 'lead_routing_logs'::regclass
            and c.relname > 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date + {}, 'YYYYMMDD') loop
            execute 'drop table ' || t; end loop; end $$"""
    sql(drop.format(2))
    wait_until(lambda: "partitions: ok: the audit log has room for today and 2 more days\n" in get(server, "/readyz").text, "not counted")
    assert get(server, "/readyz").status == 200
    sql(drop.format(1))
    assert "partitions: not ok: the audit log has room for today and 1 more day\n" in when_ready(server, 503).text
    server.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="retention"), timeout=CALL_S)
    when_ready(server, 200)


def test_health(server, sql):
    sql(WORKSPACES)
    wait_until(lambda: health(server)[1]["database"]["status"] == "up", "the database was not looked at")
    status, answer = health(server)
    assert (status, answer["status"], answer["routing"]["status"], answer["problems"]) == (200, "healthy", "healthy", [])
    assert {"pendingCount", "routingCount", "failedCount", "retryQueueCount", "staleLockCount"} < set(answer["routing"])
    assert [job["name"] for job in answer["jobs"]][:2] == ["expiry", "health_check"]
    shares, waits = ("successShare", "duplicateShare", "expiredShare", "lockShare"), ("p50Ms", "p95Ms", "p99Ms", "maxMs")
    assert {answer["rates"][name] for name in (*shares, *waits)} == {None}, "of nothing there is no share, not one of 0 %"
    queue(server, sql, 1)
    rates = wait_until(lambda: (found := health(server)[1]["rates"])["lockAttempts"] == 1 and found, "the attempt is not counted")
    assert [rates[name] for name in shares] == [None, None, 0, 1] and all(rates[name] > 0 for name in waits), rates
    sql("update lead_routing_queue set next_retry_at = now() - interval '121 minutes'")
    wait_until(lambda: health(server)[1]["status"] == "critical", "a retry that is two hours late is not critical")
    status, answer = health(server)
    assert status == 200, "another server could not do anything about it either"
    assert answer["problems"] == ["a retry has been due for 2 h"]
    assert (answer["routing"]["pendingCount"], answer["routing"]["retryQueueCount"], answer["routing"]["retriesDueCount"]) == (1, 1, 1)


def test_the_database_goes_and_comes_back():
    """While it is away everything is served, and says so; nobody waits for it. In a cluster of its own."""
    with ProductCluster() as own:
        with Server(own.service_url(own.database()), "--no-jobs", "--admin-listen", "127.0.0.1:0") as server:
            when_ready(server, 200)
            assert value(scrape(server), "leadrouter_database_up") == 1
            wait_until(lambda: all(value(scrape(server), "leadrouter_sample_duration_seconds", sample=name) > 0
                                   for name in ("tables", "duplicates")), "it does not look at everything once")
            own.kill()
            answer = when_ready(server, 503)
            assert re.search("^database: not ok: ", answer.text, re.M) and "draining: ok" in answer.text
            taken = []
            for _ in range(10): # one of them meets no other process that wants the processor
                began = time.monotonic()
                first = scrape(server)
                taken.append(time.monotonic() - began)
            assert min(taken) < 1, taken
            assert value(first, "leadrouter_database_up") == 0 and value(first, "leadrouter_sample_failures_total", sample="routing") >= 1
            wait_until(lambda: value(scrape(server), "leadrouter_sample_age_seconds", sample="routing") >
                       value(first, "leadrouter_sample_age_seconds", sample="routing") + 1, "the sample does not get older")
            status, answer = health(server)
            assert (status, answer["status"], answer["database"]["status"]) == (503, "critical", "down")
            assert get(server, "/livez").status == 200, "starting the process again would not mend the database"
            own.restart()
            when_ready(server, 200)
            assert value(scrape(server), "leadrouter_database_up") == 1 and health(server)[0] == 200
            failed, back = (len(server.events(name)) for name in ("sample.failed", "sample.back"))
            assert 1 <= back <= failed <= back + 1, "once, and once more where duplicates were being counted for too long"


def test_stopping(cluster, database):
    """While calls end the listener says that the server is to get no more, and still serves metrics."""
    method = {"method": "leadrouter.v1.LeadService/GetLead"}
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0", "--drain-ms", "20000") as server:
        holder = cluster.connect(database)
        holder.autocommit = False
        holder.cursor().execute("lock table leads in access exclusive mode")
        request = leads_pb2.GetLeadRequest(lead_id=str(uuid.uuid4()), workspace_id=str(uuid.uuid4()))
        call = server.leads.GetLead.future(request, timeout=CALL_S)
        wait_until(lambda: value(scrape(server), "leadrouter_rpc_in_flight", **method) == 1, "the call has not come")
        server.process.terminate()
        wait_until(lambda: value(scrape(server), "leadrouter_draining") == 1, "it does not stop")
        answer = get(server, "/readyz")
        assert answer.status == 503 and "draining: not ok: the server is stopping" in answer.text
        assert get(server, "/livez").status == 200 and health(server)[0] == 503
        holder.close()
        assert call.code() == grpc.StatusCode.NOT_FOUND
        assert server.wait() == 0


# --- What is refused ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/page", "/page.css/", "/metrics/", "/metrics/x", "/metrics/../metrics", "/../../etc/passwd",
                                  "/%2e%2e/etc/passwd", "/metrics%00", "/%6detrics", "//metrics", "/METRICS", "/api",
                                  "/api/health/../health",
                                  "/<script>alert(1)</script>", "/" + "x" * 8000])
def test_other_paths(shared, path):
    answer = get(shared, path)
    assert (answer.status, answer.text) == (404, "there is nothing here\n")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "BREW"])
def test_other_methods(shared, method):
    got = raw(shared, f"{method} /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert got.startswith(b"HTTP/1.1 405 ") and b"\r\nAllow: GET, HEAD\r\n" in got


def test_a_body_is_not_read(shared):
    """Neither one that is announced and huge, nor one that never comes."""
    got = raw(shared, b"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n", b"x" * 1000000)
    assert got == b"" or got.startswith(b"HTTP/1.1 405 ")
    assert raw(shared, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert raw(shared, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("request_", [
    b"GET /" + b"x" * 1024 * 1024 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 1024 * 1024 + b"\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"a: b\r\n" * 100000 + b"\r\n",
    b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 65 + b"Host: 127.0.0.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    b"GET\r\n\r\n", b"\r\n" * 10000, b"\0" * 20000,
    b"GET /metrics\r\n\r\n", b"GET /metrics HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n", b"GET /metrics HTTP/1.0\r\n\r\n",
    b"GET http://127.0.0.1/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /met\0rics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: attacker.example\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHo\0st: 127.0.0.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"G" * 1024 * 1024, b": x\r\n" * 1000,
], ids=["line", "header", "headers", "65-headers", "no-host", "tls", "http2", "short", "empty", "zeros", "0.9", "9.9", "1.0", "absolute",
        "star", "zero", "two-hosts", "zero-in-name", "negative-length", "method", "no-names"])
def test_bad_requests(shared, request_):
    """Too large, too many, or not HTTP: refused or closed, at most with an error, and the next is served."""
    got = raw(shared, request_)
    assert got == b"" or re.match(rb"HTTP/1\.[01] (4\d\d|505) ", got), got[:200]
    assert get(shared, "/livez").status == 200


def test_one_request_for_each_connection(shared):
    """Those that come behind the first are not served; nor is a query a part of the path."""
    got = raw(shared, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 100)
    assert got.count(b"HTTP/1.1 200 ") == 1 and got.count(b"HTTP/") == 1
    text = get(shared, "/livez?<script>alert(1)</script>&x=%0d%0aX-Evil:%201").text
    assert text == get(shared, "/livez").text


def test_answers_are_counted(shared):
    """Each under its status, and nowhere else."""
    def counts():
        return {dict(labels)["status"]: int(count) for (name, labels), count in scrape(shared).items()
                if name == "leadrouter_admin_requests_total"}
    tag = get(shared, "/page.css").headers["ETag"]
    before = counts()
    statuses = [get(shared, "/page.css", If_None_Match=tag).status, get(shared, "/livez").status, get(shared, "/nothing").status,
                get(shared, "/metrics", "POST").status, get(shared, "/metrics", Host="attacker.example").status]
    raw(shared, b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 65 + b"Host: 127.0.0.1\r\n\r\n")
    after = counts()
    assert statuses == [304, 200, 404, 405, 403]
    moved = {status: after[status] - count for status, count in before.items()}
    assert moved == {"200": 2, "304": 1, "400": 1, "401": 0, "403": 1, "404": 1, "405": 1, "503": 0} # 200: and the scrape before


def test_pages_from_elsewhere(shared):
    """A name that somebody else gave to this address is not served; addresses and localhost are."""
    for host, status in (("127.0.0.1", 200), ("127.0.0.1:7451", 200), ("localhost:7451", 200), ("[::1]:7451", 200),
                         ("attacker.example", 403), ("127.0.0.1.attacker.example", 403), ("localhost.attacker.example:80", 403),
                         ("", 403), ("[::1", 403), ("x" * 300, 403)):
        assert get(shared, "/metrics", Host=host).status == status, host


def test_many_that_ask_for_nothing(shared):
    """More connections than there may be, half of them with the beginning of a request: who asks is served all the same; and they are
    all closed after a while, also one that sends a byte now and then."""
    idle = []
    try:
        for i in range(3 * CONNECTIONS_MAX):
            connection = socket.create_connection(address_of(shared), timeout=30)
            if i % 2:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            idle.append(connection)
        assert get(shared, "/livez", timeout=5).status == 200
        assert value(scrape(shared), "process_open_fds") < 2 * CONNECTIONS_MAX
        slow = idle[-1]
        slow.settimeout(0.5)

        def is_closed():
            try:
                slow.sendall(b"x")
                return slow.recv(1) == b""
            except socket.timeout:
                return False
            except OSError:
                return True
        wait_until(is_closed, "a connection that sends a byte now and then lives on")
    finally:
        for connection in idle:
            connection.close()
    assert get(shared, "/livez").status == 200


def test_many_that_do_not_read(shared):
    """More connections than there may be ask for the longest answer and take none of it: who asks and reads is served all the same."""
    deaf = []
    try:
        for _ in range(3 * CONNECTIONS_MAX):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.settimeout(30)
            connection.connect(address_of(shared))
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            deaf.append(connection)
        for _ in range(3):
            assert get(shared, "/livez", timeout=5).status == 200
    finally:
        for connection in deaf:
            connection.close()
    assert value(scrape(shared), "process_open_fds") < 2 * CONNECTIONS_MAX


# --- Who is served -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ca(tmp_path):
    authority = Authority(tmp_path)
    authority.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth")
    return authority


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n", encoding="utf-8")
    file.chmod(0o600)
    return file


def tls_flags(ca):
    return ("--tls-certificate", str(ca.directory / "server.pem"), "--tls-key", str(ca.directory / "server.key"),
            "--no-client-certificates")


def test_a_token_file_that_is_not_there(cluster, database):
    with pytest.raises(AssertionError, match="/nonexistent"):
        with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0", "--admin-token-file", "/nonexistent"):
            pass


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
@pytest.mark.parametrize("has_tls, has_token", [(False, False), (True, False), (False, True)])
def test_other_machines_need_both(ca, token_file, address, has_tls, has_token):
    """Neither TLS without a token nor a token in plain text; said before a database is asked. Other addresses: test_server.py."""
    flags = [*(tls_flags(ca) if has_tls else ()), *(("--admin-token-file", str(token_file)) if has_token else ())]
    done = subprocess.run([LEADROUTERD, "serve", "--database", "this is no url", *flags, "--admin-listen", address], capture_output=True,
                          text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (2, f"leadrouterd: --admin-listen {address}: other machines are served only with "
                                                 "--tls-certificate and --admin-token-file\n")


def test_tokens_that_are_none(cluster, database, tmp_path):
    for content, mode, text in (("short\n", 0o600, "not one token of at least 16 characters"), (TOKEN, 0o644, "chmod"),
                                (f"{TOKEN} {TOKEN}", 0o600, "not one token"), ("", 0o600, "not one token")):
        file = tmp_path / "bad"
        file.write_text(content, encoding="utf-8")
        file.chmod(mode)
        with pytest.raises(AssertionError) as failure:
            with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0", "--admin-token-file", str(file)):
                pass
        assert text in str(failure.value) and TOKEN not in str(failure.value)


def test_a_port_that_is_taken(cluster, database):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(AssertionError, match="Address already in use"):
            with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", f"127.0.0.1:{taken.getsockname()[1]}"):
                pass


def test_other_machines(cluster, database, ca, token_file):
    """Any address, with TLS and a token: without the token nothing but whether the server is alive and ready."""
    context = ssl.create_default_context(cafile=ca.file)
    with Server(cluster.service_url(database), "--no-jobs", *tls_flags(ca), "--admin-listen", "0.0.0.0:0", "--admin-token-file",
                str(token_file)) as server:
        def ask(path, token=None):
            headers = {} if token is None else {"Authorization": token}
            return get(server, path, context=context, **headers)
        for token in (None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x"):
            for path in ("/metrics", "/api/health", "/api/live", "/nothing"):
                answer = ask(path, token)
                assert (answer.status, answer.headers["WWW-Authenticate"], answer.text) == (401, "Bearer", "a token is needed\n")
        assert (ask("/livez").status, ask("/livez").text) == (200, "ok\n")
        wait_until(lambda: ask("/readyz").status == 200, "it is not ready")
        assert ask("/readyz").text == "ready\n"
        assert "database: ok" in ask("/readyz", f"Bearer {TOKEN}").text
        answer = ask("/metrics", f"bearer {TOKEN}")
        assert answer.status == 200
        expiry = float(re.search(r"^leadrouter_certificate_expiry_timestamp_seconds (\S+)$", answer.text, re.M)[1])
        end = subprocess.run(["openssl", "x509", "-in", ca.directory / "server.pem", "-noout", "-enddate"], check=True,
                             capture_output=True, text=True).stdout.strip().removeprefix("notAfter=")
        assert expiry == ssl.cert_time_to_seconds(end)
        assert raw(server, b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")[:4] != b"HTTP", "plain text is not served"
        ca.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth", days=5)
        token_file.write_text("another-token-0123456789", encoding="utf-8")
        server.process.send_signal(1)
        server.wait_for("tls.reloaded")
        wait_until(lambda: ask("/metrics", "Bearer another-token-0123456789").status == 200, "the new token is not taken")
        assert ask("/metrics", f"Bearer {TOKEN}").status == 401
        der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", address_of(server)[1])))
        assert der == ssl.PEM_cert_to_DER_cert((ca.directory / "server.pem").read_text(encoding="utf-8"))
        ca.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth", days=9)
        token_file.write_text("short", encoding="utf-8")
        server.process.send_signal(1)
        server.wait_for("tls.refused")
        line = server.events("tls.refused")[0]
        assert (line["message"], str(token_file) in line["error"]) == ("the admin listener keeps its certificate and its token", True)
        assert len(server.events("tls.reloaded")) == 2, "the other listener has its new certificate all the same"
        answer = ask("/metrics", "Bearer another-token-0123456789")
        later = float(re.search(r"^leadrouter_certificate_expiry_timestamp_seconds (\S+)$", answer.text, re.M)[1])
        assert ssl.cert_time_to_seconds(end) != later and later > time.time() + 8 * 86400
        assert der == ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", address_of(server)[1])))
        assert TOKEN not in server.text()


def test_the_help_names_it():
    text = subprocess.run([LEADROUTERD, "serve", "--help"], check=True, capture_output=True, text=True, env={**os.environ}).stdout
    assert "--admin-listen HOST:PORT" in text and "LEADROUTER_ADMIN_TOKEN_FILE" in text
