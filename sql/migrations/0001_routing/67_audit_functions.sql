-- step: transaction
--
-- The audit log against tampering: seals, and their verification.

-- --- Digests ------------------------------------------------------------------------------------------------------------
-- SHA-256 over the UTF-8 bytes of a JSON array as jsonb is written, which no setting of a session bends: times are microseconds, bytes
-- are hexadecimal digits.

-- Of a row without what may be erased from it; that stands for itself by a digest of its own.
create function leadrouter.log_row_digest(p_id uuid, p_lead_id uuid, p_source_workspace_id uuid, p_destination_workspace_id uuid,
        p_matched_rule_id uuid, p_routing_result text, p_attempt_number integer, p_actor_id uuid, p_metadata jsonb,
        p_created_at timestamptz, p_transaction_id xid8, p_erasable_digest bytea) returns bytea
    language sql stable parallel safe
as $function$
    select sha256(convert_to(jsonb_build_array('leadrouter log row 1', p_id, p_lead_id, p_source_workspace_id, p_destination_workspace_id,
        p_matched_rule_id, p_routing_result, p_attempt_number, p_actor_id, p_metadata - array['reason', 'facts'],
        leadrouter.to_us(p_created_at), p_transaction_id::text, encode(p_erasable_digest, 'hex'))::text, 'UTF8'))
$function$;

-- Of a seal, with the hash of the one before it.
create function leadrouter.log_seal_hash(p_seal leadrouter.log_seals) returns bytea
    language sql stable
    set search_path = pg_catalog, pg_temp
as $function$
    select sha256(convert_to(jsonb_build_array('leadrouter log seal 1', p_seal.number, p_seal.kind, encode(p_seal.previous_hash, 'hex'),
        leadrouter.to_us(p_seal.sealed_at), p_seal.from_transaction::text, p_seal.from_id, p_seal.to_transaction::text, p_seal.to_id,
        to_jsonb(p_seal.days), to_jsonb(p_seal.row_counts),
        to_jsonb(array(select encode(d, 'hex') from unnest(p_seal.row_digests) with ordinality as x (d, n) order by n)),
        to_jsonb(array(select encode(d, 'hex') from unnest(p_seal.list_digests) with ordinality as x (d, n) order by n)))::text, 'UTF8'))
$function$;

-- Each row of the log with its digest. What was erased from a row has its digest in the row that records the erasure.
create view leadrouter.log_row_digests as
select g.id, g.created_at, g.transaction_id, g.lead_id, (g.created_at at time zone 'UTC')::date as day,
    leadrouter.log_row_digest(g.id, g.lead_id, g.source_workspace_id, g.destination_workspace_id, g.matched_rule_id, g.routing_result,
        g.attempt_number, g.actor_id, g.routing_metadata, g.created_at, g.transaction_id,
        coalesce(e.digest, leadrouter.log_erasable_digest(g.error_message, g.lock_owner, g.routing_metadata))) as digest
from public.lead_routing_logs g
left join lateral (
    select decode(x.routing_metadata #>> array['rows', g.id::text], 'hex') as digest
    from public.lead_routing_logs x
    where num_nonnulls(g.error_message, g.lock_owner) = 0 and not g.routing_metadata ?| array['reason', 'facts']
      and x.lead_id = g.lead_id and x.routing_result = 'erased' and x.created_at >= g.created_at
      and x.routing_metadata #>> array['rows', g.id::text] ~ '^[0-9a-f]{64}$'
    order by x.created_at
    limit 1) e on true;

-- --- Sealing --------------------------------------------------------------------------------------------------------------

-- The chain begins with a seal over nothing; its hash is a random number's, so that no two installations have the same chain.
do $body$
declare
    v_seal leadrouter.log_seals;
begin
    v_seal := row(0, 'first', sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), now(), '0'::xid8,
        '00000000-0000-0000-0000-000000000000'::uuid, '0'::xid8, '00000000-0000-0000-0000-000000000000'::uuid, '{}', '{}', '{}', '{}',
        '\x')::leadrouter.log_seals;
    v_seal.hash := leadrouter.log_seal_hash(v_seal);
    insert into leadrouter.log_seals select v_seal.*;
end
$body$;

-- The caller has the first seal's row locked, which is the chain's lock. Of p_seal only what is not told by its predecessor counts.
create function leadrouter.add_seal(p_seal leadrouter.log_seals) returns bigint
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_last leadrouter.log_seals;
begin
    select * into v_last from leadrouter.log_seals s order by s.number desc limit 1;
    -- Where lists are left of seals that are gone, it leaves a gap that is seen.
    p_seal.number := 1 + greatest(v_last.number, (select max(r.number) from leadrouter.log_seal_rows r));
    p_seal.previous_hash := v_last.hash;
    p_seal.sealed_at := clock_timestamp();
    p_seal.from_transaction := v_last.to_transaction;
    p_seal.from_id := v_last.to_id;
    p_seal.to_transaction := coalesce(p_seal.to_transaction, v_last.to_transaction);
    p_seal.to_id := coalesce(p_seal.to_id, v_last.to_id);
    p_seal.hash := leadrouter.log_seal_hash(p_seal);
    insert into leadrouter.log_seals select p_seal.*;
    return p_seal.number;
end
$function$;

-- Seals up to p_rows rows of the log, the oldest transactions first, of transactions below which none is under way: nothing can come in
-- among them later. Returns how many; 0 when there is nothing to seal, or somebody else seals. Rows of one transaction may be divided among
-- seals.
create function leadrouter.seal_log(p_rows integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan
as $function$
declare
    v_from xid8;
    v_from_id uuid;
    v_below xid8;
    v_seal leadrouter.log_seals;
    v_day record;
    v_lists bytea[] := '{}';
    v_total integer := 0;
begin
    if p_rows is null or p_rows not between 1 and 100000 then
        raise exception 'p_rows: must be between 1 and 100000' using errcode = '22023';
    end if;
    perform from leadrouter.log_seals s where s.number = 0 for no key update skip locked;
    if not found then
        if not exists (select from leadrouter.log_seals s where s.number = 0) then
            raise exception 'the first seal is gone: the audit log was tampered with' using errcode = '55000';
        end if;
        return 0;
    end if;
    select s.to_transaction, s.to_id into v_from, v_from_id from leadrouter.log_seals s order by s.number desc limit 1;
    v_below := pg_snapshot_xmin(pg_current_snapshot());
    if v_below < v_from then
        raise exception 'this cluster numbers transactions below % that are sealed: the log was restored from another one',
            v_from using errcode = '55000', hint = 'see "Another cluster" in sql/README.md';
    end if;
    v_seal.to_transaction := v_below;
    v_seal.to_id := '00000000-0000-0000-0000-000000000000';
    select g.transaction_id, g.id into v_seal.to_transaction, v_seal.to_id
    from public.lead_routing_logs g
    where g.transaction_id >= v_from and g.transaction_id < v_below and (g.transaction_id > v_from or g.id >= v_from_id)
    order by g.transaction_id, g.id offset p_rows limit 1;
    if not found then
        v_seal.to_transaction := v_below;
        v_seal.to_id := '00000000-0000-0000-0000-000000000000';
    end if;
    v_seal.kind := 'rows';
    v_seal.days := '{}';
    v_seal.row_counts := '{}';
    v_seal.row_digests := '{}';
    v_seal.list_digests := '{}';
    for v_day in
        select d.day, count(*)::integer as row_count,
            sha256(string_agg(d.digest, ''::bytea order by d.transaction_id, d.id, d.created_at)) as digest,
            string_agg(uuid_send(d.id) || substr(d.digest, 1, 8), ''::bytea order by d.transaction_id, d.id, d.created_at) as list
        from leadrouter.log_row_digests d
        where d.transaction_id >= v_from and d.transaction_id <= v_seal.to_transaction and (d.transaction_id > v_from or d.id >= v_from_id)
          and (d.transaction_id < v_seal.to_transaction or d.id < v_seal.to_id)
        group by d.day order by d.day
    loop
        v_seal.days := v_seal.days || v_day.day;
        v_seal.row_counts := v_seal.row_counts || v_day.row_count;
        v_seal.row_digests := v_seal.row_digests || v_day.digest;
        v_seal.list_digests := v_seal.list_digests || sha256(v_day.list);
        v_lists := v_lists || v_day.list;
        v_total := v_total + v_day.row_count;
    end loop;
    if v_total > 0 then
        v_seal.number := leadrouter.add_seal(v_seal);
        insert into leadrouter.log_seal_rows (number, day, list)
        select v_seal.number, l.day, l.list from unnest(v_seal.days, v_lists) as l (day, list);
    end if;
    return v_total;
end
$function$;

-- Says in the chain that a day was dropped, and forgets which rows it had. Who drops has the chain's lock.
create function leadrouter.seal_drop(p_day date) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_seal leadrouter.log_seals;
begin
    v_seal.kind := 'drop';
    v_seal.days := array[p_day];
    v_seal.row_counts := '{}';
    v_seal.row_digests := '{}';
    v_seal.list_digests := '{}';
    perform leadrouter.add_seal(v_seal);
    delete from leadrouter.log_seal_rows r where r.day = p_day;
end
$function$;

-- Refuses every change of seals; the lists of a day may go with it.
create function leadrouter.seals_are_append_only() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    -- The list of a day that was dropped goes with it.
    if tg_op = 'DELETE' and tg_relid = 'leadrouter.log_seal_rows'::regclass then
        if to_regclass('leadrouter.lead_routing_logs_' || to_char(old.day, 'YYYYMMDD')) is null
           and exists (select from leadrouter.log_seals s where s.kind = 'drop' and s.days = array[old.day]) then
            return old;
        end if;
    end if;
    raise exception 'the seals of the audit log are append-only: % is refused', tg_op using errcode = '42501';
end
$function$;

create trigger seals_append_only before update or delete on leadrouter.log_seals
    for each row execute function leadrouter.seals_are_append_only();
create trigger seals_no_truncate before truncate on leadrouter.log_seals
    for each statement execute function leadrouter.seals_are_append_only();
create trigger seals_append_only before update or delete on leadrouter.log_seal_rows
    for each row execute function leadrouter.seals_are_append_only();
create trigger seals_no_truncate before truncate on leadrouter.log_seal_rows
    for each statement execute function leadrouter.seals_are_append_only();

-- The oldest row that no seal covers, by its transaction: since when it is there (null: there is none), and whether it cannot be sealed
-- yet because a transaction as old as its own is under way.
create function leadrouter.log_unsealed(out since_us bigint, out is_held boolean)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
as $function$
declare
    v_from xid8;
    v_from_id uuid;
begin
    select s.to_transaction, s.to_id into v_from, v_from_id from leadrouter.log_seals s order by s.number desc limit 1;
    select leadrouter.to_us(g.created_at), g.transaction_id >= pg_snapshot_xmin(pg_current_snapshot()) into since_us, is_held
    from public.lead_routing_logs g
    where g.transaction_id >= v_from and (g.transaction_id > v_from or g.id >= v_from_id)
    order by g.transaction_id limit 1;
    is_held := coalesce(is_held, false);
end
$function$;

-- --- Verification -----------------------------------------------------------------------------------------------------------

-- The seals behind p_after (-1: from the beginning) that one call of verify_log() should look at: as many as cover p_rows rows together,
-- one at least and 500 at most. last_number is null when there are none.
create function leadrouter.verify_page(p_after bigint, p_rows integer, out last_number bigint, out seal_count bigint,
        out row_count bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    select max(p.number), count(*), coalesce(sum(p.row_count), 0) into last_number, seal_count, row_count
    from (
        select s.number, s.row_count, sum(s.row_count) over (order by s.number) - s.row_count as before
        from (
            select x.number, (select coalesce(sum(c), 0) from unnest(x.row_counts) c) as row_count
            from leadrouter.log_seals x where x.number > p_after order by x.number limit 500) s) p
    where p.before < p_rows;
end
$function$;

-- What is wrong with the rows of one seal, row by row. A row that is listed and not there was removed, unless it turns up elsewhere.
create function leadrouter.verify_rows(p_seal leadrouter.log_seals, p_days date[], p_limit integer)
    returns table (finding text, log_id uuid, lead_id uuid, day date)
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
#variable_conflict use_column
declare
    v_list bytea := '\x';
    v_day record;
begin
    for v_day in
        select d.day, r.list, coalesce(sha256(r.list) = d.list_digest, false) as is_whole
        from unnest(p_seal.days, p_seal.list_digests) as d (day, list_digest)
        left join leadrouter.log_seal_rows r on r.day = d.day and r.number = p_seal.number
        where d.day = any (p_days)
    loop
        if not v_day.is_whole then
            return query select 'list_changed', null::uuid, null::uuid, v_day.day;
        end if;
        v_list := v_list || coalesce(v_day.list, ''::bytea);
    end loop;
    return query
    with listed as materialized (
        select encode(substr(v_list, n * 24 + 1, 16), 'hex')::uuid as id, substr(v_list, n * 24 + 17, 8) as digest
        from generate_series(0, length(v_list) / 24 - 1) n
    ), actual as materialized (
        select d.id, d.lead_id, d.day, substr(d.digest, 1, 8) as digest
        from leadrouter.log_row_digests d
        where d.transaction_id >= p_seal.from_transaction and d.transaction_id <= p_seal.to_transaction
          and (d.transaction_id > p_seal.from_transaction or d.id >= p_seal.from_id)
          and (d.transaction_id < p_seal.to_transaction or d.id < p_seal.to_id)
    ), differing as materialized (
        select l.id as listed_id, a.id, a.lead_id, a.day
        from listed l full join actual a on a.id = l.id
        where l.digest is distinct from a.digest
        limit p_limit
    )
    select case
            when d.listed_id is null then 'inserted'
            when d.id is not null or exists (select from public.lead_routing_logs g where g.id = d.listed_id) then 'changed'
            else 'removed' end,
        coalesce(d.id, d.listed_id), d.lead_id, d.day
    from differing d
    order by 2;
end
$function$;

-- Looks at the seals p_after + 1 to p_to, and at the rows that they cover; a row for each thing that is wrong, first about seals, then
-- about rows, seal by seal; when p_limit things are found it begins with no further seal's rows. changed,
-- removed, inserted: a row of the log. rows_differ: rows that cannot be named. list_changed: the list by which they would be. seal_changed,
-- seal_missing (from the number on), seal_unlinked: the chain.
create function leadrouter.verify_log(p_after bigint, p_to bigint, p_limit integer)
    returns table (finding text, number bigint, log_id uuid, lead_id uuid, day date)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan
as $function$
#variable_conflict use_column
declare
    v_days date[];
    v_last leadrouter.log_seals;
    v_seal leadrouter.log_seals;
    v_suspects bigint[];
    v_left integer := p_limit;
    v_count integer;
begin
    -- From here on no day is dropped; what is read by each of the next statements is whole.
    lock table public.lead_routing_logs in access share mode;
    v_days := array(select to_date(right(c.relname, 8), 'YYYYMMDD') from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'public.lead_routing_logs'::regclass);
    select * into v_last from leadrouter.log_seals s where s.number <= p_after order by s.number desc limit 1;
    for v_seal in select * from leadrouter.log_seals s where s.number > p_after and s.number <= p_to order by s.number loop
        if v_seal.number > coalesce(v_last.number, -1) + 1 then
            return query select 'seal_missing', coalesce(v_last.number, -1) + 1, null::uuid, null::uuid, null::date;
        elsif v_seal.number > 0 and (v_seal.previous_hash, v_seal.from_transaction, v_seal.from_id)
                is distinct from (v_last.hash, v_last.to_transaction, v_last.to_id) then
            return query select 'seal_unlinked', v_seal.number, null::uuid, null::uuid, null::date;
        end if;
        if v_seal.hash is distinct from leadrouter.log_seal_hash(v_seal) then
            return query select 'seal_changed', v_seal.number, null::uuid, null::uuid, null::date;
        end if;
        v_last := v_seal;
    end loop;
    v_suspects := array(
        with seals as materialized (
            select * from leadrouter.log_seals s where s.number > p_after and s.number <= p_to and s.kind = 'rows'
        ), expected as materialized (
            select s.number, d.day, d.row_count, d.digest
            from seals s, unnest(s.days, s.row_counts, s.row_digests) as d (day, row_count, digest)
            where d.day = any (v_days)
        ), actual as materialized (
            select s.number, d.day, count(*) as row_count,
                sha256(string_agg(d.digest, ''::bytea order by d.transaction_id, d.id, d.created_at)) as digest
            from seals s, leadrouter.log_row_digests d
            where d.transaction_id >= s.from_transaction and d.transaction_id <= s.to_transaction
              and (d.transaction_id > s.from_transaction or d.id >= s.from_id)
              and (d.transaction_id < s.to_transaction or d.id < s.to_id)
            group by s.number, d.day
        )
        select distinct coalesce(e.number, a.number) from expected e full join actual a on a.number = e.number and a.day = e.day
        where (e.row_count, e.digest) is distinct from (a.row_count, a.digest)
        order by 1);
    for v_seal in select * from leadrouter.log_seals s where s.number = any (v_suspects) order by s.number loop
        exit when v_left <= 0;
        return query select r.finding, v_seal.number, r.log_id, r.lead_id, r.day
            from leadrouter.verify_rows(v_seal, v_days, 10000) r;
        get diagnostics v_count = row_count;
        if v_count = 0 then
            return query select 'rows_differ', v_seal.number, null::uuid, null::uuid, null::date;
        end if;
        v_left := v_left - greatest(v_count, 1);
    end loop;
end
$function$;

-- What is left to look at when all seals have been: days that were sealed, are gone, and were not dropped by retention.
create function leadrouter.verify_days()
    returns table (finding text, number bigint, log_id uuid, lead_id uuid, day date)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    lock table public.lead_routing_logs in access share mode;
    return query
    select 'day_missing', min(s.number), null::uuid, null::uuid, d
    from leadrouter.log_seals s, unnest(s.days) d
    group by d
    having not bool_or(s.kind = 'drop') and not exists (
        select from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'public.lead_routing_logs'::regclass and c.relname = 'lead_routing_logs_' || to_char(d, 'YYYYMMDD'))
    order by d;
end
$function$;

-- The seal of a number (null: the last one), for those who keep it elsewhere; hash null when there is none.
create function leadrouter.log_seal(p_number bigint, out number bigint, out hash text, out sealed_us bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    select s.number, encode(s.hash, 'hex'), leadrouter.to_us(s.sealed_at) into number, hash, sealed_us
    from leadrouter.log_seals s
    where p_number is null or s.number = p_number
    order by s.number desc limit 1;
end
$function$;

select leadrouter.seal_functions('{log_row_digest, log_seal_hash, add_seal, seal_drop, seals_are_append_only, verify_rows}');
select leadrouter.seal_functions('{seal_log, log_unsealed, verify_page, verify_log, verify_days, log_seal}', 'leadrouter_service');
alter view leadrouter.log_row_digests owner to leadrouter_owner;
select leadrouter.revoke_all('leadrouter.log_row_digests');
