#include "authentication.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/address.h"
#include "base/log.h"
#include "base/memory.h"
#include "jwt/jwt.h"

enum { SKEW_S = 60 };

/* The role of people, a claim by the convention of PostgREST and Supabase. */
static const char role_of_people[] = "authenticated";

/* Words of a list with commas, and their end. */
struct words {
    char *text;
    const char **words;
    size_t count;
};

struct authentication {
    const struct config *config;
    struct jwt_verifier *verifier; /* NULL: no tokens */
    struct words services;         /* names in certificates */
};

static void words_init(struct words *words, const char *list)
{
    char *rest = NULL;

    *words = (struct words){0};
    if (list == NULL)
        return;
    words->text = memory_copy_string(list);
    words->words = memory_new_array(strlen(list) + 1, sizeof(*words->words));
    for (char *word = strtok_r(words->text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest))
        words->words[words->count++] = word;
}

static void words_release(struct words *words)
{
    free(words->text);
    free(words->words);
    *words = (struct words){0};
}

static bool words_have(const struct words *words, const char *word)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->words[i], word) == 0)
            return true;
    return false;
}

static bool is_loopback(const char *listen)
{
    char host[ADDRESS_HOST_SIZE] = "";

    return address_parse(listen, host, NULL) && address_host_is_loopback(host);
}

bool authentication_check(const struct config *config, struct error *reterr_error)
{
    if ((config->token_keys == NULL) != (config->token_audience == NULL))
        return error_set(reterr_error, ERROR_INVALID, "--token-keys and --token-audience go together");
    if (config->token_issuer != NULL && config->token_keys == NULL)
        return error_set(reterr_error, ERROR_INVALID, "--token-issuer is of no use without --token-keys");
    if (config->service_names != NULL && config->tls_client_ca == NULL)
        return error_set(reterr_error, ERROR_INVALID, "--service-names is of no use without --tls-client-ca");
    /* Plain text for other machines is refused by transport_security_check(). */
    if (config->tls_certificate != NULL && config->token_keys == NULL && config->service_names == NULL &&
        !is_loopback(config->listen))
        return error_set(reterr_error, ERROR_INVALID,
            "--listen %s: other machines are served only with --token-keys or --service-names, which say who may call",
            config->listen);
    return true;
}

bool authentication_new(
    const struct config *config, struct authentication **ret_authentication, struct error *reterr_error)
{
    struct authentication *authentication = memory_new(sizeof(*authentication));
    struct words files;
    bool ok = true;

    authentication->config = config;
    words_init(&files, config->token_keys);
    words_init(&authentication->services, config->service_names);
    if (config->token_keys != NULL) {
        const struct jwt_options options = {.key_paths = files.words,
            .key_path_count = files.count,
            .audience = config->token_audience,
            .issuer = config->token_issuer,
            .skew_s = SKEW_S};
        ok = jwt_verifier_new(&options, &authentication->verifier, reterr_error);
    }
    words_release(&files);
    if (ok)
        *ret_authentication = authentication;
    else
        authentication_free(authentication);
    return ok;
}

void authentication_free(struct authentication *authentication)
{
    if (authentication == NULL)
        return;
    jwt_verifier_free(authentication->verifier);
    words_release(&authentication->services);
    free(authentication);
}

bool authentication_is_on(const struct authentication *authentication)
{
    return authentication->verifier != NULL || authentication->services.count > 0;
}

void authentication_look(struct authentication *authentication)
{
    struct error error = {0};

    if (authentication->verifier != NULL && !jwt_verifier_reload(authentication->verifier, &error)) {
        const struct log_field fields[] = {LOG_STRING("error", error.text), LOG_END};
        log_write(LOG_LEVEL_ERROR, "token.keys_refused", "the keys in use stay", fields);
    }
}

/* --- One caller --------------------------------------------------------------------------------------------------- */

static bool of_claims(const struct authentication *authentication, const struct jwt_claims *claims,
    struct caller *ret_caller, struct error *reterr_error)
{
    ret_caller->expires_s = claims->expires_s + SKEW_S;
    ret_caller->keys = claims->keys;
    if (strcmp(claims->role, authentication->config->token_service_role) == 0) {
        ret_caller->kind = CALLER_SERVICE;
        return true;
    }
    if (strcmp(claims->role, role_of_people) != 0)
        return error_set(reterr_error, ERROR_UNAUTHENTICATED, "the token's role is none that is known here");
    if (!uuid_parse(claims->subject, &ret_caller->user_id))
        return error_set(reterr_error, ERROR_UNAUTHENTICATED, "the token's subject is not a UUID");
    ret_caller->kind = CALLER_PERSON;
    return true;
}

/* The token behind "Bearer "; NULL when the header says something else. */
static const char *token_in(const char *header)
{
    static const char scheme[] = "bearer ";

    return strncasecmp(header, scheme, sizeof(scheme) - 1) == 0 ? header + sizeof(scheme) - 1 : NULL;
}

static bool by_token(const struct authentication *authentication, const char *header, size_t size,
    struct caller *ret_caller, struct error *reterr_error)
{
    struct jwt_claims claims;
    struct error error = {0};
    const char *token = token_in(header);

    if (token == NULL)
        return error_set(reterr_error, ERROR_UNAUTHENTICATED, "authorization: must be \"Bearer\" and a token");
    ret_caller->token = token;
    ret_caller->token_size = size - (size_t)(token - header);
    if (!jwt_verify(authentication->verifier, token, ret_caller->token_size, time(NULL), &claims, &error))
        return error_set(reterr_error, ERROR_UNAUTHENTICATED, "%s", error.text);
    return of_claims(authentication, &claims, ret_caller, reterr_error);
}

static bool has_service_certificate(const struct authentication *authentication, struct grpc_c_call *call)
{
    const char *const *names = NULL;
    size_t count = grpc_c_call_peer_names(call, &names);

    if (count > 0 && words_have(&authentication->services, "*"))
        return true;
    for (size_t i = 0; i < count; i++)
        if (words_have(&authentication->services, names[i]))
            return true;
    return false;
}

bool authentication_identify(const struct authentication *authentication, struct grpc_c_call *call,
    struct caller *ret_caller, struct error *reterr_error)
{
    size_t size = 0;
    const char *header = NULL;

    *ret_caller = (struct caller){.kind = CALLER_NOBODY};
    if (!authentication_is_on(authentication)) {
        ret_caller->kind = CALLER_SERVICE;
        return true;
    }
    if (authentication->verifier != NULL)
        header = grpc_c_call_metadata(call, "authorization", &size);
    if (header != NULL)
        return by_token(authentication, header, size, ret_caller, reterr_error);
    if (authentication->services.count > 0 && has_service_certificate(authentication, call))
        ret_caller->kind = CALLER_SERVICE;
    return true;
}

bool authentication_stays(
    const struct authentication *authentication, struct caller *caller, struct error *reterr_error)
{
    const int64_t now_s = time(NULL);
    struct jwt_claims claims;

    if (caller->token == NULL)
        return true;
    if (caller->expires_s <= now_s)
        return error_set(reterr_error, ERROR_UNAUTHENTICATED, "the caller's token has expired");
    if (jwt_verifier_keys(authentication->verifier) == caller->keys)
        return true;
    if (!jwt_verify(authentication->verifier, caller->token, caller->token_size, now_s, &claims, NULL))
        return error_set(reterr_error, ERROR_UNAUTHENTICATED, "the key of the caller's token is no longer in use");
    caller->keys = claims.keys;
    return true;
}

const char *authentication_claims(struct grpc_c_call *call)
{
    size_t size = 0;
    const char *header = grpc_c_call_metadata(call, "authorization", &size);
    const char *token = header == NULL ? NULL : token_in(header);
    char *payload = NULL;
    char *copy = NULL;

    assert(token != NULL);
    payload = jwt_payload(token, size - (size_t)(token - header));
    copy = arena_copy_string(grpc_c_call_arena(call), payload);
    free(payload);
    return copy;
}
