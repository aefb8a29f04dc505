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

struct lead_file_options {
    const char *path;                 /* Required */
    const char *mapping;              /* a name that is built in, or a file; NULL: by the flags */
    const struct option_list *maps;   /* Required; without `mapping` */
    const struct option_list *blanks; /* Required; without `mapping` */
    const char *encoding;             /* NULL: found out */
    const char *delimiter;            /* NULL: found out; "tab", or one character */
    bool has_no_header;
};

enum lead_file_step { LEAD_FILE_LEAD, LEAD_FILE_REJECTED, LEAD_FILE_END, LEAD_FILE_FAILED };

/* Opens the file, the options of which are borrowed, and reads on until its columns are known. Errors: ERROR_SYSTEM, ERROR_INVALID,
 * ERROR_NOT_FOUND, as of the reader and the mapping. */
bool lead_file_open(const struct lead_file_options *options, struct lead_file **ret_file, struct error *reterr_error);
void lead_file_close(struct lead_file *file); /* NULL is fine */

/* The next row: a lead in the arena, or why it is none. `*ret_line` is where it begins. */
enum lead_file_step lead_file_next(struct lead_file *file, struct arena *arena, Leadrouter__V1__NewLead **ret_lead,
    uint64_t *ret_line, struct ingest_rejection *ret_rejection, struct error *reterr_error);

/* How much of the file is behind, 0 to 1; below 0 when its size is not known. */
double lead_file_fraction(const struct lead_file *file);

/* What was found out about it, when it is not what one would expect: "windows-1252, columns parted by ;"; "" otherwise. Borrowed. */
const char *lead_file_finding(const struct lead_file *file);

/* Proposes a mapping by the first rows of a file; the caller's, released with free(). Of the options `mapping`, `maps` and `blanks` do
 * not count. */
bool lead_file_suggest(const struct lead_file_options *options, char **ret_yaml, struct error *reterr_error);

#endif
