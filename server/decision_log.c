#include "decision_log.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "call_context.h"
#include "service.h"
#include "tracing.h"

enum {
    KEY_FIELDS = 5, /* of a line: what makes it like others */
};

/* How a kind of line is chosen. */
enum choice {
    CHOICE_ALWAYS,
    CHOICE_SAMPLED, /* LIMITED when it was slow */
    CHOICE_LIMITED, /* all; but of many that are alike, as they are of one workspace and failed for one reason, the number */
};

struct kind {
    enum log_level level;
    enum choice choice;
    const char *event;
    const char *message;
    const char *outcome;
};

/* tidy: table */
static const struct kind outcomes[] = {
    [ROUTING_OUTCOME_ROUTED] = {LOG_LEVEL_INFO, CHOICE_SAMPLED, "routing.complete", "a lead is routed", "routed"},
    [ROUTING_OUTCOME_ALREADY_ROUTED] = {LOG_LEVEL_INFO, CHOICE_SAMPLED, "routing.complete", "a lead is routed",
        "already_routed"},
    [ROUTING_OUTCOME_DUPLICATE] = {LOG_LEVEL_INFO, CHOICE_ALWAYS, "routing.duplicate_detected",
        "a lead is a person whom another lead has brought", "duplicate"},
    [ROUTING_OUTCOME_QUEUED_FOR_RETRY] = {LOG_LEVEL_INFO, CHOICE_LIMITED, "routing.retry_queued",
        "a lead could not be routed yet", "queued_for_retry"},
    [ROUTING_OUTCOME_FAILED] = {LOG_LEVEL_ERROR, CHOICE_LIMITED, "routing.failed", "a lead could not be routed",
        "failed"},
    [ROUTING_OUTCOME_EXPIRED] = {LOG_LEVEL_INFO, CHOICE_ALWAYS, "routing.expired", "a lead's time to live has passed",
        "expired"},
};
static const struct kind lock_failed = {
    LOG_LEVEL_WARNING, CHOICE_LIMITED, "routing.lock.failed", "somebody else held the lead for too long", NULL};
static const struct kind too_late = {
    LOG_LEVEL_WARNING, CHOICE_LIMITED, "routing.error", "a lead was not decided", NULL};
static const struct kind failure = {LOG_LEVEL_ERROR, CHOICE_LIMITED, "routing.error", "a lead was not decided", NULL};

bool decision_log_tells(const struct error *error)
{
    return error->code != ERROR_NONE && error->code != ERROR_NOT_FOUND && error->code != ERROR_FORBIDDEN &&
           error->code != ERROR_CANCELLED;
}

/* NULL: nothing worth a line. */
static const struct kind *kind_of(const struct routing_answer *answer)
{
    switch (answer->error.code) {
    case ERROR_NONE:
        return answer->outcome == ROUTING_OUTCOME_NONE ? NULL : &outcomes[answer->outcome];
    case ERROR_BUSY:
        return &lock_failed;
    case ERROR_DEADLINE:
        return &too_late;
    default:
        return decision_log_tells(&answer->error) ? &failure : NULL;
    }
}

/* What was only looked up is as good as a success: nothing happened. */
static enum choice choice_of(const struct kind *kind, const struct routing_answer *answer)
{
    bool was_looked_up =
        answer->error.code == ERROR_NONE && kind->choice == CHOICE_LIMITED && answer->error_class == NULL;

    return was_looked_up ? CHOICE_SAMPLED : kind->choice;
}

/* One of so many, by chance. */
static bool is_sampled(const struct decision_log *log)
{
    static _Thread_local struct random_sequence chance;
    static _Thread_local bool is_seeded;

    if (!is_seeded) {
        uint64_t seed = 0;
        random_bytes(&seed, sizeof(seed));
        chance = random_sequence_from(seed);
        is_seeded = true;
    }
    return random_below(&chance, DECISION_LOG_PER_MILLE) < log->sample_per_mille;
}

/* --- The line ----------------------------------------------------------------------------------------------------- */

static const char *id_text(const struct uuid *id, char ret_text[UUID_TEXT_SIZE])
{
    return uuid_is_nil(id) ? NULL : uuid_format(id, ret_text);
}

/* A phase that took place, in microseconds; otherwise a field that is left out. */
static struct log_field phase(const char *name, int64_t from_ns, int64_t to_ns)
{
    if (from_ns == 0 || to_ns == 0)
        return (struct log_field)LOG_STRING(name, NULL);
    return (struct log_field)LOG_INTEGER(name, (to_ns - from_ns) / 1000);
}

static const char *or_none(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static struct log_field only_if(bool is_wanted, struct log_field field)
{
    return is_wanted ? field : (struct log_field)LOG_STRING(field.name, NULL);
}

static void write_line(const struct decision_log *log, const struct kind *kind, enum choice choice,
    const struct routing_finished *finished, int64_t duration_ns)
{
    const struct routing_answer *answer = finished->answer;
    const struct routing_phases *phases = &answer->phases;
    const struct service_call *call = finished->ticket == NULL ? NULL : finished->ticket->context;
    const bool has_error = answer->error.code != ERROR_NONE;
    char workspace[UUID_TEXT_SIZE], lead[UUID_TEXT_SIZE], decision[UUID_TEXT_SIZE], destination[UUID_TEXT_SIZE],
        rule[UUID_TEXT_SIZE], duplicate[UUID_TEXT_SIZE], holder[UUID_TEXT_SIZE];
    char peer[GRPC_C_PEER_SIZE];
    struct call_context_texts texts;
    struct log_field about_call[CALL_CONTEXT_FIELDS];

    call_context_fields(
        call == NULL ? NULL : &call->context, call == NULL ? NULL : &call->request_id, &texts, about_call);
    const struct log_field fields[] = {
        LOG_STRING("workspace_id", id_text(&finished->request->source_workspace_id, workspace)),
        LOG_STRING("class", answer->error_class),
        LOG_STRING("code", has_error ? grpc_c_status_name(service_status(&answer->error)) : NULL),
        LOG_STRING("sqlstate", or_none(has_error ? answer->error.sqlstate : answer->sqlstate)),
        only_if(duration_ns >= log->slow_ns, (struct log_field)LOG_BOOLEAN("slow", true)),
        LOG_STRING("error", has_error ? answer->error.text : NULL),
        LOG_STRING("outcome", kind->outcome),
        LOG_STRING("lead_id", id_text(&finished->request->lead_id, lead)),
        LOG_STRING("decision_id", id_text(&answer->decision_id, decision)),
        LOG_STRING("destination_workspace_id", id_text(&answer->destination_workspace_id, destination)),
        LOG_STRING("rule_id", id_text(&answer->matched_rule_id, rule)),
        LOG_STRING("duplicate_lead_id", id_text(&answer->duplicate_lead_id, duplicate)),
        LOG_STRING("duplicate_workspace_id", id_text(&answer->duplicate_workspace_id, holder)),
        only_if(!has_error, (struct log_field)LOG_INTEGER("attempt", answer->attempt)),
        LOG_STRING("method", call == NULL ? NULL : grpc_c_call_method(call->call)),
        LOG_STRING("peer", has_error && call != NULL ? grpc_c_call_peer(call->call, peer) : NULL),
        only_if(finished->ticket == NULL, (struct log_field)LOG_BOOLEAN("retry", true)),
        about_call[0],
        about_call[1],
        about_call[2],
        LOG_INTEGER("duration_us", duration_ns / 1000),
        phase("wait_us", finished->ticket == NULL ? 0 : finished->ticket->submitted_ns, phases->taken_ns),
        phase("lock_us", phases->began_ns, phases->locked_ns),
        phase("load_us", phases->locked_ns, phases->loaded_ns),
        phase("match_us", phases->loaded_ns, phases->matched_ns),
        phase("write_us", phases->matched_ns, phases->written_ns),
        only_if(phases->leads > 0, (struct log_field)LOG_INTEGER("batch_leads", phases->leads)),
        only_if(choice == CHOICE_SAMPLED, (struct log_field)LOG_INTEGER("sample_per_mille", log->sample_per_mille)),
        LOG_END,
    };

    if (choice == CHOICE_LIMITED)
        log_write_limited(kind->level, kind->event, kind->message, fields, KEY_FIELDS);
    else
        log_write(kind->level, kind->event, kind->message, fields);
}

static int64_t duration_of(const struct routing_finished *finished)
{
    const struct routing_phases *phases = &finished->answer->phases;
    int64_t since_ns = finished->ticket == NULL ? phases->began_ns : finished->ticket->submitted_ns;
    int64_t until_ns = phases->written_ns != 0 ? phases->written_ns : clock_now_ns();

    return since_ns == 0 ? 0 : until_ns - since_ns;
}

void decision_log_observe(void *user, const struct routing_finished *finished)
{
    const struct decision_log *log = user;
    const struct routing_answer *answer = finished->answer;
    const struct kind *kind = kind_of(answer);
    enum choice choice = CHOICE_ALWAYS;
    int64_t duration_ns = 0;

    tracing_decided(log->tracer, finished, kind == NULL ? NULL : kind->outcome);
    if (kind == NULL || !log_is_on(kind->level) || (finished->is_joined && answer->error.code == ERROR_NONE))
        return;
    choice = choice_of(kind, answer);
    duration_ns = duration_of(finished);
    if (choice == CHOICE_SAMPLED && duration_ns >= log->slow_ns)
        choice = CHOICE_LIMITED;
    if (choice != CHOICE_SAMPLED || is_sampled(log))
        write_line(log, kind, choice, finished, duration_ns);
}
