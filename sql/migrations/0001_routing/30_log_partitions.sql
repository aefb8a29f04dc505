-- step: transaction
--
-- Daily partitions of the audit log, in the schema leadrouter. Made by LIKE and ATTACH, which do not block inserts; there is no default
-- partition, so a missing day is an error that is seen and not a heap that can no longer be divided.

create function leadrouter.log_is_append_only() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
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
        -- Those of the migration itself are sealed by its step 85, with the table that they belong to.
        if to_regprocedure('leadrouter.seal_table(regclass)') is not null then
            perform leadrouter.seal_table(format('leadrouter.%I', v_name)::regclass);
        end if;
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

-- Drops the partitions that ended more than p_keep_days ago; one whose lock is not had in 200 ms is left for the next call, because a
-- waiting DROP stalls inserts. Returns how many were dropped.
create function leadrouter.drop_log_partitions(p_keep_days integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set lock_timeout = '200ms'
as $function$
declare
    v_oldest text := 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date - p_keep_days, 'YYYYMMDD');
    v_name text;
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
            execute format('drop table leadrouter.%I', v_name);
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

alter function leadrouter.log_is_append_only() owner to leadrouter_owner;
alter function leadrouter.make_log_partitions(integer) owner to leadrouter_owner;
alter function leadrouter.drop_log_partitions(integer) owner to leadrouter_owner;
alter function leadrouter.log_partition_days_ahead() owner to leadrouter_owner;
revoke all on function leadrouter.log_is_append_only(), leadrouter.make_log_partitions(integer),
    leadrouter.drop_log_partitions(integer), leadrouter.log_partition_days_ahead() from public;
grant execute on function leadrouter.make_log_partitions(integer), leadrouter.drop_log_partitions(integer),
    leadrouter.log_partition_days_ahead() to leadrouter_service;

select leadrouter.make_log_partitions(30);
