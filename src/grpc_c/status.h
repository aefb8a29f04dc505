/* gRPC status codes and service descriptors shared by server and client
 * (grpc.github.io/grpc/core/md_doc_statuscodes.html). */
#ifndef GRPC_C_STATUS_H
#define GRPC_C_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

enum grpc_c_status {
    GRPC_C_OK = 0,
    GRPC_C_CANCELLED = 1,
    GRPC_C_UNKNOWN = 2,
    GRPC_C_INVALID_ARGUMENT = 3,
    GRPC_C_DEADLINE_EXCEEDED = 4,
    GRPC_C_NOT_FOUND = 5,
    GRPC_C_ALREADY_EXISTS = 6,
    GRPC_C_PERMISSION_DENIED = 7,
    GRPC_C_RESOURCE_EXHAUSTED = 8,
    GRPC_C_FAILED_PRECONDITION = 9,
    GRPC_C_ABORTED = 10,
    GRPC_C_OUT_OF_RANGE = 11,
    GRPC_C_UNIMPLEMENTED = 12,
    GRPC_C_INTERNAL = 13,
    GRPC_C_UNAVAILABLE = 14,
    GRPC_C_DATA_LOSS = 15,
    GRPC_C_UNAUTHENTICATED = 16,
};

/* "INVALID_ARGUMENT" and so on; "UNKNOWN" for numbers without a name. Static storage. */
const char *grpc_c_status_name(enum grpc_c_status status);

/* One method of a service, as generated code describes it. Constant. */
struct grpc_c_method {
    const char *name; /* "RouteLead" */
    const char *path; /* "/leadrouter.v1.RoutingService/RouteLead" */
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
    bool client_streams; /* any number of requests, then a half-close; otherwise exactly one */
    bool server_streams; /* any number of responses; otherwise exactly one with status OK */
};

/* A .proto file as protoc saw it: the bytes of its google.protobuf.FileDescriptorProto. Constant. */
struct grpc_c_file {
    const char *name; /* "leadrouter/v1/routing.proto" */
    const uint8_t *descriptor;
    size_t size;
};

/* A service. Constant. */
struct grpc_c_service {
    const char *name; /* "leadrouter.v1.RoutingService" */
    const struct grpc_c_method *methods;
    size_t method_count;
    const struct grpc_c_file *files; /* the file that declares it, then every file that one imports, however deep */
    size_t file_count;
};

/* A metadata pair: key in lower case, value of `size` bytes (any bytes when the key ends in "-bin"). */
struct grpc_c_metadata {
    const char *key;
    const char *value;
    size_t size;
};

#endif
