/* What is kept in the log of a lead that was decided: the fields that its rules name, as one JSON object of texts, so that the decision can
 * be explained while the log lives. Never who the lead is. */
#ifndef RULES_RECORD_H
#define RULES_RECORD_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "rules/conditions.h"
#include "rules/rules.h"

enum { RULE_RECORD_VALUE_SIZE_MAX = 512 /* bytes; a longer value is not kept */ };

/* Writes the record; fields that are derived are kept as what they are derived from. False, with nothing of use in
 * `ret_json`, when there is nothing to keep, or it does not fit into the buffer. Any thread. */
bool rule_record_write(const struct rule_fields *fields, const struct rule_lead *lead, struct buffer *ret_json);

/* Makes a lead of a record (NULL gives an empty one): everything that is not in it is missing. Texts live in `arena`.
 * False when it is not an object of texts. */
bool rule_record_read(const char *json, struct arena *arena, struct rule_lead *ret_lead);

#endif
