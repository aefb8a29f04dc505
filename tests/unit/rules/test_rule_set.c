/* Goal: a compiled set answers which rule takes a lead exactly as the specification says: order, lists, folding,
 * countries, states, missing fields, inactive destinations; agrees with a plain re-statement of the semantics on
 * random rules; and may be read and released by many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/random.h"
#include "rules/rules.h"

static const struct rule_policy plain_policy = {.dedupe_days = 90, .auto_route = true};

static struct uuid id_of(uint8_t number)
{
    struct uuid id = uuid_nil;
    id.bytes[15] = number;
    return id;
}

/* A rule that goes to workspace 100 + number. */
static struct rule_source source_of(uint8_t number, int32_t priority, const char *conditions)
{
    return (struct rule_source){.id = id_of(number),
        .name = "a rule",
        .priority = priority,
        .conditions_json = conditions,
        .destination_workspace_id = id_of((uint8_t)(100 + number)),
        .destination_is_active = true};
}

static bool try_compile(const struct rule_policy *policy, const struct rule_source *rules, size_t count,
    struct rule_set **ret_set, struct error *reterr_error)
{
    const struct rule_set_source source = {
        .workspace_id = id_of(255), .version = 7, .policy = policy, .rules = rules, .rule_count = count};
    return rule_set_compile(&source, ret_set, reterr_error);
}

static struct rule_set *compile(const struct rule_policy *policy, const struct rule_source *rules, size_t count)
{
    struct rule_set *set = NULL;
    struct error error = {0};
    if (!try_compile(policy, rules, count, &set, &error)) {
        fail_msg("%s", error.text);
    }
    return set;
}

/* Number of the rule that takes the lead, 0 for none. */
static int taker(const struct rule_set *set, const struct rule_lead *lead)
{
    struct rule_match match = {.rule_name = "untouched"};
    if (!rule_set_match(set, lead, &match)) {
        assert_string_equal(match.rule_name, "untouched");
        return 0;
    }
    assert_int_equal(match.destination_workspace_id.bytes[15], match.rule_id.bytes[15] + 100);
    return match.rule_id.bytes[15];
}

static bool takes_with(const struct rule_policy *policy, const char *conditions, struct rule_lead lead)
{
    struct rule_source rule = source_of(1, 0, conditions);
    struct rule_set *set = compile(policy, &rule, 1);
    int number = taker(set, &lead);
    rule_set_unref(set);
    return number == 1;
}

static bool takes(const char *conditions, struct rule_lead lead)
{
    return takes_with(&plain_policy, conditions, lead);
}

static void test_match_order(void **state)
{
    (void)state;
    struct rule_source rules[] = {source_of(1, 5, "{}"), source_of(2, 9, "{\"industries\":[\"x\"]}"),
        source_of(3, 9, "{}"), source_of(4, 9, "{}")};
    struct rule_lead other = {.company_industry = "y"};
    struct rule_lead x = {.company_industry = "x"};
    rules[1].created_at_us = 30;
    rules[2].created_at_us = 20;
    rules[3].created_at_us = 20;
    struct rule_set *set = compile(&plain_policy, rules, COUNT_OF(rules));
    assert_int_equal(taker(set, &other), 3); /* priority, then age, then id */
    assert_int_equal(rule_set_version(set), 7);
    rule_set_unref(set);

    rules[1].created_at_us = -1;
    rules[2].destination_is_active = false;
    set = compile(&plain_policy, rules, COUNT_OF(rules));
    assert_int_equal(taker(set, &x), 2);
    assert_int_equal(taker(set, &other), 4); /* 3 is passed over */
    rule_set_unref(set);

    rules[0].priority = INT32_MAX;
    rules[1].priority = INT32_MIN;
    set = compile(&plain_policy, rules, COUNT_OF(rules));
    assert_int_equal(taker(set, &x), 1);
    rule_set_unref(set);
}

static void test_no_rules(void **state)
{
    (void)state;
    struct rule_lead lead = {.company_industry = "x", .country = "US", .state = "CA"};
    struct rule_set *set = compile(&plain_policy, NULL, 0);
    assert_int_equal(taker(set, &lead), 0);
    assert_int_equal(rule_set_policy(set)->dedupe_days, 90);
    rule_set_unref(set);
    rule_set_unref(NULL);
}

static void test_and_between_fields_or_within(void **state)
{
    (void)state;
    const char *rule =
        "{\"industries\":[\"a\",\"b\"],\"company_sizes\":[\"1\",\"2\"],\"revenue_ranges\":[],\"regions\":[]}";
    assert_true(takes(rule, (struct rule_lead){.company_industry = "b", .company_size = "1"}));
    assert_false(takes(rule, (struct rule_lead){.company_industry = "c", .company_size = "1"}));
    assert_false(takes(rule, (struct rule_lead){.company_industry = "1", .company_size = "a"}));
    assert_false(takes(rule, (struct rule_lead){.company_industry = "a"}));
    assert_true(takes("{}", (struct rule_lead){0}));
    assert_true(takes("{\"industries\":[],\"us_states\":[],\"countries\":[]}", (struct rule_lead){0}));
    assert_true(takes("{\"revenue_ranges\":[\"$1M\"]}", (struct rule_lead){.company_revenue = "$1m"}));
}

static void test_folding(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        const char *lead;
        bool equal;
    } cases[] = {
        {"Stra\u00dfe", "STRASSE", true},
        {"STRASSE", "stra\u00dfe", true},
        {"\u1e9e", "ss", true},
        {"\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2", true},
        {"Caf\u00e9", "CAFE\u0301", true},
        {"Caf\u00e9", "Cafe", false},
        {"\u0130", "i\u0307", true},
        {"\u0130", "i", false},
        {"I", "\u0131", false},
        {"Real  Estate", " real\u00a0estate\t", true},
        {"realestate", "real estate", false},
        {"\ufb01n", "FIN", true},
        {"India", "IN", false},
        {"a", "a\u200b", false},
        {"a", "ab", false},
        {"ab", "a", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer json;
        buffer_init(&json, 4096);
        assert_true(buffer_append_format(&json, "{\"industries\":[\"zz\",\"%s\",\"0\"]}", cases[i].rule));
        if (takes(buffer_text(&json), (struct rule_lead){.company_industry = cases[i].lead}) != cases[i].equal) {
            fail_msg("\"%s\" and \"%s\"", cases[i].rule, cases[i].lead);
        }
        buffer_release(&json);
    }
}

static void test_missing_fields(void **state)
{
    (void)state;
    static const char *const missing[] = {NULL, "", " ", "\t\n", "\u00a0\u3000", "\xff"};
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        struct rule_lead lead = {.company_industry = missing[i],
            .company_size = missing[i],
            .company_revenue = missing[i],
            .country = "US",
            .state = missing[i]};
        struct rule_lead nowhere = {.country = missing[i]};
        assert_false(takes("{\"industries\":[\"a\"]}", lead));
        assert_false(takes("{\"company_sizes\":[\"a\"]}", lead));
        assert_false(takes("{\"revenue_ranges\":[\"a\"]}", lead));
        assert_false(takes("{\"us_states\":[\"CA\"]}", lead));
        assert_false(takes("{\"regions\":[\"West\"]}", lead));
        assert_false(takes("{\"countries\":[\"US\"]}", nowhere));
        assert_true(takes("{}", lead));
    }
}

static void test_countries(void **state)
{
    (void)state;
    static const char *const spellings[] = {"India", "IN", "ind", "356", " republic of INDIA"};
    for (size_t i = 0; i < COUNT_OF(spellings); i++) {
        for (size_t k = 0; k < COUNT_OF(spellings); k++) {
            struct buffer json;
            buffer_init(&json, 4096);
            assert_true(buffer_append_format(&json, "{\"countries\":[\"%s\"]}", spellings[i]));
            assert_true(takes(buffer_text(&json), (struct rule_lead){.country = spellings[k]}));
            assert_false(takes(buffer_text(&json), (struct rule_lead){.country = "Indiana"}));
            buffer_release(&json);
        }
    }
    assert_true(takes("{\"countries\":[\"Atlantis\"]}", (struct rule_lead){.country = "ATLANTIS "}));
    assert_false(takes("{\"countries\":[\"Atlantis\"]}", (struct rule_lead){.country = "US"}));
    assert_true(takes("{\"countries\":[\"India\",\"IN\",\"GB\",\"ind\",\"gb\"]}", (struct rule_lead){.country = "UK"}));
    assert_true(takes("{\"countries\":[\"GB\",\"USA\"]}", (struct rule_lead){.country = "U.S."}));
}

static void test_states_need_the_us(void **state)
{
    (void)state;
    const char *rule = "{\"us_states\":[\"California\",\"NY\"]}";
    assert_true(takes(rule, (struct rule_lead){.state = "CA", .country = "USA"}));
    assert_true(takes(rule, (struct rule_lead){.state = "us-ca"}));
    assert_true(takes(rule, (struct rule_lead){.state = "new  york", .country = "  "}));
    assert_false(takes(rule, (struct rule_lead){.state = "CA", .country = "CA"}));
    assert_false(takes(rule, (struct rule_lead){.state = "CA", .country = "Atlantis"}));
    assert_false(takes(rule, (struct rule_lead){.state = "TX", .country = "US"}));
    assert_false(takes(rule, (struct rule_lead){.state = "Ontario", .country = "US"}));
    assert_true(takes("{\"regions\":[\"southeast\",\"West\"]}", (struct rule_lead){.state = "District of Columbia"}));
    assert_false(takes("{\"regions\":[\"West\"]}", (struct rule_lead){.state = "PR"}));
    assert_true(takes("{\"us_states\":[\"PR\"]}", (struct rule_lead){.state = "Puerto Rico"}));
    /* Both lists hold, and here none can. */
    assert_true(takes("{\"us_states\":[\"CA\",\"TX\"],\"regions\":[\"West\"]}", (struct rule_lead){.state = "CA"}));
    assert_false(takes("{\"us_states\":[\"CA\",\"TX\"],\"regions\":[\"West\"]}", (struct rule_lead){.state = "TX"}));
    assert_false(takes("{\"us_states\":[\"CA\"],\"regions\":[\"Northeast\"]}", (struct rule_lead){.state = "CA"}));
}

static void test_default_country(void **state)
{
    (void)state;
    struct rule_policy india = plain_policy;
    struct rule_policy us = plain_policy;
    memcpy(india.default_country, "IN", 3);
    memcpy(us.default_country, "US", 3);
    assert_true(takes_with(&india, "{\"countries\":[\"India\"]}", (struct rule_lead){.country = " "}));
    assert_false(takes_with(&india, "{\"countries\":[\"India\"]}", (struct rule_lead){.country = "US"}));
    assert_false(takes_with(&india, "{\"us_states\":[\"CA\"]}", (struct rule_lead){.state = "CA"}));
    assert_true(takes_with(&india, "{\"us_states\":[\"CA\"]}", (struct rule_lead){.state = "CA", .country = "us"}));
    assert_true(takes_with(&us, "{\"us_states\":[\"CA\"]}", (struct rule_lead){.state = "CA"}));
    assert_false(takes_with(&us, "{\"us_states\":[\"CA\"]}", (struct rule_lead){.state = "CA", .country = "IN"}));
}

static void test_bad_rule_fails_the_set(void **state)
{
    (void)state;
    struct rule_source rules[] = {source_of(1, 2, "{}"), source_of(2, 1, "{\"us_states\":[\"CA\",\"XX\"]}")};
    struct rule_set *set = NULL;
    struct error error = {0};
    assert_false(try_compile(&plain_policy, rules, 2, &set, &error));
    assert_null(set);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_string_equal(error.text, "rule 00000000-0000-0000-0000-000000000002: $.us_states[1]: unknown state");
    assert_false(try_compile(&plain_policy, rules, 2, &set, NULL));
    rules[1].conditions_json = NULL;
    assert_false(try_compile(&plain_policy, rules, 2, &set, NULL));
}

/* The set keeps nothing of what it was made from. */
static void test_sources_are_borrowed(void **state)
{
    (void)state;
    char name[] = "gold";
    char conditions[] = "{\"industries\":[\"solar\"]}";
    struct rule_lead lead = {.company_industry = "Solar"};
    struct rule_match match;
    struct rule_source rule = source_of(1, 0, conditions);
    rule.name = name;
    struct rule_set *set = compile(&plain_policy, &rule, 1);
    memset(name, 'x', sizeof(name) - 1);
    memset(conditions, 'x', sizeof(conditions) - 1);
    memset(&rule, 0, sizeof(rule));
    assert_true(rule_set_match(set, &lead, &match));
    assert_string_equal(match.rule_name, "gold");
    rule_set_unref(set);
}

static void test_too_many_values(void **state)
{
    (void)state;
    enum { RULES = 101, VALUES = 10000 };
    struct buffer json;
    struct rule_set *set = NULL;
    struct error error = {0};
    buffer_init(&json, 1 << 18);
    assert_true(buffer_append_string(&json, "{\"industries\":[\"a\""));
    for (size_t i = 1; i < VALUES; i++) {
        assert_true(buffer_append_string(&json, ",\"a\""));
    }
    assert_true(buffer_append_string(&json, "]}"));
    struct rule_source *rules = memory_new_array(RULES, sizeof(*rules));
    for (size_t i = 0; i < RULES; i++) {
        rules[i] = source_of((uint8_t)i, 0, buffer_text(&json));
    }
    assert_false(try_compile(&plain_policy, rules, RULES, &set, &error));
    assert_non_null(strstr(error.text, "more than 1000000 values in the rules of one workspace"));
    free(rules);
    buffer_release(&json);
}

static void test_long_fields(void **state)
{
    (void)state;
    char text[4096];
    memset(text, 'A', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_false(takes("{\"industries\":[\"a\"],\"countries\":[\"a\"]}", (struct rule_lead){.company_industry = text}));
    memset(text, ' ', sizeof(text) - 1);
    memcpy(text + 2000, "Solar", 5);
    assert_true(takes("{\"industries\":[\"solar\"]}", (struct rule_lead){.company_industry = text}));
    memcpy(text + 2000, "TEXAS", 5);
    assert_true(takes("{\"us_states\":[\"tx\"]}", (struct rule_lead){.state = text}));
}

/* Random rules and leads over a small vocabulary, against the semantics written down plainly. */
enum { RANDOM_RULES = 12, RANDOM_SETS = 200, RANDOM_LEADS = 20, WORDS = 6 };
static const char *const industry_words[WORDS] = {"a", "B", "\u00c9", "d d", "e", "f"};
static const char *const size_words[WORDS] = {"1", "2", "3", "4", "5", "6"};
static const char *const country_words[WORDS] = {"US", "IN", "GB", "DE", "FR", "Atlantis"};
static const char *const state_words[WORDS] = {"CA", "NY", "TX", "FL", "OH", "PR"};

/* The members of up to four lists as bit sets; 0: no restriction. */
struct plain_rule {
    uint8_t lists[4];
    char json[512];
};

static void append_list(struct buffer *json, const char *key, const char *const *words, uint8_t members)
{
    bool first = true;
    assert_true(buffer_append_format(json, "%s\"%s\":[", json->size > 1 ? "," : "", key));
    for (int i = 0; i < WORDS; i++) {
        if ((members >> i & 1) != 0) {
            assert_true(buffer_append_format(json, "%s\"%s\"", first ? "" : ",", words[i]));
            first = false;
        }
    }
    assert_true(buffer_append_string(json, "]"));
}

static void plain_rule_init(struct plain_rule *rule, struct random_sequence *sequence)
{
    struct buffer json;
    for (size_t i = 0; i < 4; i++) {
        rule->lists[i] = random_below(sequence, 2) == 0 ? 0 : (uint8_t)random_below(sequence, 1 << WORDS);
    }
    buffer_init(&json, sizeof(rule->json) - 1);
    assert_true(buffer_append_string(&json, "{"));
    append_list(&json, "industries", industry_words, rule->lists[0]);
    append_list(&json, "company_sizes", size_words, rule->lists[1]);
    append_list(&json, "countries", country_words, rule->lists[2]);
    append_list(&json, "us_states", state_words, rule->lists[3]);
    assert_true(buffer_append_string(&json, "}"));
    memcpy(rule->json, buffer_text(&json), json.size + 1);
    buffer_release(&json);
}

/* `word` is an index, or WORDS for missing. */
static bool plain_takes(const struct plain_rule *rule, const size_t word[4])
{
    for (size_t i = 0; i < 4; i++) {
        bool named = word[i] < WORDS && (rule->lists[i] >> word[i] & 1) != 0;
        bool us = word[2] == 0 || word[2] == WORDS;
        if (rule->lists[i] != 0 && (!named || (i == 3 && !us))) {
            return false;
        }
    }
    return true;
}

static void check_random_lead(
    const struct rule_set *set, const struct plain_rule *rules, struct random_sequence *sequence)
{
    size_t word[4];
    int expected = 0;
    for (size_t i = 0; i < 4; i++) {
        word[i] = (size_t)random_below(sequence, WORDS + 1);
    }
    struct rule_lead lead = {.company_industry = word[0] < WORDS ? industry_words[word[0]] : NULL,
        .company_size = word[1] < WORDS ? size_words[word[1]] : "",
        .country = word[2] < WORDS ? country_words[word[2]] : " ",
        .state = word[3] < WORDS ? state_words[word[3]] : NULL};
    for (int i = RANDOM_RULES; i > 0; i--) {
        if (plain_takes(&rules[i - 1], word)) {
            expected = i;
        }
    }
    assert_int_equal(taker(set, &lead), expected);
}

static void test_against_plain_semantics(void **state)
{
    (void)state;
    struct random_sequence sequence = random_sequence_from(5);
    for (size_t n = 0; n < RANDOM_SETS; n++) {
        struct plain_rule rules[RANDOM_RULES];
        struct rule_source sources[RANDOM_RULES];
        for (size_t i = 0; i < RANDOM_RULES; i++) {
            plain_rule_init(&rules[i], &sequence);
            sources[i] = source_of((uint8_t)(i + 1), 0, rules[i].json);
        }
        struct rule_set *set = compile(&plain_policy, sources, RANDOM_RULES);
        for (size_t i = 0; i < RANDOM_LEADS; i++) {
            check_random_lead(set, rules, &sequence);
        }
        rule_set_unref(set);
    }
}

enum { THREADS = 4, THREAD_MATCHES = 2000 };

/* Matches on a reference of its own and gives it back. */
static void *match_in_thread(void *argument)
{
    struct rule_set *set = argument;
    struct rule_lead california = {.company_industry = "STRASSE", .country = "usa", .state = "California"};
    struct rule_lead india = {.company_industry = "\u00dcber", .country = "Ind"};
    intptr_t wrong = 0;
    for (size_t i = 0; i < THREAD_MATCHES; i++) {
        struct rule_set *own = rule_set_ref(set);
        struct rule_match match;
        wrong += !rule_set_match(own, &california, &match) || match.rule_id.bytes[15] != 1;
        wrong += !rule_set_match(own, &india, &match) || match.rule_id.bytes[15] != 2;
        rule_set_unref(own);
    }
    rule_set_unref(set);
    return (void *)wrong;
}

static void test_threads(void **state)
{
    (void)state;
    struct rule_source rules[] = {
        source_of(1, 2, "{\"us_states\":[\"CA\"],\"industries\":[\"stra\u00dfe\"]}"),
        source_of(2, 1, "{\"countries\":[\"India\"]}"),
    };
    pthread_t threads[THREADS];
    struct rule_set *set = compile(&plain_policy, rules, 2);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, match_in_thread, rule_set_ref(set)), 0);
    }
    rule_set_unref(set); /* the last thread frees it */
    for (size_t i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

/* memory_new() of the tests' link is the real one; this counts its calls (see CMakeLists.txt: --wrap). */
void *__real_memory_new(size_t size);
void *__wrap_memory_new(size_t size);
static size_t allocations;
void *__wrap_memory_new(size_t size)
{
    allocations++;
    return __real_memory_new(size);
}

static void test_no_heap_for_ordinary_leads(void **state)
{
    (void)state;
    struct rule_source rule = source_of(
        1, 0, "{\"industries\":[\"x\"],\"company_sizes\":[\"y\"],\"countries\":[\"US\"],\"regions\":[\"West\"]}");
    struct rule_lead lead = {
        .company_industry = "\u00c9nergie", .company_size = "11-50", .country = "United States", .state = "California"};
    struct rule_set *set = compile(&plain_policy, &rule, 1);
    size_t before = allocations;
    assert_true(before > 0);
    assert_int_equal(taker(set, &lead), 0);
    assert_int_equal(allocations, before);
    char text[600];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    lead.company_industry = text;
    assert_int_equal(taker(set, &lead), 0);
    assert_true(allocations > before); /* the counter does count what matching allocates */
    rule_set_unref(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match_order),
        cmocka_unit_test(test_no_rules),
        cmocka_unit_test(test_and_between_fields_or_within),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_missing_fields),
        cmocka_unit_test(test_countries),
        cmocka_unit_test(test_states_need_the_us),
        cmocka_unit_test(test_default_country),
        cmocka_unit_test(test_bad_rule_fails_the_set),
        cmocka_unit_test(test_sources_are_borrowed),
        cmocka_unit_test(test_too_many_values),
        cmocka_unit_test(test_long_fields),
        cmocka_unit_test(test_against_plain_semantics),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_heap_for_ordinary_leads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
