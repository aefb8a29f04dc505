/* Names as protoc-c 1.4.1 makes them, so that our output fits its own. Pure; any thread. */
#ifndef PROTOC_GEN_GRPC_C_NAMES_H
#define PROTOC_GEN_GRPC_C_NAMES_H

#include <stdbool.h>

#include "base/arena.h"

/* True for "a.b.C", with or without a dot before it: parts of letters, digits and "_", none of them empty. NULL is not one. */
bool name_is_valid(const char *full_name);

/* The C type of a message: ".leadrouter.v1.RouteLeadRequest" is "Leadrouter__V1__RouteLeadRequest". In the arena. */
char *name_of_type(struct arena *arena, const char *full_name);

/* The prefix of everything that belongs to a message, service or method: "leadrouter.v1.RoutingService" is
 * "leadrouter__v1__routing_service". In the arena. */
char *name_of_prefix(struct arena *arena, const char *full_name);

/* The member of a struct that stands for a method: "RouteLead" is "route_lead"; keywords of C and C++ get a "_" behind, as
 * fields do: "Delete" is "delete_". In the arena. */
char *name_of_member(struct arena *arena, const char *name);

/* The macro that guards the header of a file: injective, so that "a_b" and "a/b" differ. In the arena. */
char *name_of_guard(struct arena *arena, const char *stem);

#endif
