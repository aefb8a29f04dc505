"""Goal: operators see the retry queue as it is, page by page, and can give leads up; what is counted is what is there."""
import uuid

import pytest

from support.database import FAIL, HOLD, RETRY
from support.product_cluster import PATIENCE_S, wait_until

LIST = ("select * from leadrouter.list_retries(p_workspace_id => %s, p_due_only => %s, p_after_us => %s, p_after_id => %s,"
        " p_limit => %s)")
CANCEL = ("select * from leadrouter.cancel_retries(p_lead_ids => %s::uuid[], p_workspace_ids => %s::uuid[], p_actor_id => %s,"
          " p_reason => %s)")
DUE = "select * from leadrouter.lock_due_leads(100, null, false, false, null, null, null, null, false)"
HEALTH = "select * from leadrouter.health_counts(%s)"


@pytest.fixture
def service(db):
    session = db.service()
    session.execute("set lock_timeout = '5s'") # nothing here may wait for a lead
    return session


@pytest.fixture
def source(db):
    return db.workspace()


def waiting(db, workspace, in_minutes=None, verdict=RETRY, **columns):
    """A lead with an open row, due in that many minutes (negative: since then)."""
    lead = db.lead(workspace, **columns)
    db.decide(db.decision(lead, verdict=verdict))
    if in_minutes is not None:
        db.execute("update lead_routing_queue set next_retry_at = now() + %s * interval '1 min' where lead_id = %s", in_minutes, lead)
    return lead


def pages(session, workspace=None, due_only=False, size=2):
    """All rows, page by page, each from behind the last row of the one before."""
    rows, after = [], (None, None)
    while True:
        page = session.rows(LIST, workspace, due_only, *after, size)
        rows += page
        if len(page) < size:
            return rows
        after = (page[-1].next_retry_us, page[-1].queue_id)


# --- list_retries -----------------------------------------------------------------------------------------------------------


def test_list_says_what_a_row_is(db, service, source):
    lead = waiting(db, source, 10)
    row = service.row(LIST, None, False, None, None, 10)
    queued = db.open_rows(lead)[0]
    assert (row.queue_id, row.lead_id, row.workspace_id, row.attempt_number, row.max_attempts) == (queued.id, lead, source, 1, 3)
    assert (row.is_due, row.error_class, row.last_error) == (False, "unmatched", "because")
    assert db.value("select leadrouter.from_us(%s) = next_retry_at and leadrouter.from_us(%s) = created_at from lead_routing_queue",
                    row.next_retry_us, row.created_us)


def test_list_goes_by_time(db, service, source):
    """Due ones, waiting ones, and last those without a time, whose order is that of their ids; on pages of any size."""
    times = {in_minutes: waiting(db, source, in_minutes) for in_minutes in (60, -5, 5, -60)}
    endless = [waiting(db, source, verdict=verdict) for verdict in (FAIL, HOLD, FAIL)]
    same = [waiting(db, source) for _ in range(3)]
    db.execute("update lead_routing_queue set next_retry_at = now() + interval '30 min' where lead_id = any(%s)", same)
    for size in (1, 2, 3, 7, 100):
        rows = pages(service, size=size)
        leads = [row.lead_id for row in rows]
        assert leads[:3] == [times[-60], times[-5], times[5]] and leads[6] == times[60]
        assert (set(leads[3:6]), set(leads[7:])) == (set(same), set(endless))
        assert [row.is_due for row in rows] == [True, True] + [False] * 8
        assert [row.next_retry_us is None for row in rows] == [False] * 7 + [True] * 3
        assert [row.queue_id for row in rows[7:]] == sorted(row.queue_id for row in rows[7:])


def test_list_of_a_workspace(db, service, source):
    other = db.workspace()
    mine, theirs = waiting(db, source), waiting(db, other)
    assert [row.lead_id for row in pages(service, source)] == [mine]
    assert [row.lead_id for row in pages(service, other)] == [theirs]
    assert pages(service, uuid.uuid4()) == []


def test_list_of_what_is_due(db, service, source):
    """By time, or because the rules have changed, whatever the time says."""
    changed = db.workspace()
    due, _, failed, held = waiting(db, source, -1), waiting(db, source, 1), waiting(db, changed, verdict=FAIL), waiting(db, changed, 60)
    assert [row.lead_id for row in pages(service, due_only=True)] == [due]
    db.rule(changed, source)
    rows = pages(service, due_only=True)
    assert [row.lead_id for row in rows] == [due, held, failed] and all(row.is_due for row in rows)
    late = waiting(db, changed, -2)
    for size in (1, 2, 3, 100):
        assert [row.lead_id for row in pages(service, due_only=True, size=size)] == [late, due, held, failed]
        assert [row.lead_id for row in pages(service, changed, True, size)] == [late, held, failed]
        assert [row.lead_id for row in pages(service, source, True, size)] == [due]


def test_list_has_open_rows_only(db, service, source):
    lead = waiting(db, source)
    db.decide(db.decision(lead, destination=source))
    assert pages(service) == []


# --- cancel_retries ---------------------------------------------------------------------------------------------------------


def cancel(session, *pairs, actor=None, reason=""):
    rows = session.rows(CANCEL, [lead for lead, _ in pairs], [workspace for _, workspace in pairs], actor, reason)
    assert [row.ord for row in rows] == list(range(1, len(pairs) + 1))
    return [row.result for row in rows]


@pytest.mark.parametrize("verdict", [RETRY, FAIL, HOLD])
def test_a_lead_is_given_up(db, service, source, verdict):
    """It fails at once, and neither time nor a change of rules brings it back."""
    lead, operator = waiting(db, source, verdict=verdict), uuid.uuid4()
    attempts = db.state(lead).routing_attempts
    assert cancel(service, (lead, source), actor=operator, reason="the person asked us to") == ["cancelled"]
    state = db.state(lead)
    assert (state.routing_status, state.routing_attempts, state.routing_error) == ("failed", attempts + 1, "the person asked us to")
    assert db.open_rows(lead) == []
    log = db.logs(lead)[-1]
    assert (log.routing_result, log.error_message, log.actor_id) == ("failed", "the person asked us to", operator)
    assert log.routing_metadata["error_class"] == "cancelled"
    db.rule(source, source)
    assert service.rows("select * from leadrouter.lock_due_leads(100, null, true, true, null, null, null, null, true)") == []
    row = service.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source)
    assert (row.is_locked, row.queue_attempt, row.queue_is_due) == (True, None, None), "only who insists gets it"
    assert db.decide(db.decision(lead, destination=source))[1].result == "success"


def test_a_reason_is_given_where_none_was(db, service, source):
    for reason in ("", None):
        lead = waiting(db, source)
        cancel(service, (lead, source), reason=reason)
        assert db.state(lead).routing_error == "given up by hand"


def test_cancel_answers_each_pair(db, service, source):
    other = db.workspace()
    good, held, decided, new, gone = (waiting(db, source) for _ in range(5))
    assert service.value("select acquire_routing_lock(%s, gen_random_uuid())", held)
    db.decide(db.decision(decided, destination=source))
    db.execute("update lead_routing_queue set processed_at = now() where lead_id = %s", new)
    db.execute("delete from leads where id = %s", gone)
    assert cancel(service, (held, source), (good, other), (good, source), (decided, source), (new, source), (gone, source),
                  (uuid.uuid4(), source), (good, source), (None, None)) == [
        "busy", "not_found", "cancelled", "not_found", "not_found", "not_found", "not_found", "cancelled", "not_found"]
    assert cancel(service, (good, source)) == ["not_found"], "given up once"
    assert len(db.logs(good)) == 2
    assert cancel(service) == []


def test_cancel_against_a_lane(db, service, source):
    """Who has the lead first: a cancellation is told that it is busy, a lane does not see it."""
    lead = waiting(db, source, -1)
    lane = db.service()
    lane.begin()
    assert [row.lead_id for row in lane.rows(DUE)] == [lead]
    assert cancel(service, (lead, source)) == ["busy"]
    lane.decide(db.decision(lead, verdict=RETRY))
    lane.commit()
    service.begin()
    assert cancel(service, (lead, source)) == ["cancelled"]
    db.execute("set lock_timeout = '5s'")
    lane.execute("set lock_timeout = '5s'")
    assert lane.rows(DUE) == []
    assert not lane.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source).is_locked
    service.rollback()
    assert db.state(lead).routing_status == "pending"
    assert cancel(service, (lead, source)) == ["cancelled"]


def test_cancellations_and_lanes_by_volume(db, source):
    """Each of 200 due leads is given up or routed, never both, and whoever was told so is right."""
    db.execute("insert into leads (workspace_id) select %s from generate_series(1, 200)", source)
    db.execute("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at)"
               " select id, workspace_id, 0, 3, now() from leads")
    leads = [row.id for row in db.rows("select id from leads order by random()")]

    def route(session):
        routed = 0
        for _ in range(60):
            session.begin()
            rows = session.rows(DUE.replace("(100,", "(5,"))
            if rows:
                routed += len(session.decide(*[{"lead_id": row.lead_id, "source": source, "destination": source} for row in rows]))
            session.commit()
        return routed

    def give_up(session, mine):
        return sum(cancel(session, *[(lead, source) for lead in mine[n:n + 10]]).count("cancelled") for n in range(0, len(mine), 10))

    lanes = [db.in_background(route, db.service()) for _ in range(4)]
    operators = [db.in_background(give_up, db.service(), leads[n::2]) for n in range(2)]
    routed, cancelled = (sum(future.result(PATIENCE_S) for future in futures) for futures in (lanes, operators))
    routed += route(db)
    assert routed + cancelled == 200
    assert dict(db.rows("select routing_status::text, count(*) from leads group by 1")) == {
        name: count for name, count in (("routed", routed), ("failed", cancelled)) if count}
    assert db.value("select count(*) from lead_routing_logs") == 200
    assert db.value("select count(*) from lead_routing_queue where processed_at is null") == 0


def test_a_lead_is_given_up_once(db, service, source):
    """The second operator's statement has begun when the first one's transaction ends: he comes to a lead that has been given up since."""
    gate, lead = waiting(db, source), waiting(db, source)
    gate, lead = sorted((gate, lead))
    db.execute("create function stand() returns boolean language plpgsql volatile as $$ begin perform pg_advisory_lock(9);"
               " perform pg_advisory_unlock(9); return true; end $$")
    second = db.service()
    try:
        holder = db.session()
        holder.execute("select pg_advisory_lock(9)")
        definition = db.value("select pg_get_functiondef('leadrouter.cancel_retries'::regproc)")
        last = "q.lead_id = x.id and q.processed_at is null offset 0)\n            for"
        assert definition.count(last) == 1
        slow = last.replace("\n", f" and (x.id <> '{gate}' or public.stand())\n")
        db.execute(definition.replace(last, slow).replace("cancel_retries(", "slow_cancel(", 1))
        db.execute("alter function leadrouter.slow_cancel owner to leadrouter_owner; grant execute on function stand() to public")
        slow = db.in_background(db.session().rows, CANCEL.replace("cancel_retries", "slow_cancel"), [gate, lead], [source] * 2, None, "")
        wait_until(lambda: db.rows("select from pg_locks where locktype = 'advisory' and not granted"), "it does not wait")
        assert cancel(second, (lead, source)) == ["cancelled"]
        holder.execute("select pg_advisory_unlock(9)")
        assert [row.result for row in slow.result(PATIENCE_S)] == ["cancelled", "not_found"]
        assert [log.routing_result for log in db.logs(lead)] == ["retry", "failed"]
    finally:
        db.execute("drop function if exists leadrouter.slow_cancel; drop function stand()")


def test_operators_give_up_the_same_leads(db, source):
    """At once, and in orders of their own: nobody waits, and each lead is given up by one of them."""
    leads = [waiting(db, source) for _ in range(20)]
    sessions = [db.service() for _ in range(6)]
    for session in sessions:
        session.execute("set lock_timeout = '5s'")
    futures = [db.in_background(cancel, session, *[(lead, source) for lead in leads[n:] + leads[:n]]) for n, session in enumerate(sessions)]
    results = [result for future in futures for result in future.result(PATIENCE_S)]
    assert results.count("cancelled") == 20
    assert set(results) <= {"cancelled", "busy", "not_found"}
    assert db.value("select count(*) from lead_routing_logs where routing_result = 'failed'") == 20


# --- What is counted --------------------------------------------------------------------------------------------------------


def test_health_counts_the_queue(db, service, source):
    """What has a time that has come, what new rules made due, what is held; and how long the oldest due one has waited."""
    row = service.row(HEALTH, None)
    assert (row.retry_queue_depth, row.retries_due, row.held, row.oldest_due_age_seconds) == (0, 0, 0, 0)
    changed = db.workspace()
    waiting(db, source, -2)
    waiting(db, source, 5)
    waiting(db, source, verdict=HOLD)
    waiting(db, changed, verdict=HOLD)
    waiting(db, changed, verdict=FAIL)
    row = service.row(HEALTH, None)
    assert (row.retry_queue_depth, row.retries_due, row.held) == (5, 1, 2)
    assert 120 <= row.oldest_due_age_seconds < 180
    db.rule(changed, source)
    row = service.row(HEALTH, None)
    assert (row.retry_queue_depth, row.retries_due, row.held) == (5, 3, 1), "what was held is due"
    assert 120 <= row.oldest_due_age_seconds < 180
    row = service.row(HEALTH, changed)
    assert (row.retry_queue_depth, row.retries_due, row.held) == (2, 2, 0)
    assert row.oldest_due_age_seconds < 60, "since the change, and not since 1970"


def test_rows_that_are_not_due_are_not_read_one_by_one(db, service, source):
    """However many wait: the hourly check and the list of what is due read none of them, and Health counts them by their index; also
    where as many were before, whose places in the indexes make a way by workspaces look dear."""
    rows = ("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)"
            " select gen_random_uuid(), %s, 1, 3, now() + interval '1 hour', 1 from generate_series(1, 3000)")
    db.execute(rows, source)
    db.execute("delete from lead_routing_queue")
    waiting(db, source, -1)
    db.execute(rows, source)

    def is_clean(): # a snapshot older than the rows, as of an automatic ANALYZE, keeps vacuum from marking their pages
        db.execute("vacuum analyze lead_routing_queue")
        return db.value("select relallvisible = relpages from pg_class where oid = 'lead_routing_queue'::regclass")
    wait_until(is_clean, "vacuum does not mark all pages")
    read = ("select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables"
            " where relname = 'lead_routing_queue'")
    for statement in ("select * from leadrouter.workspaces_due(0, 10)", "select due from leadrouter.workspaces_due(0, 10)",
                      "select * from leadrouter.health_counts(null)", "select * from leadrouter.list_retries(null, true, null, null, 100)",
                      f"select * from leadrouter.list_retries('{source}', true, null, null, 100)"):
        db.begin()
        before = db.value(read) or 0 # of transactions before this one that were not reported yet
        assert len(db.rows(statement)) == 1
        assert db.value(read) - before < 100, statement
        db.rollback()
    assert service.row(HEALTH, None).retry_queue_depth == 3001


def test_workspaces_with_many_due_rows(db, service, source):
    busy, idle = db.workspace(), db.workspace()
    for workspace, count in ((source, 3), (busy, 5), (idle, 2)):
        for _ in range(count):
            waiting(db, workspace, -1)
    waiting(db, idle, 5)
    statement = "select * from leadrouter.workspaces_due(p_more_than => %s, p_limit => %s)"
    assert [tuple(row) for row in service.rows(statement, 2, 10)] == [(busy, 5), (source, 3)]
    assert [tuple(row) for row in service.rows(statement, 2, 1)] == [(busy, 5)]
    db.rule(idle, source)
    assert [tuple(row) for row in service.rows(statement, 2, 10)][1:] == sorted([(idle, 3), (source, 3)])
