"""Goal: people read the rows of their workspaces and no others, write rules where they are admins and nothing else, and call what is
for them; on a database of ours and on one that gives its roles rights on everything, as Supabase's does. Every table with every
command: test_tenancy_matrix.py."""
import psycopg2
import pytest

from support.groups import together
from support.tenancy import A, ADAM, ALICE, B, BOB, DESK, KINDS, STRANGER, Kept, claims

TENANT_TABLES = ("leads", "workspaces", "user_workspaces", "lead_routing_rules", "lead_routing_sets", "lead_routing_queue",
                 "lead_routing_logs", "bulk_upload_jobs", "lead_dedupe_claims")

VERSION_TABLES = ("rule_versions", "rule_set_versions", "rule_history", "set_history")

# What people may call: what policies ask, what the server reads by, and what that needs.
PEOPLE_FUNCTIONS = {
    "admin_workspaces", "from_us", "log_partition_days_ahead", "member_workspaces", "own_claim_holder", "own_get_lead",
    "own_health_counts", "own_lead_history", "own_leads_for_test", "own_list_leads", "own_list_members", "own_list_retries",
    "own_list_rule_versions", "own_read_imports", "own_read_rejected_rows", "own_read_workspaces", "own_rule_set_at",
    "own_rule_ways_back", "to_us"}

# Who asks: the role, and the claims of the request.
PEOPLE = {"alice": ALICE, "adam": ADAM, "bob": BOB, "stranger": STRANGER}
WORKSPACES = {"alice": {A}, "adam": {A}, "bob": {B}, "stranger": set(), "nobody": set()}
ADMINS = {"adam": {A}}
ASKERS = [*PEOPLE, "nobody"]


@pytest.fixture(scope="module", params=together("tenancy", KINDS[:2]))
def kept_apart(request):
    with Kept(request.param) as db:
        yield db


def mine(asker, table, row):
    """Whether a row of the table is one that the asker may read: written from the specification, not from the policies."""
    own = WORKSPACES[asker]
    if table == "leads":
        return row["source_workspace_id"] in own or row["workspace_id"] in own
    if table == "lead_routing_logs":
        return row["source_workspace_id"] in own or row["destination_workspace_id"] in own
    if table == "workspaces":
        return row["id"] in own
    if table == "lead_dedupe_claims":
        return False
    return row["workspace_id"] in own


def claims_of(asker):
    return claims(PEOPLE[asker]) if asker in PEOPLE else ""


def try_it(db, role, claims, statement, *parameters):
    """What comes of a statement as this role: 'denied', or how many rows it gave or changed. Nothing remains of it."""
    db.execute("begin")
    try:
        db.execute("select set_config('request.jwt.claims', %s, true)", claims)
        db.execute(f'set local role "{role}"')
        db.execute(statement, *parameters)
        return db.cursor.rowcount
    except psycopg2.errors.InsufficientPrivilege:
        return "denied"
    finally:
        db.execute("rollback")


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("table", TENANT_TABLES)
def test_people_read_their_own(kept_apart, table, asker):
    db = kept_apart
    db.execute(f"select * from {table}")
    names = [column.name for column in db.cursor.description]
    rows = [dict(zip(names, row)) for row in db.cursor.fetchall()]
    expected = sum(mine(asker, table, row) for row in rows)
    assert len(rows) > expected, "somebody else's rows must be there to be missed"
    seen = try_it(db, "authenticated", claims_of(asker), f"select * from {table}")
    assert seen == ("denied" if table == "lead_dedupe_claims" else expected)


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("table", VERSION_TABLES)
def test_people_read_the_versions_of_their_rules(kept_apart, table, asker):
    db = kept_apart
    seen = {workspace for workspace, in db.rows(f"select distinct workspace_id from leadrouter.{table}")}
    assert seen >= {A, B, DESK}
    expected = db.value(f"select count(*) from leadrouter.{table} where workspace_id = any (%s)", list(WORKSPACES[asker]))
    assert try_it(db, "authenticated", claims_of(asker), f"select * from leadrouter.{table}") == expected
    for command in (f"insert into leadrouter.{table} (workspace_id) values ('{A}')", f"delete from leadrouter.{table}",
                    f"update leadrouter.{table} set workspace_id = workspace_id", f"truncate leadrouter.{table}"):
        assert try_it(db, "authenticated", claims_of(asker), command) == "denied", command


@pytest.mark.parametrize("claims", ["", "{}", '{"sub": null}', '{"role": "service_role"}'])
@pytest.mark.parametrize("table", TENANT_TABLES[:-1])
def test_no_claim_no_rows(kept_apart, table, claims):
    assert try_it(kept_apart, "authenticated", claims, f"select * from {table}") == 0


WRITES = {
    "leads": "insert into leads (workspace_id) values (%(workspace)s)",
    "workspaces": "insert into workspaces (name) values ('x')",
    "user_workspaces": "insert into user_workspaces (user_id, workspace_id, role) values (%(user)s, %(workspace)s, 'admin')",
    "lead_routing_rules": "insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id)"
                          " values (%(workspace)s, 'x', %(workspace)s)",
    "lead_routing_sets": "insert into lead_routing_sets (workspace_id, set_name) values (%(workspace)s, 'x')",
    "lead_routing_queue": "insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at)"
                          " values (gen_random_uuid(), %(workspace)s, 1, 3, now())",
    "lead_routing_logs": "insert into lead_routing_logs (lead_id, source_workspace_id, routing_result)"
                         " values (gen_random_uuid(), %(workspace)s, 'success')",
    "bulk_upload_jobs": "insert into bulk_upload_jobs (workspace_id, owner) values (%(workspace)s, gen_random_uuid())",
    "lead_dedupe_claims": "insert into lead_dedupe_claims (dedupe_hash, lead_id, workspace_id, expires_at)"
                          " values ('x', gen_random_uuid(), %(workspace)s, now())",
}
KEY = {"leads": "workspace_id", "workspaces": "id", "user_workspaces": "workspace_id", "lead_routing_logs": "source_workspace_id"}


@pytest.mark.parametrize("asker", ASKERS)
@pytest.mark.parametrize("workspace", [A, B], ids=["a", "b"])
@pytest.mark.parametrize("table", TENANT_TABLES)
def test_people_write_rules_where_they_are_admins_and_nothing_else(kept_apart, table, workspace, asker):
    db, claims = kept_apart, claims_of(asker)
    may = table in ("lead_routing_rules", "lead_routing_sets")
    is_admin = workspace in ADMINS.get(asker, ())
    key = KEY.get(table, "workspace_id")
    insert = WRITES[table].replace("%(workspace)s", f"'{workspace}'").replace("%(user)s", f"'{PEOPLE.get(asker, STRANGER)}'")
    assert try_it(db, "authenticated", claims, insert) == (1 if may and is_admin else "denied")
    for statement in (f"update {table} set {key} = {key} where {key} = %s", f"delete from {table} where {key} = %s"):
        assert try_it(db, "authenticated", claims, statement, workspace) == ("denied" if not may else 1 if is_admin else 0)
    assert try_it(db, "authenticated", claims, f"truncate {table} cascade") == "denied"


def test_an_admin_cannot_move_a_rule_to_another_workspace(kept_apart):
    assert try_it(kept_apart, "authenticated", claims_of("adam"), "update lead_routing_rules set workspace_id = %s where workspace_id = %s",
                  B, A) == "denied"


def test_a_service_role_that_was_there_calls_the_interface(kept_apart):
    if kept_apart.kind != "plain":
        lead = kept_apart.lead(A)
        assert try_it(kept_apart, "service_role", "", "select acquire_routing_lock(%s, gen_random_uuid())", lead) == 1
        assert try_it(kept_apart, "anon", "", "select acquire_routing_lock(%s, gen_random_uuid())", lead) == "denied"
    assert try_it(kept_apart, "authenticated", claims_of("adam"), "select acquire_routing_lock(gen_random_uuid(), gen_random_uuid())"
                  ) == "denied"


def test_nobody_else_may_call_a_function(kept_apart):
    """But for those that are for people: each has their rights, or says nothing of rows that are not theirs."""
    db = kept_apart
    roles = ["authenticated", "public"] + (["anon"] if db.kind != "plain" else [])
    callable_ = {row.proname for role in roles for row in db.rows(
        "select p.proname from pg_proc p where p.pronamespace = any (array['leadrouter', 'public']::regnamespace[])"
        " and has_function_privilege(%s, p.oid, 'execute') and p.prorettype <> 'trigger'::regtype", role)}
    assert callable_ == PEOPLE_FUNCTIONS
    definers = {row.proname for row in db.rows("select p.proname from pg_proc p where p.pronamespace = 'leadrouter'::regnamespace"
                                               " and p.prosecdef and p.proname = any (%s)", list(PEOPLE_FUNCTIONS))}
    assert definers == {"member_workspaces", "admin_workspaces", "own_claim_holder", "own_read_rejected_rows", "log_partition_days_ahead"}
