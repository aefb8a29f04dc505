#include "goals.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "levels/levels.h"

static const double nothing = 1e-9; /* smaller differences are the arithmetic's */

static const struct {
    const char *short_title;
    const char *name; /* NULL: the service level's, as title and direction */
    const char *title;
    enum level level;
    enum goal_direction direction;
    const char *unit;
    bool is_share;      /* shown in per cent */
    bool has_no_margin; /* is to be met, and not so many times over */
} measures[GOAL_MEASURES] = {
    [GOAL_AVAILABILITY] = {"answered", .level = LEVEL_AVAILABILITY, .is_share = true},
    [GOAL_SUCCESS] = {"success", .level = LEVEL_SUCCESS, .is_share = true},
    [GOAL_P95_MS] = {"p95", .level = LEVEL_P95, .unit = " ms"},
    [GOAL_P99_MS] = {"p99", .level = LEVEL_P99, .unit = " ms"},
    [GOAL_DUE] = {"due", .level = LEVEL_RETRIES_DUE},
    [GOAL_LOCKS] = {"locks", .level = LEVEL_LOCKS, .is_share = true},
    [GOAL_STALE] = {"stale", .level = LEVEL_STALE_LOCKS},
    [GOAL_LEADS_PER_SECOND] = {"leads/s", "leads_per_second", "leads a second", .direction = GOAL_AT_LEAST,
        .unit = "/s"},
    [GOAL_QUEUE] = {"queue", "retry_queue", "retry queue", .direction = GOAL_BELOW},
    [GOAL_LOCK_WAITS] = {"waits", "lock_waits", "locks waited for", .direction = GOAL_AT_MOST},
    [GOAL_BACKLOG_S] = {"backlog", "backlog_seconds", "backlog gone", .direction = GOAL_BELOW, .unit = " s"},
    [GOAL_SESSIONS] = {"conns.", "sessions_share", "connections in use", .direction = GOAL_BELOW, .is_share = true,
        .has_no_margin = true},
    [GOAL_WRONG] = {"wrong", "wrong", "wrong decisions", .direction = GOAL_AT_MOST},
    [GOAL_ACQUIRE_MS] = {"acquire", "acquire_p95", "p95 of acquiring leads", .direction = GOAL_BELOW, .unit = " ms"},
    [GOAL_MATCH_MS] = {"match", "match_p95", "p95 of evaluating rules", .direction = GOAL_BELOW, .unit = " ms"},
    [GOAL_COMPLETE_MS] = {"complete", "complete_p95", "p95 of completing leads", .direction = GOAL_BELOW,
        .unit = " ms"},
};

bool goal_is_level(enum goal_measure measure)
{
    assert(measure < GOAL_MEASURES);
    return measures[measure].name == NULL;
}

static const struct level_family *level_of(enum goal_measure measure)
{
    assert(goal_is_level(measure));
    return &levels_table[measures[measure].level];
}

struct goal goal_of_level(enum goal_measure measure)
{
    const struct level_family *level = level_of(measure);

    return (struct goal){measure, level->kind == LEVEL_QUANTILE ? level->target * 1000 : level->target};
}

static enum goal_direction direction_of(enum goal_measure measure)
{
    static const enum goal_direction of_bounds[] = {
        [LEVEL_AT_LEAST] = GOAL_AT_LEAST_SHARE, [LEVEL_BELOW] = GOAL_BELOW, [LEVEL_AT_MOST] = GOAL_AT_MOST};

    return goal_is_level(measure) ? of_bounds[level_of(measure)->bound] : measures[measure].direction;
}

static bool is_stricter(struct goal goal, struct goal than)
{
    enum goal_direction direction = direction_of(goal.measure);

    return direction == GOAL_AT_LEAST_SHARE || direction == GOAL_AT_LEAST ? goal.bound > than.bound
                                                                          : goal.bound < than.bound;
}

void goals_add(struct goals *goals, struct goal goal)
{
    for (size_t i = 0; i < goals->count; i++)
        if (goals->items[i].measure == goal.measure) {
            if (is_stricter(goal, goals->items[i]))
                goals->items[i] = goal;
            return;
        }
    assert(goals->count < GOAL_MEASURES);
    goals->items[goals->count++] = goal;
}

/* What was allowed to what was used. */
static double margin_of(double allowed, double used)
{
    if (used <= 0)
        return INFINITY;
    return allowed / used;
}

struct verdict verdict_of(struct goal goal, double measured, double times)
{
    struct verdict verdict = {.goal = goal, .measured = measured};

    assert(goal.measure < GOAL_MEASURES && times >= 1);
    if (measures[goal.measure].has_no_margin)
        times = 1;
    switch (direction_of(goal.measure)) {
    case GOAL_AT_LEAST_SHARE:
        verdict.margin = margin_of(1 - goal.bound, 1 - measured);
        verdict.is_met = (1 - measured) * times <= 1 - goal.bound + nothing;
        break;
    case GOAL_AT_LEAST:
        verdict.margin = measured / goal.bound;
        verdict.is_met = measured >= goal.bound * times;
        break;
    case GOAL_BELOW:
        verdict.margin = margin_of(goal.bound, measured);
        verdict.is_met = measured * times < goal.bound;
        break;
    case GOAL_AT_MOST:
        verdict.margin = margin_of(goal.bound, measured);
        verdict.is_met = measured * times <= goal.bound;
        break;
    }
    return verdict;
}

/* --- Texts -------------------------------------------------------------------------------------------------------- */

const char *goal_name(enum goal_measure measure)
{
    return goal_is_level(measure) ? level_of(measure)->name : measures[measure].name;
}

const char *goal_title(enum goal_measure measure)
{
    return goal_is_level(measure) ? level_of(measure)->title : measures[measure].title;
}

const char *goal_short_title(enum goal_measure measure)
{
    return measures[measure].short_title;
}

const char *goal_format(enum goal_measure measure, double value, char ret_text[GOAL_TEXT_SIZE])
{
    const char *unit = measures[measure].unit == NULL ? "" : measures[measure].unit;

    if (measures[measure].is_share)
        snprintf(ret_text, GOAL_TEXT_SIZE, "%.2f %%", 100 * value);
    else
        snprintf(ret_text, GOAL_TEXT_SIZE, value == floor(value) ? "%.0f%s" : "%.2f%s", value, unit);
    return ret_text;
}

const char *goal_format_bound(struct goal goal, char ret_text[GOAL_TEXT_SIZE])
{
    static const char *const signs[] = {
        [GOAL_AT_LEAST_SHARE] = ">= ", [GOAL_AT_LEAST] = ">= ", [GOAL_BELOW] = "< ", [GOAL_AT_MOST] = "<= "};
    enum goal_direction direction = direction_of(goal.measure);
    char value[GOAL_TEXT_SIZE];

    snprintf(ret_text, GOAL_TEXT_SIZE, "%s%.24s", direction == GOAL_AT_MOST && goal.bound <= 0 ? "" : signs[direction],
        goal_format(goal.measure, goal.bound, value));
    return ret_text;
}
