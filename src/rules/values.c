#include "rules/values.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "rules/places.h"

enum {
    NUMBER_SIZE_MAX = 64,
    EMAIL_LOCAL_SIZE_MAX = 64,
    SECONDS_PER_DAY = 86400,
    US_PER_SECOND = 1000000,
    FRACTION_DIGITS = 6,
};

/* What a place is called in one field; NULL for what its table does not know. */
static const char *place_name(enum rule_field_kind kind, const char *folded)
{
    switch (kind) {
    case RULE_KIND_COUNTRY:
        return place_country_code(folded);
    case RULE_KIND_STATE:
    case RULE_KIND_US_STATE:
        return place_state_code(folded);
    case RULE_KIND_REGION:
        return place_region_name(folded);
    case RULE_KIND_TEXT:
    case RULE_KIND_MOMENT:
    case RULE_KIND_LOCATION:
        break;
    }
    return NULL;
}

static size_t without_blanks_and_hyphens(char *text, size_t size)
{
    size_t length = 0;

    for (size_t i = 0; i < size; i++) {
        if (text[i] != ' ' && text[i] != '-')
            text[length++] = text[i];
    }
    text[length] = '\0';
    return length;
}

bool rule_value_make(enum rule_form form, enum rule_field field, const char *text, size_t size, char *ret_text,
    size_t capacity, size_t *ret_size)
{
    enum text_form text_form = form == RULE_FORM_EXACT ? TEXT_EXACT : TEXT_FOLD;
    size_t made_size = 0;

    if (!text_normalize(text, size, text_form, ret_text, capacity, &made_size) || made_size == 0)
        return false;
    if (form == RULE_FORM_POSTAL)
        made_size = without_blanks_and_hyphens(ret_text, made_size);
    if (form == RULE_FORM_PLACE) {
        const char *name = place_name(rule_field_info(field)->kind, ret_text);
        if (name != NULL) {
            made_size = strlen(name);
            assert(made_size < capacity);
            memcpy(ret_text, name, made_size + 1);
        }
    }
    *ret_size = made_size;
    return made_size > 0;
}

int rule_value_compare(const struct rule_value *left, const struct rule_value *right)
{
    size_t common = left->size < right->size ? left->size : right->size;
    int order = memcmp(left->text, right->text, common);

    return order != 0 ? order : (left->size > right->size) - (left->size < right->size);
}

int rule_value_order(const void *left, const void *right)
{
    return rule_value_compare(left, right);
}

int rule_number_order(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

bool rule_value_contains(const struct rule_value *whole, const struct rule_value *part)
{
    return memmem(whole->text, whole->size, part->text, part->size) != NULL;
}

bool rule_value_starts_with(const struct rule_value *whole, const struct rule_value *part)
{
    return whole->size >= part->size && memcmp(whole->text, part->text, part->size) == 0;
}

bool rule_value_ends_with(const struct rule_value *whole, const struct rule_value *part)
{
    return whole->size >= part->size && memcmp(whole->text + whole->size - part->size, part->text, part->size) == 0;
}

/* Bytes of the code point that begins at `text`, which is valid UTF-8. */
static size_t code_point_size(const char *text)
{
    unsigned char first = (unsigned char)*text;

    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

bool rule_value_is_like(const struct rule_value *whole, const struct rule_value *pattern)
{
    size_t at = 0;
    size_t next = 0;
    bool has_star = false;
    size_t after_star = 0; /* where the pattern goes on behind the last star */
    size_t star_end = 0;   /* up to where that star reaches in `whole` */

    while (at < whole->size) {
        if (next < pattern->size && pattern->text[next] == '*') {
            has_star = true;
            after_star = ++next;
            star_end = at;
        } else if (next < pattern->size && pattern->text[next] == '?') {
            at += code_point_size(whole->text + at);
            next++;
        } else if (next < pattern->size && pattern->text[next] == whole->text[at]) {
            at++;
            next++;
        } else if (has_star) {
            star_end += code_point_size(whole->text + star_end);
            at = star_end;
            next = after_star;
        } else {
            return false;
        }
    }
    while (next < pattern->size && pattern->text[next] == '*')
        next++;
    return next == pattern->size;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits from `*at` on; how many, and `*at` behind them. */
static size_t skip_digits(const char *text, size_t size, size_t *at)
{
    size_t start = *at;

    while (*at < size && is_digit(text[*at]))
        (*at)++;
    return *at - start;
}

static void skip_sign(const char *text, size_t size, size_t *at)
{
    if (*at < size && (text[*at] == '+' || text[*at] == '-'))
        (*at)++;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit before or behind the point. */
static bool is_number(const char *text, size_t size)
{
    size_t at = 0;
    size_t digits = 0;

    skip_sign(text, size, &at);
    digits = skip_digits(text, size, &at);
    if (at < size && text[at] == '.') {
        at++;
        digits += skip_digits(text, size, &at);
    }
    if (digits == 0)
        return false;
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        skip_sign(text, size, &at);
        if (skip_digits(text, size, &at) == 0)
            return false;
    }
    return at == size;
}

static locale_t c_locale; /* the process's own may write commas */

static void make_c_locale(void)
{
    c_locale = newlocale(LC_NUMERIC_MASK, "C", NULL);
    assert(c_locale != NULL);
}

bool rule_number_parse(const char *text, size_t size, double *ret_number)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char stack[NUMBER_SIZE_MAX + 1];
    char *copy = stack;
    double number = 0;

    if (!is_number(text, size))
        return false;
    pthread_once(&once, make_c_locale);
    if (size > NUMBER_SIZE_MAX)
        copy = memory_new(size + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    number = strtod_l(copy, NULL, c_locale);
    if (copy != stack)
        free(copy);
    if (!isfinite(number))
        return false;
    *ret_number = number;
    return true;
}

/* A number of exactly `count` digits at `*at`. */
static bool read_digits(const char *text, size_t size, size_t *at, size_t count, int *ret_number)
{
    int number = 0;

    if (size - *at < count)
        return false;
    for (size_t i = 0; i < count; i++, (*at)++) {
        if (!is_digit(text[*at]))
            return false;
        number = 10 * number + (text[*at] - '0');
    }
    *ret_number = number;
    return true;
}

static bool read_char(const char *text, size_t size, size_t *at, const char *allowed)
{
    if (*at >= size || strchr(allowed, text[*at]) == NULL)
        return false;
    (*at)++;
    return true;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar: whole eras of 400 years, years that begin in March. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool is_date(int year, int month, int day)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] + (month == 2 && is_leap ? 1 : 0);
}

/* "Z" or "+01:00", up to the end; in seconds. */
static bool read_zone(const char *text, size_t size, size_t *at, int *ret_seconds)
{
    int hours = 0;
    int minutes = 0;
    int sign = 0;

    if (read_char(text, size, at, "Zz"))
        return *at == size;
    if (!read_char(text, size, at, "+-"))
        return false;
    sign = text[*at - 1] == '-' ? -1 : 1;
    if (!read_digits(text, size, at, 2, &hours) || !read_char(text, size, at, ":") ||
        !read_digits(text, size, at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return *at == size;
}

/* Digits behind the point, as microseconds; more than six are cut. */
static bool read_fraction(const char *text, size_t size, size_t *at, int64_t *ret_us)
{
    int64_t us = 0;
    size_t count = 0;

    if (!read_char(text, size, at, "."))
        return true;
    for (; *at < size && is_digit(text[*at]); (*at)++, count++) {
        if (count < FRACTION_DIGITS)
            us = 10 * us + (text[*at] - '0');
    }
    for (size_t i = count; i < FRACTION_DIGITS; i++)
        us *= 10;
    *ret_us = us;
    return count > 0;
}

bool rule_moment_parse(const char *text, size_t size, int64_t *ret_us)
{
    int year = 0;
    int month = 0;
    int day = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int zone = 0;
    int64_t fraction = 0;
    size_t at = 0;

    if (!read_digits(text, size, &at, 4, &year) || !read_char(text, size, &at, "-") ||
        !read_digits(text, size, &at, 2, &month) || !read_char(text, size, &at, "-") ||
        !read_digits(text, size, &at, 2, &day) || !is_date(year, month, day))
        return false;
    if (at < size &&
        (!read_char(text, size, &at, "Tt ") || !read_digits(text, size, &at, 2, &hour) ||
            !read_char(text, size, &at, ":") || !read_digits(text, size, &at, 2, &minute) ||
            !read_char(text, size, &at, ":") || !read_digits(text, size, &at, 2, &second) || hour > 23 || minute > 59 ||
            second > 59 || !read_fraction(text, size, &at, &fraction) || !read_zone(text, size, &at, &zone)))
        return false;
    *ret_us = (days_since_1970(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - zone) *
                  US_PER_SECOND +
              fraction;
    return true;
}

bool rule_email_domain(const char *email, size_t size, struct rule_value *ret_domain)
{
    const char *at = memrchr(email, '@', size);

    if (at == NULL || at + 1 == email + size)
        return false;
    *ret_domain = (struct rule_value){at + 1, (size_t)(email + size - at - 1)};
    return true;
}

bool rule_email_is_valid(const struct rule_value *email)
{
    struct rule_value domain = {0};
    size_t local_size = 0;
    const char *dot = NULL;

    if (!rule_email_domain(email->text, email->size, &domain) || memchr(email->text, ' ', email->size) != NULL)
        return false;
    local_size = (size_t)(domain.text - 1 - email->text);
    dot = memchr(domain.text, '.', domain.size);
    return local_size > 0 && local_size <= EMAIL_LOCAL_SIZE_MAX && memchr(email->text, '@', local_size) == NULL &&
           dot != NULL && dot > domain.text && domain.text[domain.size - 1] != '.' &&
           memmem(domain.text, domain.size, "..", 2) == NULL;
}

double rule_distance_km(double latitude, double longitude, double other_latitude, double other_longitude)
{
    double to_radians = acos(-1.0) / 180.0;
    double half_height = sin((other_latitude - latitude) * to_radians / 2);
    double half_width = sin((other_longitude - longitude) * to_radians / 2);
    double chord = half_height * half_height +
                   cos(latitude * to_radians) * cos(other_latitude * to_radians) * half_width * half_width;

    return 2 * RULE_EARTH_RADIUS_KM * asin(fmin(1.0, sqrt(chord)));
}
