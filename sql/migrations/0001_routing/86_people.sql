-- step: transaction
--
-- What the server does for people. Whether somebody may is asked in the transaction of the call itself, by its first statement; what
-- somebody reads is read as authenticated, under the policies, by functions that run with the rights of whoever calls them.

-- --- Who may --------------------------------------------------------------------------------------------------------------

-- Returns when somebody is a member of a workspace, or administers it if that is what is asked for. Raises LR401 for who is no member, and
-- for a workspace that does not exist; LR430 for a member who does not administer it. With p_is_held the membership cannot end before this
-- transaction does: what takes it away waits, and what was taken away is seen. A membership that somebody is changing is not waited for
-- for long (55P03).
create function leadrouter.require_member(p_user_id uuid, p_workspace_id uuid, p_is_admin boolean, p_is_held boolean) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set lock_timeout = '200ms'
as $function$
declare
    v_role text;
begin
    if p_is_held then
        select m.role into v_role from public.user_workspaces m
        where m.user_id = p_user_id and m.workspace_id = p_workspace_id
        order by m.role in ('admin', 'owner') desc limit 1 for share;
    else
        select m.role into v_role from public.user_workspaces m
        where m.user_id = p_user_id and m.workspace_id = p_workspace_id
        order by m.role in ('admin', 'owner') desc limit 1;
    end if;
    if not found then
        raise exception 'no such workspace, or not a member' using errcode = 'LR401';
    end if;
    if p_is_admin and v_role not in ('admin', 'owner') then
        raise exception 'a member who does not administer the workspace' using errcode = 'LR430';
    end if;
end
$function$;

-- The same for leads of a batch, each asked for by somebody (null: by a service). Gives the workspaces back, null in place of those that
-- must not be looked at, and why: 0 all is well, 1 no member, 2 the membership is being changed at this moment, 3 no administrator. Waits
-- for nobody.
create function leadrouter.hold_members(p_user_ids uuid[], p_are_admins boolean[], p_workspace_ids uuid[],
    out workspace_ids uuid[], out memberships smallint[])
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
declare
    v_users uuid[];
    v_workspaces uuid[];
    v_admins boolean[];
begin
    select coalesce(array_agg(h.user_id), '{}'), coalesce(array_agg(h.workspace_id), '{}'), coalesce(array_agg(h.is_admin), '{}')
    into v_users, v_workspaces, v_admins
    from (
        select m.user_id, m.workspace_id, m.role in ('admin', 'owner') as is_admin
        from (select distinct u.user_id, u.workspace_id from unnest(p_user_ids, p_workspace_ids) as u (user_id, workspace_id)
              where u.user_id is not null order by 1, 2) a
        cross join lateral (
            select x.user_id, x.workspace_id, x.role from public.user_workspaces x
            where x.user_id = a.user_id and x.workspace_id = a.workspace_id for share skip locked) m) h;
    select array_agg(case when j.membership = 0 then j.workspace_id end order by j.ord), array_agg(j.membership order by j.ord)
    into workspace_ids, memberships
    from (
        select u.ord, u.workspace_id, case
            when u.user_id is null or h.is_admin or (h.is_admin is not null and not u.is_admin) then 0
            when h.is_admin is not null then 3
            when exists (select from public.user_workspaces x where x.user_id = u.user_id and x.workspace_id = u.workspace_id) then 2
            else 1 end::smallint as membership
        from unnest(p_user_ids, p_are_admins, p_workspace_ids) with ordinality as u (user_id, is_admin, workspace_id, ord)
        left join (
            select g.user_id, g.workspace_id, bool_or(g.is_admin) as is_admin
            from unnest(v_users, v_workspaces, v_admins) as g (user_id, workspace_id, is_admin) group by 1, 2) h
            on h.user_id = u.user_id and h.workspace_id = u.workspace_id) j;
end
$function$;

-- --- What people read -----------------------------------------------------------------------------------------------------

-- Versions of rules: for members of the workspace.
do $body$
declare
    v_table text;
begin
    foreach v_table in array array['rule_versions', 'rule_set_versions', 'rule_history', 'set_history'] loop
        execute format('grant select on table leadrouter.%I to authenticated', v_table);
        execute format('create policy %s on leadrouter.%I for select to authenticated'
            ' using (workspace_id = any ((select leadrouter.member_workspaces())::uuid[]))', v_table || '_read', v_table);
    end loop;
end
$body$;

-- Each function by which the server reads for services, once more for people: the same text under the name own_..., with the rights of
-- whoever calls it and so under the policies.
do $body$
declare
    v_function regprocedure;
    v_name text;
    v_own regprocedure;
begin
    for v_function, v_name in select p.oid::regprocedure, p.proname from pg_proc p
        where p.pronamespace = 'leadrouter'::regnamespace
          and p.proname in ('get_lead', 'list_leads', 'health_counts', 'read_workspaces', 'list_members', 'rule_set_at',
              'list_rule_versions', 'lead_history', 'rule_ways_back', 'list_retries', 'read_imports') loop
        execute replace(replace(pg_get_functiondef(v_function), 'FUNCTION leadrouter.' || v_name || '(',
            'FUNCTION leadrouter.own_' || v_name || '('), ' SECURITY DEFINER', '');
        v_own := replace(v_function::text, 'leadrouter.' || v_name || '(', 'leadrouter.own_' || v_name || '(')::regprocedure;
        if (select p.prosecdef from pg_proc p where p.oid = v_own) then
            raise exception '% runs with the rights of its owner', v_own;
        end if;
    end loop;
end
$body$;

-- The lead that holds the identity of one of the caller's: the claims themselves are nobody's to read.
create function leadrouter.own_claim_holder(p_lead_id uuid) returns uuid
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select c.lead_id from public.leads l
    join public.lead_dedupe_claims c on c.dedupe_hash = l.dedupe_hash and c.lead_id <> l.id and c.expires_at > now()
    where l.id = p_lead_id and l.source_workspace_id = any ((select leadrouter.member_workspaces())::uuid[])
$function$;

-- leads_for_test() for people.
create function leadrouter.own_leads_for_test(p_lead_ids uuid[], p_source_workspace_id uuid)
    returns table (ord integer, email text, phone text, first_name text, last_name text, company_name text, company_industry text,
        company_size text, company_revenue text, country text, state text, city text, postal_code text, source text, external_id text,
        attributes text, created_us bigint, now_us bigint, routing_status text, duplicate_lead_id uuid, is_held boolean)
    language sql stable
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
    select r.ord::integer, l.email::text, l.phone::text, l.first_name::text, l.last_name::text, l.company_name::text,
        l.company_industry::text, l.company_size::text, l.company_revenue::text, l.country::text, l.state::text, l.city::text,
        l.postal_code::text, l.source::text, l.external_id::text, l.attributes::text, leadrouter.to_us(l.created_at),
        leadrouter.to_us(now()), l.routing_status::text, leadrouter.own_claim_holder(l.id), l.routing_status = 'routing'
    from unnest(p_lead_ids) with ordinality as r (lead_id, ord)
    join public.leads l on l.id = r.lead_id and l.source_workspace_id = p_source_workspace_id
    order by r.ord
$function$;

-- What is new here belongs to the owner, and may be called by those it is for and nobody else.
do $body$
declare
    v_function record;
    v_grantee text;
begin
    for v_function in select p.oid, p.oid::regprocedure as name, p.proname from pg_proc p
        where p.pronamespace = 'leadrouter'::regnamespace
          and (p.proname in ('require_member', 'hold_members') or starts_with(p.proname, 'own_')) loop
        execute format('alter function %s owner to leadrouter_owner', v_function.name);
        execute format('revoke all on function %s from public', v_function.name); -- when it has no list of rights yet
        for v_grantee in select distinct quote_ident(pg_get_userbyid(a.grantee)) from pg_proc p, lateral aclexplode(p.proacl) a
            where p.oid = v_function.oid and a.grantee not in (0, p.proowner) loop
            execute format('revoke all on function %s from %s', v_function.name, v_grantee);
        end loop;
        execute format('grant execute on function %s to %I', v_function.name,
            case when starts_with(v_function.proname, 'own_') then 'authenticated' else 'leadrouter_service' end);
    end loop;
    grant execute on function leadrouter.to_us(timestamptz), leadrouter.from_us(bigint), leadrouter.log_partition_days_ahead()
        to authenticated;
end
$body$;
