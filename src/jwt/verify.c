#include <assert.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "internal.h"

struct jwt_verifier {
    char **paths;
    struct stat *read; /* how the files were when they were read last; zeroed: not there */
    size_t path_count;
    char *audience;
    char *issuer; /* NULL: any */
    int skew_s;
    struct jwt_cache cache;

    pthread_rwlock_t lock;
    /* under the lock */
    struct jwt_keys *keys;
    uint64_t generation;
};

/* --- Keys --------------------------------------------------------------------------------------------------------- */

static void look(const struct jwt_verifier *verifier, struct stat *ret_status)
{
    for (size_t i = 0; i < verifier->path_count; i++)
        if (stat(verifier->paths[i], &ret_status[i]) != 0)
            ret_status[i] = (struct stat){0};
}

static bool is_same(const struct stat *old, const struct stat *now)
{
    return old->st_dev == now->st_dev && old->st_ino == now->st_ino && old->st_size == now->st_size &&
           old->st_mtim.tv_sec == now->st_mtim.tv_sec && old->st_mtim.tv_nsec == now->st_mtim.tv_nsec;
}

static void keys_free(struct jwt_keys *keys)
{
    if (keys != NULL)
        jwt_keys_release(keys);
    free(keys);
}

static bool read_keys(const struct jwt_verifier *verifier, struct jwt_keys **ret_keys, struct error *reterr_error)
{
    struct jwt_keys *keys = memory_new(sizeof(*keys));

    for (size_t i = 0; i < verifier->path_count; i++)
        if (!jwt_keys_read(keys, verifier->paths[i], reterr_error)) {
            keys_free(keys);
            return false;
        }
    *ret_keys = keys;
    return true;
}

bool jwt_verifier_new(const struct jwt_options *options, struct jwt_verifier **ret_verifier, struct error *reterr_error)
{
    struct jwt_verifier *verifier = NULL;

    assert(options->audience != NULL && options->skew_s >= 0 && options->skew_s <= JWT_SKEW_MAX_S);
    if (options->key_path_count == 0)
        return error_set(reterr_error, ERROR_INVALID, "no file with keys is named");
    verifier = memory_new(sizeof(*verifier));
    verifier->path_count = options->key_path_count;
    verifier->paths = memory_new_array(verifier->path_count, sizeof(*verifier->paths));
    verifier->read = memory_new_array(verifier->path_count, sizeof(*verifier->read));
    for (size_t i = 0; i < verifier->path_count; i++)
        verifier->paths[i] = memory_copy_string(options->key_paths[i]);
    verifier->audience = memory_copy_string(options->audience);
    verifier->issuer = memory_copy_string(options->issuer);
    verifier->skew_s = options->skew_s;
    pthread_rwlock_init(&verifier->lock, NULL);
    jwt_cache_init(&verifier->cache);
    look(verifier, verifier->read);
    if (!read_keys(verifier, &verifier->keys, reterr_error)) {
        jwt_verifier_free(verifier);
        return false;
    }
    *ret_verifier = verifier;
    return true;
}

void jwt_verifier_free(struct jwt_verifier *verifier)
{
    if (verifier == NULL)
        return;
    keys_free(verifier->keys);
    jwt_cache_release(&verifier->cache);
    pthread_rwlock_destroy(&verifier->lock);
    for (size_t i = 0; i < verifier->path_count; i++)
        free(verifier->paths[i]);
    free(verifier->paths);
    free(verifier->read);
    free(verifier->audience);
    free(verifier->issuer);
    free(verifier);
}

bool jwt_verifier_reload(struct jwt_verifier *verifier, struct error *reterr_error)
{
    struct stat *now = memory_new_array(verifier->path_count, sizeof(*now));
    struct jwt_keys *keys = NULL;
    bool has_changed = false;

    look(verifier, now); /* before they are read: what changes meanwhile is read again */
    for (size_t i = 0; i < verifier->path_count; i++)
        has_changed = has_changed || !is_same(&verifier->read[i], &now[i]);
    memcpy(verifier->read, now, verifier->path_count * sizeof(*now));
    free(now);
    if (!has_changed)
        return true;
    if (!read_keys(verifier, &keys, reterr_error))
        return false;
    pthread_rwlock_wrlock(&verifier->lock);
    struct jwt_keys *old = verifier->keys;
    verifier->keys = keys;
    verifier->generation++;
    jwt_cache_clear(&verifier->cache, verifier->generation);
    pthread_rwlock_unlock(&verifier->lock);
    keys_free(old);
    return true;
}

uint64_t jwt_verifier_keys(struct jwt_verifier *verifier)
{
    pthread_rwlock_rdlock(&verifier->lock);
    uint64_t generation = verifier->generation;
    pthread_rwlock_unlock(&verifier->lock);
    return generation;
}

/* --- A token's parts ---------------------------------------------------------------------------------------------- */

struct part {
    const char *text;
    size_t size;
};

enum { PART_HEADER, PART_PAYLOAD, PART_SIGNATURE, PARTS };

static bool refuse(struct error *reterr_error, const char *reason)
{
    return error_set(reterr_error, ERROR_UNAUTHENTICATED, "the token %s", reason);
}

static bool split(const char *token, size_t size, struct part ret_parts[PARTS])
{
    const char *end = token + size;
    size_t count = 0;

    while (count < PARTS) {
        const char *dot = memchr(token, '.', (size_t)(end - token));
        const char *stop = dot == NULL ? end : dot;
        ret_parts[count++] = (struct part){token, (size_t)(stop - token)};
        if (dot == NULL)
            break;
        token = dot + 1;
        if (count == PARTS)
            return false;
    }
    return count == PARTS;
}

/* One JSON object; NULL when it is something else. A name that comes twice is refused: two readers could see two tokens. */
static json_t *parse(const struct part *part)
{
    size_t size = 0;
    unsigned char *bytes = base64url_decode(part->text, part->size, &size);
    json_t *object = NULL;

    if (bytes != NULL)
        object = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, NULL);
    free(bytes);
    if (json_is_object(object))
        return object;
    json_decref(object);
    return NULL;
}

/* What the header says of algorithm and key; both borrowed from it. */
static bool read_header(
    const json_t *header, const char **ret_algorithm, const char **ret_id, struct error *reterr_error)
{
    /* Keys come from our files. A token that brings its own, or asks for something we do not know, is none of ours. */
    static const char *const refused[] = {"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "enc", "zip"};
    const char *algorithm = json_string_value(json_object_get(header, "alg"));
    const json_t *id = json_object_get(header, "kid");

    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (json_object_get(header, refused[i]) != NULL)
            return refuse(reterr_error, "has a header that is not allowed");
    if (algorithm == NULL)
        return refuse(reterr_error, "names no algorithm");
    if (id != NULL && !json_is_string(id))
        return refuse(reterr_error, "has a key id that is no text");
    *ret_algorithm = algorithm;
    *ret_id = json_string_value(id);
    return true;
}

static bool is_meant(const struct jwt_key *key, const char *algorithm, const char *id)
{
    if (strcmp(jwt_algorithm_names[key->algorithm], algorithm) != 0)
        return false;
    return id == NULL || key->id == NULL || strcmp(key->id, id) == 0;
}

static bool verify_signature(const struct jwt_keys *keys, const struct part parts[PARTS], const char *algorithm,
    const char *id, struct error *reterr_error)
{
    size_t signed_size = parts[PART_HEADER].size + 1 + parts[PART_PAYLOAD].size;
    size_t size = 0;
    unsigned char *signature = base64url_decode(parts[PART_SIGNATURE].text, parts[PART_SIGNATURE].size, &size);
    bool is_known = false;
    bool ok = false;

    if (signature == NULL)
        return refuse(reterr_error, "is malformed");
    for (size_t i = 0; !ok && i < keys->count; i++) {
        if (!is_meant(&keys->keys[i], algorithm, id))
            continue;
        is_known = true;
        ok = jwt_key_verify(&keys->keys[i], parts[PART_HEADER].text, signed_size, signature, size);
    }
    free(signature);
    return ok ||
           refuse(reterr_error, is_known ? "has a wrong signature" : "is signed with a key that is not known here");
}

/* --- Claims ------------------------------------------------------------------------------------------------------- */

static bool has_audience(const json_t *value, const char *audience)
{
    if (json_is_string(value))
        return strcmp(json_string_value(value), audience) == 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *text = json_string_value(json_array_get(value, i));
        if (text != NULL && strcmp(text, audience) == 0)
            return true;
    }
    return false;
}

/* A text that fits, into `ret_text`; `is_needed`: and is there, and not empty. */
static bool copy_text(const json_t *payload, const char *name, bool is_needed, char *ret_text, size_t size)
{
    const json_t *value = json_object_get(payload, name);

    ret_text[0] = '\0';
    if (value == NULL)
        return !is_needed;
    if (!json_is_string(value) || json_string_length(value) >= size || (is_needed && json_string_length(value) == 0))
        return false;
    memcpy(ret_text, json_string_value(value), json_string_length(value) + 1);
    return strlen(ret_text) == json_string_length(value);
}

static bool check_times(
    const struct jwt_verifier *verifier, int64_t now_s, int64_t expires_s, struct error *reterr_error)
{
    if (expires_s <= now_s - verifier->skew_s)
        return refuse(reterr_error, "has expired");
    return true;
}

static bool read_claims(const struct jwt_verifier *verifier, const json_t *payload, int64_t now_s,
    struct jwt_claims *ret_claims, struct error *reterr_error)
{
    const json_t *expires = json_object_get(payload, "exp");
    const json_t *begins = json_object_get(payload, "nbf");
    const json_t *issued = json_object_get(payload, "iat");
    const char *issuer = json_string_value(json_object_get(payload, "iss"));

    if (!json_is_integer(expires))
        return refuse(reterr_error, "has no time of expiry, or one that is no whole number");
    ret_claims->expires_s = json_integer_value(expires);
    if (ret_claims->expires_s < 0 || ret_claims->expires_s > INT64_MAX / 1000000000)
        return refuse(reterr_error, "has a time of expiry that is none");
    if (!check_times(verifier, now_s, ret_claims->expires_s, reterr_error))
        return false;
    if ((begins != NULL && !json_is_number(begins)) || (issued != NULL && !json_is_number(issued)))
        return refuse(reterr_error, "has a time that is no number");
    if (begins != NULL && json_number_value(begins) > (double)(now_s + verifier->skew_s))
        return refuse(reterr_error, "is not valid yet");
    if (!has_audience(json_object_get(payload, "aud"), verifier->audience))
        return refuse(reterr_error, "is meant for another audience");
    if (verifier->issuer != NULL && (issuer == NULL || strcmp(issuer, verifier->issuer) != 0))
        return refuse(reterr_error, "is from another issuer");
    if (!copy_text(payload, "sub", true, ret_claims->subject, sizeof(ret_claims->subject)))
        return refuse(reterr_error, "has no subject, or one that is too long");
    if (!copy_text(payload, "role", false, ret_claims->role, sizeof(ret_claims->role)))
        return refuse(reterr_error, "has a role that is no text, or too long");
    return true;
}

/* --- Verifying ---------------------------------------------------------------------------------------------------- */

/* Nothing of the payload is looked at before the signature is known to be good. */
static bool verify(const struct jwt_verifier *verifier, const char *token, size_t size, int64_t now_s,
    struct jwt_claims *ret_claims, struct error *reterr_error)
{
    struct part parts[PARTS];
    json_t *header = NULL;
    json_t *payload = NULL;
    const char *algorithm = NULL;
    const char *id = NULL;
    bool ok = false;

    if (!split(token, size, parts))
        return refuse(reterr_error, "is malformed: it must have three parts");
    header = parse(&parts[PART_HEADER]);
    if (header == NULL) {
        refuse(reterr_error, "is malformed");
        goto cleanup;
    }
    if (!read_header(header, &algorithm, &id, reterr_error) ||
        !verify_signature(verifier->keys, parts, algorithm, id, reterr_error))
        goto cleanup;
    payload = parse(&parts[PART_PAYLOAD]);
    if (payload == NULL) {
        refuse(reterr_error, "is malformed");
        goto cleanup;
    }
    ok = read_claims(verifier, payload, now_s, ret_claims, reterr_error);
cleanup:
    json_decref(header);
    json_decref(payload);
    return ok;
}

bool jwt_verify(struct jwt_verifier *verifier, const char *token, size_t size, int64_t now_s,
    struct jwt_claims *ret_claims, struct error *reterr_error)
{
    unsigned char digest[JWT_DIGEST_SIZE];

    *ret_claims = (struct jwt_claims){0};
    if (size > JWT_TOKEN_BYTES_MAX)
        return error_set(reterr_error, ERROR_UNAUTHENTICATED, "the token has more than %d bytes", JWT_TOKEN_BYTES_MAX);
    SHA256((const unsigned char *)token, size, digest);
    if (jwt_cache_find(&verifier->cache, digest, ret_claims))
        return check_times(verifier, now_s, ret_claims->expires_s, reterr_error);
    pthread_rwlock_rdlock(&verifier->lock);
    bool ok = verify(verifier, token, size, now_s, ret_claims, reterr_error);
    ret_claims->keys = verifier->generation;
    pthread_rwlock_unlock(&verifier->lock);
    if (ok)
        jwt_cache_add(&verifier->cache, digest, ret_claims);
    return ok;
}

char *jwt_payload(const char *token, size_t size)
{
    struct part parts[PARTS];
    size_t payload_size = 0;
    char *text = NULL;

    if (split(token, size, parts))
        text = (char *)base64url_decode(parts[PART_PAYLOAD].text, parts[PART_PAYLOAD].size, &payload_size);
    assert(text != NULL); /* it was verified */
    return text;
}
