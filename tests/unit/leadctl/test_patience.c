/* Goal: what passes is tried again with growing pauses until the time is over; what does not is not; and what the server asks for is
 * done, by whoever repeats something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "patience.h"

enum { WAIT_S = 120 };

static const int64_t ns_per_ms = 1000000;
static const int64_t start_ns = INT64_C(1) << 50;

/* A try that ended so, so many ms after the start; the pause, or -1: over, -2: less. */
static int pause_after(
    struct patience *patience, enum grpc_c_status status, const char *pushback, int wait_s, int64_t at_ms)
{
    struct grpc_c_metadata metadata[] = {
        {.key = "server", .value = "9"}, {.key = "grpc-retry-pushback-ms", .value = pushback}};
    const struct grpc_c_outcome outcome = {
        .status = status, .trailing_metadata = metadata, .trailing_metadata_count = pushback == NULL ? 1 : 2};
    int pause_ms = -3;

    switch (patience_judge(patience, &outcome, wait_s, start_ns + at_ms * ns_per_ms, &pause_ms)) {
    case PATIENCE_OVER:
        return -1;
    case PATIENCE_LESS:
        return -2;
    case PATIENCE_AGAIN:
        break;
    }
    assert_in_range(pause_ms, 0, (uintmax_t)wait_s * 1000);
    return pause_ms;
}

static int first_pause(enum grpc_c_status status, const char *pushback)
{
    struct patience patience = {0};

    return pause_after(&patience, status, pushback, WAIT_S, 0);
}

static void test_what_passes(void **state)
{
    static const enum grpc_c_status passing[] = {
        GRPC_C_UNAVAILABLE, GRPC_C_DEADLINE_EXCEEDED, GRPC_C_CANCELLED, GRPC_C_INTERNAL, GRPC_C_UNKNOWN};

    (void)state;
    for (int status = GRPC_C_OK + 1; status <= GRPC_C_UNAUTHENTICATED; status++) {
        int expected = status == GRPC_C_RESOURCE_EXHAUSTED ? -2 : -1;
        for (size_t i = 0; i < COUNT_OF(passing); i++)
            if (passing[i] == (enum grpc_c_status)status)
                expected = 100;
        assert_int_equal(first_pause((enum grpc_c_status)status, NULL), expected);
    }
}

static void test_pauses_grow(void **state)
{
    static const int pauses_ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct patience patience = {0};
    int64_t at_ms = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(pauses_ms); i++) {
        int pause_ms = pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, WAIT_S, at_ms);
        assert_int_equal(pause_ms, pauses_ms[i]);
        at_ms += pause_ms;
    }
    for (int i = 0; i < 10000; i++) /* however often */
        assert_int_equal(pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, WAIT_S, at_ms), 5000);
    patience_clear(&patience);
    assert_int_equal(pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, WAIT_S, at_ms + WAIT_S * 1000), 100);
}

/* The last try is made when the time is over, not before and not after. */
static void test_the_end(void **state)
{
    struct patience patience = {0};

    (void)state;
    assert_int_equal(pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, 1, 0), 100);
    assert_int_equal(pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, 1, 950), 50);
    assert_int_equal(pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, 1, 1000), -1);
    patience_clear(&patience);
    assert_int_equal(pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, 0, 0), -1);
    assert_int_equal(pause_after(&patience, GRPC_C_RESOURCE_EXHAUSTED, "-1", 0, 5000), -2); /* that is no waiting */
}

static void test_what_the_server_asks_for(void **state)
{
    struct patience patience = {0};

    (void)state;
    assert_int_equal(first_pause(GRPC_C_RESOURCE_EXHAUSTED, "700"), 700);
    assert_int_equal(first_pause(GRPC_C_UNAVAILABLE, "700"), 700);
    assert_int_equal(first_pause(GRPC_C_RESOURCE_EXHAUSTED, "0"), 100); /* not before the usual pause */
    assert_int_equal(first_pause(GRPC_C_RESOURCE_EXHAUSTED, "120000"), WAIT_S * 1000);
    assert_int_equal(first_pause(GRPC_C_RESOURCE_EXHAUSTED, "120001"), -1); /* longer than somebody wants to wait */
    assert_int_equal(pause_after(&patience, GRPC_C_RESOURCE_EXHAUSTED, "700", 1, 0), 700);
    assert_int_equal(pause_after(&patience, GRPC_C_RESOURCE_EXHAUSTED, "700", 1, 700), -1);
    assert_int_equal(first_pause(GRPC_C_NOT_FOUND, "700"), -1);
}

/* gRPC has it that a push-back below zero, or one that is no number, means: not at all. */
static void test_not_at_all(void **state)
{
    static const char *const texts[] = {"-1", "-5", "x", "", "7x", "99999999999", "999999999999999999999999"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_int_equal(first_pause(GRPC_C_UNAVAILABLE, texts[i]), -1);
        assert_int_equal(first_pause(GRPC_C_RESOURCE_EXHAUSTED, texts[i]), -2);
    }
}

/* A server that dies of what it is asked comes back each time: being away in between makes its faults no better. */
static void test_odd_ends(void **state)
{
    static const enum grpc_c_status odd[] = {GRPC_C_INTERNAL, GRPC_C_UNKNOWN, GRPC_C_CANCELLED};
    struct patience patience = {0};

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(pause_after(&patience, odd[i % 3], NULL, WAIT_S, 0) > 0);
        assert_true(pause_after(&patience, GRPC_C_UNAVAILABLE, NULL, WAIT_S, 0) > 0);
    }
    assert_int_equal(pause_after(&patience, GRPC_C_INTERNAL, NULL, WAIT_S, 0), -1);
    patience_clear(&patience);
    assert_int_equal(pause_after(&patience, GRPC_C_INTERNAL, NULL, WAIT_S, 0), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_passes),
        cmocka_unit_test(test_pauses_grow),
        cmocka_unit_test(test_the_end),
        cmocka_unit_test(test_what_the_server_asks_for),
        cmocka_unit_test(test_not_at_all),
        cmocka_unit_test(test_odd_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
