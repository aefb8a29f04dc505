#include "migrate_objects.h"

const char migrate_sql_bookkeeping[] =
    "create table if not exists leadrouter.migrations ("
    "    number integer primary key, name text not null, started_at timestamptz not null default now(), applied_at "
    "timestamptz);"
    "create table if not exists leadrouter.migration_steps ("
    "    number integer not null, step text not null, done_at timestamptz not null default now(), primary key (number, "
    "step));"
    "create table if not exists leadrouter.migration_objects ("
    "    id bigint generated always as identity primary key, number integer not null, object_type text not null,"
    "    object_identity text not null, parent text, unique (object_type, object_identity));"
    "alter table leadrouter.migrations owner to leadrouter_owner;"
    "alter table leadrouter.migration_steps owner to leadrouter_owner;"
    "alter table leadrouter.migration_objects owner to leadrouter_owner;";

/* Everything outside the schema leadrouter (which is dropped whole) that a migration can make. Objects that belong
 * to a table name it as their parent, so that those of new tables, which go with their table, need not be dropped
 * one by one. */
#define CATALOGUE                                                                                                      \
    "select 'table' as object_type, format('%I.%I', n.nspname, c.relname) as object_identity, null as parent"          \
    "  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p')"                    \
    " union all select 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), format('%I.%I', n.nspname, "     \
    "c.relname)"                                                                                                       \
    "  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace"        \
    "  where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped"                                          \
    " union all select 'index', format('%I.%I', n.nspname, i.relname), format('%I.%I', m.nspname, c.relname)"          \
    "  from pg_index x join pg_class i on i.oid = x.indexrelid join pg_namespace n on n.oid = i.relnamespace"          \
    "  join pg_class c on c.oid = x.indrelid join pg_namespace m on m.oid = c.relnamespace"                            \
    "  where not exists (select from pg_constraint k where k.conindid = i.oid and k.conrelid = c.oid)"                 \
    " union all select 'constraint', format('%I.%I.%I', n.nspname, c.relname, k.conname), format('%I.%I', n.nspname, " \
    "c.relname)"                                                                                                       \
    "  from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace"       \
    "  where k.contype <> 't' and k.conparentid = 0"                                                                   \
    " union all select 'trigger', format('%I.%I.%I', n.nspname, c.relname, t.tgname), format('%I.%I', n.nspname, "     \
    "c.relname)"                                                                                                       \
    "  from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace"           \
    "  where not t.tgisinternal and t.tgparentid = 0"                                                                  \
    " union all select 'function', p.oid::regprocedure::text, null"                                                    \
    "  from pg_proc p join pg_namespace n on n.oid = p.pronamespace"                                                   \
    " union all select 'type', format('%I.%I', n.nspname, t.typname), null"                                            \
    "  from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.typtype in ('e', 'd')"

#define OUTSIDE                                                                                                        \
    " where object_identity not like 'leadrouter.%' and object_identity not like 'pg\\_%' and object_identity not "    \
    "like '\"pg\\_%'"                                                                                                  \
    " and object_identity not like 'information\\_schema.%'"

const char migrate_sql_snapshot[] =
    "set local search_path = ''; drop table if exists pg_temp.migrate_before;"
    "create temporary table migrate_before on commit drop as select * from (" CATALOGUE ") catalogue" OUTSIDE;

const char migrate_sql_record[] =
    "set local search_path = '';"
    "insert into leadrouter.migration_objects (number, object_type, object_identity, parent)"
    " select current_setting('leadrouter.migration')::integer, object_type, object_identity, parent from (" CATALOGUE
    ") catalogue" OUTSIDE " except select current_setting('leadrouter.migration')::integer, object_type, "
    "object_identity, parent from pg_temp.migrate_before"
    " on conflict do nothing";

/* Triggers before functions, columns before types, and types when the functions in leadrouter that use them are
 * gone; what belongs to a table that goes anyway is left to it. */
const char migrate_sql_remove[] =
    "do $body$"
    " declare"
    "  v_object record;"
    "  v_type text;"
    "  v_types text[] := array(select object_identity from leadrouter.migration_objects where object_type = 'type');"
    " begin"
    "  set local search_path = '';"
    "  for v_object in"
    "   select o.object_type, o.object_identity, o.parent,"
    "    reverse(split_part(reverse(o.object_identity), '.', 1)) as name"
    "   from leadrouter.migration_objects o"
    "   where o.object_type in ('table', 'column', 'index', 'constraint', 'trigger', 'function')"
    "    and (o.parent is null or not exists (select from leadrouter.migration_objects t"
    "     where t.object_type = 'table' and t.object_identity = o.parent))"
    "   order by array_position(array['trigger', 'function', 'constraint', 'index', 'column', 'table'], "
    "o.object_type), o.id desc"
    "  loop"
    "   execute case v_object.object_type"
    "    when 'trigger' then format('drop trigger if exists %s on %s', v_object.name, v_object.parent)"
    "    when 'constraint' then format('alter table %s drop constraint if exists %s', v_object.parent, v_object.name)"
    "    when 'column' then format('alter table %s drop column if exists %s', v_object.parent, v_object.name)"
    "    when 'function' then format('drop function if exists %s cascade', v_object.object_identity)"
    "    when 'index' then format('drop index if exists %s', v_object.object_identity)"
    "    else format('drop table if exists %s cascade', v_object.object_identity) end;"
    "  end loop;"
    "  drop schema leadrouter cascade;"
    "  foreach v_type in array v_types loop"
    "   execute format('drop type if exists %s', v_type);"
    "  end loop;"
    " end $body$";
