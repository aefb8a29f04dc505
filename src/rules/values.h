/* Values as they are compared: one function for the rule's side and the lead's, which is what makes them comparable. Any thread. */
#ifndef RULES_VALUES_H
#define RULES_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "rules/fields.h"

/* How texts are made comparable. */
enum rule_form {
    RULE_FORM_FOLD,  /* case does not count */
    RULE_FORM_EXACT, /* case counts */
    RULE_FORM_PLACE, /* a known country or state is its code, in capitals (so that it is not taken for a text); by field */
    RULE_FORM_POSTAL, /* folded, without blanks and hyphens */
    RULE_FORM_COUNT,
};

/* A text in one of these forms: `size` bytes, NUL-terminated. */
struct rule_value {
    const char *text;
    size_t size;
};

/* Capacity that rule_value_make() needs for `size` bytes. */
#define RULE_VALUE_CAPACITY(size) TEXT_CAPACITY(size)

/* Writes `size` bytes of text in a form; `field` says which places there are for RULE_FORM_PLACE. False when it is not valid UTF-8, or
 * blank. */
bool rule_value_make(enum rule_form form, enum rule_field field, const char *text, size_t size, char *ret_text,
    size_t capacity, size_t *ret_size);

/* Order by bytes, which for UTF-8 is that of code points: below, at or above zero. */
int rule_value_compare(const struct rule_value *left, const struct rule_value *right);

/* The same, and that of numbers, as qsort() and bsearch() want it. */
int rule_value_order(const void *left, const void *right);
int rule_number_order(const void *left, const void *right);

/* True when `part` is in `whole`; at its beginning; at its end. */
bool rule_value_contains(const struct rule_value *whole, const struct rule_value *part);
bool rule_value_starts_with(const struct rule_value *whole, const struct rule_value *part);
bool rule_value_ends_with(const struct rule_value *whole, const struct rule_value *part);

/* True when a pattern of `*` and `?` covers all of `whole`; both in the same form. Linear but for the stars, of which each is tried from
 * left to right: at most size times size steps. */
bool rule_value_is_like(const struct rule_value *whole, const struct rule_value *pattern);

/* Reads a decimal number (sign, fraction and exponent allowed) that is finite; nothing may stand around it. */
bool rule_number_parse(const char *text, size_t size, double *ret_number);

/* Reads "2026-01-31" or "2026-01-31T10:00:00.5+01:00" (RFC 3339, a blank for the T allowed) as microseconds since 1970 UTC. */
bool rule_moment_parse(const char *text, size_t size, int64_t *ret_us);

/* True for an e-mail address by docs/rules.md; `text` in RULE_FORM_EXACT. */
bool rule_email_is_valid(const struct rule_value *email);

/* What follows the last @; false when there is none, or nothing behind it. Points into `email`. */
bool rule_email_domain(const char *email, size_t size, struct rule_value *ret_domain);

/* Distance in kilometres of two points given in degrees, on a sphere (haversine formula; R. W. Sinnott, Sky & Telescope 68, 1984). */
double rule_distance_km(double latitude, double longitude, double other_latitude, double other_longitude);

/* The mean radius of the earth, in kilometres (WGS 84; Moritz, Geodetic Reference System 1980, Bulletin Géodésique 54). */
#define RULE_EARTH_RADIUS_KM 6371.0088

#endif
