"""Goal: a client that repeats itself, whatever it was told or not told, burns no attempts and gets what was recorded: once decided, always
the same decision; waiting, the same attempt and time; failed or expired, that."""
import concurrent.futures
import time
import uuid

import grpc
import pytest

from support.product_cluster import wait_until
from support.retries import (CALL_S, DESK, OTHER, PARTNER, RULE, counts, create, make_due, mend, process, queue, route,
                             status_of)
from support.server import Server
from support.stubs import leads_pb2, routing_pb2

pytestmark = pytest.mark.usefixtures("workspaces")

ROUTED, DUPLICATE, QUEUED, FAILED, ALREADY_ROUTED, EXPIRED = range(1, 7)
REPEATS = 5


@pytest.fixture
def second(cluster, database):
    with Server(cluster.service_url(database), "--no-jobs") as server:
        yield server


def log_of(sql, lead):
    return [row[0] for row in sql("select routing_result from lead_routing_logs where lead_id = %s order by created_at", (lead,))]


def attempts(sql, lead):
    return sql("select routing_attempts from leads where id = %s", (lead,))[0][0]


def as_recorded(first):
    """What a repeat of a decided call has to answer."""
    again = routing_pb2.RouteLeadResponse()
    again.CopyFrom(first)
    again.outcome, again.decided_outcome = ALREADY_ROUTED, first.outcome
    return again


def test_decided_is_decided(quiet, second, sql):
    """The same answer from both servers, whatever becomes of the rule, its destination and the request's own wishes."""
    lead, = create(quiet, 1, country="DE")
    first = route(quiet, lead, max_attempts=5)
    assert first.outcome == ROUTED and first.attempt == 1 and first.reason and first.decision_id
    for change in ("update lead_routing_rules set rule_name = 'renamed'", f"delete from lead_routing_rules where id = '{RULE}'",
                   f"update workspaces set is_active = false where id = '{DESK}'", f"delete from workspaces where id = '{PARTNER}'"):
        for server in (quiet, second):
            assert route(server, lead) == as_recorded(first)
            assert route(server, lead, force=True, max_attempts=1) == as_recorded(first)
        sql(change)
    assert log_of(sql, lead) == ["success"] and attempts(sql, lead) == 1


def test_a_duplicate_stays_one(quiet, second, sql):
    original, = create(quiet, 1, country="DE")
    copy, = create(quiet, 1, workspace=OTHER)
    sql(f"insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
        f" values ('{OTHER}', 'all', '{{}}', '{DESK}')")
    route(quiet, original)
    first = route(quiet, copy, OTHER)
    assert (first.outcome, first.duplicate_lead_id) == (DUPLICATE, original)
    sql("delete from lead_dedupe_claims")
    for server in (quiet, second):
        assert route(server, copy, OTHER) == as_recorded(first)
    assert log_of(sql, copy) == ["duplicate"]


def test_decided_by_a_retry(quiet, second, sql):
    """Nobody was on the line when it was decided: who asks later gets that decision and the number of its attempt."""
    lead, = queue(quiet, sql, 1)
    mend(sql)
    assert counts(process(quiet)) == {"processed": 1, "routed": 1}
    again = route(second, lead)
    assert (again.outcome, again.decided_outcome, again.attempt, again.destination_workspace_id, again.matched_rule_name) == (
        ALREADY_ROUTED, ROUTED, 2, DESK, "Germans")
    assert sql("select id::text from lead_routing_logs where lead_id = %s and routing_result = 'success'", (lead,)) == [
        (again.decision_id,)]


def test_waiting_is_answered_as_recorded(quiet, second, sql):
    lead, = create(quiet, 1)
    first = route(quiet, lead, max_attempts=4)
    assert (first.outcome, first.attempt) == (QUEUED, 1) and first.HasField("next_retry_at")
    for server in (quiet, second) * REPEATS:
        again = route(server, lead, max_attempts=20)
        assert (again.outcome, again.attempt, again.next_retry_at) == (QUEUED, 1, first.next_retry_at)
    assert attempts(sql, lead) == 1 and log_of(sql, lead) == ["retry"]
    assert sql("select max_attempts from lead_routing_queue where lead_id = %s", (lead,)) == [(4,)], "the value of the call that opened it"
    assert route(quiet, lead, force=True).attempt == 2 # who insists gets one
    make_due(sql)
    assert route(second, lead).attempt == 3 # and so does who asks when it is time
    assert log_of(sql, lead) == ["retry"] * 3


def test_failed_is_answered_as_recorded(quiet, second, sql):
    lead, = create(quiet, 1)
    first = route(quiet, lead, max_attempts=1)
    assert (first.outcome, first.attempt) == (FAILED, 1)
    for server in (quiet, second) * REPEATS:
        again = route(server, lead, max_attempts=20)
        assert (again.outcome, again.attempt) == (FAILED, 1) and not again.HasField("next_retry_at")
    assert attempts(sql, lead) == 1 and log_of(sql, lead) == ["failed"]


def test_expired_is_answered_as_recorded(quiet, second, sql):
    lead, = create(quiet, 1)
    sql("update leads set lead_expires_at = now()")
    for server in (quiet, second) * REPEATS:
        assert route(server, lead, force=True).outcome == EXPIRED
    assert log_of(sql, lead) == ["expired"]


def test_a_crowd_that_repeats_itself(quiet, second, sql):
    """Sixteen callers on two servers ask for the same forty leads, all of them five times: one attempt each, one decision each."""
    leads = create(quiet, 20, country="DE") + create(quiet, 20, "y")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        def ask(number):
            def once():
                try:
                    return route((quiet, second)[number % 2], leads[number % 40])
                except grpc.RpcError as error:
                    assert error.code() == grpc.StatusCode.ABORTED # held by the other server for over 100 ms
                    return None
            return leads[number % 40], wait_until(once, "always held")
        answers = list(pool.map(ask, range(40 * 16)))
    for lead in leads:
        mine = [answer for asked, answer in answers if asked == lead]
        assert len({answer.decision_id for answer in mine if answer.outcome != QUEUED}) <= 1
        assert {answer.attempt for answer in mine} == {1}
    assert sql("select routing_attempts, count(*) from leads group by 1") == [(1, 40)]
    assert sql("select routing_result, count(*) from lead_routing_logs group by 1 order by 1") == [("retry", 20), ("success", 20)]


def test_impatient_callers(quiet, sql):
    """The database takes longer than callers wait: they hang up and ask again until they are told. Each lead is attempted once."""
    leads = create(quiet, 10, country="DE") + create(quiet, 10, "y")
    sql("""create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.05); return new; end $$;
           create trigger slow before update on leads for each row execute function slow()""")
    hung_up = []

    def ask(lead):
        while True:
            try:
                return quiet.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=0.04)
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED, grpc.StatusCode.UNAVAILABLE), error
                hung_up.append(lead)
                assert time.monotonic() < deadline
    deadline = time.monotonic() + 60
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, leads))
    assert hung_up, "nobody was impatient"
    assert {answer.attempt for answer in answers} == {1}
    assert {answer.outcome for answer in answers[:10]} <= {ROUTED, ALREADY_ROUTED}
    assert {answer.outcome for answer in answers[10:]} == {QUEUED}
    assert sql("select routing_attempts, count(*) from leads group by 1") == [(1, 20)]
    assert sql("select routing_result, count(*) from lead_routing_logs group by 1 order by 1") == [("retry", 10), ("success", 10)]


def test_request_ids(quiet, second, sql):
    """CreateLeads repeated under one id, on either server, while its leads move on: the same leads, and the outcome of each as it is."""
    request = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, route=True, request_id=str(uuid.uuid4()), leads=[
        leads_pb2.NewLead(email="a@example.com", country="DE"), leads_pb2.NewLead(email="b@example.com", country="FR")])
    first = second.leads.CreateLeads(request, timeout=CALL_S)
    assert [result.routing.outcome for result in first.results] == [ROUTED, QUEUED]
    for server in (quiet, second) * REPEATS:
        again = server.leads.CreateLeads(request, timeout=CALL_S)
        assert again.results[0] == first.results[0] and again.created == 2
        assert again.results[1].lead_id == first.results[1].lead_id
        assert (again.results[1].routing.outcome, again.results[1].routing.attempt) == (QUEUED, 1)
    mend(sql)
    make_due(sql)
    process(quiet)
    again = second.leads.CreateLeads(request, timeout=CALL_S)
    assert (again.results[1].routing.outcome, again.results[1].routing.attempt) == (ROUTED, 2)
    assert sql("select count(*), sum(routing_attempts) from leads") == [(2, 3)]
    assert status_of(sql, first.results[1].lead_id) == "routed"


def test_asking_for_retries_again_is_safe(quiet, second, sql):
    """The answer of ProcessRetries is lost and the call made again: no lead has more attempts for it."""
    queue(quiet, sql, 50)
    for _ in range(REPEATS):
        with pytest.raises(grpc.RpcError):
            quiet.routing.ProcessRetries(routing_pb2.ProcessRetriesRequest(limit=50), timeout=0.0005)
    processed = process(quiet, 50).processed + process(second, 50).processed
    assert processed <= 50
    # by any call
    wait_until(lambda: sql("select routing_attempts, count(*) from leads group by 1") == [(2, 50)], "not all were tried again")
    assert process(quiet).processed == 0
    assert sql("select routing_attempts, count(*) from leads group by 1") == [(2, 50)]
