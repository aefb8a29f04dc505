/* Goal: addresses are taken apart, looked up and compared as the system's own listeners would have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/address.h"
#include "base/memory.h"

static void parse(void **state)
{
    static const struct {
        const char *address;
        const char *host; /* NULL: refused */
        const char *text;
    } cases[] = {
        {"127.0.0.1:0", "127.0.0.1", NULL},
        {"[::1]:65535", "[::1]", NULL},
        {"leads.example.com:443", "leads.example.com", NULL},
        {"127.0.0.1", NULL, "is not an address of the form host:port"},
        {":1", NULL, "is not an address of the form host:port"},
        {"", NULL, "is not an address of the form host:port"},
        {"localhost:", NULL, "has no port between 0 and 65535"},
        {"localhost:65536", NULL, "has no port between 0 and 65535"},
        {"localhost:-1", NULL, "has no port between 0 and 65535"},
        {"localhost:1x", NULL, "has no port between 0 and 65535"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char host[ADDRESS_HOST_SIZE] = "";
        struct error error = {0};
        if (cases[i].host != NULL) {
            assert_true(address_parse(cases[i].address, host, &error));
            assert_string_equal(host, cases[i].host);
            continue;
        }
        assert_false(address_parse(cases[i].address, host, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.text, cases[i].text));
    }
}

static void loopback(void **state)
{
    static const char *const own[] = {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"};
    static const char *const others[] = {
        "0.0.0.0:1", "[::]:1", "127.example.com:1", "128.0.0.1:1", "[::ffff:127.0.0.1]:1"};
    struct error error = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(own); i++)
        assert_true(address_check_loopback(own[i], &error));
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_false(address_check_loopback(others[i], &error));
        assert_int_equal(error.code, ERROR_INVALID);
    }
}

static void resolve(void **state)
{
    static const struct {
        const char *address;
        int family;
        bool is_loopback;
    } cases[] = {{"127.0.0.1:7450", AF_INET, true}, {"127.9.9.9:0", AF_INET, true}, {"0.0.0.0:1", AF_INET, false},
        {"192.0.2.1:1", AF_INET, false}, {"[::1]:1", AF_INET6, true}, {"[::]:1", AF_INET6, false}};
    /* none of these asks anybody */
    static const char *const wrong[] = {
        "nonsense", "127.0.0.1:70000", "[127.0.0.1]:1", "[nonsense]:1", "[::1:1", "::1:1"};
    struct addrinfo *found = NULL;
    struct error error = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (!address_resolve(cases[i].address, &found, &error))
            fail_msg("%s", error.text);
        assert_int_equal(found->ai_family, cases[i].family);
        assert_int_equal(address_is_loopback(found->ai_addr), cases[i].is_loopback);
        freeaddrinfo(found);
    }
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(address_resolve(wrong[i], &found, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.text, wrong[i]));
    }
}

static void collide(void **state)
{
    static const struct {
        const char *one;
        const char *other;
        bool collides;
    } cases[] = {{"127.0.0.1:1", "127.0.0.1:1", true}, {"127.0.0.1:1", "127.0.0.1:2", false},
        {"127.0.0.1:0", "127.0.0.1:0", false}, {"127.0.0.1:1", "127.0.0.2:1", false},
        {"0.0.0.0:1", "127.0.0.2:1", true}, {"[::1]:1", "[::1]:1", true}, {"[::1]:1", "127.0.0.1:1", false},
        {"[::]:1", "127.0.0.1:1", true}, {"0.0.0.0:1", "[::1]:1", false}, {"[::2]:1", "[::1]:1", false},
        {"[::]:1", "[::1]:2", false}};
    struct error error = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct addrinfo *one = NULL;
        struct addrinfo *other = NULL;
        assert_true(address_resolve(cases[i].one, &one, &error) && address_resolve(cases[i].other, &other, &error));
        assert_int_equal(address_collides(one, other->ai_addr), cases[i].collides);
        assert_int_equal(address_collides(other, one->ai_addr), cases[i].collides);
        freeaddrinfo(one);
        freeaddrinfo(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse),
        cmocka_unit_test(loopback),
        cmocka_unit_test(resolve),
        cmocka_unit_test(collide),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
