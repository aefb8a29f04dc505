/* Text with $names$ in it that stand for other text: what generated code is written with. Not thread safe. */
#ifndef PROTOC_GEN_GRPC_C_TEMPLATE_H
#define PROTOC_GEN_GRPC_C_TEMPLATE_H

#include <stddef.h>

#include "base/buffer.h"

/* A name and what it stands for. Borrowed. */
struct template_value {
    const char *name;
    const char *text;
};

/* Appends `text` with each $name$ replaced. A name that is not among the values is a bug of ours: it ends the
 * process. When the buffer is full it says so itself (`overflowed`). */
void template_print(struct buffer *out, const char *text, const struct template_value *values, size_t count);

/* Appends a comment of the .proto (as protoc gives it: lines, each with a blank in front) as lines of a C comment, each
 * begun by `indent` and " *"; NULL and "" append nothing. What would end a C comment or start another is parted by a
 * blank. */
void template_print_comment(struct buffer *out, const char *indent, const char *comment);

#endif
