"""Goal: erasing a person leaves nothing of them in the lead, the retry queue and the log, while what was decided, the identity's claim and
every seal stay good; and it is the only change that the log takes."""
import uuid

import psycopg2
import pytest

from support.database import EXPIRE, FAIL, RETRY
from support.product_cluster import PATIENCE_S
from support.tenancy import Asker, claims
from test_seals import findings, seal, tamper

ERASE = "select * from leadrouter.erase_lead(p_lead_id => %s, p_workspace_id => %s, p_actor_id => %s)"
CANARY = "kanarienvogel"
PERSON = {"email": f"{CANARY}@example.com", "phone": "+49 731 5550100", "first_name": CANARY, "last_name": CANARY, "company_name": CANARY,
          "city": CANARY, "postal_code": CANARY, "external_id": CANARY, "attributes": f'{{"note": "{CANARY}"}}'}
KEPT = {"company_industry": "Software", "company_size": "51-200", "company_revenue": "$1M", "country": "DE", "state": "BY", "source": "csv"}


@pytest.fixture
def service(db):
    return db.service()


@pytest.fixture
def source(db):
    return db.workspace()


@pytest.fixture
def lead(db, source):
    return db.lead(source, **PERSON, **KEPT)


def erase(session, lead, workspace, actor=None):
    return session.row(ERASE, lead, workspace, actor)


def tables(db):
    return [row[0] for row in db.rows("select format('%I.%I', n.nspname, c.relname) from pg_class c"
                                        " join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('public', 'leadrouter')"
                                        " and c.relkind = 'r' and not c.relispartition union all select 'public.lead_routing_logs'")]


def has(db, table, text):
    return db.value(f"select exists (select from {table} t where t::text ilike %s)", f"%{text}%")


def traces(db):
    """The tables that have the canary anywhere."""
    return [table for table in tables(db) if has(db, table, CANARY)]


def decided(db, lead, destination, **keywords):
    """Gives the lead away, with facts and a reason that quote it."""
    db.decide(db.decision(lead, destination=destination, reason=f"of {CANARY}", **keywords))
    tamper(db, ("update lead_routing_logs set routing_metadata = routing_metadata || %s::jsonb where lead_id = %s",
                f'{{"facts": {{"city": "{CANARY}"}}}}', lead))


def test_a_decided_lead(db, service, source, lead):
    """Before and after it is sealed; everything of the decision stays."""
    other, actor = db.workspace(), uuid.uuid4()
    db.decide(db.decision(lead, verdict=RETRY, reason=f"no {CANARY}"))
    decided(db, lead, other)
    before, claim = db.state(lead), db.claim(db.state(lead).dedupe_hash)
    assert len(traces(db)) == 3 and seal(service) == 2
    row = erase(service, lead, source, actor)
    assert (row.was_done, row.has_expired, row.log_rows, row.queue_rows) == (True, False, 2, 1)
    assert traces(db) == []
    after = db.state(lead)
    for name in before._fields:
        if name == "attributes":
            assert after.attributes == {}
        elif name in PERSON or name in ("routing_error", "dedupe_hash"):
            assert getattr(after, name) is None, name
        elif name == "erased_at":
            assert before.erased_at is None and after.erased_at == after.updated_at
        elif name != "updated_at":
            assert getattr(after, name) == getattr(before, name), name
    assert after.routing_status == "routed" and after.decided_outcome == "success"
    assert db.claim(before.dedupe_hash) == claim
    assert findings(service) == [] and seal(service) == 1 and findings(service) == []
    retry, success, erased = db.logs(lead)
    assert [log.routing_result for log in (retry, success, erased)] == ["retry", "success", "erased"]
    assert (success.id, success.routing_metadata) == (before.decision_id, {"rules_version": 1})
    assert (erased.actor_id, set(erased.routing_metadata["rows"])) == (actor, {str(retry.id), str(success.id)})
    assert {log.lock_owner for log in (retry, success, erased)} == {None}


def test_a_copy_is_still_a_duplicate(db, service, source, lead):
    other = db.workspace()
    decided(db, lead, other)
    lead_hash = db.state(lead).dedupe_hash
    erase(service, lead, source)
    copy = db.lead(db.workspace(), **{**PERSON, "external_id": None})
    assert db.state(copy).dedupe_hash == lead_hash == db.value("select dedupe_hash from lead_dedupe_claims where lead_id = %s", lead)
    answer = db.decide(db.decision(copy, destination=other))[1]
    assert (answer.result, answer.duplicate_lead_id) == ("duplicate", lead)


@pytest.mark.parametrize("verdict", [None, RETRY, FAIL])
def test_an_undecided_lead_expires(db, service, source, lead, verdict):
    """Pending without a row, pending with one, failed."""
    if verdict:
        db.decide(db.decision(lead, verdict=verdict, reason=CANARY))
    row = erase(service, lead, source)
    assert (row.was_done, row.has_expired) == (True, True)
    state = db.state(lead)
    assert (state.routing_status, state.dedupe_hash, state.email, state.routing_error) == ("expired", None, None, None)
    assert db.open_rows(lead) == [] and traces(db) == []
    assert [log.routing_result for log in db.logs(lead)][-2:] == ["expired", "erased"]
    seal(service)
    assert findings(service) == []


def test_once_is_enough(db, service, source, lead):
    decided(db, lead, source)
    assert erase(service, lead, source).was_done
    logs = db.logs(lead)
    when = db.state(lead).erased_at
    assert tuple(erase(service, lead, source)) == (False, False, 0, 0)
    assert db.logs(lead) == logs and db.state(lead).erased_at == when
    db.execute("update leads set email = %s where id = %s", f"{CANARY}@example.com", lead)
    assert tuple(erase(service, lead, source)) == (True, False, 0, 0), "what came back goes again"
    assert traces(db) == [] and db.state(lead).erased_at > when


@pytest.mark.parametrize("is_decided", [True, False])
def test_nobody_can_try_out_who_it_was(db, service, source, lead, is_decided):
    """The identity's hash tells who guesses right whom a lead was about. Whoever saw the lead, and its hash, sees none once it is erased;
    it is in the claim, which is nobody's to read, and comes back by no update."""
    person = uuid.uuid4()
    db.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member')", person, source)
    reader = Asker(db, "authenticated", claims(person))
    if is_decided:
        db.decide(db.decision(lead, destination=source))
    lead_hash = db.state(lead).dedupe_hash
    assert reader.value("select dedupe_hash from leads where id = %s", lead) == lead_hash
    erase(service, lead, source)
    db.execute("update leads set email = email, dedupe_hash = %s, attributes = '{}' where id = %s", lead_hash, lead)
    assert reader.rows("select dedupe_hash from leads") == [(None,)]
    assert lead_hash not in reader.value("select string_agg(l::text, '') from leads l")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        reader.rows("select from lead_dedupe_claims")
    assert [table for table in tables(db) if has(db, table, lead_hash)] == (["public.lead_dedupe_claims"] if is_decided else [])


def test_a_lead_of_nobody(db, service, source):
    """What was asked for is seen to have been done, though there was nothing."""
    lead = db.lead(source)
    db.decide(db.decision(lead, destination=source))
    assert erase(service, lead, source).was_done and db.state(lead).erased_at is not None
    assert not erase(service, lead, source).was_done
    assert [log.routing_result for log in db.logs(lead)] == ["success", "erased"]


def test_who_sees_the_lead_sees_that_it_was_erased(db, service, source, lead):
    """Services and people, at both ends."""
    other, person = db.workspace(), uuid.uuid4()
    decided(db, lead, other)
    for workspace in (source, other):
        db.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member')", person, workspace)

    def shown(workspace):
        people = db.service()
        people.begin()
        people.execute("set local role authenticated")
        people.execute("select set_config('request.jwt.claims', %s, true)", f'{{"sub": "{person}", "role": "authenticated"}}')
        lists = "(%s, %s, null, null, null, null, null, null, null, null, 10, 10)"
        found = [session.value(f"select erased_us from leadrouter.{own}{call}", *values)
                 for session, own in ((service, ""), (people, "own_"))
                 for call, values in (("get_lead(%s, %s)", (lead, workspace)), ("list_leads" + lists, (workspace, workspace == other)))]
        people.rollback()
        return found
    assert shown(source) == shown(other) == [None] * 4
    erase(service, lead, source)
    assert shown(source) == shown(other) == [db.value("select leadrouter.to_us(erased_at) from leads where id = %s", lead)] * 4


def test_what_somebody_else_has(db, service, source, lead):
    """The owner is not the source; nor is anybody else."""
    other = db.workspace()
    decided(db, lead, other)
    for workspace in (other, db.workspace(), uuid.uuid4()):
        with pytest.raises(psycopg2.Error, match="no such lead in that workspace") as caught:
            erase(service, lead, workspace)
        assert caught.value.pgcode == "LR404"
    with pytest.raises(psycopg2.Error, match="no such lead"):
        erase(service, uuid.uuid4(), source)
    assert len(traces(db)) == 2


def test_a_lead_that_was_deleted(db, service, source, lead):
    """The log outlives it."""
    decided(db, lead, source)
    db.execute("delete from leads where id = %s", lead)
    assert erase(service, lead, source).log_rows == 1
    assert traces(db) == []
    assert not erase(service, lead, source).was_done


def test_a_lead_that_a_worker_holds(db, service, source, lead):
    db.execute("select acquire_routing_lock(%s, gen_random_uuid())", lead)
    with pytest.raises(psycopg2.Error, match="a worker holds the lead") as caught:
        erase(service, lead, source)
    assert caught.value.pgcode == "LR423" and db.state(lead).email


def test_a_host_that_demands_values(own_db):
    """Columns of its own kind, and not null: they become empty texts."""
    db = own_db
    source = db.workspace()
    lead = db.lead(source, **PERSON)
    db.execute("alter table leads alter column city type varchar(200), alter column email set not null, alter attributes drop not null")
    erase(db.service(), lead, source)
    assert db.state(lead).email == "" and traces(db) == []


# --- Races ----------------------------------------------------------------------------------------------------------------------


def test_erasure_waits_for_a_decision_under_way(db, service, source, lead):
    """And finds what it wrote."""
    engine = db.session()
    engine.begin()
    engine.rows("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source)
    engine.decide(db.decision(lead, destination=source, reason=CANARY))
    service.execute("set lock_timeout = '30s'")
    erased = db.in_background(erase, service, lead, source)
    db.wait_until_blocked(service, by=engine)
    engine.commit()
    row = erased.result(PATIENCE_S)
    assert (row.has_expired, row.log_rows) == (False, 1)
    assert db.state(lead).routing_status == "routed" and traces(db) == []


def test_a_decision_passes_over_an_erasure_under_way(db, service, source, lead):
    eraser = db.service()
    eraser.begin()
    erase(eraser, lead, source)
    row = service.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source)
    assert not row.is_locked
    eraser.commit()
    row = service.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", lead, source)
    assert (row.is_locked, row.routing_status) == (False, "expired")
    assert db.decide({"lead_id": lead, "source": source, "destination": source}) == {}


def test_erasures_and_decisions_at_once(db, source):
    """However they meet: nothing of anybody is left, each lead is decided or expired, never both, and the log is as it was sealed."""
    other = db.workspace()
    leads = [db.lead(source, email=f"{CANARY}{n}@example.com", first_name=CANARY) for n in range(60)]
    decisions = [db.decision(lead, destination=other, reason=CANARY) for lead in leads]

    def decide(session):
        for decision in decisions:
            session.begin()
            if session.row("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", decision["lead_id"],
                           source).is_locked:
                session.decide(decision)
            session.commit()

    def work(session, mine):
        session.execute("set lock_timeout = '30s'")
        for lead in mine:
            erase(session, lead, source)

    threads = [db.in_background(decide, db.service())] + [
        db.in_background(work, db.service(), mine) for mine in (leads[::-1], leads[30:] + leads[:30])]
    sealer = db.service()
    while not all(thread.done() for thread in threads):
        sealer.value("select leadrouter.seal_log(7)")
    for thread in threads:
        thread.result(PATIENCE_S)
    assert traces(db) == []
    counts = dict(db.rows("select routing_status::text, count(*) from leads group by 1"))
    assert sum(counts.values()) == 60 and set(counts) <= {"routed", "expired"}
    logged = dict(db.rows("select routing_result, count(*) from lead_routing_logs group by 1"))
    assert (logged.get("success", 0), logged.get("expired", 0)) == (counts.get("routed", 0), counts.get("expired", 0))
    seal(sealer)
    assert findings(sealer) == []


# --- The log takes nothing else ---------------------------------------------------------------------------------------------------


RECORD = ("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, routing_metadata) select lead_id,"
          " source_workspace_id, 'erased', jsonb_build_object('rows', jsonb_build_object(id, encode(leadrouter.log_erasable_digest("
          "error_message, lock_owner, routing_metadata), 'hex'))) from lead_routing_logs where id = %s")
EMPTY = ("update {} set error_message = null, lock_owner = null, routing_metadata = routing_metadata - array['reason', 'facts']{}"
         " where id = %s")


@pytest.fixture
def row(db, source, lead):
    decided(db, lead, source)
    return db.logs(lead)[0].id


@pytest.mark.parametrize("role", [None, "leadrouter_owner"])
@pytest.mark.parametrize("rest", [", attempt_number = 9", ", routing_result = 'failed'", ", actor_id = gen_random_uuid()",
                                  ", destination_workspace_id = null", ", created_at = created_at - interval '1 second'",
                                  ", transaction_id = '3'"])
def test_nothing_but_what_is_personal(db, row, role, rest):
    session = db.session(role)
    session.begin()
    session.execute(RECORD, row)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        session.execute(EMPTY.format("lead_routing_logs", rest), row)
    session.rollback()


@pytest.mark.parametrize("statement", [
    "update lead_routing_logs set error_message = 'x' where id = %s", "update lead_routing_logs set lock_owner = null where id = %s",
    "update lead_routing_logs set routing_metadata = routing_metadata - 'facts' where id = %s",
    EMPTY.replace("- array['reason', 'facts']", "- array['reason', 'facts', 'rules_version']").format("lead_routing_logs", "")])
def test_nothing_by_halves(db, row, statement):
    db.begin()
    db.execute(RECORD, row)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.execute(statement, row)
    db.rollback()


def test_not_without_its_record(db, row):
    """Not at all, not with a wrong digest, and not in a later transaction."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.execute(EMPTY.format("lead_routing_logs", ""), row)
    db.begin()
    db.execute(RECORD.replace("lock_owner, routing", "null, routing"), row)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.execute(EMPTY.format("lead_routing_logs", ""), row)
    db.rollback()
    db.execute(RECORD, row)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.execute(EMPTY.format("lead_routing_logs", ""), row)


def test_an_erased_row_is_sealed_like_any_other(db, service, source, lead):
    """Who changes it, puts texts back, or removes the record of the erasure is found."""
    decided(db, lead, source)
    seal(service)
    erase(service, lead, source)
    seal(service)
    row, record = (str(log.id) for log in db.logs(lead))
    tamper(db, ("update lead_routing_logs set attempt_number = 7 where id = %s", row))
    assert findings(service) == [("changed", row)]
    tamper(db, ("update lead_routing_logs set attempt_number = 1, error_message = 'guilty' where id = %s", row))
    assert findings(service) == [("changed", row)]
    tamper(db, ("update lead_routing_logs set error_message = null where id = %s", row))
    assert findings(service) == []
    tamper(db, ("delete from lead_routing_logs where id = %s", record))
    assert findings(service) == sorted([("changed", row), ("removed", record)])


def test_what_is_erased_cannot_be_guessed(db, service, source, lead):
    """Its digest stays: whoever tries all cities still does not know the number that went with them."""
    decided(db, lead, source)
    (log,) = db.logs(lead)
    assert log.lock_owner is not None
    erase(service, lead, source)
    digest = db.logs(lead)[1].routing_metadata["rows"][str(log.id)]
    assert digest != db.value("select encode(leadrouter.log_erasable_digest(%s, null, %s::jsonb), 'hex')", log.error_message,
                              f'{{"reason": "of {CANARY}", "facts": {{"city": "{CANARY}"}}}}')


def test_the_service_has_no_other_way(db, service, lead):
    for call in ("leadrouter.empty_lead(%s)", "leadrouter.erase_log(%s, gen_random_uuid(), 0, null)"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            service.execute("select " + call, lead)


def test_an_erasure_that_expires_by_itself(db, service, source, lead):
    """A lead that had expired before."""
    db.decide(db.decision(lead, verdict=EXPIRE, reason=CANARY))
    row = erase(service, lead, source)
    assert (row.was_done, row.has_expired, row.log_rows) == (True, False, 1)
    assert traces(db) == []
