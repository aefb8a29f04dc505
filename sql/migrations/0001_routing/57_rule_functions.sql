-- step: transaction
--
-- What RuleService uses: reading any version of a workspace's rules, changing them, and what became of a lead.

-- The rules and sets of a version (null: the one that is current), those that are not active too; rows as load_rule_sets() has them.
-- No rows: there is no such workspace or version. One row at least otherwise.
create function leadrouter.rule_set_at(p_workspace_id uuid, p_version bigint)
    returns table (rules_version bigint, routing_config text, fallback_is_active boolean, rule_id uuid, rule_name text, priority integer,
        conditions text, destination_workspace_id uuid, destination_is_active boolean, is_active boolean, created_us bigint,
        set_name text, set_value text, now_us bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_version leadrouter.rule_set_versions;
begin
    select s.* into v_version from leadrouter.rule_set_versions s
    where s.workspace_id = p_workspace_id
      and s.version = coalesce(p_version, (select v.version from leadrouter.rule_versions v where v.workspace_id = p_workspace_id));
    if not found then
        return;
    end if;
    return query
    select v_version.version, v_version.routing_config::text, v_version.fallback_is_active, h.rule_id, h.rule_name, h.priority,
        h.conditions::text, h.destination_workspace_id, h.destination_is_active, h.is_active, leadrouter.to_us(h.created_at),
        null::text, null::text, leadrouter.to_us(now())
    from (select 1) one
    left join leadrouter.rule_history h on h.workspace_id = p_workspace_id and h.from_version <= v_version.version
        and (h.to_version is null or h.to_version > v_version.version)
    union all
    select v_version.version, null, null, null, null, null, null, null, null, null, null, h.set_name, x.set_value, null
    from leadrouter.set_history h
    left join lateral unnest(h.set_values) as x (set_value) on true
    where h.workspace_id = p_workspace_id and h.from_version <= v_version.version
      and (h.to_version is null or h.to_version > v_version.version)
    order by 12 nulls first, 6 desc, 11, 4;
end
$function$;

-- The versions of a workspace, the newest first.
create function leadrouter.list_rule_versions(p_workspace_id uuid, p_before bigint, p_limit integer)
    returns table (version bigint, created_us bigint, actor_id uuid, note text, rules_changed integer, sets_changed integer)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    return query
    select s.version, leadrouter.to_us(s.created_at), s.actor_id, s.note,
        (select count(distinct h.rule_id)::integer from leadrouter.rule_history h
         where h.workspace_id = p_workspace_id and (h.from_version = s.version or h.to_version = s.version)),
        (select count(distinct h.set_name)::integer from leadrouter.set_history h
         where h.workspace_id = p_workspace_id and (h.from_version = s.version or h.to_version = s.version))
    from leadrouter.rule_set_versions s
    where s.workspace_id = p_workspace_id and (p_before is null or s.version < p_before)
    order by s.version desc limit p_limit;
end
$function$;

-- Changes a workspace's rules and sets in one version, if it still has the version that the caller has read; all or nothing.
-- p_changes: {"create": [rule], "update": [rule], "delete": [id], "put_sets": [{"name", "values"}], "delete_sets": [name]}; a rule has the
-- names of the table's columns. Conditions have been checked by the caller. p_rules_max: how many rules a workspace may have that says
-- nothing else. Returns the new version. Raises LR404 (no such workspace or rule), LR412 (another version by now), LR422 (a destination
-- that is not there or not active), LR429 (too many rules).
create function leadrouter.change_rules(p_workspace_id uuid, p_expected_version bigint, p_actor_id uuid, p_note text, p_changes jsonb,
        p_rules_max integer default null)
    returns bigint
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_version bigint;
    v_count integer;
    v_bad text;
begin
    select v.version into v_version from leadrouter.rule_versions v where v.workspace_id = p_workspace_id for update;
    if not found then
        raise exception 'no such workspace' using errcode = 'LR404';
    end if;
    if v_version <> p_expected_version then
        raise exception 'the rules are at version % by now', v_version using errcode = 'LR412';
    end if;
    perform set_config('leadrouter.actor_id', coalesce(p_actor_id::text, ''), true);
    perform set_config('leadrouter.note', coalesce(p_note, ''), true);
    perform set_config('leadrouter.rules_max', coalesce(p_rules_max::text, ''), true);
    select string_agg(distinct r.destination_workspace_id::text, ', ') into v_bad
    from jsonb_to_recordset(coalesce(p_changes -> 'create', '[]') || coalesce(p_changes -> 'update', '[]'))
        as r (destination_workspace_id uuid, is_active boolean)
    left join public.workspaces w on w.id = r.destination_workspace_id
    where r.is_active and not coalesce(w.is_active, false);
    if v_bad is not null then
        raise exception 'destination_workspace_id: no active workspace %', v_bad using errcode = 'LR422';
    end if;

    -- Sets first: a rule that is put in may name one that is.
    insert into public.lead_routing_sets (workspace_id, set_name, set_values)
    select p_workspace_id, s.name, s.values
    from jsonb_to_recordset(coalesce(p_changes -> 'put_sets', '[]')) as s (name text, values text[])
    on conflict (workspace_id, set_name) do update set set_values = excluded.set_values;
    delete from public.lead_routing_rules r
    where r.workspace_id = p_workspace_id
      and r.id in (select d.id::uuid from jsonb_array_elements_text(coalesce(p_changes -> 'delete', '[]')) as d (id));
    get diagnostics v_count = row_count;
    if v_count <> jsonb_array_length(coalesce(p_changes -> 'delete', '[]')) then
        raise exception 'no such rule in that workspace' using errcode = 'LR404';
    end if;
    update public.lead_routing_rules r
    set rule_name = u.rule_name, priority = u.priority, conditions = u.conditions, destination_workspace_id = u.destination_workspace_id,
        is_active = u.is_active
    from jsonb_to_recordset(coalesce(p_changes -> 'update', '[]')) as u (id uuid, rule_name text, priority integer, conditions jsonb,
        destination_workspace_id uuid, is_active boolean)
    where r.workspace_id = p_workspace_id and r.id = u.id;
    get diagnostics v_count = row_count;
    if v_count <> jsonb_array_length(coalesce(p_changes -> 'update', '[]')) then
        raise exception 'no such rule in that workspace' using errcode = 'LR404';
    end if;
    -- Each a microsecond younger than the one before it: the order given is that of rules of one priority.
    insert into public.lead_routing_rules (id, workspace_id, rule_name, priority, conditions, destination_workspace_id, is_active,
        created_at)
    select (c.rule ->> 'id')::uuid, p_workspace_id, c.rule ->> 'rule_name', (c.rule ->> 'priority')::integer, c.rule -> 'conditions',
        (c.rule ->> 'destination_workspace_id')::uuid, (c.rule ->> 'is_active')::boolean,
        now() + c.n * interval '1 microsecond'
    from jsonb_array_elements(coalesce(p_changes -> 'create', '[]')) with ordinality as c (rule, n);
    delete from public.lead_routing_sets s
    where s.workspace_id = p_workspace_id
      and s.set_name in (select d.name from jsonb_array_elements_text(coalesce(p_changes -> 'delete_sets', '[]')) as d (name));
    get diagnostics v_count = row_count;
    if v_count <> jsonb_array_length(coalesce(p_changes -> 'delete_sets', '[]')) then
        raise exception 'no such set in that workspace' using errcode = 'LR404';
    end if;
    return (select v.version from leadrouter.rule_versions v where v.workspace_id = p_workspace_id);
end
$function$;

-- The log of a lead, the oldest first, for a workspace that is its source or its owner.
create function leadrouter.lead_history(p_lead_id uuid, p_workspace_id uuid)
    returns table (id uuid, source_workspace_id uuid, destination_workspace_id uuid, matched_rule_id uuid, rule_name text,
        routing_result text, reason text, duplicate_lead_id uuid, attempt_number integer, actor_id uuid, rules_version bigint, facts text,
        created_us bigint, next_retry_us bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
#variable_conflict use_column
begin
    if not exists (select from public.leads l
                   where l.id = p_lead_id and (l.source_workspace_id = p_workspace_id or l.workspace_id = p_workspace_id)) then
        raise exception 'no such lead in that workspace' using errcode = 'LR404';
    end if;
    return query
    select g.id, g.source_workspace_id, g.destination_workspace_id, g.matched_rule_id, g.routing_metadata ->> 'rule_name',
        g.routing_result, coalesce(g.routing_metadata ->> 'reason', g.error_message, ''),
        (g.routing_metadata ->> 'duplicate_lead_id')::uuid,
        g.attempt_number, g.actor_id, (g.routing_metadata ->> 'rules_version')::bigint, (g.routing_metadata -> 'facts')::text,
        leadrouter.to_us(g.created_at), (g.routing_metadata ->> 'next_retry_us')::bigint
    from public.lead_routing_logs g
    where g.lead_id = p_lead_id
    order by g.created_at, g.attempt_number;
end
$function$;

-- Leads as rules see them, and what stands in the way of routing them; for tests of rules, which change nothing. In the order asked for;
-- no row for a lead that is not in that source workspace.
create function leadrouter.leads_for_test(p_lead_ids uuid[], p_source_workspace_id uuid)
    returns table (ord integer, email text, phone text, first_name text, last_name text, company_name text, company_industry text,
        company_size text, company_revenue text, country text, state text, city text, postal_code text, source text, external_id text,
        attributes text, created_us bigint, now_us bigint, routing_status text, duplicate_lead_id uuid, is_held boolean)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
#variable_conflict use_column
begin
    return query
    select r.ord::integer, l.email::text, l.phone::text, l.first_name::text, l.last_name::text, l.company_name::text,
        l.company_industry::text, l.company_size::text, l.company_revenue::text, l.country::text, l.state::text, l.city::text,
        l.postal_code::text, l.source::text, l.external_id::text, l.attributes::text, leadrouter.to_us(l.created_at),
        leadrouter.to_us(now()), l.routing_status::text, c.lead_id, l.routing_status = 'routing'
    from unnest(p_lead_ids) with ordinality as r (lead_id, ord)
    cross join lateral (
        select * from public.leads x
        where x.id = r.lead_id and coalesce(x.source_workspace_id = p_source_workspace_id, false) offset 0) l
    left join lateral (
        select x.lead_id from public.lead_dedupe_claims x
        where x.dedupe_hash = l.dedupe_hash and x.lead_id <> l.id and x.expires_at > now() offset 0) c on true
    order by r.ord;
end
$function$;

-- For each of some workspaces the shortest way by active rules back to p_workspace_id, of at most 3 rules, one row a rule in the order
-- of the way; none where there is none. Of several rules between the same two workspaces the one that is asked first.
create function leadrouter.rule_ways_back(p_workspace_id uuid, p_from uuid[])
    returns table (from_workspace_id uuid, step integer, rule_id uuid, rule_name text, conditions text)
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    with recursive step as (
        select distinct on (r.workspace_id, r.destination_workspace_id) r.workspace_id, r.destination_workspace_id, r.id
        from public.lead_routing_rules r
        join public.workspaces d on d.id = r.destination_workspace_id and d.is_active
        where r.is_active and r.workspace_id <> r.destination_workspace_id
        order by r.workspace_id, r.destination_workspace_id, r.priority desc, r.created_at, r.id
    ), way (from_workspace_id, at, seen, rule_ids) as (
        select f.id, f.id, array[f.id], '{}'::uuid[] from (select distinct unnest(p_from) as id) f where f.id <> p_workspace_id
        union all
        select w.from_workspace_id, s.destination_workspace_id, w.seen || s.destination_workspace_id, w.rule_ids || s.id
        from way w join step s on s.workspace_id = w.at and s.destination_workspace_id <> all (w.seen)
        where w.at <> p_workspace_id and cardinality(w.rule_ids) < 3
    ), shortest as (
        select distinct on (w.from_workspace_id) w.from_workspace_id, w.rule_ids
        from way w where w.at = p_workspace_id order by w.from_workspace_id, cardinality(w.rule_ids)
    )
    select s.from_workspace_id, x.n::integer, r.id, r.rule_name, r.conditions::text
    from shortest s, unnest(s.rule_ids) with ordinality as x (rule_id, n)
    join public.lead_routing_rules r on r.id = x.rule_id
    order by s.from_workspace_id, x.n
$function$;

select leadrouter.seal_functions('{
    rule_set_at, list_rule_versions, change_rules, lead_history, leads_for_test, rule_ways_back}', 'leadrouter_service');
