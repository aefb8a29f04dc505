/* MaintenanceService.VerifyAudit. */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "service.h"

enum {
    PAGE_ROWS = 20000,      /* looked at by one statement: a second or so */
    FINDINGS_ENOUGH = 1000, /* a statement and a call that have as many end soon */
    FINDINGS_MAX = 13000,   /* and have named the rows of one more seal by then */
    HASH_TEXT_SIZE = 64,
};

/* One call; in its arena. */
struct audit_call {
    struct work work; /* first: work comes back as addresses of these */
    struct service_call base;
    const Leadrouter__V1__VerifyAuditRequest *request;
    Leadrouter__V1__VerifyAuditResponse response;
    Leadrouter__V1__AuditFinding *findings[FINDINGS_MAX];
};

/* --- Findings ----------------------------------------------------------------------------------------------------- */

/* The database's name of a finding, its value on the wire, and what it is in words: with the row, or the seal. */
static const struct {
    const char *name;
    Leadrouter__V1__AuditFindingKind kind;
    bool is_row;
    const char *before;
    const char *after;
} kinds[] = {
    {"changed", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_ROW_CHANGED, true, "row ",
        " is not as it was sealed"},
    {"removed", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_ROW_REMOVED, true, "row ", " was removed"},
    {"inserted", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_ROW_INSERTED, true, "row ",
        " was put in among sealed ones"},
    {"rows_differ", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_ROWS_DIFFER, false, "rows of seal ",
        " differ, and cannot be named"},
    {"list_changed", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_LIST_CHANGED, false,
        "the list of the rows of seal ", " is not as it was"},
    {"seal_changed", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_SEAL_CHANGED, false, "seal ",
        " is not as it was made"},
    {"seal_missing", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_SEAL_MISSING, false,
        "seals are missing from ", " on"},
    {"seal_unlinked", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_SEAL_UNLINKED, false, "seal ",
        " does not follow the one before it"},
    {"day_missing", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_DAY_MISSING, false,
        "a day that begins with seal ", " is gone, and retention did not drop it"},
    {"not_expected", LEADROUTER__V1__AUDIT_FINDING_KIND__AUDIT_FINDING_KIND_NOT_EXPECTED, false, "seal ",
        " is not the one that was expected, or is gone"},
};

static void add_finding(struct audit_call *call, const char *name, int64_t seal, const struct uuid *log_id,
    const struct uuid *lead_id, const char *day)
{
    struct arena *arena = grpc_c_call_arena(call->base.call);
    Leadrouter__V1__AuditFinding *finding = arena_alloc(arena, sizeof(*finding));
    size_t i = 0;

    while (i < COUNT_OF(kinds) && strcmp(kinds[i].name, name) != 0)
        i++;
    if (i == COUNT_OF(kinds) || call->response.n_findings == COUNT_OF(call->findings))
        return;
    leadrouter__v1__audit_finding__init(finding);
    finding->kind = kinds[i].kind;
    finding->seal = seal;
    finding->log_id = service_id(arena, log_id);
    finding->lead_id = service_id(arena, lead_id);
    finding->day = arena_copy_string(arena, day);
    finding->text = arena_format(arena, "%s%s%s", kinds[i].before,
        kinds[i].is_row ? finding->log_id : arena_format(arena, "%" PRId64, seal), kinds[i].after);
    call->findings[call->response.n_findings++] = finding;
}

/* Those about seals up to `last`. */
static void add_findings(struct audit_call *call, const struct pg_result *rows, int64_t last)
{
    for (int row = 0; row < pg_result_row_count(rows); row++) {
        if (pg_result_int8(rows, row, 1) > last)
            continue;
        struct uuid log_id = pg_result_uuid(rows, row, 2);
        struct uuid lead_id = pg_result_uuid(rows, row, 3);
        add_finding(call, pg_result_text(rows, row, 0), pg_result_int8(rows, row, 1), &log_id, &lead_id,
            pg_result_text(rows, row, 4));
    }
}

/* --- Looking ------------------------------------------------------------------------------------------------------ */

static bool ask(struct audit_call *call, const struct pg_statement *statement, const struct pg_params *params,
    struct pg_result **ret_rows, struct error *reterr_error)
{
    return service_query(
        &call->base, statement, params, grpc_c_call_deadline_ns(call->base.call), ret_rows, reterr_error);
}

/* Seals behind `*after`, as many as one statement should look at; moves it on. `*ret_is_end`: there are none. */
static bool verify_page(struct audit_call *call, int64_t *after, bool *ret_is_end, struct error *reterr_error)
{
    static const struct pg_statement page = {
        .name = "verify_page",
        .sql = "select last_number, seal_count, row_count from leadrouter.verify_page($1, $2)",
        .param_count = 2,
        .param_types = {PG_INT8, PG_INT4},
    };
    static const struct pg_statement verify = {
        .name = "verify_log",
        .sql = "select finding, number, log_id, lead_id, to_char(day, 'YYYY-MM-DD') from leadrouter.verify_log($1, $2, "
               "$3)",
        .param_count = 3,
        .param_types = {PG_INT8, PG_INT8, PG_INT4},
    };
    struct pg_params params;
    struct pg_result *rows = NULL;
    int64_t last = 0;

    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_int8(&params, *after);
    pg_params_add_int4(&params, PAGE_ROWS);
    if (!ask(call, &page, &params, &rows, reterr_error))
        return false;
    *ret_is_end = pg_result_is_null(rows, 0, 0);
    last = *ret_is_end ? 0 : pg_result_int8(rows, 0, 0);
    call->response.seals += pg_result_int8(rows, 0, 1);
    call->response.rows += pg_result_int8(rows, 0, 2);
    pg_result_free(rows);
    rows = NULL;
    if (*ret_is_end)
        return true;
    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_int8(&params, *after);
    pg_params_add_int8(&params, last);
    pg_params_add_int4(&params, FINDINGS_ENOUGH);
    if (!ask(call, &verify, &params, &rows, reterr_error))
        return false;
    /* More than one statement names: rows come last, seal by seal, so that the next statement goes on behind this one's last. */
    if (pg_result_row_count(rows) >= FINDINGS_ENOUGH)
        last = pg_result_int8(rows, pg_result_row_count(rows) - 1, 1);
    add_findings(call, rows, last);
    pg_result_free(rows);
    *after = last;
    return true;
}

/* Page after page, while there is time for another like the longest so far. */
static bool verify_pages(struct audit_call *call, int64_t *after, bool *ret_is_end, struct error *reterr_error)
{
    int64_t deadline_ns = service_work_deadline_ns(&call->base);
    int64_t longest_ns = 0;

    *ret_is_end = false;
    while (!*ret_is_end && call->response.n_findings < FINDINGS_ENOUGH &&
           clock_now_ns() + 2 * longest_ns < deadline_ns && !grpc_c_call_is_cancelled(call->base.call)) {
        int64_t began_ns = clock_now_ns();
        if (!verify_page(call, after, ret_is_end, reterr_error))
            return false;
        if (clock_now_ns() - began_ns > longest_ns)
            longest_ns = clock_now_ns() - began_ns;
    }
    return true;
}

static bool verify_days(struct audit_call *call, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "verify_days",
        .sql = "select finding, number, log_id, lead_id, to_char(day, 'YYYY-MM-DD') from leadrouter.verify_days()",
    };
    struct pg_result *rows = NULL;

    if (!ask(call, &statement, NULL, &rows, reterr_error))
        return false;
    add_findings(call, rows, INT64_MAX);
    pg_result_free(rows);
    return true;
}

/* Whether the seal that the caller has noted is still there. */
static bool verify_expected(struct audit_call *call, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "log_seal",
        .sql = "select hash from leadrouter.log_seal($1)",
        .param_count = 1,
        .param_types = {PG_INT8},
    };
    static const struct uuid none = {{0}};
    struct pg_params params;
    struct pg_result *rows = NULL;

    if (call->request->expected_hash[0] == '\0')
        return true;
    pg_params_init(&params, grpc_c_call_arena(call->base.call));
    pg_params_add_int8(&params, call->request->expected_seal);
    if (!ask(call, &statement, &params, &rows, reterr_error))
        return false;
    if (pg_result_is_null(rows, 0, 0) || strcasecmp(pg_result_text(rows, 0, 0), call->request->expected_hash) != 0)
        add_finding(call, "not_expected", call->request->expected_seal, &none, &none, "");
    pg_result_free(rows);
    return true;
}

static bool read_head(struct audit_call *call, struct error *reterr_error)
{
    static const struct pg_statement statement = {
        .name = "log_head",
        .sql = "select number, hash, sealed_us, since_us, is_held from leadrouter.log_seal(null), "
               "leadrouter.log_unsealed()",
    };
    struct arena *arena = grpc_c_call_arena(call->base.call);
    struct pg_result *rows = NULL;

    if (!ask(call, &statement, NULL, &rows, reterr_error))
        return false;
    if (!pg_result_is_null(rows, 0, 0)) {
        call->response.head_seal = pg_result_int8(rows, 0, 0);
        call->response.head_hash = arena_copy_string(arena, pg_result_text(rows, 0, 1));
        call->response.head_sealed_at = service_time(arena, pg_result_int8(rows, 0, 2));
    }
    if (!pg_result_is_null(rows, 0, 3))
        call->response.unsealed_since = service_time(arena, pg_result_int8(rows, 0, 3));
    call->response.is_sealing_held = pg_result_bool(rows, 0, 4);
    pg_result_free(rows);
    return true;
}

static void run_verify(struct work *work)
{
    struct audit_call *call = (struct audit_call *)(void *)work;
    int64_t after = call->request->from_seal - 1;
    bool is_end = false;
    struct error error = {0};
    bool ok = verify_expected(call, &error) && verify_pages(call, &after, &is_end, &error) &&
              (!is_end || verify_days(call, &error)) && read_head(call, &error);

    if (!ok) {
        service_fail(&call->base, &error);
        return;
    }
    call->response.next_seal = is_end ? 0 : after + 1;
    leadrouter__v1__maintenance_service__verify_audit__reply(call->base.call, &call->response);
}

/* A seal that is expected has a number and a hash, and a hash is nothing else. */
static bool read_expected(const Leadrouter__V1__VerifyAuditRequest *request, struct error *reterr_error)
{
    const char *hash = request->expected_hash;

    if (hash[0] == '\0')
        return request->expected_seal == 0 || error_set(reterr_error, ERROR_INVALID, "expected_hash: missing");
    if (strlen(hash) != HASH_TEXT_SIZE || strspn(hash, "0123456789abcdefABCDEF") != HASH_TEXT_SIZE)
        return error_set(reterr_error, ERROR_INVALID, "expected_hash: not %d hexadecimal digits", HASH_TEXT_SIZE);
    return request->expected_seal >= 0 || error_set(reterr_error, ERROR_INVALID, "expected_seal: below zero");
}

void service_handle_verify_audit(
    struct grpc_c_call *call, const Leadrouter__V1__VerifyAuditRequest *request, void *user)
{
    struct audit_call *audit = arena_alloc(grpc_c_call_arena(call), sizeof(*audit));
    struct error error = {0};
    bool ok = false;

    service_begin(&audit->base, call, user);
    audit->work.run = run_verify;
    audit->request = request;
    leadrouter__v1__verify_audit_response__init(&audit->response);
    audit->response.findings = audit->findings;
    if (request->from_seal < 0)
        error_set(&error, ERROR_INVALID, "from_seal: below zero");
    else
        ok = read_expected(request, &error) &&
             worker_pool_submit(audit->base.service->long_workers, &audit->work, &error);
    if (!ok)
        service_fail(&audit->base, &error);
}
