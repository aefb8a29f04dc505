/* Where things stand in a .proto file, as protoc tells it. */
#ifndef PROTOC_GEN_GRPC_C_PLACES_H
#define PROTOC_GEN_GRPC_C_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "google/protobuf/descriptor.pb-c.h"

/* Field numbers in descriptor.proto, which is what paths are made of. */
enum {
    PLACE_FILE_MESSAGE = 4,
    PLACE_FILE_SERVICE = 6,
    PLACE_FILE_OPTIONS = 8,
    PLACE_FILE_SYNTAX = 12,
    PLACE_MESSAGE_FIELD = 2,
    PLACE_MESSAGE_NESTED = 3,
    PLACE_SERVICE_METHOD = 2,
};

/* "shop/v1/orders.proto:17" for the thing with this path (`size` numbers), or without the line when protoc did not say
 * it. In the arena, or the file's. */
const char *place_of(
    struct arena *arena, const Google__Protobuf__FileDescriptorProto *file, const int32_t *path, size_t size);

/* The comment before the thing with this path, or else behind it; "" when there is none. The file's. */
const char *place_comment(const Google__Protobuf__FileDescriptorProto *file, const int32_t *path, size_t size);

#endif
