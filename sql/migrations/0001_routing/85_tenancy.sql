-- step: transaction
--
-- Who sees what. People (the role authenticated, whose claims the request carries) read the rows of their workspaces and change the
-- rules of those they administer; nobody else has a right on any table. Row security is forced, so that it holds for the owner too: the
-- functions, which run as the owner, see all rows by a policy of their own and not by an exception. Tables that were there before stay
-- as they are.

-- --- Who is asking --------------------------------------------------------------------------------------------------------
-- The convention of PostgREST and Supabase: the claims of a verified token in the setting request.jwt.claims. Where it is in use already,
-- its own functions are there.

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

-- Membership is read by the owner: a policy on user_workspaces that asked user_workspaces would ask itself.
create function leadrouter.member_workspaces() returns uuid[]
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(array_agg(m.workspace_id), '{}') from public.user_workspaces m where m.user_id = (select auth.uid())
$function$;

create function leadrouter.admin_workspaces() returns uuid[]
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(array_agg(m.workspace_id), '{}') from public.user_workspaces m
    where m.user_id = (select auth.uid()) and m.role in ('admin', 'owner')
$function$;

-- What somebody is in a workspace, for the server in front of a call; null: no member, or no such workspace.
create function leadrouter.member_role(p_user_id uuid, p_workspace_id uuid) returns text
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select case when m.role in ('admin', 'owner') then 'admin' else 'member' end
    from public.user_workspaces m where m.user_id = p_user_id and m.workspace_id = p_workspace_id
$function$;
alter function leadrouter.member_role(uuid, uuid) owner to leadrouter_owner;
revoke all on function leadrouter.member_role(uuid, uuid) from public;
grant execute on function leadrouter.member_role(uuid, uuid) to leadrouter_service;

do $body$
declare
    v_function text;
begin
    foreach v_function in array array['leadrouter.member_workspaces()', 'leadrouter.admin_workspaces()'] loop
        execute format('alter function %s owner to leadrouter_owner', v_function);
        execute format('revoke all on function %s from public', v_function);
        execute format('grant execute on function %s to authenticated', v_function);
    end loop;
end
$body$;
grant usage on schema leadrouter to authenticated;
grant usage on schema public to authenticated;
grant usage on schema auth to authenticated, leadrouter_owner;

-- --- Rights and policies --------------------------------------------------------------------------------------------------

-- Takes every right on a table from everybody but its owner: an installation may give its roles rights on each new table in public.
create function leadrouter.seal_table(p_table regclass) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_grantee text;
begin
    for v_grantee in
        select distinct case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end
        from pg_class c, lateral aclexplode(c.relacl) a
        where c.oid = p_table and a.grantee <> c.relowner
    loop
        execute format('revoke all on table %s from %s', p_table, v_grantee);
    end loop;
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    execute format('create policy leadrouter_owner on %s to leadrouter_owner using (true) with check (true)', p_table);
end
$function$;
alter function leadrouter.seal_table(regclass) owner to leadrouter_owner;
revoke all on function leadrouter.seal_table(regclass) from public;

do $body$
declare
    v_table text;
begin
    -- Tables with rows of workspaces: those that are ours, and of those that may be the host's the ones that we made.
    foreach v_table in array array['lead_routing_rules', 'lead_routing_sets', 'lead_routing_queue', 'lead_routing_logs',
        'lead_dedupe_claims', 'leads', 'workspaces', 'user_workspaces'] loop
        continue when v_table in ('leads', 'workspaces', 'user_workspaces') and not exists (
            select from leadrouter.migration_objects
            where object_type = 'table' and object_identity = format('public.%s', v_table));
        perform leadrouter.seal_table(format('public.%I', v_table)::regclass);
        continue when v_table = 'lead_dedupe_claims'; -- hashes of people: nobody's to read
        execute format('grant select on table public.%I to authenticated', v_table);
        execute format('create policy %s on public.%I for select to authenticated using (%s)', v_table || '_read', v_table, case v_table
            when 'leads' then 'source_workspace_id = any ((select leadrouter.member_workspaces())::uuid[])'
                ' or workspace_id = any ((select leadrouter.member_workspaces())::uuid[])'
            when 'lead_routing_logs' then 'source_workspace_id = any ((select leadrouter.member_workspaces())::uuid[])'
                ' or destination_workspace_id = any ((select leadrouter.member_workspaces())::uuid[])'
            when 'workspaces' then 'id = any ((select leadrouter.member_workspaces())::uuid[])'
            when 'user_workspaces' then 'user_id = (select auth.uid())'
            else 'workspace_id = any ((select leadrouter.member_workspaces())::uuid[])' end);
    end loop;

    -- Rules and sets are written by those who administer the workspace. Whether conditions can be used is found out when they are.
    foreach v_table in array array['lead_routing_rules', 'lead_routing_sets'] loop
        execute format('grant insert, update, delete on table public.%I to authenticated', v_table);
        execute format('create policy %s on public.%I for insert to authenticated'
            ' with check (workspace_id = any ((select leadrouter.admin_workspaces())::uuid[]))', v_table || '_insert', v_table);
        execute format('create policy %s on public.%I for update to authenticated'
            ' using (workspace_id = any ((select leadrouter.admin_workspaces())::uuid[]))'
            ' with check (workspace_id = any ((select leadrouter.admin_workspaces())::uuid[]))', v_table || '_update', v_table);
        execute format('create policy %s on public.%I for delete to authenticated'
            ' using (workspace_id = any ((select leadrouter.admin_workspaces())::uuid[]))', v_table || '_delete', v_table);
    end loop;
end
$body$;

-- Partitions inherit neither rights nor policies: those that are there, and, by make_log_partitions(), those to come.
do $body$
declare
    v_partition regclass;
begin
    for v_partition in select i.inhrelid::regclass from pg_inherits i where i.inhparent = 'public.lead_routing_logs'::regclass loop
        perform leadrouter.seal_table(v_partition);
    end loop;
end
$body$;

-- The interface is for the service; and for the service role of a Supabase installation, with which other programs call it. Such an
-- installation gives its roles rights on each new function in public, too.
do $body$
declare
    v_function regprocedure;
    v_grantee text;
begin
    for v_function in select p.oid::regprocedure from pg_proc p
        where p.pronamespace = 'public'::regnamespace
          and p.proname in ('acquire_routing_lock', 'complete_routing', 'fail_routing', 'release_stale_routing_locks',
              'check_cross_partner_duplicate', 'generate_dedupe_hash', 'mark_expired_leads') loop
        for v_grantee in
            select distinct case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end
            from pg_proc p, lateral aclexplode(p.proacl) a
            where p.oid = v_function and a.grantee <> p.proowner and a.grantee <> 'leadrouter_service'::regrole
        loop
            execute format('revoke all on function %s from %s', v_function, v_grantee);
        end loop;
        if to_regrole('service_role') is not null then
            execute format('grant execute on function %s to service_role', v_function);
        end if;
    end loop;
end
$body$;
