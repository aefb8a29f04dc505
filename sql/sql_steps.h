/* The migrations of this build, step by step, in the order they are run (sql/README.md). Generated at build time; constant. */
#ifndef SQL_SQL_STEPS_H
#define SQL_SQL_STEPS_H

#include <stddef.h>

/* How a step is executed. */
enum sql_step_kind {
    SQL_STEP_TRANSACTION, /* the whole text in one transaction */
    SQL_STEP_CONCURRENT,  /* CREATE INDEX CONCURRENTLY statements, one by one, outside a transaction */
    SQL_STEP_BATCHES,     /* one statement that returns the rows it handled; repeated until it returns 0 */
};

struct sql_step {
    int migration;              /* number, from 1 */
    const char *migration_name; /* "routing" */
    const char *name;           /* "10_tables" */
    enum sql_step_kind kind;
    const char *text; /* UTF-8, NUL-terminated */
};

extern const struct sql_step sql_steps[];
extern const size_t sql_step_count;

/* The statements of the migration runner itself, sql/runner/<name>.sql, where each says what it does. */
extern const char sql_runner_session[];
extern const char sql_runner_catalogue[];
extern const char sql_runner_foreign[];
extern const char sql_runner_needs[];
extern const char sql_runner_bookkeeping[];
extern const char sql_runner_snapshot[];
extern const char sql_runner_record[];
extern const char sql_runner_remove[];
extern const char sql_runner_adoption[];
extern const char sql_runner_adopt[];
extern const char sql_runner_verification[];
extern const char sql_runner_restore[];

#endif
