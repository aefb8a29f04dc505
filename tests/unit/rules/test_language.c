/* Goal: every operator and every field of docs/rules.md means what is written there, by the tree and by the index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "rules/conditions.h"
#include "rules/evaluate.h"
#include "rules/facts.h"
#include "rules/rules.h"
#include "rules/value_sets.h"

#define NOW_US INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */
#define HOUR_US INT64_C(3600000000)

static const struct rule_lead lead = {
    .email = "Ann.Lee@Acme.Example",
    .phone = "(212) 555-0100 x12",
    .first_name = "Ann",
    .last_name = "Stra\xc3\x9f"
                 "e",
    .company_name = "Acme  Software",
    .company_industry = "Software",
    .company_size = "51-200",
    .company_revenue = " \xc2\xa0",
    .country = "India",
    .state = "CA",
    .city = "Caf\xc3\xa9 City",
    .postal_code = "SW1A 1AA",
    .source = "csv",
    .external_id = "x-7",
    .attributes_json =
        "{\"score\": 50, \"rate\": 0.5, \"text\": \"1e2\", \"yes\": true, \"none\": null, \"list\": [1], \"ship\": "
        "\"Delhi\","
        "\"low\": 10, \"odd\": \"12 apples\", \"seen\": \"2025-12-31T23:00:00+01:00\", \"day\": \"2025-06-01\","
        "\"big\": 12345678901234567890, \"id\": 12345678901234567, \"latitude\": \"52.52\", \"longitude\": 13.405, "
        "\"place\": \"ind\","
        "\"a.b\": \"dotted\", \"mail\": \"bob@corp.example\", \"case\": \"MiXed\"}",
    .created_at_us = NOW_US - 2 * HOUR_US,
    .now_us = NOW_US,
};

static const char *const colours[] = {"Red", " GREEN ", "", "csv"};
static const char *const places[] = {"IND", "Germany"};
static const struct rule_named_set sets[] = {
    {"colours", colours, COUNT_OF(colours)}, {"places", places, COUNT_OF(places)}};
static const struct rule_policy no_policy = {.dedupe_days = 90};

/* By walking the tree. */
static bool holds_by_tree(const char *conditions, const struct rule_lead *of)
{
    struct arena *arena = arena_new(0);
    struct rule_reader reader = {.arena = arena, .checks_cost = true};
    const struct rule_condition *condition = NULL;
    struct rule_value_set *values = NULL;
    struct rule_facts facts;
    struct error error = {0};
    bool holds = false;

    if (!rule_conditions_parse(&reader, conditions, &condition, &error) ||
        !rule_value_sets_make(arena, &reader, sets, COUNT_OF(sets), &values, &error))
        fail_msg("%s: %s", conditions, error.text);
    rule_facts_init(&facts, &reader.fields, values, of, &no_policy);
    holds = rule_condition_holds(condition, &facts);
    rule_facts_release(&facts);
    rule_reader_release(&reader);
    arena_free(arena);
    return holds;
}

/* By the index of a set of one rule. */
static bool holds_by_index(const char *conditions, const struct rule_lead *of)
{
    const struct rule_source rule = {.name = "r", .conditions_json = conditions, .destination_is_active = true};
    const struct rule_set_source source = {
        .policy = &no_policy, .rules = &rule, .rule_count = 1, .sets = sets, .set_count = COUNT_OF(sets)};
    struct rule_set *set = NULL;
    struct rule_match match;
    struct error error = {0};
    bool holds = false;

    if (!rule_set_compile(&source, &set, &error))
        fail_msg("%s: %s", conditions, error.text);
    holds = rule_set_match(set, of, &match);
    rule_set_unref(set);
    return holds;
}

#define T(field, op, value) "{\"field\":\"" field "\",\"op\":\"" op "\",\"value\":" value "}"
#define ALONE(field, op) "{\"field\":\"" field "\",\"op\":\"" op "\"}"
#define CASED(field, op, value) "{\"field\":\"" field "\",\"op\":\"" op "\",\"value\":" value ",\"case\":true}"
#define NOT(condition) "{\"not\":" condition "}"

static const struct {
    const char *conditions;
    bool holds;
} cases[] = {
    {"{}", true},
    {"{\"all\":[]}", true},
    {"{\"any\":[]}", false},
    {NOT("{\"any\":[]}"), true},
    {T("source", "eq", "\"CSV\""), true},
    {CASED("source", "eq", "\"CSV\""), false},
    {CASED("source", "eq", "\" csv \""), true},
    {T("source", "ne", "\"csv\""), false},
    {T("source", "ne", "\"manual\""), true},
    {T("last_name", "eq", "\"STRASSE\""), true},
    {CASED("last_name", "eq", "\"strasse\""), false},
    {T("city", "eq", "\"cafe\\u0301 city\""), true},
    {T("city", "eq", "\"cafe city\""), false},
    {T("company_name", "eq", "\"acme software\""), true},
    /* missing: nothing but blank holds, and not turns it round */
    {T("company_revenue", "eq", "\"x\""), false},
    {T("company_revenue", "ne", "\"x\""), false},
    {T("company_revenue", "not_in", "[\"x\"]"), false},
    {T("company_revenue", "not_contains", "\"x\""), false},
    {T("attributes.nothing", "not_in_set", "\"colours\""), false},
    {NOT(T("company_revenue", "eq", "\"x\"")), true},
    {NOT(T("company_revenue", "ne", "\"x\"")), true},
    {ALONE("company_revenue", "blank"), true},
    {ALONE("company_revenue", "present"), false},
    {ALONE("source", "blank"), false},
    {ALONE("source", "present"), true},
    {NOT(ALONE("source", "present")), false},
    {ALONE("attributes.none", "blank"), true},
    {ALONE("attributes.list", "blank"), true},
    {ALONE("attributes.a.b", "present"), true},
    /* lists */
    {T("source", "in", "[\"manual\",\"Csv\"]"), true},
    {T("source", "in", "[\"manual\"]"), false},
    {T("source", "not_in", "[\"manual\"]"), true},
    {T("source", "not_in", "[\"manual\",\"csv\"]"), false},
    {T("attributes.score", "in", "[10,50]"), true},
    {T("attributes.score", "in", "[10,51]"), false},
    {T("attributes.score", "not_in", "[10]"), true},
    {T("attributes.odd", "not_in", "[10]"), false},
    {T("attributes.yes", "eq", "true"), true},
    {T("attributes.yes", "in", "[\"true\"]"), true},
    {T("attributes.yes", "ne", "false"), true},
    /* numbers */
    {T("attributes.text", "eq", "100"), true},
    {T("attributes.text", "eq", "\"100\""), false},
    {T("attributes.text", "eq", "\"1E2\""), true},
    {T("attributes.score", "eq", "\"50\""), true},
    {T("attributes.rate", "eq", "0.5"), true},
    {T("attributes.rate", "eq", "\"0.5\""), true},
    {T("attributes.score", "gt", "49.9"), true},
    {T("attributes.score", "gt", "50"), false},
    {T("attributes.score", "gte", "50"), true},
    {T("attributes.score", "lt", "50"), false},
    {T("attributes.score", "lte", "50"), true},
    {T("attributes.odd", "gt", "1"), false},
    {T("attributes.odd", "ne", "1"), false},
    {NOT(T("attributes.odd", "gt", "1")), true},
    {T("attributes.score", "between", "[50,60]"), true},
    {T("attributes.score", "between", "[51,60]"), false},
    {T("attributes.score", "not_between", "[51,60]"), true},
    {T("attributes.odd", "not_between", "[51,60]"), false},
    {T("attributes.big", "gt", "1e19"), true},
    {T("attributes.big", "eq", "\"1.2345678901234567e+19\""), true},
    {T("attributes.id", "eq", "\"12345678901234567\""), true},
    /* texts in order */
    {T("postal_code", "gt", "\"sw1a 0\""), true},
    {T("postal_code", "between", "[\"S\",\"T\"]"), true},
    {T("postal_code", "between", "[\"A\",\"B\"]"), false},
    {T("postal_code", "not_between", "[\"A\",\"B\"]"), true},
    {CASED("postal_code", "lt", "\"a\""), true},
    /* parts */
    {T("company_name", "contains", "\"E SOFT\""), true},
    {T("company_name", "not_contains", "\"soft\""), false},
    {T("company_name", "not_contains", "\"hard\""), true},
    {T("company_name", "starts_with", "\"ACME\""), true},
    {T("company_name", "ends_with", "\"ware\""), true},
    {T("company_name", "ends_with", "\"acme\""), false},
    {T("company_name", "wildcard", "\"ac*s?ft*\""), true},
    {T("company_name", "wildcard", "\"acme\""), false},
    {T("city", "wildcard", "\"caf? city\""), true},
    {T("company_name", "wildcard", "\"*\""), true},
    {T("company_name", "regex", "\"^ac.e\\\\s\\\\w+$\""), true},
    {CASED("company_name", "regex", "\"^ac\""), false},
    {T("company_name", "regex", "\"hard\""), false},
    {T("source", "contains", "{\"field\":\"source\"}"), true},
    /* places */
    {T("country", "eq", "\"IN\""), true},
    {T("country", "in", "[\"356\",\"US\"]"), true},
    {T("country", "ne", "\"Germany\""), true},
    {T("country", "starts_with", "\"indi\""), true},
    {T("country", "eq", "{\"field\":\"attributes.place\"}"), true},
    {T("attributes.place", "eq", "{\"field\":\"country\"}"), true},
    {T("attributes.place", "eq", "\"India\""), false},
    {T("state", "eq", "\"California\""), true},
    {T("us_state", "eq", "\"CA\""), false},
    {ALONE("us_state", "blank"), true},
    {ALONE("region", "blank"), true},
    {T("country", "in_set", "\"places\""), true},
    {T("source", "in_set", "\"colours\""), true},
    {T("source", "not_in_set", "\"colours\""), false},
    {T("first_name", "not_in_set", "\"colours\""), true},
    {NOT(T("first_name", "in_set", "\"colours\"")), true},
    /* derived */
    {T("email.domain", "eq", "\"ACME.example\""), true},
    {T("email", "email_domain_in", "[\"other.example\",\"acme.EXAMPLE\"]"), true},
    {T("attributes.mail", "email_domain_in", "[\"corp.example\"]"), true},
    {T("source", "eq", "\"csv\""), true},
    {T("phone.area_code", "eq", "\"212\""), true},
    {T("postal_code", "postal_prefix_in", "[\"sw1a-1\",\"EC\"]"), true},
    {T("postal_code", "postal_prefix_in", "[\"EC\"]"), false},
    {T("location", "within_radius", "{\"latitude\":52.4,\"longitude\":13.1,\"km\":30}"), true},
    {T("location", "within_radius", "{\"latitude\":48.1,\"longitude\":11.6,\"km\":300}"), false},
    {ALONE("location", "valid"), true},
    {ALONE("email", "valid"), true},
    {ALONE("phone", "valid"), true},
    {ALONE("country", "valid"), true},
    {ALONE("us_state", "valid"), false},
    /* moments */
    {T("created_at", "before", "\"2026-01-01\""), true},
    {T("created_at", "after", "\"2025-12-31T21:59:59.9Z\""), true},
    {T("created_at", "after", "\"2025-12-31T22:00:00Z\""), false},
    {T("created_at", "within_last", "{\"hours\":2}"), true},
    {T("created_at", "within_last", "{\"minutes\":119}"), false},
    {T("attributes.seen", "before", "{\"field\":\"created_at\"}"), false},
    {T("attributes.day", "before", "{\"field\":\"created_at\"}"), true},
    {T("attributes.day", "within_last", "{\"days\":300}"), true},
    {T("attributes.ship", "before", "\"2026-01-01\""), false},
    {NOT(T("attributes.ship", "before", "\"2026-01-01\"")), true},
    /* fields as values */
    {T("attributes.score", "gt", "{\"field\":\"attributes.low\"}"), true},
    {T("attributes.score", "lt", "{\"field\":\"attributes.low\"}"), false},
    {T("attributes.score", "gt", "{\"field\":\"attributes.odd\"}"), false},
    {T("source", "eq", "{\"field\":\"company_revenue\"}"), false},
    {T("source", "ne", "{\"field\":\"company_revenue\"}"), false},
    {T("source", "ne", "{\"field\":\"first_name\"}"), true},
    {T("company_name", "contains", "{\"field\":\"company_industry\"}"), true},
    /* trees */
    {"{\"all\":[" T("source", "eq", "\"csv\"") "," T("first_name", "eq", "\"ann\"") "]}", true},
    {"{\"all\":[" T("source", "eq", "\"csv\"") "," T("first_name", "eq", "\"bob\"") "]}", false},
    {"{\"any\":[" T("source", "eq", "\"x\"") "," T("first_name", "eq", "\"ann\"") "]}", true},
    {"{\"any\":[" T("source", "eq", "\"x\"") "," T("first_name", "eq", "\"bob\"") "]}", false},
    {NOT("{\"any\":[" T("source", "eq", "\"x\"") "," T("source", "eq", "\"csv\"") "]}"), false},
    {"{\"all\":[" NOT(T("source", "in", "[\"x\",\"y\"]")) "," T("source", "ne", "\"z\"") "]}", true},
    {"{\"all\":[{\"industries\":[\"software\"]},{\"countries\":[\"IN\"]}]}", true},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (holds_by_tree(cases[i].conditions, &lead) != cases[i].holds)
            fail_msg("%s should %shold", cases[i].conditions, cases[i].holds ? "" : "not ");
        if (holds_by_index(cases[i].conditions, &lead) != cases[i].holds)
            fail_msg("%s should %shold by the index", cases[i].conditions, cases[i].holds ? "" : "not ");
    }
}

/* Attributes that are no object, are cut off, or are not there. */
static void test_odd_attributes(void **state)
{
    static const char *const texts[] = {NULL, "", "[]", "null", "{", "\"text\"", "{\"score\":"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const struct rule_lead odd = {.attributes_json = texts[i]};
        assert_true(holds_by_tree(ALONE("attributes.score", "blank"), &odd));
        assert_false(holds_by_index(T("attributes.score", "gte", "0"), &odd));
        assert_true(holds_by_index(ALONE("location", "blank"), &odd));
    }
}

#define NINES_400                                                                                                      \
    "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999"             \
    "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999"             \
    "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999"             \
    "9999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999999"

/* A number that 64 bits or a double do not hold, wherever it is, changes nothing of the attributes beside it. */
static void test_numbers_beyond(void **state)
{
    static const struct {
        const char *attributes;
        const char *x; /* as a text; NULL: missing */
    } rows[] = {
        {"{\"x\": 9223372036854775807, \"y\": 9223372036854775808}", "9223372036854775807"},
        {"{\"x\": 9223372036854775808}", "9.223372036854776e+18"},
        {"{\"x\": -9223372036854775808, \"y\": -9223372036854775809}", "-9223372036854775808"},
        {"{\"x\": -9223372036854775809}", "-9.223372036854776e+18"},
        {"{\"x\": 12345678901234567, \"y\": 100000000000000000000}", "12345678901234567"},
        {"{\"y\": 100000000000000000000, \"x\": 9007199254740993}", "9007199254740993"},
        {"{\"x\": 100000000000000000000}", "1e+20"},
        {"{\"x\": 18446744073709551617}", "1.8446744073709552e+19"},
        {"{\"x\": 12345678901234567890}", "1.2345678901234567e+19"},
        {"{\"x\": 12345678901234567890.5}", "1.2345678901234567e+19"},
        {"{\"x\": 1e400}", NULL},
        {"{\"x\": -1E+400}", NULL},
        {"{\"x\": " NINES_400 "}", NULL},
        {"{\"x\": -" NINES_400 ".5}", NULL},
        {"{\"x\":17,\"y\":" NINES_400 "}", "17"},
        {" {\"y\" : 1e400 , \"x\" : true } ", "true"},
        {"{\"y\": 1e400, \"x\": 0.5}", "0.5"},
        {"{\"y\": 1e400, \"x\": 1e-400}", "0"},
        {"{\"y\": 1e400, \"x\": 4.9e-324}", "4.94065645841247e-324"},
        {"{\"y\": 1e400, \"x\": -0}", "0"},
        {"{\"y\": 1e400, \"x\": -0.0}", "-0"},
        {"{\"y\": 1e400, \"x\": 1.7976931348623157e308}", "1.7976931348623157e+308"},
        {"{\"y\": {\"z\": 1e400}, \"x\": 17}", "17"},
        {"{\"y\": [{\"z\": [0, " NINES_400 "]}], \"x\": 12345678901234567}", "12345678901234567"},
        {"{\"y\": [100000000000000000000], \"x\": 12345678901234567}", "12345678901234567"},
        {"{\"x\": [1e400]}", NULL},
        {"{\"x\": {}, \"y\": 1e400}", NULL},
        {"{\"y\": [\"]\", \"}\\\"]\", \"\\\\\", \"\\\\\\\"]\"], \"z\": 1e400, \"x\": \"a\"}", "a"},
        {"{\"y\": {\"}\": \"{\", \"\\\"}\": 1e400, \"[\\\\\": []}, \"x\": \"a\"}", "a"},
        {"{\"y\": 1e400, \"x\": \"{[1e400, \\\"\\\\\"}", "{[1e400, \"\\"},
        {"{\"y\\\"\": 1e400, \"\\\\\": 1, \"x\": \"\\u00e9 \xc3\xa9 \\ud83d\\ude00\"}",
            "\xc3\xa9 \xc3\xa9 \xf0\x9f\x98\x80"},
        {"{\"y\": 1e400, \"\\u0078\": 17}", "17"},
        {"{\"y\": 1e400, \"1e400\": 1e400, \"\": 1, \"x\": \"\"}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct rule_lead of = {.attributes_json = rows[i].attributes};
        struct rule_fields fields = {0};
        struct rule_facts facts;
        struct rule_value x = {0};
        rule_facts_init(&facts, &fields, NULL, &of, &no_policy);
        x = rule_facts_attribute(&facts, "x");
        if ((x.text == NULL || x.size == 0) != (rows[i].x == NULL) ||
            (rows[i].x != NULL && (x.size != strlen(rows[i].x) || memcmp(x.text, rows[i].x, x.size) != 0)))
            fail_msg("%s: \"%s\"", rows[i].attributes, x.text == NULL ? "" : x.text);
        rule_facts_release(&facts);
    }
}

/* A number too large in text that is no JSON: there are no attributes, and no byte is read behind the end. */
static void test_numbers_beyond_in_odd_attributes(void **state)
{
    static const char whole[] = "{\"x\": 17, \"y\": 1e400, \"z\\\"\": [[\"]\\\\\"], {\"a\": \"\\\"\"}], \"w\": -1}";
    static const char *const texts[] = {"1e400", "[1e400]", "{\"x\": 17, \"y\": 1e400", "{\"x\": 17, 1e400}",
        "{\"x\": 17, \"y\": 1e400} {}", "{\"x\": 17} 1e400", "{\"x\": 17, \"y\": 1e400e}e",
        "{\"x\": 17, \"y\": 1e400, \"z\": \"\xff\"}", "{\"x\": 17, \"y\": 1e400, \"z\": 0x1p9999}", "{-", "{[",
        "{\"\\"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_true(holds_by_tree(ALONE("attributes.x", "blank"), &(struct rule_lead){.attributes_json = texts[i]}));
    assert_true(holds_by_tree(T("attributes.x", "eq", "17"), &(struct rule_lead){.attributes_json = whole}));
    for (size_t size = 0; size < sizeof(whole) - 1; size++) {
        char *cut = memory_new(size + 1);
        memcpy(cut, whole, size);
        assert_true(holds_by_tree(ALONE("attributes.x", "blank"), &(struct rule_lead){.attributes_json = cut}));
        free(cut);
    }
}

/* Lists within lists, as many as PostgreSQL takes and more. */
static void test_deep_attributes(void **state)
{
    enum { DEPTH = 100000 };
    struct buffer json = {0};

    (void)state;
    buffer_init(&json, 1 << 20);
    buffer_append_string(&json, "{\"deep\":");
    for (size_t i = 0; i < DEPTH; i++)
        buffer_append_string(&json, i % 2 == 0 ? "[" : "{\"]\":");
    buffer_append_string(&json, "1");
    for (size_t i = DEPTH; i > 0; i--)
        buffer_append_string(&json, i % 2 == 1 ? "]" : "}");
    buffer_append_string(&json, ",\"x\":12345678901234567}");
    assert_false(json.overflowed);
    const struct rule_lead of = {.attributes_json = buffer_text(&json)};
    assert_true(holds_by_tree(T("attributes.x", "eq", "\"12345678901234567\""), &of));
    assert_true(holds_by_index(ALONE("attributes.deep", "blank"), &of));
    buffer_release(&json);
}

/* us_state and region, with and without a country; an unknown state. */
static void test_us_states(void **state)
{
    const struct rule_lead here = {.country = "usa", .state = "new york"};
    const struct rule_lead anywhere = {.state = "New York"};
    const struct rule_lead unknown = {.country = "US", .state = "Old York"};

    (void)state;
    assert_true(holds_by_tree(T("us_state", "in", "[\"NY\"]"), &here));
    assert_true(holds_by_index(T("region", "eq", "\"northeast\""), &here));
    assert_true(holds_by_index(T("region", "eq", "\"Northeast\""), &anywhere));
    assert_true(holds_by_tree(T("us_state", "starts_with", "\"n\""), &anywhere));
    assert_true(holds_by_tree(ALONE("us_state", "blank"), &unknown));
    assert_true(holds_by_tree(T("state", "eq", "\"OLD york\""), &unknown));
    assert_false(holds_by_tree(ALONE("state", "valid"), &unknown));
}

static void test_phones_and_mails(void **state)
{
    static const struct {
        const char *phone;
        const char *email;
        bool has_area;
        bool phone_is_valid;
        bool email_is_valid;
    } rows[] = {
        {"2125550100", "a@b.c", true, true, true},
        {"+1 212 555 0100", "a@b", true, true, false},
        {"+49 30 123456", "a b@c.d", false, true, false},
        {"123", "@b.c", false, false, false},
        {"no number", "a@@b.c", false, false, false},
        {"1234567890123456", "a@b.c.", false, false, false},
        {"0012125550100", "a@.c", true, true, false},
        {NULL, NULL, false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct rule_lead of = {.phone = rows[i].phone, .email = rows[i].email};
        assert_int_equal(holds_by_tree(ALONE("phone.area_code", "present"), &of), rows[i].has_area);
        assert_int_equal(holds_by_tree(ALONE("phone", "valid"), &of), rows[i].phone_is_valid);
        assert_int_equal(holds_by_tree(ALONE("email", "valid"), &of), rows[i].email_is_valid);
    }
}

/* What is bounded at run time: an expression that blows up on a lead is false, and refused when it is saved. */
static void test_costly_expressions(void **state)
{
    static const char *const costly[] = {"(a+)+$", "(a|a)*b", "(\\\\w+\\\\s?)+!", "(x+x+)+y"};
    char name[2048];
    const struct rule_lead of = {.company_name = name};
    struct error error = {0};

    (void)state;
    memset(name, 'a', sizeof(name) - 2);
    name[sizeof(name) - 2] = '!';
    name[sizeof(name) - 1] = '\0';
    assert_false(
        holds_by_index(T("company_name", "regex", "\"(?:b|a+)+$\""), &(struct rule_lead){.company_name = "aa!"}));
    for (size_t i = 0; i < COUNT_OF(costly); i++) {
        char json[256];
        snprintf(json, sizeof(json), T("company_name", "regex", "\"%s\""), costly[i]);
        assert_false(rule_conditions_check(json, &error));
        assert_non_null(strstr(error.text, "$.value: takes too many steps"));
    }
    assert_true(rule_conditions_check(T("company_name", "regex", "\"^[a-z0-9.]+@(gmail|yahoo)\\\\.com$\""), &error));
    assert_false(holds_by_index(T("company_name", "regex", "\"(a+)+$\""), &of));
}

static void test_refused(void **state)
{
    static const struct {
        const char *conditions;
        const char *text;
    } refused[] = {
        {"{\"all\":[{\"field\":\"colour\",\"op\":\"eq\",\"value\":\"x\"}]}",
            "$.all[0].field: unknown field \"colour\""},
        {T("source", "equals", "\"x\""), "$.op: unknown operator \"equals\""},
        {"{\"field\":\"source\",\"op\":\"eq\"}", "$: must have a \"value\""},
        {"{\"field\":\"source\"}", "$: must have \"field\" and \"op\""},
        {"{\"field\":\"source\",\"op\":\"eq\",\"value\":\"x\",\"note\":1}", "$.note: unknown key of a test"},
        {T("source", "present", "1"), "$.value: must not be there"},
        {T("source", "eq", "null"), "$.value: must be a text, a number or a field"},
        {T("source", "eq", "[]"), "$.value: must be a text, a number or a field"},
        {T("source", "in", "[]"), "$.value: must not be empty"},
        {T("source", "in", "[\"a\",1]"), "$.value[1]: must be a text"},
        {T("source", "in", "[1,\"a\"]"), "$.value[1]: must be a number"},
        {T("source", "gt", "true"), "$.value: must be a text, a number or a field"},
        {T("source", "between", "[1]"), "$.value: must be two numbers or two texts, [low, high]"},
        {T("source", "between", "[2,1]"), "$.value: the low end is above the high one"},
        {T("source", "regex", "\"(\""), "$.value: is no regular expression: missing closing parenthesis at byte 1"},
        {T("source", "regex", "1"), "$.value: must be a regular expression"},
        {T("source", "wildcard", "{\"field\":\"city\"}"), "$.value: must be a text"},
        {T("source", "within_radius", "{}"), "$.op: \"within_radius\" is not for the field \"source\""},
        {T("location", "eq", "1"), "$.op: \"eq\" is not for the field \"location\""},
        {T("location", "within_radius", "{\"latitude\":91,\"longitude\":0,\"km\":1}"),
            "$.value.latitude: must be from -90 to 90"},
        {T("location", "within_radius", "{\"latitude\":0,\"longitude\":0}"),
            "$.value: must be {\"latitude\": n, \"longitude\": n, \"km\": n}"},
        {T("created_at", "eq", "\"x\""), "$.op: \"eq\" is not for the field \"created_at\""},
        {T("created_at", "before", "\"yesterday\""),
            "$.value: must be a date or a time, as in \"2026-01-31\" or \"2026-01-31T10:00:00Z\""},
        {T("created_at", "before", "\"2026-02-30\""),
            "$.value: must be a date or a time, as in \"2026-01-31\" or \"2026-01-31T10:00:00Z\""},
        {T("created_at", "within_last", "{\"days\":0}"), "$.value.days: must be a whole number from 1 to 3650"},
        {T("created_at", "within_last", "{\"weeks\":1}"),
            "$.value: must be {\"days\": n}, {\"hours\": n} or {\"minutes\": n}"},
        {T("source", "valid", "1"), "$.op: \"valid\" is not for the field \"source\""},
        {T("city", "email_domain_in", "[\"a\"]"), "$.op: \"email_domain_in\" is not for the field \"city\""},
        {T("postal_code", "postal_prefix_in", "[\"10\",\"- -\"]"), "$.value[1]: must not be blank"},
        {T("region", "eq", "\"North\""), "$.value: unknown region"},
        {T("us_state", "in", "[\"CA\",\"ZZ\"]"), "$.value[1]: unknown state"},
        {CASED("country", "eq", "\"US\""), "$.case: has no meaning here"},
        {CASED("source", "eq", "1"), "$.case: has no meaning here"},
        {"{\"field\":\"source\",\"op\":\"eq\",\"value\":\"x\",\"case\":1}", "$.case: must be true or false"},
        {T("source", "eq", "{\"field\":\"location\"}"), "$.value.field: \"location\" cannot be compared by \"eq\""},
        {T("source", "eq", "{\"fields\":\"city\"}"), "$.value: must be {\"field\": name}"},
        {T("source", "in_set", "\"\""), "$.value: must be the name of a set, of 1 to 200 bytes"},
        {"{\"all\":[],\"any\":[]}", "$: \"all\" stands alone in its object"},
        {"{\"all\":[1]}", "$.all[0]: must be an object"},
        {"{\"not\":[]}", "$.not: must be an object"},
        {"{\"any\":[{\"not\":{\"all\":[{\"industries\":[\"\"]}]}}]}",
            "$.any[0].not.all[0].industries[0]: must not be blank"},
        {"{\"a \\\"b\":[]}", "$[?]: unknown condition"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct error error = {0};
        assert_false(rule_conditions_check(refused[i].conditions, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_string_equal(error.text, refused[i].text);
    }
}

/* Levels, and tests, at the bound and one above. */
static void test_bounds(void **state)
{
    struct buffer json = {0};
    struct error error = {0};

    (void)state;
    buffer_init(&json, 1 << 17);
    for (size_t depth = RULE_CONDITIONS_DEPTH_MAX; depth <= RULE_CONDITIONS_DEPTH_MAX + 1; depth++) {
        buffer_clear(&json);
        for (size_t i = 1; i < depth; i++)
            buffer_append_string(&json, "{\"not\":");
        buffer_append_string(&json, "{}");
        for (size_t i = 1; i < depth; i++)
            buffer_append_string(&json, "}");
        assert_int_equal(rule_conditions_check(buffer_text(&json), &error), depth == RULE_CONDITIONS_DEPTH_MAX);
    }
    assert_non_null(strstr(error.text, ": deeper than 16 levels"));
    for (size_t count = RULE_TESTS_MAX; count <= RULE_TESTS_MAX + 1; count++) {
        buffer_clear(&json);
        buffer_append_string(&json, "{\"any\":[{\"all\":[");
        for (size_t i = 0; i < count; i++) {
            buffer_append_string(&json, i == RULE_TESTS_MAX / 2 ? "]},{\"all\":[" : i > 0 ? "," : "");
            buffer_append_string(&json, ALONE("source", "present"));
        }
        buffer_append_string(&json, "]}]}");
        assert_int_equal(rule_conditions_check(buffer_text(&json), &error), count == RULE_TESTS_MAX);
    }
    assert_non_null(strstr(error.text, ": more than 256 tests in one rule"));
    buffer_release(&json);
}

/* A set that is not there fails the compilation and is named. */
static void test_unknown_set(void **state)
{
    const struct rule_source rule = {
        .name = "r", .conditions_json = T("source", "in_set", "\"lost\""), .destination_is_active = true};
    const struct rule_set_source source = {
        .policy = &no_policy, .rules = &rule, .rule_count = 1, .sets = sets, .set_count = COUNT_OF(sets)};
    struct rule_set *set = NULL;
    struct error error = {0};

    (void)state;
    assert_false(rule_set_compile(&source, &set, &error));
    assert_string_equal(error.text, "unknown set \"lost\"");
}

/* What has to be read of a lead before rules can be asked. */
static void test_needs(void **state)
{
    static const struct {
        const char *conditions;
        bool columns;
        bool attributes;
    } rows[] = {
        {"{\"industries\":[\"a\"],\"regions\":[\"West\"]}", false, false},
        {ALONE("email.domain", "present"), true, false},
        {ALONE("attributes.x", "present"), false, true},
        {ALONE("location", "present"), false, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct rule_source rule = {
            .name = "r", .conditions_json = rows[i].conditions, .destination_is_active = true};
        const struct rule_set_source source = {.policy = &no_policy, .rules = &rule, .rule_count = 1};
        struct rule_set *set = NULL;
        assert_true(rule_set_compile(&source, &set, NULL));
        assert_int_equal(rule_set_needs(set).columns, rows[i].columns);
        assert_int_equal(rule_set_needs(set).attributes, rows[i].attributes);
        assert_true(rule_set_size(set) > 0);
        rule_set_unref(set);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_odd_attributes),
        cmocka_unit_test(test_numbers_beyond),
        cmocka_unit_test(test_numbers_beyond_in_odd_attributes),
        cmocka_unit_test(test_deep_attributes),
        cmocka_unit_test(test_us_states),
        cmocka_unit_test(test_phones_and_mails),
        cmocka_unit_test(test_costly_expressions),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_unknown_set),
        cmocka_unit_test(test_needs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
