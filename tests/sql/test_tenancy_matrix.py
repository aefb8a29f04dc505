"""Goal: every table, partitions one by one, with every command, as every role: each cell has an expected outcome, all are tried, and
what is refused leaves every table row for row as it was. The tables come from the catalogue: one that nobody has thought of fails."""
import io

import pytest

from support.groups import together
from support.tenancy import A, ADAM, ALICE, B, BOB, KINDS, Asker, Kept, claims

# Tables that people read, with whose a row is; and those that admins write, with what one of A may insert.
PEOPLE_READ = {
    "public.leads": "array[source_workspace_id, workspace_id]",
    "public.workspaces": "array[id]",
    "public.user_workspaces": "array[workspace_id]",
    "public.lead_routing_rules": "array[workspace_id]",
    "public.lead_routing_sets": "array[workspace_id]",
    "public.lead_routing_queue": "array[workspace_id]",
    "public.bulk_upload_jobs": "array[workspace_id]",
    "public.lead_routing_logs": "array[source_workspace_id, destination_workspace_id]",
    "leadrouter.rule_versions": "array[workspace_id]",
    "leadrouter.rule_set_versions": "array[workspace_id]",
    "leadrouter.rule_history": "array[workspace_id]",
    "leadrouter.set_history": "array[workspace_id]",
}
ADMINS_WRITE = {
    "public.lead_routing_rules": f"(workspace_id, rule_name, destination_workspace_id) values ('{A}', 'x', '{B}')",
    "public.lead_routing_sets": f"(workspace_id, set_name) values ('{A}', 'x')",
}
# Tables that are nobody's to read.
SEALED = {"public.lead_dedupe_claims", "leadrouter.create_requests", "leadrouter.error_classes", "leadrouter.scheduled_jobs",
          "leadrouter.log_seals", "leadrouter.log_seal_rows",
          "leadrouter.import_batches", "leadrouter.migrations", "leadrouter.migration_steps",
          "leadrouter.migration_objects", "leadrouter.adopted_tables", "leadrouter.adopted_grants"}
# Rows of no workspace: not under row security, but without a right for anybody.
BOOKKEEPING = {"leadrouter.migrations", "leadrouter.migration_steps", "leadrouter.migration_objects", "leadrouter.adopted_tables",
               "leadrouter.adopted_grants"}
WERE_THE_HOSTS = {"public.leads", "public.workspaces", "public.user_workspaces"}

# Who asks: role, claims, the workspaces of which he is a member, and of which he is an admin.
ASKERS = {
    "no claims": ("authenticated", None, (), ()),
    "empty claims": ("authenticated", "", (), ()),
    "claims that are no JSON": ("authenticated", "{\"sub", (), ()),
    "claims without a person": ("authenticated", '{"role": "service_role"}', (), ()),
    "a person that is no UUID": ("authenticated", '{"sub": "1 or true"}', (), ()),
    "member of another": ("authenticated", claims(BOB), (B,), ()),
    "member": ("authenticated", claims(ALICE), (A,), ()),
    "admin": ("authenticated", claims(ADAM), (A,), (A,)),
    "the service": ("leadrouter_service", claims(ADAM), (), ()),
    "anon": ("anon", claims(ADAM), (), ()),
    "service_role": ("service_role", claims(ADAM), (), ()),
}
SUPABASE = ("anon", "service_role")
CLAIMS_THAT_ARE_NONE = ("claims that are no JSON", "a person that is no UUID")
COMMANDS = ("select", "select for update", "insert", "update", "delete", "truncate", "copy to", "copy from", "lock to read",
            "lock for itself", "references", "trigger", "alter", "drop")


@pytest.fixture(scope="module", params=together("tenancy_matrix", KINDS))
def kept(request):
    with Kept(request.param) as db:
        db.tables = db.rows(
            "select format('%I.%I', n.nspname, c.relname) as name, c.relispartition as is_partition, c.oid,"
            " (select quote_ident(a.attname) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
            "  and a.attidentity = '' order by a.attnum limit 1) as first_column"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p') and n.nspname in ('public', 'leadrouter') order by 1")
        rows = " union all ".join(f"select md5(coalesce(string_agg(t::text, ',' order by t::text), '')) as h from {table.name} t"
                                  for table in db.tables if not table.is_partition)
        db.execute(f"prepare contents as select md5(string_agg(h, ',')) from ({rows}) every_table")
        yield db


def contents(db):
    """What stands in all tables, as one hash."""
    return db.value("execute contents")


def test_every_table_is_in_the_matrix(kept):
    unknown = {table.name for table in kept.tables if not table.is_partition} - set(PEOPLE_READ) - SEALED
    assert unknown == set(), "say in this file who may do what with them"
    partitions = [table.name for table in kept.tables if table.is_partition]
    assert len(partitions) >= 34 and all(name.startswith("leadrouter.lead_routing_logs_2") for name in partitions)


def test_row_security_is_forced_with_a_policy_for_the_functions(kept):
    """On all of them, those partitions too that were made after the migration; each partition refuses TRUNCATE by a trigger."""
    rows = kept.rows("select format('%I.%I', n.nspname, c.relname) as name, c.relispartition as is_partition,"
                     " c.relowner = 'leadrouter_owner'::regrole as is_ours, c.relrowsecurity and c.relforcerowsecurity as is_forced,"
                     " exists (select from pg_policy p where p.polrelid = c.oid and p.polroles = array['leadrouter_owner'::regrole::oid]"
                     "  and p.polcmd = '*' and pg_get_expr(p.polqual, c.oid) = 'true') as has_policy,"
                     " exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'log_no_truncate') as has_trigger,"
                     " (select count(*) from pg_policy p where p.polrelid = c.oid and 0 = any (p.polroles)) as for_everybody"
                     " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                     " where c.relkind in ('r', 'p') and n.nspname in ('public', 'leadrouter')")
    assert len(rows) > 50
    for row in rows:
        assert row.is_ours and row.for_everybody == 0, row
        assert (row.is_forced and row.has_policy) == (row.name not in BOOKKEEPING), row
        assert row.has_trigger == (row.is_partition or row.name == "public.lead_routing_logs"), row
    assert kept.rows("select * from leadrouter.unprotected_tables()") == []


def test_sequences_are_nobodys(kept):
    sequences = kept.rows("select c.oid::regclass::text as name from pg_class c where c.relkind = 'S'"
                          " and c.relnamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)")
    assert len(sequences) >= 2
    for role in {role for role, _, _, _ in ASKERS.values()}:
        if kept.value("select to_regrole(%s) is not null", role):
            assert [row for row in sequences if kept.value("select has_sequence_privilege(%s, %s, 'usage, select, update')",
                                                           role, row.name)] == []


def expected(kept, table, asker, command):
    """What should come of it: 'denied', 'no rights' for what one must own, or a number of rows."""
    role, _, member_of, admin_of = ASKERS[asker]
    was_the_hosts = kept.kind == "adopted" and table.name in WERE_THE_HOSTS
    if command in ("alter", "drop"):
        return "denied"
    if was_the_hosts and role == "service_role": # goes on as before: it is not bound by row security
        everything = kept.value(f"select count(*) from {table.name}")
        if command == "truncate" and table.name == "public.workspaces":
            return "denied" # with it go tables that are nobody's
        return {"select": everything, "select for update": everything, "update": everything, "copy to": everything}.get(command, "done")
    if was_the_hosts and role in ("anon", "authenticated"): # has rights, and no policy but people's for reading
        if command in ("insert", "truncate", "references", "trigger"):
            return "denied"
        if command == "copy from":
            return "0A000"
        if command.startswith("lock"):
            return "done"
        if command in ("select for update", "update", "delete") or role == "anon":
            return 0
    if role != "authenticated" or table.name not in PEOPLE_READ:
        return "denied"
    writes = table.name in ADMINS_WRITE
    if command in ("select", "copy to"):
        if command == "copy to" and table.name == "public.lead_routing_logs":
            return 0 # of the table without its partitions
        return kept.value(f"select count(*) from {table.name} where {PEOPLE_READ[table.name]} && %s::uuid[]", list(member_of))
    if not writes or command in ("truncate", "references", "trigger"):
        return "done" if command == "lock to read" else "denied"
    if command.startswith("lock"):
        return "done"
    if command == "copy from":
        return "0A000" # PostgreSQL has none into tables with row security
    if command == "insert":
        return 1 if A in admin_of else "denied"
    return kept.value(f"select count(*) from {table.name} where {PEOPLE_READ[table.name]} && %s::uuid[]", list(admin_of))


def tried(kept, session, role, table, command):
    name, column = table.name, table.first_column
    if command in ("references", "trigger"):
        may = kept.value("select has_table_privilege(%s, %s::oid, %s)", role, table.oid, command)
        if command == "references":
            may = may or kept.value("select has_any_column_privilege(%s, %s::oid, %s)", role, table.oid, command)
        return "done" if may else "denied"
    if command == "copy to":
        out = io.StringIO()
        return session.attempt_copy(f"copy {name} to stdout", out) or out.getvalue().count("\n")
    if command == "copy from":
        return session.attempt_copy(f"copy {name} from stdin", io.StringIO("")) or "done"
    return session.attempt({
        "select": f"select * from {name}",
        "select for update": f"select * from {name} for update",
        "insert": f"insert into {name} " + ADMINS_WRITE.get(name, "default values"),
        "update": f"update {name} set {column} = {column}",
        "delete": f"delete from {name}",
        "truncate": f"truncate {name} cascade",
        "lock to read": f"lock table {name} in access share mode",
        "lock for itself": f"lock table {name} in access exclusive mode",
        "alter": f"alter table {name} no force row level security",
        "drop": f"drop table {name}",
    }[command])


def is_as_expected(outcome, wanted, asker):
    if wanted == "done":
        return isinstance(outcome, int) or outcome in ("done", "23502", "23503") # rows that other tables hold, or without what they need
    if outcome == wanted:
        return True
    # Claims that are none are an error where they are looked at.
    return asker in CLAIMS_THAT_ARE_NONE and outcome == "22P02" and wanted in (0, "denied")


@pytest.mark.parametrize("asker", ASKERS)
def test_every_table_with_every_command(kept, asker):
    if kept.kind == "plain" and asker in SUPABASE:
        assert kept.value("select to_regrole(%s) is null", asker), "there is no such role here"
        return
    role, claims_text, _, _ = ASKERS[asker]
    session = Asker(kept, role, claims_text)
    before = contents(kept)
    cells, faults = 0, []
    for table in kept.tables:
        for command in COMMANDS:
            outcome, wanted = tried(kept, session, role, table, command), expected(kept, table, asker, command)
            cells += 1
            if not is_as_expected(outcome, wanted, asker):
                faults.append(f"{command} {table.name}: {outcome}, expected {wanted}")
            if not isinstance(outcome, int) and contents(kept) != before:
                faults.append(f"{command} {table.name}: refused, and something is different")
                before = contents(kept)
    assert contents(kept) == before
    assert faults == []
    assert cells == len(kept.tables) * len(COMMANDS) > 700
