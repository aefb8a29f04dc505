/* Flags of a command, as a table: parsing and help come from it. */
#ifndef LEADCTL_OPTIONS_H
#define LEADCTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_SWITCH, OPTION_LIST };

/* Values of a flag that may be given several times. */
struct option_list {
    const char **values; /* point into argv; released by the caller with free() */
    size_t count;
};

struct option_spec {
    const char *name;        /* without dashes */
    const char *placeholder; /* NULL for switches */
    const char *help;
    enum option_kind kind;
    void *value; /* const char **, int *, bool * or struct option_list * */
    int least;   /* numbers only */
    int most;
};

/* What every command has. */
struct common_options {
    const char *target;
    const char *tls_ca;          /* NULL: plain text */
    const char *tls_certificate; /* this one and the rest: NULL: none */
    const char *tls_key;
    const char *tls_server_name;
    const char *token_file; /* NULL: none */
    bool json;
};

enum options_result { OPTIONS_OK, OPTIONS_HELP_SHOWN, OPTIONS_WRONG };

/* Reads the flags of argv[1…] and the words that are none, at most `operand_max`, into `ret_operands`. --target,
 * those about TLS, --json and --help are known to every command. `usage` comes before the flags in the help. On OPTIONS_WRONG the
 * reason was written to standard error. */
enum options_result options_parse(const char *usage, const struct option_spec *specs, size_t spec_count, int argc,
    char **argv, struct common_options *ret_common, const char **ret_operands, size_t operand_max,
    size_t *ret_operand_count);

/* The known word nearest to a mistyped one (fewest edits, at most 2), or NULL. */
const char *nearest_word(const char *typed, const char *const *words, size_t count);

#endif
