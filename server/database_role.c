#include "database_role.h"

#include <string.h>

/* The login counts, not the role that was put on: whoever can speak through this session can put it off again, and put on any other
 * that the login is a member of. The owner of a table may switch its row security off. */
static const struct pg_statement statement_role = {
    .sql =
        "select r.rolname::text,"
        " case when r.rolsuper then 'is a superuser' when r.rolbypassrls then 'bypasses row security'"
        " when o.oid is not null and pg_has_role(r.oid, o.oid, 'MEMBER') then 'may act as the owner of the schema'"
        " else coalesce("
        "(select format('may act as %I, %s', x.rolname,"
        " case when x.rolsuper then 'a superuser' else 'which bypasses row security' end)"
        " from pg_roles x where (x.rolsuper or x.rolbypassrls) and pg_has_role(r.oid, x.oid, 'MEMBER')"
        " order by x.rolname limit 1),"
        "(select format('may act as %I, the owner of %s', pg_get_userbyid(c.relowner), t.name)"
        " from unnest(array['public.leads', 'public.workspaces', 'public.user_workspaces']) t (name)"
        " join pg_class c on c.oid = to_regclass(t.name) where pg_has_role(r.oid, c.relowner, 'MEMBER') limit 1)) end"
        " from pg_roles r left join pg_roles o on o.rolname = 'leadrouter_owner' where r.rolname = session_user"};

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
