#include "ingest/normalize.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/phone.h"
#include "base/text.h"
#include "rules/places.h"
#include "rules/values.h"

enum { PHONE_DIGITS_MIN = 7, PHONE_DIGITS_MAX = 15, ZIP_DIGITS = 5, ZIP_DIGITS_MIN = 3, BOUNDS_MAX = 2 };

static const char *const names[INGEST_FIELD_COUNT] = {
    [INGEST_FIELD_EXTERNAL_ID] = "external_id",
    [INGEST_FIELD_EMAIL] = "email",
    [INGEST_FIELD_PHONE] = "phone",
    [INGEST_FIELD_FIRST_NAME] = "first_name",
    [INGEST_FIELD_LAST_NAME] = "last_name",
    [INGEST_FIELD_COMPANY_NAME] = "company_name",
    [INGEST_FIELD_COMPANY_INDUSTRY] = "company_industry",
    [INGEST_FIELD_COMPANY_SIZE] = "company_size",
    [INGEST_FIELD_COMPANY_REVENUE] = "company_revenue",
    [INGEST_FIELD_COUNTRY] = "country",
    [INGEST_FIELD_STATE] = "state",
    [INGEST_FIELD_CITY] = "city",
    [INGEST_FIELD_POSTAL_CODE] = "postal_code",
    [INGEST_FIELD_SOURCE] = "source",
};

const char *ingest_field_name(enum ingest_field field)
{
    return names[field];
}

bool ingest_field_find(const char *name, size_t size, enum ingest_field *ret_field)
{
    for (enum ingest_field i = 0; i < INGEST_FIELD_COUNT; i++)
        if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0) {
            *ret_field = i;
            return true;
        }
    return false;
}

/* --- Bands --------------------------------------------------------------------------------------------------------- */

/* Values from `low` on, up to the next one's. */
struct band {
    double low;
    const char *name;
};

static const struct band size_bands[] = {
    {0, "1-10"},
    {10, "11-50"},
    {50, "51-200"},
    {200, "201-500"},
    {500, "501-1000"},
    {1000, "1001-5000"},
    {5000, "5001-10000"},
    {10000, "10000+"},
};
static const struct band revenue_bands[] = {
    {0, "<$1M"},
    {1e6, "$1M-$10M"},
    {10e6, "$10M-$50M"},
    {50e6, "$50M-$100M"},
    {100e6, "$100M-$500M"},
    {500e6, "$500M-$1B"},
    {1e9, "$1B+"},
};

static const char *band_of(const struct band *bands, size_t count, double number)
{
    size_t i = count - 1;

    while (i > 0 && number < bands[i].low)
        i--;
    return bands[i].name;
}

const char *ingest_size_band(double employees)
{
    return band_of(size_bands, COUNT_OF(size_bands), employees);
}

const char *ingest_revenue_band(double dollars)
{
    return band_of(revenue_bands, COUNT_OF(revenue_bands), dollars);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "k", "million", "bn" and so on behind a number; `*text` is moved behind. 1 when there is none. */
static double multiplier(const char **text)
{
    static const struct {
        const char *word;
        double factor;
    } words[] = {{"thousand", 1e3}, {"million", 1e6}, {"billion", 1e9}, {"mm", 1e6}, {"mio", 1e6}, {"bn", 1e9},
        {"k", 1e3}, {"m", 1e6}, {"b", 1e9}};
    const char *at = *text + strspn(*text, " ");

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        size_t size = strlen(words[i].word);
        char next = strncmp(at, words[i].word, size) == 0 ? at[size] : 'a';
        if (next < 'a' || next > 'z') {
            *text = at + size;
            return words[i].factor;
        }
    }
    return 1;
}

/* A number with commas between its thousands, and what multiplies it. */
static bool read_amount(const char **text, double *ret_number, bool *ret_has_word)
{
    char plain[32] = "";
    size_t size = 0;
    const char *at = *text;

    if (!is_digit(*at))
        return false;
    for (; is_digit(*at) || (*at == ',' && is_digit(at[1])) || (*at == '.' && is_digit(at[1])); at++) {
        if (*at != ',' && size + 1 < sizeof(plain))
            plain[size++] = *at;
    }
    *text = at;
    double factor = multiplier(text);
    *ret_has_word = factor > 1;
    *ret_number = strtod(plain, NULL) * factor;
    return isfinite(*ret_number);
}

/* The numbers of a range, in the order they stand; false for a text that has more than two, or none. A word such as "million" behind the
 * second goes for the first as well. */
static bool read_amounts(const char *folded, double ret_numbers[static BOUNDS_MAX], size_t *ret_count)
{
    bool has_word[BOUNDS_MAX] = {false};
    size_t count = 0;

    for (const char *at = folded; *at != '\0';) {
        if (!is_digit(*at)) {
            at++;
            continue;
        }
        if (count == BOUNDS_MAX || !read_amount(&at, &ret_numbers[count], &has_word[count]))
            return false;
        count++;
    }
    if (count == BOUNDS_MAX && has_word[1] && !has_word[0] && ret_numbers[0] < 1000) {
        double factor = ret_numbers[1] >= 1e9 ? 1e9 : ret_numbers[1] >= 1e6 ? 1e6 : 1e3;
        ret_numbers[0] *= factor;
    }
    *ret_count = count;
    return count > 0;
}

static bool is_below(const char *folded)
{
    return folded[0] == '<' || strncmp(folded, "under", 5) == 0 || strncmp(folded, "less than", 9) == 0 ||
           strncmp(folded, "below", 5) == 0 || strncmp(folded, "up to", 5) == 0;
}

/* Words that make of a text something else than a number or a range of employees or dollars. */
static bool has_other_words(const char *folded)
{
    static const char *const known[] = {"employees", "employee", "people", "staff", "under", "less", "than", "below",
        "up", "to", "over", "more", "above", "and", "thousand", "million", "billion", "usd", "us", "mm", "mio", "bn",
        "k", "m", "b", "plus", "from", "between"};

    while (*folded != '\0') {
        size_t size = 0;
        bool is_known = false;
        while (folded[size] >= 'a' && folded[size] <= 'z')
            size++;
        for (size_t i = 0; i < COUNT_OF(known) && !is_known; i++)
            is_known = strlen(known[i]) == size && strncmp(known[i], folded, size) == 0;
        if ((unsigned char)*folded >= 0x80 && strncmp(folded, "\xE2\x80\x93", 3) != 0 &&
            strncmp(folded, "\xE2\x80\x94", 3) != 0)
            return true; /* no dash either */
        if (size > 0 && !is_known)
            return true;
        folded += size > 0 ? size : (unsigned char)*folded >= 0x80 ? 3 : 1;
    }
    return false;
}

/* The band that a text names: a number, or a range whose ends lie in one; NULL for other texts. */
static const char *find_band(const struct band *bands, size_t count, const char *folded)
{
    double numbers[BOUNDS_MAX] = {0};
    size_t number_count = 0;

    if (rule_number_parse(folded, strlen(folded), &numbers[0]))
        return numbers[0] >= 0 ? band_of(bands, count, numbers[0]) : NULL;
    if (folded[0] == '-' || has_other_words(folded) || !read_amounts(folded, numbers, &number_count))
        return NULL;
    if (number_count == 1 && is_below(folded))
        return numbers[0] > 0 && numbers[0] <= bands[1].low ? bands[0].name : NULL;
    if (number_count == 1 && strchr(folded, '<') != NULL)
        return NULL;
    if (number_count == 1)
        return band_of(bands, count, numbers[0]);
    for (size_t i = 0; i < count; i++) {
        double high = i + 1 < count ? bands[i + 1].low : INFINITY;
        if (numbers[0] >= bands[i].low && numbers[0] <= numbers[1] && numbers[1] <= high)
            return bands[i].name;
    }
    return NULL;
}

/* --- Fields -------------------------------------------------------------------------------------------------------- */

/* Text in a form; NULL when it is not UTF-8. */
static char *in_form(const char *text, enum text_form form, struct arena *arena)
{
    size_t capacity = TEXT_CAPACITY(strlen(text));
    char *result = arena_alloc(arena, capacity);
    size_t size = 0;

    return text_normalize(text, strlen(text), form, result, capacity, &size) ? result : NULL;
}

static bool normalize_email(char *text, const char **ret_text)
{
    const struct rule_value value = {.text = text, .size = strlen(text)};

    *ret_text = text;
    if (!rule_email_is_valid(&value))
        return false;
    for (char *c = strrchr(text, '@'); *c != '\0'; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return true;
}

/* A + says that the country code is there, so that the identity of what is stored is that of what came. */
static bool normalize_phone(const char *text, struct arena *arena, const char **ret_text)
{
    size_t capacity = PHONE_CAPACITY(strlen(text) + 1);
    char *digits = arena_alloc(arena, capacity);
    char *as_written = arena_alloc(arena, capacity);
    size_t count = phone_digits(text, strlen(text), digits, capacity);
    const char *with_plus = arena_format(arena, "+%s", text);
    size_t first = strcspn(text, "+0123456789");

    *ret_text = text;
    if (count < PHONE_DIGITS_MIN || count > PHONE_DIGITS_MAX)
        return false;
    (void)phone_digits(with_plus, strlen(with_plus), as_written, capacity);
    bool has_country = text[first] == '+' || strcmp(digits, as_written) != 0 || (count == 11 && digits[0] == '1');
    *ret_text = has_country ? arena_format(arena, "+%s", digits) : digits;
    return true;
}

static const char *normalize_postal_code(const char *text, const char *country, const char *state, struct arena *arena)
{
    char *folded_state = in_form(state, TEXT_FOLD, arena);
    bool is_us = strcmp(country, "US") == 0 ||
                 (country[0] == '\0' && folded_state != NULL && place_state_code(folded_state) != NULL);
    size_t digits = strspn(text, "0123456789");

    if (!is_us || digits < ZIP_DIGITS_MIN || digits >= ZIP_DIGITS || text[digits] != '\0')
        return text;
    return arena_format(arena, "%0*lu", ZIP_DIGITS, strtoul(text, NULL, 10));
}

static const char *normalize_place(enum ingest_field field, const char *text, const char *country, struct arena *arena)
{
    const char *folded = in_form(text, TEXT_FOLD, arena);
    const char *code = NULL;

    if (field == INGEST_FIELD_COUNTRY)
        code = place_country_code(folded);
    else if (country[0] == '\0' || strcmp(country, "US") == 0)
        code = place_state_code(folded);
    return code != NULL ? code : text;
}

bool ingest_normalize(enum ingest_field field, const char *text, const char *country, const char *state,
    struct arena *arena, const char **ret_text)
{
    const char *band = NULL;

    assert(strlen(text) <= INGEST_TEXT_SIZE_MAX);
    char *exact = in_form(text, TEXT_EXACT, arena);
    *ret_text = text;
    if (exact == NULL)
        return false;
    *ret_text = exact;
    if (exact[0] == '\0')
        return true;
    switch (field) {
    case INGEST_FIELD_EMAIL:
        return normalize_email(exact, ret_text);
    case INGEST_FIELD_PHONE:
        return normalize_phone(exact, arena, ret_text);
    case INGEST_FIELD_COUNTRY:
    case INGEST_FIELD_STATE:
        *ret_text = normalize_place(field, exact, country, arena);
        return true;
    case INGEST_FIELD_POSTAL_CODE:
        *ret_text = normalize_postal_code(exact, country, state, arena);
        return true;
    case INGEST_FIELD_COMPANY_SIZE:
        band = find_band(size_bands, COUNT_OF(size_bands), in_form(exact, TEXT_FOLD, arena));
        break;
    case INGEST_FIELD_COMPANY_REVENUE:
        band = find_band(revenue_bands, COUNT_OF(revenue_bands), in_form(exact, TEXT_FOLD, arena));
        break;
    default:
        break;
    }
    if (band != NULL)
        *ret_text = band;
    return true;
}
