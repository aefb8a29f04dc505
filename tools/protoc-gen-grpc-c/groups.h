/* Groups, an old form of submessages in proto2, of which protobuf-c knows nothing: protoc-c crashes on them. */
#ifndef PROTOC_GEN_GRPC_C_GROUPS_H
#define PROTOC_GEN_GRPC_C_GROUPS_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "google/protobuf/descriptor.pb-c.h"

/* True when no message of the file has a field that is a group. Otherwise ERROR_INVALID with file, line, and the name of
 * the first. Extensions that are groups are fine: protobuf-c leaves out extensions. The arena is for what is looked at
 * on the way. */
bool groups_check(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file, struct error *reterr_error);

#endif
