#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { OPTIONS_MAX = 16, WORD_SIZE_MAX = 40 };

static const char TARGET_DEFAULT[] = "127.0.0.1:7450";

/* Edits between two short words: insertions, deletions, replacements (Wagner and Fischer, 1974). */
static size_t edit_distance(const char *left, const char *right)
{
    size_t row[WORD_SIZE_MAX + 1];
    size_t right_size = strlen(right);

    if (right_size > WORD_SIZE_MAX)
        return WORD_SIZE_MAX;
    for (size_t j = 0; j <= right_size; j++)
        row[j] = j;
    for (size_t i = 1; left[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= right_size; j++) {
            size_t best = diagonal + (left[i - 1] == right[j - 1] ? 0 : 1);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[right_size];
}

const char *nearest_word(const char *typed, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t nearest_distance = 3;

    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(typed, words[i]);
        if (distance < nearest_distance) {
            nearest = words[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}

static void show_flag(const char *name, const char *placeholder, const char *help)
{
    char flag[64];

    snprintf(
        flag, sizeof(flag), "--%s%s%s", name, placeholder == NULL ? "" : " ", placeholder == NULL ? "" : placeholder);
    printf("  %-22s %s\n", flag, help);
}

static void show_help(const char *usage, const struct option_spec *specs, size_t count)
{
    printf("%s\n\nFlags:\n", usage);
    for (size_t i = 0; i < count; i++)
        show_flag(specs[i].name, specs[i].placeholder, specs[i].help);
    show_flag("target", "HOST:PORT", "server to ask; LEADROUTER_TARGET, default 127.0.0.1:7450");
    show_flag("json", NULL, "print JSON for programs");
    show_flag("help", NULL, "show this");
}

static bool set_number(const struct option_spec *spec, const char *text)
{
    char *end = NULL;

    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < spec->least || number > spec->most) {
        fprintf(
            stderr, "leadctl: --%s: \"%s\" is not a number from %d to %d\n", spec->name, text, spec->least, spec->most);
        return false;
    }
    *(int *)spec->value = (int)number;
    return true;
}

static bool set(const struct option_spec *spec, const char *text)
{
    struct option_list *list = spec->value;

    switch (spec->kind) {
    case OPTION_SWITCH:
        *(bool *)spec->value = true;
        return true;
    case OPTION_TEXT:
        *(const char **)spec->value = text;
        return true;
    case OPTION_NUMBER:
        return set_number(spec, text);
    case OPTION_LIST:
        list->values = memory_resize(list->values, list->count + 1, sizeof(*list->values));
        list->values[list->count++] = text;
        return true;
    }
    return false;
}

/* The reason, with what may have been meant. */
static void wrong_flag(const struct option_spec *specs, size_t count, int option, const char *typed)
{
    const char *names[OPTIONS_MAX + 3] = {"target", "json", "help"};
    const char *nearest = NULL;

    if (option == ':') {
        fprintf(stderr, "leadctl: %s: needs a value\n", typed);
        return;
    }
    for (size_t i = 0; i < count; i++)
        names[3 + i] = specs[i].name;
    nearest = nearest_word(typed + strspn(typed, "-"), names, 3 + count);
    fprintf(stderr, "leadctl: %s: no such flag", typed);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean --%s?", nearest);
    fputc('\n', stderr);
}

static void make_long_options(const struct option_spec *specs, size_t count, struct option *ret_options)
{
    for (size_t i = 0; i < count; i++)
        ret_options[i] = (struct option){
            specs[i].name, specs[i].kind == OPTION_SWITCH ? no_argument : required_argument, NULL, (int)(256 + i)};
    ret_options[count] = (struct option){"target", required_argument, NULL, 't'};
    ret_options[count + 1] = (struct option){"json", no_argument, NULL, 'j'};
    ret_options[count + 2] = (struct option){"help", no_argument, NULL, 'h'};
    ret_options[count + 3] = (struct option){0};
}

enum options_result options_parse(const char *usage, const struct option_spec *specs, size_t spec_count, int argc,
    char **argv, struct common_options *ret_common, const char **ret_operands, size_t operand_max,
    size_t *ret_operand_count)
{
    struct option long_options[OPTIONS_MAX + 4];
    const char *target = getenv("LEADROUTER_TARGET");
    int option = 0;

    *ret_common = (struct common_options){.target = target == NULL || target[0] == '\0' ? TARGET_DEFAULT : target};
    *ret_operand_count = 0;
    make_long_options(specs, spec_count, long_options);
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        switch (option) {
        case 'h':
            show_help(usage, specs, spec_count);
            return OPTIONS_HELP_SHOWN;
        case 't':
            ret_common->target = optarg;
            break;
        case 'j':
            ret_common->json = true;
            break;
        case '?':
        case ':':
            wrong_flag(specs, spec_count, option, argv[optind - 1]);
            return OPTIONS_WRONG;
        default:
            if (!set(&specs[option - 256], optarg))
                return OPTIONS_WRONG;
        }
    }
    for (; optind < argc; optind++) {
        if (*ret_operand_count == operand_max) {
            fprintf(stderr, "leadctl: \"%s\": not expected here; see --help\n", argv[optind]);
            return OPTIONS_WRONG;
        }
        ret_operands[(*ret_operand_count)++] = argv[optind];
    }
    return OPTIONS_OK;
}
