#include "base/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* --- Texts -------------------------------------------------------------------------------------------------------- */

bool address_parse(const char *address, char ret_host[ADDRESS_HOST_SIZE], struct error *reterr_error)
{
    const char *colon = strrchr(address, ':');
    char *end = NULL;

    if (colon == NULL || colon == address || colon - address >= ADDRESS_HOST_SIZE)
        return error_set(reterr_error, ERROR_INVALID, "\"%.100s\" is not an address of the form host:port", address);
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > 65535)
        return error_set(reterr_error, ERROR_INVALID, "\"%.100s\" has no port between 0 and 65535", address);
    memcpy(ret_host, address, (size_t)(colon - address));
    ret_host[colon - address] = '\0';
    return true;
}

bool address_host_is_loopback(const char *host)
{
    struct in_addr four;

    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &four) == 1 && (ntohl(four.s_addr) >> 24) == 127;
}

bool address_check_loopback(const char *address, struct error *reterr_error)
{
    char host[ADDRESS_HOST_SIZE] = "";

    if (!address_parse(address, host, reterr_error))
        return false;
    if (!address_host_is_loopback(host))
        return error_set(reterr_error, ERROR_INVALID,
            "\"%.100s\" is not a loopback address (127.0.0.0/8, [::1], localhost), and other addresses need TLS",
            address);
    return true;
}

/* --- What they mean ----------------------------------------------------------------------------------------------- */

/* Whether the resolver knows that there is none, rather than nothing. */
static bool is_known_to_be_none(int failure)
{
    return failure == EAI_NONAME || failure == EAI_NODATA || failure == EAI_ADDRFAMILY || failure == EAI_FAMILY;
}

bool address_resolve(const char *address, struct addrinfo **ret_found, struct error *reterr_error)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    char text[ADDRESS_HOST_SIZE] = "";
    char *host = text;

    if (!address_parse(address, text, reterr_error))
        return false;
    size_t size = strlen(text);
    if (text[0] == '[' && text[size - 1] == ']') {
        text[size - 1] = '\0';
        host++;
        hints.ai_family = AF_INET6;
        hints.ai_flags |= AI_NUMERICHOST;
    } else if (strchr(text, ':') != NULL) {
        return error_set(reterr_error, ERROR_INVALID,
            "\"%.100s\" is not an address of the form host:port; IPv6 stands in brackets, as in [::1]:7450", address);
    }
    int failure = getaddrinfo(host, strrchr(address, ':') + 1, &hints, ret_found);
    if (failure == 0)
        return true;
    if (is_known_to_be_none(failure))
        return error_set(reterr_error, ERROR_INVALID, "\"%.100s\": there is no such host", address);
    return error_set(
        reterr_error, ERROR_UNAVAILABLE, "could not look up \"%.100s\": %s", address, gai_strerror(failure));
}

static const struct sockaddr_in *four(const struct sockaddr *address)
{
    return (const struct sockaddr_in *)(const void *)address;
}

static const struct sockaddr_in6 *six(const struct sockaddr *address)
{
    return (const struct sockaddr_in6 *)(const void *)address;
}

bool address_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&six(address)->sin6_addr);
    return address->sa_family == AF_INET && (ntohl(four(address)->sin_addr.s_addr) >> 24) == 127;
}

static in_port_t port_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? six(address)->sin6_port : four(address)->sin_port;
}

/* All addresses of its family; of IPv6 those of IPv4 are part. */
static bool is_every(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&six(address)->sin6_addr)
                                          : four(address)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static bool is_one(const struct sockaddr *one, const struct sockaddr *other)
{
    if (port_of(one) == 0 || port_of(one) != port_of(other))
        return false;
    if ((one->sa_family == AF_INET6 && is_every(one)) || (other->sa_family == AF_INET6 && is_every(other)))
        return true;
    if (one->sa_family != other->sa_family)
        return false;
    if (is_every(one) || is_every(other))
        return true;
    if (one->sa_family == AF_INET)
        return four(one)->sin_addr.s_addr == four(other)->sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&six(one)->sin6_addr, &six(other)->sin6_addr) &&
           six(one)->sin6_scope_id == six(other)->sin6_scope_id;
}

bool address_collides(const struct addrinfo *found, const struct sockaddr *other)
{
    for (; found != NULL; found = found->ai_next)
        if (is_one(found->ai_addr, other))
            return true;
    return false;
}
