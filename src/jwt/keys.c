#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/secret_file.h"
#include "internal.h"

enum {
    ED25519_SIZE = 32,
    P256_COORDINATE_SIZE = 32,
    P256_SIGNATURE_SIZE = 64,
    RSA_MODULUS_BYTES_MAX = 2048, /* 16,384 bits, OpenSSL's own bound */
};

const char *const jwt_algorithm_names[JWT_ALGORITHMS] = {"EdDSA", "ES256", "RS256", "HS256"};

/* --- What a key is for -------------------------------------------------------------------------------------------- */

bool jwt_algorithm_of(EVP_PKEY *pkey, enum jwt_algorithm *ret_algorithm, struct error *reterr_error)
{
    char group[32] = "";

    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_ED25519:
        *ret_algorithm = JWT_EDDSA;
        return true;
    case EVP_PKEY_EC:
        if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1 || strcmp(group, "prime256v1") != 0)
            return error_set(reterr_error, ERROR_INVALID, "a curve other than P-256");
        *ret_algorithm = JWT_ES256;
        return true;
    case EVP_PKEY_RSA:
        if (EVP_PKEY_get_bits(pkey) < JWT_RSA_BITS_MIN)
            return error_set(reterr_error, ERROR_INVALID, "an RSA key of %d bits; at least %d are needed",
                EVP_PKEY_get_bits(pkey), JWT_RSA_BITS_MIN);
        *ret_algorithm = JWT_RS256;
        return true;
    default:
        return error_set(reterr_error, ERROR_INVALID, "a key that is neither Ed25519, P-256 nor RSA");
    }
}

void jwt_key_release(struct jwt_key *key)
{
    free(key->id);
    EVP_PKEY_free(key->pkey);
    secret_wipe(key->secret, key->secret_size);
    *key = (struct jwt_key){0};
}

void jwt_keys_release(struct jwt_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        jwt_key_release(&keys->keys[i]);
    keys->count = 0;
}

/* --- JWK (RFC 7517, RFC 7518 section 6, RFC 8037) ----------------------------------------------------------------- */

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

static unsigned char *member_bytes(const json_t *jwk, const char *name, size_t *ret_size, struct error *reterr_error)
{
    const json_t *value = json_object_get(jwk, name);
    unsigned char *bytes =
        json_is_string(value) ? base64url_decode(json_string_value(value), json_string_length(value), ret_size) : NULL;

    if (bytes == NULL)
        error_set(reterr_error, ERROR_INVALID, "\"%s\" is missing or is not base64url", name);
    return bytes;
}

static EVP_PKEY *pkey_of_params(const char *kind, OSSL_PARAM_BLD *builder)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    EVP_PKEY *pkey = NULL;

    if (params == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *read_ed25519(const json_t *jwk, struct error *reterr_error)
{
    size_t size = 0;
    unsigned char *x = member_bytes(jwk, "x", &size, reterr_error);
    EVP_PKEY *pkey = NULL;

    if (x != NULL && size == ED25519_SIZE)
        pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, size);
    if (x != NULL && pkey == NULL)
        error_set(reterr_error, ERROR_INVALID, "\"x\" is not an Ed25519 key");
    free(x);
    return pkey;
}

static EVP_PKEY *read_p256(const json_t *jwk, struct error *reterr_error)
{
    size_t x_size = 0, y_size = 0;
    unsigned char *x = member_bytes(jwk, "x", &x_size, reterr_error);
    unsigned char *y = x == NULL ? NULL : member_bytes(jwk, "y", &y_size, reterr_error);
    unsigned char point[1 + 2 * P256_COORDINATE_SIZE] = {POINT_CONVERSION_UNCOMPRESSED};
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;

    if (y != NULL && x_size == P256_COORDINATE_SIZE && y_size == P256_COORDINATE_SIZE) {
        memcpy(point + 1, x, x_size);
        memcpy(point + 1 + x_size, y, y_size);
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point));
        pkey = pkey_of_params("EC", builder);
    }
    if (y != NULL && pkey == NULL)
        error_set(reterr_error, ERROR_INVALID, "\"x\" and \"y\" are no point of P-256");
    OSSL_PARAM_BLD_free(builder);
    free(x);
    free(y);
    return pkey;
}

static EVP_PKEY *read_rsa(const json_t *jwk, struct error *reterr_error)
{
    size_t n_size = 0, e_size = 0;
    unsigned char *n = member_bytes(jwk, "n", &n_size, reterr_error);
    unsigned char *e = n == NULL ? NULL : member_bytes(jwk, "e", &e_size, reterr_error);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = NULL;
    BIGNUM *exponent = NULL;
    EVP_PKEY *pkey = NULL;

    if (e != NULL && n_size <= RSA_MODULUS_BYTES_MAX && e_size <= sizeof(uint64_t)) {
        modulus = BN_bin2bn(n, (int)n_size, NULL);
        exponent = BN_bin2bn(e, (int)e_size, NULL);
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus);
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent);
        pkey = pkey_of_params("RSA", builder);
    }
    if (e != NULL && pkey == NULL)
        error_set(reterr_error, ERROR_INVALID, "\"n\" and \"e\" are no RSA key");
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    free(n);
    free(e);
    return pkey;
}

/* The parser's own copy of a text, which it frees as it is. */
static void wipe_text(const json_t *text)
{
    explicit_bzero((void *)(uintptr_t)json_string_value(text), json_string_length(text));
}

static bool read_secret(const json_t *jwk, struct jwt_key *ret_key, struct error *reterr_error)
{
    ret_key->algorithm = JWT_HS256;
    ret_key->secret = member_bytes(jwk, "k", &ret_key->secret_size, reterr_error);
    if (json_is_string(json_object_get(jwk, "k")))
        wipe_text(json_object_get(jwk, "k"));
    if (ret_key->secret == NULL)
        return false;
    if (ret_key->secret_size >= JWT_SECRET_BYTES_MIN)
        return true;
    return error_set(reterr_error, ERROR_INVALID, "a secret of %zu bytes; at least %d are needed", ret_key->secret_size,
        JWT_SECRET_BYTES_MIN);
}

static bool read_kind(const json_t *jwk, struct jwt_key *ret_key, bool *ret_is_used, struct error *reterr_error)
{
    const char *kind = member(jwk, "kty");
    const char *curve = member(jwk, "crv");

    *ret_is_used = true;
    if (strcmp(kind, "oct") == 0)
        return read_secret(jwk, ret_key, reterr_error);
    if (strcmp(kind, "OKP") == 0 && strcmp(curve, "Ed25519") == 0)
        ret_key->pkey = read_ed25519(jwk, reterr_error);
    else if (strcmp(kind, "EC") == 0 && strcmp(curve, "P-256") == 0)
        ret_key->pkey = read_p256(jwk, reterr_error);
    else if (strcmp(kind, "RSA") == 0)
        ret_key->pkey = read_rsa(jwk, reterr_error);
    else
        *ret_is_used = false;
    if (!*ret_is_used)
        return true;
    return ret_key->pkey != NULL && jwt_algorithm_of(ret_key->pkey, &ret_key->algorithm, reterr_error);
}

bool jwt_key_of_json(const json_t *jwk, struct jwt_key *ret_key, bool *ret_is_used, struct error *reterr_error)
{
    const json_t *id = json_object_get(jwk, "kid");
    const char *use = member(jwk, "use");
    const char *algorithm = member(jwk, "alg");

    *ret_key = (struct jwt_key){0};
    *ret_is_used = false;
    if (!json_is_object(jwk))
        return error_set(reterr_error, ERROR_INVALID, "not a JSON object");
    if (use[0] != '\0' && strcmp(use, "sig") != 0)
        return true;
    if (!read_kind(jwk, ret_key, ret_is_used, reterr_error)) {
        jwt_key_release(ret_key);
        return false;
    }
    if (!*ret_is_used)
        return true;
    if (algorithm[0] != '\0' && strcmp(algorithm, jwt_algorithm_names[ret_key->algorithm]) != 0) {
        jwt_key_release(ret_key); /* a key for PS256, say: never used for anything else */
        *ret_is_used = false;
        return true;
    }
    if (json_is_string(id))
        ret_key->id = memory_copy_string(json_string_value(id));
    return true;
}

/* --- Files of keys ------------------------------------------------------------------------------------------------ */

static bool add_key(struct jwt_keys *keys, struct jwt_key *key, struct error *reterr_error)
{
    if (keys->count < JWT_KEYS_MAX) {
        keys->keys[keys->count++] = *key;
        return true;
    }
    jwt_key_release(key);
    return error_set(reterr_error, ERROR_INVALID, "more than %d keys", JWT_KEYS_MAX);
}

static bool add_json(struct jwt_keys *keys, const char *text, size_t size, struct error *reterr_error)
{
    json_error_t failure;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &failure);
    const json_t *list = json_object_get(root, "keys");
    size_t count = list == NULL ? 1 : json_array_size(list);
    bool ok = root != NULL || error_set(reterr_error, ERROR_INVALID, "line %d: no JSON", failure.line);

    for (size_t i = 0; ok && i < count; i++) {
        struct jwt_key key;
        bool is_used = false;
        ok = jwt_key_of_json(list == NULL ? root : json_array_get(list, i), &key, &is_used, reterr_error);
        if (!ok)
            error_add_context(reterr_error, "key %zu", i + 1);
        else if (is_used)
            ok = add_key(keys, &key, reterr_error);
    }
    json_decref(root);
    return ok;
}

static EVP_PKEY *pkey_of_block(const char *name, const unsigned char *bytes, long size)
{
    EVP_PKEY *pkey = NULL;

    if (strcmp(name, PEM_STRING_PUBLIC) == 0)
        return d2i_PUBKEY(NULL, &bytes, size);
    if (strcmp(name, PEM_STRING_X509) == 0) {
        X509 *certificate = d2i_X509(NULL, &bytes, size);
        pkey = certificate == NULL ? NULL : X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    return pkey;
}

static bool add_block(
    struct jwt_keys *keys, const char *name, const unsigned char *bytes, long size, struct error *reterr_error)
{
    struct jwt_key key = {0};

    if (strstr(name, "PRIVATE KEY") != NULL)
        return error_set(reterr_error, ERROR_INVALID, "a private key; only public keys belong here");
    key.pkey = pkey_of_block(name, bytes, size);
    if (key.pkey == NULL)
        return error_set(reterr_error, ERROR_INVALID, "a block that is no public key and no certificate");
    if (!jwt_algorithm_of(key.pkey, &key.algorithm, reterr_error)) {
        jwt_key_release(&key);
        return false;
    }
    return add_key(keys, &key, reterr_error);
}

static bool add_pem(struct jwt_keys *keys, const char *text, size_t size, struct error *reterr_error)
{
    BIO *bio = BIO_new_mem_buf(text, (int)size);
    unsigned char *bytes = NULL;
    char *name = NULL;
    char *header = NULL;
    long byte_count = 0;
    unsigned blocks = 0;
    bool ok = true;

    while (ok && PEM_read_bio(bio, &name, &header, &bytes, &byte_count) == 1) {
        ok = add_block(keys, name, bytes, byte_count, reterr_error);
        if (!ok)
            error_add_context(reterr_error, "block %u", blocks + 1);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(bytes, (size_t)byte_count);
        blocks++;
    }
    if (ok && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        ok = error_set(reterr_error, ERROR_INVALID, "block %u is broken", blocks + 1);
    if (ok && blocks == 0)
        ok = error_set(reterr_error, ERROR_INVALID, "neither JSON nor PEM");
    ERR_clear_error();
    BIO_free(bio);
    return ok;
}

static bool has_secret(const struct jwt_keys *keys, size_t first)
{
    for (size_t i = first; i < keys->count; i++)
        if (keys->keys[i].secret != NULL)
            return true;
    return false;
}

bool jwt_keys_read(struct jwt_keys *keys, const char *path, struct error *reterr_error)
{
    struct secret_file file = {0};
    size_t count_before = keys->count;

    if (!secret_file_read(path, &file, reterr_error))
        return false;
    const char *first = file.text + strspn(file.text, " \t\r\n");
    bool ok = *first == '{' ? add_json(keys, file.text, file.size, reterr_error)
                            : add_pem(keys, file.text, file.size, reterr_error);
    if (ok && keys->count == count_before)
        ok = error_set(reterr_error, ERROR_INVALID, "no key for EdDSA, ES256, RS256 or HS256");
    if (!ok)
        error_add_context(reterr_error, "%s", path);
    if (ok && has_secret(keys, count_before)) /* public keys are for everybody to read */
        ok = secret_file_check(&file, path, reterr_error);
    ERR_clear_error();
    secret_file_wipe(&file);
    return ok;
}

/* --- Signatures --------------------------------------------------------------------------------------------------- */

static bool verify_secret(
    const struct jwt_key *key, const void *bytes, size_t size, const unsigned char *signature, size_t signature_size)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t mac_size = 0;

    return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key->secret, key->secret_size, bytes, size, mac, sizeof(mac),
               &mac_size) != NULL &&
           mac_size == signature_size && CRYPTO_memcmp(mac, signature, mac_size) == 0;
}

/* JWS has the two numbers side by side (RFC 7518, section 3.4), OpenSSL wants them in DER; NULL when they are none. */
static unsigned char *der_of(const unsigned char *signature, size_t size, size_t *ret_size)
{
    ECDSA_SIG *pair = NULL;
    unsigned char *der = NULL;
    int der_size = 0;

    if (size != P256_SIGNATURE_SIZE)
        return NULL;
    pair = ECDSA_SIG_new();
    ECDSA_SIG_set0(pair, BN_bin2bn(signature, P256_COORDINATE_SIZE, NULL),
        BN_bin2bn(signature + P256_COORDINATE_SIZE, P256_COORDINATE_SIZE, NULL));
    der_size = i2d_ECDSA_SIG(pair, &der);
    ECDSA_SIG_free(pair);
    *ret_size = der_size < 0 ? 0 : (size_t)der_size;
    return der;
}

static bool verify_public(
    const struct jwt_key *key, const void *bytes, size_t size, const unsigned char *signature, size_t signature_size)
{
    const EVP_MD *digest = key->algorithm == JWT_EDDSA ? NULL : EVP_sha256();
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = EVP_DigestVerifyInit(context, NULL, digest, NULL, key->pkey) == 1 &&
              EVP_DigestVerify(context, signature, signature_size, bytes, size) == 1;

    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return ok;
}

bool jwt_key_verify(
    const struct jwt_key *key, const void *bytes, size_t size, const unsigned char *signature, size_t signature_size)
{
    size_t der_size = 0;
    unsigned char *der = NULL;
    bool ok = false;

    switch (key->algorithm) {
    case JWT_HS256:
        return verify_secret(key, bytes, size, signature, signature_size);
    case JWT_ES256:
        der = der_of(signature, signature_size, &der_size);
        ok = der != NULL && verify_public(key, bytes, size, der, der_size);
        OPENSSL_free(der);
        return ok;
    default:
        return verify_public(key, bytes, size, signature, signature_size);
    }
}
