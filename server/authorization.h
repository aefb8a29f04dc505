/* Who may call what: the table of RPCs, and the gate in front of their handlers. */
#ifndef SERVER_AUTHORIZATION_H
#define SERVER_AUTHORIZATION_H

#include <stdbool.h>
#include <stddef.h>

#include "authentication.h"
#include "call_context.h"
#include "call_limits.h"
#include "call_refusals.h"
#include "grpc_c/server.h"
#include "trace/tracer.h"

/* Who may call a method. A service may call all of them. */
enum right {
    RIGHT_ANYONE,  /* without showing anything */
    RIGHT_CALLER,  /* whoever could be identified */
    RIGHT_MEMBER,  /* members of the workspace in the request */
    RIGHT_ADMIN,   /* those of them who administer it */
    RIGHT_SERVICE, /* nobody else */
};

/* One row of the table. */
struct authorization_rule {
    const char *method; /* as it stands in a call's path */
    enum right right;
    const char *workspace_field; /* of the request; NULL when no member is asked for */
};

/* The row of a method; NULL: none, and nobody may call it. */
const struct authorization_rule *authorization_find(const char *method);

/* The rows, in order; NULL behind the last. */
const struct authorization_rule *authorization_rule_at(size_t index);

/* What a person's call stands on. The gate finds it in the request; the database is asked for it in the transactions of the call. */
struct authorization_need {
    struct uuid user_id;
    struct uuid
        workspace_id; /* of which the person must be a member; uuid_nil: none, what is read is the person's own */
    bool is_admin;    /* and administer it */
};

/* What the gate works with; borrowed, as is the struct, until the server is freed. */
struct authorization {
    const struct authentication *authentication;
    struct limits *limits;
    struct call_refusals *refusals;
    struct tracer *tracer; /* NULL: calls have no spans */
};

/* Puts the gate in front of all methods. A person's request gets the person's id
 * as `user_id` when that field is empty. Refusals: UNAUTHENTICATED; PERMISSION_DENIED for what only services may call;
 * INVALID_ARGUMENT for a workspace that is no UUID. */
void authorization_guard(struct grpc_c_server *server, struct authorization *authorization);

/* What the table asks of the caller of this call, for as long as the call is there; NULL for a service, who may do everything. Not for
 * methods that anyone may call. */
const struct authorization_need *authorization_need(const struct grpc_c_call *call);

/* What the call is known by in logs and traces; NULL before the gate has looked at it. Borrowed until the call's end. */
const struct call_context *authorization_context(const struct grpc_c_call *call);

/* What somebody is told who has not that right. */
const char *authorization_refusal(enum right right);

/* For a stream whose first message names the workspace `id` and who asks: from now on the call's transactions ask whether the person may
 * there, and `user_id` is the person's. Nothing for a service. Errors: ERROR_FORBIDDEN for another person's id. */
bool authorization_need_workspace(
    struct grpc_c_call *call, const struct uuid *id, struct uuid *user_id, struct error *reterr_error);

/* For a stream whose first message names the workspace `id`: counts it as one of the workspace's calls until it is ended. Errors:
 * ERROR_FULL, and when to come back. */
bool authorization_count_stream(
    struct grpc_c_call *call, struct limits *limits, const struct uuid *id, struct error *reterr_error);

/* Counts an import of the workspace that authorization_count_stream() has counted the stream for, until the call is ended. For a service,
 * or a person who was asked about. Errors: ERROR_FULL. */
bool authorization_count_import(struct grpc_c_call *call, struct limits *limits, struct error *reterr_error);

/* Counts one more call, over a stream that was counted and has succeeded in something. Errors: ERROR_FULL, and when it may come. */
bool authorization_count_more(struct grpc_c_call *call, struct limits *limits, struct error *reterr_error);

/* Whether the gate knows the caller of this call as a service. */
bool authorization_is_service(const struct grpc_c_call *call);

/* The person who calls; uuid_nil for a service. */
struct uuid authorization_person(const struct grpc_c_call *call);

#endif
