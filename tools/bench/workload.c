#include "workload.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

enum { PREPARE_MS = 600000, READ_MS = 120000, VERIFY_MS = 120000 };

/* Lists that leads and rules draw from. Positions count from 1, as SQL arrays do. */
#define INDUSTRIES                                                                                                     \
    "array['Software','Banking','Retail','Insurance','Logistics','Education','Energy','Media','Health Care','Food']"
#define SIZES "array['1-10','11-50','51-200','201-500','501-1000','1001+']"
#define COUNTRIES "array['US','US','US','US','US','US','GB','DE','FR','IN','CA','AU']"
#define STATES                                                                                                         \
    "array['CA','TX','NY','FL','IL','PA','OH','GA','NC','MI','WA','AZ','MA','TN','IN','MO','MD','WI','CO','MN']"

static const struct pg_statement statement_seed = {.sql = "select setseed(0.42)"};

/* $1 workspaces. Their ids are random: a bench may run more than once on one database. */
static const struct pg_statement statement_workspaces = {
    .sql = "create temp table bench_workspaces on commit preserve rows as"
           " select n::int4 as n, gen_random_uuid() as id from generate_series(0, (select v from bench_shape where k = "
           "'workspaces') - 1) n"};

static const struct pg_statement statement_shape = {
    .sql = "insert into bench_shape values ('workspaces', $1), ('rules', $2), ('leads', $3), ('duplicates', $4)",
    .param_count = 4,
    .param_types = {PG_INT4, PG_INT4, PG_INT4, PG_INT4}};

static const struct pg_statement statement_insert_workspaces = {
    .sql = "insert into public.workspaces (id, name, workspace_type)"
           " select id, 'bench ' || n, 'partner' from bench_workspaces order by n"};

/* Four kinds of condition in turn; each takes between 3 and 12 of a hundred leads. */
static const struct pg_statement statement_insert_rules = {
    .sql = "insert into public.lead_routing_rules (workspace_id, rule_name, priority, conditions, "
           "destination_workspace_id)"
           " select s.id, 'rule ' || r, 1000 - r,"
           " case when r = shape.rules then '{}'::jsonb"
           "  when r % 4 = 1 then jsonb_build_object('industries', to_jsonb((" INDUSTRIES
           ")[1 + (s.n + r) % 8 : 2 + (s.n + r) % 8]),"
           "   'company_sizes', to_jsonb((" SIZES ")[1 + r % 5 : 2 + r % 5]))"
           "  when r % 4 = 2 then jsonb_build_object('us_states', to_jsonb((" STATES
           ")[1 + (s.n + r) % 17 : 3 + (s.n + r) % 17]))"
           "  when r % 4 = 3 then jsonb_build_object('countries', to_jsonb((" COUNTRIES ")[7 + r % 5 : 8 + r % 5]),"
           "   'industries', to_jsonb((" INDUSTRIES ")[1 + (s.n * 3 + r) % 6 : 5 + (s.n * 3 + r) % 6]))"
           "  else jsonb_build_object('countries', '[\"US\"]'::jsonb, 'company_sizes', to_jsonb((" SIZES
           ")[1 + r % 6 : 1 + r % 6]),"
           "   'industries', to_jsonb((" INDUSTRIES ")[1 + (s.n + r) % 7 : 4 + (s.n + r) % 7])) end,"
           " d.id"
           " from (select (select v from bench_shape where k = 'rules') as rules, (select v from bench_shape where k = "
           "'workspaces') as workspaces) shape,"
           " bench_workspaces s, generate_series(1, shape.rules) r, bench_workspaces d"
           " where d.n = (s.n + 1 + (r - 1) % (shape.workspaces - 1)) % shape.workspaces order by s.n, r"};

/* Lead i: identity `who` is its own number or, for the last `duplicates` of each hundred, that of an earlier lead. */
static const struct pg_statement statement_insert_leads = {
    .sql =
        "insert into public.leads (id, workspace_id, external_id, email, phone, first_name, last_name, company_name,"
        " company_industry, company_size, country, state, source)"
        " select gen_random_uuid(), w.id, 'bench-' || lpad(i::text, 8, '0'),"
        " 'person' || who || '@company' || who % 5000 || '.example', '+1555' || lpad((who % 10000000)::text, 7, '0'),"
        " 'First' || who % 997, 'Last' || who, 'Company ' || who % 5000,"
        " (" INDUSTRIES ")[1 + floor(random() * 10)::int4], (" SIZES ")[1 + floor(random() * 6)::int4], c.country,"
        " case when c.country = 'US' then (" STATES ")[1 + floor(random() * 20)::int4] end, 'bench'"
        " from (select i, case when i % 100 < 100 - duplicates then i"
        "   else floor(random() * (i / 100 + 1))::int4 * 100 + floor(random() * (100 - duplicates))::int4 end as who,"
        "   floor(random() * workspaces)::int4 as n, 1 + floor(random() * 12)::int4 as c"
        "   from (select (select v from bench_shape where k = 'leads') as leads, (select v from bench_shape where k = "
        "'duplicates') as duplicates,"
        "    (select v from bench_shape where k = 'workspaces') as workspaces) shape, generate_series(0, shape.leads - "
        "1) i) drawn"
        " join bench_workspaces w on w.n = drawn.n"
        " cross join lateral (select (" COUNTRIES ")[drawn.c] as country) c order by i"};

static const struct pg_statement statement_read_leads = {
    .sql = "select l.id, l.workspace_id from public.leads l join bench_workspaces w on w.id = l.workspace_id"
           " order by l.external_id"};

static const struct pg_statement statement_read_pending = {
    .sql = "select l.id, l.source_workspace_id from public.leads l where l.routing_status = 'pending'"
           " order by l.created_at, l.external_id, l.id limit $1",
    .param_count = 1,
    .param_types = {PG_INT4}};

static const struct pg_statement *const preparation[] = {&statement_seed, &statement_workspaces,
    &statement_insert_workspaces, &statement_insert_rules, &statement_insert_leads};

static const char tables_settle[] =
    "vacuum (analyze) public.workspaces; vacuum (analyze) public.lead_routing_rules; vacuum (analyze) public.leads;"
    " vacuum (analyze) public.lead_dedupe_claims; vacuum (analyze) public.lead_routing_queue;"
    " analyze public.lead_routing_logs";

/* The simple protocol runs several statements as one transaction, which VACUUM refuses: one at a time. */
static bool settle(struct pg_conn *conn, int64_t deadline_ns, struct error *reterr_error)
{
    char *text = memory_copy_string(tables_settle);
    char *rest = text;
    bool ok = true;

    for (char *sql = strsep(&rest, ";"); sql != NULL && ok; sql = strsep(&rest, ";"))
        ok = pg_execute_script(conn, sql, deadline_ns, reterr_error);
    free(text);
    return ok;
}

bool workload_read(struct pg_conn *conn, const struct pg_statement *statement, const struct pg_params *params,
    struct workload *ret_workload, struct error *reterr_error)
{
    struct pg_result *result = NULL;

    if (!pg_execute(conn, statement, params, clock_after_ms(READ_MS), &result, reterr_error))
        return false;
    int row_count = pg_result_row_count(result);
    struct workload workload = {.count = (size_t)row_count};
    workload.lead_ids = memory_new_array(workload.count, sizeof(*workload.lead_ids));
    workload.source_workspace_ids = memory_new_array(workload.count, sizeof(*workload.source_workspace_ids));
    for (int row = 0; row < row_count; row++) {
        workload.lead_ids[row] = pg_result_uuid(result, row, 0);
        workload.source_workspace_ids[row] = pg_result_uuid(result, row, 1);
    }
    pg_result_free(result);
    *ret_workload = workload;
    return true;
}

bool workload_read_pending(
    struct pg_conn *conn, int32_t count_max, struct workload *ret_workload, struct error *reterr_error)
{
    struct arena *arena = arena_new(0);
    struct pg_params params;
    bool ok = false;

    pg_params_init(&params, arena);
    pg_params_add_int4(&params, count_max);
    ok = workload_read(conn, &statement_read_pending, &params, ret_workload, reterr_error);
    arena_free(arena);
    return ok;
}

bool workload_prepare(struct pg_conn *conn, const struct workload_options *options, struct workload *ret_workload,
    struct error *reterr_error)
{
    int64_t deadline_ns = clock_after_ms(PREPARE_MS);
    struct arena *arena = arena_new(0);
    struct pg_params params;
    bool ok = false;

    assert(options->workspaces >= 2 && options->rules >= 1 && options->leads >= 1);
    assert(options->duplicates_percent >= 0 && options->duplicates_percent <= 90);
    pg_params_init(&params, arena);
    pg_params_add_int4(&params, options->workspaces);
    pg_params_add_int4(&params, options->rules);
    pg_params_add_int4(&params, options->leads);
    pg_params_add_int4(&params, options->duplicates_percent);
    if (!pg_execute_script(conn,
            "set statement_timeout = 0; drop table if exists pg_temp.bench_shape, pg_temp.bench_workspaces;"
            " create temp table bench_shape (k text, v int4)",
            deadline_ns, reterr_error) ||
        !pg_execute(conn, &statement_shape, &params, deadline_ns, NULL, reterr_error))
        goto cleanup;
    for (size_t i = 0; i < COUNT_OF(preparation); i++)
        if (!pg_execute(conn, preparation[i], NULL, deadline_ns, NULL, reterr_error))
            goto cleanup;
    ok = settle(conn, deadline_ns, reterr_error) &&
         workload_read(conn, &statement_read_leads, NULL, ret_workload, reterr_error);
cleanup:
    if (!ok)
        error_add_context(reterr_error, "could not prepare the data");
    arena_free(arena);
    return ok;
}

void workload_release(struct workload *workload)
{
    free(workload->lead_ids);
    free(workload->source_workspace_ids);
    *workload = (struct workload){0};
}

static const struct pg_statement statement_verify = {
    .sql = "select (select count(*) from public.leads where decided_outcome = 'success'),"
           " (select count(*) from public.leads where decided_outcome = 'duplicate'),"
           " (select count(*) from public.lead_routing_logs where routing_result in ('success', 'duplicate')),"
           " (select count(*) from (select dedupe_hash from public.leads where decided_outcome = 'success'"
           "   and workspace_id <> source_workspace_id group by dedupe_hash having count(*) > 1) twice),"
           " (select count(*) from (select * from public.leads where decided_outcome = 'success' limit 5000) l"
           "   left join lateral (" WORKLOAD_RULE_FOR("l.source_workspace_id", "l.company_industry", "l.company_size",
               "l.country", "l.state") ") r on true"
                                       "   where l.matched_rule_id is distinct from r.id or l.workspace_id is distinct "
                                       "from r.destination_workspace_id),"
                                       " (select count(*) from (select dedupe_hash from public.leads where "
                                       "decided_outcome in ('success', 'duplicate')"
                                       "   group by dedupe_hash having count(*) filter (where decided_outcome = "
                                       "'success') = 0) unsold),"
                                       " (select count(*) from public.leads l where l.routing_status = 'routing' or "
                                       "(l.routing_status = 'pending'"
                                       "   and l.routing_attempts > 0 and not exists (select from "
                                       "public.lead_routing_queue q where q.lead_id = l.id"
                                       "     and q.processed_at is null)))"};

bool workload_verify(struct pg_conn *conn, struct workload_check *ret_check, struct error *reterr_error)
{
    struct pg_result *result = NULL;

    if (!pg_execute(conn, &statement_verify, NULL, clock_after_ms(VERIFY_MS), &result, reterr_error))
        return false;
    assert(pg_result_row_count(result) == 1);
    *ret_check = (struct workload_check){.sold = pg_result_int8(result, 0, 0),
        .duplicates = pg_result_int8(result, 0, 1),
        .deciding = pg_result_int8(result, 0, 2),
        .sold_twice = pg_result_int8(result, 0, 3),
        .wrong_rules = pg_result_int8(result, 0, 4),
        .unsold = pg_result_int8(result, 0, 5),
        .lost = pg_result_int8(result, 0, 6)};
    pg_result_free(result);
    return true;
}

int64_t workload_count_wrong(const struct workload_check *check, int64_t answered, char ret_text[WORKLOAD_TEXT_SIZE])
{
    int64_t decided = check->sold + check->duplicates;
    int64_t unlogged = llabs(check->deciding - decided);
    int64_t unanswered = answered < 0 ? 0 : llabs(answered - decided);

    snprintf(ret_text, WORKLOAD_TEXT_SIZE,
        "%" PRId64 " identities sold twice, %" PRId64 " never, %" PRId64 " leads by a wrong rule, %" PRId64
        " lost, %" PRId64 " deciding log rows for %" PRId64 " decided leads, of which %" PRId64
        " are not what was answered",
        check->sold_twice, check->unsold, check->wrong_rules, check->lost, check->deciding, decided, unanswered);
    return check->sold_twice + check->unsold + check->wrong_rules + check->lost + unlogged + unanswered;
}
