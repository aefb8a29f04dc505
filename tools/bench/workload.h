/* What a bench routes: workspaces, rules and undecided leads, made by the database itself from a seed; and the
 * check that the decisions found afterwards are the right ones.
 *
 * Workspace w of N gives by rule r to workspace w + r, never to itself. The rules ask for industries, sizes,
 * countries and US states; the last one takes everything, so that each lead is decided. In every hundred leads the
 * last `duplicates` ones have the identity of an earlier lead of another hundred or this one. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "pg/pg.h"

enum { WORKLOAD_LEADS_MAX = 5000000 };

/* Shape of the data. */
struct workload_options {
    int32_t workspaces;         /* 2 … 1,000 */
    int32_t rules;              /* per workspace, the catch-all included: 1 … 200 */
    int32_t leads;              /* 1 … WORKLOAD_LEADS_MAX */
    int32_t duplicates_percent; /* 0 … 90 */
};

/* The leads to be routed, in the order in which they came in. */
struct workload {
    size_t count;
    struct uuid *lead_ids;
    struct uuid *source_workspace_ids;
};

/* Inserts the data into the database of `conn`, vacuums and analyses its tables, and reads the leads back. Owned by
 * the caller, workload_release(). Rows that are there already stay as they are. */
bool workload_prepare(struct pg_conn *conn, const struct workload_options *options, struct workload *ret_workload,
    struct error *reterr_error);

/* Reads the leads that are pending in the database of `conn`, whoever inserted them, oldest first, `count_max` at
 * most. */
bool workload_read_pending(
    struct pg_conn *conn, int32_t count_max, struct workload *ret_workload, struct error *reterr_error);

/* Runs a statement whose rows are leads and their source workspaces. `params` may be NULL. */
bool workload_read(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params,
    struct workload *ret_workload, struct error *reterr_error);

/* Gives the lists back. A zeroed workload is fine. */
void workload_release(struct workload *workload);

/* What the database says after a run over this workload. */
struct workload_check {
    int64_t sold;        /* leads decided `success` */
    int64_t duplicates;  /* leads decided `duplicate` */
    int64_t deciding;    /* log rows `success` and `duplicate` */
    int64_t sold_twice;  /* identities with more than one lead sold: must be 0 */
    int64_t wrong_rules; /* of a sample of sold leads, those whose rule is not the first that takes them: must be 0 */
    int64_t unsold;      /* identities with leads decided and none sold: must be 0 */
    int64_t lost;        /* leads that were tried and are neither decided nor due for another try: must be 0 */
};
bool workload_verify(struct pg_conn *conn, struct workload_check *ret_check, struct error *reterr_error);

/* How many decisions are wrong, missing or made twice, when `answered` leads were answered as decided (-1: that is not known, as answers
 * were lost); what they are is said in `ret_text`. 0 of a run that went well. */
enum { WORKLOAD_TEXT_SIZE = 320 };
int64_t workload_count_wrong(const struct workload_check *check, int64_t answered, char ret_text[WORKLOAD_TEXT_SIZE]);

/* The rule that takes a lead, in SQL, for leads and rules of this shape; parameters: workspace, industry, size,
 * country, state. Gives the rule's id and destination. `naive` and the check use the one text. */
#define WORKLOAD_RULE_FOR(workspace, industry, size, country, state)                                                   \
    "select r.id, r.destination_workspace_id from public.lead_routing_rules r where r.workspace_id = " workspace       \
    " and r.is_active"                                                                                                 \
    " and (not r.conditions ? 'industries' or r.conditions->'industries' ? " industry ")"                              \
    " and (not r.conditions ? 'company_sizes' or r.conditions->'company_sizes' ? " size ")"                            \
    " and (not r.conditions ? 'countries' or r.conditions->'countries' ? " country ")"                                 \
    " and (not r.conditions ? 'us_states' or (r.conditions->'us_states' ? " state " and " country " = 'US'))"          \
    " order by r.priority desc, r.created_at, r.id limit 1"

#endif
