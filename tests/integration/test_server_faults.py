"""Goal: what goes wrong behind a call is told to its caller as what it is (asking again helps, or does not), hurts no other
call, and passes by itself; and a server told to stop gives calls their time, unless it is told twice."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import shutil
import signal
import uuid

import grpc
import pytest

from support.postgres import scratch
from support.product_cluster import wait_until
from support.server import Server
from support.stubs import leads_pb2, routing_pb2

PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000002"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
CALL_S = 20
LOCK = 4711

RULES = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)
    values ('{PARTNER}', 'all', '{{}}', '{DESK}');
"""
# Makes every insert of a lead do this first.
BEFORE_INSERT = """
create sequence public.inserts;
create function public.before_insert() returns trigger language plpgsql security definer set lock_timeout = 0
    as $$ begin {action} return new; end $$;
create trigger before_insert before insert on leads for each statement execute function public.before_insert();
"""
HOLD_INSERTS = BEFORE_INSERT.format(action=f"perform pg_advisory_xact_lock({LOCK});")


@pytest.fixture(autouse=True)
def rules(sql):
    sql(RULES)


def new_leads(count, **fields):
    leads = [leads_pb2.NewLead(external_id=f"x-{number}", email=f"x{number}@example.com", **fields) for number in range(count)]
    return leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads)


def route_request(lead_id):
    return routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER)


def refusal(call, *arguments, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=CALL_S, **fields)
    return caught.value


def pushback(error):
    return dict(error.trailing_metadata()).get("grpc-retry-pushback-ms")


@contextlib.contextmanager
def locked(cluster, database, statement=f"select pg_advisory_lock({LOCK})"):
    """Holds what the statement locks."""
    connection = cluster.connect(database)
    connection.autocommit = False
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            yield
    finally:
        connection.close()


def wait_until_blocked(sql, count=1):
    """Until so many of the server's sessions wait for a lock."""
    wait_until(lambda: sql("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'leadrouterd'"
                           " and wait_event_type = 'Lock'")[0][0] >= count, "no session of the server waits for the lock")


# --- What the database refuses ----------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_a_value_that_the_hosts_own_constraint_refuses(server, sql):
    sql("alter table leads add constraint known_city check (city <> 'Nowhere')")
    request = new_leads(2, city="Nowhere")
    request.request_id = str(uuid.uuid4())
    error = refusal(server.leads.CreateLeads, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "SQLSTATE 23514" in error.details()
    failed = server.wait_for("rpc.failed")
    assert "Nowhere" not in error.details() and "Nowhere" not in server.text()
    assert (failed["workspace_id"], failed["request_id"], failed["code"]) == (PARTNER, request.request_id, "INVALID_ARGUMENT")
    assert sql("select count(*) from leads") == [(0,)]
    assert server.stop() == 0, server.text()


def test_a_transaction_that_met_another_is_repeated(server, sql):
    sql(BEFORE_INSERT.format(action="if nextval('public.inserts') <= 3 then raise 'met' using errcode = '40P01'; end if;"))
    assert server.leads.CreateLeads(new_leads(2), timeout=CALL_S).created == 2
    assert sql("select last_value from public.inserts") == [(4,)] and not server.events("rpc.failed")


def test_one_that_meets_another_each_time_is_aborted(server, sql):
    sql(BEFORE_INSERT.format(action="raise 'met' using errcode = '40001';"))
    error = refusal(server.leads.CreateLeads, new_leads(2))
    assert error.code() == grpc.StatusCode.ABORTED and "asking again is safe" in error.details()


@pytest.mark.parametrize("sqlstate, code", [("53100", grpc.StatusCode.UNAVAILABLE), ("57014", grpc.StatusCode.UNAVAILABLE),
                                            ("55P03", grpc.StatusCode.ABORTED), ("P0001", grpc.StatusCode.INTERNAL)])
def test_faults_of_the_database_by_kind(server, sql, sqlstate, code):
    """What a host's trigger says about it may be anything: it is for nobody."""
    sql(BEFORE_INSERT.format(action=f"raise 'moon phase' using errcode = '{sqlstate}';"))
    error = refusal(server.leads.CreateLeads, new_leads(1))
    assert error.code() == code and "moon phase" not in error.details(), error.details()
    failed = server.wait_for("rpc.failed")
    assert failed["sqlstate"] == sqlstate and "moon phase" not in server.text()


def test_a_schema_that_is_taken_away(server, sql):
    sql("alter schema leadrouter rename to elsewhere")
    error = refusal(server.leads.GetLead, leads_pb2.GetLeadRequest(lead_id=NOBODY, workspace_id=PARTNER))
    assert error.code() == grpc.StatusCode.UNAVAILABLE and "schema" in error.details()
    sql("alter schema elsewhere rename to leadrouter")
    error = refusal(server.leads.GetLead, leads_pb2.GetLeadRequest(lead_id=NOBODY, workspace_id=PARTNER))
    assert error.code() == grpc.StatusCode.NOT_FOUND


def test_attributes_keep_their_numbers(server):
    given = '{"f": 1.50, "n": 0.1, "big": 123456789012345678901234567890, "e": 1e3}'
    request = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[leads_pb2.NewLead(attributes_json=given)])
    lead_id = server.leads.CreateLeads(request, timeout=CALL_S).results[0].lead_id
    got = server.leads.GetLead(leads_pb2.GetLeadRequest(lead_id=lead_id, workspace_id=PARTNER), timeout=CALL_S)
    assert json.loads(got.lead.data.attributes_json, parse_float=str, parse_int=str) == \
        {"f": "1.50", "n": "0.1", "big": "123456789012345678901234567890", "e": "1000"}


# --- Too much at once -------------------------------------------------------------------------------------------------------------------


def test_too_many_calls_that_take_leads_in(server, cluster, database, sql):
    """64 may be under way; the rest is refused with the time after which to ask again, and those 64 are carried out."""
    sql(HOLD_INSERTS)
    with locked(cluster, database):
        calls = [server.leads.CreateLeads.future(new_leads(1), timeout=CALL_S) for _ in range(80)]
        wait_until(lambda: sum(call.done() for call in calls) == 16, "not just those beyond the bound are refused")
        refused = [call for call in calls if call.done()]
        assert {call.code() for call in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert all(int(pushback(call)) > 0 for call in refused)
    assert sum(call.result(CALL_S).created for call in calls if call not in refused) == 1
    assert server.leads.CreateLeads(new_leads(1), timeout=CALL_S).existing == 1


def test_an_engine_without_room_leaves_leads_pending(cluster, database, sql):
    with Server(cluster.service_url(database), "--waiting-max", "1") as server:
        request = new_leads(2)
        request.route = True
        answer = server.leads.CreateLeads(request, timeout=CALL_S)
        assert answer.created == 2
        assert [result.routing_status for result in answer.results] == [grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]] * 2
        assert all(result.routing_message and not result.HasField("routing") for result in answer.results)
        unrouted = server.wait_for("leads.unrouted")
        assert (unrouted["leads"], unrouted["code"]) == (2, "RESOURCE_EXHAUSTED")
        assert sql("select routing_status::text, count(*) from leads group by 1") == [("pending", 2)]
        ids = [result.lead_id for result in answer.results]
        with locked(cluster, database, "lock table leads"):
            calls = [server.routing.RouteLead.future(route_request(lead_id), timeout=CALL_S)
                     for lead_id in ids + [str(uuid.uuid4()) for _ in range(30)]]
            wait_until_blocked(sql)
            refused = wait_until(lambda: [call for call in calls if call.done() and call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED],
                                 "no call is refused")
            assert all(int(pushback(call)) > 0 for call in refused)
        for call in calls:
            call.exception(CALL_S)
        answers = [server.routing.RouteLead(route_request(lead_id), timeout=CALL_S) for lead_id in ids]
        assert {answer.destination_workspace_id for answer in answers} == {DESK}


def test_one_count_for_all_who_ask(cluster, database, sql):
    """While the counts wait for a lock, so do the calls that want them, and nobody else."""
    sql(f"alter role leadrouter_service in database {database} set lock_timeout = 0")
    with Server(cluster.service_url(database)) as server:
        with locked(cluster, database, "lock table lead_routing_queue"):
            asked = [server.routing.Health.future(routing_pb2.HealthRequest(), timeout=CALL_S) for _ in range(16)]
            wait_until_blocked(sql)
            assert server.leads.CreateLeads(new_leads(1), timeout=CALL_S).created == 1
            assert not any(call.done() for call in asked)
            assert sql("select count(*) from pg_stat_activity where query like '%health_counts(null)' and state = 'active'") == [(1,)]
        assert len({call.result(CALL_S).counted_at.ToMicroseconds() for call in asked}) == 1


def test_bands_of_health(cluster, database, sql):
    """Retries due: more than 50 of one workspace are a warning, more than 100 of all too, and more than 500 an alarm."""
    def fill(count):
        sql("""with l as (insert into leads (workspace_id, email)
                   select %s, 'd' || n || '@example.com' from generate_series(1, %s) n returning id)
               insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at)
               select id, %s, 1, 3, now() - interval '1 minute' from l""", (PARTNER, count, PARTNER))

    def health(workspace=""):
        return server.routing.Health(routing_pb2.HealthRequest(workspace_id=workspace), timeout=CALL_S)

    with Server(cluster.service_url(database), "--no-jobs") as server: # which would work them off at once
        fill(51)
        assert health(PARTNER).status == routing_pb2.HEALTH_STATUS_DEGRADED
        assert list(health(PARTNER).problems) == ["51 retries are due, more than 50"]
        assert health().status == routing_pb2.HEALTH_STATUS_HEALTHY
        assert health(DESK).status == routing_pb2.HEALTH_STATUS_HEALTHY
        fill(50)
        seen = wait_until(lambda: health() if health().retries_due == 101 else None, "counts are kept for longer than a second")
        assert seen.status == routing_pb2.HEALTH_STATUS_DEGRADED and list(seen.problems) == ["101 retries are due, more than 100"]
        fill(400)
        assert health(PARTNER).status == routing_pb2.HEALTH_STATUS_CRITICAL


# --- Stopping ---------------------------------------------------------------------------------------------------------------------------


def test_stop_waits_for_calls(cluster, database, sql):
    sql(HOLD_INSERTS)
    with Server(cluster.service_url(database)) as server:
        with locked(cluster, database):
            call = server.leads.CreateLeads.future(new_leads(1), timeout=CALL_S)
            wait_until_blocked(sql)
            os.kill(server.process.pid, signal.SIGTERM)
            server.wait_for("server.stopping")
            assert server.process.poll() is None and not call.done()
        assert call.result(CALL_S).created == 1
        assert server.wait() == 0
        stopped, = server.events("server.stopped")
        assert (stopped["calls"], stopped["calls_failed"]) == (1, 0)


def test_a_second_signal_hurries(cluster, database, sql):
    sql(HOLD_INSERTS)
    with Server(cluster.service_url(database)) as server:
        with locked(cluster, database):
            call = server.leads.CreateLeads.future(new_leads(1), timeout=CALL_S)
            wait_until_blocked(sql)
            os.kill(server.process.pid, signal.SIGTERM)
            server.wait_for("server.stopping")
            os.kill(server.process.pid, signal.SIGINT)
            assert server.wait() == 1
        assert server.wait_for("server.hurried") and call.exception(CALL_S).code() == grpc.StatusCode.UNAVAILABLE
    wait_until(lambda: sql("select count(*) from pg_stat_activity where application_name = 'leadrouterd'"
                           " and datname = current_database()") == [(0,)], "the server's session is still there")


# --- The embedded database --------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_an_embedded_database_that_is_killed_comes_back():
    directory = pathlib.Path(scratch("server"))
    with Server(None, "--embedded", str(directory), "--disposable") as server:
        def ask():
            return refusal(server.routing.RouteLead, route_request(NOBODY)).code()
        assert ask() == grpc.StatusCode.NOT_FOUND
        for _ in range(2):
            os.kill(int((directory / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0]), signal.SIGKILL)
            codes = []
            wait_until(lambda: codes.append(ask()) or codes[-1] == grpc.StatusCode.NOT_FOUND and server.events("database.started"),
                       "the database did not come back")
            assert set(codes) <= {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert server.stop() == 0, server.text()
        assert server.events("database.ended")
    shutil.rmtree(directory)


def test_a_second_signal_stops_the_embedded_database_too():
    directory = pathlib.Path(scratch("server"))
    with Server(None, "--embedded", str(directory), "--disposable") as server, concurrent.futures.ThreadPoolExecutor(1) as pool:
        pid = int((directory / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
        answer = pool.submit(server.wait)
        os.kill(server.process.pid, signal.SIGTERM)
        while not answer.done(): # whether the second one comes in time or too late, nothing is left running
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.process.pid, signal.SIGTERM)
            concurrent.futures.wait([answer], 0.01)
        wait_until(lambda: not pathlib.Path(f"/proc/{pid}").exists(), "PostgreSQL is left running")
    shutil.rmtree(directory)
