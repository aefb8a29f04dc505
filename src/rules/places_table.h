/* The table that tools/gen-countries writes at build time. Only places.c reads it. */
#ifndef RULES_PLACES_TABLE_H
#define RULES_PLACES_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* One folded spelling of a place and the index of its code. */
struct place_name {
    const char *name;
    uint16_t code_index;
};

extern const char place_country_codes[][3]; /* ISO 3166-1 alpha-2, sorted */
extern const size_t place_country_code_count;
extern const struct place_name place_country_names[]; /* sorted by the bytes of the name */
extern const size_t place_country_name_count;

extern const char place_state_codes[][3]; /* ISO 3166-2:US without "US-", sorted; at most 64 */
extern const size_t place_state_code_count;
extern const struct place_name place_state_names[];
extern const size_t place_state_name_count;

#endif
