/* Shared by the files of src/jwt. */
#ifndef JWT_INTERNAL_H
#define JWT_INTERNAL_H

#include <jansson.h>
#include <openssl/evp.h>
#include <pthread.h>

#include "base/hash_table.h"
#include "jwt/jwt.h"

/* --- base64url (RFC 7515, section 2) ------------------------------------------------------------------------------ */

/* Decodes `size` characters; NULL when they are no base64url in its one canonical form (no padding, no bits left over). The result has
 * a NUL behind it that does not count, and is the caller's. */
unsigned char *base64url_decode(const char *text, size_t size, size_t *ret_size);

/* Encodes; NUL-terminated, the caller's. */
char *base64url_encode(const void *bytes, size_t size);

/* --- Keys --------------------------------------------------------------------------------------------------------- */

enum jwt_algorithm { JWT_EDDSA, JWT_ES256, JWT_RS256, JWT_HS256, JWT_ALGORITHMS };

/* As it stands in headers. */
extern const char *const jwt_algorithm_names[JWT_ALGORITHMS];

enum {
    JWT_KEYS_MAX = 64,
    JWT_SECRET_BYTES_MIN = 32, /* RFC 7518, section 3.2 */
    JWT_RSA_BITS_MIN = 2048,   /* section 3.3 */
};

/* A key and the one algorithm it is for. */
struct jwt_key {
    enum jwt_algorithm algorithm;
    char *id;       /* NULL: none */
    EVP_PKEY *pkey; /* NULL for a secret */
    unsigned char *secret;
    size_t secret_size;
};

struct jwt_keys {
    struct jwt_key keys[JWT_KEYS_MAX];
    size_t count;
};

/* Adds the keys of a file. One with a secret in it must not be open to everybody. */
bool jwt_keys_read(struct jwt_keys *keys, const char *path, struct error *reterr_error);

/* Reads one JWK; `*ret_is_used` false: a key that is none for signatures we know. */
bool jwt_key_of_json(const json_t *jwk, struct jwt_key *ret_key, bool *ret_is_used, struct error *reterr_error);

/* The algorithm of a public or private key; false with the reason when there is none. */
bool jwt_algorithm_of(EVP_PKEY *pkey, enum jwt_algorithm *ret_algorithm, struct error *reterr_error);

/* Wipe and free; zeroed structs are fine. */
void jwt_key_release(struct jwt_key *key);

/* The same for all. */
void jwt_keys_release(struct jwt_keys *keys);

/* Whether the key signed these bytes. */
bool jwt_key_verify(
    const struct jwt_key *key, const void *bytes, size_t size, const unsigned char *signature, size_t signature_size);

/* --- Verified tokens ---------------------------------------------------------------------------------------------- */

enum { JWT_DIGEST_SIZE = 32 };

/* Claims by the SHA-256 of their tokens. When it is full the oldest goes. */
struct jwt_cache {
    pthread_mutex_t lock;
    /* under the lock */
    struct hash_table by_digest;
    struct jwt_cache_entry *entries; /* JWT_CACHE_MAX, used as a ring */
    size_t next;
    uint64_t generation; /* of the keys that verified what is in it */
};

/* An empty cache. */
void jwt_cache_init(struct jwt_cache *cache);

/* Frees what the cache holds. */
void jwt_cache_release(struct jwt_cache *cache);

/* True when the token is known. */
bool jwt_cache_find(
    struct jwt_cache *cache, const unsigned char digest[JWT_DIGEST_SIZE], struct jwt_claims *ret_claims);

/* Remembers what keys of that number verified, unless others are in use since. */
void jwt_cache_add(
    struct jwt_cache *cache, const unsigned char digest[JWT_DIGEST_SIZE], const struct jwt_claims *claims);

/* Forgets all; from here on only what keys of `generation` verify is remembered. */
void jwt_cache_clear(struct jwt_cache *cache, uint64_t generation);

#endif
