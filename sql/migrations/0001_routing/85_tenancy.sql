-- step: transaction
--
-- Who sees what. People (the role authenticated, whose claims the request carries) read the rows of their workspaces and change the
-- rules of those they administer; nobody else has a right on any table. Row security is forced, so that it holds for the owner too: the
-- functions, which run as the owner, see all rows by a policy of their own and not by an exception. Tables that were there before stay
-- as they are, until somebody says that they be taken over (migrate up --adopt).

-- --- Membership -----------------------------------------------------------------------------------------------------------

-- Read by the owner: a policy on user_workspaces that asked user_workspaces would ask itself.
create function leadrouter.member_workspaces() returns uuid[]
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(array_agg(m.workspace_id), '{}') from public.user_workspaces m where m.user_id = (select leadrouter.caller_id())
$function$;

-- Those of them that the caller administers.
create function leadrouter.admin_workspaces() returns uuid[]
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(array_agg(m.workspace_id), '{}') from public.user_workspaces m
    where m.user_id = (select leadrouter.caller_id()) and m.role in ('admin', 'owner')
$function$;

-- --- Rights and policies --------------------------------------------------------------------------------------------------

-- Lets people read the rows of their workspaces in a table of schema public, and write those of rules and sets where they are
-- administrators. Whether conditions can be used is found out when they are.
create function leadrouter.open_table(p_name text) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    c_member constant text := 'any ((select leadrouter.member_workspaces())::uuid[])';
    c_admin constant text := 'workspace_id = any ((select leadrouter.admin_workspaces())::uuid[])';
begin
    -- A host may let people see some columns only.
    if not has_any_column_privilege('authenticated', format('public.%I', p_name), 'select') then
        execute format('grant select on table public.%I to authenticated', p_name);
    end if;
    execute format('create policy leadrouter_read on public.%I for select to authenticated using (%s)', p_name, case p_name
        when 'leads' then format('source_workspace_id = %1$s or workspace_id = %1$s', c_member)
        when 'lead_routing_logs' then format('source_workspace_id = %1$s or destination_workspace_id = %1$s', c_member)
        when 'workspaces' then format('id = %s', c_member)
        else format('workspace_id = %s', c_member) end);
    if p_name in ('lead_routing_rules', 'lead_routing_sets') then
        execute format('grant insert, update, delete on table public.%I to authenticated', p_name);
        execute format('create policy leadrouter_insert on public.%I for insert to authenticated with check (%s)', p_name, c_admin);
        execute format('create policy leadrouter_update on public.%I for update to authenticated using (%s) with check (%2$s)',
            p_name, c_admin);
        execute format('create policy leadrouter_delete on public.%I for delete to authenticated using (%s)', p_name, c_admin);
    end if;
end
$function$;

-- Tables with rows of workspaces on which row security does not hold as it was made, and why: those of the host that were not taken over,
-- and those on which somebody has changed something since.
create function leadrouter.unprotected_tables() returns table (table_name text, reason text)
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select format('%I.%I', n.nspname, c.relname),
        case when c.relowner <> 'leadrouter_owner'::regrole then format('it belongs to %I', pg_get_userbyid(c.relowner))
            when not c.relrowsecurity then 'row security is off'
            when not c.relforcerowsecurity then 'row security is not forced'
            when b.name is not null then format('the restrictive policy %I binds leadrouter_owner', b.name)
            else 'leadrouter_owner has no policy' end
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join lateral (
        select min(p.polname::text) from pg_policy p, unnest(p.polroles) r
        where p.polrelid = c.oid and not p.polpermissive
          and case when r = 0 then true else pg_has_role('leadrouter_owner', r, 'usage') end) b (name) on true
    where c.relkind in ('r', 'p')
      and case n.nspname
          when 'public' then c.relname in ('leads', 'workspaces', 'user_workspaces', 'lead_routing_rules', 'lead_routing_sets',
              'lead_routing_queue', 'lead_routing_logs', 'lead_dedupe_claims', 'bulk_upload_jobs')
          when 'leadrouter' then c.relname not in ('migrations', 'migration_steps', 'migration_objects', 'adopted_tables', 'adopted_grants')
          else false end
      and not (c.relowner = 'leadrouter_owner'::regrole and c.relrowsecurity and c.relforcerowsecurity and b.name is null
          and exists (select from pg_policy p where p.polrelid = c.oid and p.polpermissive and p.polcmd = '*'
              and 'leadrouter_owner'::regrole = any (p.polroles)))
    order by 1
$function$;

-- --- Tables ---------------------------------------------------------------------------------------------------------------

-- Ours, all of them; of those that may be the host's the ones that we made. They were sealed when they were made, and what was not is by
-- now. Partitions inherit neither rights nor policies: each is sealed by make_log_partitions().
do $body$
declare
    v_table record;
begin
    for v_table in
        select c.oid::regclass as name, c.relname, n.nspname, c.relkind
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'v', 'S') and c.relowner = 'leadrouter_owner'::regrole
          and (n.nspname = 'leadrouter' or exists (select from leadrouter.migration_objects o
              where o.object_type = 'table' and o.object_identity = format('%I.%I', n.nspname, c.relname)))
        order by c.relname
    loop
        if v_table.relkind in ('v', 'S') or v_table.relname in ('migrations', 'migration_steps', 'migration_objects', 'adopted_tables',
            'adopted_grants') then
            perform leadrouter.revoke_all(v_table.name); -- no rows of workspaces
            continue;
        end if;
        perform leadrouter.seal_table(v_table.name);
        if v_table.nspname = 'public' and v_table.relname <> 'lead_dedupe_claims' then -- those are hashes of people: nobody's to read
            perform leadrouter.open_table(v_table.relname);
        end if;
    end loop;
end
$body$;

-- --- Functions ----------------------------------------------------------------------------------------------------------

select leadrouter.seal_functions('{open_table}');
select leadrouter.seal_functions('{unprotected_tables}', 'leadrouter_service');
select leadrouter.seal_functions('{member_workspaces, admin_workspaces}', 'authenticated');
grant usage on schema leadrouter to authenticated;

-- The interface in public is for the service role of a Supabase installation too, with which other programs call it.
do $body$
declare
    v_function regprocedure;
begin
    for v_function in
        select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where to_regrole('service_role') is not null and n.nspname = 'public' and p.proowner = 'leadrouter_owner'::regrole
    loop
        execute format('grant execute on function %s to service_role', v_function);
    end loop;
end
$body$;
