/* Tables of invented and generic parts that leads are put together from. */
#ifndef DEMO_LEADS_NAMES_H
#define DEMO_LEADS_NAMES_H

#include <stddef.h>

/* A list of words. */
struct names {
    const char *const *items;
    size_t count;
};

extern const struct names first_names;
extern const struct names last_name_heads; /* "Ash" … */
extern const struct names last_name_tails; /* … "worth" */
extern const struct names company_heads;
extern const struct names company_tails;
extern const struct names industries;
extern const struct names company_sizes;
extern const struct names company_revenues;
extern const struct names lead_sources;

/* A city, and how phone numbers are written there: each `#` stands for a digit, from the ranges free for fiction. */
struct place {
    const char *country; /* ISO 3166-1 alpha-2 */
    const char *state;   /* or "" */
    const char *city;
    const char *postal_code;
    const char *phone;       /* with the country's code */
    const char *phone_local; /* the same number without it, or NULL where that would be another identity */
};

extern const struct place places[];
extern const size_t place_count;

#endif
