#include "grpc_c/payload.h"

#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/memory.h"

enum {
    DETECT_FORMAT = 32 + MAX_WBITS, /* gzip or zlib, by the header: zlib.h, inflateInit2 */
    INFLATE_FIRST_SIZE = 4096,
};

static bool read_raw(grpc_byte_buffer *buffer, grpc_slice *ret_slice)
{
    grpc_byte_buffer_reader reader;

    if (buffer->data.raw.slice_buffer.count == 1) { /* the usual case, and no copy */
        *ret_slice = grpc_slice_ref(buffer->data.raw.slice_buffer.slices[0]);
        return true;
    }
    if (grpc_byte_buffer_reader_init(&reader, buffer) == 0)
        return false;
    *ret_slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    return true;
}

static bool too_large(const char *what, size_t size_max, struct error *reterr_error)
{
    return error_set(reterr_error, ERROR_FULL, "%s has more than %zu bytes, the bound", what, size_max);
}

/* Inflates into one slice. The output grows by doubling up to one byte over the bound, which tells too much from just
 * enough. */
static bool inflate_slice(
    grpc_slice packed, size_t size_max, const char *what, grpc_slice *ret_slice, struct error *reterr_error)
{
    z_stream stream = {.next_in = GRPC_SLICE_START_PTR(packed), .avail_in = (uInt)GRPC_SLICE_LENGTH(packed)};
    size_t capacity = size_max < INFLATE_FIRST_SIZE ? size_max + 1 : INFLATE_FIRST_SIZE;
    unsigned char *bytes = NULL;
    int outcome = inflateInit2(&stream, DETECT_FORMAT);
    bool ok = false;

    if (outcome != Z_OK)
        return error_set(reterr_error, ERROR_SYSTEM, "zlib could not start");
    bytes = memory_resize(NULL, capacity, 1);
    while (outcome == Z_OK) {
        stream.next_out = bytes + stream.total_out;
        stream.avail_out = (uInt)(capacity - stream.total_out);
        outcome = inflate(&stream, Z_NO_FLUSH);
        if (outcome != Z_OK || stream.avail_out > 0 || capacity > size_max)
            break;
        capacity = capacity > size_max / 2 ? size_max + 1 : capacity * 2;
        bytes = memory_resize(bytes, capacity, 1);
    }
    if (stream.total_out > size_max)
        too_large(what, size_max, reterr_error);
    else if (outcome != Z_STREAM_END || stream.avail_in > 0)
        error_set(reterr_error, ERROR_INVALID, "%s cannot be decompressed", what);
    else
        ok = true;
    if (ok)
        *ret_slice = grpc_slice_from_copied_buffer((const char *)bytes, stream.total_out);
    inflateEnd(&stream);
    free(bytes);
    return ok;
}

bool payload_read(grpc_byte_buffer *buffer, size_t size_max, const char *what, grpc_slice *ret_slice,
    bool *ret_was_compressed, struct error *reterr_error)
{
    bool is_compressed = buffer->type == GRPC_BB_RAW && buffer->data.raw.compression != GRPC_COMPRESS_NONE;
    grpc_slice packed;
    bool ok = true;

    if (ret_was_compressed != NULL)
        *ret_was_compressed = is_compressed;
    if (!read_raw(buffer, &packed))
        return error_set(reterr_error, ERROR_INVALID, "%s cannot be read", what);
    if (GRPC_SLICE_LENGTH(packed) > size_max)
        ok = too_large(what, size_max, reterr_error);
    else if (is_compressed)
        ok = inflate_slice(packed, size_max, what, ret_slice, reterr_error);
    if (ok && !is_compressed)
        *ret_slice = packed;
    else
        grpc_slice_unref(packed);
    return ok;
}
