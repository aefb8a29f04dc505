-- What would be taken over and what that would change: functions of this session, which also work before there is a schema.

-- The tables that were there before and are not taken over.
create or replace function pg_temp.migrate_adoptable() returns table (name text, relation regclass, owner regrole, has_row_security boolean,
        is_forced boolean)
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_ours text[] := '{}';
    v_adopted text[] := '{}';
begin
    if to_regclass('leadrouter.migration_objects') is not null then
        execute 'select array_agg(object_identity) from leadrouter.migration_objects where object_type = ''table''' into v_ours;
    end if;
    if to_regclass('leadrouter.adopted_tables') is not null then
        execute 'select array_agg(table_name) from leadrouter.adopted_tables' into v_adopted;
    end if;
    return query
    select t.name, c.oid::regclass, c.relowner::regrole, c.relrowsecurity, c.relforcerowsecurity
    from unnest(array['public.workspaces', 'public.user_workspaces', 'public.leads']) with ordinality as t (name, place)
    join pg_class c on c.oid = to_regclass(t.name)
    where t.name <> all (coalesce(v_ours, '{}')) and t.name <> all (coalesce(v_adopted, '{}'))
    order by t.place;
end
$function$;

-- The rights on a table, on its columns and on the sequences that belong to it, in the order of the catalogue.
create or replace function pg_temp.migrate_rights(p_table regclass) returns table (relation regclass, relation_kind text, column_name text,
        grantor oid, grantee oid, privilege text, is_grantable boolean, place bigint)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $function$
    with relation as (
        select c.oid, 'table' as kind, coalesce(c.relacl, acldefault('r', c.relowner)) as acl from pg_class c where c.oid = p_table
        union all
        select c.oid, 'sequence', coalesce(c.relacl, acldefault('s', c.relowner))
        from pg_depend d join pg_class c on c.oid = d.objid
        where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = p_table
          and d.deptype in ('a', 'i') and c.relkind = 'S'
    ), acl as (
        select oid, kind, null::text as column_name, acl, 0 as attnum from relation
        union all
        select a.attrelid, 'table', a.attname, a.attacl, a.attnum
        from pg_attribute a where a.attrelid = p_table and a.attacl is not null and not a.attisdropped
    )
    select l.oid::regclass, l.kind, l.column_name, e.grantor, e.grantee, e.privilege_type, e.is_grantable,
        row_number() over (order by l.kind desc, l.oid, l.attnum, e.ordinality)
    from acl l, lateral aclexplode(l.acl) with ordinality e
$function$;

-- Who would lose sight of rows: whoever has rights on such a table and is not bound by its row security now (it is off, or he is the
-- owner's like), will be when it is forced, and has no policy for the command. Where rights were granted, there they are listed: a group,
-- not its members; beside those, members of the roles that may read or write everything. The role that migrates becomes a member of
-- leadrouter_owner.
create or replace function pg_temp.migrate_losers() returns table (role_name text, table_name text, privileges text)
    language sql stable
    set search_path = pg_catalog, pg_temp
as $function$
    with command (privilege, code) as (
        values ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')
    ), someone as (
        select 0::oid as oid, 'public' as name, false as is_ours
        union all
        select r.oid, r.rolname, coalesce(pg_has_role(r.oid, to_regrole('leadrouter_owner'), 'usage'), false)
            or (r.rolname = current_user and r.rolinherit)
        from pg_roles r where not r.rolsuper and not r.rolbypassrls
    ), holder as (
        select a.relation, a.name, r.grantee, r.privilege from pg_temp.migrate_adoptable() a, lateral pg_temp.migrate_rights(a.relation) r
        where r.relation = a.relation
        union
        select a.relation, a.name, s.oid, c.privilege from pg_temp.migrate_adoptable() a, someone s, command c
        where s.oid >= 16384
          and pg_has_role(s.oid, case c.privilege when 'SELECT' then 'pg_read_all_data' else 'pg_write_all_data' end, 'usage')
    )
    select s.name::text, h.name, string_agg(c.privilege, ', ' order by c.code = 'r' desc, c.code)
    from holder h
    join command c on c.privilege = h.privilege
    join someone s on s.oid = h.grantee and not s.is_ours
    join pg_class t on t.oid = h.relation
    where not (t.relrowsecurity and (t.relforcerowsecurity or s.oid = 0
            or not pg_has_role(case s.oid when 0 then t.relowner else s.oid end, t.relowner, 'usage')))
      and not exists (
        select from pg_policy p, unnest(p.polroles) as r (oid)
        where p.polrelid = h.relation and p.polpermissive and p.polcmd in ('*', c.code::"char")
          and case when r.oid = 0 then true when s.oid = 0 then false else pg_has_role(s.oid, r.oid, 'usage') end)
      -- The policy that comes with it: people read what is theirs.
      and not (c.code = 'r' and s.oid <> 0 and coalesce(pg_has_role(case s.oid when 0 then t.relowner else s.oid end,
          to_regrole('authenticated'), 'usage'), false))
    group by s.name, h.name
    order by h.name, s.name
$function$;
