-- step: transaction
-- What a server reads for its metrics, every few seconds at most: each function is bounded by indexes or by a number of rows.

-- When the log was last sealed; NULL: never.
create function leadrouter.sample_seals(out sealed_us bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
begin
    select leadrouter.to_us(s.sealed_at) into sealed_us from leadrouter.log_seals s order by s.number desc limit 1;
end
$function$;

-- The tables that routing changes most, by their statistics: the audit log with all its days.
create function leadrouter.sample_tables() returns table (table_name text, live_rows bigint, dead_rows bigint, size_bytes bigint)
    language plpgsql stable security definer rows 4
    set search_path = pg_catalog, pg_temp
as $function$
begin
    return query
    select c.relname::text, coalesce(sum(pg_stat_get_live_tuples(p.relid)), 0)::bigint,
        coalesce(sum(pg_stat_get_dead_tuples(p.relid)), 0)::bigint, coalesce(sum(pg_total_relation_size(p.relid)), 0)::bigint
    from pg_class c cross join lateral (
        select c.oid as relid where c.relkind = 'r'
        union all
        select t.relid from pg_partition_tree(c.oid) t where c.relkind = 'p' and t.isleaf) p
    where c.oid in ('public.leads'::regclass, 'public.lead_routing_queue'::regclass, 'public.lead_routing_logs'::regclass,
        'public.lead_dedupe_claims'::regclass)
    group by c.relname;
end
$function$;

-- The database's machine: sessions (of those of others nothing is seen without pg_read_all_stats), the oldest snapshot among those that are
-- seen, who waits for locks, standbys and how far behind they are.
create function leadrouter.sample_database(out sessions integer, out sessions_hidden integer, out sessions_max integer,
        out lock_waits integer, out snapshot_seconds double precision, out standbys integer, out lag_seconds double precision,
        out lag_bytes bigint)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    select count(*), count(*) filter (where a.query = '<insufficient privilege>'),
        coalesce(max(extract(epoch from clock_timestamp() - a.xact_start)) filter (where a.backend_xmin is not null), 0)
    into sessions, sessions_hidden, snapshot_seconds
    from pg_stat_activity a where a.pid <> pg_backend_pid();
    sessions_max := current_setting('max_connections')::integer;
    select count(distinct l.pid) into lock_waits from pg_locks l where not l.granted;
    select count(*), coalesce(max(extract(epoch from r.replay_lag)), 0),
        coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)), 0)
    into standbys, lag_seconds, lag_bytes
    from pg_stat_replication r;
end
$function$;

-- The workspaces with the most retries that are due.
create function leadrouter.sample_workspaces(p_limit integer)
    returns table (workspace_id uuid, workspace_name text, count bigint)
    language plpgsql stable security definer rows 10
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
begin
    return query
    select d.workspace_id, w.name, d.due
    from leadrouter.workspaces_due(0, p_limit) d
    join public.workspaces w on w.id = d.workspace_id
    order by d.due desc, d.workspace_id;
end
$function$;

-- The workspaces with the most duplicates within the last hour; of more than a million the last million. By the index, from its end:
-- a heap of rows to be sorted would go to the disk.
create function leadrouter.sample_duplicates(p_limit integer)
    returns table (workspace_id uuid, workspace_name text, count bigint)
    language plpgsql stable security definer rows 10
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set enable_bitmapscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
begin
    return query
    select t.source_workspace_id, w.name, t.count
    from (
        select g.source_workspace_id, count(*)
        from (
            select x.source_workspace_id from public.lead_routing_logs x
            where x.routing_result = 'duplicate' and x.created_at >= now() - interval '1 hour'
            order by x.created_at desc limit 1000000) g
        group by g.source_workspace_id
        order by 2 desc, 1
        limit p_limit) t
    join public.workspaces w on w.id = t.source_workspace_id
    order by t.count desc, t.source_workspace_id;
end
$function$;

select leadrouter.seal_functions('{
    sample_seals, sample_tables, sample_database, sample_workspaces, sample_duplicates}', 'leadrouter_service');
