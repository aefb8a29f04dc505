/* Countries, US states and sales regions by any of their names. All names here are folded (TEXT_FOLD). Any thread. */
#ifndef RULES_PLACES_H
#define RULES_PLACES_H

#include <stdint.h>

/* A set of US states: one bit each, the District of Columbia and the outlying areas among them. */
typedef uint64_t place_states;

/* ISO 3166-1 alpha-2 code of a country given by code (two or three letters, or three digits) or name, such as "IN"
 * for "india", "ind" or "356". NULL when the table does not know it. Static storage. */
const char *place_country_code(const char *folded);

/* The state given by code ("ca", "us-ca") or name, as a set of one; the empty set when the table does not know it. */
place_states place_state(const char *folded);

/* The two capitals of the same ("CA"); NULL when the table does not know it. Static storage. */
const char *place_state_code(const char *folded);

/* The region of a state given by code or name ("West"); NULL for what is no state, or in no region. Static storage. */
const char *place_state_region(const char *folded);

/* A region's name as it is written ("West") for any case of it; NULL for any other name. Static storage. */
const char *place_region_name(const char *folded);

/* The states of a region ("northeast", "southeast", "midwest", "southwest", "west"); empty for any other name. */
place_states place_region(const char *folded);

#endif
