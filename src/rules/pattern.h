/* Regular expressions with a bound on what they may cost (PCRE2). */
#ifndef RULES_PATTERN_H
#define RULES_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct rule_pattern;

enum { RULE_PATTERN_STEPS_MAX = 100000 }; /* PCRE2's match limit for one lead */

enum rule_pattern_result { RULE_PATTERN_MATCHES, RULE_PATTERN_DIFFERS, RULE_PATTERN_GAVE_UP };

/* Compiles an expression: UTF-8, with Unicode's classes, case by `is_case`. Errors: ERROR_INVALID with PCRE2's words and
 * the offset in bytes. Released with rule_pattern_free(). */
bool rule_pattern_new(
    const char *expression, bool is_case, struct rule_pattern **ret_pattern, struct error *reterr_error);

/* False when one of some texts made of the expression's own characters takes too many steps. What can blow up is seldom
 * noticed before it does, and such texts are what the known ways of blowing up need (pattern.c). Takes a millisecond or so:
 * for when a rule is saved. */
bool rule_pattern_is_bounded(const struct rule_pattern *pattern, const char *expression);
void rule_pattern_free(struct rule_pattern *pattern); /* NULL is fine */

/* Whether it matches somewhere in `size` bytes of valid UTF-8. Any thread. */
enum rule_pattern_result rule_pattern_search(const struct rule_pattern *pattern, const char *text, size_t size);

#endif
