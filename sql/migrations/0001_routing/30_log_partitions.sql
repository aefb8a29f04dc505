-- step: transaction
--
-- Daily partitions of the audit log, in the schema leadrouter. Made by LIKE and ATTACH, which do not block inserts; there is no default
-- partition, so a missing day is an error that is seen and not a heap that can no longer be divided.

-- What of a log row says something of a person: its texts, what the rules looked at, and, since it is a random number that nobody else
-- keeps, the lock's owner, without which such a digest could be guessed.
create function leadrouter.log_erasable_digest(p_error_message text, p_lock_owner uuid, p_metadata jsonb) returns bytea
    language sql stable parallel safe
as $function$
    select sha256(convert_to(jsonb_build_array(p_error_message, p_lock_owner, p_metadata -> 'reason', p_metadata -> 'facts')::text, 'UTF8'))
$function$;

-- The one change that there is: erase_lead() empties what says something of a person, in a transaction that has written the digest of it
-- into the log before.
create function leadrouter.log_is_append_only() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
begin
    if tg_op = 'UPDATE' and tg_level = 'ROW' then
        if to_jsonb(new) - array['error_message', 'lock_owner', 'routing_metadata']
               = to_jsonb(old) - array['error_message', 'lock_owner', 'routing_metadata']
           and num_nonnulls(new.error_message, new.lock_owner) = 0
           and new.routing_metadata::text = (old.routing_metadata - array['reason', 'facts'])::text
           and exists (
               select from public.lead_routing_logs e
               where e.lead_id = old.lead_id and e.routing_result = 'erased' and e.transaction_id = pg_current_xact_id()
                 and e.routing_metadata #>> array['rows', old.id::text] =
                     encode(leadrouter.log_erasable_digest(old.error_message, old.lock_owner, old.routing_metadata), 'hex')) then
            return new;
        end if;
    end if;
    raise exception 'the audit log is append-only: % is refused', tg_op using errcode = '42501';
end
$function$;

create trigger log_append_only before update or delete on public.lead_routing_logs
    for each row execute function leadrouter.log_is_append_only();
create trigger log_no_truncate before truncate on public.lead_routing_logs
    for each statement execute function leadrouter.log_is_append_only();

-- Makes the partitions from today to p_days_ahead days later (UTC) that are missing; returns how many. One caller at a time:
-- servers start together.
create function leadrouter.make_log_partitions(p_days_ahead integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_today date := (now() at time zone 'UTC')::date;
    v_day date;
    v_name text;
    v_made integer := 0;
begin
    if p_days_ahead is null or p_days_ahead not between 0 and 3650 then
        raise exception 'p_days_ahead: must be between 0 and 3650' using errcode = '22023';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('leadrouter.make_log_partitions', 0));
    for v_day in select v_today + n from generate_series(0, p_days_ahead) n loop
        v_name := 'lead_routing_logs_' || to_char(v_day, 'YYYYMMDD');
        continue when to_regclass('leadrouter.' || v_name) is not null;
        execute format('create table leadrouter.%I (like public.lead_routing_logs including defaults including constraints)', v_name);
        perform leadrouter.seal_table(format('leadrouter.%I', v_name)::regclass);
        -- Statement triggers do not pass to partitions.
        execute format('create trigger log_no_truncate before truncate on leadrouter.%I for each statement'
                       ' execute function leadrouter.log_is_append_only()', v_name);
        execute format('alter table public.lead_routing_logs attach partition leadrouter.%I for values from (%L) to (%L)',
            v_name, v_day::timestamp at time zone 'UTC', (v_day + 1)::timestamp at time zone 'UTC');
        v_made := v_made + 1;
    end loop;
    return v_made;
end
$function$;

-- Drops the partitions that ended more than p_keep_days ago, and says so in the chain of seals; one whose lock is not had in 200 ms is left
-- for the next call, because a waiting DROP stalls inserts, and so is one with rows that no seal covers yet. Returns how many were dropped.
create function leadrouter.drop_log_partitions(p_keep_days integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '200ms'
as $function$
declare
    v_oldest text := 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date - p_keep_days, 'YYYYMMDD');
    v_name text;
    v_is_unsealed boolean;
    v_dropped integer := 0;
begin
    if p_keep_days is null or p_keep_days < 1 then
        raise exception 'p_keep_days: must be at least 1' using errcode = '22023';
    end if;
    for v_name in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'public.lead_routing_logs'::regclass and c.relname < v_oldest order by c.relname
    loop
        begin
            perform from leadrouter.log_seals s where s.number = 0 for no key update;
            execute format('select exists (select from leadrouter.%I g where g.transaction_id >= (select s.to_transaction'
                ' from leadrouter.log_seals s order by s.number desc limit 1))', v_name) into v_is_unsealed;
            continue when v_is_unsealed;
            execute format('drop table leadrouter.%I', v_name);
            perform leadrouter.seal_drop(to_date(right(v_name, 8), 'YYYYMMDD'));
            v_dropped := v_dropped + 1;
        exception when lock_not_available then
            null;
        end;
    end loop;
    return v_dropped;
end
$function$;

-- How many whole days from now on have a partition; a server is not ready below 2.
create function leadrouter.log_partition_days_ahead() returns integer
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select count(*)::integer from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.lead_routing_logs'::regclass
      and c.relname > 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date, 'YYYYMMDD')
$function$;

select leadrouter.seal_functions('{log_erasable_digest, log_is_append_only}');
select leadrouter.seal_functions('{make_log_partitions, drop_log_partitions, log_partition_days_ahead}', 'leadrouter_service');

select leadrouter.make_log_partitions(30);
