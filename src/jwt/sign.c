#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/secret_file.h"
#include "internal.h"

enum { COORDINATE_SIZE = 32 };

static int no_pass_phrase(char *buffer, int size, int is_writing, void *user)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)user;
    return 0;
}

/* A private key of PEM, or a secret of a JWK. */
static bool parse_key(const struct secret_file *file, struct jwt_key *ret_key, struct error *reterr_error)
{
    bool is_used = false;
    bool ok = false;

    if (file->text[strspn(file->text, " \t\r\n")] == '{') {
        json_t *jwk = json_loadb(file->text, file->size, JSON_REJECT_DUPLICATES, NULL);
        ok = jwk != NULL ? jwt_key_of_json(jwk, ret_key, &is_used, reterr_error)
                         : error_set(reterr_error, ERROR_INVALID, "no JSON");
        if (ok && ret_key->secret == NULL)
            ok = error_set(reterr_error, ERROR_INVALID, "a JWK must be a secret (\"kty\": \"oct\"); other keys in PEM");
        json_decref(jwk);
        return ok;
    }
    BIO *bio = BIO_new_mem_buf(file->text, (int)file->size);
    ret_key->pkey = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
    BIO_free(bio);
    return ret_key->pkey != NULL
               ? jwt_algorithm_of(ret_key->pkey, &ret_key->algorithm, reterr_error)
               : error_set(reterr_error, ERROR_INVALID, "no private key in PEM without a pass phrase");
}

static bool read_key(const char *path, struct jwt_key *ret_key, struct error *reterr_error)
{
    struct secret_file file = {0};
    bool ok = false;

    *ret_key = (struct jwt_key){0};
    if (!secret_file_read(path, &file, reterr_error))
        return false;
    if (secret_file_check(&file, path, reterr_error)) {
        ok = parse_key(&file, ret_key, reterr_error);
        if (!ok)
            error_add_context(reterr_error, "%s", path);
    }
    ERR_clear_error();
    secret_file_wipe(&file);
    if (!ok)
        jwt_key_release(ret_key);
    return ok;
}

/* DER to the two numbers side by side. */
static bool flatten(unsigned char **signature, size_t *size)
{
    const unsigned char *der = *signature;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)*size);
    unsigned char *flat = memory_new((size_t)2 * COORDINATE_SIZE);
    bool ok = pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), flat, COORDINATE_SIZE) == COORDINATE_SIZE &&
              BN_bn2binpad(ECDSA_SIG_get0_s(pair), flat + COORDINATE_SIZE, COORDINATE_SIZE) == COORDINATE_SIZE;

    ECDSA_SIG_free(pair);
    free(*signature);
    *signature = flat;
    *size = (size_t)2 * COORDINATE_SIZE;
    return ok;
}

static bool sign(const struct jwt_key *key, const char *text, unsigned char **ret_signature, size_t *ret_size)
{
    const EVP_MD *digest = key->algorithm == JWT_EDDSA ? NULL : EVP_sha256();
    EVP_MD_CTX *context = NULL;
    size_t size = EVP_MAX_MD_SIZE;
    bool ok = false;

    if (key->secret != NULL) {
        *ret_signature = memory_new(size);
        return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key->secret, key->secret_size, (const unsigned char *)text,
                   strlen(text), *ret_signature, size, ret_size) != NULL;
    }
    context = EVP_MD_CTX_new();
    if (EVP_DigestSignInit(context, NULL, digest, NULL, key->pkey) == 1 &&
        EVP_DigestSign(context, NULL, &size, (const unsigned char *)text, strlen(text)) == 1) {
        *ret_signature = memory_new(size);
        *ret_size = size;
        ok = EVP_DigestSign(context, *ret_signature, ret_size, (const unsigned char *)text, strlen(text)) == 1;
    }
    EVP_MD_CTX_free(context);
    return ok && (key->algorithm != JWT_ES256 || flatten(ret_signature, ret_size));
}

static char *header_of(const struct jwt_key *key, const char *key_id)
{
    json_t *header = json_pack("{s:s, s:s}", "alg", jwt_algorithm_names[key->algorithm], "typ", "JWT");
    char *text = NULL;
    char *encoded = NULL;

    if (key_id != NULL)
        json_object_set_new(header, "kid", json_string(key_id));
    text = json_dumps(header, JSON_COMPACT);
    encoded = base64url_encode(text, strlen(text));
    free(text);
    json_decref(header);
    return encoded;
}

/* "head.tail" */
static char *join(const char *head, const char *tail)
{
    size_t size = strlen(head) + strlen(tail) + 2;
    char *text = memory_new(size);

    snprintf(text, size, "%s.%s", head, tail);
    return text;
}

char *jwt_sign(const char *key_path, const char *key_id, const char *payload_json, struct error *reterr_error)
{
    struct jwt_key key;
    unsigned char *signature = NULL;
    size_t size = 0;
    char *token = NULL;

    if (!read_key(key_path, &key, reterr_error))
        return NULL;
    char *header = header_of(&key, key_id);
    char *payload = base64url_encode(payload_json, strlen(payload_json));
    char *text = join(header, payload);
    if (sign(&key, text, &signature, &size)) {
        char *encoded = base64url_encode(signature, size);
        token = join(text, encoded);
        free(encoded);
    } else {
        error_set(reterr_error, ERROR_INTERNAL, "the key does not sign");
    }
    ERR_clear_error();
    free(signature);
    free(header);
    free(payload);
    free(text);
    jwt_key_release(&key);
    return token;
}
