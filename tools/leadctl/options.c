#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/nearest.h"
#include "base/uuid.h"
#include "command.h"
#include "settings.h"

enum {
    WORD_SIZE_MAX = 40,
    OPTION_FIRST = 256,
    COMMON_FIRST = 1024 /* what getopt_long() gives for the first */
};

#define COMMON(field) offsetof(struct arguments, common.field)

const struct option_spec common_flags[] = {
    {.name = "target",
        .placeholder = "HOST:PORT",
        .help = "server to ask",
        .offset = COMMON(target),
        .is_setting = true},
    {.name = "tls-ca",
        .placeholder = "FILE",
        .help = "use TLS, and believe servers that this CA signed",
        .kind = OPTION_FILE,
        .offset = COMMON(tls_ca),
        .is_setting = true},
    {.name = "tls-certificate",
        .placeholder = "FILE",
        .help = "certificate to show",
        .kind = OPTION_FILE,
        .offset = COMMON(tls_certificate),
        .is_setting = true},
    {.name = "tls-key",
        .placeholder = "FILE",
        .help = "its private key",
        .kind = OPTION_FILE,
        .offset = COMMON(tls_key),
        .is_setting = true},
    {.name = "tls-server-name",
        .placeholder = "NAME",
        .help = "name the server must have, if not the target's",
        .offset = COMMON(tls_server_name),
        .is_setting = true},
    {.name = "token-file",
        .placeholder = "FILE",
        .help = "file with the token to show",
        .kind = OPTION_FILE,
        .offset = COMMON(token_file),
        .is_setting = true},
    {.name = "profile",
        .placeholder = "NAME",
        .help = "take what is not said from this profile of leadctl.yaml; LEADROUTER_PROFILE",
        .offset = COMMON(profile)},
    {.name = "no-color",
        .help = "no colours; nor with NO_COLOR, or where output is no terminal",
        .kind = OPTION_SWITCH,
        .offset = COMMON(no_color)},
    {.name = "json", .help = "print JSON for programs", .kind = OPTION_SWITCH, .offset = COMMON(json)},
    {.name = "help", .help = "show this", .kind = OPTION_SWITCH, .offset = COMMON(help)},
};
const size_t common_flag_count = COUNT_OF(common_flags);

enum { OPTIONS_MAX = 16, LONG_OPTIONS_MAX = OPTIONS_MAX + COUNT_OF(common_flags) + 1 };

/* --- Words -------------------------------------------------------------------------------------------------------- */

size_t word_index(const char *const *words, const char *word)
{
    size_t i = 0;

    while (words[i] != NULL && strcmp(words[i], word) != 0)
        i++;
    return i;
}

/* --- Values ------------------------------------------------------------------------------------------------------- */

static void *place_of(const struct option_spec *spec, struct arguments *arguments)
{
    return (char *)arguments + spec->offset;
}

/* Says what a value must be; `lead` is "--limit" or what the word of the command line is. */
static bool wrong_word(const char *lead, const struct option_spec *spec, const char *text)
{
    size_t count = 0;
    const char *nearest = NULL;

    fprintf(stderr, "leadctl: %s: \"%s\" is none of ", lead, text);
    for (; spec->words[count] != NULL; count++)
        fprintf(stderr, "%s%s", count == 0 ? "" : ", ", spec->words[count]);
    nearest = nearest_word(text, spec->words, count);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean %s?", nearest);
    fputc('\n', stderr);
    return false;
}

static bool check_number(const char *lead, const struct option_spec *spec, const char *text, int *ret_number)
{
    char *end = NULL;

    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < spec->least || number > spec->most) {
        fprintf(stderr, "leadctl: %s: \"%s\" is not a number from %d to %d\n", lead, text, spec->least, spec->most);
        return false;
    }
    *ret_number = (int)number;
    return true;
}

bool option_check(const char *lead, const struct option_spec *spec, const char *text)
{
    struct uuid ignored;
    int number = 0;

    if (spec->kind == OPTION_ID && !uuid_parse(text, &ignored)) {
        fprintf(stderr, "leadctl: %s: \"%s\" is not a UUID\n", lead, text);
        return false;
    }
    if (spec->kind == OPTION_WORD && spec->words[word_index(spec->words, text)] == NULL)
        return wrong_word(lead, spec, text);
    return spec->kind != OPTION_NUMBER || check_number(lead, spec, text, &number);
}

static bool set(const struct option_spec *spec, const char *text, struct arguments *arguments)
{
    void *place = place_of(spec, arguments);
    struct option_list *list = place;
    char lead[WORD_SIZE_MAX];

    snprintf(lead, sizeof(lead), "--%s", spec->name);
    if (spec->kind != OPTION_SWITCH && !option_check(lead, spec, text))
        return false;
    switch (spec->kind) {
    case OPTION_SWITCH:
        *(bool *)place = true;
        return true;
    case OPTION_LIST:
        list->values = memory_resize(list->values, list->count + 1, sizeof(*list->values));
        list->values[list->count++] = text;
        return true;
    case OPTION_NUMBER:
        return check_number(lead, spec, text, place);
    case OPTION_TEXT:
    case OPTION_FILE:
    case OPTION_ID:
    case OPTION_WORD:
        *(const char **)place = text;
        return true;
    }
    return false;
}

/* --- Parsing ------------------------------------------------------------------------------------------------------ */

/* The reason, with what may have been meant. */
static void wrong_flag(const struct command *command, int option, const char *typed)
{
    const char *names[LONG_OPTIONS_MAX];
    size_t name_count = 0;
    const char *nearest = NULL;

    if (option == ':') {
        fprintf(stderr, "leadctl: %s: needs a value\n", typed);
        return;
    }
    for (size_t i = 0; i < command->flag_count; i++)
        names[name_count++] = command->flags[i].name;
    for (size_t i = 0; i < common_flag_count; i++)
        names[name_count++] = common_flags[i].name;
    nearest = nearest_word(typed + strspn(typed, "-"), names, name_count);
    fprintf(stderr, "leadctl: %s: no such flag", typed);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean --%s?\n", nearest);
    else
        fprintf(stderr, "; leadctl %s --help lists those that there are\n", command->name);
}

static void make_long_options(const struct command *command, struct option *ret_options)
{
    size_t count = 0;

    for (size_t i = 0; i < command->flag_count; i++)
        ret_options[count++] = (struct option){command->flags[i].name,
            command->flags[i].kind == OPTION_SWITCH ? no_argument : required_argument, NULL, (int)(OPTION_FIRST + i)};
    for (size_t i = 0; i < common_flag_count; i++)
        ret_options[count++] = (struct option){common_flags[i].name,
            common_flags[i].kind == OPTION_SWITCH ? no_argument : required_argument, NULL, (int)(COMMON_FIRST + i)};
    ret_options[count] = (struct option){0};
}

static bool take_operand(const struct command *command, const char *word, struct arguments *arguments)
{
    const struct option_spec *operand = &command->operand;
    size_t most = operand->name == NULL ? 0 : operand->words_max == 0 ? 1 : operand->words_max;

    if (arguments->operand_count == most) {
        fprintf(stderr, "leadctl: \"%s\": not expected here; see leadctl %s --help\n", word, command->name);
        return false;
    }
    if (!option_check(operand->name, operand, word))
        return false;
    arguments->operands =
        memory_resize(arguments->operands, arguments->operand_count + 1, sizeof(*arguments->operands));
    arguments->operands[arguments->operand_count++] = word;
    arguments->operand = arguments->operands[0];
    return true;
}

static bool is_missing(const struct option_spec *spec, struct arguments *arguments)
{
    if (!spec->is_needed)
        return false;
    return spec->kind == OPTION_NUMBER ? *(int *)place_of(spec, arguments) == spec->standard
                                       : *(const char **)place_of(spec, arguments) == NULL;
}

/* Whether all is there that must be; the first that is not was named if not. */
static bool is_complete(const struct command *command, struct arguments *arguments)
{
    if (command->operand.is_needed && arguments->operand_count == 0) {
        fprintf(stderr, "leadctl: %s needs %s: %s\n", command->name, command->operand.name, command->operand.help);
        return false;
    }
    for (size_t i = 0; i < command->flag_count; i++) {
        const struct option_spec *spec = &command->flags[i];
        if (is_missing(spec, arguments)) {
            fprintf(
                stderr, "leadctl: %s needs --%s %s: %s\n", command->name, spec->name, spec->placeholder, spec->help);
            return false;
        }
    }
    return true;
}

static enum options_result read_flags(const struct command *command, const struct option *long_options, int argc,
    char **argv, struct arguments *arguments)
{
    int option = 0;

    optind = 0; /* all of getopt's state anew */
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        if (option == 'h')
            arguments->common.help = true;
        else if (option == '?' || option == ':') {
            wrong_flag(command, option, argv[optind - 1]);
            return OPTIONS_WRONG;
        } else if (!set(option >= COMMON_FIRST ? &common_flags[option - COMMON_FIRST]
                                               : &command->flags[option - OPTION_FIRST],
                       optarg, arguments))
            return OPTIONS_WRONG;
    }
    return OPTIONS_OK;
}

enum options_result arguments_parse(
    const struct command *command, int argc, char **argv, struct arguments *ret_arguments)
{
    struct option long_options[LONG_OPTIONS_MAX];

    *ret_arguments = (struct arguments){.command = command};
    for (size_t i = 0; i < command->flag_count; i++)
        if (command->flags[i].kind == OPTION_NUMBER)
            *(int *)place_of(&command->flags[i], ret_arguments) = command->flags[i].standard;
    make_long_options(command, long_options);
    if (read_flags(command, long_options, argc, argv, ret_arguments) != OPTIONS_OK)
        return OPTIONS_WRONG;
    if (ret_arguments->common.help)
        return OPTIONS_HELP_WANTED;
    for (int i = optind; i < argc; i++)
        if (!take_operand(command, argv[i], ret_arguments))
            return OPTIONS_WRONG;
    if (!settings_complete(ret_arguments) || !is_complete(command, ret_arguments))
        return OPTIONS_WRONG;
    return OPTIONS_OK;
}

void arguments_release(struct arguments *arguments)
{
    settings_release(arguments);
    free(arguments->operands);
    free(arguments->blanks.values);
    free(arguments->maps.values);
    free(arguments->selected.values);
    *arguments = (struct arguments){0};
}
