-- step: transaction
--
-- What runs from time to time, and what operators do by hand. Each call is one bounded batch in a transaction of its own; whoever wants all
-- calls again. Nothing here waits for a lead or a claim that somebody holds, and several callers at once do no harm.

-- --- Jobs ---------------------------------------------------------------------------------------------------------------

-- Makes rows for jobs that have none, with the time of their first run; returns how many.
create function leadrouter.register_jobs(p_names text[], p_next_run_us bigint[]) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_count integer;
begin
    insert into leadrouter.scheduled_jobs (name, next_run_at)
    select r.name, leadrouter.from_us(r.next_run_us) from unnest(p_names, p_next_run_us) as r (name, next_run_us)
    order by r.name
    on conflict (name) do nothing;
    get diagnostics v_count = row_count;
    return v_count;
end
$function$;

-- Whether nobody has touched a run for its grace.
create function leadrouter.run_is_left(p_touched_at timestamptz, p_grace_ms integer, p_now timestamptz) returns boolean
    language sql immutable parallel safe
as $function$
    select p_touched_at < p_now - p_grace_ms * interval '1 ms'
$function$;

-- A run that was left (is_left) is none that is under way: its server has gone, or stands still.
create function leadrouter.list_jobs()
    returns table (name text, is_paused boolean, paused_us bigint, paused_by uuid, pause_note text, next_run_us bigint, is_running boolean,
        is_left boolean, last_started_us bigint, last_touched_us bigint, last_ended_us bigint, last_duration_ms bigint, last_result text,
        last_detail text, last_error text, failures integer, runs bigint, now_us bigint,
        last_done_us bigint)
    language plpgsql stable security definer rows 10
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return query
    select j.name, j.is_paused, leadrouter.to_us(j.paused_at), j.paused_by, j.pause_note, leadrouter.to_us(j.next_run_at),
        j.run_id is not null and not r.is_left, r.is_left, leadrouter.to_us(j.last_started_at), leadrouter.to_us(j.last_touched_at),
        leadrouter.to_us(j.last_ended_at), (extract(epoch from j.last_ended_at - j.last_started_at) * 1000)::bigint,
        case when r.is_left then 'interrupted' else j.last_result end, j.last_detail::text, j.last_error, j.failures, j.runs,
        leadrouter.to_us(now()), leadrouter.to_us(j.last_done_at)
    from leadrouter.scheduled_jobs j
    cross join lateral (select j.run_id is not null and leadrouter.run_is_left(j.last_touched_at, j.grace_ms, now()) as is_left) r
    order by j.name;
end
$function$;

-- Begins a run, if it is time for one and nobody is at it: one caller gets it, whoever else asks in the same instant waits for the row and
-- then finds it taken. By hand it need not be time, and the job may be paused. A run that has not been touched for its grace is one whose
-- server has gone: it is taken over, whatever the schedule says. It is time, too, when the row says a later one than any schedule does:
-- the database's clock was put back since.
create function leadrouter.begin_job(p_name text, p_next_run_us bigint, p_grace_ms integer, p_by_hand boolean)
    returns table (begun boolean, run_id uuid, is_paused boolean, is_running boolean, now_us bigint)
    language plpgsql security definer rows 1
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_job leadrouter.scheduled_jobs;
    v_now timestamptz;
    v_is_left boolean;
begin
    select * into v_job from leadrouter.scheduled_jobs j where j.name = p_name for no key update;
    if not found then
        raise exception 'no such job' using errcode = 'LR404';
    end if;
    v_now := clock_timestamp(); -- the row may have been waited for
    is_paused := v_job.is_paused;
    v_is_left := v_job.run_id is not null and leadrouter.run_is_left(v_job.last_touched_at, v_job.grace_ms, v_now);
    is_running := v_job.run_id is not null and not v_is_left;
    begun := not is_running and (p_by_hand or (not v_job.is_paused and (v_is_left or v_job.next_run_at <= v_now
        or v_job.next_run_at > leadrouter.from_us(p_next_run_us) + interval '1 minute')));
    if begun then
        run_id := gen_random_uuid();
        update leadrouter.scheduled_jobs j set run_id = begin_job.run_id, grace_ms = p_grace_ms, last_started_at = v_now,
            last_touched_at = v_now, last_ended_at = null, last_result = case when v_is_left then 'interrupted' end, last_detail = '{}',
            last_error = null, runs = j.runs + 1, next_run_at = coalesce(leadrouter.from_us(p_next_run_us), j.next_run_at)
        where j.name = p_name;
    end if;
    now_us := leadrouter.to_us(v_now);
    return next;
end
$function$;

-- Shows that a run goes on. is_mine false: it was given to somebody else meanwhile.
create function leadrouter.touch_job(p_name text, p_run_id uuid, out is_mine boolean, out is_paused boolean)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    update leadrouter.scheduled_jobs j set last_touched_at = clock_timestamp() where j.name = p_name and j.run_id = p_run_id
    returning true, j.is_paused into is_mine, is_paused;
    is_mine := coalesce(is_mine, false);
    is_paused := coalesce(is_paused, false);
end
$function$;

-- Ends a run; false when it was given to somebody else meanwhile, and then nothing is changed. With p_again_in_ms, for one that failed or
-- that a pause ended, it comes again after that time, unless its schedule is sooner.
create function leadrouter.end_job(p_name text, p_run_id uuid, p_is_done boolean, p_detail jsonb, p_error text, p_again_in_ms bigint)
    returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    update leadrouter.scheduled_jobs j set run_id = null, last_ended_at = clock_timestamp(), last_touched_at = clock_timestamp(),
        last_done_at = case when p_is_done then clock_timestamp() else j.last_done_at end,
        last_result = case when p_is_done then 'done' else 'failed' end, last_detail = coalesce(p_detail, '{}'), last_error = p_error,
        failures = case when p_is_done then 0 else j.failures + 1 end,
        next_run_at = least(j.next_run_at, clock_timestamp() + p_again_in_ms * interval '1 ms') -- null: of no account
    where j.name = p_name and j.run_id = p_run_id;
    return found;
end
$function$;

-- Records a run of a job that every server does all the time; the latest wins, but a run by hand that is under way.
create function leadrouter.note_job_run(p_name text, p_duration_ms bigint, p_is_done boolean, p_detail jsonb, p_error text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    update leadrouter.scheduled_jobs j set run_id = null, last_started_at = now() - p_duration_ms * interval '1 ms',
        last_touched_at = now(), last_ended_at = now(), last_done_at = case when p_is_done then now() else j.last_done_at end,
        last_result = case when p_is_done then 'done' else 'failed' end,
        last_detail = coalesce(p_detail, '{}'), last_error = p_error, failures = case when p_is_done then 0 else j.failures + 1 end,
        runs = j.runs + 1
    where j.name = p_name and (j.run_id is null or leadrouter.run_is_left(j.last_touched_at, j.grace_ms, now()));
end
$function$;

-- No server begins a run of it until it is resumed. LR404 when there is no such job.
create function leadrouter.pause_job(p_name text, p_actor_id uuid, p_note text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    update leadrouter.scheduled_jobs j set is_paused = true, paused_at = coalesce(j.paused_at, now()), paused_by = p_actor_id,
        pause_note = nullif(p_note, '')
    where j.name = p_name;
    if not found then
        raise exception 'no such job' using errcode = 'LR404';
    end if;
end
$function$;

-- What was missed stands in next_run_at, which has passed: it is made up for by one run.
create function leadrouter.resume_job(p_name text) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    update leadrouter.scheduled_jobs j set is_paused = false, paused_at = null, paused_by = null, pause_note = null where j.name = p_name;
    if not found then
        raise exception 'no such job' using errcode = 'LR404';
    end if;
    perform pg_notify('leadrouter_rules', ''); -- who listens looks again, at the queue too
end
$function$;

-- --- Leads that nobody looks after --------------------------------------------------------------------------------------

-- Pending leads without an open queue row, inserted over p_grace_seconds ago, and not more than p_window_seconds (null: ever): their
-- creator did not go on. They become due at once; held are those whose workspace is inactive, gone, or routes only when it is asked to.
-- Looks at p_limit pending leads, workspace by workspace, the oldest first, from behind the place p_after on (null: from the beginning);
-- next_after is where the next call goes on, null at the end. So a call costs what it looks at, however many leads wait for a retry. The
-- leads are locked by one statement and their rows looked for by the next, with a newer snapshot: a lead that somebody queued or decided
-- a moment ago is none of ours.
create function leadrouter.queue_lost_leads(p_grace_seconds integer, p_window_seconds integer, p_limit integer, p_after text,
        out queued integer, out next_after text)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
    set enable_bitmapscan = off
as $function$
declare
    v_from timestamptz := coalesce(now() - p_window_seconds * interval '1 second', '-infinity');
    v_until timestamptz := now() - p_grace_seconds * interval '1 second';
    v_source uuid := split_part(p_after, ' ', 1);
    v_at timestamptz := greatest(leadrouter.from_us(split_part(p_after, ' ', 2)::bigint), v_from);
    v_id uuid := split_part(p_after, ' ', 3);
    v_left integer := greatest(p_limit, 1);
    v_lost uuid[] := '{}';
    v_chunk record;
begin
    loop
        if v_source is null or v_at is null then -- on to the next workspace that undecided leads came in through
            v_source := (select l.source_workspace_id from public.leads l
                where l.routing_status in ('pending', 'routing', 'failed')
                  and l.source_workspace_id > coalesce(v_source, '00000000-0000-0000-0000-000000000000')
                order by l.source_workspace_id limit 1);
            exit when v_source is null;
            v_at := v_from;
            v_id := '00000000-0000-0000-0000-000000000000';
        end if;
        select count(*)::integer as looked_at, max(x.created_at) as at, (array_agg(x.id order by x.created_at desc, x.id desc))[1] as id,
            array_agg(x.id) filter (where x.is_lost) as lost
        into v_chunk
        from (select l.id, l.created_at, l.lead_expires_at > now() and not exists (
                    select from public.lead_routing_queue q where q.lead_id = l.id and q.processed_at is null offset 0) as is_lost
            from public.leads l
            where l.source_workspace_id = v_source and l.routing_status = 'pending' and l.created_at < v_until
              and (l.created_at, l.id) > (v_at, v_id)
            order by l.created_at, l.id limit v_left) x;
        v_lost := v_lost || v_chunk.lost;
        v_left := v_left - v_chunk.looked_at;
        if v_left <= 0 then
            next_after := concat_ws(' ', v_source, leadrouter.to_us(v_chunk.at), v_chunk.id);
            exit;
        end if;
        v_at := null;
    end loop;

    v_lost := array(
        select l.id from unnest(v_lost) i cross join lateral (
            select x.id from public.leads x
            where x.id = i and coalesce(x.routing_status = 'pending' and x.lead_expires_at > now(), false)
            for no key update skip locked) l);
    with opened as (
        insert into public.lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, last_error, error_class,
            rules_version)
        select l.id, l.source_workspace_id, l.routing_attempts, 3, case when r.is_routed then now() else 'infinity' end,
            'nobody had asked for it', case when r.is_routed then 'lost' else 'held' end, coalesce(v.version, 0)
        from unnest(v_lost) i
        cross join lateral (select x.id, x.source_workspace_id, x.routing_attempts from public.leads x where x.id = i offset 0) l
        left join lateral (
            select x.is_active, x.routing_config from public.workspaces x where x.id = l.source_workspace_id offset 0) w on true
        left join lateral (select x.version from leadrouter.rule_versions x where x.workspace_id = l.source_workspace_id offset 0) v on true
        cross join lateral (select coalesce(w.is_active and coalesce((w.routing_config ->> 'auto_route')::boolean, true), false)
            as is_routed) r
        where not exists (select from public.lead_routing_queue q where q.lead_id = l.id and q.processed_at is null offset 0)
        returning lead_id, workspace_id, attempt_number, next_retry_at, error_class, rules_version
    ), logged as (
        insert into public.lead_routing_logs (lead_id, source_workspace_id, routing_result, error_message, attempt_number, created_at,
            routing_metadata)
        select o.lead_id, o.workspace_id, 'requeued', 'nobody had asked for it', o.attempt_number, clock_timestamp(),
            jsonb_strip_nulls(jsonb_build_object('reason', 'nobody had asked for it', 'error_class', o.error_class,
                'rules_version', o.rules_version, 'next_retry_us', leadrouter.to_us(o.next_retry_at)))
        from opened o
    )
    select count(*) into queued from opened;
end
$function$;

-- The second half of release_stale_locks(), for leads that the transaction has locked.
create function leadrouter.release_leads(p_lead_ids uuid[]) returns integer
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
    with stale as materialized (
        select l.id, l.routing_locked_by, coalesce(q.max_attempts, 3) as max_attempts, q.id as queue_id,
            coalesce(v.version, 0) as version,
            leadrouter.next_attempt(l.routing_status, l.routing_attempts, coalesce(q.max_attempts, 3), q.rules_version,
                coalesce(v.version, 0)) as attempt
        from unnest(p_lead_ids) i
        cross join lateral (select * from public.leads x where x.id = i offset 0) l
        left join lateral (
            select x.id, x.max_attempts, x.rules_version from public.lead_routing_queue x
            where x.lead_id = l.id and x.processed_at is null offset 0) q on true
        left join lateral (select x.version from leadrouter.rule_versions x where x.workspace_id = l.source_workspace_id offset 0) v on true
    ), released as (
        update public.leads l set
            routing_status = case when s.attempt < s.max_attempts then 'pending' else 'failed' end::public.lead_routing_status,
            routing_attempts = s.attempt, routing_locked_by = null, routing_locked_at = null,
            routing_error = 'its worker held it for too long', routing_failed_at = now(), updated_at = now()
        from stale s where l.id = any (array[s.id])
        returning l.id, l.source_workspace_id, l.routing_status, l.routing_attempts, s.routing_locked_by, s.max_attempts, s.queue_id,
            s.version, case when l.routing_status = 'pending' then now() else 'infinity' end as next_retry_at
    ), logged as (
        insert into public.lead_routing_logs (lead_id, source_workspace_id, routing_result, error_message, lock_owner, attempt_number,
            created_at, routing_metadata)
        select r.id, r.source_workspace_id, 'released', 'its worker held it for too long', r.routing_locked_by,
            r.routing_attempts, clock_timestamp(), jsonb_strip_nulls(jsonb_build_object('reason', 'its worker held it for too long',
                'error_class', 'stale_lock', 'status', r.routing_status, 'rules_version', r.version,
                'next_retry_us', leadrouter.to_us(r.next_retry_at)))
        from released r
    ), moved as (
        update public.lead_routing_queue q set attempt_number = r.routing_attempts, rules_version = r.version, updated_at = now(),
            next_retry_at = r.next_retry_at, last_error = 'its worker held it for too long', error_class = 'stale_lock',
            error_count = r.routing_attempts
        from released r where q.id = any (array[r.queue_id]) and q.processed_at is null
    ), opened as (
        insert into public.lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, last_error,
            error_count, error_class, rules_version)
        select r.id, r.source_workspace_id, r.routing_attempts, r.max_attempts, r.next_retry_at, 'its worker held it for too long',
            r.routing_attempts, 'stale_lock', r.version
        from released r where r.queue_id is null
    )
    select count(*) into v_count from released;
    return v_count;
end
$function$;

-- Whether a step over many leads may go on without the one that broke it: not when it met another transaction, nor when the database is
-- short of something.
create function leadrouter.is_a_leads_fault(p_sqlstate text) returns boolean
    language sql immutable parallel safe
as $function$
    select left(p_sqlstate, 2) not in ('40', '53', '57', '58', 'XX')
$function$;

-- Locks of workers that are older than p_older_than_seconds: the attempt counts as failed, and the lead is due at once, or failed when no
-- attempts are left. What the old owner says later finds a lead that it does not hold. A lead that the database lets nobody change is
-- passed over.
create function leadrouter.release_stale_locks(p_older_than_seconds integer, p_limit integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
declare
    v_ids uuid[];
    v_id uuid;
    v_count integer := 0;
begin
    v_ids := array(
        select l.id from public.leads l
        where l.routing_status = 'routing' and l.routing_locked_at < now() - p_older_than_seconds * interval '1 second'
        order by l.routing_locked_at limit p_limit
        for no key update skip locked);
    begin
        return leadrouter.release_leads(v_ids);
    exception when others then
        if not leadrouter.is_a_leads_fault(sqlstate) then
            raise;
        end if;
    end;
    foreach v_id in array v_ids loop
        begin
            v_count := v_count + leadrouter.release_leads(array[v_id]);
        exception when others then
            if not leadrouter.is_a_leads_fault(sqlstate) then
                raise;
            end if;
        end;
    end loop;
    return v_count;
end
$function$;

-- decide() with one verdict for many leads that the transaction has locked; returns how many it was carried out for.
create function leadrouter.decide_alike(p_lead_ids uuid[], p_source_workspace_ids uuid[], p_verdict smallint, p_reason text,
        p_error_class text, p_actor_id uuid) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_size integer[] := array[coalesce(cardinality(p_lead_ids), 0)];
    v_count integer;
begin
    if v_size[1] = 0 then
        return 0;
    end if;
    perform from leadrouter.decide(p_lead_ids, p_source_workspace_ids, array(select gen_random_uuid() from unnest(p_lead_ids)),
        array_fill(p_verdict, v_size), array_fill(null::uuid, v_size), array_fill(null::uuid, v_size), array_fill(null::text, v_size),
        array(select coalesce(v.version, 0) from unnest(p_source_workspace_ids) with ordinality as s (id, n)
              left join leadrouter.rule_versions v on v.workspace_id = s.id order by s.n),
        array_fill(null::uuid, v_size), array_fill(p_reason, v_size), array_fill(p_error_class, v_size), array_fill(3, v_size),
        array_fill(p_actor_id, v_size), array_fill(false, v_size), array_fill(90, v_size), array_fill(null::text, v_size),
        array_fill(null::bigint, v_size));
    get diagnostics v_count = row_count;
    return v_count;
end
$function$;

-- Pending and failed leads past their time to live, never one that somebody holds; of one workspace, or of all. Leads that the database
-- lets nobody change are passed over, up to ten times p_limit of them; check_expired_leads() says that there are such.
create function leadrouter.expire_leads(p_workspace_id uuid, p_limit integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
declare
    v_ids uuid[];
    v_sources uuid[];
    v_after timestamptz := '-infinity';
    v_after_id uuid := '00000000-0000-0000-0000-000000000000';
    v_count integer := 0;
begin
    for v_round in 1 .. 10 loop
        select array_agg(e.id), array_agg(e.source_workspace_id), max(e.lead_expires_at),
            (array_agg(e.id order by e.lead_expires_at desc, e.id desc))[1]
        into v_ids, v_sources, v_after, v_after_id
        from (select l.id, l.source_workspace_id, l.lead_expires_at from public.leads l
            where l.routing_status in ('pending', 'failed') and l.lead_expires_at <= now() and l.lead_expires_at >= v_after
              and (l.lead_expires_at, l.id) > (v_after, v_after_id) and (p_workspace_id is null or l.source_workspace_id = p_workspace_id)
            order by l.lead_expires_at, l.id limit p_limit
            for no key update skip locked) e;
        exit when v_ids is null;
        begin
            return leadrouter.decide_alike(v_ids, v_sources, 4::smallint, 'its time to live has passed', null, null);
        exception when others then
            if not leadrouter.is_a_leads_fault(sqlstate) then
                raise;
            end if;
        end;
        for i in 1 .. cardinality(v_ids) loop
            begin
                v_count := v_count + leadrouter.decide_alike(v_ids[i : i], v_sources[i : i], 4::smallint, 'its time to live has passed',
                    null, null);
            exception when others then
                if not leadrouter.is_a_leads_fault(sqlstate) then
                    raise;
                end if;
            end;
        end loop;
        exit when v_count > 0;
    end loop;
    return v_count;
end
$function$;

-- Raises when leads are left that expire_leads() should have ended and that nobody holds.
create function leadrouter.check_expired_leads() returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
declare
    v_count integer := cardinality(array(
        select l.id from public.leads l
        where l.routing_status in ('pending', 'failed') and l.lead_expires_at <= now() - interval '1 minute'
        limit 1000 for no key update skip locked));
begin
    if v_count > 0 then
        raise exception '% leads past their time to live cannot be changed', v_count using errcode = 'LR423';
    end if;
    return 0;
end
$function$;

-- --- What is no longer needed -------------------------------------------------------------------------------------------

-- Sweeps walk over a table by its pages, a range a call: no index is kept, and written to with each lead, for what is looked for once a
-- day. next_page is null at the end.

-- Claims whose time has passed. Who takes such a claim at the same time has it.
create function leadrouter.sweep_claims(p_from_page bigint, p_page_count integer, out removed bigint, out next_page bigint)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
declare
    v_first tid := format('(%s,0)', p_from_page);
    v_end tid := format('(%s,0)', p_from_page + p_page_count);
begin
    with past as materialized (
        select c.ctid as place from public.lead_dedupe_claims c
        where c.ctid >= v_first and c.ctid < v_end and c.expires_at <= now()
        for update skip locked
    )
    delete from public.lead_dedupe_claims c using past p where c.ctid = p.place and c.expires_at <= now();
    get diagnostics removed = row_count;
    next_page := leadrouter.next_page('public.lead_dedupe_claims', p_from_page + p_page_count);
end
$function$;

-- Queue rows that were processed over p_keep_days ago. Open ones whose leads have gone, or are final, are closed: nothing would ever take
-- those that wait for a change of rules.
create function leadrouter.sweep_queue(p_keep_days integer, p_from_page bigint, p_page_count integer, out removed bigint,
        out next_page bigint)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
declare
    v_first tid := format('(%s,0)', p_from_page);
    v_end tid := format('(%s,0)', p_from_page + p_page_count);
begin
    if p_keep_days is null or p_keep_days < 1 then
        raise exception 'p_keep_days: must be at least 1' using errcode = '22023';
    end if;
    with past as materialized (
        select q.ctid as place from public.lead_routing_queue q
        where q.ctid >= v_first and q.ctid < v_end and q.processed_at <= now() - p_keep_days * interval '1 day'
        for update skip locked
    )
    delete from public.lead_routing_queue q using past p where q.ctid = p.place and q.processed_at is not null;
    get diagnostics removed = row_count;
    with orphaned as materialized (
        select q.id from public.lead_routing_queue q
        where q.ctid >= v_first and q.ctid < v_end and q.processed_at is null and leadrouter.is_orphaned(q.lead_id)
        for no key update skip locked
    )
    update public.lead_routing_queue q set processed_at = now(), updated_at = now(),
        last_error = 'the lead has gone, or was decided elsewhere'
    from orphaned o where q.id = any (array[o.id]) and q.processed_at is null;
    next_page := leadrouter.next_page('public.lead_routing_queue', p_from_page + p_page_count);
end
$function$;

-- The page on which a walk over a table goes on, or null at its end.
create function leadrouter.next_page(p_table regclass, p_page bigint) returns bigint
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $function$
    select case when p_page < pg_relation_size(p_table) / current_setting('block_size')::bigint then p_page end
$function$;

-- Raises when days of the audit log are left that drop_log_partitions() should have dropped: somebody reads them; it is to be tried again.
create function leadrouter.check_log_partitions(p_keep_days integer) returns integer
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_count integer;
begin
    select count(*) into v_count from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.lead_routing_logs'::regclass
      and c.relname < 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date - p_keep_days, 'YYYYMMDD');
    if v_count > 0 then
        raise exception '% days of the audit log are in use and could not be dropped', v_count using errcode = 'LR423';
    end if;
    return 0;
end
$function$;

-- Versions of rules that were not in force any more p_keep_days ago, and what only they had; returns how many versions. None that a row of
-- the log may name (it goes by whole days, and a day that somebody reads stays longer), and none that an open queue row names. A change is
-- dated at the beginning of its transaction, while decisions went by the version before until its commit: for that a day more.
create function leadrouter.prune_rule_versions(p_keep_days integer, p_limit integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_workspace_ids uuid[];
    v_count integer;
    v_until timestamptz;
begin
    if p_keep_days is null or p_keep_days < 1 then
        raise exception 'p_keep_days: must be at least 1' using errcode = '22023';
    end if;
    v_until := least(now() - p_keep_days * interval '1 day', (
        select to_date(right(min(c.relname), 8), 'YYYYMMDD')::timestamp at time zone 'UTC'
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'public.lead_routing_logs'::regclass)) - interval '1 day';
    with past as materialized (
        select s.workspace_id, s.version from leadrouter.rule_set_versions s
        where exists ( -- the next one is that old too: until then this one was in force
            select from leadrouter.rule_set_versions n
            where n.workspace_id = s.workspace_id and n.version = s.version + 1 and n.created_at <= v_until)
          and not exists (
            select from public.lead_routing_queue q
            where q.workspace_id = s.workspace_id and q.rules_version = s.version and q.processed_at is null)
        order by s.workspace_id, s.version limit p_limit
        for update skip locked
    ), pruned as (
        delete from leadrouter.rule_set_versions s using past p where s.workspace_id = p.workspace_id and s.version = p.version
        returning s.workspace_id
    )
    select array_agg(distinct p.workspace_id), count(*) into v_workspace_ids, v_count from pruned p;
    -- What ended before the oldest version that is left.
    delete from leadrouter.rule_history h
    using unnest(v_workspace_ids) w, lateral (
        select min(s.version) as version from leadrouter.rule_set_versions s where s.workspace_id = w) oldest
    where h.workspace_id = w and h.to_version <= oldest.version;
    delete from leadrouter.set_history h
    using unnest(v_workspace_ids) w, lateral (
        select min(s.version) as version from leadrouter.rule_set_versions s where s.workspace_id = w) oldest
    where h.workspace_id = w and h.to_version <= oldest.version;
    return v_count;
end
$function$;

-- --- The retry queue by hand --------------------------------------------------------------------------------------------

-- Open rows in the order in which they come, those that only a change of rules makes due last; from behind the row on of which
-- p_after_us (null: one without a time) and p_after_id (null: from the beginning) are next_retry_us and queue_id.
create function leadrouter.list_retries(p_workspace_id uuid, p_due_only boolean, p_after_us bigint, p_after_id uuid, p_limit integer)
    returns table (queue_id uuid, lead_id uuid, workspace_id uuid, attempt_number integer, max_attempts integer, next_retry_us bigint,
        is_due boolean, error_class text, last_error text, created_us bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
declare
    v_after timestamptz := case when p_after_id is null then '-infinity' else coalesce(leadrouter.from_us(p_after_us), 'infinity') end;
    v_after_id uuid := coalesce(p_after_id, '00000000-0000-0000-0000-000000000000');
begin
    if p_due_only then
        -- Those whose time has come, in the order of their index; then those that new rules bring back. Rows that are not due are not read.
        return query
        select q.id, q.lead_id, q.workspace_id, q.attempt_number, q.max_attempts, leadrouter.to_us(q.next_retry_at), true, q.error_class,
            q.last_error, leadrouter.to_us(q.created_at)
        from (
            (select d.* from public.lead_routing_queue d
             where d.processed_at is null and d.next_retry_at <= now() and d.next_retry_at >= v_after
               and (d.next_retry_at, d.id) > (v_after, v_after_id) and (p_workspace_id is null or d.workspace_id = p_workspace_id)
             order by d.next_retry_at, d.id limit p_limit)
            union all
            (select o.* from leadrouter.rule_versions v, lateral (
                select x.* from public.lead_routing_queue x
                where x.workspace_id = v.workspace_id and x.rules_version < v.version and x.processed_at is null
                  and coalesce(x.next_retry_at > now() and (x.next_retry_at, x.id) > (v_after, v_after_id), false)
                offset 0) o
             where p_workspace_id is null or v.workspace_id = p_workspace_id
             order by o.next_retry_at, o.id limit p_limit)
        ) q
        order by q.next_retry_at, q.id
        limit p_limit;
        return;
    end if;
    return query
    select q.id, q.lead_id, q.workspace_id, q.attempt_number, q.max_attempts, leadrouter.to_us(q.next_retry_at),
        q.next_retry_at <= now() or coalesce(v.version, 0) > q.rules_version, q.error_class, q.last_error, leadrouter.to_us(q.created_at)
    from public.lead_routing_queue q
    left join leadrouter.rule_versions v on v.workspace_id = q.workspace_id
    where q.processed_at is null and q.next_retry_at >= v_after and (q.next_retry_at, q.id) > (v_after, v_after_id)
      and (p_workspace_id is null or q.workspace_id = p_workspace_id)
    order by q.next_retry_at, q.id
    limit p_limit;
end
$function$;

-- Workspaces with more due rows than that, the most first. By indexes: rows that are not due cost nothing.
create function leadrouter.workspaces_due(p_more_than integer, p_limit integer)
    returns table (workspace_id uuid, due bigint)
    language plpgsql stable security definer rows 10
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
begin
    return query
    select d.workspace_id, count(*) as due
    from (
        select q.workspace_id from public.lead_routing_queue q where q.processed_at is null and q.next_retry_at <= now()
        union all
        select q.workspace_id from leadrouter.rule_versions v, lateral (
            select x.workspace_id from public.lead_routing_queue x
            where x.workspace_id = v.workspace_id and x.rules_version < v.version and x.processed_at is null
              and coalesce(x.next_retry_at > now(), false)
            offset 0) q
    ) d
    group by d.workspace_id
    having count(*) > p_more_than
    order by 2 desc, 1
    limit p_limit;
end
$function$;

-- Gives leads up: each fails at once, and no change of rules brings it back. One row per pair, in order: 'cancelled', 'not_found' (no
-- such lead in that workspace, or no open row), 'busy' (somebody holds it).
create function leadrouter.cancel_retries(p_lead_ids uuid[], p_workspace_ids uuid[], p_actor_id uuid, p_reason text)
    returns table (ord integer, result text)
    language plpgsql security definer rows 100
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
#variable_conflict use_column
declare
    v_ids uuid[];
    v_sources uuid[];
begin
    -- In order of the ids, though it waits for nobody: two callers with the same leads then share them evenly.
    select array_agg(c.id), array_agg(c.source_workspace_id) into v_ids, v_sources
    from (
        select l.id, l.source_workspace_id
        from (select distinct lead_id, workspace_id from unnest(p_lead_ids, p_workspace_ids) as r (lead_id, workspace_id)
              order by lead_id, workspace_id) r
        cross join lateral (
            select x.id, x.source_workspace_id from public.leads x
            where x.id = r.lead_id and coalesce(x.source_workspace_id = r.workspace_id, false) and x.routing_status in ('pending', 'failed')
              and exists (select from public.lead_routing_queue q where q.lead_id = x.id and q.processed_at is null offset 0)
            for no key update skip locked) l) c;
    -- Looked for again with a newer snapshot: somebody may have given a lead up while the first statement was on its way to it.
    select array_agg(c.id order by c.id), array_agg(c.source order by c.id) into v_ids, v_sources
    from unnest(v_ids, v_sources) c (id, source)
    where exists (select from public.lead_routing_queue q where q.lead_id = c.id and q.processed_at is null offset 0);
    perform leadrouter.decide_alike(v_ids, v_sources, 3::smallint, coalesce(nullif(p_reason, ''), 'given up by hand'), 'cancelled',
        p_actor_id);
    return query
    select r.n::integer, case
        when r.lead_id = any (v_ids) and exists (
            select from public.leads l
            where l.id = r.lead_id and coalesce(l.source_workspace_id = r.workspace_id, false) offset 0) then 'cancelled'
        when exists (
            select from public.leads l
            where l.id = r.lead_id and coalesce(l.source_workspace_id = r.workspace_id, false)
              and exists (select from public.lead_routing_queue q where q.lead_id = l.id and q.processed_at is null offset 0)
            offset 0) then 'busy'
        else 'not_found' end
    from unnest(p_lead_ids, p_workspace_ids) with ordinality as r (lead_id, workspace_id, n)
    order by r.n;
end
$function$;

select leadrouter.seal_functions('{run_is_left, release_leads, is_a_leads_fault, decide_alike, next_page}');
select leadrouter.seal_functions('{
    register_jobs, list_jobs, begin_job, touch_job, end_job, note_job_run, pause_job, resume_job, queue_lost_leads, release_stale_locks,
    expire_leads, check_expired_leads, sweep_claims, sweep_queue, prune_rule_versions, check_log_partitions, list_retries,
    workspaces_due, cancel_retries}', 'leadrouter_service');
