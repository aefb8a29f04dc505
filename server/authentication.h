/* Who calls: tokens and client certificates. */
#ifndef SERVER_AUTHENTICATION_H
#define SERVER_AUTHENTICATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "config.h"
#include "grpc_c/server.h"

struct authentication;

enum caller_kind {
    CALLER_NOBODY, /* showed nothing */
    CALLER_PERSON, /* a token of a person: `user_id` */
    CALLER_SERVICE, /* a token with the service's role, a certificate of a service, or whoever reaches a server without either */
};

struct caller {
    enum caller_kind kind;
    struct uuid user_id; /* of a person */

    /* of the token, for authentication_stays() */
    const char *token; /* in the call's arena; NULL: there was none */
    size_t token_size;
    int64_t expires_s; /* Unix */
    uint64_t keys;     /* number of those that verified it */
};

/* Checks settings that say who may call; nothing is read. Errors: ERROR_INVALID naming the flag. */
bool authentication_check(const struct config *config, struct error *reterr_error);

/* Reads the keys. `*ret_authentication` is released with authentication_free(); `config` is borrowed until then. Errors: ERROR_INVALID
 * or ERROR_SYSTEM with the file's name. */
bool authentication_new(
    const struct config *config, struct authentication **ret_authentication, struct error *reterr_error);

/* NULL is fine. */
void authentication_free(struct authentication *authentication);

/* False when nobody is asked who he is: every caller is the service then, and only this machine is served. */
bool authentication_is_on(const struct authentication *authentication);

/* Reads keys that have changed; what is no good is logged and the keys in use stay. From time to time, one thread. */
void authentication_look(struct authentication *authentication);

/* Who calls. A token counts before a certificate. Errors: ERROR_UNAUTHENTICATED when what was shown is no good: the reason without the
 * token. Any thread. */
bool authentication_identify(const struct authentication *authentication, struct grpc_c_call *call,
    struct caller *ret_caller, struct error *reterr_error);

/* Whether the caller is still who authentication_identify() has found: the token has not expired, and a key that is in use has signed it.
 * Any thread, one at a time for a caller. Errors: ERROR_UNAUTHENTICATED. */
bool authentication_stays(
    const struct authentication *authentication, struct caller *caller, struct error *reterr_error);

/* The claims of a person whom authentication_identify() has found for this call: a JSON object as text, in the call's arena. Until the
 * answer. */
const char *authentication_claims(struct grpc_c_call *call);

#endif
