/* Countries, US states and sales regions by any of their names. All names here are folded (TEXT_FOLD). Any thread. */
#ifndef RULES_PLACES_H
#define RULES_PLACES_H

/* ISO 3166-1 alpha-2 code of a country given by code (two or three letters, or three digits) or name, such as "IN"
 * for "india", "ind" or "356". NULL when the table does not know it. Static storage. */
const char *place_country_code(const char *folded);

/* The two capitals ("CA") of a US state given by code ("ca", "us-ca") or name, the District of Columbia and the outlying areas among
 * them; NULL when the table does not know it. Static storage. */
const char *place_state_code(const char *folded);

/* The region of a state given by code or name ("West"); NULL for what is no state, or in no region. Static storage. */
const char *place_state_region(const char *folded);

/* A region's name as it is written ("West") for any case of it; NULL for any other name. Static storage. */
const char *place_region_name(const char *folded);

#endif
