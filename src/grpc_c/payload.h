/* The bytes of one message as the core hands them over, decompressed within a bound. Not for users of src/grpc_c.
 *
 * The core's own decompression has no bound (a megabyte may become a gigabyte before it is measured), so it is off
 * (GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION) and zlib does it here: gzip (RFC 1952) and deflate, which in HTTP is
 * the zlib format (RFC 1950). */
#ifndef GRPC_C_PAYLOAD_H
#define GRPC_C_PAYLOAD_H

#include <grpc/byte_buffer.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* The encodings that both ends take, as the bits of the core's channel argument. */
enum { PAYLOAD_ENCODINGS = (1 << GRPC_COMPRESS_NONE) | (1 << GRPC_COMPRESS_DEFLATE) | (1 << GRPC_COMPRESS_GZIP) };

/* The message's bytes as one slice, the caller's. `ret_was_compressed` may be NULL. Errors: ERROR_FULL when there are
 * more than `size_max` bytes, ERROR_INVALID when they cannot be read or decompressed; the text begins with `what`. */
bool payload_read(grpc_byte_buffer *buffer, size_t size_max, const char *what, grpc_slice *ret_slice,
    bool *ret_was_compressed, struct error *reterr_error);

#endif
