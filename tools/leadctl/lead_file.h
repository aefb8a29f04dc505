/* A file of leads on this machine: opened, read by src/ingest, its rows made leads by a mapping. */
#ifndef LEADCTL_LEAD_FILE_H
#define LEADCTL_LEAD_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "ingest/mapping.h"
#include "leadrouter/v1/leads.pb-c.h"
#include "options.h"

struct lead_file;

enum { LEAD_FILE_FINGERPRINT_SIZE = 65 };

struct lead_file_options {
    const char *path;                 /* Required; "-": standard input */
    const char *mapping;              /* a name that is built in, or a file; NULL: by the flags */
    const struct option_list *maps;   /* Required; without `mapping` */
    const struct option_list *blanks; /* Required; without `mapping` */
    const char *encoding;             /* NULL: found out */
    const char *delimiter;            /* NULL: found out; "tab", or one character */
    bool has_no_header;
    int stop_descriptor; /* once it is readable, reading stops; -1: none */
};

enum lead_file_step { LEAD_FILE_ROW, LEAD_FILE_END, LEAD_FILE_STOPPED, LEAD_FILE_FAILED };

/* Opens the file, the options of which are borrowed, and reads on until its columns are known. Errors: ERROR_SYSTEM, ERROR_INVALID,
 * ERROR_NOT_FOUND, as of the reader and the mapping; ERROR_CANCELLED when it was interrupted. */
bool lead_file_open(const struct lead_file_options *options, struct lead_file **ret_file, struct error *reterr_error);
void lead_file_close(struct lead_file *file); /* NULL is fine */

/* What tells this file, read in this way, from any other: 64 hexadecimal digits over its bytes, the mapping and the flags. Reads all of
 * it. `*ret_has` is false for what can be read only once, such as a pipe. Errors: ERROR_SYSTEM; ERROR_CANCELLED when it was interrupted. */
bool lead_file_fingerprint(struct lead_file *file, char ret_fingerprint[LEAD_FILE_FINGERPRINT_SIZE], bool *ret_has,
    struct error *reterr_error);

/* The next row. `*ret_row` is borrowed until the next call; one that is rejected counts as a row. */
enum lead_file_step lead_file_next(struct lead_file *file, struct ingest_row *ret_row, struct error *reterr_error);

/* The row that was read last as a lead in the arena; false with why it is none. */
bool lead_file_map(struct lead_file *file, const struct ingest_row *row, struct arena *arena,
    Leadrouter__V1__NewLead **ret_lead, struct ingest_rejection *ret_rejection);

/* What was found out about the file. Borrowed. */
const struct ingest_source *lead_file_source(const struct lead_file *file);

/* The byte behind the last row. */
int64_t lead_file_offset(const struct lead_file *file);

/* How many bytes it has; 0 when that is not known. */
int64_t lead_file_size(const struct lead_file *file);

/* Whether the file is no longer what was opened: somebody has written to it. */
bool lead_file_has_changed(const struct lead_file *file);

/* Whether `path` is the same file. */
bool lead_file_is(const struct lead_file *file, const char *path);

/* What was found out about it, when it is not what one would expect: "windows-1252, columns parted by ;"; "" otherwise. Borrowed. */
const char *lead_file_finding(const struct lead_file *file);

/* Proposes a mapping by the first rows of a file; the caller's, released with free(). Of the options `mapping`, `maps` and `blanks` do
 * not count. */
bool lead_file_suggest(const struct lead_file_options *options, char **ret_yaml, struct error *reterr_error);

#endif
