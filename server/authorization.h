/* Who may call what: the table of RPCs, and the gate in front of their handlers. */
#ifndef SERVER_AUTHORIZATION_H
#define SERVER_AUTHORIZATION_H

#include <stdbool.h>
#include <stddef.h>

#include "authentication.h"
#include "call_limits.h"
#include "grpc_c/server.h"
#include "pg/pg.h"
#include "worker_pool.h"

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

/* What the gate works with; borrowed, as is the struct, until the server is freed. */
struct authorization {
    const struct authentication *authentication;
    struct pg_pool *pool;
    struct worker_pool *workers; /* on which memberships are read */
    struct limits *limits;
};

/* Puts the gate in front of all methods. A person's request gets the person's id as `user_id` when that field is empty. Refusals:
 * UNAUTHENTICATED, PERMISSION_DENIED, INVALID_ARGUMENT for a workspace that is no UUID; a workspace that is not the caller's is
 * answered as one that does not exist. */
void authorization_guard(struct grpc_c_server *server, struct authorization *authorization);

/* Whether the gate knows the caller of this call as a service. */
bool authorization_is_service(const struct grpc_c_call *call);

/* The person who calls; uuid_nil for a service. */
struct uuid authorization_person(const struct grpc_c_call *call);

#endif
