-- step: transaction
--
-- Erasing a person: what says something of whom a lead is about goes from everywhere, and what was decided stays.

-- What there is to empty in leads; the table may be the host's, and some of its columns not null. Notes when it was: also of a lead that
-- had nothing, the first time, so that whoever asks for an erasure sees that it was done. The lead's trigger takes the identity's hash
-- away. False: it had been erased, and was still empty.
create function leadrouter.empty_lead(p_lead_id uuid) returns boolean
    language plpgsql
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
declare
    v_set text;
    v_is_empty text;
    v_count integer;
begin
    select string_agg(format('%I = %s', a.attname, c.empty), ', ' order by a.attnum),
        string_agg(format('coalesce(l.%I::text, %L) = %L', a.attname, c.text, c.text), ' and ' order by a.attnum)
    into v_set, v_is_empty
    from pg_attribute a, lateral (
        select case when a.attname = 'attributes' then '{}' else '' end as text,
            case when a.attname = 'attributes' then quote_literal('{}') when a.attnotnull then quote_literal('') else 'null' end as empty) c
    where a.attrelid = 'public.leads'::regclass and not a.attisdropped
      and a.attname in ('email', 'phone', 'first_name', 'last_name', 'company_name', 'city', 'postal_code', 'external_id', 'import_key',
          'attributes', 'routing_error');
    execute format('update public.leads l set %s, erased_at = now(), updated_at = now()'
        ' where l.id = $1 and (l.erased_at is null or not (%s))', v_set, v_is_empty) using p_lead_id;
    get diagnostics v_count = row_count;
    return v_count > 0;
end
$function$;

-- Empties the log's rows of a lead, but those that record erasures, and records it: for each row with the digest of what it had, so that
-- its seal is still good. Returns how many there were.
create function leadrouter.erase_log(p_lead_id uuid, p_workspace_id uuid, p_attempt integer, p_actor_id uuid) returns integer
    language plpgsql
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
declare
    v_rows jsonb;
    v_count integer;
begin
    select jsonb_object_agg(g.id, encode(leadrouter.log_erasable_digest(g.error_message, g.lock_owner, g.routing_metadata), 'hex'))
    into v_rows
    from public.lead_routing_logs g
    where g.lead_id = p_lead_id and coalesce(g.source_workspace_id = p_workspace_id, false) and g.routing_result <> 'erased'
      and (num_nonnulls(g.error_message, g.lock_owner) > 0 or g.routing_metadata ?| array['reason', 'facts']);
    insert into public.lead_routing_logs (lead_id, source_workspace_id, routing_result, attempt_number, actor_id, created_at,
        routing_metadata)
    values (p_lead_id, p_workspace_id, 'erased', p_attempt, p_actor_id, clock_timestamp(),
        jsonb_build_object('reason', 'personal data was erased', 'rows', coalesce(v_rows, '{}')));
    update public.lead_routing_logs g set error_message = null, lock_owner = null,
        routing_metadata = g.routing_metadata - array['reason', 'facts']
    where g.lead_id = p_lead_id and v_rows ? g.id::text;
    get diagnostics v_count = row_count;
    return v_count;
end
$function$;

-- Empties what is personal about a lead that came in through that workspace: in the lead, its rows in the retry queue, and its rows in the
-- log. An undecided lead expires by it. The identity's claim stays, with its hash, so that a copy is still a duplicate. Waits for a
-- transaction that has the lead, not for a worker that holds it (LR423). A lead that was deleted still has rows in the log. LR404: neither
-- lead nor rows. was_done false: there was nothing to erase any more.
create function leadrouter.erase_lead(p_lead_id uuid, p_workspace_id uuid, p_actor_id uuid, out was_done boolean, out has_expired boolean,
        out log_rows integer, out queue_rows integer)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set lock_timeout = '5s'
as $function$
declare
    v_lead record;
    v_is_there boolean;
begin
    select l.id, l.routing_status, l.routing_attempts into v_lead
    from public.leads l where l.id = p_lead_id and coalesce(l.source_workspace_id = p_workspace_id, false) for no key update;
    v_is_there := found;
    if (not v_is_there and not exists (
            select from public.lead_routing_logs g
            where g.lead_id = p_lead_id and coalesce(g.source_workspace_id = p_workspace_id, false)))
       or exists (select from public.leads l where l.id = p_lead_id and l.source_workspace_id <> p_workspace_id) then
        raise exception 'no such lead in that workspace' using errcode = 'LR404';
    end if;
    if v_lead.routing_status = 'routing' then
        raise exception 'a worker holds the lead' using errcode = 'LR423';
    end if;
    has_expired := v_is_there and v_lead.routing_status in ('pending', 'failed');
    if has_expired then
        perform leadrouter.decide_alike(array[p_lead_id], array[p_workspace_id], 4::smallint, 'its personal data was erased', null,
            p_actor_id);
    end if;
    was_done := has_expired;
    if v_is_there then
        was_done := leadrouter.empty_lead(p_lead_id) or was_done;
    end if;
    update public.lead_routing_queue q set last_error = null, routing_context = '{}', updated_at = now()
    where q.ctid = any (array(select x.ctid from public.lead_routing_queue x where x.lead_id = p_lead_id and x.processed_at is null)
            || array(select x.ctid from public.lead_routing_queue x where x.lead_id = p_lead_id and x.processed_at is not null))
      and (q.last_error is not null or q.routing_context <> '{}');
    get diagnostics queue_rows = row_count;
    log_rows := 0;
    if was_done or queue_rows > 0 or exists (
            select from public.lead_routing_logs g
            where g.lead_id = p_lead_id and coalesce(g.source_workspace_id = p_workspace_id, false) and g.routing_result <> 'erased'
              and (num_nonnulls(g.error_message, g.lock_owner) > 0 or g.routing_metadata ?| array['reason', 'facts'])) then
        was_done := true;
        log_rows := leadrouter.erase_log(p_lead_id, p_workspace_id, coalesce(v_lead.routing_attempts, 0), p_actor_id);
    end if;
end
$function$;

select leadrouter.seal_functions('{empty_lead, erase_log}');
select leadrouter.seal_functions('{erase_lead}', 'leadrouter_service');
