"""Goal: what a migration makes is open to nobody, also while it is under way and whatever an installation gives its roles on all that is
new."""
import pytest

from support import supabase
from support.postgres import Postgres, migrate
from support.product_cluster import execute
from support.tenancy import HOST

ROLES = ("public", "anon", "authenticated", "service_role")
# Relations and functions that are not the host's, and schema leadrouter: what it is, and who may do what with it.
RIGHTS = """
select c.oid::regclass::text as name, a.grantee, a.privilege_type
from pg_class c,
    lateral aclexplode(coalesce(c.relacl, acldefault((case c.relkind when 'S' then 's' else 'r' end)::"char", c.relowner))) a
where c.relkind in ('r', 'p', 'v', 'm', 'S') and c.relnamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)
  and pg_get_userbyid(c.relowner) = 'leadrouter_owner'
union all
select p.oid::regprocedure::text, a.grantee, a.privilege_type
from pg_proc p, lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
where p.pronamespace in ('public'::regnamespace, 'leadrouter'::regnamespace)
union all
select n.nspname::text, a.grantee, a.privilege_type
from pg_namespace n, lateral aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
where n.nspname = 'leadrouter'
"""


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as postgres:
        postgres.let_in()
        yield postgres


def rights(postgres, name):
    """Of each thing who may do what. Partitions look alike."""
    return set(execute(postgres, name, f"""
        select regexp_replace(name, '_[0-9]{{8}}$', '_day'), case grantee when 0 then 'public' else pg_get_userbyid(grantee) end,
            privilege_type from ({RIGHTS}) r"""))


def test_nothing_is_open_while_it_is_under_way(postgres):
    """On a database whose roles get all rights on what is new in schema public, a migration breaks off after leads were filled in, before
    its last steps: until it is continued nobody has a right on what it has made, and row security is forced."""
    name = postgres.database()
    supabase.prepare(postgres, name)
    execute(postgres, name, HOST, user=supabase.OWNER)
    execute(postgres, name, """
        create function stop() returns event_trigger language plpgsql as $$ begin
            if exists (select from pg_event_trigger_ddl_commands() c where c.object_identity = 'public.leads_undecided_expiry') then
                raise exception 'no further';
            end if;
        end $$;
        create event trigger stop on ddl_command_end when tag in ('CREATE INDEX') execute function stop();""")
    words = ("up", "--adopt", "--adopt-losing", "anon,authenticated")
    done = migrate(postgres.url(name, supabase.OWNER), *words)
    assert done.returncode == 1 and "80_indexes: refused by the database (SQLSTATE P0001)" in done.stderr, done.stderr
    assert execute(postgres, name, "select count(*) from leadrouter.migration_steps where step = '72_constraints'") == [(1,)]
    found = rights(postgres, name)
    assert len({thing for thing, _, _ in found}) > 100 and any(thing == "leadrouter.lead_routing_logs_day" for thing, _, _ in found)
    assert {row for row in found if row[1] in ROLES and row[0] != "stop()"} == set()
    assert execute(postgres, name, """
        select c.oid::regclass::text from pg_class c
        where c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) = 'leadrouter_owner'
          and not (c.relrowsecurity and c.relforcerowsecurity and exists (select from pg_policy p where p.polrelid = c.oid))
          and c.relname not in ('migrations', 'migration_steps', 'migration_objects', 'adopted_tables', 'adopted_grants')""") == []
    execute(postgres, name, "drop event trigger stop; drop function stop()")
    done = migrate(postgres.url(name, supabase.OWNER), *words)
    assert done.returncode == 0, done.stderr


def test_whatever_is_given_on_all_that_is_new(postgres):
    """To everybody and to people, on tables, views, sequences, functions and schemas: in the end all is as where nothing is given."""
    plain, generous = postgres.database(), postgres.database()
    for name in (plain, generous):
        if name == generous:
            for kind in ("tables", "sequences", "functions", "schemas"):
                execute(postgres, name, f"alter default privileges grant all on {kind} to public, authenticated, leadrouter_service")
        done = migrate(postgres.url(name), "up")
        assert done.returncode == 0, done.stderr
    assert rights(postgres, generous) == rights(postgres, plain)
