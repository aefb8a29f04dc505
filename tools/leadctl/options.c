#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { OPTIONS_MAX = 16, WORD_SIZE_MAX = 40 };

/* Text that every command takes, from a flag or else from the environment. The variables of the client's certificate
 * are not those of leadrouterd: both programs may have one environment. */
static const struct {
    const char *name;
    const char *placeholder;
    const char *variable;
    const char *standard; /* default; NULL: none */
    const char *help;
    size_t offset; /* in struct common_options */
} texts[] = {
    {"target", "HOST:PORT", "LEADROUTER_TARGET", "127.0.0.1:7450",
        "server to ask; LEADROUTER_TARGET, default 127.0.0.1:7450", offsetof(struct common_options, target)},
    {"tls-ca", "FILE", "LEADROUTER_TLS_CA", NULL, "use TLS, and believe servers that this CA signed; LEADROUTER_TLS_CA",
        offsetof(struct common_options, tls_ca)},
    {"tls-certificate", "FILE", "LEADROUTER_TLS_CLIENT_CERTIFICATE", NULL,
        "certificate to show; LEADROUTER_TLS_CLIENT_CERTIFICATE", offsetof(struct common_options, tls_certificate)},
    {"tls-key", "FILE", "LEADROUTER_TLS_CLIENT_KEY", NULL, "its private key; LEADROUTER_TLS_CLIENT_KEY",
        offsetof(struct common_options, tls_key)},
    {"tls-server-name", "NAME", "LEADROUTER_TLS_SERVER_NAME", NULL,
        "name the server must have, if not the target's; LEADROUTER_TLS_SERVER_NAME",
        offsetof(struct common_options, tls_server_name)},
    {"token-file", "FILE", "LEADROUTER_TOKEN_FILE", NULL, "file with the token to show; LEADROUTER_TOKEN_FILE",
        offsetof(struct common_options, token_file)},
};

enum { TEXT_OPTION = 1024 }; /* what getopt_long() gives for the first of them */

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
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        show_flag(texts[i].name, texts[i].placeholder, texts[i].help);
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
    const char *names[OPTIONS_MAX + COUNT_OF(texts) + 2] = {"json", "help"};
    size_t name_count = 2;
    const char *nearest = NULL;

    if (option == ':') {
        fprintf(stderr, "leadctl: %s: needs a value\n", typed);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        names[name_count++] = texts[i].name;
    for (size_t i = 0; i < count; i++)
        names[name_count++] = specs[i].name;
    nearest = nearest_word(typed + strspn(typed, "-"), names, name_count);
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
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        ret_options[count++] = (struct option){texts[i].name, required_argument, NULL, (int)(TEXT_OPTION + i)};
    ret_options[count++] = (struct option){"json", no_argument, NULL, 'j'};
    ret_options[count++] = (struct option){"help", no_argument, NULL, 'h'};
    ret_options[count] = (struct option){0};
}

static void set_text(struct common_options *common, size_t index, const char *value)
{
    *(const char **)(void *)((char *)common + texts[index].offset) = value;
}

static struct common_options common_from_environment(void)
{
    struct common_options common = {0};

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const char *value = getenv(texts[i].variable);
        set_text(&common, i, value == NULL || value[0] == '\0' ? texts[i].standard : value);
    }
    return common;
}

enum options_result options_parse(const char *usage, const struct option_spec *specs, size_t spec_count, int argc,
    char **argv, struct common_options *ret_common, const char **ret_operands, size_t operand_max,
    size_t *ret_operand_count)
{
    struct option long_options[OPTIONS_MAX + COUNT_OF(texts) + 3];
    int option = 0;

    *ret_common = common_from_environment();
    *ret_operand_count = 0;
    make_long_options(specs, spec_count, long_options);
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        switch (option) {
        case 'h':
            show_help(usage, specs, spec_count);
            return OPTIONS_HELP_SHOWN;
        case 'j':
            ret_common->json = true;
            break;
        case '?':
        case ':':
            wrong_flag(specs, spec_count, option, argv[optind - 1]);
            return OPTIONS_WRONG;
        default:
            if (option >= TEXT_OPTION)
                set_text(ret_common, (size_t)(option - TEXT_OPTION), optarg);
            else if (!set(&specs[option - 256], optarg))
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
