"""Goal: the database refuses every change of a lead's state that the state table does not allow, whoever asks, and
lets the allowed ones pass; what was decided never changes; and what writers leave out is filled in."""

import datetime
import itertools
import uuid

import psycopg2
import pytest

from support.imports import Import

STATES = ("pending", "routing", "routed", "failed", "expired")
# From, to, and by how much routing_attempts is raised then; a pair that is not here is refused.
ALLOWED = {
    ("pending", "pending"): 1,
    ("pending", "routing"): 0,
    ("pending", "routed"): 1,
    ("pending", "failed"): 1,
    ("pending", "expired"): 0,
    ("routing", "pending"): 1,
    ("routing", "routed"): 1,
    ("routing", "failed"): 1,
    ("failed", "pending"): 1,
    ("failed", "routing"): 0,
    ("failed", "routed"): 1,
    ("failed", "failed"): 1,
    ("failed", "expired"): 0,
}
COLUMNS = {
    "pending": "routing_locked_by = null, routing_locked_at = null",
    "failed": "routing_locked_by = null, routing_locked_at = null, routing_failed_at = now()",
    "routing": "routing_locked_by = gen_random_uuid(), routing_locked_at = now()",
    "routed": "routing_locked_by = null, routing_locked_at = null, decision_id = gen_random_uuid(), decided_outcome = 'success',"
              " routing_completed_at = now()",
    "expired": "routing_locked_by = null, routing_locked_at = null",
}
REFUSED = (psycopg2.errors.CheckViolation, psycopg2.errors.InsufficientPrivilege)


def move(session, lead, status, attempts_raised, extra=""):
    """Writes the status as the functions would: with the columns that belong to it."""
    session.execute(f"update leads set routing_status = '{status}', routing_attempts = routing_attempts + {attempts_raised},"
                    f" {COLUMNS[status]} {extra} where id = %s", lead)
    assert session.cursor.rowcount == 1


def lead_in(db, owner, status):
    """A new lead, brought into the state by allowed transitions."""
    lead = db.lead(db.workspace(), email="a@example.com")
    for _ in range(3): # so that one attempt more, one less and the first are three things
        move(owner, lead, "pending", 1)
    if status != "pending":
        move(owner, lead, status, ALLOWED["pending", status])
    return lead


@pytest.fixture
def owner(db):
    """A session with every right that the functions have."""
    return db.session("leadrouter_owner")


@pytest.mark.parametrize("before, after", itertools.product(STATES, STATES))
def test_transition_table(db, owner, before, after):
    """Each of the 25 pairs, with each number of attempts: exactly the table, for the owner and for a superuser. What changes
    nothing passes."""
    lead = lead_in(db, owner, before)
    nothing = 0 if before == after and before in ("pending", "failed", "expired") else None
    for raised in (-1, 0, 1, 2):
        for session in (owner, db):
            session.begin()
            if raised in (ALLOWED.get((before, after)), nothing):
                move(session, lead, after, raised)
                assert session.value("select routing_status::text from leads where id = %s", lead) == after
            else:
                with pytest.raises(REFUSED):
                    move(session, lead, after, raised)
            session.rollback()
    assert db.state(lead).routing_status == before


def test_attempts_start_afresh_only_after_a_failure(db, owner):
    lead = lead_in(db, owner, "pending")
    with pytest.raises(REFUSED):
        owner.execute("update leads set routing_attempts = 1 where id = %s", lead)
    move(owner, lead, "failed", 1)
    owner.execute("update leads set routing_status = 'pending', routing_attempts = 1 where id = %s", lead)
    assert db.state(lead).routing_attempts == 1
    held = lead_in(db, owner, "routing")
    move(owner, held, "pending", -2)
    assert db.state(held).routing_attempts == 1


@pytest.mark.parametrize("change", [
    "decision_id = null", "decided_outcome = null", "routing_completed_at = null", "routing_locked_by = gen_random_uuid()",
    "routing_locked_at = now()"])
def test_routed_needs_its_columns(db, owner, change):
    """A result that lacks what belongs to it is refused, and so is one that keeps a lock."""
    lead = lead_in(db, owner, "pending")
    columns = {"decision_id": "gen_random_uuid()", "decided_outcome": "'success'", "routing_completed_at": "now()"}
    name, value = change.split(" = ")
    columns[name] = value
    with pytest.raises(psycopg2.errors.CheckViolation):
        owner.execute("update leads set routing_status = 'routed', routing_attempts = 4, "
                      + ", ".join(f"{n} = {v}" for n, v in columns.items()) + " where id = %s", lead)


def test_outcomes_are_success_or_duplicate(db, owner):
    lead = lead_in(db, owner, "pending")
    with pytest.raises(psycopg2.errors.CheckViolation):
        owner.execute("update leads set routing_status = 'routed', routing_attempts = 4, decision_id = gen_random_uuid(),"
                      " decided_outcome = 'maybe', routing_completed_at = now() where id = %s", lead)


@pytest.mark.parametrize("status", ["pending", "routing", "failed", "expired"])
@pytest.mark.parametrize("change", [
    "decision_id = gen_random_uuid()", "decided_outcome = 'success'", "duplicate_lead_id = gen_random_uuid()",
    "routing_completed_at = now()"])
def test_only_routed_leads_have_a_decision(db, owner, status, change):
    lead = lead_in(db, owner, status)
    with pytest.raises(REFUSED):
        owner.execute(f"update leads set {change} where id = %s", lead)
    if status != "pending":
        lead = lead_in(db, owner, "pending")
        with pytest.raises(REFUSED):
            move(owner, lead, status, ALLOWED["pending", status], f", {change}")


def test_a_lock_is_not_taken_over(db, owner):
    lead = lead_in(db, owner, "routing")
    for change in ("routing_locked_by = gen_random_uuid()", "routing_locked_by = null", "routing_locked_at = now() + interval '1 hour'"):
        with pytest.raises(REFUSED):
            owner.execute(f"update leads set {change} where id = %s", lead)
    pending = lead_in(db, owner, "pending")
    for change in ("routing_locked_by = gen_random_uuid()", "routing_locked_at = now()"):
        with pytest.raises(REFUSED):
            owner.execute(f"update leads set {change} where id = %s", pending)
        with pytest.raises(REFUSED):
            owner.execute(f"update leads set routing_status = 'routing', {change} where id = %s", pending)


@pytest.mark.parametrize("change", [
    "workspace_id = gen_random_uuid()", "matched_rule_id = gen_random_uuid()", "routing_completed_at = now() + interval '1 s'",
    "decision_id = gen_random_uuid()", "decided_outcome = 'duplicate'", "duplicate_lead_id = gen_random_uuid()",
    "routing_attempts = 7", "source_workspace_id = gen_random_uuid()", "decision_id = null"])
def test_what_was_decided_stays(db, owner, change):
    lead = lead_in(db, owner, "routed")
    before = db.state(lead)
    for session in (owner, db):
        with pytest.raises(REFUSED):
            session.execute(f"update leads set {change} where id = %s", lead)
    assert db.state(lead) == before


def test_source_workspace_never_changes(db):
    lead = db.lead(db.workspace())
    for value in ("gen_random_uuid()", "null"):
        with pytest.raises(psycopg2.errors.CheckViolation):
            db.execute(f"update leads set source_workspace_id = {value} where id = %s", lead)


@pytest.fixture
def host(db):
    """An application that may write every column of leads, but is none of our roles."""
    db.execute("create role host")
    db.execute("grant select, insert, update, delete on leads to host; create policy host on leads to host using (true)")
    yield db.session("host")
    db.execute("drop policy host on leads; drop owned by host")
    db.execute("drop role host")


@pytest.mark.parametrize("change", [
    "routing_status = 'routing', routing_locked_by = gen_random_uuid(), routing_locked_at = now()",
    "routing_status = 'expired'", "routing_attempts = 1", "routing_locked_by = gen_random_uuid()", "routing_locked_at = now()",
    "routing_started_at = now()", "routing_failed_at = now()", "routing_error = 'x'", "rules_version = 5", "erased_at = now()",
    "matched_rule_id = gen_random_uuid()", "decision_id = gen_random_uuid()"])
def test_others_write_no_routing_column(db, host, change):
    lead = db.lead(db.workspace())
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="by the routing functions only"):
        host.execute(f"update leads set {change} where id = %s", lead)


WITH_ALL = ("insert into leads (id, workspace_id, source_workspace_id, import_id, email, lead_expires_at, dedupe_hash)"
            " values (%s, %s, %s, gen_random_uuid(), 'a@example.com', now(), %s)")


@pytest.mark.parametrize("who", ["host", "postgres", "definer"])
def test_others_hand_in_no_hash(db, host, who):
    """Also in a row that leaves nothing to be filled in, and by a function of theirs: only the owner's functions bring a hash along."""
    lead, home = uuid.uuid4(), db.workspace()
    if who == "definer":
        db.execute("create function public.host_insert(uuid, uuid) returns void language sql security definer as $$ "
                   + WITH_ALL.replace("%s", "$1", 1).replace("%s", "$2").replace("$2)", "repeat('f', 64))") + " $$;"
                   " alter function public.host_insert(uuid, uuid) owner to host")
        db.execute("select public.host_insert(%s, %s)", lead, home)
    else:
        (db if who == "postgres" else host).execute(WITH_ALL, lead, home, home, "f" * 64)
    assert db.state(lead).dedupe_hash == db.value("select public.generate_dedupe_hash('a@example.com', '', '', '', '')")
    if who == "definer":
        db.execute("drop function public.host_insert(uuid, uuid)")


def test_others_reach_no_function_that_takes_a_hash(db, host):
    """A host cannot import as the owner, and the service itself inserts through the functions only."""
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        Import(host, db.workspace())
    home = db.workspace()
    going = Import(db.service(), home)
    going.session = host
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        going.take_in({"email": "a@example.com"}, hashes=["f" * 64])
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        db.service().execute(WITH_ALL, uuid.uuid4(), home, home, "f" * 64)


def test_others_write_the_rest(db, host):
    """Contact fields, and the owner of a lead that nobody has decided yet."""
    lead = db.lead(db.workspace())
    elsewhere = db.workspace()
    host.execute("update leads set email = 'new@example.com', city = 'Ulm', workspace_id = %s where id = %s", elsewhere, lead)
    assert (db.state(lead).city, db.state(lead).workspace_id) == ("Ulm", elsewhere)


@pytest.mark.parametrize("column, value", [
    ("routing_status", "routed"), ("routing_status", "failed"), ("routing_attempts", 1), ("routing_locked_by", uuid.uuid4()),
    ("routing_locked_at", "now"), ("routing_started_at", "now"), ("routing_completed_at", "now"), ("routing_failed_at", "now"),
    ("routing_error", "x"), ("erased_at", "now"), ("matched_rule_id", uuid.uuid4()), ("rules_version", 3), ("decision_id", uuid.uuid4()),
    ("decided_outcome", "success"), ("duplicate_lead_id", uuid.uuid4())])
def test_leads_are_inserted_as_pending(db, column, value):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="inserted as pending"):
        db.lead(db.workspace(), **{column: value})


def test_the_service_role_touches_no_table(db):
    """It has the functions; not one table, and not one column of leads."""
    service = db.service()
    tables = [row.name for row in db.rows(
        "select c.oid::regclass::text as name from pg_class c where c.relkind in ('r', 'p')"
        " and c.relnamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)")]
    assert "leads" in tables and any(name.startswith("leadrouter.lead_routing_logs_") for name in tables)
    for table in tables:
        for statement in (f"select from {table}", f"insert into {table} default values", f"delete from {table}", f"truncate {table}"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                service.execute(statement)
    assert db.value("select count(*) from information_schema.column_privileges where grantee in ('leadrouter_service', 'PUBLIC')"
                    " and table_schema in ('public', 'leadrouter')") == 0


def test_an_insert_is_filled_in(db):
    workspace = db.workspace()
    row = db.state(db.lead(workspace, email=" A@Example.com", phone="555-0100 200"))
    assert row.routing_status == "pending"
    assert row.source_workspace_id == workspace
    assert row.dedupe_hash == db.value("select generate_dedupe_hash('a@example.com', '15550100200', null, null, null)")
    assert row.lead_expires_at == row.created_at + datetime.timedelta(days=90)


def test_what_an_insert_says_is_kept(db):
    """Source and expiry that are given stay; a hash that is given does not."""
    source = db.workspace()
    row = db.state(db.lead(db.workspace(), source_workspace_id=source, lead_expires_at="2100-01-01T00:00:00Z", dedupe_hash="f" * 64))
    assert row.source_workspace_id == source
    assert row.lead_expires_at.year == 2100
    assert row.dedupe_hash is None


def test_the_hash_follows_the_contact_until_the_decision(db, owner):
    workspace = db.workspace()
    for status in STATES:
        lead = lead_in(db, owner, status)
        before = db.state(lead).dedupe_hash
        db.execute("update leads set email = 'b@example.com' where id = %s", lead)
        changed = db.value("select generate_dedupe_hash('b@example.com', null, null, null, null)")
        assert db.state(lead).dedupe_hash == (before if status in ("routed", "expired") else changed), status
        db.execute("update leads set dedupe_hash = %s where id = %s", "f" * 64, lead)
        assert db.state(lead).dedupe_hash == (before if status in ("routed", "expired") else changed), status
    lead = db.lead(workspace, email="a@example.com")
    db.execute("update leads set email = null where id = %s", lead)
    assert db.state(lead).dedupe_hash is None


def test_updated_at_follows_changes(db):
    workspace = db.workspace()
    lead = db.lead(workspace, updated_at="2001-01-01T00:00:00Z")
    rule = db.rule(workspace, workspace, updated_at="2001-01-01T00:00:00Z")
    db.execute("update workspaces set updated_at = '2001-01-01T00:00:00Z'")
    for table, change, row in (("leads", "city = 'Ulm'", lead), ("lead_routing_rules", "priority = 4", rule),
                               ("workspaces", "name = 'x'", workspace)):
        db.execute(f"update {table} set {change} where id = %s", row)
        assert db.value(f"select updated_at > created_at - interval '1 hour' from {table} where id = %s", row), table
