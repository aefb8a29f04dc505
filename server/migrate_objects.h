/* What a migration made: found by looking at the catalogue before and after each step, kept in
 * leadrouter.migration_objects, and removed from there. Statements only; server/migrate.c runs them. */
#ifndef SERVER_MIGRATE_OBJECTS_H
#define SERVER_MIGRATE_OBJECTS_H

/* Makes the bookkeeping tables in the schema leadrouter, which must be there. */
extern const char migrate_sql_bookkeeping[];

/* Keeps the catalogue as it is now, in a temporary table; inside a transaction. */
extern const char migrate_sql_snapshot[];

/* Records what is in the catalogue and not in the snapshot, as objects of the migration whose number is in the
 * setting leadrouter.migration. */
extern const char migrate_sql_record[];

/* Removes every recorded object, and then the schema leadrouter: one script, to be run in a transaction. */
extern const char migrate_sql_remove[];

#endif
