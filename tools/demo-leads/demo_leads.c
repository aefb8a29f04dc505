#include "demo_leads.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "names.h"

enum {
    TEXT_SIZE = 96,
    ONE_IN_COPIES = 8, /* how often somebody already invented is drawn; kept when another partner has them */
    PHONE_NOTATIONS = 4,
};

/* Somebody, and where they work. Texts that do not vary are borrowed from the tables. */
struct person {
    const char *first_name;
    char last_name[TEXT_SIZE];
    char company[TEXT_SIZE];
    char email[TEXT_SIZE * 4];
    char digits[TEXT_SIZE]; /* of the phone's `#`, in order */
    const struct place *place;
    const char *industry;
    const char *size;
    const char *revenue;
    const char *source;
    uint32_t partner; /* who had them first */
};

static const char *pick(struct random_sequence *random, const struct names *names)
{
    return names->items[random_below(random, names->count)];
}

/* `text` in lower case without blanks, as companies write themselves in a domain. */
static const char *plain(const char *text, char ret_text[TEXT_SIZE])
{
    size_t size = 0;

    for (; *text != '\0' && size + 1 < TEXT_SIZE; text++)
        if (isalnum((unsigned char)*text))
            ret_text[size++] = (char)tolower((unsigned char)*text);
    ret_text[size] = '\0';
    return ret_text;
}

static void invent(struct random_sequence *random, uint32_t number, uint32_t partner, struct person *ret_person)
{
    struct person person = {.partner = partner, .place = &places[random_below(random, place_count)]};
    char first[TEXT_SIZE];
    char last[TEXT_SIZE];
    char domain[TEXT_SIZE];

    person.first_name = pick(random, &first_names);
    snprintf(person.last_name, sizeof(person.last_name), "%s%s", pick(random, &last_name_heads),
        pick(random, &last_name_tails));
    snprintf(
        person.company, sizeof(person.company), "%s %s", pick(random, &company_heads), pick(random, &company_tails));
    /* with the number in it: two people never share an address */
    snprintf(person.email, sizeof(person.email), "%s.%s%u@%s.example", plain(person.first_name, first),
        plain(person.last_name, last), number, plain(person.company, domain));
    for (size_t i = 0; i < 8; i++)
        person.digits[i] = (char)('0' + random_below(random, 10));
    person.industry = pick(random, &industries);
    person.size = pick(random, &company_sizes);
    person.revenue = pick(random, &company_revenues);
    person.source = pick(random, &lead_sources);
    *ret_person = person;
}

/* The phone number in one of several notations that are one number. */
static void write_phone(const struct person *person, uint64_t notation, char *ret_text, size_t capacity)
{
    const char *pattern = person->place->phone;
    const char *digit = person->digits;
    size_t size = 0;
    bool is_local = notation == 1 && person->place->phone_local != NULL;

    if (is_local)
        pattern = person->place->phone_local;
    if (notation == 2) { /* 00 instead of + */
        ret_text[size++] = '0';
        ret_text[size++] = '0';
        pattern++;
    }
    for (; *pattern != '\0' && size + 1 < capacity; pattern++) {
        char c = *pattern == '#' ? *digit++ : *pattern;
        if (notation == 3 && c == ' ')
            c = '-';
        ret_text[size++] = c;
    }
    ret_text[size] = '\0';
}

/* Other case and other blanks around and inside, the same text after normalisation. */
static void write_loosely(struct random_sequence *random, const char *text, char *ret_text, size_t capacity)
{
    uint64_t style = random_below(random, 4);
    size_t size = 0;

    if (style == 3)
        ret_text[size++] = ' ';
    for (; *text != '\0' && size + 2 < capacity; text++) {
        unsigned char c = (unsigned char)*text;
        ret_text[size++] = (char)(style == 1 && c < 128 ? toupper(c) : style == 2 && c < 128 ? tolower(c) : c);
        if (style == 3 && c == ' ')
            ret_text[size++] = ' ';
    }
    ret_text[size] = '\0';
}

/* A CSV value in quotes (RFC 4180). */
static void write_value(FILE *output, const char *text, const char *end)
{
    fputc('"', output);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            fputc('"', output);
        fputc(*text, output);
    }
    fputc('"', output);
    fputs(end, output);
}

static void write_person(
    struct random_sequence *random, FILE *output, uint32_t record, const struct person *person, bool is_copy)
{
    char phone[TEXT_SIZE];
    char loose[TEXT_SIZE * 4];
    const char *const identity[] = {person->email, person->first_name, person->last_name, person->company};
    const struct place *place = person->place;

    fprintf(output, "R-%07u,", record);
    for (size_t i = 0; i < COUNT_OF(identity); i++) {
        if (is_copy)
            write_loosely(random, identity[i], loose, sizeof(loose));
        write_value(output, is_copy ? loose : identity[i], ",");
    }
    write_phone(person, is_copy ? random_below(random, PHONE_NOTATIONS) : 0, phone, sizeof(phone));
    write_value(output, phone, ",");
    write_value(output, person->industry, ",");
    write_value(output, person->size, ",");
    write_value(output, person->revenue, ",");
    write_value(output, place->country, ",");
    write_value(output, place->state, ",");
    write_value(output, place->city, ",");
    write_value(output, place->postal_code, ",");
    write_value(output, person->source, "\n");
}

static const char header[] = "external_id,email,first_name,last_name,company_name,phone,company_industry,company_size,"
                             "company_revenue,country,state,city,postal_code,source\n";

bool demo_leads_write(const struct demo_options *options, FILE *const *outputs, struct demo_counts *ret_counts,
    struct error *reterr_error)
{
    struct random_sequence random = random_sequence_from(options->seed);
    struct person *people = memory_new_array(options->leads, sizeof(*people));
    struct demo_counts counts = {.leads = options->leads};
    uint32_t people_count = 0;
    bool ok = true;

    assert(options->leads >= 1 && options->leads <= DEMO_LEADS_MAX);
    assert(options->partners >= 1 && options->partners <= DEMO_PARTNERS_MAX);
    for (uint32_t i = 0; i < options->partners; i++)
        fputs(header, outputs[i]);
    for (uint32_t i = 0; i < options->leads; i++) {
        uint32_t partner = (uint32_t)random_below(&random, options->partners);
        bool is_copy = people_count > 0 && random_below(&random, ONE_IN_COPIES) == 0;
        uint32_t who = is_copy ? (uint32_t)random_below(&random, people_count) : people_count;
        is_copy = is_copy && people[who].partner != partner;
        if (!is_copy) {
            who = people_count;
            invent(&random, i + 1, partner, &people[people_count++]);
        }
        counts.copies += is_copy ? 1 : 0;
        write_person(&random, outputs[partner], i + 1, &people[who], is_copy);
    }
    for (uint32_t i = 0; i < options->partners; i++)
        ok = fflush(outputs[i]) == 0 && ferror(outputs[i]) == 0 && ok;
    if (ok)
        *ret_counts = counts;
    else
        error_set(reterr_error, ERROR_SYSTEM, "could not write: %s", strerror(errno));
    free(people);
    return ok;
}
