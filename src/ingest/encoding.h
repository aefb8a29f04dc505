/* Bytes to UTF-8, one at a time, and which encoding they are in. */
#ifndef INGEST_ENCODING_H
#define INGEST_ENCODING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "ingest/reader.h"

enum { DECODER_PENDING_MAX = 4, DECODED_SIZE_MAX = 16 };

struct decoder {
    enum ingest_encoding encoding;
    bool is_named;           /* by the caller: never doubted */
    bool is_certain;         /* by the caller, by a byte order mark, or by what was read: it does not change any more */
    uint64_t offset;         /* of the next byte */
    uint64_t pending_offset; /* of the first byte of `pending` */
    uint8_t pending[DECODER_PENDING_MAX];
    size_t pending_size;
    bool is_faulty;        /* something did not fit; whoever looks sets it back */
    uint64_t fault_offset; /* the first such byte since then */
    /* Windows-1252 that was concluded from what is not UTF-8 is doubted when most of what follows is. */
    uint64_t utf8_count;
    uint64_t other_count;
    uint64_t other_offset;  /* of the first */
    unsigned utf8_expected; /* continuation bytes */
};

/* What one byte gave: UTF-8, perhaps nothing yet. */
struct decoded {
    char bytes[DECODED_SIZE_MAX];
    size_t size;
};

/* Which encoding a file has, from its first bytes (all of it when it is shorter than INGEST_HEAD_SIZE). `*ret_skip` is the size of a byte
 * order mark. Errors: ERROR_INVALID for what is no text, naming what it looks like. */
bool encoding_detect(
    const uint8_t *head, size_t size, struct decoder *ret_decoder, size_t *ret_skip, struct error *reterr_error);

/* Takes one byte. What fits no character becomes U+FFFD, and the decoder is faulty. False with ERROR_INVALID when the file turns out to be
 * in two encodings at once. */
bool decoder_take(struct decoder *decoder, uint8_t byte, struct decoded *ret_decoded, struct error *reterr_error);

/* The end of the bytes: what is pending does not fit. */
void decoder_finish(struct decoder *decoder, struct decoded *ret_decoded);

/* How many bytes at the beginning are ASCII other than line ends, and stand for themselves: the decoder need not see them, it is told by
 * decoder_skip(). */
size_t decoder_run(const struct decoder *decoder, const uint8_t *bytes, size_t size);
void decoder_skip(struct decoder *decoder, size_t size);

/* Where the character that is being read begins. */
uint64_t decoder_position(const struct decoder *decoder);

#endif
