/* leadctl audit verify: whether anybody tampered with the audit log. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command.h"
#include "leadrouter/v1/maintenance.grpc.h"
#include "progress.h"

enum { CALL_DEADLINE_MS = 30000 /* as long as a server lets a call take */, HASH_TEXT_SIZE = 64 };

/* What all calls found together. */
struct audit_totals {
    json_t *findings;
    int64_t seals;
    int64_t rows;
};

static const char *kind_name(Leadrouter__V1__AuditFindingKind kind)
{
    static const char *const names[] = {"unknown", "row_changed", "row_removed", "row_inserted", "rows_differ",
        "list_changed", "seal_changed", "seal_missing", "seal_unlinked", "day_missing", "not_expected"};

    return (unsigned)kind < COUNT_OF(names) ? names[kind] : names[0];
}

static void add_findings(
    struct audit_totals *totals, const Leadrouter__V1__VerifyAuditResponse *response, bool is_printed)
{
    for (size_t i = 0; i < response->n_findings; i++) {
        const Leadrouter__V1__AuditFinding *finding = response->findings[i];
        json_array_append_new(totals->findings, json_pack("{ss, ss, sI, ss, ss, ss}", "kind", kind_name(finding->kind),
                                                    "text", finding->text, "seal", (json_int_t)finding->seal, "log_id",
                                                    finding->log_id, "lead_id", finding->lead_id, "day", finding->day));
        if (is_printed)
            print_line(stdout, "%s%s%s%s%s", finding->text, finding->lead_id[0] == '\0' ? "" : "; lead ",
                finding->lead_id, finding->day[0] == '\0' ? "" : "; day ", finding->day);
    }
    totals->seals += response->seals;
    totals->rows += response->rows;
}

static void show_end(const struct audit_totals *totals, const Leadrouter__V1__VerifyAuditResponse *last, bool is_json)
{
    char sealed[32], unsealed[32];
    size_t count = json_array_size(totals->findings);

    time_text(last->head_sealed_at, sealed);
    time_text(last->unsealed_since, unsealed);
    if (is_json) {
        print_json(json_pack("{sO, sI, sI, s{sI, ss, ss}, ss, sb}", "findings", totals->findings, "seals",
            (json_int_t)totals->seals, "rows", (json_int_t)totals->rows, "head", "number", (json_int_t)last->head_seal,
            "hash", last->head_hash, "sealed_at", sealed, "unsealed_since", unsealed, "is_sealing_held",
            (int)last->is_sealing_held));
        return;
    }
    if (count == 0)
        printf("nothing is wrong with %" PRId64 " %s under %" PRId64 " %s\n", totals->rows,
            totals->rows == 1 ? "row" : "rows", totals->seals, totals->seals == 1 ? "seal" : "seals");
    else
        printf("%zu %s in %" PRId64 " rows under %" PRId64 " seals\n", count,
            count == 1 ? "thing is wrong" : "things are wrong", totals->rows, totals->seals);
    printf("last seal %" PRId64 ":%s of %s\n", last->head_seal, last->head_hash, sealed);
    if (last->unsealed_since != NULL)
        printf("not sealed yet: rows since %s%s\n", unsealed,
            last->is_sealing_held ? ", because a transaction is under way since then" : "");
}

/* One call after the other until all seals were looked at. */
static int verify_all(
    const struct common_options *common, struct session *session, Leadrouter__V1__VerifyAuditRequest *request)
{
    const struct grpc_c_call_options call_options = {.deadline_ms = CALL_DEADLINE_MS};
    struct audit_totals totals = {.findings = json_array()};
    struct progress *progress = progress_new();
    bool goes_on = true;
    int code = EXIT_DONE;

    while (goes_on) {
        Leadrouter__V1__VerifyAuditResponse *response = NULL;
        progress_set(progress, "%" PRId64 " rows under %" PRId64 " seals looked at", totals.rows, totals.seals);
        if (leadrouter__v1__maintenance_service__verify_audit(
                session->channel, request, &call_options, &response, &session->outcome) != GRPC_C_OK) {
            progress_free(progress);
            progress = NULL;
            code = session_failed(session);
            goes_on = false;
        } else {
            add_findings(&totals, response, !common->json);
            goes_on = response->next_seal != 0;
            request->from_seal = response->next_seal;
            request->expected_seal = 0; /* that was answered */
            request->expected_hash = borrowed("");
            if (!goes_on) {
                progress_free(progress);
                progress = NULL;
                show_end(&totals, response, common->json);
                code = json_array_size(totals.findings) == 0 ? EXIT_DONE : EXIT_FAILED;
            }
            leadrouter__v1__verify_audit_response__free_unpacked(response, NULL);
        }
        grpc_c_outcome_release(&session->outcome);
    }
    progress_free(progress);
    json_decref(totals.findings);
    return code;
}

/* "1041:5c1f…" into the request. */
static bool read_expected(const char *text, Leadrouter__V1__VerifyAuditRequest *request)
{
    char *end = NULL;

    errno = 0;
    request->expected_seal = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != ':' || request->expected_seal < 0 || strlen(end + 1) != HASH_TEXT_SIZE ||
        strspn(end + 1, "0123456789abcdefABCDEF") != HASH_TEXT_SIZE) {
        fprintf(stderr, "leadctl: --expect takes a seal as audit verify prints it, NUMBER:HASH\n");
        return false;
    }
    request->expected_hash = borrowed(end + 1);
    return true;
}

static int verify(const struct arguments *arguments, struct session *session)
{
    Leadrouter__V1__VerifyAuditRequest request = LEADROUTER__V1__VERIFY_AUDIT_REQUEST__INIT;

    if (arguments->expect != NULL && !read_expected(arguments->expect, &request))
        return EXIT_USAGE;
    return verify_all(&arguments->common, session, &request);
}

static const struct option_spec flags[] = {
    {.name = "expect",
        .placeholder = "NUMBER:HASH",
        .help = "a seal that must be there",
        .offset = offsetof(struct arguments, expect)},
};

const struct command command_audit_verify = {
    .name = "audit verify",
    .summary = "whether anybody tampered with the audit log",
    .text =
        "Holds the audit log against its seals: every row that was changed, removed or put in behind the log's back is "
        "named. Prints the last seal, to be kept elsewhere; --expect asks whether one that was kept is still there. "
        "Exits "
        "with 1 when something is wrong.",
    .example = "leadctl audit verify --expect 1041:5c1f…",
    COMMAND_FLAGS(flags),
    .run = verify,
};
