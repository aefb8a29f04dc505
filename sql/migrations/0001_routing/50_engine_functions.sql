-- step: transaction
--
-- What the engine calls (the table in sql/README.md), set-based. Everything is looked up by key, in ways that leave the planner no other
-- ("Plans" there), and it is kept from scans and hash joins: a plan made while a table is empty is kept by the session, and walking through
-- it, which was right then, costs a thousand times as much an hour later. Plans are generic: a plan for the very arrays of a call looks
-- cheaper to the planner, is made anew each time, and the making costs more than the running.

-- Stable, as the functions inside are: declared immutable they would not be inlined.
create function leadrouter.to_us(p_time timestamptz) returns bigint
    language sql stable parallel safe
as $function$
    select case when isfinite(p_time) then (extract(epoch from p_time) * 1000000)::bigint end
$function$;

-- And back; the highest bigint is infinity.
create function leadrouter.from_us(p_us bigint) returns timestamptz
    language sql stable parallel safe
as $function$
    select case when p_us = 9223372036854775807 then 'infinity'::timestamptz
                else '1970-01-01 00:00:00+00'::timestamptz + p_us * interval '1 microsecond' end
$function$;

-- --- Round trip 1 -------------------------------------------------------------------------------------------------------

-- What the log keeps of a decision: the rule's name then, and the reason. Its row's key is (decision_id, routing_completed_at).
create function leadrouter.decision_record(p_decision_id uuid, p_decided_at timestamptz, out rule_name text, out reason text)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
begin
    select g.routing_metadata ->> 'rule_name', g.routing_metadata ->> 'reason' into rule_name, reason
    from public.lead_routing_logs g where g.id = p_decision_id and g.created_at = p_decided_at;
end
$function$;

-- What is read of leads for a decision; those with a place (p_places) are locked by the transaction, and it is where they lie: so no index
-- is gone through for them again. The same of their open queue rows (p_queue_places), which nobody changes without the lead's lock. The
-- others are looked up. Put in place of its call by the planner, so it has no settings of its own and runs with the caller's rights.
create function leadrouter.read_leads(p_lead_ids uuid[], p_source_workspace_ids uuid[], p_places tid[], p_queue_places tid[],
        p_transaction_id bigint)
    returns table (ord integer, is_locked boolean, found boolean, routing_status text, is_expired boolean, workspace_id uuid,
        matched_rule_id uuid, matched_rule_name text, reason text, decision_id uuid, decided_outcome text, duplicate_lead_id uuid,
        routing_attempts integer, queue_attempt integer, queue_is_due boolean, next_retry_us bigint, claim_lead_id uuid,
        claim_workspace_id uuid, rules_version bigint, source_is_active boolean, company_industry text, company_size text,
        company_revenue text, country text, state text, dedupe_hash text, lead_expires_us bigint, transaction_id bigint,
        place tid, queue_place tid, lead_id uuid, source_workspace_id uuid, max_attempts integer, queue_id uuid, queue_version bigint)
    language sql stable rows 256
as $function$
    select r.ord::integer, r.place is not null, l.id is not null, l.routing_status::text,
        l.routing_status = 'expired' or (l.routing_status in ('pending', 'failed') and l.lead_expires_at <= now()),
        l.workspace_id, l.matched_rule_id, coalesce(g.rule_name, ''), coalesce(g.reason, ''), l.decision_id, l.decided_outcome,
        l.duplicate_lead_id, l.routing_attempts,
        q.attempt_number,
        q.next_retry_at <= now() or coalesce(v.version, 0) > q.rules_version or (q.error_class = 'held' and w.is_active),
        leadrouter.to_us(q.next_retry_at),
        c.lead_id, c.workspace_id, coalesce(v.version, 0), coalesce(w.is_active, false),
        l.company_industry::text, l.company_size::text, l.company_revenue::text, l.country::text, l.state::text, l.dedupe_hash,
        leadrouter.to_us(l.lead_expires_at), p_transaction_id, r.place, q.place, r.lead_id, r.source_workspace_id, q.max_attempts,
        q.id, q.rules_version
    from unnest(p_lead_ids, p_source_workspace_ids, p_places, p_queue_places) with ordinality
        as r (lead_id, source_workspace_id, place, queue_place, ord)
    left join lateral (
        select * from public.leads x
        where x.ctid = coalesce(r.place, (select y.ctid from public.leads y where y.id = r.lead_id))
          and coalesce(x.id = r.lead_id and x.source_workspace_id = r.source_workspace_id, false)) l on true
    left join lateral (
        select x.*, x.ctid as place from public.lead_routing_queue x
        where x.ctid = coalesce(r.queue_place,
                (select y.ctid from public.lead_routing_queue y where y.lead_id = l.id and y.processed_at is null))
          and coalesce(x.lead_id = l.id and x.processed_at is null and l.routing_status in ('pending', 'failed'), false)) q on true
    left join lateral (
        select x.lead_id, x.workspace_id from public.lead_dedupe_claims x
        where x.dedupe_hash = l.dedupe_hash and x.lead_id <> l.id and x.expires_at > now()
          and l.routing_status in ('pending', 'failed')
        offset 0) c on true
    left join lateral (
        select x.version from leadrouter.rule_versions x where x.workspace_id = r.source_workspace_id offset 0) v on true
    left join lateral (select x.is_active from public.workspaces x where x.id = r.source_workspace_id offset 0) w on true
    -- OFFSET keeps the planner from asking for the record of every lead and then looking whether there was a decision.
    left join lateral (
        select f.rule_name, f.reason
        from (select where l.decision_id is not null offset 0) decided,
            leadrouter.decision_record(l.decision_id, l.routing_completed_at) f) g on true
    order by r.ord
$function$;

-- One function, two statements: the second has a newer snapshot, so it sees what those did who held a lead a moment ago. A lead that
-- was passed over is told by it: not there, decided, or held. What else is asked of a lead than its id is hidden in coalesce(): a plan that
-- was made while the table was empty would rather walk through all leads of the workspace, or all that are undecided, for each of them.
create function leadrouter.lock_leads(p_lead_ids uuid[], p_source_workspace_ids uuid[])
    returns table (ord integer, is_locked boolean, found boolean, routing_status text, is_expired boolean, workspace_id uuid,
        matched_rule_id uuid, matched_rule_name text, reason text, decision_id uuid, decided_outcome text, duplicate_lead_id uuid,
        routing_attempts integer, queue_attempt integer, queue_is_due boolean, next_retry_us bigint, claim_lead_id uuid,
        claim_workspace_id uuid, rules_version bigint, source_is_active boolean, company_industry text, company_size text,
        company_revenue text, country text, state text, dedupe_hash text, lead_expires_us bigint, transaction_id bigint,
        place tid, queue_place tid)
    language plpgsql security definer rows 256
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
#variable_conflict use_column
declare
    v_places tid[];
    v_transaction_id bigint;
begin
    v_places := array(
        select l.place
        from unnest(p_lead_ids, p_source_workspace_ids) with ordinality as r (lead_id, source_workspace_id, ord)
        left join lateral (
            select x.ctid as place from public.leads x
            where x.id = r.lead_id
              and coalesce(x.source_workspace_id = r.source_workspace_id and x.routing_status in ('pending', 'failed'), false)
            for no key update skip locked) l on true
        order by r.ord);
    if array_remove(v_places, null) <> '{}' then
        v_transaction_id := pg_current_xact_id()::text::bigint;
    end if;
    return query
    select r.ord, r.is_locked, r.found, r.routing_status, r.is_expired, r.workspace_id, r.matched_rule_id, r.matched_rule_name, r.reason,
        r.decision_id, r.decided_outcome, r.duplicate_lead_id, r.routing_attempts, r.queue_attempt, r.queue_is_due, r.next_retry_us,
        r.claim_lead_id, r.claim_workspace_id, r.rules_version, r.source_is_active, r.company_industry, r.company_size,
        r.company_revenue, r.country, r.state, r.dedupe_hash, r.lead_expires_us, r.transaction_id, r.place, r.queue_place
    from leadrouter.read_leads(p_lead_ids, p_source_workspace_ids, v_places, null, v_transaction_id) r;
end
$function$;

-- Claims open queue rows that are due, with their leads, and reads those as lock_leads() does, in the order of the claim. Lead first, then
-- row: whoever holds a lead is passed over without a lock left on its row. By time: those whose time has come, from p_from_us on, the
-- earliest first. By rule version: those that an older version of the rules refused, workspace by workspace, from behind the row
-- (p_after_workspace_id, p_after_version, p_after_id) on when it is given; p_thorough looks through all workspaces, otherwise only those
-- whose rules changed within five minutes (of a longer transaction the thorough look finds what came too late for the other). What lies
-- before these bounds may be rows that were done with, but that some snapshot still sees: walking over them would cost ever more.
-- Nothing while retries are paused, and no row that was postponed, unless p_by_hand.
create function leadrouter.lock_due_leads(p_limit integer, p_workspace_id uuid, p_by_hand boolean, p_outdated boolean, p_from_us bigint,
        p_after_workspace_id uuid, p_after_version bigint, p_after_id uuid, p_thorough boolean)
    returns table (ord integer, is_locked boolean, found boolean, routing_status text, is_expired boolean, workspace_id uuid,
        matched_rule_id uuid, matched_rule_name text, reason text, decision_id uuid, decided_outcome text, duplicate_lead_id uuid,
        routing_attempts integer, queue_attempt integer, queue_is_due boolean, next_retry_us bigint, claim_lead_id uuid,
        claim_workspace_id uuid, rules_version bigint, source_is_active boolean, company_industry text, company_size text,
        company_revenue text, country text, state text, dedupe_hash text, lead_expires_us bigint, transaction_id bigint,
        place tid, queue_place tid, lead_id uuid, source_workspace_id uuid, max_attempts integer, queue_id uuid, queue_version bigint)
    language plpgsql security definer rows 256
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_bitmapscan = off
as $function$
#variable_conflict use_column
declare
    v_lead_ids uuid[] := '{}';
    v_sources uuid[] := '{}';
    v_places tid[] := '{}';
    v_queue_places tid[] := '{}';
    v_claimed record;
    v_workspace record;
    v_is_after boolean;
    v_after_version bigint;
    v_after_id uuid;
    v_from timestamptz := coalesce(leadrouter.from_us(p_from_us), '-infinity');
begin
    if not p_by_hand and exists (select from leadrouter.scheduled_jobs j where j.name = 'retries' and j.is_paused) then
        return;
    end if;
    if not p_outdated then
        with due as materialized (
            select l.id, l.source_workspace_id, l.place, q.ctid as queue_place, q.next_retry_at
            from public.lead_routing_queue q
            cross join lateral (
                select x.id, x.source_workspace_id, x.ctid as place from public.leads x
                where x.id = q.lead_id and x.routing_status in ('pending', 'failed')
                for no key update skip locked) l
            where q.processed_at is null and q.next_retry_at <= now() and q.next_retry_at >= v_from
              and (p_by_hand or q.postponed_until is null or q.postponed_until <= now())
              and (p_workspace_id is null or q.workspace_id = p_workspace_id)
            order by q.next_retry_at
            limit p_limit
            for no key update of q skip locked
        )
        select array_agg(d.id), array_agg(d.source_workspace_id), array_agg(d.place), array_agg(d.queue_place)
        into v_lead_ids, v_sources, v_places, v_queue_places
        from (select * from due order by next_retry_at) d;
    else
        for v_workspace in
            select v.workspace_id, v.version from leadrouter.rule_versions v
            where (p_workspace_id is null or v.workspace_id = p_workspace_id)
              and (p_thorough or v.changed_at > now() - interval '5 minutes')
              and (p_after_workspace_id is null or v.workspace_id >= p_after_workspace_id)
              and exists (
                  select from public.lead_routing_queue q
                  where q.workspace_id = v.workspace_id and q.rules_version < v.version and q.processed_at is null
                  offset 0)
            order by v.workspace_id
        loop
            -- As variables, or the bound would be no condition of the index.
            v_is_after := v_workspace.workspace_id is not distinct from p_after_workspace_id;
            v_after_version := case when v_is_after then p_after_version else -1 end;
            v_after_id := case when v_is_after then p_after_id else '00000000-0000-0000-0000-000000000000' end;
            with outdated as materialized (
                select l.id, l.source_workspace_id, l.place, q.ctid as queue_place, q.rules_version, q.id as queue_id
                from public.lead_routing_queue q
                cross join lateral (
                    select x.id, x.source_workspace_id, x.ctid as place from public.leads x
                    where x.id = q.lead_id and x.routing_status in ('pending', 'failed')
                    for no key update skip locked) l
                where q.workspace_id = v_workspace.workspace_id and q.rules_version < v_workspace.version and q.processed_at is null
                  and (q.rules_version, q.id) > (v_after_version, v_after_id)
                  and (p_by_hand or q.postponed_until is null or q.postponed_until <= now())
                order by q.rules_version, q.id
                limit p_limit - cardinality(v_lead_ids)
                for no key update of q skip locked
            )
            select array_agg(o.id) as lead_ids, array_agg(o.source_workspace_id) as sources, array_agg(o.place) as places,
                array_agg(o.queue_place) as queue_places
            into v_claimed
            from (select * from outdated order by rules_version, queue_id) o;
            v_lead_ids := v_lead_ids || v_claimed.lead_ids;
            v_sources := v_sources || v_claimed.sources;
            v_places := v_places || v_claimed.places;
            v_queue_places := v_queue_places || v_claimed.queue_places;
            exit when cardinality(v_lead_ids) >= p_limit;
        end loop;
    end if;
    if v_lead_ids is null or v_lead_ids = '{}' then
        return;
    end if;
    return query
    select r.* from leadrouter.read_leads(v_lead_ids, v_sources, v_places, v_queue_places, pg_current_xact_id()::text::bigint) r;
end
$function$;

-- Leads that could not be looked at, and whose failure could not even be recorded: their rows stay due, for who looks at the queue and for
-- who processes it by hand, but lanes leave them alone for the delays of class database, longer each time. Returns how many.
create function leadrouter.postpone_retries(p_lead_ids uuid[], p_reasons text[]) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
declare
    v_count integer;
begin
    with failed as materialized (
        select q.id, r.reason
        from unnest(p_lead_ids, p_reasons) r (lead_id, reason)
        cross join lateral (
            select x.id from public.leads x where x.id = r.lead_id and x.routing_status in ('pending', 'failed')
            for no key update skip locked) l
        cross join lateral (
            select x.id from public.lead_routing_queue x where x.lead_id = l.id and x.processed_at is null
            for no key update skip locked) q
    )
    update public.lead_routing_queue q set last_error = f.reason, error_count = q.error_count + 1, updated_at = now(),
        postponed_until = least(now() + interval '1 hour',
            leadrouter.retry_time(coalesce(e.delays, '{1 hour}'), coalesce(e.jitter, 0), q.error_count - q.attempt_number + 1))
    from failed f
    left join leadrouter.error_classes e on e.class = 'database'
    where q.id = any (array[f.id]) and q.processed_at is null;
    get diagnostics v_count = row_count;
    return v_count;
end
$function$;

-- Whether no claim can ever take the open row of this lead, since the lead has gone or was decided by other ways.
create function leadrouter.is_orphaned(p_lead_id uuid) returns boolean
    language sql stable
as $function$
    select not exists (
        select from public.leads l where l.id = p_lead_id and l.routing_status in ('pending', 'routing', 'failed') offset 0)
$function$;

-- How long until the next open row is due by its time, in microseconds (null: none has a time); first, unless retries are paused, it closes
-- rows that no claim can take among the 500 earliest of each kind that are due. sweep_queue() finds the others.
create function leadrouter.next_due(p_workspace_id uuid, out next_due_in_us bigint, out is_paused boolean)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_bitmapscan = off
as $function$
declare
    v_due uuid[];
begin
    is_paused := exists (select from leadrouter.scheduled_jobs j where j.name = 'retries' and j.is_paused);
    if not is_paused then
        v_due := array(
            select q.id from public.lead_routing_queue q
            where q.processed_at is null and q.next_retry_at <= now() order by q.next_retry_at limit 500)
        || array(
            select q.id from leadrouter.rule_versions v
            cross join lateral (
                select x.id from public.lead_routing_queue x
                where x.workspace_id = v.workspace_id and x.rules_version < v.version and x.processed_at is null
                offset 0) q
            where v.changed_at > now() - interval '5 minutes' limit 500);
        with orphaned as materialized (
            select q.id from unnest(v_due) d cross join lateral (
                select x.id from public.lead_routing_queue x
                where x.id = d and x.processed_at is null and leadrouter.is_orphaned(x.lead_id)
                for no key update skip locked) q
        )
        update public.lead_routing_queue q
        set processed_at = now(), updated_at = now(), last_error = 'the lead has gone, or was decided elsewhere'
        from orphaned o where q.id = any (array[o.id]) and q.processed_at is null;
    end if;
    select leadrouter.to_us(q.next_retry_at) - leadrouter.to_us(now()) into next_due_in_us
    from public.lead_routing_queue q
    where q.processed_at is null and q.next_retry_at > now() and isfinite(q.next_retry_at)
      and (p_workspace_id is null or q.workspace_id = p_workspace_id)
    order by q.next_retry_at limit 1;
end
$function$;

-- The other columns, for rules that ask for them.
create function leadrouter.lead_facts(p_lead_ids uuid[])
    returns table (ord integer, email text, phone text, first_name text, last_name text, company_name text, city text, postal_code text,
        source text, external_id text, attributes text, created_us bigint, now_us bigint)
    language plpgsql security definer rows 256
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
begin
    return query
    select r.ord::integer, l.email::text, l.phone::text, l.first_name::text, l.last_name::text, l.company_name::text, l.city::text,
        l.postal_code::text, l.source::text, l.external_id::text, l.attributes::text, leadrouter.to_us(l.created_at),
        leadrouter.to_us(now())
    from unnest(p_lead_ids) with ordinality as r (lead_id, ord),
        lateral (select * from public.leads x where x.id = r.lead_id offset 0) l;
end
$function$;

-- One row for each rule, and one for each value of a named set (set_value null: an empty one); one at least for each workspace.
create function leadrouter.load_rule_sets(p_workspace_ids uuid[])
    returns table (workspace_id uuid, rules_version bigint, is_active boolean, routing_config text, fallback_is_active boolean,
        rule_id uuid, rule_name text, priority integer, conditions text, destination_workspace_id uuid, destination_is_active boolean,
        created_us bigint, set_name text, set_value text)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
begin
    return query
    select w.id, coalesce(v.version, 0), w.is_active, (w.routing_config - 'limits')::text,
        coalesce((select f.is_active from public.workspaces f
                  where f.id = (w.routing_config ->> 'fallback_workspace_id')::uuid), false),
        r.id, r.rule_name, r.priority, r.conditions::text, r.destination_workspace_id, coalesce(d.is_active, false),
        leadrouter.to_us(r.created_at), null::text, null::text
    from public.workspaces w
    left join lateral (select x.version from leadrouter.rule_versions x where x.workspace_id = w.id offset 0) v on true
    left join lateral (select * from public.lead_routing_rules x where x.workspace_id = w.id and x.is_active offset 0) r on true
    left join lateral (select x.is_active from public.workspaces x where x.id = r.destination_workspace_id offset 0) d on true
    where w.id = any (p_workspace_ids)
    union all
    select s.workspace_id, coalesce(v.version, 0), null, null, null, null, null, null, null, null, null, null, s.set_name, x.set_value
    from public.lead_routing_sets s
    left join leadrouter.rule_versions v on v.workspace_id = s.workspace_id
    left join lateral unnest(s.set_values) as x (set_value) on true
    where s.workspace_id = any (p_workspace_ids)
    order by 1, 13 nulls first, 8 desc, 12, 6;
end
$function$;

-- --- Round trip 2 -------------------------------------------------------------------------------------------------------

-- When the next attempt comes after this one failed, by the delays of its error class.
create function leadrouter.retry_time(p_delays interval[], p_jitter double precision, p_attempt integer) returns timestamptz
    language sql volatile
as $function$
    select coalesce(
        now() + p_delays[least(greatest(p_attempt, 1), cardinality(p_delays))] * (1 + p_jitter * (2 * random() - 1)), 'infinity')
$function$;

create type leadrouter.decided_lead as (
    ord integer,
    lead_id uuid,
    source_workspace_id uuid,
    result text,
    destination_workspace_id uuid,
    matched_rule_id uuid,
    duplicate_lead_id uuid,
    attempt_number integer,
    max_attempts integer,
    next_retry_at timestamptz,
    decision_id uuid,
    reason text,
    error_class text,
    rules_version bigint,
    opens boolean,  -- a new queue row
    closes tid,     -- where the open one lies that it closes
    holder_workspace_id uuid
);

-- Decides and records. First the claims, in order of their hashes: a free or expired one is taken, one in flight is waited for, a
-- live one is locked so that it cannot vanish. Of several leads of one identity the first competes. The next statement sees what
-- came of it, whoever won, and writes leads and log; the last ones close and open queue rows (two statements: one could trip the
-- unique index). holder_workspace_id: for a lead that lost its identity to another here, where that is. p_places and p_queue_places are
-- where the leads and their open rows lie, as lock_leads() gave them; without them they are looked up. A row that was changed since, which
-- nobody may without its lead's lock, is not left open: the transaction is to be tried again.
create function leadrouter.decide(p_lead_ids uuid[], p_source_workspace_ids uuid[], p_lock_owners uuid[], p_verdicts smallint[],
        p_destinations uuid[], p_rule_ids uuid[], p_rule_names text[], p_rules_versions bigint[], p_duplicate_lead_ids uuid[],
        p_reasons text[], p_error_classes text[], p_max_attempts integer[], p_actor_ids uuid[], p_global_scopes boolean[],
        p_dedupe_days integer[], p_hashes text[], p_lead_expires_us bigint[], p_facts text[] default null, p_places tid[] default null,
        p_queue_places tid[] default null)
    returns table (ord integer, result text, destination_workspace_id uuid, matched_rule_id uuid, duplicate_lead_id uuid,
        attempt_number integer, next_retry_us bigint, decision_id uuid, reason text, holder_workspace_id uuid)
    language plpgsql security definer rows 256
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
#variable_conflict use_column
declare
    -- Not the transaction's: the leads are locked by now, so that the log has their rows in the order in which things happened.
    v_now timestamptz := clock_timestamp();
    v_ids text := left(leadrouter.new_id()::text, 30); -- what the ids of its decisions begin with; their places in the call end them
    v_decided leadrouter.decided_lead[];
    v_any_opens boolean;
    v_closes integer;
    v_closed integer;
begin
    if p_places is null then
        p_places := array(
            select (select x.ctid from public.leads x where x.id = d.lead_id)
            from unnest(p_lead_ids) with ordinality as d (lead_id, ord) order by d.ord);
        p_queue_places := array(
            select (select x.ctid from public.lead_routing_queue x where x.lead_id = d.lead_id and x.processed_at is null)
            from unnest(p_lead_ids) with ordinality as d (lead_id, ord) order by d.ord);
    end if;
    insert into public.lead_dedupe_claims as c (dedupe_hash, lead_id, workspace_id, claimed_at, expires_at)
    select distinct on (d.hash) d.hash, d.lead_id, d.destination, now(),
        greatest(leadrouter.from_us(d.expires_us), now() + d.days * interval '1 day')
    from unnest(p_hashes, p_lead_ids, p_destinations, p_verdicts, p_lead_expires_us, p_dedupe_days) with ordinality
        as d (hash, lead_id, destination, verdict, expires_us, days, ord)
    where d.verdict = 1 and d.hash is not null
    order by d.hash, d.ord
    on conflict (dedupe_hash) do update
        set lead_id = excluded.lead_id, workspace_id = excluded.workspace_id, claimed_at = excluded.claimed_at,
            expires_at = excluded.expires_at
        where c.expires_at <= now();

    with judged as materialized (
        select d.*, (v_ids || lpad(to_hex(d.ord), 6, '0'))::uuid as decision_id, c.lead_id as holder, c.workspace_id as holder_workspace_id,
            q.rules_version as queue_version,
            coalesce(q.max_attempts, d.max_attempts) as attempts_allowed,
            case
                when d.verdict = 1 and (c.lead_id is null or c.lead_id = d.lead_id
                     or (not d.global_scope and c.workspace_id = d.source and d.destination = d.source)) then 'success'
                when d.verdict in (1, 2) then 'duplicate'
                when d.verdict = 4 then 'expired'
                when d.verdict = 5 then 'hold'
                else 'attempt'
            end as kind,
            -- A class that nobody knows is tried again in an hour, not lost.
            coalesce(e.is_retried, true) as is_retried, coalesce(e.delays, '{1 hour}') as delays, coalesce(e.jitter, 0) as jitter,
            coalesce(e.is_revived, true) as is_revived
        from unnest(p_lead_ids, p_source_workspace_ids, p_lock_owners, p_verdicts, p_destinations, p_rule_ids, p_rule_names,
                p_rules_versions, p_duplicate_lead_ids, p_reasons, p_error_classes, p_max_attempts, p_actor_ids, p_global_scopes, p_hashes,
                p_facts, p_places, p_queue_places)
            with ordinality as d (lead_id, source, lock_owner, verdict, destination, rule_id, rule_name, rules_version, duplicate_of,
                reason, error_class, max_attempts, actor_id, global_scope, hash, facts, place, queue_place, ord)
        left join lateral (
            select x.lead_id, x.workspace_id from public.lead_dedupe_claims x
            where x.dedupe_hash = d.hash and x.expires_at > now() and d.verdict = 1
            offset 0) c on true
        left join lateral (
            select x.max_attempts, x.rules_version from public.lead_routing_queue x
            where x.ctid = d.queue_place and coalesce(x.lead_id = d.lead_id and x.processed_at is null, false)) q on true
        left join lateral (select * from leadrouter.error_classes x where x.class = d.error_class and d.verdict = 3) e on true
    ), changed as (
        update public.leads l set
            routing_status = case
                when j.kind in ('success', 'duplicate') then 'routed'
                when j.kind = 'expired' then 'expired'
                when j.kind = 'hold' then l.routing_status
                when j.is_retried and leadrouter.next_attempt(l.routing_status, l.routing_attempts, j.attempts_allowed, j.queue_version,
                     j.rules_version) < j.attempts_allowed then 'pending'
                else 'failed' end::public.lead_routing_status,
            routing_attempts = case when j.kind in ('expired', 'hold') then l.routing_attempts
                else leadrouter.next_attempt(l.routing_status, l.routing_attempts, j.attempts_allowed, j.queue_version,
                     j.rules_version) end,
            workspace_id = case when j.kind = 'success' then j.destination else l.workspace_id end,
            matched_rule_id = case when j.kind = 'success' then j.rule_id end,
            duplicate_lead_id = case when j.kind = 'duplicate' then coalesce(j.duplicate_of, j.holder) end,
            decision_id = case when j.kind in ('success', 'duplicate') then j.decision_id end,
            decided_outcome = case when j.kind in ('success', 'duplicate') then j.kind end,
            rules_version = j.rules_version,
            routing_error = case when j.kind in ('success', 'duplicate') then null else j.reason end,
            routing_started_at = coalesce(l.routing_started_at, now()),
            routing_completed_at = case when j.kind in ('success', 'duplicate') then v_now end,
            routing_failed_at = case when j.kind = 'attempt' then now() else l.routing_failed_at end,
            routing_locked_by = null,
            routing_locked_at = null,
            updated_at = now()
        from judged j
        -- coalesce(): as in lock_leads().
        where l.ctid = j.place and coalesce(l.id = j.lead_id and l.source_workspace_id = j.source
          and (l.routing_status in ('pending', 'failed')
               or (l.routing_status = 'routing' and l.routing_locked_by = j.lock_owner and j.kind not in ('hold', 'expired'))), false)
        returning j.ord, l.id, j.source, l.routing_status, l.workspace_id, l.matched_rule_id, l.duplicate_lead_id, l.routing_attempts,
            j.attempts_allowed, j.decision_id, j.kind, j.queue_place, j.rules_version, j.lock_owner, j.actor_id, j.rule_name, j.verdict,
            j.facts, case j.kind when 'hold' then 'held' when 'attempt' then coalesce(j.error_class, 'unmatched') end as error_class,
            case
                when j.kind = 'duplicate' and j.verdict = 1 then 'the same person is lead ' || l.duplicate_lead_id
                else j.reason end as reason,
            case
                when j.kind = 'hold' or (l.routing_status = 'failed' and j.is_revived) then 'infinity'::timestamptz
                when l.routing_status = 'pending' then leadrouter.retry_time(j.delays, j.jitter, l.routing_attempts) end as next_retry_at,
            case
                when j.kind = 'hold' then 'retry'
                when j.kind <> 'attempt' then j.kind
                when l.routing_status = 'failed' then 'failed'
                else 'retry' end as result,
            case when j.kind = 'duplicate' then j.holder_workspace_id end as holder_workspace_id
    ), logged as (
        insert into public.lead_routing_logs (id, lead_id, source_workspace_id, destination_workspace_id, matched_rule_id, routing_result,
            error_message, lock_owner, attempt_number, actor_id, routing_metadata, created_at)
        select c.decision_id, c.id, c.source, case when c.kind in ('success', 'duplicate') then c.workspace_id end, c.matched_rule_id,
            c.result, case when c.error_class is not null then c.reason end, c.lock_owner, c.routing_attempts, c.actor_id,
            jsonb_strip_nulls(jsonb_build_object('reason', c.reason, 'rule_name', case when c.kind = 'success' then c.rule_name end,
                'rules_version', c.rules_version, 'duplicate_lead_id', c.duplicate_lead_id, 'error_class', c.error_class,
                'next_retry_us', leadrouter.to_us(c.next_retry_at), 'facts', c.facts::jsonb)), v_now
        from changed c
    )
    select array_agg(row(c.ord, c.id, c.source, c.result, case when c.kind in ('success', 'duplicate') then c.workspace_id end,
        c.matched_rule_id, c.duplicate_lead_id, c.routing_attempts, c.attempts_allowed, c.next_retry_at, c.decision_id, c.reason,
        c.error_class, c.rules_version, c.next_retry_at is not null, c.queue_place,
        c.holder_workspace_id)::leadrouter.decided_lead order by c.ord),
        bool_or(c.next_retry_at is not null), count(c.queue_place)
    into v_decided, v_any_opens, v_closes from changed c;

    -- A lead that was not in the state expected decides nothing, so it owns nothing.
    if coalesce(cardinality(v_decided), 0) < cardinality(p_lead_ids) then
        delete from public.lead_dedupe_claims c
        using (select distinct d.hash, d.lead_id from unnest(p_hashes, p_lead_ids, p_verdicts) as d (hash, lead_id, verdict)
               where d.verdict = 1 and not exists (select from unnest(v_decided) e where e.lead_id = d.lead_id)) u
        where c.dedupe_hash = any (array[u.hash]) and c.lead_id = u.lead_id and c.claimed_at = now()
          and not exists (select from public.leads l where l.id = u.lead_id and l.routing_status = 'routed' offset 0);
    end if;
    if v_closes > 0 then
        update public.lead_routing_queue q set processed_at = now(), updated_at = now()
        from unnest(v_decided) d where q.ctid = d.closes and coalesce(q.lead_id = d.lead_id and q.processed_at is null, false);
        get diagnostics v_closed = row_count;
        if v_closed <> v_closes then
            raise exception 'a row of the queue was changed without its lead''s lock' using errcode = '40001';
        end if;
    end if;
    if v_any_opens then
        -- A row has the id of the attempt that opened it.
        insert into public.lead_routing_queue (id, lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, last_error,
            error_count, error_class, rules_version)
        select d.decision_id, d.lead_id, d.source_workspace_id, d.attempt_number, d.max_attempts, d.next_retry_at, d.reason,
            d.attempt_number, d.error_class, d.rules_version
        from unnest(v_decided) d where d.opens;
    end if;

    return query
    select d.ord, d.result, d.destination_workspace_id, d.matched_rule_id, d.duplicate_lead_id, d.attempt_number,
        leadrouter.to_us(d.next_retry_at), d.decision_id, d.reason, d.holder_workspace_id
    from unnest(v_decided) d;
end
$function$;

-- The number of the attempt that is being recorded: one more, or the first again for a failed lead that a newer rule version made
-- due. A held lead does not say whether it had failed: it had when its attempts were used up.
create function leadrouter.next_attempt(p_status public.lead_routing_status, p_attempts integer, p_attempts_allowed integer,
    p_queue_version bigint, p_rules_version bigint) returns integer
    language sql immutable parallel safe
as $function$
    select case when (p_status = 'failed' or (p_status = 'routing' and p_attempts >= p_attempts_allowed))
                     and p_rules_version > p_queue_version then 1
                else p_attempts + 1 end
$function$;

-- --- After a lost COMMIT ------------------------------------------------------------------------------------------------

-- What these attempts wrote into the log: whether a commit whose answer was lost had taken place. No row for one that wrote nothing.
create function leadrouter.find_attempts(p_lead_ids uuid[], p_lock_owners uuid[])
    returns table (ord integer, result text, destination_workspace_id uuid, matched_rule_id uuid, duplicate_lead_id uuid,
        attempt_number integer, next_retry_us bigint, decision_id uuid, reason text, matched_rule_name text)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
begin
    return query
    select r.ord::integer, g.routing_result, g.destination_workspace_id, g.matched_rule_id,
        (g.routing_metadata ->> 'duplicate_lead_id')::uuid, g.attempt_number, (g.routing_metadata ->> 'next_retry_us')::bigint, g.id,
        coalesce(g.routing_metadata ->> 'reason', ''), coalesce(g.routing_metadata ->> 'rule_name', '')
    from unnest(p_lead_ids, p_lock_owners) with ordinality as r (lead_id, lock_owner, ord),
        lateral (
            select * from public.lead_routing_logs x
            where x.lead_id = r.lead_id and x.lock_owner = r.lock_owner
              and x.routing_result in ('success', 'duplicate', 'retry', 'failed', 'expired')
            offset 0) g;
end
$function$;

select leadrouter.seal_functions('{to_us, from_us, read_leads, is_orphaned, decision_record, retry_time, next_attempt}');
select leadrouter.seal_functions('{
    lock_leads, lock_due_leads, next_due, postpone_retries, load_rule_sets, lead_facts, decide, find_attempts}', 'leadrouter_service');
alter type leadrouter.decided_lead owner to leadrouter_owner;
