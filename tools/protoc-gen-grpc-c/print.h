/* The two files that are made of one .proto, as text. Each appends to `out`; when that is full it says so itself. */
#ifndef PROTOC_GEN_GRPC_C_PRINT_H
#define PROTOC_GEN_GRPC_C_PRINT_H

#include "base/buffer.h"
#include "model.h"

/* The header: declarations, with the comments of the .proto. */
void print_header(struct buffer *out, const struct file_model *file);

/* The source: descriptors, adapters and stubs. */
void print_source(struct buffer *out, const struct file_model *file);

#endif
