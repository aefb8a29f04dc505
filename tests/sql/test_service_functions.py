"""Goal: every function that the service may call has its effect when the service calls it, which owns nothing and sees no row, with row
security forced on everything. The list comes from the catalogue: a function that is granted to the service and not tried here fails."""
import json
import time
import uuid

import psycopg2
import pytest

from support.imports import Import
from support.tenancy import A, ADAM, ALICE, B, DESK, Kept


@pytest.fixture(scope="module")
def kept():
    with Kept("plain") as db:
        yield db


@pytest.fixture
def service(kept):
    return kept.service()


def waiting(db):
    """A lead with an open queue row that is due."""
    lead = db.lead(A, email=f"{uuid.uuid4()}@example.com")
    db.decide(db.decision(lead, verdict=3, error_class="unmatched"))
    db.execute("update lead_routing_queue set next_retry_at = now() - interval '1 s' where lead_id = %s and processed_at is null", lead)
    return lead


def sold(db):
    lead = db.lead(A, email=f"{uuid.uuid4()}@example.com")
    owner = uuid.uuid4()
    db.decide(db.decision(lead, destination=DESK, lock_owner=owner))
    return lead, owner


def held(db, service):
    """A lead that a worker holds, and the worker."""
    lead, owner = db.lead(A, email=f"{uuid.uuid4()}@example.com"), uuid.uuid4()
    assert service.value("select acquire_routing_lock(%s, %s)", lead, owner)
    return lead, owner


def stale(db, service):
    lead, owner = held(db, service)
    db.execute("set session_replication_role = replica")
    db.execute("update leads set routing_locked_at = now() - interval '1 hour' where id = %s", lead)
    db.execute("set session_replication_role = origin")
    return lead


def old(db):
    lead = db.lead(A, email=f"{uuid.uuid4()}@example.com")
    db.execute("update leads set lead_expires_at = now() - interval '1 s' where id = %s", lead)
    return lead


def a_job(db, service):
    name = f"job {uuid.uuid4()}"
    assert service.value("select leadrouter.register_jobs(array[%s], array[0]::bigint[])", name) == 1
    return name


def a_run(db, service):
    name = a_job(db, service)
    return name, service.row("select * from leadrouter.begin_job(%s, null, 1000, true)", name).run_id


def job(db, name):
    return db.row("select * from leadrouter.scheduled_jobs where name = %s", name)


def acquire_routing_lock(db, service):
    lead, owner = held(db, service)
    assert db.state(lead).routing_locked_by == owner


def complete_routing(db, service):
    lead, owner = held(db, service)
    assert service.value("select complete_routing(%s, %s, null, %s)", lead, DESK, owner)
    assert db.state(lead).workspace_id == DESK


def fail_routing(db, service):
    lead, owner = held(db, service)
    assert service.value("select fail_routing(%s, 'no', %s)", lead, owner)
    assert len(db.open_rows(lead)) == 1


def release_stale_routing_locks(db, service):
    lead = stale(db, service)
    assert service.value("select release_stale_routing_locks()") == 1 and db.state(lead).routing_status == "pending"


def release_stale_locks(db, service):
    lead = stale(db, service)
    assert service.value("select leadrouter.release_stale_locks(300, 10)") == 1 and db.state(lead).routing_status == "pending"


def mark_expired_leads(db, service):
    lead = old(db)
    assert service.value("select mark_expired_leads()") == 1 and db.state(lead).routing_status == "expired"


def expire_leads(db, service):
    lead = old(db)
    assert service.value("select leadrouter.expire_leads(%s, 10)", A) == 1 and db.state(lead).routing_status == "expired"


def check_expired_leads(db, service):
    lead = db.lead(A)
    db.execute("update leads set lead_expires_at = now() - interval '1 hour' where id = %s", lead)
    with pytest.raises(psycopg2.DatabaseError, match="1 leads past their time to live"):
        service.value("select leadrouter.check_expired_leads()")
    assert service.value("select leadrouter.expire_leads(%s, 10)", A) == 1
    assert service.value("select leadrouter.check_expired_leads()") == 0


def check_cross_partner_duplicate(db, service):
    lead, _ = sold(db)
    assert service.value("select duplicate_lead_id from check_cross_partner_duplicate(%s, %s)", db.state(lead).dedupe_hash, B) == lead


def generate_dedupe_hash(db, service):
    assert len(service.value("select generate_dedupe_hash('a@example.com', null, null, null, null)")) == 64


def normalize_text(db, service):
    assert service.value("select leadrouter.normalize_text(' X ')") == "x"


def normalize_phone(db, service):
    assert service.value("select leadrouter.normalize_phone('+1 555 0100 200')") == "15550100200"


def begin_job(db, service):
    name, run = a_run(db, service)
    assert job(db, name).run_id == run is not None


def touch_job(db, service):
    name, run = a_run(db, service)
    assert service.row("select * from leadrouter.touch_job(%s, %s)", name, run).is_mine


def end_job(db, service):
    name, run = a_run(db, service)
    assert service.value("select leadrouter.end_job(%s, %s, true, '{}', null, null)", name, run) and job(db, name).last_result == "done"


def note_job_run(db, service):
    name = a_job(db, service)
    service.execute("select leadrouter.note_job_run(%s, 5, true, '{}', null)", name)
    assert job(db, name).runs == 1


def pause_job(db, service):
    name = a_job(db, service)
    service.execute("select leadrouter.pause_job(%s, %s, 'x')", name, ADAM)
    assert job(db, name).is_paused


def resume_job(db, service):
    name = a_job(db, service)
    service.execute("select leadrouter.pause_job(%s, null, '')", name)
    service.execute("select leadrouter.resume_job(%s)", name)
    assert not job(db, name).is_paused


def list_jobs(db, service):
    name = a_job(db, service)
    assert name in {row.name for row in service.rows("select * from leadrouter.list_jobs()")}


def register_jobs(db, service):
    assert job(db, a_job(db, service)).runs == 0


def lock_leads(db, service):
    lead = db.lead(A)
    row = service.row("select * from leadrouter.lock_leads(%s::uuid[], %s::uuid[])", [lead], [A])
    assert row.found and row.is_locked and row.source_is_active and row.rules_version > 0


def decide(db, service):
    lead = db.lead(A)
    assert service.decide(db.decision(lead, destination=DESK))[1].result == "success" and db.state(lead).workspace_id == DESK
    assert len(db.logs(lead)) == 1


def lock_due_leads(db, service):
    lead = waiting(db)
    rows = service.rows("select * from leadrouter.lock_due_leads(100, %s, true, false, 0, null, 0, null, true)", A)
    assert lead in {row.lead_id for row in rows} and all(row.is_locked for row in rows)


def next_due(db, service):
    waiting(db)
    assert service.row("select * from leadrouter.next_due(%s)", A).next_due_in_us is not None


def postpone_retries(db, service):
    lead = waiting(db)
    assert service.value("select leadrouter.postpone_retries(%s::uuid[], array['x'])", [lead]) == 1
    assert db.open_rows(lead)[0].postponed_until is not None


def list_retries(db, service):
    lead = waiting(db)
    assert lead in {row.lead_id for row in service.rows("select * from leadrouter.list_retries(%s, false, null, null, 1000)", A)}


def cancel_retries(db, service):
    lead = waiting(db)
    assert service.value("select result from leadrouter.cancel_retries(%s::uuid[], %s::uuid[], null, '')", [lead], [A]) == "cancelled"
    assert db.state(lead).routing_status == "failed"


def workspaces_due(db, service):
    waiting(db)
    assert A in {row.workspace_id for row in service.rows("select * from leadrouter.workspaces_due(0, 100)")}


def sample_seals(db, service):
    sold(db)
    service.value("select leadrouter.seal_log(1000)")
    assert service.value("select sealed_us from leadrouter.sample_seals()") == pytest.approx(time.time() * 1e6, abs=60e6)


def sample_tables(db, service):
    rows = {row.table_name: row for row in service.rows("select * from leadrouter.sample_tables()")}
    assert set(rows) == {"leads", "lead_routing_queue", "lead_routing_logs", "lead_dedupe_claims"}
    assert all(row.size_bytes > 0 and row.live_rows >= 0 and row.dead_rows >= 0 for row in rows.values())
    whole = db.value("select sum(pg_total_relation_size(relid)) from pg_partition_tree('lead_routing_logs') where isleaf")
    assert rows["lead_routing_logs"].size_bytes == whole


def sample_database(db, service):
    row = service.row("select * from leadrouter.sample_database()")
    assert 0 < row.sessions <= row.sessions_max == int(db.value("show max_connections"))
    assert 0 <= row.sessions_hidden <= row.sessions and row.standbys == 0 and (row.lag_seconds, row.lag_bytes) == (0, 0)
    assert row.lock_waits >= 0 and row.snapshot_seconds >= 0


def sample_workspaces(db, service):
    waiting(db)
    found = {row.workspace_id: row for row in service.rows("select * from leadrouter.sample_workspaces(1000)")}
    assert found[A].count >= 1 and found[A].workspace_name == db.value("select name from workspaces where id = %s", A)
    assert len(service.rows("select * from leadrouter.sample_workspaces(1)")) == 1


def sample_duplicates(db, service):
    """However much else was written since."""
    rows = ("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, attempt_number)"
            " select gen_random_uuid(), %s, %s, 1 from generate_series(1, %s)")

    def counts():
        return {row.workspace_id: row.count for row in service.rows("select * from leadrouter.sample_duplicates(1000)")}
    before = counts()
    for workspace, result, count in ((A, "duplicate", 3), (B, "duplicate", 4), (A, "success", 20000)):
        db.execute(rows, workspace, result, count)
    assert counts() == {**before, A: before.get(A, 0) + 3, B: before.get(B, 0) + 4}
    rows = service.rows("select * from leadrouter.sample_duplicates(1000)")
    assert [row.count for row in rows] == sorted(counts().values(), reverse=True)
    assert {row.workspace_name for row in rows} >= {db.value("select name from workspaces where id = %s", B)}
    assert len(service.rows("select * from leadrouter.sample_duplicates(1)")) == 1


def queue_lost_leads(db, service):
    lead = db.lead(A)
    db.execute("update leads set created_at = now() - interval '1 hour' where id = %s", lead)
    assert service.row("select * from leadrouter.queue_lost_leads(60, null, 1000, null)").queued >= 1
    assert len(db.open_rows(lead)) == 1


def lead_facts(db, service):
    lead = db.lead(A, email="facts@example.com")
    assert service.value("select email from leadrouter.lead_facts(%s::uuid[])", [lead]) == "facts@example.com"


def load_rule_sets(db, service):
    assert "all" in {row.rule_name for row in service.rows("select * from leadrouter.load_rule_sets(%s::uuid[])", [A])}


def find_attempts(db, service):
    lead, owner = sold(db)
    assert service.value("select result from leadrouter.find_attempts(%s::uuid[], %s::uuid[])", [lead], [owner]) == "success"


def create_leads(db, service):
    leads = json.dumps([{"email": "new@example.com"}])
    row = service.row("select * from leadrouter.create_leads(%s, %s, %s, '\\x01')", A, leads, uuid.uuid4())
    assert row.created and db.state(row.lead_id).email == "new@example.com"


def get_lead(db, service):
    lead, _ = sold(db)
    assert service.value("select routing_status from leadrouter.get_lead(%s, %s)", lead, DESK) == "routed"


def health_counts(db, service):
    waiting(db)
    row = service.row("select * from leadrouter.health_counts(null)")
    assert row.pending > 0 and row.retry_queue_depth > 0


def workspace_limits(db, service):
    assert service.value("select workspace_id from leadrouter.workspace_limits(%s::uuid[])", [A]) == A


def lead_history(db, service):
    lead, _ = sold(db)
    assert service.value("select routing_result from leadrouter.lead_history(%s, %s)", lead, A) == "success"


def leads_for_test(db, service):
    lead = db.lead(A, email="test@example.com")
    assert service.value("select email from leadrouter.leads_for_test(%s::uuid[], %s)", [lead], A) == "test@example.com"


def change_rules(db, service):
    version = db.value("select version from leadrouter.rule_versions where workspace_id = %s", B)
    changes = {"put_sets": [{"name": "new", "values": ["x"]}]}
    assert service.value("select leadrouter.change_rules(%s, %s, %s, '', %s)", B, version, ADAM, json.dumps(changes)) == version + 1
    assert db.value("select count(*) from lead_routing_sets where workspace_id = %s and set_name = 'new'", B) == 1


def rule_set_at(db, service):
    assert "all" in {row.rule_name for row in service.rows("select * from leadrouter.rule_set_at(%s, null)", A)}


def list_rule_versions(db, service):
    assert len(service.rows("select * from leadrouter.list_rule_versions(%s, null, 10)", A)) >= 1


def rule_ways_back(db, service):
    assert service.value("select from_workspace_id from leadrouter.rule_ways_back(%s, %s::uuid[])", A, [DESK]) == DESK


def prune_rule_versions(db, service):
    for n in range(3):
        db.execute("update workspaces set routing_config = %s where id = %s", json.dumps({"dedupe_days": n + 1}), DESK)
    db.execute("update leadrouter.rule_set_versions set created_at = now() - interval '900 days' where workspace_id = %s", DESK)
    before = db.value("select count(*) from leadrouter.rule_set_versions where workspace_id = %s", DESK)
    service.value("select leadrouter.prune_rule_versions(365, 1000)")
    assert db.value("select count(*) from leadrouter.rule_set_versions where workspace_id = %s", DESK) < before


def require_member(db, service):
    service.execute("select leadrouter.require_member(%s, %s, true, true)", ADAM, A)
    with pytest.raises(psycopg2.Error) as refusal:
        service.execute("select leadrouter.require_member(%s, %s, false, false)", ADAM, B)
    assert refusal.value.pgcode == "LR401"


def hold_members(db, service):
    assert service.value("select memberships from leadrouter.hold_members(%s::uuid[], %s, %s::uuid[])", [ALICE, ALICE], [False, True],
                         [A, A]) == [0, 3]


def create_workspace(db, service):
    new = uuid.uuid4()
    assert service.value("select leadrouter.create_workspace(%s, 'n', 'standard', true, '{}', null)", new)
    assert db.value("select name from workspaces where id = %s", new) == "n"


def update_workspace(db, service):
    version = db.value("select version from leadrouter.rule_versions where workspace_id = %s", B)
    service.execute("select leadrouter.update_workspace(%s, 'other', 'standard', true, '{}', %s, false, null, '')", B, version)
    assert db.value("select name from workspaces where id = %s", B) == "other"


def read_workspaces(db, service):
    assert service.value("select id from leadrouter.read_workspaces(%s, null, null, null, 10)", A) == A


def set_member(db, service):
    somebody = uuid.uuid4()
    service.execute("select leadrouter.set_member(%s, %s, 'member', false)", B, somebody)
    assert db.value("select role from user_workspaces where user_id = %s", somebody) == "member"


def remove_member(db, service):
    somebody = uuid.uuid4()
    service.execute("select leadrouter.set_member(%s, %s, 'member', false)", B, somebody)
    service.execute("select leadrouter.remove_member(%s, %s, false)", B, somebody)
    assert db.value("select count(*) from user_workspaces where user_id = %s", somebody) == 0


def list_members(db, service):
    assert {row.user_id for row in service.rows("select * from leadrouter.list_members(%s, null, 100)", A)} == {ALICE, ADAM}


def sweep_claims(db, service):
    lead, _ = sold(db)
    db.execute("update lead_dedupe_claims set expires_at = now() - interval '1 day' where lead_id = %s", lead)
    service.rows("select * from leadrouter.sweep_claims(0, 1000)")
    assert db.value("select count(*) from lead_dedupe_claims where lead_id = %s", lead) == 0


def sweep_queue(db, service):
    lead = waiting(db)
    db.execute("update lead_routing_queue set processed_at = now() - interval '99 days' where lead_id = %s", lead)
    service.rows("select * from leadrouter.sweep_queue(30, 0, 1000)")
    assert db.value("select count(*) from lead_routing_queue where lead_id = %s", lead) == 0


def make_log_partitions(db, service):
    there = service.value("select leadrouter.log_partition_days_ahead()")
    assert service.value("select leadrouter.make_log_partitions(%s)", there + 1) == 1


def log_partition_days_ahead(db, service):
    assert service.value("select leadrouter.log_partition_days_ahead()") >= 30


def old_partition(db, age=400):
    """A day of the log that is long over, as it would have been made then; its name and a time in it."""
    begin, end = db.row("select d::timestamp at time zone 'UTC' as begin, (d + 1)::timestamp at time zone 'UTC' as end"
                        " from (select (now() at time zone 'UTC')::date - %s as d) day", age)
    name = f"leadrouter.lead_routing_logs_{db.value('select to_char(%s::timestamptz at time zone %s, %s)', begin, 'UTC', 'YYYYMMDD')}"
    db.execute(f"create table {name} partition of lead_routing_logs for values from (%s) to (%s)", begin, end)
    db.execute(f"alter table {name} owner to leadrouter_owner; select leadrouter.seal_table('{name}')")
    return name, begin


def drop_log_partitions(db, service):
    name, _ = old_partition(db)
    service.value("select leadrouter.seal_log(100000)")
    assert service.value("select leadrouter.drop_log_partitions(90)") == 1 and db.value("select to_regclass(%s) is null", name)


def check_log_partitions(db, service):
    assert service.value("select leadrouter.check_log_partitions(90)") == 0
    old_partition(db)
    with pytest.raises(psycopg2.DatabaseError, match="1 days of the audit log"):
        service.value("select leadrouter.check_log_partitions(90)")
    assert service.value("select leadrouter.drop_log_partitions(90)") == 1


def seal_log(db, service):
    sold(db)
    assert service.value("select leadrouter.seal_log(100000)") > 0
    assert db.value("select count(*) from leadrouter.log_seals where kind = 'rows'") > 0


def log_unsealed(db, service):
    while service.value("select leadrouter.seal_log(100000)") > 0:
        pass
    assert service.row("select * from leadrouter.log_unsealed()").since_us is None
    sold(db)
    assert service.row("select * from leadrouter.log_unsealed()").since_us is not None


def log_seal(db, service):
    seal_log(db, service)
    assert len(service.row("select * from leadrouter.log_seal(null)").hash) == 64


def verify_page(db, service):
    seal_log(db, service)
    assert service.row("select * from leadrouter.verify_page(-1, 100000)").row_count > 0


def tampered(db, service, function, *arguments):
    """What is found when a row was changed, by whoever can switch triggers off; and nothing before."""
    lead, _ = sold(db)
    service.value("select leadrouter.seal_log(100000)")
    statement = f"select * from leadrouter.{function}({', '.join(['%s'] * len(arguments))})"
    assert service.rows(statement, *arguments) == []
    db.execute("set session_replication_role = replica")
    db.execute("update lead_routing_logs set attempt_number = 99 where lead_id = %s", lead)
    found = service.rows(statement, *arguments)
    db.execute("update lead_routing_logs set attempt_number = 1 where lead_id = %s", lead)
    db.execute("set session_replication_role = origin")
    return lead, found


def verify_log(db, service):
    lead, found = tampered(db, service, "verify_log", -1, 1_000_000, 100)
    assert {row.lead_id for row in found} == {lead}


def verify_days(db, service):
    assert service.rows("select * from leadrouter.verify_days()") == []
    name, time = old_partition(db, 500)
    db.execute("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, created_at) values (%s, %s, 'retry', %s)",
               uuid.uuid4(), A, time)
    service.value("select leadrouter.seal_log(100000)")
    db.execute(f"drop table {name}")
    assert [row.finding for row in service.rows("select * from leadrouter.verify_days()")] == ["day_missing"]


def erase_lead(db, service):
    lead, _ = sold(db)
    assert service.row("select * from leadrouter.erase_lead(%s, %s, null)", lead, A).log_rows == 1
    assert db.state(lead).email is None


def begin_import(db, service):
    going = Import(service, A)
    assert db.value("select status from bulk_upload_jobs where id = %s", going.id) == "processing"


def import_rows(db, service):
    row, = Import(service, A).take_in({"email": f"{uuid.uuid4()}@example.com"})
    assert row.result == "created" and db.state(row.lead_id).source_workspace_id == A


def import_unrouted(db, service):
    going = Import(service, A)
    row, = going.take_in({"email": f"{uuid.uuid4()}@example.com"})
    assert [one.lead_id for one in service.rows("select * from leadrouter.import_unrouted(%s, 9)", going.id)] == [row.lead_id]


def prune_imports(db, service):
    going = Import(service, A)
    service.execute("select leadrouter.end_import(%s, %s)", going.id, going.owner)
    db.execute("update bulk_upload_jobs set completed_at = now() - interval '400 days' where id = %s", going.id)
    assert service.value("select leadrouter.prune_imports(7, 365, 1000)") >= 1
    assert db.value("select count(*) from bulk_upload_jobs where id = %s", going.id) == 0


def leave_import(db, service):
    going = Import(service, A)
    service.execute("select leadrouter.leave_import(%s, %s)", going.id, going.owner)
    assert db.value("select status from bulk_upload_jobs where id = %s", going.id) == "pending"


def end_import(db, service):
    going = Import(service, A)
    going.take_in({"email": f"{uuid.uuid4()}@example.com"})
    service.execute("select leadrouter.end_import(%s, %s)", going.id, going.owner)
    assert db.value("select routing_summary ->> 'unrouted_count' from bulk_upload_jobs where id = %s", going.id) == "1"


def read_imports(db, service):
    going = Import(service, A)
    assert [row.id for row in service.rows("select id from leadrouter.read_imports(%s, %s, null, null, 9)", A, going.id)] == [going.id]


def read_rejected_rows(db, service):
    going = Import(service, A)
    going.take_in({"email": f"{uuid.uuid4()}@example.com"}, {}, fields=[None, "email"], reasons=[None, "is none"])
    assert service.rows("select * from leadrouter.read_rejected_rows(%s, %s, 0, 9)", A, going.id) == [(2, "email", "is none")]
    assert not service.rows("select * from leadrouter.read_rejected_rows(%s, %s, 0, 9)", B, going.id), "another's import"


def list_leads(db, service):
    lead = db.lead(A, email=f"{uuid.uuid4()}@example.com", external_id=str(uuid.uuid4()))
    found = service.rows("select id from leadrouter.list_leads(%s, false, null, null, %s, null, null, null, null, null, 9, 99)", A,
                         db.state(lead).external_id)
    assert [row.id for row in found] == [lead]


def schema_version(db, service):
    assert service.value("select leadrouter.schema_version()") == 1


def unprotected_tables(db, service):
    db.execute("alter table leads no force row level security")
    assert [tuple(row) for row in service.rows("select * from leadrouter.unprotected_tables()")] == [
        ("public.leads", "row security is not forced")]
    db.execute("alter table leads force row level security; alter table lead_routing_queue disable row level security")
    assert service.value("select reason from leadrouter.unprotected_tables()") == "row security is off"
    db.execute("alter table lead_routing_queue enable row level security;"
               "create policy late on leads as restrictive using (email is not null)")
    assert service.value("select reason from leadrouter.unprotected_tables()") == "the restrictive policy late binds leadrouter_owner"
    db.execute("drop policy late on leads; create policy late on leads as restrictive to authenticated using (email is not null)")
    assert service.rows("select * from leadrouter.unprotected_tables()") == []
    db.execute("drop policy late on leads")


def granted(db):
    return {row.proname for row in db.rows(
        "select p.proname from pg_proc p where p.pronamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)"
        " and has_function_privilege('leadrouter_service', p.oid, 'execute')")}


TRIED = {name: function for name, function in list(globals().items()) if callable(function) and getattr(function, "__code__", None)
         and function.__code__.co_varnames[:2] == ("db", "service") and name not in ("held", "stale", "a_job", "a_run", "tampered")}


def test_every_function_is_tried(kept):
    assert granted(kept) == set(TRIED)


@pytest.mark.parametrize("function", TRIED)
def test_has_its_effect(kept, service, function):
    assert kept.value("select bool_and(relrowsecurity and relforcerowsecurity) from pg_class where relname in ('leads', 'workspaces',"
                      " 'lead_routing_rules', 'lead_routing_queue', 'lead_routing_logs', 'rule_versions', 'scheduled_jobs')")
    TRIED[function](kept, service)


def test_without_the_owners_policy_the_functions_would_see_nothing(kept, service):
    """What these tests would find: a lead is not there, without any error."""
    lead = kept.lead(A)
    kept.execute("drop policy leadrouter_owner on leads")
    try:
        assert not service.row("select * from leadrouter.lock_leads(%s::uuid[], %s::uuid[])", [lead], [A]).found
    finally:
        kept.execute("create policy leadrouter_owner on leads to leadrouter_owner using (true) with check (true)")
