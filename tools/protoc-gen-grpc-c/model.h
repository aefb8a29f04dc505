/* What the generator needs to know of one .proto file, checked and with all names made. */
#ifndef PROTOC_GEN_GRPC_C_MODEL_H
#define PROTOC_GEN_GRPC_C_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "google/protobuf/descriptor.pb-c.h"

/* A method. Comments are as protoc gives them, "" when there is none. */
struct method_model {
    const char *name;            /* "RouteLead" */
    const char *path;            /* "/leadrouter.v1.RoutingService/RouteLead" */
    const char *member;          /* "route_lead": in the table of handlers */
    const char *stub;            /* "leadrouter__v1__routing_service__route_lead" */
    const char *request_type;    /* "Leadrouter__V1__RouteLeadRequest" */
    const char *request_prefix;  /* "leadrouter__v1__route_lead_request" */
    const char *response_type;   /* as for the request */
    const char *response_prefix; /* as for the request */
    const char *comment;
    bool client_streams;
    bool server_streams;
};

struct service_model {
    const char *name;   /* "leadrouter.v1.RoutingService" */
    const char *prefix; /* "leadrouter__v1__routing_service" */
    const char *comment;
    const struct method_model *methods;
    size_t method_count;
};

/* The bytes of a FileDescriptorProto, without comments and places. */
struct descriptor_model {
    const char *proto; /* "leadrouter/v1/routing.proto" */
    const uint8_t *bytes;
    size_t size;
};

struct file_model {
    const char *proto; /* "leadrouter/v1/routing.proto" */
    const char *stem;  /* "leadrouter/v1/routing" */
    const char *guard; /* macro of the header */
    const char *comment;
    const struct service_model *services;
    size_t service_count;
    const struct descriptor_model *descriptors; /* this file's, then those of all that it imports, however deep */
    size_t descriptor_count;
    bool is_client_only;        /* nothing of servers is written */
    const char *runtime_prefix; /* what the runtime's functions are called for users of the header: "grpc_c_" */
};

/* Builds the model of a file that has a name; everything lies in the arena or is borrowed from `file` and `all`, the
 * files that it may import. Errors: ERROR_INVALID that names the file, the line where protoc told it, and the service or
 * method: two names that are one in C, a group, what no protoc writes. */
bool file_model_build(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file,
    Google__Protobuf__FileDescriptorProto *const *all, size_t all_count, struct file_model *ret_model,
    struct error *reterr_error);

#endif
