-- What `migrate verify` looks at, one row each: what, whether it is so (null: it is only told, or could not be tried), and what was found.
-- p_steps is the text of this build's steps. Needs catalogue.sql, and the schema at this build's version.
create or replace function pg_temp.migrate_verification(p_steps text) returns table (what text, is_so boolean, found text)
    language plpgsql
    set search_path = ''
as $function$
declare
    v_role constant text := pg_catalog.current_setting('role');
    v_claims constant text := pg_catalog.current_setting('request.jwt.claims', true);
    v_inherits text;
    v_table record;
    v_count bigint;
    v_of bigint;
begin
    -- Everything that up recorded and that is in the catalogue only, kind by kind.
    return query
        select pg_catalog.format('each %s that up made', o.object_type),
            pg_catalog.bool_and(c.object_identity is not null),
            pg_catalog.format('%s of %s', pg_catalog.count(c.object_identity), pg_catalog.count(*))
                || coalesce('; missing: ' || pg_catalog.string_agg(o.object_identity, ', ' order by o.object_identity)
                    filter (where c.object_identity is null), '')
        from leadrouter.migration_objects o
        left join pg_temp.migrate_catalogue() c using (object_type, object_identity)
        where o.object_type not in ('role', 'membership', 'setting', 'grant') -- which are somebody's to change
        group by o.object_type order by o.object_type;

    return query
        with made as (
            select m[1] as name
            from pg_catalog.regexp_matches(p_steps, '\mcreate (?:or replace )?function ((?:leadrouter|public)\.\w+)', 'g') m
            except
            select m[1] from pg_catalog.regexp_matches(p_steps, '\mdrop function ((?:leadrouter|public)\.\w+)', 'g') m
        ), there as (
            select pg_catalog.format('%s.%s', n.nspname, p.proname) as name
            from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace where n.nspname in ('leadrouter', 'public')
        )
        select 'functions of this build', pg_catalog.bool_and(t.name is not null),
            pg_catalog.format('%s of %s', pg_catalog.count(t.name), pg_catalog.count(*))
                || coalesce('; missing: ' || pg_catalog.string_agg(m.name, ', ' order by m.name) filter (where t.name is null), '')
        from made m left join (select distinct name from there) t using (name);

    return query
        with altered as (
            select m[1] as name, m[2] as text
            from pg_catalog.regexp_matches(p_steps, '\malter table (public\.\w+)\s([^;]*\madd column[^;]*);', 'g') m
        ), made as (
            select distinct a.name, c[1] as column_name
            from altered a, pg_catalog.regexp_matches(a.text, '\madd column (?:if not exists )?(\w+)', 'g') c
        )
        select 'columns of this build', pg_catalog.bool_and(t.attname is not null),
            pg_catalog.format('%s of %s', pg_catalog.count(t.attname), pg_catalog.count(*)) || coalesce('; missing: '
                || pg_catalog.string_agg(m.name || '.' || m.column_name, ', ' order by m.name, m.column_name)
                    filter (where t.attname is null), '')
        from made m left join pg_catalog.pg_attribute t
            on t.attrelid = pg_catalog.to_regclass(m.name) and t.attname = m.column_name and not t.attisdropped;

    return query
        select 'indexes that are usable', pg_catalog.count(*) = 0,
            coalesce(pg_catalog.string_agg(i.indexrelid::pg_catalog.regclass::text, ', '), 'all')
        from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where not i.indisvalid and (n.nspname = 'leadrouter' or exists (
            select from leadrouter.migration_objects o where o.object_type in ('table', 'index')
                and o.object_identity in (pg_catalog.format('%I.%I', n.nspname, c.relname),
                    (select pg_catalog.format('%I.%I', n2.nspname, x.relname) from pg_catalog.pg_class x
                     join pg_catalog.pg_namespace n2 on n2.oid = x.relnamespace where x.oid = i.indexrelid))));

    return query
        select 'row security keeps workspaces apart', pg_catalog.count(*) = 0,
            coalesce(pg_catalog.string_agg(pg_catalog.format('not on %s: %s', u.table_name, u.reason), ', '), 'on every table')
        from leadrouter.unprotected_tables() u;

    select pg_catalog.format('; leadrouter_service has what %s may: alter role leadrouter_service noinherit',
            pg_catalog.string_agg(r.rolname, ', ')) into v_inherits
    from pg_catalog.pg_auth_members m join pg_catalog.pg_roles r on r.oid = m.roleid
    where m.member = 'leadrouter_service'::pg_catalog.regrole and pg_catalog.pg_has_role(m.member, m.roleid, 'usage')
    having pg_catalog.count(*) > 0;
    v_inherits := coalesce(v_inherits, '');
    return query
        select 'the server reads and writes no table itself', pg_catalog.count(*) = 0,
            coalesce(pg_catalog.string_agg(c.oid::pg_catalog.regclass::text, ', ') || v_inherits, 'of none')
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and (n.nspname = 'leadrouter' or exists (
                select from leadrouter.migration_objects o where o.object_type = 'table'
                    and o.object_identity = pg_catalog.format('%I.%I', n.nspname, c.relname))
                or c.oid = 'public.leads'::pg_catalog.regclass)
            and pg_catalog.has_table_privilege('leadrouter_service', c.oid, 'select, insert, update, delete');

    -- They are no part of a dump (needs.sql makes them); other values than ours are somebody's to choose.
    return query
        select 'the server''s role has its settings', pg_catalog.count(s.name) = pg_catalog.count(*),
            pg_catalog.format('%s of %s', pg_catalog.count(s.name), pg_catalog.count(*)) || coalesce('; missing: '
                || pg_catalog.string_agg(l.name, ', ' order by l.name) filter (where s.name is null)
                || ': run leadrouterd migrate up', '')
        from (values ('statement_timeout'), ('lock_timeout'), ('idle_in_transaction_session_timeout'), ('jit')) l (name)
        left join (
            select pg_catalog.split_part(c, '=', 1) as name
            from pg_catalog.pg_db_role_setting r join pg_catalog.pg_database d on d.oid = r.setdatabase, pg_catalog.unnest(r.setconfig) c
            where d.datname = pg_catalog.current_database() and r.setrole = 'leadrouter_service'::pg_catalog.regrole
        ) s on s.name = l.name;

    -- Row counts as somebody who is logged in and a member of nothing.
    v_count := 0;
    v_of := 0;
    begin
        for v_table in
            select c.oid::pg_catalog.regclass as name
            from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'public' and c.relrowsecurity and c.relkind in ('r', 'p') and not c.relispartition
                and pg_catalog.has_table_privilege('authenticated', c.oid, 'select')
                and pg_catalog.format('%I.%I', n.nspname, c.relname) not in (select table_name from leadrouter.unprotected_tables())
            order by 1
        loop
            perform pg_catalog.set_config('request.jwt.claims', '{"sub": "00000000-0000-4000-8000-000000000000"}', true);
            perform pg_catalog.set_config('role', 'authenticated', true);
            execute pg_catalog.format('select %s + pg_catalog.count(*) from %s', v_count, v_table.name) into v_count;
            perform pg_catalog.set_config('role', v_role, true);
            v_of := v_of + 1;
        end loop;
        return query select 'a stranger who is logged in sees nobody''s rows', v_count = 0,
            pg_catalog.format('%s rows of %s tables', v_count, v_of);
    exception when insufficient_privilege then
        return query select 'a stranger who is logged in sees nobody''s rows', null::boolean,
            'not tried: this role may not act as authenticated';
    end;
    perform pg_catalog.set_config('role', v_role, true);
    perform pg_catalog.set_config('request.jwt.claims', coalesce(v_claims, ''), true);

    return query
        select 'the audit log has a place for today and tomorrow', pg_catalog.count(*) = 2,
            pg_catalog.format('%s of 2 days', pg_catalog.count(*))
        from pg_catalog.generate_series(0, 1) d
        where pg_catalog.to_regclass('leadrouter.lead_routing_logs_'
            || pg_catalog.to_char((pg_catalog.now() at time zone 'UTC')::date + d, 'YYYYMMDD')) is not null;

    return query
        select 'every lead that says who it is about has its hash', pg_catalog.count(*) = 0,
            pg_catalog.format('%s have none', pg_catalog.count(*))
        from public.leads l where l.dedupe_hash is null and l.erased_at is null
            and public.generate_dedupe_hash(l.email, l.phone, l.company_name, l.first_name, l.last_name) is not null;

    return query
        select 'every claim is of a lead that has its hash, or was erased', pg_catalog.count(*) = 0,
            pg_catalog.format('%s are not', pg_catalog.count(*))
        from public.lead_dedupe_claims k join public.leads l on l.id = k.lead_id
        where l.dedupe_hash is distinct from k.dedupe_hash and l.erased_at is null;

    return query
        select pg_catalog.format('leads that are %s', l.routing_status), null::boolean, pg_catalog.count(*)::text
        from public.leads l group by l.routing_status order by l.routing_status;

    return query
        select 'hashes that several workspaces have', null::boolean, pg_catalog.count(*)::text
        from (select from public.leads l where l.dedupe_hash is not null group by l.dedupe_hash
              having pg_catalog.count(distinct l.workspace_id) > 1) shared;
end
$function$;
