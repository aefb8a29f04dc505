/* Compiles rule sets and matches leads that come as JSON, one object a line; what the suites in Python drive.
 *
 *     {"check": conditions}                             -> {} or {"error": text}
 *     {"rules": […], "policy": {…}, "sets": {…}, "leads": […]} -> {"matches": [index of the rule, or -1, …]} or {"error": text}
 *
 * A rule: id, name, priority, created_at_us, conditions, destination_is_active. A lead: its columns, created_at_us, now_us,
 * and attributes_json: the attributes as a text, since not every number in JSON is one to every reader. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/arena.h"
#include "base/memory.h"
#include "rules/rules.h"

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static const char *dump(struct arena *arena, const json_t *value)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    const char *copy = text == NULL ? NULL : arena_copy_string(arena, text);

    free(text);
    return copy;
}

static struct rule_source read_rule(struct arena *arena, const json_t *rule)
{
    struct rule_source source = {
        .name = text_of(rule, "name"),
        .priority = (int32_t)json_integer_value(json_object_get(rule, "priority")),
        .created_at_us = json_integer_value(json_object_get(rule, "created_at_us")),
        .conditions_json = dump(arena, json_object_get(rule, "conditions")),
        .destination_is_active = json_is_true(json_object_get(rule, "destination_is_active")),
    };

    uuid_parse(text_of(rule, "id"), &source.id);
    return source;
}

static struct rule_lead read_lead(const json_t *lead)
{
    return (struct rule_lead){
        .email = text_of(lead, "email"),
        .phone = text_of(lead, "phone"),
        .first_name = text_of(lead, "first_name"),
        .last_name = text_of(lead, "last_name"),
        .company_name = text_of(lead, "company_name"),
        .company_industry = text_of(lead, "company_industry"),
        .company_size = text_of(lead, "company_size"),
        .company_revenue = text_of(lead, "company_revenue"),
        .country = text_of(lead, "country"),
        .state = text_of(lead, "state"),
        .city = text_of(lead, "city"),
        .postal_code = text_of(lead, "postal_code"),
        .source = text_of(lead, "source"),
        .external_id = text_of(lead, "external_id"),
        .attributes_json = text_of(lead, "attributes_json"),
        .created_at_us = json_integer_value(json_object_get(lead, "created_at_us")),
        .now_us = json_integer_value(json_object_get(lead, "now_us")),
    };
}

static void read_sets(struct arena *arena, json_t *object, struct rule_set_source *source)
{
    struct rule_named_set *sets = arena_alloc_array(arena, json_object_size(object), sizeof(*sets));
    const char *name = NULL;
    json_t *values = NULL;

    json_object_foreach(object, name, values)
    {
        const char **texts = arena_alloc_array(arena, json_array_size(values), sizeof(*texts));
        for (size_t i = 0; i < json_array_size(values); i++)
            texts[i] = json_string_value(json_array_get(values, i));
        sets[source->set_count++] =
            (struct rule_named_set){.name = name, .values = texts, .count = json_array_size(values)};
    }
    source->sets = sets;
}

/* Where in the given list the rule with this id stands. */
static json_int_t index_of(const struct rule_source *rules, size_t count, const struct uuid *id)
{
    for (size_t i = 0; i < count; i++) {
        if (uuid_equal(&rules[i].id, id))
            return (json_int_t)i;
    }
    return -1;
}

static json_t *match(struct arena *arena, const json_t *request)
{
    const json_t *rules = json_object_get(request, "rules");
    const json_t *leads = json_object_get(request, "leads");
    struct rule_source *sources = arena_alloc_array(arena, json_array_size(rules), sizeof(*sources));
    struct rule_policy policy = {0};
    struct rule_set_source source = {.policy = &policy, .rules = sources, .rule_count = json_array_size(rules)};
    struct rule_set *set = NULL;
    struct error error = {0};
    json_t *matches = json_array();

    for (size_t i = 0; i < source.rule_count; i++)
        sources[i] = read_rule(arena, json_array_get(rules, i));
    read_sets(arena, json_object_get(request, "sets"), &source);
    if (!rule_policy_parse(dump(arena, json_object_get(request, "policy")), &policy, &error) ||
        !rule_set_compile(&source, &set, &error)) {
        json_decref(matches);
        return json_pack("{ss}", "error", error.text);
    }
    for (size_t i = 0; i < json_array_size(leads); i++) {
        struct rule_lead lead = read_lead(json_array_get(leads, i));
        struct rule_match found;
        bool is_taken = rule_set_match(set, &lead, &found);
        json_array_append_new(
            matches, json_integer(is_taken ? index_of(sources, source.rule_count, &found.rule_id) : -1));
    }
    rule_set_unref(set);
    return json_pack("{so}", "matches", matches);
}

static json_t *check(struct arena *arena, const json_t *conditions)
{
    struct error error = {0};

    if (rule_conditions_check(dump(arena, conditions), &error))
        return json_object();
    return json_pack("{ss}", "error", error.text);
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;

    while (getline(&line, &capacity, stdin) > 0) {
        struct arena *arena = arena_new(0);
        json_error_t problem = {0};
        json_t *request = json_loads(line, 0, &problem);
        json_t *answer = NULL;
        if (request == NULL)
            answer = json_pack("{ss}", "error", problem.text);
        else if (json_object_get(request, "check") != NULL)
            answer = check(arena, json_object_get(request, "check"));
        else
            answer = match(arena, request);
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(answer);
        json_decref(request);
        arena_free(arena);
    }
    free(line);
    return EXIT_SUCCESS;
}
