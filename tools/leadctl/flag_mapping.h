/* A mapping (docs/mappings.md) written from the flags of a command, for files that need no more than that. */
#ifndef LEADCTL_FLAG_MAPPING_H
#define LEADCTL_FLAG_MAPPING_H

#include <stdbool.h>

#include "base/error.h"
#include "ingest/reader.h"
#include "options.h"

/* Checks FIELD=COLUMN texts before a file is opened: FIELD is a field of a lead or attributes.NAME, none twice. Errors: ERROR_INVALID,
 * naming what fields there are. */
bool flag_mapping_check(const struct option_list *texts, struct error *reterr_error);

/* The mapping: fields from the columns that the texts name, the others from columns of their own name if the file has them. `blanks` are
 * texts that mean "not known". The caller's, released with free(). The texts were checked. */
char *flag_mapping_write(
    const struct option_list *texts, const struct option_list *blanks, const struct ingest_source *source);

#endif
