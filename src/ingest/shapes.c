#include "ingest/shapes.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/phone.h"
#include "base/text.h"
#include "base/uuid.h"
#include "rules/places.h"
#include "rules/values.h"

enum { TEXT_SIZE_MAX = 200, PHONE_DIGITS_MIN = 7, PHONE_DIGITS_MAX = 15, POSTAL_DIGITS = 5, POSTAL_LONG_SIZE = 10 };

static const char *const titles[INGEST_SHAPE_COUNT] = {
    [INGEST_SHAPE_BLANK] = "blank",
    [INGEST_SHAPE_EMAIL] = "an e-mail address",
    [INGEST_SHAPE_URL] = "a web address",
    [INGEST_SHAPE_UUID] = "a UUID",
    [INGEST_SHAPE_DATE] = "a date",
    [INGEST_SHAPE_PHONE] = "a phone number",
    [INGEST_SHAPE_POSTAL] = "a postal code",
    [INGEST_SHAPE_NUMBER] = "a number",
    [INGEST_SHAPE_STATE] = "a US state",
    [INGEST_SHAPE_COUNTRY] = "a country",
    [INGEST_SHAPE_TEXT] = "a text",
};

const char *ingest_shape_title(enum ingest_shape shape)
{
    return titles[shape];
}

bool ingest_shape_is_data(enum ingest_shape shape)
{
    return shape >= INGEST_SHAPE_EMAIL && shape <= INGEST_SHAPE_PHONE;
}

static size_t digit_count(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += *text >= '0' && *text <= '9';
    return count;
}

static bool is_url(const char *text, size_t size)
{
    return (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0 ||
               strncasecmp(text, "www.", 4) == 0) &&
           memchr(text, ' ', size) == NULL;
}

static bool is_date(const char *text, size_t size)
{
    int64_t moment = 0;
    size_t slashes = 0;

    if (rule_moment_parse(text, size, &moment))
        return true;
    size_t date_size = strspn(text, "0123456789/");
    for (size_t i = 0; i < date_size; i++)
        slashes += text[i] == '/';
    return slashes == 2 && date_size >= 6 && date_size <= 10 && (text[date_size] == '\0' || text[date_size] == ' ');
}

/* Size of a number without its extension ("x 12", "ext. 12"); 0 when something else follows. */
static size_t phone_size(const char *text, size_t size)
{
    size_t plain = strspn(text, "0123456789+-(). /");
    size_t word = strspn(text + plain, "extnsioEXTNSIO.");
    size_t number = strspn(text + plain + word, " 0123456789");

    if (plain == size)
        return size;
    return word > 0 && number > 0 && plain + word + number == size ? plain : 0;
}

static bool is_phone(const char *text, size_t whole_size)
{
    char digits_only[PHONE_CAPACITY(TEXT_SIZE_MAX)];
    size_t size = phone_size(text, whole_size);
    size_t digits = phone_digits(text, size, digits_only, sizeof(digits_only));

    return digits >= PHONE_DIGITS_MIN && digits <= PHONE_DIGITS_MAX && digit_count(text) < whole_size &&
           (text[0] == '+' || text[0] == '(' || strpbrk(text, "- ") != NULL || strchr(text, '.') != strrchr(text, '.'));
}

static bool is_postal(const char *text, size_t size)
{
    return (size == POSTAL_DIGITS && digit_count(text) == POSTAL_DIGITS) ||
           (size == POSTAL_LONG_SIZE && text[POSTAL_DIGITS] == '-' && digit_count(text) == POSTAL_LONG_SIZE - 1);
}

enum ingest_shape ingest_shape_of(const char *text)
{
    char folded[TEXT_CAPACITY(TEXT_SIZE_MAX)];
    char exact[TEXT_CAPACITY(TEXT_SIZE_MAX)];
    size_t folded_size = 0;
    struct uuid uuid;
    struct rule_value value = {.text = exact};
    double number = 0;

    if (text_is_blank(text))
        return INGEST_SHAPE_BLANK;
    if (strlen(text) > TEXT_SIZE_MAX ||
        !text_normalize(text, strlen(text), TEXT_EXACT, exact, sizeof(exact), &value.size) ||
        !text_normalize(text, strlen(text), TEXT_FOLD, folded, sizeof(folded), &folded_size))
        return INGEST_SHAPE_TEXT;
    if (rule_email_is_valid(&value))
        return INGEST_SHAPE_EMAIL;
    if (is_url(exact, value.size))
        return INGEST_SHAPE_URL;
    if (uuid_parse(exact, &uuid))
        return INGEST_SHAPE_UUID;
    if (is_date(exact, value.size))
        return INGEST_SHAPE_DATE;
    if (is_postal(exact, value.size))
        return INGEST_SHAPE_POSTAL;
    if (is_phone(exact, value.size))
        return INGEST_SHAPE_PHONE;
    if (rule_number_parse(exact, value.size, &number))
        return INGEST_SHAPE_NUMBER;
    if (place_state_code(folded) != NULL)
        return INGEST_SHAPE_STATE;
    if (folded_size > 2 && place_country_code(folded) != NULL)
        return INGEST_SHAPE_COUNTRY;
    return INGEST_SHAPE_TEXT;
}
