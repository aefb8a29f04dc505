/* Looking at a message's bytes before protobuf-c sees them.
 *
 * protobuf-c keeps no length of strings, does not check UTF-8, and descends as deep as the bytes say; so bytes from
 * outside are walked by the message's descriptor first (encoding: protobuf.dev/programming-guides/encoding). Pure;
 * any thread. */
#ifndef GRPC_C_WIRE_H
#define GRPC_C_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/error.h"

enum { WIRE_DEPTH_LIMIT = 64 /* the most that `depth_max` may be */ };

/* What one message may be. */
struct wire_limits {
    unsigned depth_max; /* Required: nesting; 1: no message inside */
    size_t
        memory_size_max; /* Required: bytes it may take once unpacked: two bytes can stand for an element of hundreds */
};

/* True when the bytes are a well-formed message of this type: every length within its bounds, every known field of
 * its wire type, strings valid UTF-8 without NUL, required fields there, no groups. Unknown fields may be there.
 * Otherwise ERROR_INVALID with the path to the field, as in "leads[3].email: contains a NUL byte"; or ERROR_FULL,
 * when only the memory is too much. */
bool wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size,
    const struct wire_limits *limits, struct error *reterr_error);

/* Checks and unpacks into an arena: the result lives as long as the arena and must not be freed. NULL on failure. */
ProtobufCMessage *wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size,
    const struct wire_limits *limits, struct arena *arena, struct error *reterr_error);

#endif
