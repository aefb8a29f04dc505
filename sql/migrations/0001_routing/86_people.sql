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
-- for nobody. One pass when all may, which is the rule; why not is found out for the whole batch when somebody may not.
create function leadrouter.hold_members(p_user_ids uuid[], p_are_admins boolean[], p_workspace_ids uuid[],
    out workspace_ids uuid[], out memberships smallint[])
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
declare
    v_admins boolean[]; -- null: not held
    v_all_may boolean;
begin
    select array_agg(m.is_admin order by u.ord),
        bool_and(u.user_id is null or (m.is_admin is not null and (m.is_admin or not u.is_admin)))
    into v_admins, v_all_may
    from unnest(p_user_ids, p_are_admins, p_workspace_ids) with ordinality as u (user_id, is_admin, workspace_id, ord)
    left join lateral (
        select bool_or(h.role in ('admin', 'owner')) as is_admin from ( -- more than one row only where the host's table allows it
            select x.role from public.user_workspaces x
            where x.user_id = u.user_id and x.workspace_id = u.workspace_id for share skip locked) h) m on true;
    if v_all_may then
        workspace_ids := p_workspace_ids;
        memberships := array_fill(0::smallint, array[cardinality(p_workspace_ids)]);
        return;
    end if;
    select array_agg(case when j.membership = 0 then j.workspace_id end order by j.ord), array_agg(j.membership order by j.ord)
    into workspace_ids, memberships
    from (
        select u.ord, u.workspace_id, case
            when u.user_id is null or u.has_admin or (u.has_admin is not null and not u.is_admin) then 0
            when u.has_admin is not null then 3
            when exists (select from public.user_workspaces x where x.user_id = u.user_id and x.workspace_id = u.workspace_id) then 2
            else 1 end::smallint as membership
        from unnest(p_user_ids, p_are_admins, p_workspace_ids, v_admins) with ordinality
            as u (user_id, is_admin, workspace_id, has_admin, ord)) j;
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
    cross join lateral (
        select * from public.leads x
        where x.id = r.lead_id and coalesce(x.source_workspace_id = p_source_workspace_id, false) offset 0) l
    order by r.ord
$function$;

-- read_rejected_rows() for people: batches are nobody's to read.
create function leadrouter.own_read_rejected_rows(p_workspace_id uuid, p_import_id uuid, p_after_row bigint, p_limit integer)
    returns table (row_number bigint, field text, reason text)
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select r.row_number, r.field, r.reason
    from leadrouter.read_rejected_rows(p_workspace_id, p_import_id, p_after_row, p_limit) r
    where p_workspace_id = any ((select leadrouter.member_workspaces())::uuid[])
$function$;

select leadrouter.seal_functions('{require_member, hold_members}', 'leadrouter_service');
select leadrouter.seal_functions(array_agg(distinct p.proname::text), 'authenticated')
from pg_proc p where p.pronamespace = 'leadrouter'::regnamespace and starts_with(p.proname, 'own_');
grant execute on function leadrouter.to_us(timestamptz), leadrouter.from_us(bigint), leadrouter.log_partition_days_ahead()
    to authenticated;
