/* Goal: each kind of failure has the status and the text that its caller can act on, and what the database said is in
 * neither; times and ids become messages as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "service.h"

static void failures_have_a_status(void **state)
{
    static const struct {
        enum error_code code;
        const char *sqlstate;
        enum grpc_c_status status;
    } cases[] = {
        {ERROR_NONE, "", GRPC_C_OK},
        {ERROR_INVALID, "", GRPC_C_INVALID_ARGUMENT},
        {ERROR_INVALID, "23514", GRPC_C_INVALID_ARGUMENT},
        {ERROR_NOT_FOUND, "", GRPC_C_NOT_FOUND},
        {ERROR_EXISTS, "", GRPC_C_ALREADY_EXISTS},
        {ERROR_BUSY, "", GRPC_C_ABORTED},
        {ERROR_FULL, "", GRPC_C_RESOURCE_EXHAUSTED},
        {ERROR_UNAVAILABLE, "", GRPC_C_UNAVAILABLE},
        {ERROR_UNAVAILABLE, "57P01", GRPC_C_UNAVAILABLE},
        {ERROR_RESULT_UNKNOWN, "", GRPC_C_UNAVAILABLE},
        {ERROR_DEADLINE, "", GRPC_C_DEADLINE_EXCEEDED},
        {ERROR_CANCELLED, "", GRPC_C_CANCELLED},
        {ERROR_PERMISSION, "", GRPC_C_UNAVAILABLE},
        {ERROR_FORBIDDEN, "", GRPC_C_PERMISSION_DENIED},
        {ERROR_PRECONDITION, "", GRPC_C_FAILED_PRECONDITION},
        {ERROR_UNAUTHENTICATED, "", GRPC_C_UNAUTHENTICATED},
        {ERROR_SYSTEM, "", GRPC_C_INTERNAL},
        {ERROR_INTERNAL, "", GRPC_C_INTERNAL},
        {ERROR_DATABASE, "", GRPC_C_INTERNAL},
        {ERROR_DATABASE, "22P02", GRPC_C_INTERNAL},
        {ERROR_DATABASE, "42601", GRPC_C_INTERNAL},
        {ERROR_DATABASE, "40001", GRPC_C_ABORTED},
        {ERROR_DATABASE, "40P01", GRPC_C_ABORTED},
        {ERROR_DATABASE, "55P03", GRPC_C_ABORTED},
        {ERROR_DATABASE, "57014", GRPC_C_UNAVAILABLE},
        {ERROR_DATABASE, "53200", GRPC_C_UNAVAILABLE},
        {ERROR_DATABASE, "58030", GRPC_C_UNAVAILABLE},
        {ERROR_DATABASE, "42883", GRPC_C_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error error = {0};
        error_set_sql(&error, cases[i].code, cases[i].sqlstate, "the reason");
        assert_int_equal(service_status(&error), cases[i].status);
        assert_true(service_text(&error)[0] != '\0');
        if (cases[i].code == ERROR_DATABASE || cases[i].code == ERROR_PERMISSION || cases[i].code == ERROR_SYSTEM ||
            cases[i].code == ERROR_INTERNAL)
            assert_string_not_equal(service_text(&error), "the reason");
        else
            assert_string_equal(service_text(&error), "the reason");
    }
}

static void who_finds_it_full_is_told_when_to_come_back(void **state)
{
    struct error error = {0};

    (void)state;
    error_set(&error, ERROR_FULL, "the queue is full");
    assert_int_equal(service_pushback_ms(&error), 100);
    error_set_full(&error, 7, "the bucket is empty");
    assert_int_equal(service_pushback_ms(&error), 7);
    error_set_full(&error, -1, "too many leads");
    assert_int_equal(service_pushback_ms(&error), -1);
    error_set_sql(&error, ERROR_DATABASE, "LR429", "limits.rules: …");
    assert_true(service_find_limit(&error));
    assert_int_equal(service_status(&error), GRPC_C_RESOURCE_EXHAUSTED);
    assert_int_equal(service_pushback_ms(&error), -1);
    error_set_sql(&error, ERROR_DATABASE, "LR404", "no such workspace");
    assert_false(service_find_limit(&error));
    assert_int_equal(service_pushback_ms(&error), 0);
}

static void ids(void **state)
{
    struct arena *arena = arena_new(0);
    struct uuid id = {.bytes = {1}};
    struct error error = {0};

    (void)state;
    assert_true(service_parse_id("lead_id", "00000000-0000-4000-8000-00000000000A", false, &id, &error));
    assert_string_equal(service_id(arena, &id), "00000000-0000-4000-8000-00000000000a");
    assert_true(service_parse_id("user_id", "", true, &id, &error));
    assert_true(uuid_is_nil(&id));
    assert_string_equal(service_id(arena, &id), "");
    assert_false(service_parse_id("lead_id", "", false, &id, &error));
    assert_string_equal(error.text, "lead_id: missing");
    assert_false(service_parse_id("user_id", "me", true, &id, &error));
    assert_string_equal(error.text, "user_id: not a UUID");
    arena_free(arena);
}

static void times(void **state)
{
    static const struct {
        int64_t unix_us;
        int64_t seconds;
        int32_t nanos;
    } cases[] = {{1, 0, 1000}, {1769860800123456, 1769860800, 123456000}, {-1, -1, 999999000}, {-2000000, -2, 0}};
    struct arena *arena = arena_new(0);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Google__Protobuf__Timestamp *time = service_time(arena, cases[i].unix_us);
        assert_int_equal(time->seconds, cases[i].seconds);
        assert_int_equal(time->nanos, cases[i].nanos);
    }
    assert_null(service_time(arena, 0));
    assert_null(service_time(arena, INT64_MAX));
    assert_null(service_time(arena, INT64_MIN));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(failures_have_a_status),
        cmocka_unit_test(who_finds_it_full_is_told_when_to_come_back), cmocka_unit_test(ids), cmocka_unit_test(times)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
