"""Goal: the functions that other systems call by parameter name do what they promise, alone and against each other,
and change nothing when the caller does not hold the lead."""
import uuid

import psycopg2
import pytest

from support.database import FAIL, RETRY
from support.product_cluster import PATIENCE_S

ACQUIRE = "select acquire_routing_lock(p_lead_id => %s, p_lock_owner => %s)"
COMPLETE = ("select complete_routing(p_lead_id => %s, p_destination_workspace_id => %s, p_matched_rule_id => %s, p_lock_owner => %s)")
FAIL_ROUTING = "select fail_routing(p_lead_id => %s, p_error_message => %s, p_lock_owner => %s, p_max_attempts => %s)"
RELEASE = "select release_stale_routing_locks()"
EXPIRE_ALL = "select mark_expired_leads()"
CHECK = "select * from check_cross_partner_duplicate(p_dedupe_hash => %s, p_source_workspace_id => %s)"


@pytest.fixture
def source(db):
    return db.workspace()


@pytest.fixture
def partner(db):
    return db.workspace()


@pytest.fixture
def service(db):
    """The role that callers have: everything here works without any right on a table."""
    return db.service()


@pytest.fixture
def held(db, service, source):
    """A lead and the owner of its lock."""
    lead, owner = db.lead(source, email="a@example.com"), uuid.uuid4()
    assert service.value(ACQUIRE, lead, owner)
    return lead, owner


def everything(db):
    return [db.rows(f"select * from {table} order by 1") for table in
            ("leads", "lead_routing_logs", "lead_routing_queue", "lead_dedupe_claims")]


def age_lock(db, lead, minutes):
    """Makes the lock older. Not even the owner of the functions can: the guard stands aside for nobody."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.execute("update leads set routing_locked_at = routing_locked_at - interval '1 hour' where id = %s", lead)
    db.execute("set session_replication_role = replica")
    db.execute("update leads set routing_locked_at = now() - %s * interval '1 minute' where id = %s", minutes, lead)
    db.execute("set session_replication_role = origin")


# --- acquire_routing_lock --------------------------------------------------------------------------------------------------


def test_acquire(db, service, held, source):
    lead, owner = held
    state = db.state(lead)
    assert (state.routing_status, state.routing_locked_by, state.routing_attempts) == ("routing", owner, 0)
    assert state.routing_locked_at == state.routing_started_at is not None
    assert not service.value(ACQUIRE, lead, owner), "not even by its owner again"
    assert not service.value(ACQUIRE, lead, uuid.uuid4())
    assert not service.value(ACQUIRE, uuid.uuid4(), owner), "no such lead"
    failed = db.lead(source)
    db.decide(db.decision(failed, verdict=FAIL))
    assert service.value(ACQUIRE, failed, owner)


def test_acquire_of_a_decided_or_expired_lead(db, service, source):
    routed, expired = db.lead(source), db.lead(source, lead_expires_at="2001-01-01")
    db.decide(db.decision(routed, destination=source))
    assert not service.value(ACQUIRE, routed, uuid.uuid4())
    assert not service.value(ACQUIRE, expired, uuid.uuid4())
    assert db.state(expired).routing_status == "expired", "whoever locks it next marks it"
    assert [log.routing_result for log in db.logs(expired)] == ["expired"]
    assert not service.value(ACQUIRE, expired, uuid.uuid4())
    assert len(db.logs(expired)) == 1


def test_acquire_needs_an_owner(db, service, source):
    with pytest.raises(psycopg2.errors.NullValueNotAllowed, match="p_lock_owner"):
        service.value(ACQUIRE, db.lead(source), None)


def test_acquire_never_waits(db, service, source):
    lead = db.lead(source)
    first = db.service()
    first.begin()
    assert first.value(ACQUIRE, lead, uuid.uuid4())
    service.execute("set statement_timeout = '5s'")
    assert not service.value(ACQUIRE, lead, uuid.uuid4())
    first.rollback()
    assert service.value(ACQUIRE, lead, uuid.uuid4())


def test_one_of_sixteen_acquires(db, source):
    lead = db.lead(source)
    futures = [db.in_background(session.value, ACQUIRE, lead, uuid.uuid4()) for session in [db.service() for _ in range(16)]]
    assert sum(future.result(PATIENCE_S) for future in futures) == 1


# --- complete_routing ------------------------------------------------------------------------------------------------------


def test_complete(db, service, held, source, partner):
    lead, owner = held
    rule = db.rule(source, partner, rule_name="west")
    assert service.value(COMPLETE, lead, partner, rule, owner) is True
    state = db.state(lead)
    assert (state.routing_status, state.workspace_id, state.matched_rule_id) == ("routed", partner, rule)
    assert (state.decided_outcome, state.routing_attempts, state.routing_locked_by, state.routing_locked_at) == ("success", 1, None, None)
    (log,) = db.logs(lead)
    assert (log.id, log.routing_result, log.lock_owner) == (state.decision_id, "success", owner)
    assert log.routing_metadata["rule_name"] == "west"
    assert db.claim(state.dedupe_hash).workspace_id == partner
    assert service.value(COMPLETE, lead, partner, rule, owner) is False, "decided once"


def test_complete_without_a_rule(db, service, held, partner):
    lead, owner = held
    assert service.value(COMPLETE, lead, partner, None, owner)
    assert db.state(lead).matched_rule_id is None


def test_complete_makes_a_duplicate_when_another_holds_the_identity(db, service, held, source, partner):
    """True: the lead is decided; but as the duplicate it is."""
    lead, owner = held
    first = db.lead(partner, email="a@example.com")
    db.decide(db.decision(first, destination=partner))
    assert service.value(COMPLETE, lead, partner, None, owner) is True
    state = db.state(lead)
    assert (state.decided_outcome, state.duplicate_lead_id, state.workspace_id) == ("duplicate", first, source)


@pytest.mark.parametrize("config, outcome", [({}, "success"), ({"dedupe_scope": "global"}, "duplicate")])
def test_complete_follows_the_policy_of_the_source(db, service, config, outcome):
    source = db.workspace(routing_config={**config, "dedupe_days": 200})
    first, second = (db.lead(source, email="a@example.com") for _ in range(2))
    for lead in (first, second):
        owner = uuid.uuid4()
        service.value(ACQUIRE, lead, owner)
        assert service.value(COMPLETE, lead, source, None, owner)
    assert db.state(second).decided_outcome == outcome
    assert db.value("select round(extract(epoch from expires_at - now()) / 86400) from lead_dedupe_claims") == 200


def test_complete_to_nowhere(db, service, held):
    lead, owner = held
    with pytest.raises(psycopg2.Error, match="p_destination_workspace_id: no such workspace") as caught:
        service.value(COMPLETE, lead, uuid.uuid4(), None, owner)
    assert caught.value.pgcode == "LR404"
    with pytest.raises(psycopg2.Error, match="p_destination_workspace_id"):
        service.value(COMPLETE, lead, None, None, owner)
    assert db.state(lead).routing_status == "routing"


# --- fail_routing ----------------------------------------------------------------------------------------------------------


def test_fail_until_no_attempt_is_left(db, service, source):
    lead = db.lead(source)
    for attempt, status in ((1, "pending"), (2, "pending"), (3, "failed")):
        owner = uuid.uuid4()
        assert service.value(ACQUIRE, lead, owner)
        assert service.value("select fail_routing(%s, %s, %s)", lead, f"no answer {attempt}", owner) is True
        state = db.state(lead)
        assert (state.routing_status, state.routing_attempts, state.routing_error) == (status, attempt, f"no answer {attempt}")
        assert state.routing_locked_by is None
        (queued,) = db.open_rows(lead)
        assert (queued.attempt_number, queued.last_error, queued.max_attempts) == (attempt, f"no answer {attempt}", 3)
    assert [log.routing_result for log in db.logs(lead)] == ["retry", "retry", "failed"]
    assert db.value("select next_retry_at = 'infinity' from lead_routing_queue where processed_at is null")


def test_a_held_lead_that_had_failed_starts_afresh_after_a_rule_change(db, service, source, partner):
    lead = db.lead(source)

    def attempt():
        owner = uuid.uuid4()
        assert service.value(ACQUIRE, lead, owner)
        assert service.value(FAIL_ROUTING, lead, "no", owner, 2)
        return db.state(lead).routing_status, db.state(lead).routing_attempts

    assert [attempt() for _ in range(3)] == [("pending", 1), ("failed", 2), ("failed", 3)]
    db.rule(source, partner)
    assert [attempt() for _ in range(2)] == [("pending", 1), ("failed", 2)]


@pytest.mark.parametrize("max_attempts", [0, 21, -1, None])
def test_fail_with_an_absurd_maximum(db, service, held, max_attempts):
    lead, owner = held
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="p_max_attempts: must be between 1 and 20"):
        service.value(FAIL_ROUTING, lead, "x", owner, max_attempts)
    assert db.state(lead).routing_status == "routing"


@pytest.mark.parametrize("message", ["", None])
def test_fail_without_a_message(db, service, held, message):
    lead, owner = held
    assert service.value(FAIL_ROUTING, lead, message, owner, 1)
    assert db.state(lead).routing_error == "failed by its worker"


def test_fail_with_an_endless_message(db, service, held):
    """What lists show has a bound; the beginning says what it was."""
    lead, owner = held
    assert service.value(FAIL_ROUTING, lead, "é" * 100_000, owner, 3)
    assert db.state(lead).routing_error == db.open_rows(lead)[0].last_error == db.logs(lead)[0].error_message == "é" * 500


# --- Who does not hold the lead --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["another owner", "no owner", "released", "acquired by another since", "never acquired", "no such lead"])
def test_who_does_not_hold_the_lead_changes_nothing(db, service, source, partner, case):
    lead, owner = db.lead(source, email="a@example.com"), uuid.uuid4()
    if case != "never acquired":
        assert service.value(ACQUIRE, lead, owner)
    if case in ("released", "acquired by another since"):
        age_lock(db, lead, 6)
        assert service.value(RELEASE) == 1
    if case == "acquired by another since":
        assert service.value(ACQUIRE, lead, uuid.uuid4())
    caller = {"another owner": uuid.uuid4(), "no owner": None}.get(case, owner)
    if case == "no such lead":
        lead = uuid.uuid4()
    before = everything(db)
    assert service.value(COMPLETE, lead, partner, None, caller) is False
    assert service.value(FAIL_ROUTING, lead, "late", caller, 3) is False
    assert everything(db) == before


def test_complete_and_release_meet(db, service, held, partner):
    """The late owner waits for the release in flight, and finds the lead gone; or the release passes over what is being completed."""
    lead, owner = held
    age_lock(db, lead, 6)
    cleaner = db.service()
    cleaner.begin()
    assert cleaner.value(RELEASE) == 1
    answer = db.in_background(service.value, COMPLETE, lead, partner, None, owner)
    db.wait_until_blocked(service, by=cleaner)
    cleaner.rollback()
    assert answer.result(PATIENCE_S) is True
    assert service.value(RELEASE) == 0


def test_release_passes_over_what_is_being_completed(db, service, held, partner):
    lead, owner = held
    age_lock(db, lead, 6)
    service.begin()
    assert service.value(COMPLETE, lead, partner, None, owner)
    cleaner = db.service()
    cleaner.execute("set statement_timeout = '5s'")
    assert cleaner.value(RELEASE) == 0
    service.commit()
    assert db.state(lead).routing_status == "routed"


# --- release_stale_routing_locks ---------------------------------------------------------------------------------------------


def test_release_takes_only_old_locks(db, service, source):
    old, young = db.lead(source), db.lead(source)
    owner = uuid.uuid4()
    for lead in (old, young):
        assert service.value(ACQUIRE, lead, owner)
    age_lock(db, old, 5.1)
    age_lock(db, young, 4.9)
    assert service.value(RELEASE) == 1
    state = db.state(old)
    assert (state.routing_status, state.routing_attempts, state.routing_locked_by) == ("pending", 1, None)
    (queued,) = db.open_rows(old)
    assert (queued.attempt_number, queued.max_attempts, queued.rules_version) == (1, 3, 1)
    assert db.value("select next_retry_at <= now() from lead_routing_queue"), "due at once"
    (log,) = db.logs(old)
    assert (log.routing_result, log.lock_owner, log.attempt_number) == ("released", owner, 1)
    assert log.routing_metadata["status"] == "pending" and log.routing_metadata["reason"] and log.routing_metadata["rules_version"] == 1
    assert db.state(young).routing_status == "routing"
    assert service.value(RELEASE) == 0


def test_a_lead_that_keeps_losing_its_workers_fails(db, service, source):
    """Its queue row's maximum counts; one open row all the time."""
    lead = db.lead(source)
    db.decide(db.decision(lead, verdict=RETRY, max_attempts=3))
    for status in ("pending", "failed"):
        assert service.value(ACQUIRE, lead, uuid.uuid4())
        age_lock(db, lead, 6)
        assert service.value(RELEASE) == 1
        assert db.state(lead).routing_status == status
        assert len(db.open_rows(lead)) == 1
    assert db.value("select next_retry_at = 'infinity' and attempt_number = 3 from lead_routing_queue where processed_at is null")
    assert [log.routing_metadata.get("status") for log in db.logs(lead)] == [None, "pending", "failed"]


def test_release_is_bounded(db, service, source):
    """A thousand a call, so that no transaction is long; the rest at the next call."""
    db.execute("insert into leads (workspace_id) select %s from generate_series(1, 1003)", source)
    assert db.value("select count(acquire_routing_lock(id, gen_random_uuid())) from leads") == 1003
    db.execute("set session_replication_role = replica; update leads set routing_locked_at = now() - interval '6 min';"
               " set session_replication_role = origin")
    assert [service.value(RELEASE) for _ in range(3)] == [1000, 3, 0]
    assert db.value("select count(*) from lead_routing_queue where processed_at is null") == 1003


def test_two_cleaners_share(db, service, source):
    leads = [db.lead(source) for _ in range(2)]
    for lead in leads:
        assert service.value(ACQUIRE, lead, uuid.uuid4())
        age_lock(db, lead, 6)
    one, two = db.service(), db.service()
    one.begin()
    assert one.value(RELEASE) == 2
    two.execute("set statement_timeout = '5s'")
    assert two.value(RELEASE) == 0
    one.commit()
    assert db.value("select count(*) from lead_routing_logs where routing_result = 'released'") == 2


# --- mark_expired_leads ------------------------------------------------------------------------------------------------------


def test_expiry(db, service, source):
    pending, failed, queued, held, routed, young = (db.lead(source) for _ in range(6))
    db.decide(db.decision(failed, verdict=FAIL), db.decision(queued, verdict=RETRY), db.decision(routed, destination=source))
    assert service.value(ACQUIRE, held, uuid.uuid4())
    db.execute("update leads set lead_expires_at = now() where id <> %s", young)
    assert service.value(EXPIRE_ALL) == 3
    assert [db.state(lead).routing_status for lead in (pending, failed, queued, held, routed, young)] == [
        "expired", "expired", "expired", "routing", "routed", "pending"]
    for lead in (pending, failed, queued):
        log = db.logs(lead)[-1]
        assert (log.routing_result, log.routing_metadata["reason"]) == ("expired", "its time to live has passed")
        assert db.open_rows(lead) == []
    assert service.value(EXPIRE_ALL) == 0


def test_expiry_passes_over_locked_leads(db, service, source):
    lead = db.lead(source, lead_expires_at="2001-01-01")
    locker = db.service()
    locker.begin()
    assert locker.rows("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[]) where is_locked", lead, source)
    service.execute("set statement_timeout = '5s'")
    assert service.value(EXPIRE_ALL) == 0
    locker.rollback()
    assert service.value(EXPIRE_ALL) == 1


def test_expiry_is_bounded(db, service, source):
    db.execute("insert into leads (workspace_id, lead_expires_at) select %s, '2001-01-01' from generate_series(1, 1002)", source)
    assert [service.value(EXPIRE_ALL) for _ in range(3)] == [1000, 2, 0]


# --- check_cross_partner_duplicate ---------------------------------------------------------------------------------------------


def test_check_names_the_holder_for_others(db, service, source, partner):
    lead = db.lead(source, email="a@example.com")
    lead_hash = db.state(lead).dedupe_hash
    assert service.rows(CHECK, lead_hash, source) == []
    db.decide(db.decision(lead, destination=partner))
    row = service.row(CHECK, lead_hash, source)
    assert (row.duplicate_lead_id, row.duplicate_workspace_id) == (lead, partner)
    taken_for = (db.state(lead).routing_completed_at - row.created_at).total_seconds()
    assert 0 <= taken_for < PATIENCE_S, "the claim has the time of its transaction"
    assert service.rows(CHECK, lead_hash, partner) == [], "one's own is no obstacle"
    assert service.rows(CHECK, None, source) == []
    db.execute("update lead_dedupe_claims set expires_at = now()")
    assert service.rows(CHECK, lead_hash, source) == []
