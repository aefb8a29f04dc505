/* Addresses as people write them, "host:port": their parts, what they mean on this machine, and which of them are this
 * machine itself: plain text is for those only. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>

#include "base/error.h"

enum { ADDRESS_HOST_SIZE = 256 }; /* a DNS name has 253 bytes at most */

/* Takes "host:port" apart; `ret_host` gets the host as it is written ("[::1]" with its brackets). Errors: ERROR_INVALID
 * that names the address and says why. */
bool address_parse(const char *address, char ret_host[ADDRESS_HOST_SIZE], struct error *reterr_error);

/* 127.0.0.0/8, [::1] or localhost. */
bool address_host_is_loopback(const char *host);

/* True for "host:port" whose host is such a one. Errors as above; one that says that others need TLS. */
bool address_check_loopback(const char *address, struct error *reterr_error);

/* The addresses that "host:port" means to a listener, for freeaddrinfo(); asks the system's resolver about a name, which
 * can take seconds. ERROR_INVALID: malformed, or there is no such host; ERROR_UNAVAILABLE: nobody could say now. */
bool address_resolve(const char *address, struct addrinfo **ret_found, struct error *reterr_error);

/* True for an address that no other machine can reach. */
bool address_is_loopback(const struct sockaddr *address);

/* True when a listener at any of the addresses found and one at the other are in each other's way: one port, on one
 * address or on all. */
bool address_collides(const struct addrinfo *found, const struct sockaddr *other);

#endif
