#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pg/pg.h"

bool pg_transaction_status(struct pg_conn *conn, uint64_t transaction_id, int64_t deadline_ns,
    enum pg_transaction_status *ret_status, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "pg_transaction_status",
        .sql = "select pg_catalog.pg_xact_status($1::pg_catalog.text::pg_catalog.xid8)",
        .param_count = 1,
        .param_types = {PG_TEXT},
    };
    char text[24];
    struct pg_params params;
    struct pg_result *result = NULL;

    snprintf(text, sizeof(text), "%" PRIu64, transaction_id);
    pg_params_init(&params, NULL);
    pg_params_add_text(&params, text);
    if (!pg_execute(conn, &statement, &params, deadline_ns, &result, reterr_error))
        return false;
    const char *status = pg_result_text(result, 0, 0);
    if (status == NULL)
        *ret_status = PG_TRANSACTION_FORGOTTEN;
    else if (strcmp(status, "committed") == 0)
        *ret_status = PG_TRANSACTION_COMMITTED;
    else if (strcmp(status, "aborted") == 0)
        *ret_status = PG_TRANSACTION_ABORTED;
    else
        *ret_status = PG_TRANSACTION_IN_PROGRESS;
    pg_result_free(result);
    return true;
}
