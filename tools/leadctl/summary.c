#include "summary.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "command.h"

enum {
    DESTINATIONS_MAX = 1000,
    DESTINATIONS_SHOWN = 20,
    OUTCOMES = 7,
    REJECTED_SHOWN = 20,
    PROGRESS_MS = 200,
    SILENT_MS = 1000,
    NOTE_SIZE = 160,
    COLUMNS_DEFAULT = 80,
};

struct destination {
    char workspace_id[UUID_TEXT_SIZE];
    size_t leads;
};

struct summary {
    bool is_routed;
    bool is_terminal;
    int64_t started_ns;

    pthread_mutex_t lock;
    /* under the lock */
    size_t read;
    size_t created;
    size_t existing;
    size_t rejected;
    size_t unrouted;
    size_t outcomes[OUTCOMES];
    struct destination destinations[DESTINATIONS_MAX];
    size_t destination_count;
    size_t elsewhere; /* leads whose destinations did not fit */
    double fraction;  /* of the file; 0: not known */
    char note[NOTE_SIZE];
    int64_t shown_ns;
    bool has_line;
};

struct summary *summary_new(bool is_routed)
{
    struct summary *summary = memory_new(sizeof(*summary));

    summary->is_routed = is_routed;
    summary->is_terminal = isatty(STDERR_FILENO) == 1;
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

static void clear_line(struct summary *summary)
{
    if (summary->has_line)
        fputs("\r\033[K", stderr);
    summary->has_line = false;
}

void summary_add_read(struct summary *summary)
{
    pthread_mutex_lock(&summary->lock);
    summary->read++;
    pthread_mutex_unlock(&summary->lock);
}

void summary_add_rejected(struct summary *summary, size_t line, const char *reason)
{
    pthread_mutex_lock(&summary->lock);
    summary->rejected++;
    if (summary->rejected <= REJECTED_SHOWN) {
        clear_line(summary);
        fprintf(stderr, "leadctl: line %zu: rejected: %s\n", line, reason);
    }
    if (summary->rejected == REJECTED_SHOWN)
        fprintf(stderr, "leadctl: further rejected rows are only counted\n");
    pthread_mutex_unlock(&summary->lock);
}

static void add_destination(struct summary *summary, const char *workspace_id)
{
    size_t i = 0;

    while (i < summary->destination_count && strcmp(summary->destinations[i].workspace_id, workspace_id) != 0)
        i++;
    if (i == DESTINATIONS_MAX) {
        summary->elsewhere++;
        return;
    }
    if (i == summary->destination_count) {
        snprintf(summary->destinations[i].workspace_id, UUID_TEXT_SIZE, "%s", workspace_id);
        summary->destination_count++;
    }
    summary->destinations[i].leads++;
}

static void add_routing(struct summary *summary, const Leadrouter__V1__RouteLeadResponse *routing)
{
    Leadrouter__V1__RoutingOutcome decided =
        routing->decided_outcome != 0 ? routing->decided_outcome : routing->outcome;

    summary->outcomes[(unsigned)routing->outcome < OUTCOMES ? routing->outcome : 0]++;
    if (decided == LEADROUTER__V1__ROUTING_OUTCOME__ROUTING_OUTCOME_ROUTED)
        add_destination(summary, routing->destination_workspace_id);
}

void summary_add_results(struct summary *summary, const Leadrouter__V1__CreateLeadsResponse *response)
{
    pthread_mutex_lock(&summary->lock);
    summary->created += (size_t)response->created;
    summary->existing += (size_t)response->existing;
    for (size_t i = 0; summary->is_routed && i < response->n_results; i++) {
        if (response->results[i]->routing != NULL)
            add_routing(summary, response->results[i]->routing);
        else
            summary->unrouted++;
    }
    pthread_mutex_unlock(&summary->lock);
}

static double seconds_since(int64_t start_ns)
{
    return (double)(clock_now_ns() - start_ns) / 1e9;
}

void summary_set_fraction(struct summary *summary, double fraction)
{
    pthread_mutex_lock(&summary->lock);
    summary->fraction = fraction;
    pthread_mutex_unlock(&summary->lock);
}

void summary_set_note(struct summary *summary, const char *note)
{
    pthread_mutex_lock(&summary->lock);
    snprintf(summary->note, sizeof(summary->note), "%s", note == NULL ? "" : note);
    pthread_mutex_unlock(&summary->lock);
}

/* A line that is wider than the terminal could not be replaced. */
static int terminal_columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS_DEFAULT;
}

static void show_line(struct summary *summary)
{
    char line[NOTE_SIZE + 128];
    size_t done = summary->created + summary->existing;
    double rate = (double)done / seconds_since(summary->started_ns);

    if (summary->note[0] != '\0')
        snprintf(line, sizeof(line), "%zu leads; %s", done, summary->note);
    else if (summary->fraction > 0)
        snprintf(line, sizeof(line), "%zu leads, %.0f a second, %.0f %% read", done, rate, summary->fraction * 100);
    else
        snprintf(line, sizeof(line), "%zu leads, %.0f a second", done, rate);
    fprintf(stderr, "\r\033[K%.*s", terminal_columns() - 1, line);
    fflush(stderr);
    summary->has_line = true;
}

void summary_show_progress(struct summary *summary)
{
    int64_t now_ns = clock_now_ns();

    if (!summary->is_terminal)
        return;
    pthread_mutex_lock(&summary->lock);
    if (now_ns - summary->started_ns > (int64_t)SILENT_MS * 1000000 &&
        now_ns - summary->shown_ns > (int64_t)PROGRESS_MS * 1000000) {
        show_line(summary);
        summary->shown_ns = now_ns;
    }
    pthread_mutex_unlock(&summary->lock);
}

void summary_hide_progress(struct summary *summary)
{
    pthread_mutex_lock(&summary->lock);
    clear_line(summary);
    pthread_mutex_unlock(&summary->lock);
}

/* Rows that were read and of which nothing is known: the server failed before or while they were sent. */
static size_t unsent(const struct summary *summary)
{
    return summary->read - summary->created - summary->existing - summary->rejected;
}

static int by_leads(const void *left, const void *right)
{
    const struct destination *a = left;
    const struct destination *b = right;

    return a->leads != b->leads ? (a->leads < b->leads ? 1 : -1) : strcmp(a->workspace_id, b->workspace_id);
}

static void print_count(const char *label, size_t count)
{
    printf("%-40s %10zu\n", label, count);
}

static void print_table(const struct summary *summary, double seconds)
{
    size_t leads = summary->created + summary->existing;

    print_count("rows read", summary->read);
    print_count("leads created", summary->created);
    print_count("leads that were there already", summary->existing);
    print_count("rows rejected", summary->rejected);
    if (unsent(summary) > 0)
        print_count("rows that the server did not take", unsent(summary));
    if (summary->is_routed) {
        printf("\n");
        for (unsigned i = 1; i < OUTCOMES; i++)
            if (summary->outcomes[i] > 0)
                print_count(outcome_name((Leadrouter__V1__RoutingOutcome)i), summary->outcomes[i]);
        if (summary->unrouted > 0)
            print_count("not routed in this run, still pending", summary->unrouted);
    }
    if (summary->destination_count > 0)
        printf("\n%-40s %10s\n", "destination", "leads");
    for (size_t i = 0; i < summary->destination_count && i < DESTINATIONS_SHOWN; i++)
        print_count(summary->destinations[i].workspace_id, summary->destinations[i].leads);
    if (summary->destination_count > DESTINATIONS_SHOWN)
        printf("and %zu more\n", summary->destination_count - DESTINATIONS_SHOWN);
    printf("\n%.1f s, %.0f leads a second\n", seconds, seconds > 0 ? (double)leads / seconds : 0);
}

static void print_summary_json(const struct summary *summary, double seconds)
{
    json_t *outcomes = json_object();
    json_t *destinations = json_object();

    for (unsigned i = 1; i < OUTCOMES; i++)
        json_object_set_new(
            outcomes, outcome_name((Leadrouter__V1__RoutingOutcome)i), json_integer((json_int_t)summary->outcomes[i]));
    for (size_t i = 0; i < summary->destination_count; i++)
        json_object_set_new(destinations, summary->destinations[i].workspace_id,
            json_integer((json_int_t)summary->destinations[i].leads));
    print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:f}", "read", (json_int_t)summary->read, "created",
        (json_int_t)summary->created, "existing", (json_int_t)summary->existing, "rejected",
        (json_int_t)summary->rejected, "unsent", (json_int_t)unsent(summary), "unrouted", (json_int_t)summary->unrouted,
        "outcomes", outcomes, "destinations", destinations, "seconds", seconds));
}

void summary_print(struct summary *summary, bool json)
{
    double seconds = seconds_since(summary->started_ns);

    pthread_mutex_lock(&summary->lock);
    clear_line(summary);
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
    bool clean = summary->rejected == 0 && summary->unrouted == 0 && unsent(summary) == 0;
    pthread_mutex_unlock(&summary->lock);
    return clean;
}
