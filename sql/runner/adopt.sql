-- Takes over the tables that were there before: they belong to leadrouter_owner, row security is forced, and people read what is theirs.
-- What row security does not bind (TRUNCATE, REFERENCES, TRIGGER) is taken from everybody whom it binds; the owner of before keeps what he
-- needs to read and write rows. What was before is recorded.
do $body$
declare
    v_table record;
    v_right record;
begin
    for v_table in select * from pg_temp.migrate_adoptable() loop
        if exists (select from pg_inherits i where v_table.relation in (i.inhparent, i.inhrelid)) then
            raise exception '% has partitions or inherits: it cannot be taken over', v_table.name using errcode = 'LR422';
        end if;
        insert into leadrouter.adopted_tables (table_name, owner, has_row_security, is_forced)
        values (v_table.name, v_table.owner, v_table.has_row_security, v_table.is_forced);
        insert into leadrouter.adopted_grants (table_name, relation_name, relation_kind, column_name, grantor, grantee, privilege,
            is_grantable)
        select v_table.name, r.relation::text, r.relation_kind, r.column_name, r.grantor, r.grantee, r.privilege, r.is_grantable
        from pg_temp.migrate_rights(v_table.relation) r order by r.place;

        execute format('alter table %s owner to leadrouter_owner', v_table.relation);
        for v_right in
            select distinct case r.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(r.grantee)) end as grantee
            from pg_temp.migrate_rights(v_table.relation) r left join pg_roles g on g.oid = r.grantee
            where r.relation = v_table.relation and r.privilege in ('TRUNCATE', 'REFERENCES', 'TRIGGER')
              and r.grantee <> 'leadrouter_owner'::regrole and not coalesce(g.rolsuper or g.rolbypassrls, false)
        loop
            execute format('revoke truncate, references, trigger on table %s from %s cascade', v_table.relation, v_right.grantee);
        end loop;
        for v_right in
            select distinct g.relation_kind, g.relation_name, g.privilege from leadrouter.adopted_grants g
            where g.table_name = v_table.name and g.grantee = v_table.owner and g.column_name is null
              and v_table.owner <> 'leadrouter_owner'::regrole
              and (g.relation_kind = 'sequence' or g.privilege in ('SELECT', 'INSERT', 'UPDATE', 'DELETE'))
        loop
            execute format('grant %s on %s %s to %s', v_right.privilege, v_right.relation_kind, v_right.relation_name, v_table.owner);
        end loop;
        perform leadrouter.force_row_security(v_table.relation);
        perform leadrouter.open_table(split_part(v_table.name, '.', 2));
    end loop;
end
$body$;
