/* What there is, and what each is held to. */
#include <assert.h>

#include "base/memory.h"
#include "scenarios.h"

#define GOALS(...)                                                                                                     \
    .goals = {__VA_ARGS__}, .goal_count = sizeof((const struct goal[]){__VA_ARGS__}) / sizeof(struct goal)

/* Where a service level is stricter than what stands here, it counts. */
const struct scenario scenarios[] = {
    {"sequential", "one call after the other", SCENARIO_CALLERS, .callers = 1,
        GOALS({GOAL_LEADS_PER_SECOND, 50}, {GOAL_P95_MS, 500}, {GOAL_SUCCESS, 0.99})},
    {"concurrent", "ten callers at once", SCENARIO_CALLERS, .callers = 10,
        GOALS({GOAL_LEADS_PER_SECOND, 100}, {GOAL_P95_MS, 1500}, {GOAL_SUCCESS, 0.98})},
    {"duplicates", "ten copies of each lead, called for at once", SCENARIO_COPIES, .callers = 10,
        GOALS({GOAL_LEADS_PER_SECOND, 80}, {GOAL_P95_MS, 300}, {GOAL_SUCCESS, 1})},
    {"retries", "leads in the retry queue, of which 2,000 a second become due", SCENARIO_RETRIES,
        .arrivals = {.per_second = 2000},
        GOALS({GOAL_LEADS_PER_SECOND, 150}, {GOAL_P95_MS, 800}, {GOAL_SUCCESS, 0.95})},
    {"rate-10", "10 calls a second", SCENARIO_ARRIVALS, .arrivals = {.per_second = 10},
        GOALS({GOAL_P95_MS, 500}, {GOAL_SUCCESS, 0.99}, {GOAL_LOCK_WAITS, 0}, {GOAL_QUEUE, 50})},
    {"rate-50", "50 calls a second", SCENARIO_ARRIVALS, .arrivals = {.per_second = 50},
        GOALS({GOAL_P95_MS, 3000}, {GOAL_SUCCESS, 0.98}, {GOAL_BACKLOG_S, 300})},
    {"rate-100", "100 calls a second", SCENARIO_ARRIVALS, .arrivals = {.per_second = 100},
        GOALS({GOAL_P95_MS, 2000}, {GOAL_SUCCESS, 0.98}, {GOAL_QUEUE, 200}, {GOAL_BACKLOG_S, 300})},
    {"burst-500", "100 calls a second, and 500 in the first of every five seconds", SCENARIO_ARRIVALS,
        .arrivals = {.per_second = 100, .burst_per_second = 500, .burst_every_s = 5},
        GOALS({GOAL_P95_MS, 5000}, {GOAL_SUCCESS, 0.90}, {GOAL_QUEUE, 200}, {GOAL_BACKLOG_S, 300})},
    {"rate-1000", "1,000 calls a second", SCENARIO_ARRIVALS, .arrivals = {.per_second = 1000},
        GOALS({GOAL_SUCCESS, 0.99}, {GOAL_QUEUE, 200}, {GOAL_BACKLOG_S, 300})},
    {"rate-5000", "5,000 calls a second", SCENARIO_ARRIVALS, .arrivals = {.per_second = 5000},
        GOALS({GOAL_SUCCESS, 0.99}, {GOAL_QUEUE, 200}, {GOAL_BACKLOG_S, 300})},
};
const size_t scenarios_count = COUNT_OF(scenarios);

const struct goal scenarios_common_goals[] = {
    {GOAL_SESSIONS, 0.8},
    {GOAL_WRONG, 0},
    {GOAL_ACQUIRE_MS, 50},
    {GOAL_MATCH_MS, 100},
    {GOAL_COMPLETE_MS, 200},
};
const size_t scenarios_common_goals_count = COUNT_OF(scenarios_common_goals);

static_assert(COUNT_OF(scenarios) <= SCENARIOS_MAX, "the report has a row for each");
