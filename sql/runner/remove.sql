-- Removes what is recorded, and then looks whether that is all that has gone: what depends on ours and is not ours stops everything. In one
-- transaction, repeatable read, so that what others remove meanwhile is not taken for our doing.
create temporary table migrate_ours on commit drop as select * from leadrouter.migration_objects;
create temporary table migrate_before on commit drop as select * from pg_temp.migrate_catalogue();
do $body$
declare
    -- Triggers before routines, columns before the types they are of; what a cascade has taken already is passed over.
    c_order constant text[] := array['rule', 'policy', 'trigger', 'view', 'routine', 'default', 'constraint', 'index', 'column', 'table',
        'sequence', 'schema'];
    v_object record;
    v_lost text;
begin
    set local search_path = '';
    for v_object in
        select o.object_type, o.object_identity, o.parent, reverse(split_part(reverse(o.object_identity), '.', 1)) as name
        from pg_temp.migrate_ours o where o.object_type = any (c_order) order by array_position(c_order, o.object_type), o.id desc
    loop
        execute case v_object.object_type
            when 'default' then format('alter table %s alter column %s drop default',
                reverse(substr(reverse(v_object.object_identity), length(v_object.name) + 2)), v_object.name)
            when 'column' then format('alter table %s drop column if exists %s cascade', v_object.parent, v_object.name)
            when 'constraint' then format('alter table %s drop constraint if exists %s cascade', v_object.parent, v_object.name)
            when 'trigger' then format('drop trigger if exists %s on %s cascade', v_object.name, v_object.parent)
            when 'policy' then format('drop policy if exists %s on %s cascade', v_object.name, v_object.parent)
            when 'rule' then format('drop rule if exists %s on %s cascade', v_object.name, v_object.parent)
            else format('drop %s if exists %s cascade', v_object.object_type, v_object.object_identity) end;
    end loop;
    drop schema leadrouter cascade;
    for v_object in
        select o.object_type, o.object_identity from pg_temp.migrate_ours o
        where o.object_type = 'type' or (o.object_type in ('grant', 'setting')
            and (o.object_type, o.object_identity) in (select c.object_type, c.object_identity from pg_temp.migrate_catalogue() c))
        order by o.id desc
    loop
        execute case v_object.object_type when 'type' then 'drop type if exists ' when 'grant' then 'revoke ' else 'alter ' end
            || v_object.object_identity || case v_object.object_type when 'type' then ' cascade' else '' end;
    end loop;

    select string_agg(b.object_type || ' ' || b.object_identity, ', ' order by b.object_type, b.object_identity) into v_lost
    from pg_temp.migrate_before b
    where (b.object_type, b.object_identity) not in (select c.object_type, c.object_identity from pg_temp.migrate_catalogue() c)
      and not exists (select from pg_temp.migrate_ours o
          where (o.object_type, o.object_identity) = (b.object_type, b.object_identity)
             or o.object_identity = b.parent or starts_with(b.parent, o.object_identity || '.'));
    if v_lost is not null then
        raise exception 'this would also remove what leadrouter did not make: %; drop that first', v_lost using errcode = '2BP01';
    end if;

    -- A role that something else needs, in this database or in another one, stays.
    for v_object in
        select o.object_type, o.object_identity from pg_temp.migrate_ours o
        where o.object_type in ('membership', 'role') order by o.object_type, o.id desc
    loop
        begin
            execute case v_object.object_type when 'role' then 'drop role if exists ' else 'revoke ' end || v_object.object_identity;
        exception when dependent_objects_still_exist or object_in_use or insufficient_privilege then
            null;
        end;
    end loop;
end
$body$;
