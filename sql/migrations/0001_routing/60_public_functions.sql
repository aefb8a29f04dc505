-- step: transaction
--
-- The database interface that other systems call by parameter name: one lead at a time, through the same decide().

-- Takes a lead that is undecided and that nobody holds, and never waits. False when it is not to be had; one past its time to live is
-- marked expired instead.
create function public.acquire_routing_lock(p_lead_id uuid, p_lock_owner uuid) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
declare
    v_lead record;
begin
    if p_lock_owner is null then
        raise exception 'p_lock_owner: must not be null' using errcode = '22004';
    end if;
    select l.id, l.source_workspace_id, l.lead_expires_at <= now() as is_expired into v_lead
    from public.leads l where l.id = p_lead_id and l.routing_status in ('pending', 'failed')
    for no key update skip locked;
    if not found then
        return false;
    end if;
    if v_lead.is_expired then
        perform leadrouter.decide_one(v_lead.id, v_lead.source_workspace_id, p_lock_owner, 4::smallint, null, null,
            'its time to live has passed', null, 3, null);
        return false;
    end if;
    update public.leads l set routing_status = 'routing', routing_locked_by = p_lock_owner, routing_locked_at = now(),
        routing_started_at = now(), updated_at = now()
    where l.id = p_lead_id;
    return true;
end
$function$;

-- decide() for one lead, with the policy of its source workspace.
create function leadrouter.decide_one(p_lead_id uuid, p_source_workspace_id uuid, p_lock_owner uuid, p_verdict smallint,
    p_destination uuid, p_rule_id uuid, p_reason text, p_error_class text, p_max_attempts integer, p_actor_id uuid) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
declare
    v_lead record;
begin
    select l.ctid as place, q.ctid as queue_place, l.dedupe_hash, leadrouter.to_us(l.lead_expires_at) as expires_us,
        coalesce(v.version, 0) as version, r.rule_name,
        coalesce(w.routing_config ->> 'dedupe_scope', '') = 'global' as is_global,
        coalesce((w.routing_config ->> 'dedupe_days')::integer, 90) as days
    into v_lead
    from public.leads l
    left join lateral (select x.routing_config from public.workspaces x where x.id = l.source_workspace_id offset 0) w on true
    left join lateral (select x.version from leadrouter.rule_versions x where x.workspace_id = l.source_workspace_id offset 0) v on true
    left join public.lead_routing_rules r on r.id = p_rule_id
    left join lateral (
        select x.ctid from public.lead_routing_queue x where x.lead_id = l.id and x.processed_at is null offset 0) q on true
    where l.id = p_lead_id;
    perform from leadrouter.decide(array[p_lead_id], array[p_source_workspace_id], array[p_lock_owner], array[p_verdict],
        array[p_destination], array[p_rule_id], array[v_lead.rule_name], array[v_lead.version], array[null]::uuid[], array[p_reason],
        array[p_error_class], array[p_max_attempts], array[p_actor_id], array[v_lead.is_global], array[v_lead.days],
        array[v_lead.dedupe_hash], array[coalesce(v_lead.expires_us, 9223372036854775807)], array[null]::text[], array[v_lead.place],
        array[v_lead.queue_place]);
    return found;
end
$function$;

-- The lead that this owner holds, locked; NULL when it holds none.
create function leadrouter.held_source_workspace(p_lead_id uuid, p_lock_owner uuid) returns uuid
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
begin
    return (select l.source_workspace_id from public.leads l
        where l.id = p_lead_id and l.routing_status = 'routing' and l.routing_locked_by = p_lock_owner
        for no key update);
end
$function$;

-- Gives a lead that p_lock_owner holds to a workspace, or records that it is a duplicate. False when p_lock_owner does not hold it (any
-- more).
create function public.complete_routing(p_lead_id uuid, p_destination_workspace_id uuid, p_matched_rule_id uuid, p_lock_owner uuid)
    returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_source uuid := leadrouter.held_source_workspace(p_lead_id, p_lock_owner);
begin
    if v_source is null then
        return false;
    end if;
    if not exists (select from public.workspaces w where w.id = p_destination_workspace_id) then
        raise exception 'p_destination_workspace_id: no such workspace' using errcode = 'LR404';
    end if;
    return leadrouter.decide_one(p_lead_id, v_source, p_lock_owner, 1::smallint, p_destination_workspace_id, p_matched_rule_id,
        'completed by its worker', null, 3, null);
end
$function$;

-- Records that an attempt failed: the lead waits for the next one, or has failed for good when none is left. False when p_lock_owner does
-- not hold it (any more).
create function public.fail_routing(p_lead_id uuid, p_error_message text, p_lock_owner uuid, p_max_attempts integer default 3)
    returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_source uuid;
begin
    if p_max_attempts is null or p_max_attempts not between 1 and 20 then
        raise exception 'p_max_attempts: must be between 1 and 20' using errcode = '22023';
    end if;
    v_source := leadrouter.held_source_workspace(p_lead_id, p_lock_owner);
    return v_source is not null and leadrouter.decide_one(p_lead_id, v_source, p_lock_owner, 3::smallint, null, null,
        coalesce(nullif(left(p_error_message, 500), ''), 'failed by its worker'), 'worker', p_max_attempts, null);
end
$function$;

-- Locks older than five minutes: the attempt counts as failed, the lead is queued and due at once, or failed when no attempts are left.
-- At most 1,000 leads a call; returns how many.
create function public.release_stale_routing_locks() returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return leadrouter.release_stale_locks(300, 1000);
end
$function$;

-- Whoever holds the identity for another workspace than this one; no row when nobody does.
create function public.check_cross_partner_duplicate(p_dedupe_hash text, p_source_workspace_id uuid)
    returns table (duplicate_lead_id uuid, duplicate_workspace_id uuid, created_at timestamptz)
    language plpgsql stable security definer rows 1
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
begin
    return query
    select c.lead_id, c.workspace_id, c.claimed_at from public.lead_dedupe_claims c
    where c.dedupe_hash = p_dedupe_hash and c.workspace_id <> p_source_workspace_id and c.expires_at > now();
end
$function$;

-- Pending and failed leads past their time to live. At most 1,000 a call, never one that somebody holds; returns how many.
create function public.mark_expired_leads() returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return leadrouter.expire_leads(null, 1000);
end
$function$;

select leadrouter.seal_functions('{decide_one, held_source_workspace}');
select leadrouter.seal_functions('{
    public.acquire_routing_lock, public.complete_routing, public.fail_routing, public.release_stale_routing_locks,
    public.check_cross_partner_duplicate, public.mark_expired_leads}', 'leadrouter_service');
