/* Looking at a message's bytes before protobuf-c sees them.
 *
 * protobuf-c keeps no length of strings, does not check UTF-8, and descends as deep as the bytes say; so bytes from outside are walked by the message's
 * descriptor first (encoding: protobuf.dev/programming-guides/encoding). Pure; any thread. */
#ifndef GRPC_C_WIRE_H
#define GRPC_C_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/error.h"

enum { WIRE_DEPTH_LIMIT = 64 /* the most that `depth_max` may be */ };

/* True when the bytes are a well-formed message of this type: every length within its bounds, every known field of its wire type, strings valid UTF-8 without
 * NUL, messages nested at most `depth_max` deep (1: no message inside), no groups. Unknown fields may be there. Otherwise ERROR_INVALID with the path to
 * the field, as in "leads[3].email: contains a NUL byte". */
bool wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size, unsigned depth_max,
    struct error *reterr_error);

/* Checks and unpacks into an arena: the result lives as long as the arena and must not be freed. NULL on failure. */
ProtobufCMessage *wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t size,
    unsigned depth_max, struct arena *arena, struct error *reterr_error);

#endif
