"""Goal: create_leads() takes every lead in once, whoever repeats himself and however; get_lead() and health_counts()
tell what is there."""
import datetime
import json
import uuid

import psycopg2
import pytest

from support.database import FAIL, HOLD, RETRY
from support.product_cluster import PATIENCE_S

CREATE = "select * from leadrouter.create_leads(%s, %s, %s, %s)"
GET = "select * from leadrouter.get_lead(%s, %s)"
HEALTH = "select * from leadrouter.health_counts(%s)"
TEXTS = ("external_id", "email", "phone", "first_name", "last_name", "company_name", "company_industry", "company_size", "company_revenue",
         "country", "state", "city", "postal_code", "source")


@pytest.fixture
def workspace(db):
    return db.workspace()


@pytest.fixture
def service(db):
    return db.service()


def create(session, workspace, *leads, request_id=None, content=b"content"):
    """(lead_id, created, replayed) of each, in the order of the call."""
    rows = session.rows(CREATE, workspace, json.dumps(leads), request_id, content)
    assert [row.ord for row in rows] == list(range(1, len(leads) + 1))
    return [(row.lead_id, row.created, row.replayed) for row in rows]


def external(*ids):
    return [{"external_id": each} for each in ids]


# --- create_leads ------------------------------------------------------------------------------------------------------------


def test_all_that_was_given_is_kept(db, service, workspace):
    lead = {name: f"the {name}" for name in TEXTS} | {"attributes": {"n": 1, "deep": {"a": [1, "ü"]}}}
    ((lead_id, created, replayed),) = create(service, workspace, lead)
    assert (created, replayed) == (True, False)
    state = db.state(lead_id)
    assert {name: getattr(state, name) for name in TEXTS} == {name: lead[name] for name in TEXTS}
    assert (state.attributes, state.workspace_id, state.source_workspace_id) == (lead["attributes"], workspace, workspace)
    assert state.routing_status == "pending" and state.dedupe_hash is not None and state.lead_expires_at is not None


def test_what_was_left_out_is_null(db, service, workspace):
    ((lead_id, _, _),) = create(service, workspace, {})
    state = db.state(lead_id)
    assert all(getattr(state, name) is None for name in TEXTS)
    assert (state.attributes, state.dedupe_hash) == ({}, None)


def test_routing_columns_cannot_be_given(db, service, workspace):
    ((lead_id, _, _),) = create(service, workspace, {"routing_status": "routed", "decision_id": str(uuid.uuid4()), "id": str(uuid.uuid4()),
                                                     "workspace_id": str(uuid.uuid4())})
    state = db.state(lead_id)
    assert (state.routing_status, state.decision_id, state.workspace_id) == ("pending", None, workspace)


def test_an_external_id_is_taken_once_per_workspace(db, service, workspace):
    first = create(service, workspace, *external("a", "b"))
    again = create(service, workspace, *external("c", "b", "a"))
    assert [created for _, created, _ in again] == [True, False, False]
    assert (again[1][0], again[2][0]) == (first[1][0], first[0][0])
    elsewhere = create(service, db.workspace(), *external("a"))
    assert elsewhere[0][1] and elsewhere[0][0] != first[0][0]
    assert db.value("select count(*) from leads") == 4


def test_an_external_id_twice_in_one_call(service, workspace):
    """The first of them is the lead; the answers keep the order."""
    rows = create(service, workspace, {"external_id": "z", "city": "first"}, {}, {"external_id": "a"},
                  {"external_id": "z", "city": "second"}, {})
    assert [created for _, created, _ in rows] == [True, True, True, False, True]
    assert rows[0][0] == rows[3][0]
    assert len({row[0] for row in rows}) == 4
    assert service.row(GET, rows[0][0], workspace).city == "first"


def test_an_empty_external_id_is_none(db, service, workspace):
    rows = create(service, workspace, *external("", ""))
    assert [created for _, created, _ in rows] == [True, True]
    assert db.value("select count(*) from leads where external_id is null") == 2


@pytest.mark.parametrize("request_id", [None, uuid.uuid5(uuid.NAMESPACE_DNS, "empty")])
def test_no_leads(service, workspace, request_id):
    assert create(service, workspace, request_id=request_id) == []
    assert create(service, workspace, request_id=request_id) == []


def test_a_thousand_leads(db, service, workspace):
    rows = create(service, workspace, *({"external_id": str(n * 7919 % 1000), "email": f"{n}@example.com"} for n in range(1000)))
    assert all(created for _, created, _ in rows)
    ids = [row[0] for row in rows]
    assert db.value("select bool_and(l.email = (o - 1) || '@example.com') from unnest(%s::uuid[]) with ordinality i(id, o)"
                    " join leads l on l.id = i.id", ids)


def test_unknown_workspace(service):
    with pytest.raises(psycopg2.Error, match="no such workspace") as caught:
        create(service, uuid.uuid4(), {})
    assert caught.value.pgcode == "LR404"


@pytest.mark.parametrize("leads", ["3", '{"external_id": "a"}', '"x"'])
def test_leads_are_a_list(db, service, workspace, leads):
    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        service.rows(CREATE, workspace, leads, None, b"")
    assert db.value("select count(*) from leads") == 0


def test_a_repeated_request_gets_the_first_answer(db, service, workspace):
    request_id = uuid.uuid4()
    first = create(service, workspace, {}, *external("a"), request_id=request_id)
    again = create(service, workspace, {}, *external("a"), request_id=request_id)
    assert again == [(lead_id, created, True) for lead_id, created, _ in first]
    assert db.value("select count(*) from leads") == 2
    elsewhere = create(service, db.workspace(), {}, request_id=request_id)
    assert elsewhere[0][1:] == (True, False), "a request id belongs to its workspace"


def test_a_request_id_with_other_content_is_refused(db, service, workspace):
    request_id = uuid.uuid4()
    create(service, workspace, {}, request_id=request_id, content=b"one")
    with pytest.raises(psycopg2.Error, match="request_id was used within 24 hours with other content") as caught:
        create(service, workspace, {}, request_id=request_id, content=b"two")
    assert caught.value.pgcode == "LR409"
    assert db.value("select count(*) from leads") == 1


def test_a_request_id_is_remembered_for_a_day(db, service, workspace):
    request_id, old = uuid.uuid4(), uuid.uuid4()
    for each in (request_id, old):
        create(service, workspace, {}, request_id=each, content=b"one")
    db.execute("update leadrouter.create_requests set created_at = now() - interval '23 hours 59 minutes'")
    assert create(service, workspace, {}, request_id=request_id, content=b"one")[0][2] is True
    db.execute("update leadrouter.create_requests set created_at = now() - interval '24 hours'")
    ((_, created, replayed),) = create(service, workspace, {}, request_id=request_id, content=b"two")
    assert (created, replayed) == (True, False)
    assert db.rows("select request_id from leadrouter.create_requests") == [(request_id,)], "old ones are forgotten on the way"


def test_a_request_that_was_rolled_back_never_happened(db, service, workspace):
    request_id = uuid.uuid4()
    service.begin()
    create(service, workspace, {}, request_id=request_id, content=b"one")
    service.rollback()
    assert create(service, workspace, {}, request_id=request_id, content=b"two")[0][1:] == (True, False)


@pytest.mark.parametrize("end, created", [("commit", False), ("rollback", True)])
def test_two_calls_with_one_external_id(db, workspace, end, created):
    """The second waits for the first; what becomes of it decides who created the lead."""
    one, two = db.service(), db.service()
    one.begin()
    first = create(one, workspace, *external("a"))
    answer = db.in_background(create, two, workspace, *external("a"))
    db.wait_until_blocked(two, by=one)
    getattr(one, end)()
    ((lead_id, was_created, _),) = answer.result(PATIENCE_S)
    assert was_created is created
    assert (lead_id == first[0][0]) is not created
    assert db.value("select count(*) from leads") == 1


@pytest.mark.parametrize("end, replayed", [("commit", True), ("rollback", False)])
def test_two_calls_with_one_request_id(db, workspace, end, replayed):
    request_id = uuid.uuid4()
    one, two = db.service(), db.service()
    one.begin()
    create(one, workspace, {}, request_id=request_id)
    answer = db.in_background(create, two, workspace, {}, request_id=request_id)
    db.wait_until_blocked(two, by=one)
    getattr(one, end)()
    assert answer.result(PATIENCE_S)[0][2] is replayed
    assert db.value("select count(*) from leads") == 1


def test_calls_with_the_same_leads_do_not_deadlock(db, workspace):
    """In opposite orders, while a third holds one in the middle: leads are inserted in the order of their external ids."""
    ids = [f"{n:03}" for n in range(100)]
    holder, one, two = db.service(), db.service(), db.service()
    holder.begin()
    create(holder, workspace, *external(ids[50]))
    answers = [db.in_background(create, session, workspace, *external(*order)) for session, order in ((one, ids), (two, ids[::-1]))]
    for session in (one, two):
        db.wait_until_blocked(session)
    holder.rollback()
    rows = [answer.result(PATIENCE_S) for answer in answers]
    assert sorted(sum(created for _, created, _ in row) for row in rows) == [0, 100]
    assert [lead_id for lead_id, _, _ in rows[0]] == [lead_id for lead_id, _, _ in rows[1]][::-1]


# --- get_lead ----------------------------------------------------------------------------------------------------------------


def test_get_is_for_source_and_owner(db, service, workspace):
    partner, stranger = db.workspace(), db.workspace()
    lead = db.lead(workspace, email="a@example.com", attributes='{"a": 1}')
    assert service.row(GET, lead, workspace).id == lead
    assert service.rows(GET, lead, partner) == []
    db.decide(db.decision(lead, destination=partner))
    for allowed in (workspace, partner):
        row = service.row(GET, lead, allowed)
        assert (row.workspace_id, row.source_workspace_id, row.routing_status) == (partner, workspace, "routed")
    assert service.rows(GET, lead, stranger) == []
    assert service.rows(GET, uuid.uuid4(), workspace) == []


def test_get_tells_everything(db, service, workspace):
    partner = db.workspace()
    rule = db.rule(workspace, partner)
    lead = db.lead(workspace, attributes='{"a": 1}', **{name: f"the {name}" for name in TEXTS})
    row = db.decide(db.decision(lead, verdict=RETRY))[1]
    got = service.row(GET, lead, workspace)
    assert {name: getattr(got, name) for name in TEXTS} == {name: f"the {name}" for name in TEXTS}
    assert got.attributes == '{"a": 1}'
    assert (got.routing_status, got.routing_attempts, got.routing_error, got.next_retry_us) == ("pending", 1, "because", row.next_retry_us)
    assert (got.decided_outcome, got.decided_us, got.decision_id) == (None, None, None)
    row = db.decide(db.decision(lead, destination=partner, rule_id=rule))[1]
    got = service.row(GET, lead, workspace)
    state = db.state(lead)
    assert (got.decided_outcome, got.decision_id, got.matched_rule_id, got.duplicate_lead_id) == ("success", row.decision_id, rule, None)
    assert got.next_retry_us is None
    for us, moment in ((got.created_us, state.created_at), (got.decided_us, state.routing_completed_at),
                       (got.lead_expires_us, state.lead_expires_at)):
        assert us == (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) // datetime.timedelta(microseconds=1)


def test_get_counts_an_overdue_lead_as_expired(db, service, workspace):
    lead = db.lead(workspace, lead_expires_at="2001-01-01")
    assert service.row(GET, lead, workspace).routing_status == "expired"


# --- health_counts -----------------------------------------------------------------------------------------------------------


def test_health_of_nothing(db, service):
    assert service.row(HEALTH, None)[:7] == (0,) * 7


def test_health_counts_states_queue_and_locks(db, service, workspace):
    other = db.workspace()
    leads = {name: db.lead(workspace) for name in ("new", "retry", "due", "held", "stale", "failed", "asleep", "done")}
    db.lead(workspace, lead_expires_at="2001-01-01") # counts as expired
    db.lead(other)
    db.execute("update leads set created_at = now() - interval '100 s' where id = %s", leads["new"])
    db.decide(db.decision(leads["retry"], verdict=RETRY), db.decision(leads["due"], verdict=RETRY),
              db.decision(leads["failed"], verdict=FAIL), db.decision(leads["asleep"], verdict=HOLD),
              db.decision(leads["done"], destination=workspace))
    db.execute("update lead_routing_queue set next_retry_at = now() where lead_id = %s", leads["due"])
    for name in ("held", "stale"):
        assert service.value("select acquire_routing_lock(%s, %s)", leads[name], uuid.uuid4())
    db.execute("set session_replication_role = replica; update leads set routing_locked_at = now() - interval '6 min' where id = '%s';"
               " set session_replication_role = origin" % leads["stale"])
    row = service.row(HEALTH, workspace)
    assert (row.pending, row.routing, row.failed) == (4, 2, 1)
    assert (row.retry_queue_depth, row.retries_due, row.stale_locks) == (4, 1, 1)
    assert (row.due_attempt_mean, row.due_attempt_max) == (1, 1)
    assert 360 <= row.stale_mean_seconds == row.stale_max_seconds < 420
    assert 100 <= row.oldest_pending_age_seconds < 200
    assert row.counted_us == pytest.approx(db.value("select leadrouter.to_us(now())"), abs=60_000_000)
    assert service.row(HEALTH, None).pending == 5
    assert service.row(HEALTH, uuid.uuid4()).pending == 0
    db.rule(workspace, workspace)
    db.execute("update lead_routing_queue set attempt_number = 7 where lead_id = %s", leads["retry"])
    row = service.row(HEALTH, workspace)
    assert row.retries_due == 4, "a higher version makes them all due"
    assert row.due_attempt_max == 7 and 1 < row.due_attempt_mean < 7
    assert (service.row(HEALTH, other).due_attempt_max, service.row(HEALTH, other).stale_max_seconds) == (0, 0)
    assert service.row(HEALTH, other).retries_due == 0


def test_schema_version(service):
    assert service.value("select leadrouter.schema_version()") == 1
