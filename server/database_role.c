#include "database_role.h"

#include <string.h>

/* The login counts, not the role that was put on: whoever can speak through this session can put it off again, and put on any other
 * that the login is a member of, whether it inherits from it or not. The owner of a table may switch its row security off; before
 * PostgreSQL 16 who may make roles may make itself a member of any that is no superuser; who gets at the files of the database's
 * machine needs no rights on tables; and the owner of the database owns the schema public, with which all that is in it can be dropped. */
static const struct pg_statement statement_role = {
    .sql = "select r.rolname::text, coalesce("
           "(select case when x.oid = r.oid then d.own"
           " else format('may act as %I, %s', x.rolname, d.other) end"
           " from pg_roles x, lateral (select case when x.rolsuper then 1 when x.rolbypassrls then 2"
           " when x.rolname = 'leadrouter_owner' then 3 when x.rolcreaterole then 4 when x.rolreplication then 5"
           " when x.rolname in ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files') then 6"
           " when x.rolname = 'pg_database_owner' then 7 end)"
           " as k (rank) join (values (1, 'is a superuser', 'a superuser'),"
           " (2, 'bypasses row security', 'which bypasses row security'),"
           " (3, 'is the owner of the schema', 'the owner of the schema'),"
           " (4, 'may make itself a member of other roles', 'which may make itself a member of other roles'),"
           " (5, 'may copy the whole database', 'which may copy the whole database'),"
           " (6, '', 'which gets at files of the database''s machine'),"
           " (7, '', 'the owner of the database')) as d (rank, own, other) on d.rank = k.rank"
           " where pg_has_role(r.oid, x.oid, 'MEMBER') order by x.oid <> r.oid, d.rank, x.rolname limit 1),"
           "(select format('may act as %I, the owner of %s', pg_get_userbyid(c.relowner), t.name)"
           " from unnest(array['public.leads', 'public.workspaces', 'public.user_workspaces']) t (name)"
           " join pg_class c on c.oid = to_regclass(t.name) where pg_has_role(r.oid, c.relowner, 'MEMBER') limit 1))"
           " from pg_roles r where r.rolname = session_user"};

bool database_role_check(
    const struct pg_config *database, const char *allowed, int64_t deadline_ns, struct error *reterr_error)
{
    struct pg_conn *conn = pg_conn_new(database);
    struct pg_result *result = NULL;
    bool ok = pg_conn_open(conn, deadline_ns, reterr_error) &&
              pg_execute(conn, &statement_role, NULL, deadline_ns, &result, reterr_error);

    if (ok) {
        const char *name = pg_result_text(result, 0, 0);
        const char *reason = pg_result_text(result, 0, 1);
        if (reason != NULL && (allowed == NULL || strcmp(allowed, name) != 0))
            ok = error_set(reterr_error, ERROR_INVALID,
                "the database's role %s %s: log in as leadrouter_service, or insist with --allow-role %s", name, reason,
                name);
    }
    pg_result_free(result);
    pg_conn_free(conn);
    return ok;
}
