/* Files that hold secrets: keys, tokens, the database's URL. Read whole, judged by who else may read them, wiped after use. */
#ifndef BASE_SECRET_FILE_H
#define BASE_SECRET_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { SECRET_FILE_SIZE_MAX = 1024 * 1024 };

/* What was read; zeroed: nothing. */
struct secret_file {
    char *text;          /* with a NUL behind it that does not count */
    size_t size;         /* without that NUL; the text may hold others */
    bool is_open_to_all; /* everybody on the machine may read or change the file */
};

/* Reads a regular file of at most SECRET_FILE_SIZE_MAX bytes, without waiting for anybody at its other end. Released with
 * secret_file_wipe(). Errors name the file and never its content: ERROR_SYSTEM, ERROR_INVALID. */
bool secret_file_read(const char *path, struct secret_file *ret_file, struct error *reterr_error);

/* True unless everybody on the machine may read or change the file; otherwise ERROR_INVALID, which says what to do. For files
 * whose content turned out to be a secret, or always is. */
bool secret_file_check(const struct secret_file *file, const char *path, struct error *reterr_error);

/* Reads the first word of a file that others may not read: a token, a password. Errors as above, and ERROR_INVALID without one. */
bool secret_file_read_word(const char *path, struct secret_file *ret_file, struct error *reterr_error);

/* Overwrites and frees what was read; zeroed and released ones are fine. */
void secret_file_wipe(struct secret_file *file);

/* Overwrites and frees `size` bytes of the heap; NULL is fine. */
void secret_wipe(void *bytes, size_t size);

#endif
