#include "ingest/parts.h"

#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ingest/normalize.h"
#include "rules/places.h"

enum { PIECES_MAX = 8, PIECE_SIZE_MAX = 200, ZIP_DIGITS = 5, LONG_ZIP_SIZE = 10 };

static const char *const names[INGEST_PART_COUNT] = {
    [INGEST_PART_NONE] = "",
    [INGEST_PART_FIRST_NAME] = "first_name",
    [INGEST_PART_LAST_NAME] = "last_name",
    [INGEST_PART_CITY] = "city",
    [INGEST_PART_STATE] = "state",
    [INGEST_PART_POSTAL_CODE] = "postal_code",
    [INGEST_PART_COUNTRY] = "country",
};

const char *ingest_part_name(enum ingest_part part)
{
    return names[part];
}

/* The places of a text: what is left of it lies between `pieces` and `count`. */
struct location {
    const char *pieces[PIECES_MAX];
    size_t count;
    const char *parts[INGEST_PART_COUNT];
};

static const char *fold(const char *text, struct arena *arena)
{
    size_t size = strlen(text) <= PIECE_SIZE_MAX ? strlen(text) : 0;
    char *folded = arena_alloc(arena, TEXT_CAPACITY(size));
    size_t ignored = 0;

    return text_normalize(text, size, TEXT_FOLD, folded, TEXT_CAPACITY(size), &ignored) ? folded : "";
}

static bool is_zip(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    size_t size = strlen(text);

    return digits == ZIP_DIGITS &&
           (size == ZIP_DIGITS || (size == LONG_ZIP_SIZE && text[ZIP_DIGITS] == '-' &&
                                      strspn(text + ZIP_DIGITS + 1, "0123456789") == LONG_ZIP_SIZE - ZIP_DIGITS - 1));
}

static bool is_state(const char *text, struct arena *arena)
{
    return place_state_code(fold(text, arena)) != NULL;
}

/* Splits at commas; the last piece has the rest when there are too many. */
static void split(const char *text, struct location *location, struct arena *arena)
{
    size_t capacity = TEXT_CAPACITY(strlen(text));
    char *rest = arena_alloc(arena, capacity);
    size_t ignored = 0;

    if (!text_normalize(text, strlen(text), TEXT_EXACT, rest, capacity, &ignored))
        return;
    while (rest != NULL) {
        bool is_last = location->count + 1 == PIECES_MAX;
        char *piece = is_last ? rest : strsep(&rest, ",");
        rest = is_last ? NULL : rest;
        piece += strspn(piece, " ");
        size_t size = strlen(piece);
        if (size > 0 && piece[size - 1] == ' ')
            piece[size - 1] = '\0';
        if (*piece != '\0')
            location->pieces[location->count++] = piece;
    }
}

/* Takes the last word off the last piece when it is a postal code: "TX 78701". */
static void take_zip(struct location *location, struct arena *arena)
{
    const char *last = location->count > 0 ? location->pieces[location->count - 1] : "";
    const char *blank = strrchr(last, ' ');

    if (is_zip(last)) {
        location->parts[INGEST_PART_POSTAL_CODE] = last;
        location->count--;
    } else if (blank != NULL && is_zip(blank + 1)) {
        location->parts[INGEST_PART_POSTAL_CODE] = blank + 1;
        location->pieces[location->count - 1] = arena_copy(arena, last, (size_t)(blank - last));
    }
}

static void take_country(struct location *location, struct arena *arena)
{
    const char *last = location->count > 0 ? location->pieces[location->count - 1] : "";

    /* "CA" behind a city is California, "Georgia" too. */
    if (place_country_code(fold(last, arena)) == NULL || is_state(last, arena))
        return;
    location->parts[INGEST_PART_COUNTRY] = last;
    location->count--;
}

/* The last piece when it is a state, or what stands before a country; also the end of the only piece: "Austin TX". */
static void take_state(struct location *location, struct arena *arena)
{
    const char *last = location->count > 0 ? location->pieces[location->count - 1] : "";
    const char *blank = strrchr(last, ' ');

    if (is_state(last, arena) || (location->parts[INGEST_PART_COUNTRY][0] != '\0' && location->count > 1)) {
        location->parts[INGEST_PART_STATE] = last;
        location->count--;
    } else if (blank != NULL && strlen(blank + 1) == 2 && is_state(blank + 1, arena)) {
        location->parts[INGEST_PART_STATE] = blank + 1;
        location->pieces[location->count - 1] = arena_copy(arena, last, (size_t)(blank - last));
    }
}

static const char *part_of_place(enum ingest_part part, const char *text, struct arena *arena)
{
    struct location location = {0};

    for (size_t i = 0; i < COUNT_OF(location.parts); i++)
        location.parts[i] = "";
    split(text, &location, arena);
    take_zip(&location, arena);
    take_country(&location, arena);
    if (location.parts[INGEST_PART_POSTAL_CODE][0] == '\0')
        take_zip(&location, arena);
    take_state(&location, arena);
    if (location.count > 0)
        location.parts[INGEST_PART_CITY] = location.pieces[location.count - 1];
    return location.parts[part];
}

const char *ingest_part_of(enum ingest_part part, const char *text, struct arena *arena)
{
    char *exact = NULL;
    size_t capacity = 0;
    size_t ignored = 0;

    if (part == INGEST_PART_NONE)
        return text;
    if (strlen(text) > INGEST_TEXT_SIZE_MAX)
        return "";
    if (part != INGEST_PART_FIRST_NAME && part != INGEST_PART_LAST_NAME)
        return part_of_place(part, text, arena);
    capacity = TEXT_CAPACITY(strlen(text));
    exact = arena_alloc(arena, capacity);
    if (!text_normalize(text, strlen(text), TEXT_EXACT, exact, capacity, &ignored))
        return "";
    char *blank = strchr(exact, ' ');
    if (part == INGEST_PART_LAST_NAME)
        return blank != NULL ? blank + 1 : "";
    if (blank != NULL)
        *blank = '\0';
    return exact;
}
