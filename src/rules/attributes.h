/* The attributes of a lead. Any thread. */
#ifndef RULES_ATTRIBUTES_H
#define RULES_ATTRIBUTES_H

#include <jansson.h>

/* Reads one JSON object for those of its members that rules know: texts, numbers, true and false. An integer that
 * 64 bits do not hold is a real, a number that no double holds is null; lists and objects may be null too. Never NULL:
 * NULL, and what is no JSON object, is an empty one. The caller gives it back by json_decref(). */
json_t *rule_attributes_read(const char *json);

#endif
