-- What is in the database outside the schema leadrouter (which comes and goes whole), one row per object. An object that vanishes with
-- another one names it as its parent (a default and a grant on a column name the column, whose name begins with its table's). The identity
-- of a grant is what follows REVOKE, that of a setting what follows ALTER.
create or replace function pg_temp.migrate_catalogue() returns table (object_type text, object_identity text, parent text)
    language sql stable
    set search_path = ''
as $function$
    with space as (
        select n.oid, n.nspname, n.nspowner, n.nspacl from pg_catalog.pg_namespace n
        where n.nspname not in ('pg_catalog', 'information_schema', 'leadrouter')
          and n.nspname not like 'pg\_toast%' and n.nspname not like 'pg\_temp\_%'
    ), relation as (
        select c.oid, c.relkind, c.relowner, c.relacl, pg_catalog.format('%I.%I', s.nspname, c.relname) as name
        from pg_catalog.pg_class c join space s on s.oid = c.relnamespace
    ), owner_and_acl as (
        select pg_catalog.format('on %s %s', case when relkind = 'S' then 'sequence' else 'table' end, name) as target, name as parent,
            relowner as owner, relacl as acl, '' as columns
        from relation where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        union all
        select 'on table ' || r.name, pg_catalog.format('%s.%I', r.name, a.attname), r.relowner, a.attacl,
            pg_catalog.format(' (%I)', a.attname)
        from relation r join pg_catalog.pg_attribute a on a.attrelid = r.oid where a.attacl is not null and not a.attisdropped
        union all
        select pg_catalog.format('on schema %I', nspname), pg_catalog.quote_ident(nspname), nspowner, nspacl, '' from space
        union all
        select 'on routine ' || p.oid::pg_catalog.regprocedure::text, p.oid::pg_catalog.regprocedure::text, p.proowner, p.proacl, ''
        from pg_catalog.pg_proc p join space s on s.oid = p.pronamespace
    )
    select case when relkind in ('v', 'm') then 'view' else 'table' end, name, null from relation where relkind in ('r', 'p', 'v', 'm')
    union all
    select 'column', pg_catalog.format('%s.%I', r.name, a.attname), r.name
    from relation r join pg_catalog.pg_attribute a on a.attrelid = r.oid
    where r.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
    union all
    select 'default', pg_catalog.format('%s.%I', r.name, a.attname), pg_catalog.format('%s.%I', r.name, a.attname)
    from relation r join pg_catalog.pg_attrdef d on d.adrelid = r.oid
    join pg_catalog.pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where r.relkind in ('r', 'p')
    union all
    select 'index', i.name, r.name
    from pg_catalog.pg_index x join relation i on i.oid = x.indexrelid join relation r on r.oid = x.indrelid
    where not exists (select from pg_catalog.pg_constraint k where k.conindid = i.oid and k.conrelid = r.oid)
    union all
    select 'constraint', pg_catalog.format('%s.%I', r.name, k.conname), r.name
    from relation r join pg_catalog.pg_constraint k on k.conrelid = r.oid where k.contype <> 't' and k.conparentid = 0
    union all
    select 'trigger', pg_catalog.format('%s.%I', r.name, t.tgname), r.name
    from relation r join pg_catalog.pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal and t.tgparentid = 0
    union all
    select 'policy', pg_catalog.format('%s.%I', r.name, p.polname), r.name from relation r join pg_catalog.pg_policy p on p.polrelid = r.oid
    union all
    select 'rule', pg_catalog.format('%s.%I', r.name, w.rulename), r.name
    from relation r join pg_catalog.pg_rewrite w on w.ev_class = r.oid where w.rulename <> '_RETURN'
    union all
    select 'sequence', q.name, r.name
    from relation q left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = q.oid
        and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.deptype in ('a', 'i')
    left join relation r on r.oid = d.refobjid
    where q.relkind = 'S'
    union all
    select 'routine', p.oid::pg_catalog.regprocedure::text, null from pg_catalog.pg_proc p join space s on s.oid = p.pronamespace
    union all
    select 'schema', pg_catalog.quote_ident(nspname), null from space where nspname <> 'public'
    union all
    select 'type', pg_catalog.format('%I.%I', s.nspname, t.typname), null
    from pg_catalog.pg_type t join space s on s.oid = t.typnamespace where t.typtype in ('e', 'd', 'r')
    union all
    select 'grant', pg_catalog.format('%s%s %s from %s', e.privilege_type, o.columns, o.target,
            case e.grantee when 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(e.grantee)) end), o.parent
    from owner_and_acl o, lateral pg_catalog.aclexplode(o.acl) e
    where e.grantee <> o.owner
    group by 1, 2, 3
    union all
    select 'setting', pg_catalog.format('role %s in database %I reset %s', pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(r.setrole)),
            pg_catalog.current_database(), pg_catalog.split_part(setting, '=', 1)), null
    from pg_catalog.pg_db_role_setting r join pg_catalog.pg_database d on d.oid = r.setdatabase,
        lateral pg_catalog.unnest(r.setconfig) setting
    where d.datname = pg_catalog.current_database() and r.setrole <> 0
$function$;
