/* What a collector wants to see besides spans, such as a key of its owner's: lines `name: value` of a file, which are secrets. */
#ifndef SERVER_TRACE_HEADERS_H
#define SERVER_TRACE_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/secret_file.h"
#include "grpc_c/types.h"

enum { TRACE_HEADERS_MAX = 16 };

/* Zeroed: none. Names and values point into the file. */
struct trace_headers {
    struct secret_file file;
    struct grpc_c_metadata entries[TRACE_HEADERS_MAX];
    size_t count;
};

/* Reads a file of which each line is `name: value`, empty, or begins with #. Released with trace_headers_wipe(). Errors name
 * the file and the line, never what is in it: ERROR_SYSTEM; ERROR_INVALID for a file that everybody may read, for a name
 * that is none of gRPC's or belongs to it (grpc-…), a value that is not visible ASCII, more than TRACE_HEADERS_MAX. */
bool trace_headers_read(const char *path, struct trace_headers *ret_headers, struct error *reterr_error);

/* Overwrites and frees what was read; zeroed and released ones are fine. */
void trace_headers_wipe(struct trace_headers *headers);

#endif
