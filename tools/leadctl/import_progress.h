/* How an import goes on, for who watches: a bar on a terminal, a line every now and then elsewhere. */
#ifndef LEADCTL_IMPORT_PROGRESS_H
#define LEADCTL_IMPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct import_progress;

/* Starts to show. Never fails: without a thread nothing is shown. `is_quiet`: only what import_progress_say() is given. */
struct import_progress *import_progress_new(bool is_quiet);

/* Takes the bar away and releases. NULL is fine. */
void import_progress_free(struct import_progress *progress);

/* Where the import begins in this run: bytes of the file that are behind, of how many (0: not known). From here on there is a rate. */
void import_progress_begin(struct import_progress *progress, int64_t offset, int64_t size);

/* So many rows more are in, up to that byte. */
void import_progress_add(struct import_progress *progress, int64_t rows, int64_t offset);

/* What it waits for; NULL: nothing. Copied. */
void import_progress_wait(struct import_progress *progress, const char *what);

/* Writes a line to standard error, "leadctl: " in front, and the bar anew under it. */
void import_progress_say(struct import_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
