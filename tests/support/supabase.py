"""A database prepared as a hosted Supabase prepares its own: its roles, its schema auth, rights for everybody on everything new in schema
public; and an owner who may make roles and bypasses row security, but is no superuser and cannot open the schema auth to others."""

OWNER = "supabase_owner"

# The roles of a cluster; made once.
ROLES = f"""
do $$
begin
    if to_regrole('anon') is null then
        create role anon nologin noinherit;
        create role authenticated nologin noinherit;
        create role service_role nologin noinherit bypassrls;
        create role authenticator login noinherit;
        grant anon, authenticated, service_role to authenticator;
        create role supabase_admin superuser;
        create role {OWNER} login createdb createrole bypassrls;
        grant anon, authenticated, service_role to {OWNER};
    end if;
end
$$;
"""

OBJECTS = f"""
create schema auth authorization supabase_admin;
grant usage on schema auth to anon, authenticated, service_role;
grant all on schema auth to {OWNER};
create function auth.uid() returns uuid language sql stable as
    $$ select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
                       nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
create function auth.role() returns text language sql stable as
    $$ select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''),
                       nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role') $$;
create function auth.jwt() returns jsonb language sql stable as
    $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
alter function auth.uid() owner to supabase_admin;
alter function auth.role() owner to supabase_admin;
alter function auth.jwt() owner to supabase_admin;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role {OWNER} in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role {OWNER} in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role {OWNER} in schema public grant all on sequences to anon, authenticated, service_role;
"""


def prepare(postgres, name):
    """Makes the database what it would be there; `migrate()` as OWNER. The cluster must let everybody in (`let_in`)."""
    connection = postgres.connect(name)
    with connection.cursor() as cursor:
        cursor.execute(ROLES)
        cursor.execute(f"alter database {name} owner to {OWNER}")
        cursor.execute(OBJECTS)
    connection.close()
