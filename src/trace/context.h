/* Where a call stands in a trace: W3C Trace Context (w3.org/TR/trace-context), as `traceparent` carries it. */
#ifndef TRACE_CONTEXT_H
#define TRACE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRACE_ID_SIZE = 16, TRACE_SPAN_ID_SIZE = 8, TRACE_ID_TEXT_SIZE = 33, TRACE_SPAN_ID_TEXT_SIZE = 17 };

/* Ids of zero bytes are none. */
struct trace_context {
    uint8_t trace_id[TRACE_ID_SIZE];
    uint8_t parent_id[TRACE_SPAN_ID_SIZE]; /* the caller's span */
    uint8_t span_id[TRACE_SPAN_ID_SIZE];   /* the call's own; none while it is not sampled */
    bool is_parent_sampled;                /* the caller says that its span is */
    bool is_sampled;                       /* spans of the call are exported */
};

/* Reads a traceparent: of version 00 exactly, of later ones what 00 has of it. False, and nothing is written, for what is none: wrong
 * lengths, upper case, ids of zeros, version ff. */
bool trace_context_parse(const char *text, size_t size, struct trace_context *ret_context);

/* True when there is a trace. */
bool trace_context_is_set(const struct trace_context *context);

/* Ids as lower-case hexadecimal digits and a NUL; return `ret_text`. */
char *trace_id_format(const uint8_t id[TRACE_ID_SIZE], char ret_text[TRACE_ID_TEXT_SIZE]);
char *trace_span_id_format(const uint8_t id[TRACE_SPAN_ID_SIZE], char ret_text[TRACE_SPAN_ID_TEXT_SIZE]);

#endif
