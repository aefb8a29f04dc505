/* Invented leads, the same for the same seed (tools/demo-leads/README.md). */
#ifndef DEMO_LEADS_DEMO_LEADS_H
#define DEMO_LEADS_DEMO_LEADS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

enum { DEMO_PARTNERS_MAX = 50, DEMO_LEADS_MAX = 1000000 };

struct demo_options {
    uint64_t seed;
    uint32_t leads;    /* in all files together: 1 … DEMO_LEADS_MAX */
    uint32_t partners; /* files: 1 … DEMO_PARTNERS_MAX */
};

/* What was written. */
struct demo_counts {
    uint32_t leads;
    uint32_t copies; /* leads whose identity an earlier one of another partner has */
};

/* Writes `outputs[0 … partners-1]`, each a CSV with a header of leadrouter's field names. False when a file could
 * not be written (ERROR_SYSTEM). */
bool demo_leads_write(const struct demo_options *options, FILE *const *outputs, struct demo_counts *ret_counts,
    struct error *reterr_error);

#endif
