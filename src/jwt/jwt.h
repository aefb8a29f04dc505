/* JSON Web Tokens (RFC 7519) in compact form: verifying them, and signing some for development.
 *
 * A verifier is used by any number of threads. README.md says what is refused and why. */
#ifndef JWT_JWT_H
#define JWT_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    JWT_TOKEN_BYTES_MAX = 8192,
    JWT_SKEW_MAX_S = 60,
    JWT_CACHE_MAX = 10000, /* verified tokens that are remembered */
};

/* What is known of whoever holds a token. */
struct jwt_claims {
    char subject[128]; /* `sub`, not empty */
    char role[64];     /* `role`; "" when there is none */
    int64_t expires_s; /* `exp`: Unix seconds */
    uint64_t keys;     /* number of the keys that verified it, see jwt_verifier_keys() */
};

/* What a verifier accepts. Strings are copied. */
struct jwt_options {
    const char *const *key_paths; /* Required: files with a JWKS, one JWK, or PEM (public keys, certificates) */
    size_t key_path_count;
    const char *audience; /* Required: `aud` must be or contain it */
    const char *issuer;   /* `iss` must be it; NULL: any */
    int skew_s;           /* from 0 to JWT_SKEW_MAX_S: how far our clock and the issuer's may be apart */
};

struct jwt_verifier;

/* Reads the keys. Errors: ERROR_INVALID or ERROR_SYSTEM with the file's name and what is wrong in it. Released with
 * jwt_verifier_free(). */
bool jwt_verifier_new(
    const struct jwt_options *options, struct jwt_verifier **ret_verifier, struct error *reterr_error);

/* Releases and wipes. No other thread may be using it. NULL is fine. */
void jwt_verifier_free(struct jwt_verifier *verifier);

/* Reads the files again when one has changed, and forgets the verified tokens. Errors as jwt_verifier_new(): the keys in use then
 * stay, and the files are not read again before they change once more. One thread at a time, beside any that verify. */
bool jwt_verifier_reload(struct jwt_verifier *verifier, struct error *reterr_error);

/* The number of the keys in use: another one each time they change. Who keeps what a token said for longer than an answer takes
 * verifies the token again when its claims have another number. Any thread. */
uint64_t jwt_verifier_keys(struct jwt_verifier *verifier);

/* Verifies a token of `size` bytes at `now_s` (Unix seconds). Errors: ERROR_UNAUTHENTICATED with what is wrong, never with a part of
 * the token. */
bool jwt_verify(struct jwt_verifier *verifier, const char *token, size_t size, int64_t now_s,
    struct jwt_claims *ret_claims, struct error *reterr_error);

/* The payload of a token that jwt_verify() has accepted: one JSON object as text, released with free(). */
char *jwt_payload(const char *token, size_t size);

/* Signs a payload (one JSON object) with a private key: a PEM file (Ed25519, P-256 or RSA), or a JWK of kind "oct" for HS256. `key_id`
 * goes into the header; NULL: none. NULL with the reason on failure; the token is the caller's, released with free(). */
char *jwt_sign(const char *key_path, const char *key_id, const char *payload_json, struct error *reterr_error);

#endif
