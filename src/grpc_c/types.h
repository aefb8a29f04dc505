/* The types that generated code and callers share: status codes (grpc.github.io/grpc/core/md_doc_statuscodes.html),
 * descriptors, metadata, and what a client's call is made with. No functions: this header is also installed with client libraries. */
#ifndef GRPC_C_TYPES_H
#define GRPC_C_TYPES_H

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

/* --- Clients ------------------------------------------------------------------------------------------------------ */

/* A connection to a server, shared by any number of threads; a call in the background; a call with streams. */
struct grpc_c_channel;
struct grpc_c_pending;
struct grpc_c_stream;

/* Zero in a field means its default. Everything is copied before the call returns. */
struct grpc_c_call_options {
    int64_t deadline_ms;                    /* from now; default 5,000; for a stream: none */
    bool compress;                          /* requests go out compressed (gzip) */
    bool wait_for_ready;                    /* wait for the connection instead of failing at once with UNAVAILABLE */
    const struct grpc_c_metadata *metadata; /* Optional */
    size_t metadata_count;
};

/* How a call ended. Owned by the caller, released with grpc_c_outcome_release(). */
struct grpc_c_outcome {
    enum grpc_c_status status;
    char *message; /* UTF-8; "" when there is none */
    struct grpc_c_metadata *initial_metadata;
    size_t initial_metadata_count;
    struct grpc_c_metadata *trailing_metadata;
    size_t trailing_metadata_count;
    bool was_compressed; /* the last response came compressed */
};

/* Told once how a call ended, on a thread of the channel; must not block. `response` (NULL unless status is OK) and
 * `outcome` are valid during the callback only. Other callback-style calls may be started inside. */
typedef void grpc_c_call_callback(const ProtobufCMessage *response, const struct grpc_c_outcome *outcome, void *user);

/* What callbacks of streams are given. `message` and `outcome` are valid during the callback, `message` is NULL when there are no more. */
typedef void grpc_c_stream_read_callback(struct grpc_c_stream *stream, const ProtobufCMessage *message, void *user);
typedef void grpc_c_stream_write_callback(struct grpc_c_stream *stream, bool is_sent, void *user);
typedef void grpc_c_stream_end_callback(struct grpc_c_stream *stream, const struct grpc_c_outcome *outcome, void *user);

#endif
