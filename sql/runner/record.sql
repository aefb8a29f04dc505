-- Records what the step made, for the migration in the setting leadrouter.migration. What goes with an object that is recorded, is not.
with made as (
    select * from pg_temp.migrate_catalogue() except select * from pg_temp.migrate_before
)
insert into leadrouter.migration_objects (number, object_type, object_identity, parent)
select current_setting('leadrouter.migration')::integer, m.object_type, m.object_identity, m.parent
from made m
where not exists (
        select from leadrouter.migration_objects o
        where o.object_type in ('table', 'view', 'column', 'routine', 'sequence')
          and (o.object_identity = m.parent or starts_with(m.parent, o.object_identity || '.')))
  and not exists (
        select from made p
        where p.object_type in ('table', 'view', 'column', 'routine', 'sequence')
          and (p.object_identity = m.parent or starts_with(m.parent, p.object_identity || '.')))
order by m.object_type, m.object_identity
on conflict do nothing;
