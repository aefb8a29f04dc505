-- step: transaction
--
-- Who is asking. The convention of PostgREST and Supabase: the claims of a verified token in the setting request.jwt.claims. Where it is in
-- use already, its own functions are there, and stay as they are.

do $body$
begin
    if to_regnamespace('auth') is null then
        create schema auth;
        grant usage on schema auth to public;
    end if;
    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid
            language sql stable
            set search_path = pg_catalog, pg_temp
            as $function$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $function$;
    end if;
    if to_regprocedure('auth.role()') is null then
        create function auth.role() returns text
            language sql stable
            set search_path = pg_catalog, pg_temp
            as $function$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $function$;
    end if;
end
$body$;

-- The same for functions that run as the owner. It asks auth.uid() where the owner may; whoever migrates a hosted Supabase may use that
-- schema and not open it to others, and then the settings are read as its auth.uid() reads them.
do $body$
declare
    v_body text := $text$select auth.uid()$text$;
begin
    if not has_schema_privilege('leadrouter_owner', 'auth', 'usage') then
        begin
            grant usage on schema auth to leadrouter_owner;
        exception when insufficient_privilege then
            null;
        end;
    end if;
    if not has_schema_privilege('leadrouter_owner', 'auth', 'usage')
       or not has_function_privilege('leadrouter_owner', 'auth.uid()', 'execute') then
        v_body := $text$select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
            nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid$text$;
    end if;
    execute format('create function leadrouter.caller_id() returns uuid'
        ' language sql stable security definer set search_path = pg_catalog, pg_temp as %L', v_body);
end
$body$;
select leadrouter.seal_functions('{caller_id}');
