"""Goal: the functions that the engine calls lock, read, decide and record as the table in sql/README.md says, for
every verdict and every state."""
import datetime
import uuid

import psycopg2
import pytest

from support.database import DUPLICATE, EXPIRE, FAIL, FAILED, GIVE, HOLD, RETRY

NOBODY = uuid.UUID(int=0)
READ = "select * from leadrouter.lock_leads(%s::uuid[], %s::uuid[])"
LOCK = READ + " where is_locked"
RULES = "select * from leadrouter.load_rule_sets(%s::uuid[])"
FIND = "select * from leadrouter.find_attempts(%s::uuid[], %s::uuid[])"


@pytest.fixture
def source(db):
    return db.workspace()


@pytest.fixture
def partner(db):
    return db.workspace(workspace_type="partner")


def expire(db, lead):
    db.execute("update leads set lead_expires_at = now() - interval '1 s' where id = %s", lead)


def minutes_until(db, moment):
    return db.value("select extract(epoch from %s - now())::float8 / 60", moment)


# --- Times -----------------------------------------------------------------------------------------------------------------


def test_microseconds_round_trip(db):
    """Exact to the microsecond over four centuries, and infinity both ways."""
    assert db.value("select bool_and(leadrouter.from_us(leadrouter.to_us(t)) = t) from unnest(array['1900-01-01 00:00:00.000001+00',"
                    " '1970-01-01 00:00:00+00', '2024-02-29 23:59:59.999999+00', '2299-12-31 12:00:00.5+00']::timestamptz[]) t")
    assert db.value("select leadrouter.to_us('2001-09-09 01:46:40+00')") == 1_000_000_000_000_000
    assert db.value("select leadrouter.to_us('infinity')") is None
    assert db.value("select leadrouter.from_us(9223372036854775807) = 'infinity'")


@pytest.mark.parametrize("error_class", ["unmatched", "fallback_inactive", "rules_unusable", "database", "worker"])
def test_delays_grow_with_jitter(db, error_class):
    for attempt, minutes in ((0, 1), (1, 1), (2, 5), (3, 15), (4, 60), (19, 60)):
        low, high = db.row("select extract(epoch from min(t) - now()) / 60 as low, extract(epoch from max(t) - now()) / 60 as high from"
                           " (select leadrouter.retry_time(delays, jitter, %s) t from leadrouter.error_classes, generate_series(1, 2000)"
                           " where class = %s) times", attempt, error_class)
        assert 0.9 * minutes <= low < 0.91 * minutes
        assert 1.09 * minutes < high <= 1.1 * minutes


def test_error_classes_say_what_follows(db, source):
    """What is tried again at once, at a time, by a change of rules only, or never; and a class that nobody knows is not lost."""
    seen = {}
    for error_class in [row[0] for row in db.rows("select class as name from leadrouter.error_classes order by 1")] + ["nonsense", None]:
        lead = db.lead(source, external_id=str(error_class))
        row = db.decide(db.decision(lead, verdict=FAILED, error_class=error_class))[1]
        queued = db.rows("select case when isfinite(next_retry_at) then extract(epoch from next_retry_at - now()) end as s, error_class"
                         " from lead_routing_queue"
                         " where lead_id = %s and processed_at is null", lead)
        seen[error_class] = (row.result, ["rules" if q.s is None else round(q.s / 60) for q in queued])
        assert all(q.error_class == (error_class or "unmatched") for q in queued)
        assert db.value("select routing_metadata ->> 'error_class' from lead_routing_logs where lead_id = %s", lead) == (
            error_class or "unmatched")
    minute = ("retry", [1])
    assert seen == {
        "unmatched": minute, "fallback_inactive": minute, "rules_unusable": minute, "database": minute, "worker": minute,
        "stale_lock": ("retry", [0]), "lost": ("retry", [0]), "held": ("retry", ["rules"]),
        "invalid_data": ("failed", ["rules"]), "cancelled": ("failed", []), "nonsense": ("retry", [60]), None: ("retry", [60])}


# --- lock_leads ------------------------------------------------------------------------------------------------------------


def test_lock_gives_what_rules_look_at(db, source):
    lead = db.lead(source, email="a@example.com", company_industry="Software", company_size="11-50", company_revenue="1M", country="US",
                   state="CA")
    row = db.row(LOCK, [lead], [source])
    assert (row.ord, row.company_industry, row.company_size, row.company_revenue, row.country, row.state) == (
        1, "Software", "11-50", "1M", "US", "CA")
    assert row.dedupe_hash == db.state(lead).dedupe_hash
    assert row.lead_expires_us == db.value("select leadrouter.to_us(lead_expires_at) from leads")


def test_the_transaction_id_says_what_became_of_it(db, source):
    lead = db.lead(source)
    other = db.service()
    for end, status in ((other.commit, "committed"), (other.rollback, "aborted")):
        other.begin()
        transaction = other.row(LOCK, [lead], [source]).transaction_id
        assert db.value("select pg_xact_status(%s::text::xid8)", str(transaction)) == "in progress"
        end()
        assert db.value("select pg_xact_status(%s::text::xid8)", str(transaction)) == status


def test_lock_takes_pairs_and_only_undecided_leads(db, source, partner):
    """Neither a lead of another workspace nor one whose state is final or held; ord is the position in the call."""
    own, foreign, held, decided, failed = (db.lead(w) for w in (source, partner, source, source, source))
    assert db.value("select acquire_routing_lock(%s, %s)", held, uuid.uuid4())
    db.decide(db.decision(decided, destination=source), db.decision(failed, verdict=FAIL))
    leads = [NOBODY, foreign, held, decided, failed, own]
    assert [row.ord for row in db.rows(LOCK, leads, [source] * 6)] == [5, 6]


def test_lock_never_waits_and_is_no_obstacle_to_foreign_keys(db, own_db, source):
    lead = db.lead(source)
    first, second = db.service(), db.service()
    first.begin()
    assert len(first.rows(LOCK, [lead], [source])) == 1
    second.execute("set statement_timeout = '5s'")
    assert second.rows(LOCK, [lead], [source]) == []
    first.rollback()
    assert len(second.rows(LOCK, [lead], [source])) == 1
    # FOR NO KEY UPDATE: a row that refers to a locked lead can be inserted.
    own_db.execute("create table notes (lead_id uuid references leads)")
    lead = own_db.lead(own_db.workspace())
    holder = own_db.service()
    holder.begin()
    assert holder.rows(LOCK, [lead], [own_db.value("select source_workspace_id from leads")])
    own_db.execute("set lock_timeout = '5s'; insert into notes values (%s)", lead)
    holder.rollback()


def test_read_answers_every_pair_in_order(db, source, partner):
    lead, foreign = db.lead(source), db.lead(partner)
    rows = db.rows(READ, [foreign, lead, NOBODY, lead], [source, source, source, partner])
    assert [(row.ord, row.found) for row in rows] == [(1, False), (2, True), (3, False), (4, False)]
    assert all(row.routing_status is None and row.workspace_id is None and row.decision_id is None for row in rows if not row.found)


def test_read_of_a_new_lead(db, source):
    row = db.row(READ, [db.lead(source)], [source])
    assert (row.routing_status, row.is_expired, row.workspace_id, row.routing_attempts) == ("pending", False, source, 0)
    assert (row.queue_attempt, row.queue_is_due, row.next_retry_us, row.claim_lead_id) == (None, None, None, None)
    assert (row.rules_version, row.source_is_active) == (1, True)


def test_read_of_a_decided_lead(db, source, partner):
    rule = db.rule(source, partner, rule_name="west")
    lead = db.lead(source, email="a@example.com")
    decided = db.decide(db.decision(lead, destination=partner, rule_id=rule, rule_name="west", reason="matched west"))[1]
    row = db.row(READ, [lead], [source])
    assert (row.routing_status, row.workspace_id, row.matched_rule_id) == ("routed", partner, rule)
    assert (row.matched_rule_name, row.reason) == ("west", "matched west")
    assert (row.decision_id, row.decided_outcome, row.routing_attempts) == (decided.decision_id, "success", 1)
    db.execute("delete from lead_routing_rules")
    assert db.row(READ, [lead], [source]).matched_rule_name == "west"


def test_read_of_a_lead_whose_log_is_gone(own_db):
    """Names and reasons come from the log, which is kept for a time; the decision is the lead's."""
    source = own_db.workspace()
    lead = own_db.lead(source)
    own_db.decide(own_db.decision(lead, destination=source))
    own_db.execute("set session_replication_role = replica; delete from lead_routing_logs; set session_replication_role = origin")
    row = own_db.row(READ, [lead], [source])
    assert (row.matched_rule_name, row.reason, row.decided_outcome) == ("", "", "success")


def test_read_says_when_a_retry_is_due(db, source):
    lead = db.lead(source)
    retry = db.decide(db.decision(lead, verdict=RETRY))[1]
    row = db.row(READ, [lead], [source])
    assert (row.queue_attempt, row.queue_is_due, row.next_retry_us) == (1, False, retry.next_retry_us)
    db.rule(source, source)
    assert db.row(READ, [lead], [source]).queue_is_due, "a higher rule version makes it due"
    db.execute("update lead_routing_queue set rules_version = 99, next_retry_at = now()")
    assert db.row(READ, [lead], [source]).queue_is_due, "so does its time"
    db.execute("update lead_routing_queue set next_retry_at = 'infinity'")
    row = db.row(READ, [lead], [source])
    assert (row.queue_is_due, row.next_retry_us) == (False, None)


def test_read_says_expired_at_once(db, source):
    pending, failed, held, routed = (db.lead(source) for _ in range(4))
    db.decide(db.decision(failed, verdict=FAIL), db.decision(routed, destination=source))
    assert db.value("select acquire_routing_lock(%s, %s)", held, uuid.uuid4())
    for lead in (pending, failed, held, routed):
        expire(db, lead)
    assert [row.is_expired for row in db.rows(READ, [pending, failed, held, routed], [source] * 4)] == [True, True, False, False]
    db.value("select mark_expired_leads()")
    assert [row.is_expired for row in db.rows(READ, [pending, failed], [source] * 2)] == [True, True]


def test_read_shows_live_claims_of_others(db, source, partner):
    first, copy = (db.lead(w, email="a@example.com") for w in (source, partner))
    db.decide(db.decision(first, destination=partner))
    row = db.row(READ, [copy], [partner])
    assert (row.claim_lead_id, row.claim_workspace_id) == (first, partner)
    assert db.row(READ, [first], [source]).claim_lead_id is None, "its own claim is none of another lead"
    db.execute("update lead_dedupe_claims set expires_at = now()")
    assert db.row(READ, [copy], [partner]).claim_lead_id is None


# --- load_rule_sets --------------------------------------------------------------------------------------------------------


def test_rules_come_in_match_order(db, source, partner):
    """Priority descending, then created_at, then id; only active ones; a workspace without rules has one row."""
    other = db.workspace()
    late = db.rule(source, partner, priority=5, created_at="2024-01-02T00:00:00Z")
    twins = sorted(db.rule(source, partner, priority=5, created_at="2024-01-01T00:00:00Z") for _ in range(2))
    high = db.rule(source, partner, priority=9, conditions={"countries": ["US"]}, rule_name="high")
    low = db.rule(source, partner, priority=-1)
    db.rule(source, partner, priority=99, is_active=False)
    rows = [row for row in db.rows(RULES, [other, source, NOBODY]) if row.workspace_id == source]
    assert [row.rule_id for row in rows] == [high, *twins, late, low]
    assert (rows[0].rule_name, rows[0].priority, rows[0].conditions) == ("high", 9, '{"countries": ["US"]}')
    assert rows[0].destination_workspace_id == partner
    assert rows[1].created_us == 1_704_067_200_000_000
    assert {row.rules_version for row in rows} == {7}
    (row,) = [row for row in db.rows(RULES, [other, source, NOBODY]) if row.workspace_id != source]
    assert (row.workspace_id, row.rule_id, row.conditions, row.rules_version) == (other, None, None, 1)


def test_rules_tell_who_is_active(db, source, partner):
    fallback = db.workspace(is_active=False)
    asleep = db.workspace(is_active=False, routing_config={"unmatched": "fallback", "fallback_workspace_id": str(fallback)})
    db.rule(asleep, partner)
    db.rule(asleep, fallback)
    db.rule(asleep, NOBODY)
    rows = {row.destination_workspace_id: row for row in db.rows(RULES, [asleep])}
    assert {key: row.destination_is_active for key, row in rows.items()} == {partner: True, fallback: False, NOBODY: False}
    assert {(row.is_active, row.fallback_is_active) for row in rows.values()} == {(False, False)}
    db.execute("update workspaces set is_active = true")
    assert {(row.is_active, row.fallback_is_active) for row in db.rows(RULES, [asleep])} == {(True, True)}
    assert db.row(RULES, [source]).fallback_is_active is False


# --- decide: one lead ------------------------------------------------------------------------------------------------------


def test_give(db, source, partner):
    """Owner, rule, status, claim and log row in one call; times are the transaction's; nothing is left in the queue."""
    rule, actor, owner = db.rule(source, partner), uuid.uuid4(), uuid.uuid4()
    lead = db.lead(source, email="a@example.com")
    db.decide(db.decision(lead, verdict=RETRY))
    row = db.decide(db.decision(lead, destination=partner, rule_id=rule, rule_name="a rule", rules_version=4, actor_id=actor,
                                lock_owner=owner))[1]
    assert row[:6] == (1, "success", partner, rule, None, 2)
    assert (row.next_retry_us, row.reason) == (None, "because")
    state = db.state(lead)
    assert (state.routing_status, state.workspace_id, state.source_workspace_id) == ("routed", partner, source)
    assert (state.matched_rule_id, state.rules_version, state.routing_attempts) == (rule, 4, 2)
    assert (state.decision_id, state.decided_outcome, state.routing_error) == (row.decision_id, "success", None)
    log = db.logs(lead)[-1]
    assert (log.id, log.created_at) == (row.decision_id, state.routing_completed_at)
    assert (log.routing_result, log.source_workspace_id, log.destination_workspace_id) == ("success", source, partner)
    assert (log.matched_rule_id, log.lock_owner, log.attempt_number, log.actor_id) == (rule, owner, 2, actor)
    assert log.error_message is None
    assert log.routing_metadata == {"reason": "because", "rule_name": "a rule", "rules_version": 4}
    claim = db.claim(state.dedupe_hash)
    assert (claim.lead_id, claim.workspace_id) == (lead, partner)
    assert db.open_rows(lead) == []
    assert db.value("select count(*) from lead_routing_queue where processed_at is not null") == 1


def test_a_lead_without_identity_takes_no_claim(db, source, partner):
    leads = [db.lead(source), db.lead(source)]
    rows = db.decide(*(db.decision(lead, destination=partner) for lead in leads))
    assert [rows[1].result, rows[2].result] == ["success", "success"]
    assert db.value("select count(*) from lead_dedupe_claims") == 0


@pytest.mark.parametrize("lead_days, dedupe_days, claim_days", [(90, 90, 90), (10, 90, 90), (200, 90, 200), (10, 1, 10), (1, 3650, 3650)])
def test_a_claim_lives_until_the_later_time(db, source, lead_days, dedupe_days, claim_days):
    lead = db.lead(source, email="a@example.com", lead_expires_at=datetime.datetime.now(datetime.timezone.utc)
                   + datetime.timedelta(days=lead_days))
    db.decide(db.decision(lead, destination=source, dedupe_days=dedupe_days))
    assert abs(minutes_until(db, db.claim(db.state(lead).dedupe_hash).expires_at) / 1440 - claim_days) < 0.01


def test_known_duplicate(db, source, partner):
    """Verdict 2: routed, stays where it is, names the other lead, credits nobody, takes no claim."""
    lead, other = db.lead(source, email="a@example.com"), uuid.uuid4()
    row = db.decide(db.decision(lead, verdict=DUPLICATE, destination=partner, rule_id=uuid.uuid4(), duplicate_of=other))[1]
    assert row[:6] == (1, "duplicate", source, None, other, 1)
    state = db.state(lead)
    assert (state.routing_status, state.workspace_id, state.decided_outcome) == ("routed", source, "duplicate")
    assert (state.duplicate_lead_id, state.matched_rule_id, state.decision_id) == (other, None, row.decision_id)
    (log,) = db.logs(lead)
    assert (log.routing_result, log.matched_rule_id, log.routing_metadata["duplicate_lead_id"]) == ("duplicate", None, str(other))
    assert db.claim(state.dedupe_hash) is None


def test_failed_attempts_are_queued_until_none_is_left(db, source):
    lead = db.lead(source)
    queue_ids = set()
    for attempt, minutes in ((1, 1), (2, 5)):
        row = db.decide(db.decision(lead, verdict=RETRY, rules_version=7))[1]
        assert (row.result, row.attempt_number, row.destination_workspace_id) == ("retry", attempt, None)
        (queued,) = db.open_rows(lead)
        queue_ids.add(queued.id)
        assert 0.9 * minutes - 0.1 < minutes_until(db, queued.next_retry_at) <= 1.1 * minutes
        assert row.next_retry_us == db.value("select leadrouter.to_us(%s)", queued.next_retry_at)
        assert (queued.workspace_id, queued.attempt_number, queued.max_attempts) == (source, attempt, 3)
        assert (queued.last_error, queued.error_count, queued.rules_version) == ("because", attempt, 7)
        state = db.state(lead)
        assert (state.routing_status, state.routing_error, state.routing_attempts) == ("pending", "because", attempt)
        assert state.routing_failed_at is not None and state.decision_id is None
    row = db.decide(db.decision(lead, verdict=RETRY, rules_version=7))[1]
    assert (row.result, row.attempt_number, row.next_retry_us) == ("failed", 3, None)
    (queued,) = db.open_rows(lead)
    assert db.value("select next_retry_at = 'infinity' from lead_routing_queue where processed_at is null")
    assert (queued.rules_version, queued.max_attempts) == (7, 3)
    assert db.state(lead).routing_status == "failed"
    assert len(queue_ids | {queued.id}) == 3
    logs = db.logs(lead)
    assert [(log.routing_result, log.attempt_number, log.error_message) for log in logs] == [
        ("retry", 1, "because"), ("retry", 2, "because"), ("failed", 3, "because")]
    assert "next_retry_us" in logs[0].routing_metadata and "next_retry_us" not in logs[2].routing_metadata


def test_the_queue_row_keeps_its_maximum(db, source):
    """max_attempts is that of the call that opened the row, whatever later calls say."""
    lead = db.lead(source)
    db.decide(db.decision(lead, verdict=RETRY, max_attempts=2))
    row = db.decide(db.decision(lead, verdict=RETRY, max_attempts=20))[1]
    assert (row.result, row.attempt_number) == ("failed", 2)
    assert db.open_rows(lead)[0].max_attempts == 2


def test_a_failed_lead_starts_afresh_after_a_rule_change_only(db, source):
    lead = db.lead(source)
    for _ in range(3):
        db.decide(db.decision(lead, verdict=RETRY, rules_version=1))
    row = db.decide(db.decision(lead, verdict=RETRY, rules_version=1))[1]
    assert (row.result, row.attempt_number) == ("failed", 4), "by force: one more, and none left"
    row = db.decide(db.decision(lead, verdict=RETRY, rules_version=2))[1]
    assert (row.result, row.attempt_number) == ("retry", 1)
    assert db.state(lead).routing_status == "pending"


def test_fail_for_good(db, source):
    lead = db.lead(source)
    row = db.decide(db.decision(lead, verdict=FAIL, max_attempts=20, rules_version=5))[1]
    assert (row.result, row.attempt_number, row.next_retry_us) == ("failed", 1, None)
    assert db.value("select next_retry_at = 'infinity' and rules_version = 5 from lead_routing_queue where processed_at is null")
    assert db.logs(lead)[0].error_message == "because"


def test_expire(db, source):
    """Closes the queue row, counts no attempt, opens nothing."""
    lead = db.lead(source, email="a@example.com")
    db.decide(db.decision(lead, verdict=RETRY))
    row = db.decide(db.decision(lead, verdict=EXPIRE))[1]
    assert (row.result, row.attempt_number, row.destination_workspace_id, row.next_retry_us) == ("expired", 1, None, None)
    assert (db.state(lead).routing_status, db.open_rows(lead)) == ("expired", [])
    assert [log.routing_result for log in db.logs(lead)] == ["retry", "expired"]


@pytest.mark.parametrize("first", [None, RETRY, FAIL])
def test_hold(db, source, first):
    """No attempt is counted; the row is due when the version rises, which waking the workspace does."""
    lead = db.lead(source)
    if first is not None:
        db.decide(db.decision(lead, verdict=first))
    before = db.state(lead)
    db.execute("update workspaces set is_active = false")
    row = db.decide(db.decision(lead, verdict=HOLD, rules_version=2))[1]
    assert (row.result, row.attempt_number, row.next_retry_us) == ("retry", before.routing_attempts, None)
    state = db.state(lead)
    assert (state.routing_status, state.routing_attempts) == (before.routing_status, before.routing_attempts)
    assert len(db.open_rows(lead)) == 1
    assert not db.row(READ, [lead], [source]).queue_is_due
    db.execute("update workspaces set is_active = true")
    assert db.row(READ, [lead], [source]).queue_is_due
    db.execute("update leadrouter.rule_versions set version = 2")
    assert db.row(READ, [lead], [source]).queue_is_due, "whoever asks for it need not wait for a change of rules"
    assert db.logs(lead)[-1].error_message == "because"


# --- decide: what it refuses to touch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", [GIVE, DUPLICATE, RETRY, FAIL, EXPIRE, HOLD])
def test_a_lead_in_another_state_is_not_changed(db, source, partner, verdict):
    """Decided, expired, held by another, of another workspace, gone: no row, no log, no queue row, no claim."""
    decided, expired, held, foreign = (db.lead(w, email=f"{n}@example.com") for n, w in enumerate((source, source, source, partner)))
    db.decide(db.decision(decided, destination=source), db.decision(expired, verdict=EXPIRE))
    assert db.value("select acquire_routing_lock(%s, %s)", held, uuid.uuid4())
    db.execute("update lead_dedupe_claims set expires_at = 'epoch'")

    def everything():
        return [db.rows(f"select * from {table} order by 1, 2") for table in ("leads", "lead_routing_logs", "lead_routing_queue")]
    before = everything()
    nobody = {"lead_id": NOBODY, "source": source, "hash": "0" * 64}
    decisions = [db.decision(expired), db.decision(held), {**db.decision(foreign), "source": source}, nobody]
    assert db.decide(*({**decision, "verdict": verdict, "destination": partner} for decision in decisions)) == {}
    assert db.decide(db.decision(decided, verdict=verdict, destination=partner)) == {}
    assert everything() == before
    assert db.value("select count(*) from lead_dedupe_claims where lead_id <> %s", decided) == 0


@pytest.mark.parametrize("verdict", [HOLD, EXPIRE])
def test_a_held_lead_neither_holds_nor_expires(db, source, verdict):
    """Not even by its owner: routing goes to pending, routed or failed only."""
    lead, owner = db.lead(source), uuid.uuid4()
    assert db.value("select acquire_routing_lock(%s, %s)", lead, owner)
    assert db.decide(db.decision(lead, verdict=verdict, lock_owner=owner)) == {}
    assert db.state(lead).routing_locked_by == owner


def test_nothing_to_decide(db):
    assert db.decide() == {}


def test_each_lead_of_a_batch_gets_its_own(db, source, partner):
    """All verdicts in one call, with ord as in the call."""
    leads = [db.lead(source, email=f"{n}@example.com") for n in range(6)]
    verdicts = [HOLD, EXPIRE, FAIL, RETRY, DUPLICATE, GIVE]
    rows = db.decide(*(db.decision(lead, verdict=verdict, destination=partner, duplicate_of=NOBODY, reason=str(verdict))
                       for lead, verdict in zip(leads, verdicts)))
    assert [rows[ord].result for ord in range(1, 7)] == ["retry", "expired", "failed", "retry", "duplicate", "success"]
    assert [rows[ord].reason for ord in range(1, 7)] == [str(verdict) for verdict in verdicts]
    assert [db.state(lead).routing_status for lead in leads] == ["pending", "expired", "failed", "pending", "routed", "routed"]
    assert [len(db.open_rows(lead)) for lead in leads] == [1, 0, 1, 1, 0, 0]
    assert {row.decision_id for row in rows.values()} == {db.logs(lead)[0].id for lead in leads}


def test_a_rolled_back_decision_leaves_nothing(db, source, partner):
    lead = db.lead(source, email="a@example.com")
    before = db.state(lead)
    service = db.service()
    service.begin()
    assert service.decide(db.decision(lead, destination=partner))[1].result == "success"
    service.rollback()
    assert db.state(lead) == before
    assert (db.logs(lead), db.claim(before.dedupe_hash)) == ([], None)


def places(row):
    """Where lock_leads() and lock_due_leads() say that a lead and its open row lie, as decide() takes them."""
    return {"place": row.place, "queue_place": row.queue_place}


def test_leads_are_found_where_they_were_locked(db, source, partner):
    """Several leads, with open rows and without: decided, logged, closed and opened as when they are looked up."""
    leads = [db.lead(source, email=f"{n}@example.com") for n in range(4)]
    db.decide(*(db.decision(lead, verdict=RETRY) for lead in leads[:2]))
    service = db.service()
    service.begin()
    locked = service.rows(LOCK, leads, [source] * 4)
    assert [row.place is not None for row in locked] == [True] * 4
    assert [row.queue_place is not None for row in locked] == [True, True, False, False]
    rows = service.decide(*(db.decision(lead, verdict=verdict, destination=partner, **places(row))
                            for lead, verdict, row in zip(leads, (GIVE, RETRY, GIVE, RETRY), locked)))
    service.commit()
    assert [rows[n].result for n in range(1, 5)] == ["success", "retry", "success", "retry"]
    assert [rows[n].attempt_number for n in range(1, 5)] == [2, 2, 1, 1]
    assert [db.state(lead).routing_status for lead in leads] == ["routed", "pending", "routed", "pending"]
    assert [len(db.open_rows(lead)) for lead in leads] == [0, 1, 0, 1]
    assert db.value("select count(*) from lead_routing_queue where processed_at is not null") == 2


def test_due_leads_are_found_where_they_were_locked(db, source, partner):
    """Those that wait for their time and those that a change of rules made due, in one transaction after the other."""
    lead, failed = db.lead(source, email="a@example.com"), db.lead(source, email="b@example.com")
    db.decide(db.decision(lead, verdict=RETRY, rules_version=0), db.decision(failed, verdict=FAIL, rules_version=0))
    db.execute("update lead_routing_queue set next_retry_at = now() where lead_id = %s", lead)
    for due, is_outdated in ((lead, False), (failed, True)):
        service = db.service()
        service.begin()
        row = service.row("select * from leadrouter.lock_due_leads(100, null, false, %s, null, null, null, null, true)", is_outdated)
        assert row.lead_id == due
        assert service.decide(db.decision(due, destination=partner, **places(row)))[1].result == "success"
        service.commit()
        assert (db.state(due).routing_status, db.open_rows(due)) == ("routed", [])


def test_a_place_of_another_lead_decides_nothing(db, source, partner):
    """Not the lead that lies there, not the one that was named; and neither owns the identity."""
    lead, other = db.lead(source, email="a@example.com"), db.lead(source, email="b@example.com")
    service = db.service()
    service.begin()
    row = service.rows(LOCK, [other], [source])[0]
    assert service.decide(db.decision(lead, destination=partner, **places(row))) == {}
    assert service.decide(db.decision(lead, destination=partner, place=None, queue_place=None)) == {}
    service.commit()
    assert [db.state(i).routing_status for i in (lead, other)] == ["pending", "pending"]
    assert db.value("select count(*) from lead_dedupe_claims") == 0 and db.logs(lead) == db.logs(other) == []


def test_a_queue_row_that_moved_is_not_lost(db, source, partner):
    """Somebody past the functions writes to the open row of a lead that is locked: what was taken for its place is none, and the lead is
    not decided with its row left open."""
    lead = db.lead(source, email="a@example.com")
    db.decide(db.decision(lead, verdict=RETRY))
    service = db.service()
    service.begin()
    row = service.rows(LOCK, [lead], [source])[0]
    db.execute("update lead_routing_queue set next_retry_at = now() where lead_id = %s", lead)
    with pytest.raises(psycopg2.errors.SerializationFailure):
        service.decide(db.decision(lead, destination=partner, **places(row)))
    service.rollback()
    assert db.state(lead).routing_status == "pending" and len(db.open_rows(lead)) == 1


def test_ids_of_decisions_rise(db, source, partner):
    """Within a call in the order of the call, and from one call to a later one; the open row has the id of the attempt that opened it."""
    ids = []
    for n in range(3):
        leads = [db.lead(source) for _ in range(20)]
        rows = db.decide(*(db.decision(lead, verdict=RETRY, destination=partner) for lead in leads))
        ids += [rows[ord].decision_id for ord in range(1, 21)]
        assert [db.open_rows(lead)[0].id for lead in leads] == ids[-20:]
        db.execute("select pg_sleep(0.002)")
    assert ids == sorted(ids) and len(set(ids)) == 60
    assert {i.version for i in ids} == {7} and {i.variant for i in ids} == {uuid.RFC_4122}


# --- the queue ---------------------------------------------------------------------------------------------------------------


def test_one_open_row_per_lead(db, source):
    lead = db.lead(source)
    insert = ("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at)"
              " values (%s, %s, 1, 3, now())")
    db.execute(insert, lead, source)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        db.execute(insert, lead, source)
    db.execute("update lead_routing_queue set processed_at = now()")
    db.execute(insert, lead, source)
    assert len(db.open_rows(lead)) == 1


@pytest.mark.parametrize("max_attempts", [0, 21, -1])
def test_queue_rows_have_a_sane_maximum(db, source, max_attempts):
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.decide(db.decision(db.lead(source), verdict=RETRY, max_attempts=max_attempts))


# --- find_attempts -----------------------------------------------------------------------------------------------------------


def test_attempts_are_found_by_lead_and_owner(db, source, partner):
    """Every verdict leaves a row; what is found is what decide() answered."""
    rule = db.rule(source, partner)
    decisions = [db.decision(db.lead(source, email=f"{n}@example.com"), verdict=verdict, lock_owner=uuid.uuid4(), destination=partner,
                             duplicate_of=NOBODY, rule_id=rule, rule_name="a rule")
                 for n, verdict in enumerate([GIVE, DUPLICATE, RETRY, FAIL, EXPIRE, HOLD])]
    answers = db.decide(*decisions)
    leads = [decision["lead_id"] for decision in decisions]
    owners = [decision["lock_owner"] for decision in decisions]
    found = {row.ord: row for row in db.rows(FIND, leads, owners)}
    assert {ord: row[:9] for ord, row in found.items()} == {ord: tuple(row)[:9] for ord, row in answers.items()}
    assert [found[ord].matched_rule_name for ord in (1, 2)] == ["a rule", ""]
    assert db.rows(FIND, leads, [uuid.uuid4()] * 6) == []
    assert db.rows(FIND, leads, owners[1:] + owners[:1]) == []


def test_an_attempt_that_was_rolled_back_is_not_found(db, source):
    lead, owner = db.lead(source), uuid.uuid4()
    service = db.service()
    service.begin()
    service.decide(db.decision(lead, lock_owner=owner, destination=source))
    assert db.rows(FIND, [lead], [owner]) == []
    service.rollback()
    assert db.rows(FIND, [lead], [owner]) == []
