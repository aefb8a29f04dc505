/* Imports that a .proto has for the options in it alone. */
#ifndef PROTOC_GEN_GRPC_C_IMPORTS_H
#define PROTOC_GEN_GRPC_C_IMPORTS_H

#include <stddef.h>

#include "google/protobuf/descriptor.pb-c.h"

/* Puts the imports of `file` that only declare options (extensions of google.protobuf.*Options, besides which no message), and
 * of which no field has a type, behind the others, and returns how many others there are. `all` are the files it may
 * import. A file with public or weak imports stays as it is. */
size_t imports_sort(
    Google__Protobuf__FileDescriptorProto *file, Google__Protobuf__FileDescriptorProto *const *all, size_t all_count);

#endif
