/* Flags of a command, as a table: parsing, help, completion and the manual come from it. */
#ifndef LEADCTL_OPTIONS_H
#define LEADCTL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum option_kind {
    OPTION_TEXT,
    OPTION_FILE,   /* a text that is the name of a file */
    OPTION_ID,     /* a UUID */
    OPTION_WORD,   /* one of a few words */
    OPTION_NUMBER, /* a whole number within bounds */
    OPTION_LIST,   /* a text that may be given several times */
    OPTION_SWITCH, /* takes no value */
};

/* Values of a flag that may be given several times. */
struct option_list {
    const char **values; /* point into argv */
    size_t count;
};

/* A flag, or what a command's other words are. */
struct option_spec {
    const char *name;        /* without dashes */
    const char *placeholder; /* NULL for switches */
    const char *help;
    enum option_kind kind;
    size_t offset;   /* in struct arguments: const char *, int, bool or struct option_list */
    bool is_needed;  /* the command does not go without it */
    bool is_setting; /* the environment and profiles may give it too (settings.h) */
    int least;       /* numbers only: the bounds, and what counts when it is not given */
    int most;
    int standard;
    const char *const *words; /* of OPTION_WORD; the last is NULL */
    size_t words_max;         /* of what is no flag: how many may be given; 0 is 1 */
};

/* What every command has. */
struct common_options {
    const char *profile; /* NULL: none was named */
    const char *target;
    const char *tls_ca;          /* NULL: plain text */
    const char *tls_certificate; /* this one and the rest: NULL: none */
    const char *tls_key;
    const char *tls_server_name;
    const char *token_file; /* NULL: none */
    bool json;
    bool no_color;
    bool help;
};

/* What a command line says. Texts are NULL, or point into argv, when the flag was not given; switches are false, numbers their
 * standard. Which of them a command has is in its table of flags. */
struct arguments {
    const struct command *command;
    struct common_options common;
    const char *operand; /* the first word that is no flag, or NULL */
    const char **operands;
    size_t operand_count;

    const char *audience, *before, *conditions, *delimiter, *destination, *email, *encoding, *errors, *expect,
        *external_id, *file, *from, *id, *issuer, *key, *key_id, *mapping, *name, *note, *policy, *prometheus,
        *prometheus_ca, *prometheus_certificate, *prometheus_key, *prometheus_token_file, *prometheus_user, *reason,
        *role, *source, *status, *subject, *type, *user, *window, *workspace;
    struct option_list blanks, maps, selected;
    struct profile *profile; /* owns texts that came from one */
    int batch, expires, limit, max_attempts, patience, priority, timeout, version;
    bool is_active, is_again, is_inactive, is_dry, is_due, is_forced, is_quiet, is_received, is_resumed, has_no_header,
        is_routed, is_suggested, is_sure;
};

/* A number that is not given and has no standard. */
enum { NOT_GIVEN = -2147483647 - 1 };

enum options_result { OPTIONS_OK, OPTIONS_HELP_WANTED, OPTIONS_WRONG };

/* Flags that every command has. */
extern const struct option_spec common_flags[];
extern const size_t common_flag_count;

/* Reads the flags and other words of argv[1…], and from the environment what they do not say. On OPTIONS_WRONG the reason was written to
 * standard error. Released with arguments_release() whatever comes back. */
enum options_result arguments_parse(
    const struct command *command, int argc, char **argv, struct arguments *ret_arguments);

/* Frees what parsing took; zeroed is fine. */
void arguments_release(struct arguments *arguments);

/* Whether a value is what a flag's must be; if not, the reason was written, beginning with `lead` ("--limit"). */
bool option_check(const char *lead, const struct option_spec *spec, const char *text);

/* Place of a word in a list that NULL ends; its length when it is not in it. */
size_t word_index(const char *const *words, const char *word);

#endif
