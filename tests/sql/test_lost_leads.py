"""Goal: a lead that nobody looks after is found: one that was never asked for is queued once, and one whose worker is gone is released,
whatever the worker says later."""
import uuid

import pytest

from support.database import FAIL, RETRY
from support.product_cluster import PATIENCE_S

ACQUIRE = "select acquire_routing_lock(%s, %s)"
COMPLETE = "select complete_routing(%s, %s, null, %s)"
FAIL_ROUTING = "select fail_routing(%s, %s, %s, %s)"
QUEUE_LOST = ("select * from leadrouter.queue_lost_leads(p_grace_seconds => %s, p_window_seconds => %s, p_limit => %s, p_after => %s)")
RELEASE = "select leadrouter.release_stale_locks(p_older_than_seconds => %s, p_limit => %s)"
DUE = "select * from leadrouter.lock_due_leads(100, null, false, %s, null, null, null, null, true)"


@pytest.fixture
def service(db):
    session = db.service()
    session.execute("set lock_timeout = '5s'") # nothing here may wait for a lead
    return session


@pytest.fixture
def source(db):
    return db.workspace()


def old_lead(db, workspace, seconds=61, **columns):
    """A pending lead that came in that long ago."""
    lead = db.lead(workspace, **columns)
    db.execute("update leads set created_at = now() - %s * interval '1 s' where id = %s", seconds, lead)
    return lead


def steps(session, window_s=None, limit=100):
    """How many leads each step of a walk from the beginning to the end has queued."""
    counts, place = [], None
    while True:
        row = session.row(QUEUE_LOST, 60, window_s, limit, place)
        counts, place = counts + [row.queued], row.next_after
        if place is None:
            return counts


def find_lost(session, window_s=None, limit=100):
    return sum(steps(session, window_s, limit))


def held_lead(db, session, workspace, seconds=301, **columns):
    """A lead that a worker has held for that long, and the worker."""
    lead, owner = db.lead(workspace, **columns), uuid.uuid4()
    assert session.value(ACQUIRE, lead, owner)
    age_lock(db, lead, seconds)
    return lead, owner


def age_lock(db, lead, seconds):
    db.execute("set session_replication_role = replica")
    db.execute("update leads set routing_locked_at = now() - %s * interval '1 s' where id = %s", seconds, lead)
    db.execute("set session_replication_role = origin")


def everything(db):
    return [db.rows(f"select * from {table} order by 1") for table in
            ("leads", "lead_routing_logs", "lead_routing_queue", "lead_dedupe_claims")]


# --- queue_lost_leads -------------------------------------------------------------------------------------------------------


def test_a_lead_that_nobody_asked_for_is_due(db, service, source):
    lead = old_lead(db, source)
    assert find_lost(service) == 1
    (row,) = db.open_rows(lead)
    assert (row.workspace_id, row.attempt_number, row.max_attempts, row.error_count, row.error_class) == (source, 0, 3, 0, "lost")
    assert (row.rules_version, row.last_error) == (1, "nobody had asked for it")
    (log,) = db.logs(lead)
    assert (log.routing_result, log.attempt_number, log.source_workspace_id) == ("requeued", 0, source)
    assert log.routing_metadata == {"reason": "nobody had asked for it", "error_class": "lost", "rules_version": 1,
                                    "next_retry_us": db.value("select leadrouter.to_us(%s)", row.next_retry_at)}
    assert (db.state(lead).routing_status, db.state(lead).routing_attempts) == ("pending", 0), "no attempt is counted"
    assert [due.lead_id for due in service.rows(DUE, False)] == [lead], "due now"
    assert find_lost(service) == 0


def test_leads_that_are_not_lost(db, service, source):
    """Young ones, those of before the window, with a row, held, decided, failed, expired."""
    old_lead(db, source, 30)
    old_lead(db, source, 601)
    waits, held, routed, failed = (old_lead(db, source) for _ in range(4))
    db.decide(db.decision(waits, verdict=RETRY), db.decision(routed, destination=source), db.decision(failed, verdict=FAIL))
    assert service.value(ACQUIRE, held, uuid.uuid4())
    old_lead(db, source, lead_expires_at="2001-01-01")
    before = everything(db)
    assert find_lost(service, window_s=600) == 0
    assert everything(db) == before
    assert find_lost(service) == 1, "the one of before the window"


def test_a_closed_row_is_no_row(db, service, source):
    lead = old_lead(db, source)
    db.decide(db.decision(lead, verdict=RETRY))
    db.execute("update lead_routing_queue set processed_at = now()")
    assert find_lost(service) == 1
    assert (db.open_rows(lead)[0].attempt_number, db.logs(lead)[-1].attempt_number) == (1, 1)


@pytest.mark.parametrize("workspace", [{"is_active": False}, {"routing_config": {"auto_route": False}}])
def test_leads_that_are_to_wait_are_held(db, service, workspace):
    """Of an inactive workspace, or of one that routes when asked: they have a row all the same, which a change there makes due."""
    source = db.workspace(**workspace)
    lead = old_lead(db, source)
    assert find_lost(service) == 1
    (row,) = db.open_rows(lead)
    assert (row.error_class, db.value("select next_retry_at = 'infinity' from lead_routing_queue")) == ("held", True)
    assert db.logs(lead)[0].routing_metadata["error_class"] == "held" and "next_retry_us" not in db.logs(lead)[0].routing_metadata
    assert service.rows(DUE, False) == service.rows(DUE, True) == []
    db.execute("update workspaces set is_active = true, routing_config = '{}' where id = %s", source)
    assert [due.lead_id for due in service.rows(DUE, True)] == [lead]


@pytest.mark.parametrize("config, error_class", [({"auto_route": True}, "lost"), ({"unmatched": "keep"}, "lost")])
def test_other_policies_do_not_hold(db, service, config, error_class):
    lead = old_lead(db, db.workspace(routing_config=config))
    assert find_lost(service) == 1
    assert db.open_rows(lead)[0].error_class == error_class


def test_leads_of_a_workspace_that_is_gone(db, service, source):
    """Held: were it there again, its version would be higher."""
    lead, never = old_lead(db, source), old_lead(db, uuid.uuid4())
    db.execute("delete from workspaces where id = %s", source)
    assert find_lost(service) == 2
    assert [(db.open_rows(x)[0].error_class, db.open_rows(x)[0].rules_version) for x in (lead, never)] == [("held", 2), ("held", 0)]
    assert service.rows(DUE, True) == []


def test_lost_leads_of_all_workspaces(db, service):
    """Among workspaces without any, in whatever order."""
    leads = [old_lead(db, workspace) for workspace in [db.workspace() for _ in range(20)][::2] for _ in range(3)]
    assert find_lost(service) == 30
    assert {row.lead_id for row in db.rows("select lead_id from lead_routing_queue")} == set(leads)


def test_lost_leads_come_in_batches(db, service, source):
    """A step looks at so many leads, those included that are none; it goes on behind the last one, also among leads of one instant."""
    db.execute("insert into leads (workspace_id, created_at) select %s, now() - interval '2 min' from generate_series(1, 7)", source)
    other = db.workspace()
    waiting = [old_lead(db, other, 100 + n) for n in range(4)]
    db.decide(*[db.decision(lead, verdict=RETRY) for lead in waiting[:3]])
    counts = steps(service, limit=3)
    assert (sum(counts), len(counts)) == (8, 4)
    assert db.value("select count(distinct lead_id) from lead_routing_queue where processed_at is null") == 11
    assert steps(service, limit=3) == [0, 0, 0, 0]
    assert steps(service, limit=100) == [0]
    for limit in (0, -1):
        assert len(steps(service, limit=limit)) == 12, "one at a time: it ends all the same"


def test_a_walk_goes_on_where_leads_have_gone(db, service, source):
    """Its place is one in the order of leads, and no lead."""
    leads = [old_lead(db, source, 200 - n) for n in range(4)]
    place = service.row(QUEUE_LOST, 60, None, 2, None).next_after
    db.execute("delete from leads where id = any(%s)", leads[1:3])
    row = service.row(QUEUE_LOST, 60, None, 2, place)
    assert (row.queued, row.next_after) == (1, None)
    assert len(db.open_rows(leads[3])) == 1


def test_a_window_moves_along(db, service, source):
    """A place of before the window is none."""
    for seconds in (300, 200, 100):
        old_lead(db, source, seconds)
    place = service.row(QUEUE_LOST, 60, None, 1, None).next_after
    assert service.row(QUEUE_LOST, 60, 150, 10, place).queued == 1


def test_two_sessions_queue_a_lead_once(db, source):
    leads = [old_lead(db, source) for _ in range(5)]
    one, two = db.service(), db.service()
    two.execute("set lock_timeout = '5s'")
    one.begin()
    assert find_lost(one) == 5
    assert find_lost(two) == 0, "passed over, without waiting"
    one.commit()
    assert find_lost(two) == 0
    assert all(len(db.open_rows(lead)) == 1 and len(db.logs(lead)) == 1 for lead in leads)


def test_many_sessions_queue_a_lead_once(db, source):
    """By volume: whatever they see of one another, each lead gets one row."""
    db.execute("insert into leads (workspace_id, created_at) select %s, now() - interval '2 min' from generate_series(1, 400)", source)

    def work(session):
        return find_lost(session, limit=7)

    futures = [db.in_background(work, db.service()) for _ in range(8)]
    assert sum(future.result(PATIENCE_S) for future in futures) == 400
    assert db.value("select count(*) from lead_routing_logs") == 400


def test_a_lead_that_is_being_decided_is_not_lost(db, service, source):
    lead = old_lead(db, source)
    engine = db.service()
    engine.begin()
    assert engine.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source).is_locked
    assert find_lost(service) == 0
    engine.decide(db.decision(lead, verdict=RETRY))
    assert find_lost(service) == 0
    engine.commit()
    assert find_lost(service) == 0
    assert len(db.open_rows(lead)) == 1


def test_the_engine_passes_over_a_lead_that_is_being_queued(db, service, source):
    lead = old_lead(db, source)
    service.begin()
    assert find_lost(service) == 1
    engine = db.service()
    engine.execute("set lock_timeout = '5s'")
    assert not engine.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source).is_locked
    assert not engine.value(ACQUIRE, lead, uuid.uuid4())
    service.commit()
    assert engine.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source).queue_is_due


def test_inserts_do_not_wait_for_those_who_search(db, service, source):
    """A search that is not committed yet is no obstacle to leads that come in, not even with the same external id."""
    old_lead(db, source, external_id="x")
    service.begin()
    assert find_lost(service) == 1
    other = db.service()
    other.execute("set lock_timeout = '5s'")
    rows = other.rows("select * from leadrouter.create_leads(%s, %s, null, null)", source,
                      '[{"external_id": "x"}, {"external_id": "y"}]')
    assert [row.created for row in rows] == [False, True]


# --- release_stale_locks ----------------------------------------------------------------------------------------------------


def test_release_of_a_lead_that_had_a_row(db, service, source):
    """The row goes on, with its own maximum of attempts; it is due at once."""
    lead = db.lead(source)
    db.decide(db.decision(lead, verdict=RETRY, max_attempts=5))
    row_before = db.open_rows(lead)[0]
    assert service.value(ACQUIRE, lead, uuid.uuid4())
    age_lock(db, lead, 301)
    assert service.value(RELEASE, 300, 10) == 1
    (row,) = db.open_rows(lead)
    assert (row.id, row.attempt_number, row.max_attempts, row.error_class) == (row_before.id, 2, 5, "stale_lock")
    assert [due.lead_id for due in service.rows(DUE, False)] == [lead]
    log = db.logs(lead)[-1]
    assert (log.routing_result, log.attempt_number) == ("released", 2)
    assert log.routing_metadata == {"reason": "its worker held it for too long", "error_class": "stale_lock", "status": "pending",
                                    "rules_version": 1, "next_retry_us": db.value("select leadrouter.to_us(%s)", row.next_retry_at)}


def test_release_of_a_lead_that_had_failed(db, service, source):
    """It stays failed; but starts afresh when the rules have changed since."""
    for changed, status, attempts in ((False, "failed", 3), (True, "pending", 1)):
        lead = db.lead(source)
        version = db.value("select version from leadrouter.rule_versions where workspace_id = %s", source)
        for _ in range(2):
            db.decide(db.decision(lead, verdict=RETRY, max_attempts=2, rules_version=version))
        assert service.value(ACQUIRE, lead, uuid.uuid4())
        if changed:
            db.rule(source, source)
        age_lock(db, lead, 301)
        assert service.value(RELEASE, 300, 10) == 1
        assert (db.state(lead).routing_status, db.state(lead).routing_attempts) == (status, attempts)
        assert db.value("select next_retry_at = 'infinity' from lead_routing_queue where lead_id = %s and processed_at is null", lead) == (
            status == "failed")


def test_release_of_a_lead_that_was_given_up(db, service, source):
    """Cancelled, and then taken by a worker by hand: it has a row again, as any lead that was held."""
    lead = db.lead(source)
    db.decide(db.decision(lead, verdict=RETRY))
    assert service.row("select * from leadrouter.cancel_retries(%s::uuid[], %s::uuid[], null, '')", [lead], [source]).result == "cancelled"
    assert db.open_rows(lead) == []
    assert service.value(ACQUIRE, lead, uuid.uuid4())
    age_lock(db, lead, 301)
    assert service.value(RELEASE, 300, 10) == 1
    assert (db.state(lead).routing_status, db.state(lead).routing_attempts) == ("failed", 3)
    assert len(db.open_rows(lead)) == 1


def test_release_takes_the_oldest_first(db, service, source):
    leads = [held_lead(db, service, source, seconds)[0] for seconds in (400, 600, 500, 200)]
    assert [service.value(RELEASE, 300, 1) for _ in range(2)] == [1, 1]
    assert [db.state(lead).routing_status for lead in leads] == ["routing", "pending", "pending", "routing"]
    assert service.value(RELEASE, 0, 10) == 2, "of any age"


@pytest.mark.parametrize("again", ["nobody", "another", "the same one, as another attempt"])
def test_what_a_late_owner_says_changes_nothing(db, service, source, again):
    lead, owner = held_lead(db, service, source, email="a@example.com")
    assert service.value(RELEASE, 300, 10) == 1
    now = {"another": uuid.uuid4(), "the same one, as another attempt": uuid.uuid4()}.get(again)
    if now is not None:
        assert service.value(ACQUIRE, lead, now)
    before = everything(db)
    assert service.value(COMPLETE, lead, source, owner) is False
    assert service.value(FAIL_ROUTING, lead, "late", owner, 3) is False
    assert everything(db) == before
    if now is not None:
        assert service.value(COMPLETE, lead, source, now) is True
        assert [log.lock_owner for log in db.logs(lead)] == [owner, now]


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("late", ["complete", "fail"])
def test_a_late_owner_meets_the_release(db, service, source, late, end):
    """He waits for the release in flight. When that stands he finds the lead gone; when it does not, it is still his."""
    lead, owner = held_lead(db, service, source)
    cleaner = db.service()
    cleaner.begin()
    assert cleaner.value(RELEASE, 300, 10) == 1
    worker = db.service()
    answer = (db.in_background(worker.value, COMPLETE, lead, source, owner) if late == "complete"
              else db.in_background(worker.value, FAIL_ROUTING, lead, "late", owner, 3))
    db.wait_until_blocked(worker, by=cleaner)
    cleaner.execute(end)
    assert answer.result(PATIENCE_S) is (end == "rollback")
    expected = "released" if end == "commit" else {"complete": "success", "fail": "retry"}[late]
    assert [log.routing_result for log in db.logs(lead)] == [expected]
    assert db.state(lead).routing_attempts == 1
    assert len(db.open_rows(lead)) == (expected != "success")


@pytest.mark.parametrize("late", ["complete", "fail"])
def test_a_release_meets_a_late_owner(db, service, source, late):
    """The owner was in time, if barely: the release passes over his lead."""
    lead, owner = held_lead(db, service, source)
    other, _ = held_lead(db, service, source)
    worker = db.service()
    worker.begin()
    assert worker.value(COMPLETE, lead, source, owner) if late == "complete" else worker.value(FAIL_ROUTING, lead, "no", owner, 3)
    assert service.value(RELEASE, 300, 10) == 1
    worker.commit()
    assert service.value(RELEASE, 300, 10) == 0
    assert db.state(lead).routing_status == {"complete": "routed", "fail": "pending"}[late]
    assert db.state(other).routing_status == "pending"


def test_releases_and_late_owners_by_volume(db, source):
    """200 stale leads, four cleaners, four sessions in which all owners come back: each lead has one outcome, and its log says whose."""
    db.execute("insert into leads (workspace_id) select %s from generate_series(1, 200)", source)
    owners = {row.id: uuid.uuid4() for row in db.rows("select id from leads")}
    for lead, owner in owners.items():
        assert db.value(ACQUIRE, lead, owner)
    db.execute("set session_replication_role = replica; update leads set routing_locked_at = now() - interval '6 min';"
               " set session_replication_role = origin")

    def clean(session):
        return sum(session.value(RELEASE, 300, 5) for _ in range(40))

    def come_back(session, mine):
        return sum(session.value(COMPLETE, lead, source, owners[lead]) for lead in mine)

    leads = sorted(owners)
    cleaners = [db.in_background(clean, db.service()) for _ in range(4)]
    workers = [db.in_background(come_back, db.service(), leads[n::4]) for n in range(4)]
    released, completed = (sum(future.result(PATIENCE_S) for future in futures) for futures in (cleaners, workers))
    released += db.value(RELEASE, 300, 1000)
    assert released + completed == 200
    assert dict(db.rows("select routing_result, count(*) from lead_routing_logs group by 1")) == {
        name: count for name, count in (("released", released), ("success", completed)) if count}
    assert db.value("select count(*) from leads l join lead_routing_queue q on q.lead_id = l.id and q.processed_at is null"
                    " where l.routing_status = 'pending'") == released
    assert db.value("select count(*) from lead_routing_queue") == released
