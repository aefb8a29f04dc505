"""Goal: of all leads of one identity exactly one is given away, in one batch, one after the other, and at the same
instant: the interleavings are forced with several sessions, then tried in volume."""
import uuid

import psycopg2
import pytest

from support.database import GIVE, RETRY
from support.product_cluster import PATIENCE_S

EMAIL = "same@example.com"


@pytest.fixture
def home(db):
    return db.workspace(name="home")


@pytest.fixture
def partner(db):
    return db.workspace(name="partner")


@pytest.fixture
def other(db):
    return db.workspace(name="other")


def copies(db, *sources):
    return [db.lead(source, email=EMAIL) for source in sources]


def the_claim(db):
    return db.row("select * from lead_dedupe_claims")


# --- One after the other -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope_is_global", [False, True])
def test_a_copy_elsewhere_is_a_duplicate(db, home, partner, other, scope_is_global):
    first, copy = copies(db, home, other)
    db.decide(db.decision(first, destination=partner))
    row = db.decide(db.decision(copy, destination=partner, global_scope=scope_is_global))[1]
    assert (row.result, row.duplicate_lead_id, row.destination_workspace_id) == ("duplicate", first, other)
    assert row.reason == f"the same person is lead {first}"
    assert db.logs(copy)[0].routing_metadata == {"reason": row.reason, "duplicate_lead_id": str(first), "rules_version": 1}
    assert the_claim(db).lead_id == first


# First lead's destination, second lead's source and destination, global scope -> what becomes of the second. h: home, p: partner, o: other.
SCOPES = [
    ("h", "h", "h", False, "success"), # the workspace keeps a second copy for itself
    ("h", "h", "h", True, "duplicate"),
    ("h", "h", "p", False, "duplicate"), # but does not give it away: another lead holds the identity
    ("p", "h", "h", False, "duplicate"), # the partner won the identity
    ("p", "h", "p", False, "duplicate"),
    ("p", "p", "p", False, "success"), # the partner's own copy may stay with it
    ("p", "p", "p", True, "duplicate"),
    ("p", "p", "o", False, "duplicate"),
    ("p", "o", "o", False, "duplicate"),
]


@pytest.mark.parametrize("in_one_batch", [False, True])
@pytest.mark.parametrize("first_to, source, to, scope_is_global, result", SCOPES)
def test_scope(db, home, partner, other, first_to, source, to, scope_is_global, result, in_one_batch):
    """The table above; whether the first copy was decided before or in the same call makes no difference."""
    places = {"h": home, "p": partner, "o": other}
    first, second = copies(db, home, places[source])
    decisions = [db.decision(first, destination=places[first_to]),
                 db.decision(second, destination=places[to], global_scope=scope_is_global)]
    if in_one_batch:
        row = db.decide(*decisions)[2]
    else:
        db.decide(decisions[0])
        row = db.decide(decisions[1])[1]
    assert row.result == result
    assert row.duplicate_lead_id == (first if result == "duplicate" else None)
    claim = the_claim(db)
    assert (claim.lead_id, claim.workspace_id) == (first, places[first_to]), "the claim stays with the first"


def test_an_expired_claim_is_taken_over(db, home, partner, other):
    first, second, third = copies(db, home, other, other)
    db.decide(db.decision(first, destination=partner))
    db.execute("update lead_dedupe_claims set expires_at = now()")
    assert db.decide(db.decision(second, destination=partner))[1].result == "success"
    assert the_claim(db).lead_id == second
    assert db.decide(db.decision(third, destination=partner))[1].duplicate_lead_id == second


def test_only_leads_that_are_given_away_compete(db, home, partner):
    """A failed attempt takes no claim, whatever its place in the batch."""
    first, second = copies(db, home, home)
    rows = db.decide(db.decision(first, verdict=RETRY), db.decision(second, destination=partner))
    assert (rows[1].result, rows[2].result) == ("retry", "success")
    assert the_claim(db).lead_id == second


def test_the_first_in_order_of_arrival_wins(db, home, partner):
    leads = copies(db, *[home] * 5)
    for order in (leads, leads[::-1]):
        service = db.service()
        service.begin()
        rows = service.decide(*(db.decision(lead, destination=partner) for lead in order))
        assert [rows[ord].result for ord in range(1, 6)] == ["success"] + ["duplicate"] * 4
        assert {rows[ord].duplicate_lead_id for ord in range(2, 6)} == {order[0]}
        service.rollback()


# --- At the same instant -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end, result", [("commit", "duplicate"), ("rollback", "success")])
@pytest.mark.parametrize("claim", ["free", "expired"])
def test_the_second_waits_for_the_first(db, home, partner, other, claim, end, result):
    """A claim in flight is waited for; what becomes of it decides."""
    old, first, second = copies(db, home, home, other)
    if claim == "expired":
        db.decide(db.decision(old, destination=partner))
        db.execute("update lead_dedupe_claims set expires_at = now()")
    one, two = db.service(), db.service()
    one.begin()
    assert one.decide(db.decision(first, destination=partner))[1].result == "success"
    answer = db.in_background(two.decide, db.decision(second, destination=partner))
    db.wait_until_blocked(two, by=one)
    getattr(one, end)()
    row = answer.result(PATIENCE_S)[1]
    assert row.result == result
    assert row.duplicate_lead_id == (first if result == "duplicate" else None)
    assert the_claim(db).lead_id == (first if result == "duplicate" else second)


def test_a_live_claim_cannot_vanish_under_a_decision(db, home, partner, other):
    """Who lost against a claim holds it in place until its transaction ends."""
    first, second = copies(db, home, other)
    db.decide(db.decision(first, destination=partner))
    service, cleaner = db.service(), db.session()
    service.begin()
    assert service.decide(db.decision(second, destination=partner))[1].result == "duplicate"
    gone = db.in_background(cleaner.execute, "delete from lead_dedupe_claims")
    db.wait_until_blocked(cleaner, by=service)
    service.commit()
    gone.result(PATIENCE_S)
    assert db.state(second).duplicate_lead_id == first


def test_three_at_once(db, home, partner, other):
    """Two wait for the first; when it fails one of them wins, and the other is its duplicate."""
    first, second, third = copies(db, home, partner, other)
    sessions = [db.service() for _ in range(3)]
    sessions[0].begin()
    assert sessions[0].decide(db.decision(first, destination=partner))[1].result == "success"
    answers = [db.in_background(session.decide, db.decision(lead, destination=home))
               for session, lead in zip(sessions[1:], (second, third))]
    for session in sessions[1:]:
        db.wait_until_blocked(session)
    sessions[0].rollback()
    results = {lead: answer.result(PATIENCE_S)[1] for lead, answer in zip((second, third), answers)}
    assert sorted(row.result for row in results.values()) == ["duplicate", "success"]
    winner = the_claim(db).lead_id
    assert results[winner].result == "success"
    assert {row.duplicate_lead_id for row in results.values()} == {None, winner}


def test_batches_that_overlap_crosswise_do_not_deadlock(db, home, partner, other):
    """Claims are taken in the order of their hashes, not of the call: two batches in opposite order wait, and never for each other."""
    emails = [f"{n}@example.com" for n in range(64)]
    one, two = db.service(), db.service()
    batches = []
    for source, order in ((home, 1), (other, -1)):
        leads = [db.lead(source, email=email) for email in emails][::order]
        batches.append([db.decision(lead, destination=partner) for lead in leads])
    middle = sorted((decision["hash"], decision["lead_id"]) for decision in batches[0])[32][0]
    holder = db.session()
    holder.begin()
    holder.execute("insert into lead_dedupe_claims values"
                   " (%s, gen_random_uuid(), gen_random_uuid(), now(), now() + interval '1 day')", middle)
    answers = [db.in_background(session.decide, *batch) for session, batch in ((one, batches[0]), (two, batches[1]))]
    # One has taken the lower half and waits for the holder; the other waits for the one, or for the holder too.
    for session in (one, two):
        db.wait_until_blocked(session)
    holder.rollback()
    results = [[row.result for row in answer.result(PATIENCE_S).values()] for answer in answers]
    assert sorted(result.count("success") for result in results) == [0, 64]


def test_one_lead_is_decided_once(db, home, partner, other):
    """Two workers that both think they may decide: the second finds the lead decided and changes nothing."""
    lead = db.lead(home, email=EMAIL)
    one, two = db.service(), db.service()
    one.begin()
    assert one.decide(db.decision(lead, destination=partner))[1].result == "success"
    answer = db.in_background(two.decide, db.decision(lead, destination=other))
    db.wait_until_blocked(two, by=one)
    one.commit()
    assert answer.result(PATIENCE_S) == {}
    assert db.state(lead).workspace_id == partner
    assert len(db.logs(lead)) == 1


def test_volume(db, partner):
    """1,000 copies of 50 identities in 20 workspaces, in random batches on eight sessions at once: 50 sold, 950 duplicates of
    the sold ones."""
    for _ in range(20):
        db.workspace()
    db.execute("insert into leads (workspace_id, email) select w.id, n || '@example.com'"
               " from workspaces w, generate_series(1, 50) n where w.id <> %s", partner)
    leads = db.rows("select id, source_workspace_id as source, dedupe_hash as hash from leads order by random()")
    decisions = [{"lead_id": row.id, "source": row.source, "hash": row.hash, "destination": partner, "verdict": GIVE} for row in leads]
    batches = [decisions[start:start + 40] for start in range(0, 1000, 40)]

    def work(session, mine):
        for batch in mine:
            assert len(session.decide(*batch)) == 40 # no lead is in two batches, so a deadlock would be our bug

    sessions = [db.service() for _ in range(8)]
    futures = [db.in_background(work, session, batches[n::8]) for n, session in enumerate(sessions)]
    for future in futures:
        future.result(PATIENCE_S)
    outcomes = dict(db.rows("select decided_outcome, count(*) from leads group by 1"))
    assert outcomes == {"success": 50, "duplicate": 950}
    assert db.value("select count(*) from leads d join leads s on s.id = d.duplicate_lead_id"
                    " where s.decided_outcome = 'success' and s.dedupe_hash = d.dedupe_hash") == 950
    assert db.value("select count(*) from lead_dedupe_claims c join leads l on l.id = c.lead_id"
                    " where l.decided_outcome = 'success' and c.dedupe_hash = l.dedupe_hash and c.workspace_id = l.workspace_id") == 50
    assert db.value("select count(*) from lead_routing_logs where routing_result in ('success', 'duplicate')") == 1000


# --- Through the functions for one lead ----------------------------------------------------------------------------------------


def test_workers_with_locks_compete_by_the_same_claims(db, home, partner, other):
    """complete_routing() of one copy waits for that of another; both are decided, one is the duplicate."""
    first, second = copies(db, home, other)
    one, two = db.service(), db.service()
    owners = [uuid.uuid4(), uuid.uuid4()]
    for lead, owner in zip((first, second), owners):
        assert db.value("select acquire_routing_lock(%s, %s)", lead, owner)
    complete = "select complete_routing(%s, %s, null, %s)"
    one.begin()
    assert one.value(complete, first, partner, owners[0])
    answer = db.in_background(two.value, complete, second, partner, owners[1])
    db.wait_until_blocked(two, by=one)
    one.commit()
    assert answer.result(PATIENCE_S) is True
    assert [db.state(lead).decided_outcome for lead in (first, second)] == ["success", "duplicate"]
    assert db.state(second).duplicate_lead_id == first


def test_engine_and_worker_compete_for_a_lead(db, home, partner):
    """While the engine decides a lead a worker does not get it; when it was decided there is nothing to get."""
    lead = db.lead(home)
    engine, worker = db.service(), db.service()
    engine.begin()
    assert engine.rows("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[]) where is_locked", lead, home)
    worker.execute("set statement_timeout = '5s'")
    assert not worker.value("select acquire_routing_lock(%s, %s)", lead, uuid.uuid4())
    engine.decide(db.decision(lead, destination=partner))
    engine.commit()
    assert not worker.value("select acquire_routing_lock(%s, %s)", lead, uuid.uuid4())


def test_callers_that_meet_crosswise(db, home, partner):
    """Who decides several leads in one transaction, in an order of his own, can deadlock with another: one gets the error,
    the other goes on."""
    emails = ("a@example.com", "b@example.com")
    mine, yours = ([db.lead(home, email=email) for email in emails] for _ in range(2))
    one, two = db.service(), db.service()
    for session, lead in ((one, mine[0]), (two, yours[1])):
        session.begin()
        assert session.decide(db.decision(lead, destination=partner))[1].result == "success"

    def second_half(session, decision):
        """Ends the transaction as it must end, so that the other one is not held up."""
        try:
            session.decide(decision)
        except psycopg2.errors.DeadlockDetected:
            session.rollback()
            return "deadlock"
        session.commit()
        return "done"

    answers = [db.in_background(second_half, session, db.decision(lead, destination=partner))
               for session, lead in ((one, mine[1]), (two, yours[0]))]
    assert sorted(answer.result(PATIENCE_S) for answer in answers) == ["deadlock", "done"]
    assert db.value("select count(*) from leads where routing_status = 'routed'") == 2
