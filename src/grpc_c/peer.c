/* Who the other side of a call is, as its certificate says. */
#include <grpc/grpc_security.h>
#include <string.h>

#include "base/memory.h"
#include "grpc_c/call.h"

/* The kinds of names that are told, by what the core calls them. */
static const struct {
    const char *property;
    const char *prefix;
} kinds[] = {
    {GRPC_PEER_DNS_PROPERTY_NAME, "dns:"},
    {GRPC_PEER_URI_PROPERTY_NAME, "uri:"},
    {GRPC_PEER_EMAIL_PROPERTY_NAME, "email:"},
    {GRPC_PEER_IP_PROPERTY_NAME, "ip:"},
};

/* Writes the names of one kind to `names` (NULL: none) and returns how many there are. A name with a NUL in it would
 * read as another name: it is left out. */
static size_t collect(const grpc_auth_context *context, size_t kind, struct arena *arena, const char **names)
{
    grpc_auth_property_iterator iterator = grpc_auth_context_find_properties_by_name(context, kinds[kind].property);
    const grpc_auth_property *property = NULL;
    size_t count = 0;

    while ((property = grpc_auth_property_iterator_next(&iterator)) != NULL) {
        if (memchr(property->value, '\0', property->value_length) != NULL)
            continue;
        if (names != NULL)
            names[count] =
                arena_format(arena, "%s%.*s", kinds[kind].prefix, (int)property->value_length, property->value);
        count++;
    }
    return count;
}

/* True when a certificate was asked for and verified; the core knows of no peer otherwise. */
static bool is_verified(const grpc_auth_context *context)
{
    grpc_auth_property_iterator iterator =
        grpc_auth_context_find_properties_by_name(context, GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME);
    const grpc_auth_property *type = grpc_auth_property_iterator_next(&iterator);

    return type != NULL && strcmp(type->value, GRPC_SSL_TRANSPORT_SECURITY_TYPE) == 0 &&
           grpc_auth_context_peer_is_authenticated(context) != 0;
}

size_t grpc_c_call_peer_names(struct grpc_c_call *call, const char *const **ret_names)
{
    grpc_auth_context *context = grpc_call_auth_context(call->call);
    const char **names = NULL;
    size_t count = 0;
    size_t written = 0;

    if (context != NULL && is_verified(context)) {
        for (size_t i = 0; i < COUNT_OF(kinds); i++)
            count += collect(context, i, call->arena, NULL);
        names = arena_alloc_array(call->arena, count + 1, sizeof(*names));
        for (size_t i = 0; i < COUNT_OF(kinds); i++)
            written += collect(context, i, call->arena, names + written);
    }
    grpc_auth_context_release(context);
    *ret_names = names;
    return count;
}
