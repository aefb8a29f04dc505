/* Goal: a workspace gets what its limits say and nothing more, whoever asks; who is refused is told when to come back; what strangers
 * do takes nothing from a workspace; what is remembered is bounded, and every place that was taken comes back. Time is given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "call_limits.h"

enum { ENTRIES = 1024, MS = 1000000 };

#define S INT64_C(1000000000)

static const struct uuid workspace = {.bytes = {1}};
static const struct uuid other = {.bytes = {2}};
static const struct uuid person = {.bytes = {0xa}};
static const struct uuid stranger = {.bytes = {0xb}};

static struct limits *make(int32_t per_second, int32_t burst, int32_t in_flight)
{
    const struct limits_options options = {
        .standard = {.calls_per_second = per_second, .calls_burst = burst, .calls_in_flight = in_flight},
        .entries_max = ENTRIES};

    return limits_new(&options);
}

static void set(struct limits *limits, int32_t per_second, int32_t burst, int32_t in_flight, int64_t now_ns)
{
    const struct limits_values values = {
        .calls_per_second = per_second, .calls_burst = burst, .calls_in_flight = in_flight};

    limits_set(limits, &workspace, &values, now_ns);
}

/* One call of a service that ends at once: true, or the push-back. */
static bool call(struct limits *limits, int64_t now_ns, int32_t *ret_retry_ms)
{
    struct limits_hold hold;
    struct error error = {0};
    bool ok = limits_enter(limits, &workspace, NULL, now_ns, &hold, &error);

    if (!ok) {
        assert_int_equal(error.code, ERROR_FULL);
        assert_null(hold.entry);
        *ret_retry_ms = error.retry_after_ms;
    }
    limits_leave(limits, &hold, LIMITS_END_UNSAID);
    return ok;
}

static int calls(struct limits *limits, int64_t now_ns)
{
    int32_t ignored = 0;
    int count = 0;

    while (count < 10000 && call(limits, now_ns, &ignored))
        count++;
    return count;
}

/* --- The bucket --------------------------------------------------------------------------------------------------- */

static void a_burst_and_then_the_rate(void **state)
{
    struct limits *limits = make(10, 5, 0);
    int32_t retry_ms = 0;

    (void)state;
    assert_int_equal(calls(limits, 100 * S), 5);
    assert_false(call(limits, 100 * S + 99 * MS, &retry_ms));
    assert_true(call(limits, 100 * S + 100 * MS, &retry_ms));
    assert_false(call(limits, 100 * S + 100 * MS, &retry_ms));
    for (int i = 2; i < 50; i++) /* one each tenth of a second, on and on */
        assert_int_equal(calls(limits, 100 * S + i * INT64_C(100) * MS), 1);
    assert_int_equal(calls(limits, 200 * S), 5); /* no more than the burst, however long nothing came */
    limits_free(limits);
}

static void without_a_burst_a_second_may_come_at_once(void **state)
{
    struct limits *limits = make(7, 0, 0);

    (void)state;
    assert_int_equal(calls(limits, S), 7);
    limits_free(limits);
}

static void without_limits_nothing_is_refused(void **state)
{
    struct limits *limits = make(0, 0, 0);

    (void)state;
    assert_int_equal(calls(limits, S), 10000);
    assert_int_equal(limits_refused(limits), 0);
    limits_free(limits);
}

/* Pushed back for as long as the bucket needs; several who are refused at the same time come back one after the other, and somebody who
 * does what he is told is let in. */
static void push_back_is_when_the_next_call_is_due(void **state)
{
    struct limits *limits = make(20, 1, 0);
    int32_t first_ms = 0, second_ms = 0, third_ms = 0;

    (void)state;
    assert_int_equal(calls(limits, S), 1); /* and one refusal: told 50 */
    assert_false(call(limits, S + 10 * MS, &second_ms));
    assert_int_equal(second_ms, 90); /* at 1.1 s: the 50 of the first, and another 50 */
    assert_false(call(limits, S + 10 * MS, &third_ms));
    assert_int_equal(third_ms, 140);
    assert_true(call(limits, S + 50 * MS, &first_ms));
    assert_true(call(limits, S + 100 * MS, &first_ms));
    assert_true(call(limits, S + 150 * MS, &first_ms));
    assert_int_equal(limits_refused(limits), 3);
    limits_free(limits);
}

static void push_back_is_not_for_ever(void **state)
{
    struct limits *limits = make(20, 1, 0);
    int32_t retry_ms = 0;

    (void)state;
    calls(limits, S);
    for (int i = 0; i < 1000; i++)
        assert_false(call(limits, S, &retry_ms));
    assert_int_equal(retry_ms, LIMITS_SPREAD_MS);
    limits_free(limits);
}

static void a_slow_rate_is_waited_for(void **state)
{
    struct limits *limits = make(1, 1, 0);
    int32_t retry_ms = 0;

    (void)state;
    calls(limits, S);
    assert_false(call(limits, S + 1, &retry_ms));
    assert_in_range(retry_ms, 999, 1000);
    assert_true(call(limits, 2 * S, &retry_ms));
    limits_free(limits);
}

static void refusals_name_the_limit_and_its_value(void **state)
{
    struct limits *limits = make(30, 40, 0);
    struct limits_hold hold[2];
    struct error error = {0};

    (void)state;
    calls(limits, S);
    assert_false(limits_enter(limits, &workspace, NULL, S, &hold[0], &error));
    assert_string_equal(
        error.text, "limits.calls_per_second: the workspace may make 30 calls a second here, 40 of them at once");
    set(limits, 0, 0, 1, S);
    assert_true(limits_enter(limits, &workspace, NULL, S, &hold[0], &error));
    assert_false(limits_enter(limits, &workspace, NULL, S, &hold[1], &error));
    assert_string_equal(error.text, "limits.calls_in_flight: the workspace may have 1 calls under way here");
    assert_int_equal(error.retry_after_ms, 0);
    limits_leave(limits, &hold[0], LIMITS_END_UNSAID);
    limits_free(limits);
}

/* They are counted by themselves, for whoever is a member, and an entry is remembered for as long as one of them runs. */
static void imports_have_places_of_their_own(void **state)
{
    const struct limits_options options = {.standard = {.calls_in_flight = 1, .imports = 2}, .entries_max = 1};
    struct limits *limits = limits_new(&options);
    struct limits_values values = {.imports = 3};
    struct limits_hold call_hold;
    struct limits_hold hold[4];
    struct error error = {0};
    size_t entries = 0;
    size_t calls = 0;

    (void)state;
    assert_true(limits_enter(limits, &workspace, NULL, S, &call_hold, &error));
    for (int i = 0; i < 2; i++)
        assert_true(limits_enter_import(limits, &workspace, S, &hold[i], &error));
    assert_false(limits_enter_import(limits, &workspace, S, &hold[2], &error));
    assert_int_equal(error.code, ERROR_FULL);
    assert_string_equal(error.text, "limits.imports: the workspace may have 2 imports under way here");
    assert_int_equal(hold[2].refused, 1);
    assert_int_equal(limits_refused(limits), 1);
    limits_leave_import(limits, &hold[2]); /* holds nothing */
    assert_true(limits_enter_import(limits, &other, S, &hold[2], &error));
    limits_leave_import(limits, &hold[2]);
    limits_leave(limits, &call_hold, LIMITS_END_UNSAID);
    for (uint8_t i = 0; i < 200; i++) { /* others, who would push it out */
        const struct uuid id = {.bytes = {0xff, i}};
        assert_true(limits_enter(limits, &id, NULL, S, &call_hold, &error));
        limits_leave(limits, &call_hold, LIMITS_END_UNSAID);
    }
    assert_false(limits_enter_import(limits, &workspace, S, &hold[2], &error));
    limits_set(limits, &workspace, &values, S);
    assert_true(limits_enter_import(limits, &workspace, S, &hold[2], &error));
    assert_false(limits_enter_import(limits, &workspace, S, &hold[3], &error));
    limits_leave_import(limits, &hold[0]);
    assert_true(limits_enter_import(limits, &workspace, S, &hold[0], &error));
    for (int i = 0; i < 3; i++)
        limits_leave_import(limits, &hold[i]);
    limits_count(limits, &entries, &calls);
    assert_int_equal(calls, 0);
    limits_free(limits);
}

/* A long random life against a model that counts: in any stretch of time no more are let in than burst and rate allow, and whoever
 * could be let in is. */
static void never_more_and_never_less(void **state)
{
    enum { RATE = 100, BURST = 7, STEPS = 20000 };
    struct limits *limits = make(RATE, BURST, 0);
    double tokens = BURST;
    int64_t now_ns = S;
    int32_t retry_ms = 0;

    (void)state;
    srand(7);
    for (int i = 0; i < STEPS; i++) {
        int64_t pause_ns = rand() % (20 * MS);
        now_ns += pause_ns;
        tokens += (double)pause_ns / 1e9 * RATE;
        tokens = tokens > BURST ? BURST : tokens;
        bool is_in = call(limits, now_ns, &retry_ms);
        if (tokens >= 1.001)
            assert_true(is_in);
        if (tokens < 0.999)
            assert_false(is_in);
        tokens -= is_in ? 1 : 0;
    }
    limits_free(limits);
}

/* --- Places ------------------------------------------------------------------------------------------------------- */

static void places_come_back(void **state)
{
    struct limits *limits = make(0, 0, 3);
    struct limits_hold holds[4];
    struct error error = {0};

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(limits_enter(limits, &workspace, NULL, S, &holds[i], &error));
    assert_false(limits_enter(limits, &workspace, NULL, S, &holds[3], &error));
    assert_true(limits_enter(limits, &other, NULL, S, &holds[3], &error)); /* another workspace does not notice */
    limits_leave(limits, &holds[1], LIMITS_END_UNSAID);
    limits_leave(limits, &holds[1], LIMITS_END_UNSAID); /* an empty one is fine */
    assert_true(limits_enter(limits, &workspace, NULL, S, &holds[1], &error));
    for (int i = 0; i < 4; i++)
        limits_leave(limits, &holds[i], LIMITS_END_UNSAID);
    size_t entries = 0, under_way = 0;
    limits_count(limits, &entries, &under_way);
    assert_int_equal(under_way, 0);
    limits_free(limits);
}

static void a_refused_place_costs_no_call(void **state)
{
    struct limits *limits = make(2, 2, 1);
    struct limits_hold hold;
    struct error error = {0};
    int32_t ignored = 0;

    (void)state;
    assert_true(limits_enter(limits, &workspace, NULL, S, &hold, &error));
    for (int i = 0; i < 10; i++)
        assert_false(call(limits, S, &ignored));
    limits_leave(limits, &hold, LIMITS_END_UNSAID);
    assert_true(call(limits, S, &ignored));
    limits_free(limits);
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

static void count_wanted(void *user)
{
    (*(int *)user)++;
}

static void values_are_wanted_when_they_are_old(void **state)
{
    int told = 0;
    const struct limits_options options = {.entries_max = ENTRIES, .on_wanted = count_wanted, .user = &told};
    struct limits *limits = limits_new(&options);
    struct uuid ids[4];
    int32_t ignored = 0;

    (void)state;
    assert_int_equal(limits_wanted(limits, ids, 4), 0);
    call(limits, S, &ignored);
    call(limits, S, &ignored);
    assert_int_equal(told, 1); /* at first sight, and once */
    assert_int_equal(limits_wanted(limits, ids, 4), 1);
    assert_true(uuid_equal(&ids[0], &workspace));
    assert_int_equal(limits_wanted(limits, ids, 4), 1); /* until it is set */
    set(limits, 0, 0, 0, S);
    assert_int_equal(limits_wanted(limits, ids, 4), 0);
    call(limits, S + LIMITS_REFRESH_MS * INT64_C(1000000) - 1, &ignored);
    assert_int_equal(told, 1);
    call(limits, S + LIMITS_REFRESH_MS * INT64_C(1000000), &ignored);
    assert_int_equal(told, 2);
    assert_int_equal(limits_wanted(limits, ids, 4), 1);
    limits_free(limits);
}

/* What came before the values were known counts. */
static void what_was_used_up_stays_used_up(void **state)
{
    struct limits *limits = make(0, 0, 0);

    (void)state;
    for (int i = 0; i < 3; i++) {
        int32_t ignored = 0;
        assert_true(call(limits, S, &ignored));
    }
    set(limits, 10, 5, 0, S);
    assert_int_equal(calls(limits, S), 2);
    set(limits, 10, 8, 0, S); /* a larger burst: three more */
    assert_int_equal(calls(limits, S), 3);
    set(limits, 10, 8, 0, S); /* the same again changes nothing */
    assert_int_equal(calls(limits, S), 0);
    set(limits, 10, 2, 0, S);
    assert_int_equal(calls(limits, S), 0);
    assert_int_equal(calls(limits, S + 200 * MS), 2);
    set(limits, 0, 0, 0, S + 200 * MS); /* no limit any more */
    assert_int_equal(calls(limits, S + 200 * MS), 10000);
    limits_free(limits);
}

static void a_lowered_number_of_places_waits_for_those_that_are_taken(void **state)
{
    struct limits *limits = make(0, 0, 0);
    struct limits_hold holds[3];
    struct error error = {0};
    int32_t ignored = 0;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_true(limits_enter(limits, &workspace, NULL, S, &holds[i], &error));
    set(limits, 0, 0, 2, S);
    limits_leave(limits, &holds[0], LIMITS_END_UNSAID);
    assert_false(call(limits, S, &ignored));
    limits_leave(limits, &holds[1], LIMITS_END_UNSAID);
    assert_true(call(limits, S, &ignored));
    limits_leave(limits, &holds[2], LIMITS_END_UNSAID);
    limits_free(limits);
}

/* --- People ------------------------------------------------------------------------------------------------------- */

static bool call_by(
    struct limits *limits, const struct uuid *who, enum limits_end end, int64_t now_ns, struct error *reterr_error)
{
    struct limits_hold hold;
    bool ok = limits_enter(limits, &workspace, who, now_ns, &hold, reterr_error);

    limits_leave(limits, &hold, end);
    return ok;
}

static void strangers_take_nothing_from_a_workspace(void **state)
{
    struct limits *limits = make(4, 4, 0);
    struct error error = {0};
    struct uuid ids[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_true(call_by(limits, &stranger, LIMITS_END_STRANGER, S, &error));
    assert_false(call_by(limits, &stranger, LIMITS_END_STRANGER, S, &error));
    assert_string_equal(
        error.text, "limits.calls_per_second: the caller may make 4 calls a second here, 4 of them at once");
    assert_int_equal(limits_wanted(limits, ids, 4), 0); /* nor is anything looked up for them */
    assert_int_equal(calls(limits, S), 4);
    limits_free(limits);
}

static void members_count_for_their_workspace(void **state)
{
    struct limits *limits = make(0, 0, 0);
    struct limits_hold hold;
    struct error error = {0};

    (void)state;
    set(limits, 1, 1, 0, S); /* nobody has called yet: of no effect */
    assert_true(call_by(limits, &person, LIMITS_END_MEMBER, S, &error));
    assert_true(call_by(limits, &person, LIMITS_END_UNSAID, S, &error));
    set(limits, 2, 2, 0, S);
    assert_true(
        call_by(limits, &person, LIMITS_END_UNSAID, S, &error)); /* the second; the first by then was unmetered */
    assert_int_equal(calls(limits, S), 0);                       /* with everybody else's */
    assert_false(call_by(limits, &person, LIMITS_END_UNSAID, S, &error));
    assert_true(limits_enter(limits, &workspace, &person, S + S, &hold, &error));
    limits_leave(limits, &hold, LIMITS_END_STRANGER); /* no member any more */
    for (int i = 0; i < 10; i++)
        assert_true(call_by(
            limits, &person, LIMITS_END_UNSAID, S + S, &error)); /* counts for the person, by the server's values */
    limits_free(limits);
}

/* --- Bounds ------------------------------------------------------------------------------------------------------- */

/* A stream is one call under way, and what comes over it are calls; a person counts for the workspace from the first of them on. */
static void what_comes_over_a_stream_counts(void **state)
{
    struct limits *limits = make(10, 4, 2);
    struct limits_hold stream;
    struct error error = {0};
    size_t entries = 0, under_way = 0;

    (void)state;
    assert_true(limits_enter(limits, &workspace, NULL, S, &stream, &error));
    for (int i = 0; i < 3; i++)
        assert_true(limits_spend(limits, &stream, S, &error));
    assert_false(limits_spend(limits, &stream, S, &error));
    assert_int_equal(error.code, ERROR_FULL);
    assert_int_equal(error.retry_after_ms, 100);
    assert_true(limits_spend(limits, &stream, S + 100 * INT64_C(1000000), &error));
    limits_count(limits, &entries, &under_way);
    assert_int_equal(under_way, 1);
    limits_leave(limits, &stream, LIMITS_END_UNSAID);

    assert_true(limits_enter(limits, &workspace, &person, 9 * S, &stream, &error));
    assert_int_equal(calls(limits, 9 * S), 4); /* the person's call was not the workspace's */
    assert_false(limits_spend(limits, &stream, 9 * S, &error));
    assert_non_null(strstr(error.text, "the workspace"));
    assert_int_equal(calls(limits, 10 * S), 4);
    assert_false(limits_spend(limits, &stream, 10 * S, &error)); /* still, and not for nothing */
    assert_true(limits_spend(limits, &stream, 11 * S, &error));
    assert_int_equal(calls(limits, 11 * S), 3);
    limits_leave(limits, &stream, LIMITS_END_UNSAID);
    limits_count(limits, &entries, &under_way);
    assert_int_equal(under_way, 0);
    limits_free(limits);
}

static void what_is_remembered_is_bounded(void **state)
{
    struct limits *limits = make(1, 1, 0);
    struct limits_hold kept;
    struct error error = {0};
    size_t entries = 0, under_way = 0;

    (void)state;
    assert_true(limits_enter(limits, &workspace, NULL, S, &kept, &error));
    for (int i = 0; i < 20 * ENTRIES; i++) {
        const struct uuid id = uuid_random();
        struct limits_hold hold;
        assert_true(limits_enter(limits, i % 3 == 0 ? &workspace : &id, i % 3 == 0 ? &id : NULL, S, &hold, &error));
        limits_leave(limits, &hold, LIMITS_END_MEMBER);
    }
    limits_count(limits, &entries, &under_way);
    assert_in_range(entries, ENTRIES / 2, ENTRIES + 1);
    assert_int_equal(under_way, 1);
    assert_int_equal(calls(limits, S), 0); /* the one with a call under way was not forgotten */
    limits_leave(limits, &kept, LIMITS_END_UNSAID);
    limits_free(limits);
}

static void more_than_the_bound_while_they_call(void **state)
{
    enum { CALLS = 200 };
    const struct limits_options options = {.entries_max = 1};
    struct limits *limits = limits_new(&options);
    struct limits_hold holds[CALLS];
    struct error error = {0};
    size_t entries = 0, under_way = 0;

    (void)state;
    for (int i = 0; i < CALLS; i++) {
        const struct uuid id = uuid_random();
        assert_true(limits_enter(limits, &id, NULL, S, &holds[i], &error));
    }
    limits_count(limits, &entries, &under_way);
    assert_int_equal(entries, CALLS);
    for (int i = 0; i < CALLS; i++)
        limits_leave(limits, &holds[i], LIMITS_END_UNSAID);
    limits_count(limits, &entries, &under_way);
    assert_in_range(entries, 1, 32); /* one for each part of the table */
    assert_int_equal(under_way, 0);
    limits_free(limits);
}

static void refusals_are_reported_now_and_then(void **state)
{
    struct limits *limits = make(1, 1, 0);
    struct limits_hold hold;
    struct error error = {0};
    int32_t ignored = 0;

    (void)state;
    assert_true(call(limits, S, &ignored));
    assert_false(limits_enter(limits, &workspace, NULL, S, &hold, &error));
    assert_int_equal(hold.refused, 1);
    for (int i = 0; i < 41; i++) {
        assert_false(limits_enter(limits, &workspace, NULL, S, &hold, &error));
        assert_int_equal(hold.refused, 0);
    }
    const int64_t later_ns = S + LIMITS_REPORT_MS * INT64_C(1000000);
    assert_true(call(limits, later_ns, &ignored));
    assert_false(limits_enter(limits, &workspace, NULL, later_ns, &hold, &error));
    assert_int_equal(hold.refused, 42);
    limits_free(limits);
}

/* Who waits as he is told to is seldom refused; who is refused all the time is told later, each call by another time. */
static void refusals_that_are_many_are_told_one_after_the_other(void **state)
{
    struct limits *limits = make(1, 1, 0);
    struct limits_hold hold;
    struct error error = {0};
    int32_t ignored = 0;

    (void)state;
    assert_true(call(limits, S, &ignored));
    for (int i = 0; i < LIMITS_REFUSALS; i++) {
        assert_false(limits_enter(limits, &workspace, NULL, S, &hold, &error));
        assert_int_equal(hold.tell_ns, 0);
    }
    for (int i = 1; i <= 2 * LIMITS_REFUSALS; i++) {
        const int64_t wait_ns = i * (S / LIMITS_REFUSALS);
        assert_false(limits_enter(limits, &workspace, NULL, S, &hold, &error));
        assert_int_equal(hold.tell_ns, S + (wait_ns < LIMITS_LATE_MS * INT64_C(1000000) ? wait_ns : S));
    }
    assert_true(call(limits, 2 * S, &ignored));
    for (int i = 0; i < LIMITS_REFUSALS; i++) { /* a second later those have been told, and one at a time may be */
        assert_false(limits_enter(limits, &workspace, NULL, 2 * S + i * (S / LIMITS_REFUSALS), &hold, &error));
        assert_int_equal(hold.tell_ns, 2 * S + (i + 1) * (S / LIMITS_REFUSALS));
    }
    assert_true(call(limits, 10 * S, &ignored));
    assert_false(limits_enter(limits, &workspace, NULL, 10 * S, &hold, &error)); /* forgiven */
    assert_int_equal(hold.tell_ns, 0);
    limits_free(limits);
}

/* --- Many threads ------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 20000, PLACES = 3 };

struct crowd {
    struct limits *limits;
    atomic_int inside;
    atomic_int most;
};

static void *crowd_main(void *argument)
{
    struct crowd *crowd = argument;

    for (int i = 0; i < ROUNDS; i++) {
        const struct uuid id = uuid_random();
        struct limits_hold hold, passing;
        limits_enter(crowd->limits, &id, i % 2 == 0 ? &person : NULL, S, &passing, NULL);
        if (limits_enter(crowd->limits, &workspace, NULL, S, &hold, NULL)) {
            int inside = atomic_fetch_add(&crowd->inside, 1) + 1;
            int most = atomic_load(&crowd->most);
            while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside))
                ;
            atomic_fetch_sub(&crowd->inside, 1);
            limits_leave(crowd->limits, &hold, LIMITS_END_UNSAID);
        }
        limits_leave(crowd->limits, &passing, i % 3 == 0 ? LIMITS_END_MEMBER : LIMITS_END_STRANGER);
    }
    return NULL;
}

static void threads_do_not_get_in_each_others_way(void **state)
{
    struct crowd crowd = {.limits = make(0, 0, PLACES)};
    pthread_t threads[THREADS];
    size_t entries = 0, under_way = 0;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(atomic_load(&crowd.most), 1, PLACES);
    limits_count(crowd.limits, &entries, &under_way);
    assert_int_equal(under_way, 0);
    assert_in_range(entries, 1, ENTRIES);
    limits_free(crowd.limits);
    limits_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_and_then_the_rate),
        cmocka_unit_test(without_a_burst_a_second_may_come_at_once),
        cmocka_unit_test(without_limits_nothing_is_refused),
        cmocka_unit_test(push_back_is_when_the_next_call_is_due),
        cmocka_unit_test(push_back_is_not_for_ever),
        cmocka_unit_test(a_slow_rate_is_waited_for),
        cmocka_unit_test(refusals_name_the_limit_and_its_value),
        cmocka_unit_test(never_more_and_never_less),
        cmocka_unit_test(imports_have_places_of_their_own),
        cmocka_unit_test(places_come_back),
        cmocka_unit_test(a_refused_place_costs_no_call),
        cmocka_unit_test(values_are_wanted_when_they_are_old),
        cmocka_unit_test(what_was_used_up_stays_used_up),
        cmocka_unit_test(a_lowered_number_of_places_waits_for_those_that_are_taken),
        cmocka_unit_test(strangers_take_nothing_from_a_workspace),
        cmocka_unit_test(members_count_for_their_workspace),
        cmocka_unit_test(what_comes_over_a_stream_counts),
        cmocka_unit_test(what_is_remembered_is_bounded),
        cmocka_unit_test(more_than_the_bound_while_they_call),
        cmocka_unit_test(refusals_are_reported_now_and_then),
        cmocka_unit_test(refusals_that_are_many_are_told_one_after_the_other),
        cmocka_unit_test(threads_do_not_get_in_each_others_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
