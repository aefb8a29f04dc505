-- The catalogue before a step; in the step's transaction, which is repeatable read: what others make meanwhile is not ours.
create temporary table migrate_before on commit drop as select * from pg_temp.migrate_catalogue();
