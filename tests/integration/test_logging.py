"""Goal: each finished decision that is worth it has one line, with who asked, what became of it and how long each phase took; what is many
times the same is counted; and no reader of the log, however slow or dead, and no text of a caller's, disturbs server or line."""
import collections
import datetime
import json
import os
import re
import subprocess
import sys
import threading
import time
import types
import uuid

import grpc
import pytest

from support.admin import scrape, value
from support.fetched_program import go_program, npm_program, pypi_module
from support.ports import free_address
from support.postgres import LEADROUTERD, ROOT
from support.product_cluster import PATIENCE_S, execute, wait_until
from support.server import Server
from support.stubs import leads_pb2, maintenance_pb2, routing_pb2, routing_pb2_grpc

PARTNER, DESK = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
RULE = "00000000-0000-4000-8000-0000000000b1"
NASTY = "<script>alert(\"x\")</script>\n{\"event\": \"forged\"}\r\u2028' \\ \x7f"
ROWS = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (id, workspace_id, rule_name, conditions, destination_workspace_id)
values ('{RULE}', '{PARTNER}', 'all', '{{"field": "city", "op": "ne", "value": "Nowhere"}}', '{DESK}');
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PHASES = ("wait_us", "lock_us", "load_us", "match_us", "write_us")
DEADLINE_S = 30
SLOW_MS = "600000" # no decision takes so long, whatever the machine does meanwhile
R = routing_pb2


@pytest.fixture
def served(cluster, database, sql):
    """Starts servers with flags; each logs all decisions, and finds none slow, unless it is told otherwise. They live five and a half hours
    east."""
    sql(ROWS)
    servers = []

    def start(*flags):
        flags = flags or ("--log-sample-per-mille", "1000")
        slow = () if "--log-slow-ms" in flags else ("--log-slow-ms", SLOW_MS)
        server = Server(cluster.service_url(database), "--no-jobs", *flags, *slow, TZ="EAST-5:30")
        servers.append(server)
        return server.__enter__()
    yield start
    for server in servers:
        server.__exit__()
        server.check_log()


def new_lead(sql, **columns):
    columns = {"city": "Lyon", **columns}
    names = ["workspace_id", *columns]
    return str(sql(f"insert into leads ({', '.join(names)}) values ({', '.join(['%s'] * len(names))}) returning id",
                   (PARTNER, *columns.values()))[0][0])


def route(server, lead, metadata=(), **fields):
    request = R.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER, **fields)
    return server.routing.RouteLead(request, timeout=DEADLINE_S, metadata=metadata)


def fails(server, lead, code, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        route(server, lead, **fields)
    assert caught.value.code() == code
    return caught.value


def line_of(server, lead, event):
    """The one line of this event about a lead."""
    lines = wait_until(lambda: [line for line in server.events(event) if line.get("lead_id") == lead], f"no {event}: {server.text()}")
    assert len(lines) == 1
    return lines[0]


def count(lines):
    """How many things lines stand for."""
    return sum(line.get("repeated", 1) for line in lines)


# --- What a line says --------------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_a_routed_lead(served, sql):
    server, lead, request_id = served(), new_lead(sql, email="jane@acme.example"), str(uuid.uuid4())
    answer = route(server, lead, metadata=(("x-request-id", request_id), ("traceparent", f"00-{TRACE}-{PARENT}-00")))
    line = line_of(server, lead, "routing.complete")
    assert {name: line[name] for name in ("level", "outcome", "workspace_id", "destination_workspace_id", "rule_id", "decision_id",
                                          "attempt", "method", "request_id", "trace_id", "span_id", "sample_per_mille")} == {
        "level": "info", "outcome": "routed", "workspace_id": PARTNER, "destination_workspace_id": DESK, "rule_id": RULE,
        "decision_id": answer.decision_id, "attempt": 1, "method": "/leadrouter.v1.RoutingService/RouteLead",
        "request_id": request_id, "trace_id": TRACE, "span_id": PARENT, "sample_per_mille": 1000}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) and line["batch_leads"] == 1
    assert abs(datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp() - time.time()) < 600, "not UTC"
    assert all(line[phase] >= 0 for phase in PHASES) and line["lock_us"] > 0 and line["write_us"] > 0
    assert sum(line[phase] for phase in PHASES) <= line["duration_us"] + len(PHASES)
    assert not {"code", "error", "peer", "sqlstate", "slow", "retry", "repeated"} & set(line)
    again = route(server, lead)
    assert again.outcome == R.ROUTING_OUTCOME_ALREADY_ROUTED
    repeat = wait_until(lambda: server.events("routing.complete")[1:], "no second line")[0]
    assert repeat["outcome"] == "already_routed" and "write_us" not in repeat and repeat["decision_id"] == answer.decision_id
    assert server.stop() == 0, server.text()


def test_a_duplicate_names_the_other_workspace(served, sql):
    server = served("--log-sample-per-mille", "0")
    first, second = (new_lead(sql, email="jane@acme.example", first_name="Jane", last_name="Doe") for _ in range(2))
    route(server, first)
    assert route(server, second).outcome == R.ROUTING_OUTCOME_DUPLICATE
    line = line_of(server, second, "routing.duplicate_detected")
    assert (line["level"], line["duplicate_lead_id"], line["duplicate_workspace_id"]) == ("info", first, DESK)
    assert not server.events("routing.complete"), "a plain success, although none is wanted"


def test_duplicates_of_one_moment_name_it_too(served, sql):
    """Four copies at once, in one batch or in several: whoever wins, the others say where."""
    server = served()
    person = {"email": "jane@acme.example", "first_name": "Jane", "last_name": "Doe", "city": "Lyon"}
    leads = [leads_pb2.NewLead(external_id=str(i), **person) for i in range(4)]
    server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads, route=True), timeout=DEADLINE_S)
    winner, = wait_until(lambda: server.events("routing.complete"), "nobody won")
    lines = wait_until(lambda: server.events("routing.duplicate_detected")[2:] and server.events("routing.duplicate_detected"), "too few")
    assert {(line["duplicate_workspace_id"], line["duplicate_lead_id"]) for line in lines} == {(DESK, winner["lead_id"])}


def test_a_lead_that_nothing_takes(served, sql):
    server, lead = served("--log-sample-per-mille", "0"), new_lead(sql, city="Nowhere")
    assert route(server, lead, max_attempts=2).outcome == R.ROUTING_OUTCOME_QUEUED_FOR_RETRY
    line = line_of(server, lead, "routing.retry_queued")
    assert (line["level"], line["class"], line["attempt"]) == ("info", "unmatched", 1)
    assert route(server, lead, max_attempts=2, force=True).outcome == R.ROUTING_OUTCOME_FAILED
    line = line_of(server, lead, "routing.failed")
    assert (line["level"], line["class"], line["outcome"]) == ("error", "unmatched", "failed")
    route(server, lead) # is told what is recorded: no attempt, no event
    server.stop()
    assert len(server.events("routing.failed")) == 1


def test_what_the_database_refuses(served, sql):
    """With its SQLSTATE, and none of what it said."""
    server, lead = served("--log-sample-per-mille", "0"), new_lead(sql, city="Lyon")
    sql("""create function public.refuse() returns trigger language plpgsql as
           $$ begin raise 'Jane of %', new.city using errcode = '53100'; end $$;
           create trigger refuse before update on leads
           for each row when (new.routing_status = 'routed') execute function public.refuse()""")
    assert route(server, lead).outcome == R.ROUTING_OUTCOME_QUEUED_FOR_RETRY
    line = line_of(server, lead, "routing.retry_queued")
    assert (line["sqlstate"], line["class"]) == ("53100", "database")
    assert "Jane" not in server.text() and "Lyon" not in server.text()


def test_a_lead_that_somebody_holds(served, sql, cluster, database):
    server, lead = served("--log-sample-per-mille", "0"), new_lead(sql)
    with cluster.connect(database) as holder, holder.cursor() as cursor:
        cursor.execute("select from leads where id = %s for update", (lead,))
        fails(server, lead, grpc.StatusCode.ABORTED)
        holder.rollback()
    line = line_of(server, lead, "routing.lock.failed")
    assert (line["level"], line["code"], line["workspace_id"]) == ("warning", "ABORTED", PARTNER) and line["error"]
    assert re.fullmatch(r"ipv4:127\.0\.0\.1:\d+", line["peer"]), "who it was that found it held"
    assert not server.events("rpc.failed"), "one failure has two lines"


def test_a_slow_one(served, sql):
    sql("""create function public.dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.06); return new; end $$;
           create trigger dawdle before update on leads for each row when (new.city = 'Far') execute function public.dawdle()""")
    server, slow, far = served("--log-sample-per-mille", "0", "--log-slow-ms", "50"), new_lead(sql, city="Far"), new_lead(sql)
    route(server, slow)
    line = line_of(server, slow, "routing.complete")
    assert line["slow"] and line["duration_us"] >= 50000 and line["write_us"] >= 50000 and "sample_per_mille" not in line
    route(server, far)
    server.stop()
    assert [each["lead_id"] for each in server.events("routing.complete") if not each.get("slow")] == []


def test_a_share_of_the_successes(served, sql):
    """One in four of 1,000, as chance has it."""
    server = served("--log-sample-per-mille", "250")
    leads = [leads_pb2.NewLead(external_id=str(i), city="Lyon") for i in range(1000)]
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads, route=True), timeout=DEADLINE_S)
    assert all(result.routing.outcome == R.ROUTING_OUTCOME_ROUTED for result in created.results)
    server.stop()
    lines = [line for line in server.events("routing.complete") if "sample_per_mille" in line]
    assert 150 < len(lines) < 350 and {line["sample_per_mille"] for line in lines} == {250}
    assert len({line["lead_id"] for line in lines}) == len(lines)


# --- Who asks ----------------------------------------------------------------------------------------------------------------------------


def test_every_way_to_ask(served, sql):
    server = served()
    metadata = (("x-request-id", str(uuid.uuid4())),)
    stream = iter([R.RouteLeadsRequest(index=1, lead=R.RouteLeadRequest(lead_id=new_lead(sql), source_workspace_id=PARTNER))])
    assert len(list(server.routing.RouteLeads(stream, timeout=DEADLINE_S, metadata=metadata))) == 1
    request_id = str(uuid.uuid4())
    lead = leads_pb2.NewLead(external_id="x", city="Lyon")
    create = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, request_id=request_id, route=True, leads=[lead])
    server.leads.CreateLeads(create, timeout=DEADLINE_S, metadata=metadata)
    lead.external_id = "y"
    parts = [leads_pb2.ImportLeadsRequest(start=leads_pb2.ImportStart(workspace_id=PARTNER, route=True, source="file")),
             leads_pb2.ImportLeadsRequest(rows=leads_pb2.ImportRows(rows=[leads_pb2.ImportRow(number=1, lead=lead)])),
             leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())]
    list(server.leads.ImportLeads(iter(parts), timeout=DEADLINE_S, metadata=metadata))
    waiting = new_lead(sql, city="Nowhere")
    route(server, waiting)
    sql("update leads set city = 'Lyon' where id = %s", (waiting,))
    sql("update lead_routing_queue set next_retry_at = now() - interval '1 s'")
    server.routing.ProcessRetries(R.ProcessRetriesRequest(), timeout=DEADLINE_S)
    server.stop()
    lines = {line.get("method", "").rsplit("/", 1)[-1]: line for line in server.events("routing.complete")}
    assert sorted(lines) == ["", "CreateLeads", "ImportLeads", "RouteLeads"], server.text()
    assert lines[""]["retry"] and lines[""]["lead_id"] == waiting and lines[""]["attempt"] == 2
    assert lines["RouteLeads"]["request_id"] == lines["ImportLeads"]["request_id"] == metadata[0][1]
    assert lines["CreateLeads"]["request_id"] == request_id, "the request's own id says more than the call's"


def test_joined_callers_share_one_line(served, sql, cluster, database):
    """A lead that somebody holds is given up after a tenth of a second: when it was let go too late for that, the next one is tried."""
    server = served()

    def route_one():
        lead = new_lead(sql)
        with cluster.connect(database) as holder, holder.cursor() as cursor:
            cursor.execute("select from leads where id = %s for update", (lead,))
            request = R.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER)
            calls = [server.routing.RouteLead.future(request, timeout=DEADLINE_S) for _ in range(5)]
            sql("select 1") # they come meanwhile
            holder.rollback()
        codes = {call.code() for call in calls}
        assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.ABORTED}
        return lead if codes == {grpc.StatusCode.OK} else None
    lead = wait_until(route_one, "none is let go in time")
    server.stop()
    lines = [line for line in server.events("routing.complete") if line["lead_id"] == lead]
    assert len([line for line in lines if line["outcome"] == "routed"]) == 1


def test_a_traceparent_that_is_none(served, sql):
    """Nor an x-request-id: neither is passed on, and the call has an id all the same."""
    values = [f"00-{TRACE}-{PARENT}", f"00-{TRACE.upper()}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
              f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01-more", "jane@acme.example", "x" * 4000, ""]
    server = served()
    for value in values:
        lead = new_lead(sql)
        route(server, lead, metadata=(("traceparent", value), ("x-request-id", value)))
        line = line_of(server, lead, "routing.complete")
        assert "trace_id" not in line and "span_id" not in line and uuid.UUID(line["request_id"]), value
        assert value == "" or value not in server.text()


def test_a_failed_call_has_the_ids_too(served):
    server, request_id = served(), str(uuid.uuid4())
    metadata = (("x-request-id", request_id), ("traceparent", f"00-{TRACE}-{PARENT}-01"))
    with pytest.raises(grpc.RpcError):
        route(server, str(uuid.uuid4()), metadata=metadata)
    line = server.wait_for("rpc.failed")
    assert (line["code"], line["request_id"], line["trace_id"], line["span_id"]) == ("NOT_FOUND", request_id, TRACE, PARENT)


# --- Many times the same -----------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_repeats_are_counted(served, sql):
    """300 leads that nothing takes, and 300 calls that fail: a few lines each, which say how many there were."""
    server = served("--log-sample-per-mille", "0")
    leads = [leads_pb2.NewLead(city="Nowhere", external_id=str(i)) for i in range(300)]
    server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads, route=True), timeout=DEADLINE_S)
    calls = [server.routing.RouteLead.future(R.RouteLeadRequest(lead_id=str(uuid.uuid4()), source_workspace_id=PARTNER), timeout=DEADLINE_S)
             for _ in range(300)]
    for call in calls:
        assert call.code() == grpc.StatusCode.NOT_FOUND
    server.stop()
    for event in ("routing.retry_queued", "rpc.failed"):
        lines = server.events(event)
        assert count(lines) == 300 and len(lines) < 150, len(lines)
        told, = {(line.get("workspace_id"), line.get("class")) for line in server.events("routing.retry_queued")}
        assert told == (PARTNER, "unmatched")


# --- Who reads ---------------------------------------------------------------------------------------------------------------------------


def started(cluster, database, error, *flags):
    """A server whose log goes there; its process and a stub."""
    address = free_address()
    process = subprocess.Popen([LEADROUTERD, "serve", "--database", cluster.service_url(database), "--listen", address,
                                "--no-jobs", "--log-level", "debug", "--log-sample-per-mille", "1000", "--log-slow-ms", SLOW_MS, *flags],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=error)
    channel = grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 100),
                                                    ("grpc.initial_reconnect_backoff_ms", 50)])
    grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
    return process, channel, routing_pb2_grpc.RoutingServiceStub(channel)


def use(stub, sql):
    """300 calls that leave lines on the debug level."""
    leads = [str(id) for id, in sql("insert into leads (workspace_id, city) select %s, 'Lyon' from generate_series(1, 300) returning id",
                                    (PARTNER,))]
    calls = [stub.RouteLead.future(R.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=DEADLINE_S) for lead in leads]
    assert {call.result().outcome for call in calls} == {R.ROUTING_OUTCOME_ROUTED}


@pytest.mark.parametrize("kind", ["closed pipe", "full disk"])
def test_a_log_that_takes_nothing(cluster, database, sql, kind):
    sql(ROWS)
    if kind == "full disk":
        error = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, error = os.pipe()
        os.close(reader)
    process, channel, stub = started(cluster, database, error)
    os.close(error)
    use(stub, sql)
    channel.close()
    process.terminate()
    assert process.wait(PATIENCE_S) == 0


def test_a_reader_who_does_not_read(cluster, database, sql):
    """Calls go on while nobody reads; then what there was is there, and what was lost is said."""
    sql(ROWS)
    reader, error = os.pipe()
    process, channel, stub = started(cluster, database, error, "--admin-listen", "127.0.0.1:0")
    os.close(error)
    for _ in range(6): # 1,800 calls: more than the pipe and the queue hold
        use(stub, sql)
    text = []
    thread = threading.Thread(target=lambda: [text.append(line) for line in os.fdopen(reader, encoding="utf-8")])
    thread.start()
    wait_until(lambda: any('"log.lost"' in line for line in list(text)), "nothing was lost, or nobody said so")
    line = next(line for line in list(text) if '"server.started"' in line)
    lost = value(scrape(types.SimpleNamespace(wait_for=lambda _: json.loads(line))), "leadrouter_log_lines_lost_total")
    process.terminate()
    channel.close()
    assert process.wait(PATIENCE_S) == 0
    thread.join(PATIENCE_S)
    events = collections.Counter()
    for line in map(json.loads, text):
        events[line["event"]] += line["lines"] if line["event"] == "log.lost" else 1
    assert events["server.stopped"] == 1 and events["log.lost"] > 100
    assert 100 < lost <= events["log.lost"]
    kept = events["rpc.called"] + events["routing.complete"]
    assert kept > 100 and kept + events["log.lost"] >= 2 * 1800, events


def test_a_reader_who_never_reads_again_does_not_hold_up_the_end(cluster, database, sql):
    sql(ROWS)
    reader, error = os.pipe()
    process, channel, stub = started(cluster, database, error)
    os.close(error)
    use(stub, sql)
    channel.close()
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    os.close(reader)


# --- Texts of callers --------------------------------------------------------------------------------------------------------------------


def test_names_with_markup_quotes_and_line_ends(served, sql):
    """They are in no line, and every line stays one: whatever the outcome."""
    sql("update workspaces set name = name || %s", (NASTY,))
    sql("update lead_routing_rules set rule_name = %s", (NASTY,))
    server = served("--log-sample-per-mille", "1000", "--log-level", "debug")
    person = {"email": "jane@acme.example", "first_name": "Jane" + NASTY, "last_name": "Doe"}
    for columns in (person, person, {"city": "Nowhere"}):
        assert route(server, new_lead(sql, **columns)).lead_id
    server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, route=True,
                                                          leads=[leads_pb2.NewLead(source=NASTY, city=NASTY)]), timeout=DEADLINE_S)
    with pytest.raises(grpc.RpcError):
        server.maintenance.RunJob(maintenance_pb2.RunJobRequest(name=NASTY), timeout=DEADLINE_S)
    server.stop()
    events = collections.Counter(line["event"] for line in server.lines())
    assert events["routing.complete"] == 2 and events["routing.duplicate_detected"] == 1 and events["routing.retry_queued"] == 1
    assert "<script" not in server.text() and "forged" not in server.text() and "Jane" not in server.text()


# --- The lists of docs/logging.md and docs/operations.md ----------------------------------------------------------------------------------

def written():
    """{event: levels} that the sources write, and the names of the fields."""
    text = "".join(path.read_text(encoding="utf-8") for folder in ("server", "src") for path in sorted((ROOT / folder).rglob("*.c")))
    events = collections.defaultdict(set)
    found = re.findall(r'(?:LOG_LEVEL_(\w+) : )?LOG_LEVEL_(\w+),\s*(?:CHOICE_\w+,\s*)?"([a-z_]+(?:\.[a-z_]+)+)"', text)
    for either, level, event in found:
        events[event] |= {name.lower() for name in (either, level) if name}
    return events, set(re.findall(r'(?:LOG_(?:STRING|INTEGER|BOOLEAN)|phase)\("(\w+)"', text))


def test_every_event_and_field_is_listed():
    """With its level; and nothing is listed that nobody writes."""
    pages = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("logging.md", "operations.md")}
    text = pages["logging.md"] + pages["operations.md"].partition("\n## Log events\n")[2]
    listed = collections.defaultdict(set)
    rows = re.findall(r"^\| (`\w+\.[\w.]+`(?:, `[\w.]+`)*) \| ((?:debug|info|warning|error)(?:, \w+)*) \|", text, re.MULTILINE)
    for names, levels in rows:
        names, levels = re.findall(r"`([^`]+)`", names), levels.split(", ")
        assert len(levels) in (1, len(names)) or len(names) == 1, names
        for number, name in enumerate(names):
            listed[name] |= set(levels if len(names) == 1 or len(levels) == 1 else levels[number:number + 1])
    events, fields = written()
    assert len(events) > 35 and len(fields) > 60
    assert dict(listed) == {**events, "log.lost": {"warning"}}
    assert {name for name in fields if f"`{name}`" not in text} == set()


def test_the_unit_lets_all_lines_through():
    """The journal drops what comes too fast, unless the unit says otherwise."""
    unit = (ROOT / "deploy/systemd/leadrouterd.service").read_text(encoding="utf-8").splitlines()
    assert "LogRateLimitIntervalSec=0" in unit[unit.index("[Service]"):]


# --- The four questions of docs/logging.md -----------------------------------------------------------------------------------------------


def queries(language):
    """The code blocks of docs/logging.md in this language, in order."""
    text = (ROOT / "docs/logging.md").read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 4, language
    return found


def hours_ago(hours):
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=hours)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


HOURS, LEADS = (1, 1, 1, 24), (30, 6) # asked for; and found by those that count


@pytest.fixture(scope="module")
def story(cluster, tmp_path_factory):
    """The log of a server in which all that is asked for has happened, as a file, and what there is to find."""
    database = cluster.database()
    sql = lambda statement, parameters=None: execute(cluster, database, statement, parameters)
    sql(ROWS)
    sql("""create function public.dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.06); return new; end $$;
           create trigger dawdle before update on leads for each row when (new.city = 'Far') execute function public.dawdle()""")
    person = {"email": "jane@acme.example", "first_name": "Jane", "last_name": "Doe"}
    with Server(cluster.service_url(database), "--no-jobs", "--log-sample-per-mille", "1000", "--log-slow-ms", "50") as server:
        held = [new_lead(sql) for _ in range(30)]
        with cluster.connect(database) as holder, holder.cursor() as cursor:
            cursor.execute("select from leads for update")
            calls = [server.routing.RouteLead.future(R.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=DEADLINE_S)
                     for lead in held]
            assert {call.code() for call in calls} == {grpc.StatusCode.ABORTED}
            holder.rollback()
        for _ in range(4):
            route(server, new_lead(sql, **person))
        slow, lost = new_lead(sql, city="Far"), new_lead(sql, city="Nowhere")
        route(server, slow)
        assert route(server, lost, max_attempts=1).outcome == R.ROUTING_OUTCOME_FAILED
        server.stop()
        path = tmp_path_factory.mktemp("story") / "leadrouter.log"
        slow_line, = [line for line in server.events("routing.complete") if line["lead_id"] == slow]
        text = server.text().replace(f'"duration_us":{slow_line["duration_us"]},', '"duration_us":5000001,')
        lines = server.lines()
    # The same two hours ago, which is asked for where it is a day; and a day and an hour ago, which is not asked for at all.
    old = [json.dumps({**json.loads(line), "time": hours_ago(hours)}) for hours in (25, 2) for line in text.splitlines()]
    path.write_text("\n".join(old) + "\n" + text)
    cluster.drop_database(database)
    return path, lines, {"slow": slow, "lost": lost}


@pytest.mark.parametrize("number", range(4))
def test_questions_for_jq(story, number):
    path, _, ids = story
    done = subprocess.run(["bash", "-c", queries("jq")[number]], cwd=path.parent, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and done.stdout, done.stderr
    if number < 2:
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["lead_id"] for line in found] == [ids["lost"], ids["slow"]][number:number + 1]
        assert number == 0 or found[0]["write_us"] >= 50000
    else:
        assert json.loads(done.stdout) == [{"workspace_id": [PARTNER, DESK][number - 2], "leads": LEADS[number - 2]}]


@pytest.fixture(scope="module")
def datadog():
    """Says which lines a query of Datadog's finds: by Vector, which is Datadog's and has its language of queries."""
    directory = str(pypi_module("vrl-python"))
    sys.path.insert(0, directory)
    from vrl_python import VRLRuntime # pylint: disable=import-error,import-outside-toplevel
    sys.path.remove(directory)
    runtime = VRLRuntime()

    def found(query, lines):
        program = f"match_datadog_query(., {json.dumps(query)})"
        return [line for line in lines
                if runtime.execute(program, {**line, "service": "leadrouterd", "status": line["level"]}).runtime_result]
    return found


@pytest.mark.parametrize("number", range(4))
def test_questions_for_datadog(story, datadog, number):
    """They find what those for jq find, in the same lines; which times are looked at Datadog is told besides."""
    path, _, ids = story
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line["time"] > hours_ago(HOURS[number])]
    found = datadog(queries("datadog")[number], lines)
    assert 0 < len(found) < len(lines)
    if number < 2:
        assert [line["lead_id"] for line in found] == [ids["lost"], ids["slow"]][number:number + 1]
    else:
        by = ["workspace_id", "duplicate_workspace_id"][number - 2]
        assert {line[by] for line in found} == {[PARTNER, DESK][number - 2]} and count(found) == LEADS[number - 2]


@pytest.mark.long
def test_loki_finds_what_jq_finds(story):
    """The engine of Loki itself finds what jq finds, in the same file; lines that are no JSON, which others may write, are no matter."""
    path, _, ids = story
    mixed = path.read_text(encoding="utf-8") + "no JSON\n"
    program = go_program("logql")
    done = subprocess.run([program, '{unit="leadrouterd.service"}', *queries("logql")], input=mixed, capture_output=True, text=True,
                          timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    failed, slow, *sums = [json.loads(answer) for answer in done.stdout.splitlines()]
    by_jq = [subprocess.run(["bash", "-c", query], cwd=path.parent, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
             for query in queries("jq")]
    assert [json.loads(line) for line in failed] == [json.loads(line) for line in by_jq[0].splitlines()]
    expected = [json.loads(line) for line in by_jq[1].splitlines()]
    assert [{name: json.loads(line).get(name) for name in expected[0]} for line in slow] == expected
    assert [line["lead_id"] for line in (*expected, json.loads(failed[0]))] == [ids["slow"], ids["lost"]]
    for answer, by, jq in zip(sums, ("workspace_id", "duplicate_workspace_id"), by_jq[2:], strict=True):
        assert [{"workspace_id": one["labels"].pop(by), "leads": one["value"]} for one in answer] == json.loads(jq) != []
        assert not any(one["labels"] for one in answer), "more than was asked for"


def test_questions_for_loki_name_what_there_is(story):
    """Each field and each event that they name is in the log."""
    _, lines, _ = story
    fields = {name for line in lines for name in line} | {"unit", "leads"}
    events = {line["event"] for line in lines}
    for query in queries("logql"):
        named = re.findall(r"(?:by \(|\| |\{|unwrap |label_format |if \.)([a-z_]+)(?= *(?:[=>)]|\}\}|\[))", query)
        assert named and set(named) <= fields, set(named) - fields
        for text in re.findall(r'event="([^"]+)"', query):
            assert text in events


def test_questions_for_loki_are_logql():
    grammar = npm_program("logql")
    program = """const {parser} = require(process.argv[1]);
        for (const query of JSON.parse(process.argv[2])) {
            let faults = 0; parser.parse(query).iterate({enter(node) { faults += node.type.isError; }}); console.log(faults); }"""
    asked = [*queries("logql"), '{unit="x"} | json | level"error"']
    done = subprocess.run(["node", "-e", program, str(grammar), json.dumps(asked)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout.split()[:4] == ["0"] * 4 and done.stdout.split()[4] != "0", done.stdout + done.stderr
