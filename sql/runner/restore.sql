-- Gives back what was taken over: owner, row security and rights as they were recorded. What others have granted since is granted again.
do $body$
declare
    v_table record;
    v_grant record;
    v_role text := current_setting('role');
begin
    set local search_path = '';
    create temporary table migrate_later on commit drop as
        select t.table_name, r.* from leadrouter.adopted_tables t, lateral pg_temp.migrate_rights(to_regclass(t.table_name)) r
        where r.grantee not in ('leadrouter_owner'::regrole, t.owner)
          and not exists (select from leadrouter.adopted_grants g where g.relation_name = r.relation::text
              and g.column_name is not distinct from r.column_name and g.grantee = r.grantee and g.privilege = r.privilege)
          and not exists (select from leadrouter.migration_objects o where o.object_type = 'grant'
              and o.object_identity = format('%s%s on %s %s from %s', r.privilege, ' (' || quote_ident(r.column_name) || ')',
                  r.relation_kind, r.relation, case r.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(r.grantee)) end));
    for v_table in select * from leadrouter.adopted_tables where to_regclass(table_name) is not null order by table_name loop
        execute format('alter table %s owner to %s', v_table.table_name, v_table.owner);
        execute format('alter table %s %s row level security, %s row level security', v_table.table_name,
            case when v_table.has_row_security then 'enable' else 'disable' end,
            case when v_table.is_forced then 'force' else 'no force' end);
        for v_grant in
            select distinct r.relation_kind, r.relation,
                case r.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(r.grantee)) end as grantee
            from pg_temp.migrate_rights(v_table.table_name) r
        loop
            execute format('revoke all on %s %s from %s cascade', v_grant.relation_kind, v_grant.relation, v_grant.grantee);
        end loop;
        for v_grant in
            select g.relation_kind, g.relation_name, g.column_name, g.privilege, g.grantee, g.is_grantable, g.grantor, g.place
            from leadrouter.adopted_grants g
            where g.table_name = v_table.table_name and to_regclass(g.relation_name) is not null
            union all
            select l.relation_kind, l.relation::text, l.column_name, l.privilege, l.grantee::regrole, l.is_grantable, v_table.owner,
                9000000000000000000 + l.place
            from migrate_later l where l.table_name = v_table.table_name
            order by place
        loop
            -- A role may have gone since; and who was given a right to pass on has passed it on in his own name.
            continue when v_grant.grantee <> 0 and not exists (select from pg_roles r where r.oid = v_grant.grantee);
            if v_grant.grantor <> v_table.owner then
                execute format('set local role %s', v_grant.grantor);
            end if;
            execute format('grant %s%s on %s %s to %s%s', v_grant.privilege, ' (' || quote_ident(v_grant.column_name) || ')',
                v_grant.relation_kind, v_grant.relation_name, case v_grant.grantee when 0 then 'public' else v_grant.grantee::text end,
                case when v_grant.is_grantable then ' with grant option' end);
            perform set_config('role', v_role, true);
        end loop;
    end loop;
end
$body$;
