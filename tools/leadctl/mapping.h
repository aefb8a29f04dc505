/* Which column of a file becomes which field of a lead. */
#ifndef LEADCTL_MAPPING_H
#define LEADCTL_MAPPING_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "csv_reader.h"
#include "leadrouter/v1/leads.pb-c.h"
#include "options.h"

struct mapping;

/* Makes a mapping from FIELD=COLUMN texts and the header row. FIELD is a field of a new lead or attributes.NAME;
 * COLUMN a name in the header. Columns that no text names and whose header is a field's name (blanks and dashes as
 * underscores, any case) become that field. `blanks` are texts that mean "not known". Errors: ERROR_INVALID for
 * texts (unknown field, no "="; field given twice), ERROR_NOT_FOUND for a column that is not in the header, naming
 * what there is. */
bool mapping_new(const struct option_list *texts, const struct option_list *blanks, const struct csv_row *header,
    struct mapping **ret_mapping, struct error *reterr_error);
void mapping_free(struct mapping *mapping); /* NULL is fine */

/* Checks the texts alone, before a file is opened. Errors as above. */
bool mapping_check(const struct option_list *texts, struct error *reterr_error);

/* One row as a lead; texts live in the arena. Errors: ERROR_INVALID for a row with another number of fields than
 * the header, invalid UTF-8, or a NUL byte, without the line. */
bool mapping_apply(const struct mapping *mapping, const struct csv_row *row, struct arena *arena,
    Leadrouter__V1__NewLead **ret_lead, struct error *reterr_error);

#endif
