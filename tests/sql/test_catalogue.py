"""Goal: the schema has the tables, columns, functions and rights that other systems and the next issues rely on; hot
statements go by index even when they were first planned on empty tables."""
import re

import pytest

from support.plans import explain, nodes, plans_of
from support.postgres import ROOT
from support.product_cluster import TEMPLATE

STEPS = ROOT / "sql/migrations/0001_routing"

COLUMNS = {
    "leads": "id workspace_id source_workspace_id email phone first_name last_name company_name company_industry company_size"
             " company_revenue country state city postal_code source external_id attributes routing_status routing_locked_by"
             " routing_locked_at routing_started_at routing_completed_at routing_failed_at routing_attempts routing_error"
             " matched_rule_id rules_version"
             " decision_id decided_outcome duplicate_lead_id dedupe_hash lead_expires_at import_id import_row import_key erased_at"
             " created_at updated_at",
    "workspaces": "id name workspace_type is_active routing_config created_at updated_at",
    "user_workspaces": "user_id workspace_id role",
    "lead_routing_rules": "id workspace_id rule_name priority conditions destination_workspace_id is_active created_at updated_at",
    "lead_routing_queue": "id lead_id workspace_id attempt_number max_attempts next_retry_at last_error error_count error_class"
                          " rules_version routing_context created_at updated_at processed_at"
                          " postponed_until",
    "lead_routing_logs": "id lead_id source_workspace_id destination_workspace_id matched_rule_id routing_result error_message lock_owner"
                         " attempt_number actor_id routing_metadata created_at transaction_id",
    "lead_dedupe_claims": "dedupe_hash lead_id workspace_id claimed_at expires_at",
    "bulk_upload_jobs": "id workspace_id user_id source status total_records processed_records successful_records failed_records file_url"
                        " raw_data error_log routing_summary created_at updated_at completed_at"
                        " fingerprint is_routed owner last_row end_offset created_records updated_records existing_records"
                        " duplicate_records",
}
PUBLIC_FUNCTIONS = {
    "acquire_routing_lock(p_lead_id uuid, p_lock_owner uuid)": "boolean",
    "complete_routing(p_lead_id uuid, p_destination_workspace_id uuid, p_matched_rule_id uuid, p_lock_owner uuid)": "boolean",
    "fail_routing(p_lead_id uuid, p_error_message text, p_lock_owner uuid, p_max_attempts integer DEFAULT 3)": "boolean",
    "release_stale_routing_locks()": "integer",
    "check_cross_partner_duplicate(p_dedupe_hash text, p_source_workspace_id uuid)":
        "TABLE(duplicate_lead_id uuid, duplicate_workspace_id uuid, created_at timestamp with time zone)",
    "generate_dedupe_hash(p_email text, p_phone text, p_company_name text, p_first_name text, p_last_name text)": "text",
    "mark_expired_leads()": "integer",
}
SERVICE_FUNCTIONS = {
    "lock_leads", "lock_due_leads", "next_due", "postpone_retries", "lead_facts", "load_rule_sets", "decide", "find_attempts",
    "create_leads", "get_lead", "list_leads", "workspace_limits", "health_counts", "schema_version", "require_member", "hold_members",
    "begin_import", "import_rows", "import_unrouted", "leave_import", "end_import", "read_imports", "read_rejected_rows",
    "prune_imports",
    "read_workspaces", "create_workspace", "update_workspace", "list_members", "set_member", "remove_member",
    "rule_set_at", "list_rule_versions", "change_rules", "lead_history", "leads_for_test", "rule_ways_back",
    "register_jobs", "list_jobs", "begin_job", "touch_job", "end_job", "note_job_run", "pause_job", "resume_job",
    "queue_lost_leads", "release_stale_locks", "expire_leads", "check_expired_leads", "sweep_claims", "sweep_queue",
    "prune_rule_versions", "list_retries", "cancel_retries", "check_log_partitions", "workspaces_due",
    "make_log_partitions", "drop_log_partitions",
    "log_partition_days_ahead", "unprotected_tables", "normalize_text", "normalize_phone",
    "erase_lead", "seal_log", "log_unsealed", "log_seal", "verify_page", "verify_log", "verify_days",
    "sample_seals", "sample_tables", "sample_database", "sample_workspaces",
    "sample_duplicates"}
OURS = "p.pronamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)"


@pytest.mark.parametrize("table", COLUMNS)
def test_columns(db, table):
    assert {row[0] for row in db.rows("select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped",
                                      table)} == set(COLUMNS[table].split())


def test_the_states(db):
    assert db.value("select enum_range(null::lead_routing_status)::text") == "{pending,routing,routed,failed,expired}"
    assert db.value("select pg_get_expr(adbin, adrelid) from pg_attrdef d"
                    " join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum"
                    " where adrelid = 'leads'::regclass and attname = 'routing_status'") == "'pending'::lead_routing_status"


def test_a_lead_lives_as_long_whoever_writes_it(db):
    """What decides when a new lead expires stands in one place."""
    assert db.rows("select proname from pg_proc where pronamespace = 'leadrouter'::regnamespace and prosrc like '%%90 days%%'") == [
        ("lead_expiry",)]
    assert db.value("select leadrouter.lead_expiry('2026-01-01') - '2026-01-01'::timestamptz = interval '90 days'")


def test_public_functions(db):
    """By name, parameter names and types, and result: other systems call them so. They are all there is in public."""
    rows = db.rows("select p.proname || '(' || pg_get_function_arguments(p.oid) || ')' as name, pg_get_function_result(p.oid) as result"
                   " from pg_proc p where p.pronamespace = 'public'::regnamespace")
    assert dict(rows) == PUBLIC_FUNCTIONS


def test_functions_trust_nobody(db):
    """Owned by the owner, not for PUBLIC; what runs with the owner's rights has a fixed path that ends in pg_temp."""
    rows = db.rows(f"select p.oid::regprocedure::text as name, r.rolname, p.prosecdef, coalesce(p.proconfig::text, '') as config,"
                   " p.proacl is null or exists (select from aclexplode(p.proacl) a where a.grantee = 0) as is_public"
                   f" from pg_proc p join pg_roles r on r.oid = p.proowner where {OURS}")
    assert len(rows) > 30
    for row in rows:
        assert (row.rolname, row.is_public) == ("leadrouter_owner", False), row.name
        if row.prosecdef:
            assert "search_path=pg_catalog, pg_temp" in row.config, row.name


def test_the_service_may_call_what_it_needs(db):
    rows = db.rows("select p.proname, p.pronamespace::regnamespace::text as schema from pg_proc p"
                   f" where {OURS} and has_function_privilege('leadrouter_service', p.oid, 'execute')")
    assert {row.proname for row in rows if row.schema == "leadrouter"} == SERVICE_FUNCTIONS
    assert {row.proname for row in rows if row.schema == "public"} == {name.split("(")[0] for name in PUBLIC_FUNCTIONS}


def test_each_function_says_what_it_promises():
    """Right above it; the server's are in the README as well."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(STEPS.glob("*.sql")))
    functions = re.findall(r"^create function (?:leadrouter|public)\.(\w+)\(", text, re.MULTILINE)
    assert len(functions) > 100
    assert set(functions) == set(re.findall(r"^--[^\n]+\ncreate function (?:leadrouter|public)\.(\w+)\(", text, re.MULTILINE))
    guide = (ROOT / "sql/README.md").read_text(encoding="utf-8")
    called = guide[guide.index("## What the engine calls"):guide.index("## What other systems call")]
    assert SERVICE_FUNCTIONS <= set(re.findall(r"`(\w+)[(`]", called))


def test_tables_belong_to_the_owner(db):
    rows = db.rows("select c.relname, r.rolname from pg_class c join pg_roles r on r.oid = c.relowner where c.relkind in ('r', 'p', 'S')"
                   " and c.relnamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)")
    assert {row.rolname for row in rows} == {"leadrouter_owner"}, [row for row in rows if row.rolname != "leadrouter_owner"]


def test_roles(db):
    rows = db.rows("select rolname, rolcanlogin, rolinherit, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls from pg_roles"
                   " where rolname like 'leadrouter%%' order by 1")
    assert [tuple(row) for row in rows] == [
        ("leadrouter_owner", False, False, False, False, False, False),
        ("leadrouter_service", True, False, False, False, False, False)]
    # It may put on the role of people, and inherits nothing of it.
    assert db.rows("select roleid::regrole::text, admin_option from pg_auth_members where member = 'leadrouter_service'::regrole") == [
        ("authenticated", False)]


def test_settings_of_the_service_role(db):
    """They belong to the database that was migrated; copies of it do not have them."""
    assert set(db.value("select setconfig from pg_db_role_setting where setrole = 'leadrouter_service'::regrole"
                        " and setdatabase = (select oid from pg_database where datname = %s)", TEMPLATE)) == {
        "statement_timeout=10s", "lock_timeout=2s", "idle_in_transaction_session_timeout=5s", "jit=off"}


def test_each_index_says_what_it_serves(db):
    """In the migration beside it; a primary key needs no words."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(STEPS.glob("*.sql")))
    explained = set(re.findall(r"-- Serves: [^\n]+(?:\n--[^\n]*)*\ncreate (?:unique )?index (?:concurrently if not exists )?(\w+)", text))
    there = {row[0] for row in db.rows(
        "select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid"
        " where not i.indisprimary and not t.relispartition and t.relnamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)"
        " and t.relname not like 'migration%%'")}
    assert explained == there
    guide = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `[\w.]+` \| `(\w+)` \|", guide, re.MULTILINE)) == there


def test_indexes_give_their_order_where_row_security_is_forced(db):
    """A column whose operators are not leakproof (an enum's) comes last: that it is constant is not seen there, nor then that what stands
    behind it is in order."""
    assert [row[0] for row in db.rows("""
        select i.indexrelid::regclass::text from pg_index i join pg_class t on t.oid = i.indrelid
        cross join lateral unnest(i.indclass::oid[]) with ordinality k (opclass, place)
        join pg_opclass o on o.oid = k.opclass
        join pg_amop m on m.amopfamily = o.opcfamily and m.amoplefttype = o.opcintype and m.amoprighttype = o.opcintype
            and m.amopstrategy = 3 -- equality, of a B-tree
        join pg_operator e on e.oid = m.amopopr join pg_proc p on p.oid = e.oprcode
        where t.relrowsecurity and not t.relispartition and not p.proleakproof and k.place < i.indnkeyatts""")] == []


def plans(session, call):
    """Of the statements in a function that is called."""
    explain(session)
    return plans_of(session, lambda: session.execute("select * from " + call))


@pytest.mark.parametrize("call", [
    "leadrouter.lock_leads('{%(id)s}', '{%(id)s}')",
    "leadrouter.find_attempts('{%(id)s}', '{%(id)s}')",
    "leadrouter.decide('{%(id)s}', '{%(id)s}', '{%(id)s}', '{1}', '{%(id)s}', '{null}', '{null}', '{1}', '{null}', '{x}', '{x}', '{3}',"
    " '{null}', '{f}', '{90}', '{abc}', '{0}')",
    "leadrouter.lock_due_leads(9, null, false, false, 0, null, 0, null, false)",
    "leadrouter.next_due(null)",
    "leadrouter.queue_lost_leads(60, null, 9, null)",
    "leadrouter.queue_lost_leads(60, null, 9, '%(id)s 0 %(id)s')",
    "leadrouter.release_stale_locks(300, 9)",
    "leadrouter.expire_leads(null, 9)",
    "leadrouter.expire_leads('%(id)s', 9)",
    "leadrouter.cancel_retries('{%(id)s}', '{%(id)s}', null, '')",
    "leadrouter.sweep_claims(0, 9)",
    "leadrouter.sweep_queue(7, 0, 9)",
    "leadrouter.seal_log(9)",
    "leadrouter.log_unsealed()",
])
def test_hot_statements_never_scan(db, call):
    """The plan that a session makes while every table is empty, and keeps for good, goes by key."""
    session = db.session()
    session.execute("analyze leads, lead_routing_queue, lead_dedupe_claims")
    seen = [node for plan in plans(session, call % {"id": "00000000-0000-0000-0000-000000000000"}) for node in nodes(plan)]
    assert any(node["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Index Scan", "Tid Range Scan") for node in seen)
    assert [node["Relation Name"] for node in seen if node["Node Type"] == "Seq Scan"] == []
    assert [node["Node Type"] for node in seen if node["Node Type"] in ("Hash Join", "Merge Join")] == []


@pytest.mark.parametrize("call", [
    "leadrouter.create_leads('%(id)s', '[{\"external_id\": \"a\"}, {\"external_id\": \"b\"}, {}]', '%(id)s', 'x')",
    "leadrouter.list_leads('%(id)s', false, null, null, null, null, null, null, null, null, 9, 99)",
    "leadrouter.list_leads('%(id)s', true, 'routed', 'x', 'x', 'x', 0, 0, 0, '%(id)s', 9, 99)",
    "leadrouter.import_rows('%(id)s', '%(id)s', 0, 9, '{1,2}', '{null,null}', '{null,null}', array['%(id)s', null]::uuid[], '{\"\",a}',"
    " '{e,e}', '{p,p}', '{f,f}', '{l,l}', '{c,c}', '{i,i}', '{s,s}', '{r,r}', '{c,c}', '{s,s}', '{c,c}', '{p,p}', '{s,s}',"
    " array['{}', '{}'], '{\"\",\"\"}')",
])
def test_leads_are_found_by_key(db, call):
    """The same of the calls that take leads in and list them: a lead is never looked for by reading others, with the plans that a session
    makes, and keeps, when nothing is there yet; what is joined otherwise comes from the call itself. An update of what an earlier call
    has taken in is among it."""
    values = {"id": "00000000-0000-0000-0000-000000000000"}
    db.execute("insert into workspaces (id, name, workspace_type) values (%s, 'w', 'partner')", values["id"])
    db.execute("insert into bulk_upload_jobs (id, workspace_id, fingerprint, owner) values (%s, %s, 'f', %s)", *[values["id"]] * 3)
    db.execute("insert into leads (workspace_id, source_workspace_id, external_id) values (%s, %s, 'a')", *[values["id"]] * 2)
    session = db.session()
    session.execute("analyze leads, lead_routing_queue, bulk_upload_jobs, leadrouter.create_requests, leadrouter.import_batches")
    found = plans(session, call % values)
    seen = [node for plan in found for node in nodes(plan) if not node.get("Relation Name", "").startswith("pg_")]
    assert any(node["Node Type"] == "Index Scan" and node["Relation Name"] == "leads" for node in seen)
    assert [node["Relation Name"] for node in seen if node["Node Type"] == "Seq Scan"] == []
    assert [node["Node Type"] for node in seen if node["Node Type"] in ("Hash Join", "Merge Join")
            and any("Relation Name" in below and below["Node Type"] != "ModifyTable" for below in nodes(node))] == []
