#include "rules/value_sets.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

static const struct rule_named_set *find_source(const struct rule_named_set *sources, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(sources[i].name, name) == 0)
            return &sources[i];
    }
    return NULL;
}

static struct rule_value_set make_set(
    struct arena *arena, const struct rule_set_ref *ref, const struct rule_named_set *source)
{
    struct rule_value *values = arena_alloc_array(arena, source->count, sizeof(*values));
    struct rule_value_set set = {.values = values};

    for (size_t i = 0; i < source->count; i++) {
        size_t size = strlen(source->values[i]);
        char *made = memory_new(RULE_VALUE_CAPACITY(size));
        size_t made_size = 0;
        if (rule_value_make(ref->form, ref->field == RULE_FIELD_COUNT ? RULE_FIELD_ATTRIBUTE : ref->field,
                source->values[i], size, made, RULE_VALUE_CAPACITY(size), &made_size))
            values[set.count++] = (struct rule_value){arena_copy(arena, made, made_size), made_size};
        free(made);
    }
    if (set.count > 0)
        qsort(values, set.count, sizeof(*values), rule_value_order);
    return set;
}

bool rule_value_sets_make(struct arena *arena, const struct rule_reader *reader, const struct rule_named_set *sources,
    size_t source_count, struct rule_value_set **ret_sets, struct error *reterr_error)
{
    struct rule_value_set *sets = arena_alloc_array(arena, reader->set_count, sizeof(*sets));

    for (size_t i = 0; i < reader->set_count; i++) {
        const struct rule_named_set *source = find_source(sources, source_count, reader->sets[i].name);
        if (source == NULL)
            return text_is_name(reader->sets[i].name)
                       ? error_set(reterr_error, ERROR_INVALID, "unknown set \"%s\"", reader->sets[i].name)
                       : error_set(reterr_error, ERROR_INVALID, "unknown set");
        sets[i] = make_set(arena, &reader->sets[i], source);
    }
    *ret_sets = sets;
    return true;
}
