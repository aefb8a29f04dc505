#include "summary.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "command.h"

enum { DESTINATIONS_MAX = 1000, DESTINATIONS_SHOWN = 20, OUTCOMES = 7, RESULTS = 6 };

struct destination {
    char workspace_id[UUID_TEXT_SIZE];
    int64_t leads;
};

struct summary {
    bool is_routed;
    int64_t started_ns;

    pthread_mutex_t lock;
    /* under the lock */
    char import_id[UUID_TEXT_SIZE];
    bool is_continued;
    bool has_import;
    Leadrouter__V1__ImportState state;
    int64_t read;
    int64_t in;               /* of those that were read */
    int64_t results[RESULTS]; /* by enum ImportResult; of this run, or of the import */
    int64_t processed;        /* their sum */
    int64_t unrouted;
    int64_t outcomes[OUTCOMES];
    struct destination destinations[DESTINATIONS_MAX];
    size_t destination_count;
    int64_t undecided; /* with `has_import` */
    int64_t duplicate_leads;
};

struct summary *summary_new(bool is_routed)
{
    struct summary *summary = memory_new(sizeof(*summary));

    summary->is_routed = is_routed;
    summary->started_ns = clock_now_ns();
    pthread_mutex_init(&summary->lock, NULL);
    return summary;
}

void summary_free(struct summary *summary)
{
    if (summary == NULL)
        return;
    pthread_mutex_destroy(&summary->lock);
    free(summary);
}

void summary_set_started(struct summary *summary, const Leadrouter__V1__ImportStarted *started)
{
    pthread_mutex_lock(&summary->lock);
    snprintf(summary->import_id, sizeof(summary->import_id), "%s", started->import_id);
    summary->is_continued = summary->is_continued || started->last_row > 0;
    pthread_mutex_unlock(&summary->lock);
}

void summary_add_read(struct summary *summary)
{
    pthread_mutex_lock(&summary->lock);
    summary->read++;
    pthread_mutex_unlock(&summary->lock);
}

static void add_destination(struct summary *summary, const char *workspace_id, int64_t leads)
{
    size_t i = 0;

    while (i < summary->destination_count && strcmp(summary->destinations[i].workspace_id, workspace_id) != 0)
        i++;
    if (i == DESTINATIONS_MAX)
        return;
    if (i == summary->destination_count) {
        snprintf(summary->destinations[i].workspace_id, UUID_TEXT_SIZE, "%s", workspace_id);
        summary->destinations[i].leads = 0;
        summary->destination_count++;
    }
    summary->destinations[i].leads += leads;
}

static void add_routing(struct summary *summary, const Leadrouter__V1__RouteLeadResponse *routing)
{
    Leadrouter__V1__RoutingOutcome decided =
        routing->decided_outcome != 0 ? routing->decided_outcome : routing->outcome;

    summary->outcomes[(unsigned)routing->outcome < OUTCOMES ? routing->outcome : 0]++;
    if (decided == LEADROUTER__V1__ROUTING_OUTCOME__ROUTING_OUTCOME_ROUTED)
        add_destination(summary, routing->destination_workspace_id, 1);
}

void summary_add_result(struct summary *summary, const Leadrouter__V1__ImportRowResult *result)
{
    pthread_mutex_lock(&summary->lock);
    summary->in++;
    summary->processed++;
    if (result != NULL) {
        summary->results[(unsigned)result->result < RESULTS ? result->result : 0]++;
        summary->unrouted += result->routing_status != 0;
        if (result->routing != NULL)
            add_routing(summary, result->routing);
    }
    pthread_mutex_unlock(&summary->lock);
}

void summary_set_import(struct summary *summary, const Leadrouter__V1__Import *import)
{
    pthread_mutex_lock(&summary->lock);
    summary->has_import = true;
    snprintf(summary->import_id, sizeof(summary->import_id), "%s", import->id);
    summary->state = import->state;
    summary->processed = import->processed_rows;
    summary->results[LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_CREATED] = import->created;
    summary->results[LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_UPDATED] = import->updated;
    summary->results[LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_EXISTING] = import->existing;
    summary->results[LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_DUPLICATE_ROW] = import->duplicate_rows;
    summary->results[LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_REJECTED] = import->rejected;
    if (import->completed_at != NULL) {
        summary->destination_count = import->n_destinations > 0 || import->created > 0 ? 0 : summary->destination_count;
        for (size_t i = 0; i < import->n_destinations; i++)
            add_destination(summary, import->destinations[i]->workspace_id, import->destinations[i]->leads);
        summary->duplicate_leads = import->duplicate_leads;
        summary->undecided = import->unrouted - import->duplicate_leads;
    }
    pthread_mutex_unlock(&summary->lock);
}

static int by_leads(const void *left, const void *right)
{
    const struct destination *a = left;
    const struct destination *b = right;

    return a->leads != b->leads ? (a->leads < b->leads ? 1 : -1) : strcmp(a->workspace_id, b->workspace_id);
}

static void print_count(const char *label, int64_t count)
{
    printf("%-40s %10" PRId64 "\n", label, count);
}

/* With those that are 0 left out, but for the first. */
static void print_results(const struct summary *summary)
{
    static const char *const labels[RESULTS] = {NULL, "leads created", "leads that had fields filled in",
        "leads that were there already", "rows of the same lead as an earlier one", "rows rejected"};

    for (size_t i = 1; i < RESULTS; i++)
        if (i == 1 || summary->results[i] > 0)
            print_count(labels[i], summary->results[i]);
}

/* What became of the leads that this run had routed; nothing where it had none. */
static void print_outcomes(const struct summary *summary)
{
    bool has_any = summary->unrouted > 0;

    for (unsigned i = 1; i < OUTCOMES; i++)
        has_any = has_any || summary->outcomes[i] > 0;
    if (has_any)
        printf("\n");
    for (unsigned i = 1; i < OUTCOMES; i++)
        if (summary->outcomes[i] > 0)
            print_count(outcome_name((Leadrouter__V1__RoutingOutcome)i), summary->outcomes[i]);
    if (summary->unrouted > 0)
        print_count("not routed in this run, still pending", summary->unrouted);
}

static void print_table(const struct summary *summary, double seconds)
{
    if (summary->import_id[0] != '\0')
        printf("%-18s %s, %s\n\n", "import", summary->import_id, import_state_name(summary->state));
    print_count("rows that are in", summary->processed);
    print_results(summary);
    if (summary->read > summary->in)
        print_count("rows that the server did not take", summary->read - summary->in);
    if (summary->is_routed)
        print_outcomes(summary);
    if (summary->destination_count > 0)
        printf("\n%-40s %10s\n", "destination", "leads");
    for (size_t i = 0; i < summary->destination_count && i < DESTINATIONS_SHOWN; i++)
        print_count(summary->destinations[i].workspace_id, summary->destinations[i].leads);
    if (summary->destination_count > DESTINATIONS_SHOWN)
        printf("and %zu more\n", summary->destination_count - DESTINATIONS_SHOWN);
    printf("\n%.1f s, %.0f rows a second\n", seconds, seconds > 0 ? (double)summary->in / seconds : 0);
}

static void add_number(json_t *object, const char *name, int64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static void print_summary_json(const struct summary *summary, double seconds)
{
    static const char *const names[RESULTS] = {NULL, "created", "updated", "existing", "duplicate_rows", "rejected"};
    json_t *object = json_object();
    json_t *outcomes = json_object();
    json_t *destinations = json_object();

    json_object_set_new(object, "import_id", json_string(summary->import_id));
    json_object_set_new(object, "state", json_string(import_state_name(summary->state)));
    json_object_set_new(object, "is_continued", json_boolean(summary->is_continued));
    add_number(object, "read", summary->read);
    add_number(object, "unsent", summary->read - summary->in);
    add_number(object, "processed", summary->processed);
    for (size_t i = 1; i < RESULTS; i++)
        add_number(object, names[i], summary->results[i]);
    add_number(object, "unrouted", summary->unrouted);
    for (unsigned i = 1; i < OUTCOMES; i++)
        add_number(outcomes, outcome_name((Leadrouter__V1__RoutingOutcome)i), summary->outcomes[i]);
    json_object_set_new(object, "outcomes", outcomes);
    for (size_t i = 0; i < summary->destination_count; i++)
        add_number(destinations, summary->destinations[i].workspace_id, summary->destinations[i].leads);
    json_object_set_new(object, "destinations", destinations);
    add_number(object, "duplicate_leads", summary->duplicate_leads);
    add_number(object, "undecided", summary->undecided);
    json_object_set_new(object, "seconds", json_real(seconds));
    print_json(object);
}

void summary_print(struct summary *summary, bool json)
{
    double seconds = (double)(clock_now_ns() - summary->started_ns) / 1e9;

    pthread_mutex_lock(&summary->lock);
    qsort(summary->destinations, summary->destination_count, sizeof(summary->destinations[0]), by_leads);
    if (json)
        print_summary_json(summary, seconds);
    else
        print_table(summary, seconds);
    pthread_mutex_unlock(&summary->lock);
}

bool summary_is_clean(struct summary *summary)
{
    pthread_mutex_lock(&summary->lock);
    bool clean = summary->results[LEADROUTER__V1__IMPORT_RESULT__IMPORT_RESULT_REJECTED] == 0 &&
                 summary->unrouted == 0 && summary->read == summary->in;
    pthread_mutex_unlock(&summary->lock);
    return clean;
}
