#include "rules/places.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "rules/places_table.h"

enum { REGION_STATES_MAX = 20 };

struct region {
    const char *name;
    const char *title;
    const char *states[REGION_STATES_MAX]; /* folded codes; NULL after the last */
};

static const struct region regions[] = {
    {"northeast", "Northeast", {"ct", "me", "ma", "nh", "ri", "vt", "ny", "nj", "pa"}},
    {"southeast", "Southeast",
        {"de", "fl", "ga", "md", "nc", "sc", "va", "wv", "ky", "tn", "al", "ms", "ar", "la", "dc"}},
    {"midwest", "Midwest", {"il", "in", "mi", "oh", "wi", "ia", "ks", "mn", "mo", "ne", "nd", "sd"}},
    {"southwest", "Southwest", {"az", "nm", "ok", "tx"}},
    {"west", "West", {"co", "id", "mt", "nv", "ut", "wy", "ak", "ca", "hi", "or", "wa"}},
};

static int compare_name(const void *folded, const void *entry)
{
    return strcmp(folded, ((const struct place_name *)entry)->name);
}

/* The entry of a name, or NULL. */
static const struct place_name *find(const struct place_name *names, size_t count, const char *folded)
{
    return bsearch(folded, names, count, sizeof(*names), compare_name);
}

const char *place_country_code(const char *folded)
{
    const struct place_name *entry = find(place_country_names, place_country_name_count, folded);
    return entry == NULL ? NULL : place_country_codes[entry->code_index];
}

const char *place_state_code(const char *folded)
{
    const struct place_name *entry = find(place_state_names, place_state_name_count, folded);
    return entry == NULL ? NULL : place_state_codes[entry->code_index];
}

const char *place_state_region(const char *folded)
{
    const char *code = place_state_code(folded);
    for (size_t i = 0; code != NULL && i < COUNT_OF(regions); i++) {
        for (size_t k = 0; k < REGION_STATES_MAX && regions[i].states[k] != NULL; k++) {
            if (strcasecmp(regions[i].states[k], code) == 0) {
                return regions[i].title;
            }
        }
    }
    return NULL;
}

const char *place_region_name(const char *folded)
{
    for (size_t i = 0; i < COUNT_OF(regions); i++) {
        if (strcmp(regions[i].name, folded) == 0) {
            return regions[i].title;
        }
    }
    return NULL;
}
