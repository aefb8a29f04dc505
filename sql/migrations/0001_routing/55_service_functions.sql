-- step: transaction
--
-- What the server's other calls use: taking leads in, looking them up, counting.

-- Inserts leads that are not there yet by their external ids; one row each, in order. With p_request_id the same call again, within a day,
-- gives what the first one gave, and LR409 when its content is another.
create function leadrouter.create_leads(p_workspace_id uuid, p_leads jsonb, p_request_id uuid, p_content_hash bytea)
    returns table (ord integer, lead_id uuid, created boolean, replayed boolean)
    language plpgsql security definer rows 1000
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
#variable_conflict use_column
declare
    v_request leadrouter.create_requests;
    v_ids uuid[];
    v_created boolean[];
    v_most integer;
begin
    select leadrouter.limit_of(w.routing_config, 'leads_per_request') into v_most
    from public.workspaces w where w.id = p_workspace_id;
    if not found then
        raise exception 'no such workspace' using errcode = 'LR404';
    end if;
    if p_request_id is not null then
        -- Calls with the same id queue here: the second one finds what the first has written.
        perform pg_advisory_xact_lock(hashtextextended(p_workspace_id::text || p_request_id::text, 0));
        select * into v_request from leadrouter.create_requests r
        where r.workspace_id = p_workspace_id and r.request_id = p_request_id and r.created_at > now() - interval '24 hours';
        if found then
            if v_request.content_hash <> p_content_hash then
                raise exception 'request_id was used within 24 hours with other content' using errcode = 'LR409';
            end if;
            return query select x.n::integer, x.id, x.is_new, true
                from unnest(v_request.lead_ids, v_request.created) with ordinality as x (id, is_new, n);
            return;
        end if;
    end if;

    if jsonb_array_length(p_leads) > v_most then
        raise exception 'limits.leads_per_request: the workspace may send % leads in a request', v_most using errcode = 'LR429';
    end if;

    -- In order of external_id, so that two calls with the same leads do not wait for each other crosswise.
    with given as materialized (
        select g.n, gen_random_uuid() as new_id, nullif(g.lead ->> 'external_id', '') as external_id, g.lead
        from jsonb_array_elements(p_leads) with ordinality as g (lead, n)
    ), fresh as (
        insert into public.leads (id, workspace_id, source_workspace_id, external_id, email, phone, first_name, last_name, company_name,
            company_industry, company_size, company_revenue, country, state, city, postal_code, source, attributes)
        select g.new_id, p_workspace_id, p_workspace_id, g.external_id, g.lead ->> 'email', g.lead ->> 'phone', g.lead ->> 'first_name',
            g.lead ->> 'last_name', g.lead ->> 'company_name', g.lead ->> 'company_industry', g.lead ->> 'company_size',
            g.lead ->> 'company_revenue', g.lead ->> 'country', g.lead ->> 'state', g.lead ->> 'city', g.lead ->> 'postal_code',
            g.lead ->> 'source', coalesce(g.lead -> 'attributes', '{}')
        from given g
        order by g.external_id, g.n
        on conflict (source_workspace_id, external_id) where external_id is not null do nothing
        returning id
    )
    select coalesce(array_agg(case when f.id is not null then g.new_id end order by g.n), '{}'),
        coalesce(array_agg(f.id is not null order by g.n), '{}')
    into v_ids, v_created
    from given g left join fresh f on f.id = g.new_id;

    -- A later statement, with a newer snapshot: leads that were there before, or came in meanwhile, or stand twice in this call.
    select coalesce(array_agg(coalesce(v_ids[g.n], l.id) order by g.n), '{}') into v_ids
    from jsonb_array_elements(p_leads) with ordinality as g (lead, n)
    left join lateral (
        select x.id from public.leads x
        where v_ids[g.n] is null and x.source_workspace_id = p_workspace_id and x.external_id = g.lead ->> 'external_id'
        offset 0) l on true;
    if array_position(v_ids, null) is not null then
        raise exception 'a lead with the same external_id was removed meanwhile' using errcode = '40001';
    end if;

    if p_request_id is not null then
        delete from leadrouter.create_requests r where r.ctid = any (array(
            select o.ctid from leadrouter.create_requests o where o.created_at <= now() - interval '24 hours' limit 100
            for update skip locked));
        insert into leadrouter.create_requests (workspace_id, request_id, content_hash, lead_ids, created)
        values (p_workspace_id, p_request_id, p_content_hash, v_ids, v_created)
        on conflict (workspace_id, request_id) do update
            set content_hash = excluded.content_hash, lead_ids = excluded.lead_ids, created = excluded.created, created_at = now();
    end if;
    return query select x.n::integer, x.id, x.is_new, false
        from unnest(v_ids, v_created) with ordinality as x (id, is_new, n);
end
$function$;

-- What workspaces may ask of a server, one row each in no order; null: what the server says. A workspace that does not exist has no limits
-- of its own.
create function leadrouter.workspace_limits(p_workspace_ids uuid[])
    returns table (workspace_id uuid, calls_per_second integer, calls_burst integer, calls_in_flight integer, imports integer)
    language sql stable security definer rows 10
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
    select x.id, leadrouter.limit_of(l.routing_config, 'calls_per_second'), leadrouter.limit_of(l.routing_config, 'calls_burst'),
        leadrouter.limit_of(l.routing_config, 'calls_in_flight'), leadrouter.limit_of(l.routing_config, 'imports')
    from unnest(p_workspace_ids) as x (id)
    left join lateral (select w.routing_config from public.workspaces w where w.id = x.id) l on true
$function$;

-- A lead for its source or its owner; no row for anybody else.
create function leadrouter.get_lead(p_lead_id uuid, p_workspace_id uuid)
    returns table (id uuid, workspace_id uuid, source_workspace_id uuid, external_id text, email text, phone text, first_name text,
        last_name text, company_name text, company_industry text, company_size text, company_revenue text, country text, state text,
        city text, postal_code text, source text, attributes text, routing_status text, decided_outcome text, matched_rule_id uuid,
        duplicate_lead_id uuid, decision_id uuid, routing_attempts integer, routing_error text, created_us bigint, decided_us bigint,
        lead_expires_us bigint, next_retry_us bigint, erased_us bigint)
    language plpgsql stable security definer rows 1
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
begin
    return query
    select l.id, l.workspace_id, l.source_workspace_id, l.external_id::text, l.email::text, l.phone::text, l.first_name::text,
        l.last_name::text, l.company_name::text, l.company_industry::text, l.company_size::text, l.company_revenue::text,
        l.country::text, l.state::text, l.city::text, l.postal_code::text, l.source::text, l.attributes::text,
        case when l.routing_status in ('pending', 'failed') and l.lead_expires_at <= now() then 'expired' else l.routing_status::text end,
        l.decided_outcome, l.matched_rule_id, l.duplicate_lead_id, l.decision_id, l.routing_attempts, l.routing_error,
        leadrouter.to_us(l.created_at), leadrouter.to_us(l.routing_completed_at), leadrouter.to_us(l.lead_expires_at),
        leadrouter.to_us(q.next_retry_at), leadrouter.to_us(l.erased_at)
    from public.leads l
    left join lateral (
        select x.next_retry_at from public.lead_routing_queue x where x.lead_id = l.id and x.processed_at is null offset 0) q on true
    where l.id = p_lead_id and (l.source_workspace_id = p_workspace_id or l.workspace_id = p_workspace_id);
end
$function$;

-- Leads that came in through a workspace, or that it got from others, the newest first, from behind (p_after_us, p_after_id) on. At most
-- p_scan leads are looked at for the filters (null: not asked for). When that bound ended it, the last row has no id and says where.
create function leadrouter.list_leads(p_workspace_id uuid, p_is_received boolean, p_status text, p_source text, p_external_id text,
        p_email text, p_from_us bigint, p_before_us bigint, p_after_us bigint, p_after_id uuid, p_limit integer, p_scan integer)
    returns table (id uuid, workspace_id uuid, source_workspace_id uuid, external_id text, email text, phone text, first_name text,
        last_name text, company_name text, company_industry text, company_size text, company_revenue text, country text, state text,
        city text, postal_code text, source text, attributes text, routing_status text, decided_outcome text, matched_rule_id uuid,
        duplicate_lead_id uuid, decision_id uuid, routing_attempts integer, routing_error text, created_us bigint, decided_us bigint,
        lead_expires_us bigint, next_retry_us bigint, erased_us bigint, place_us bigint, place_id uuid)
    language plpgsql stable security definer rows 100
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_sort = off
    set plan_cache_mode = force_generic_plan
as $function$
#variable_conflict use_column
declare
    v_from timestamptz := coalesce(leadrouter.from_us(p_from_us), '-infinity');
    v_before timestamptz := coalesce(leadrouter.from_us(p_before_us), 'infinity');
    v_after timestamptz := coalesce(leadrouter.from_us(p_after_us), 'infinity');
    v_after_id uuid := coalesce(p_after_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    v_ids uuid[] := '{}';
    v_seen integer := 0;
    v_lead record;
begin
    -- Row by row: the bound is on what is looked at, and most of the time little is. One of the two halves is empty and not begun.
    for v_lead in
        (select l.id, l.created_at, l.source, l.external_id, l.email, case
             when l.routing_status in ('pending', 'failed') and l.lead_expires_at <= now() then 'expired'
             else l.routing_status::text end as status
         from public.leads l
         where not p_is_received and l.source_workspace_id = p_workspace_id and l.created_at >= v_from and l.created_at < v_before
           and (l.created_at, l.id) < (v_after, v_after_id)
         order by l.created_at desc, l.id desc limit p_scan)
        union all
        (select l.id, l.created_at, l.source, l.external_id, l.email, case
             when l.routing_status in ('pending', 'failed') and l.lead_expires_at <= now() then 'expired'
             else l.routing_status::text end
         from public.leads l
         where p_is_received and l.workspace_id = p_workspace_id and l.workspace_id <> l.source_workspace_id
           and l.created_at >= v_from and l.created_at < v_before and (l.created_at, l.id) < (v_after, v_after_id)
         order by l.created_at desc, l.id desc limit p_scan)
    loop
        v_seen := v_seen + 1;
        if (p_status is null or v_lead.status = p_status) and (p_source is null or v_lead.source = p_source)
           and (p_external_id is null or v_lead.external_id = p_external_id)
           and (p_email is null or lower(v_lead.email) = lower(p_email)) then
            v_ids := v_ids || v_lead.id;
            exit when cardinality(v_ids) = p_limit;
        end if;
    end loop;
    return query
    select l.id, l.workspace_id, l.source_workspace_id, l.external_id::text, l.email::text, l.phone::text, l.first_name::text,
        l.last_name::text, l.company_name::text, l.company_industry::text, l.company_size::text, l.company_revenue::text,
        l.country::text, l.state::text, l.city::text, l.postal_code::text, l.source::text, l.attributes::text,
        case when l.routing_status in ('pending', 'failed') and l.lead_expires_at <= now() then 'expired' else l.routing_status::text end,
        l.decided_outcome, l.matched_rule_id, l.duplicate_lead_id, l.decision_id, l.routing_attempts, l.routing_error,
        leadrouter.to_us(l.created_at), leadrouter.to_us(l.routing_completed_at), leadrouter.to_us(l.lead_expires_at),
        leadrouter.to_us(q.next_retry_at), leadrouter.to_us(l.erased_at), leadrouter.to_us(l.created_at), l.id
    from unnest(v_ids) with ordinality as x (lead_id, n)
    cross join lateral (select * from public.leads y where y.id = x.lead_id offset 0) l
    left join lateral (
        select * from public.lead_routing_queue y where y.lead_id = l.id and y.processed_at is null offset 0) q on true
    order by x.n;
    if v_seen = p_scan and cardinality(v_ids) < p_limit then
        place_us := leadrouter.to_us(v_lead.created_at);
        place_id := v_lead.id;
        return next;
    end if;
end
$function$;

-- NULL counts all workspaces. By partial indexes: decided leads cost nothing, and of open queue rows those that are neither due nor held
-- an entry of an index.
create function leadrouter.health_counts(p_workspace_id uuid)
    returns table (pending bigint, routing bigint, failed bigint, retry_queue_depth bigint, retries_due bigint, stale_locks bigint,
        oldest_pending_age_seconds bigint, counted_us bigint, held bigint, oldest_due_age_seconds bigint,
        due_attempt_mean double precision, due_attempt_max integer, stale_mean_seconds double precision,
        stale_max_seconds double precision)
    language plpgsql stable security definer rows 1
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
begin
    return query
    select l.pending, l.routing, l.failed, q.depth, d.due, l.stale, l.oldest, leadrouter.to_us(now()), h.held, d.oldest,
        d.attempt_mean, d.attempt_max, l.stale_mean, l.stale_max
    from (
        select count(*) filter (where x.routing_status = 'pending') as pending,
            count(*) filter (where x.routing_status = 'routing') as routing,
            count(*) filter (where x.routing_status = 'failed') as failed,
            count(*) filter (where s.is_stale) as stale,
            coalesce(floor(extract(epoch from now() - min(x.created_at) filter (where x.routing_status = 'pending'))), 0)::bigint as oldest,
            coalesce(avg(extract(epoch from now() - x.routing_locked_at)) filter (where s.is_stale), 0)::float8 as stale_mean,
            coalesce(max(extract(epoch from now() - x.routing_locked_at)) filter (where s.is_stale), 0)::float8 as stale_max
        from public.leads x
        cross join lateral (select x.routing_status = 'routing' and x.routing_locked_at < now() - interval '5 minutes' as is_stale) s
        where x.routing_status in ('pending', 'routing', 'failed')
          and x.source_workspace_id >= '00000000-0000-0000-0000-000000000000' -- all, by the index on it
          and (p_workspace_id is null or x.source_workspace_id = p_workspace_id)
          and (x.routing_status = 'routing' or x.lead_expires_at > now())) l,
        (select count(*) as depth from public.lead_routing_queue x
         where x.processed_at is null and x.workspace_id >= '00000000-0000-0000-0000-000000000000'
           and (p_workspace_id is null or x.workspace_id = p_workspace_id)) q,
        (select count(*) as held from public.lead_routing_queue x
         left join leadrouter.rule_versions v on v.workspace_id = x.workspace_id
         where x.processed_at is null and x.error_class = 'held' and coalesce(v.version, 0) <= x.rules_version
           and x.workspace_id >= '00000000-0000-0000-0000-000000000000'
           and (p_workspace_id is null or x.workspace_id = p_workspace_id)) h,
        -- Those whose time has come, then those that a change of rules made due, since the change.
        (select count(*) as due, coalesce(floor(extract(epoch from now() - min(x.since))), 0)::bigint as oldest,
             coalesce(avg(x.attempt_number), 0)::float8 as attempt_mean, coalesce(max(x.attempt_number), 0) as attempt_max
         from (
            select case when v.version > x.rules_version then least(x.next_retry_at, greatest(v.changed_at, x.created_at))
                else x.next_retry_at end as since, x.attempt_number
            from public.lead_routing_queue x
            left join leadrouter.rule_versions v on v.workspace_id = x.workspace_id
            where x.processed_at is null and x.next_retry_at <= now() and (p_workspace_id is null or x.workspace_id = p_workspace_id)
            union all
            select greatest(v.changed_at, x.created_at), x.attempt_number
            from leadrouter.rule_versions v, lateral (
                select y.created_at, y.attempt_number from public.lead_routing_queue y
                where y.workspace_id = v.workspace_id and y.rules_version < v.version and y.processed_at is null
                  and coalesce(y.next_retry_at > now(), false)
                offset 0) x
            where p_workspace_id is null or v.workspace_id = p_workspace_id) x) d;
end
$function$;

-- The number of the last migration that is there as a whole; 0: none.
create function leadrouter.schema_version() returns integer
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return (select coalesce(max(number), 0) from leadrouter.migrations where applied_at is not null);
end
$function$;

select leadrouter.seal_functions('{
    create_leads, workspace_limits, get_lead, list_leads, health_counts, schema_version}', 'leadrouter_service');
