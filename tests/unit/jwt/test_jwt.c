/* Goal: a token is good only when one of our keys signed it for its own algorithm, for us and for now; whatever else comes is refused with
 * a reason; keys change while tokens are verified, and what old keys vouched for is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/secret_file.h"
#include "jwt/internal.h"

enum {
    NOW = 1800000000,
    SKEW = 60,
    PATH_SIZE = 96,
    TEXT_SIZE = 20000,
    TOKENS = JWT_CACHE_MAX + 100,
    THREADS = 3,
    RELOADS = 40,
    SIGNATURE_ROOM = 64
};

#define SECRET "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define OTHER_SECRET "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define CLAIMS "\"sub\":\"me\",\"aud\":\"us\",\"exp\":1800000600"

static char directory[PATH_SIZE];

static const char *path_of(const char *name)
{
    static char paths[8][PATH_SIZE * 2];
    static unsigned next = 0;
    char *path = paths[next++ % COUNT_OF(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

/* A new file in the place of the old one: it changes as a whole, and its number with it. */
static void write_file(const char *name, const char *text)
{
    char path[PATH_SIZE * 2];
    FILE *file = NULL;

    snprintf(path, sizeof(path), "%s/new", directory);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(path, path_of(name)), 0);
}

static void write_keys(const char *name, EVP_PKEY *pkey)
{
    FILE *file = fopen(path_of(name), "w");

    assert_int_equal(PEM_write_PrivateKey(file, pkey, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    char public_name[64];
    snprintf(public_name, sizeof(public_name), "%s.pub", name);
    file = fopen(path_of(public_name), "w");
    assert_int_equal(PEM_write_PUBKEY(file, pkey), 1);
    fclose(file);
    EVP_PKEY_free(pkey);
}

static int set_up(void **state)
{
    (void)state;
    umask(077);
    snprintf(directory, sizeof(directory), "%s/test_jwt-XXXXXX", getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
    if (mkdtemp(directory) == NULL)
        return -1;
    write_keys("ed", EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
    write_keys("ec", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"));
    write_keys("rsa", EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048));
    write_keys("p384", EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384"));
    write_keys("small", EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024));
    write_file("oct", "{\"kty\":\"oct\",\"k\":\"" SECRET "\"}");
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ed", "ec", "rsa", "p384", "small", "ed.pub", "ec.pub", "rsa.pub", "p384.pub",
        "small.pub", "oct", "keys", "new"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(path_of(names[i]));
    return rmdir(directory);
}

static struct jwt_verifier *verifier_of(const char *name, const char *issuer)
{
    const char *path = path_of(name);
    const struct jwt_options options = {
        .key_paths = &path, .key_path_count = 1, .audience = "us", .issuer = issuer, .skew_s = SKEW};
    struct jwt_verifier *verifier = NULL;
    struct error error = {0};

    if (!jwt_verifier_new(&options, &verifier, &error))
        fail_msg("%s", error.text);
    return verifier;
}

static bool is_good(struct jwt_verifier *verifier, const char *token, struct error *reterr_error)
{
    struct jwt_claims claims;

    return jwt_verify(verifier, token, strlen(token), NOW, &claims, reterr_error);
}

static void assert_refused(struct jwt_verifier *verifier, const char *token, const char *reason)
{
    struct error error = {0};

    assert_false(is_good(verifier, token, &error));
    assert_int_equal(error.code, ERROR_UNAUTHENTICATED);
    if (strstr(error.text, reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.text, reason);
}

static char *sign(const char *key, const char *key_id, const char *payload)
{
    struct error error = {0};
    char *token = jwt_sign(path_of(key), key_id, payload, &error);

    if (token == NULL)
        fail_msg("%s", error.text);
    return token;
}

/* A token with any header and payload, signed with HS256 and this secret. */
static char *forge(const char *header, const char *payload, const void *secret, size_t secret_size)
{
    char *head = base64url_encode(header, strlen(header));
    char *body = base64url_encode(payload, strlen(payload));
    size_t room = strlen(head) + strlen(body) + SIGNATURE_ROOM;
    char *token = memory_new(room);
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t mac_size = 0;

    snprintf(token, room, "%s.%s", head, body);
    EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, secret_size, (unsigned char *)token, strlen(token), mac,
        sizeof(mac), &mac_size);
    char *signature = base64url_encode(mac, mac_size);
    snprintf(token + strlen(token), room - strlen(token), ".%s", signature);
    free(signature);
    free(head);
    free(body);
    return token;
}

static char *forge_known(const char *header, const char *payload)
{
    size_t size = 0;
    unsigned char *secret = base64url_decode(SECRET, strlen(SECRET), &size);
    char *token = forge(header, payload, secret, size);

    free(secret);
    return token;
}

/* --- What is good ------------------------------------------------------------------------------------------------- */

static void every_algorithm(void **state)
{
    static const char *const keys[][2] = {{"ed", "ed.pub"}, {"ec", "ec.pub"}, {"rsa", "rsa.pub"}, {"oct", "oct"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct jwt_verifier *verifier = verifier_of(keys[i][1], NULL);
        struct jwt_claims claims;
        struct error error = {0};
        char *token = sign(keys[i][0], i % 2 == 0 ? NULL : "name", "{" CLAIMS ",\"role\":\"service\"}");
        for (unsigned repeat = 0; repeat < 2; repeat++) {
            if (!jwt_verify(verifier, token, strlen(token), NOW, &claims, &error))
                fail_msg("%s: %s", keys[i][0], error.text);
            assert_string_equal(claims.subject, "me");
            assert_string_equal(claims.role, "service");
            assert_int_equal(claims.expires_s, NOW + 600);
        }
        /* remembered, but not for ever */
        assert_true(jwt_verify(verifier, token, strlen(token), NOW + 600 + SKEW - 1, &claims, &error));
        assert_false(jwt_verify(verifier, token, strlen(token), NOW + 600 + SKEW, &claims, &error));
        assert_string_equal(error.text, "the token has expired");
        for (size_t other = 0; other < COUNT_OF(keys); other++) {
            struct jwt_verifier *stranger = verifier_of(keys[other][1], NULL);
            if (other != i)
                assert_refused(stranger, token, "a key that is not known here");
            jwt_verifier_free(stranger);
        }
        char *last = &token[strlen(token) - 20];
        *last = *last == 'A' ? 'B' : 'A';
        assert_refused(verifier, token, "wrong signature");
        free(token);
        jwt_verifier_free(verifier);
    }
}

/* RFC 7515, A.1 and A.3; RFC 8037, A.4. */
static void published_signatures(void **state)
{
    static const struct {
        const char *jwk;
        const char *input;
        const char *signature;
    } vectors[] = {
        {"{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"
         "1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}",
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
         "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
            "eyJhbGciOiJFUzI1NiJ9."
            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        json_t *jwk = json_loads(vectors[i].jwk, 0, NULL);
        struct jwt_key key;
        bool is_used = false;
        struct error error = {0};
        size_t size = 0;
        unsigned char *signature = base64url_decode(vectors[i].signature, strlen(vectors[i].signature), &size);
        assert_true(jwt_key_of_json(jwk, &key, &is_used, &error) && is_used);
        assert_true(jwt_key_verify(&key, vectors[i].input, strlen(vectors[i].input), signature, size));
        assert_false(jwt_key_verify(&key, vectors[i].input, strlen(vectors[i].input) - 1, signature, size));
        assert_false(jwt_key_verify(&key, vectors[i].input, strlen(vectors[i].input), signature, size - 1));
        free(signature);
        jwt_key_release(&key);
        json_decref(jwk);
    }
}

static void audience_and_issuer(void **state)
{
    static const struct {
        const char *more;
        const char *reason; /* NULL: good */
    } cases[] = {
        {"\"aud\":\"us\",\"iss\":\"home\"", NULL},
        {"\"aud\":[\"them\",\"us\"],\"iss\":\"home\"", NULL},
        {"\"aud\":[\"them\",7],\"iss\":\"home\"", "another audience"},
        {"\"aud\":\"USA\",\"iss\":\"home\"", "another audience"},
        {"\"aud\":{\"us\":1},\"iss\":\"home\"", "another audience"},
        {"\"iss\":\"home\"", "another audience"},
        {"\"aud\":\"us\",\"iss\":\"elsewhere\"", "another issuer"},
        {"\"aud\":\"us\",\"iss\":[\"home\"]", "another issuer"},
        {"\"aud\":\"us\"", "another issuer"},
    };
    struct jwt_verifier *verifier = verifier_of("oct", "home");

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char payload[256];
        snprintf(payload, sizeof(payload), "{\"sub\":\"me\",\"exp\":1800000600,%s}", cases[i].more);
        char *token = sign("oct", NULL, payload);
        if (cases[i].reason == NULL)
            assert_true(is_good(verifier, token, NULL));
        else
            assert_refused(verifier, token, cases[i].reason);
        free(token);
    }
    jwt_verifier_free(verifier);
}

/* --- What is not -------------------------------------------------------------------------------------------------- */

static void headers_that_are_refused(void **state)
{
    static const struct {
        const char *header;
        const char *reason;
    } cases[] = {
        {"{\"alg\":\"none\"}", "not known here"},
        {"{\"alg\":\"None\"}", "not known here"},
        {"{\"alg\":\"RS256\"}", "not known here"},
        {"{\"alg\":\"HS512\"}", "not known here"},
        {"{}", "names no algorithm"},
        {"{\"alg\":5}", "names no algorithm"},
        {"{\"alg\":\"HS256\",\"kid\":5}", "key id that is no text"},
        {"{\"alg\":\"HS256\",\"kid\":null}", "key id that is no text"},
        {"{\"alg\":\"HS256\",\"jwk\":{}}", "not allowed"},
        {"{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1\"}", "not allowed"},
        {"{\"alg\":\"HS256\",\"x5u\":\"file:///\"}", "not allowed"},
        {"{\"alg\":\"HS256\",\"x5c\":[]}", "not allowed"},
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", "not allowed"},
        {"{\"alg\":\"HS256\",\"alg\":\"none\"}", "malformed"},
        {"[\"alg\"]", "malformed"},
        {"\"alg\"", "malformed"},
        {"", "malformed"},
    };
    struct jwt_verifier *verifier = verifier_of("oct", NULL);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *token = forge_known(cases[i].header, "{" CLAIMS "}");
        assert_refused(verifier, token, cases[i].reason);
        free(token);
    }
    jwt_verifier_free(verifier);
}

static void payloads_that_are_refused(void **state)
{
    static const struct {
        const char *payload;
        const char *reason;
    } cases[] = {
        {"{\"sub\":\"me\",\"aud\":\"us\"}", "time of expiry"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":\"1800000600\"}", "time of expiry"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":1800000600.5}", "time of expiry"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":1.8e9}", "time of expiry"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":null}", "time of expiry"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":-1}", "time of expiry"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":9223372036854775807}", "time of expiry"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":99999999999999999999}", "malformed"},
        {"{\"sub\":\"me\",\"aud\":\"us\",\"exp\":1799999940}", "expired"},
        {"{" CLAIMS ",\"nbf\":1800000061}", "not valid yet"},
        {"{" CLAIMS ",\"nbf\":\"1\"}", "a time that is no number"},
        {"{" CLAIMS ",\"iat\":true}", "a time that is no number"},
        {"{" CLAIMS ",\"exp\":1800000601}", "malformed"},
        {"{\"aud\":\"us\",\"exp\":1800000600}", "no subject"},
        {"{\"sub\":\"\",\"aud\":\"us\",\"exp\":1800000600}", "no subject"},
        {"{\"sub\":7,\"aud\":\"us\",\"exp\":1800000600}", "no subject"},
        {"{\"sub\":\"a\\u0000b\",\"aud\":\"us\",\"exp\":1800000600}", "malformed"},
        {"{" CLAIMS ",\"role\":[]}", "a role that is no text"},
        {"[]", "malformed"},
        {"{", "malformed"},
        {"{}{}", "malformed"},
    };
    struct jwt_verifier *verifier = verifier_of("oct", NULL);
    char long_subject[400];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char *token = forge_known("{\"alg\":\"HS256\"}", cases[i].payload);
        assert_refused(verifier, token, cases[i].reason);
        free(token);
    }
    snprintf(long_subject, sizeof(long_subject), "{\"aud\":\"us\",\"exp\":1800000600,\"sub\":\"%0128d\"}", 0);
    char *token = forge_known("{\"alg\":\"HS256\"}", long_subject);
    assert_refused(verifier, token, "no subject, or one that is too long");
    free(token);
    jwt_verifier_free(verifier);
}

static void forms_that_are_refused(void **state)
{
    struct jwt_verifier *verifier = verifier_of("oct", NULL);
    char *good = sign("oct", NULL, "{" CLAIMS "}");
    char *large = memory_new((1 << 20) + 1);
    char text[TEXT_SIZE];
    struct jwt_claims claims;
    size_t size = strlen(good);

    (void)state;
    assert_true(is_good(verifier, good, NULL));
    memset(large, 'a', 1 << 20);
    assert_refused(verifier, large, "more than 8192 bytes");
    snprintf(text, sizeof(text), "%s.", good);
    assert_refused(verifier, text, "three parts");
    snprintf(text, sizeof(text), "%s=", good);
    assert_refused(verifier, text, "malformed");
    snprintf(text, sizeof(text), " %s", good);
    assert_refused(verifier, text, "malformed");
    snprintf(text, sizeof(text), "%s\n", good);
    assert_refused(verifier, text, "malformed");
    snprintf(text, sizeof(text), "%.*s", (int)(strrchr(good, '.') - good), good);
    assert_refused(verifier, text, "three parts");
    snprintf(text, sizeof(text), "%.*s.", (int)(strrchr(good, '.') - good), good);
    assert_refused(verifier, text, "wrong signature");
    assert_refused(verifier, "", "three parts");
    assert_refused(verifier, "..", "malformed");
    assert_false(jwt_verify(verifier, good, size + 1, NOW, &claims, NULL)); /* with the NUL */
    /* 32 bytes leave four bits over in the last character, which must be zero: a second form of the same signature is none */
    snprintf(text, sizeof(text), "%s", good);
    text[size - 1] = (char)(text[size - 1] + 1);
    assert_refused(verifier, text, "malformed");
    free(large);
    free(good);
    jwt_verifier_free(verifier);
}

/* The public key of RS256 as the secret of HS256: the algorithm is the key's, so there is no such secret. */
static void public_key_as_secret(void **state)
{
    struct jwt_verifier *verifier = verifier_of("rsa.pub", NULL);
    struct error error = {0};
    struct secret_file pem = {0};
    char *token = NULL;

    (void)state;
    assert_true(secret_file_read(path_of("rsa.pub"), &pem, &error));
    token = forge("{\"alg\":\"HS256\"}", "{" CLAIMS "}", pem.text, pem.size);
    assert_refused(verifier, token, "not known here");
    free(token);
    token = forge("{\"alg\":\"RS256\"}", "{" CLAIMS "}", pem.text, pem.size);
    assert_refused(verifier, token, "wrong signature");
    free(token);
    secret_file_wipe(&pem);
    jwt_verifier_free(verifier);
}

/* Key ids choose among keys, and are nothing else. */
static void key_ids(void **state)
{
    static const char *const strange[] = {"c", "../../etc/passwd", "' or 1=1 --", "", "%s%n"};
    struct jwt_verifier *verifier = NULL;

    (void)state;
    write_file("keys", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"" OTHER_SECRET "\",\"kid\":\"a\"},"
                       "{\"kty\":\"oct\",\"k\":\"" SECRET "\",\"kid\":\"b\"},"
                       "{\"kty\":\"oct\",\"k\":\"AA\",\"use\":\"enc\"},{\"kty\":\"XYZ\"},"
                       "{\"kty\":\"oct\",\"k\":\"" SECRET "\",\"alg\":\"HS512\",\"kid\":\"c\"}]}");
    verifier = verifier_of("keys", NULL);
    char *token = sign("oct", NULL, "{" CLAIMS "}");
    assert_true(is_good(verifier, token, NULL));
    free(token);
    token = sign("oct", "b", "{" CLAIMS "}");
    assert_true(is_good(verifier, token, NULL));
    free(token);
    token = sign("oct", "a", "{" CLAIMS "}");
    assert_refused(verifier, token, "wrong signature");
    free(token);
    for (size_t i = 0; i < COUNT_OF(strange); i++) {
        token = sign("oct", strange[i], "{" CLAIMS "}");
        assert_refused(verifier, token, "not known here");
        free(token);
    }
    jwt_verifier_free(verifier);
}

/* --- Files of keys ------------------------------------------------------------------------------------------------ */

static void assert_unusable(const char *name, const char *reason)
{
    const char *path = path_of(name);
    const struct jwt_options options = {.key_paths = &path, .key_path_count = 1, .audience = "us"};
    struct jwt_verifier *verifier = NULL;
    struct error error = {0};

    assert_false(jwt_verifier_new(&options, &verifier, &error));
    if (strstr(error.text, reason) == NULL || strstr(error.text, path) == NULL)
        fail_msg("\"%s\" does not say \"%s\" of %s", error.text, reason, path);
}

static void files_that_are_refused(void **state)
{
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"", "neither JSON nor PEM"},
        {"hello", "neither JSON nor PEM"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n", "broken"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate"},
        {"{", "no JSON"},
        {"{\"keys\":[],\"keys\":[]}", "no JSON"},
        {"{\"keys\":[]}", "no key for"},
        {"{\"keys\":[7]}", "not a JSON object"},
        {"{\"kty\":\"XYZ\"}", "no key for"},
        {"{\"kty\":\"oct\"}", "\"k\" is missing"},
        {"{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}", "a secret of 5 bytes"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", "not an Ed25519 key"},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"a=\"}", "\"x\" is missing or is not base64url"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" SECRET "\",\"y\":\"" SECRET "\"}", "no point of P-256"},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" SECRET "\"}", "\"y\" is missing"},
        {"{\"kty\":\"RSA\",\"n\":\"" SECRET "\",\"e\":\"AQAB\"}", "at least 2048"},
        {"{\"kty\":\"RSA\",\"n\":\"" SECRET "\",\"e\":\"" SECRET "\"}", "no RSA key"},
        {"{\"kty\":\"RSA\",\"n\":\"" SECRET "\"}", "\"e\" is missing"},
    };
    char *many = memory_new(TEXT_SIZE);
    struct error error = {0};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_file("keys", cases[i].text);
        assert_unusable("keys", cases[i].reason);
    }
    size_t used = (size_t)snprintf(many, TEXT_SIZE, "{\"keys\":[");
    for (unsigned i = 0; i <= JWT_KEYS_MAX; i++)
        used += (size_t)snprintf(
            many + used, TEXT_SIZE - used, "%s{\"kty\":\"oct\",\"k\":\"" SECRET "\"}", i == 0 ? "" : ",");
    snprintf(many + used, TEXT_SIZE - used, "]}");
    write_file("keys", many);
    free(many);
    assert_unusable("keys", "more than 64 keys");
    assert_unusable("ed", "a private key");
    assert_unusable("p384.pub", "a curve other than P-256");
    assert_unusable("small.pub", "an RSA key of 1024 bits");
    assert_unusable("missing", "No such file");
    assert_unusable("", "not a file");
    assert_int_equal(truncate(path_of("keys"), SECRET_FILE_SIZE_MAX + 1), 0);
    assert_unusable("keys", "larger than");
    assert_false(jwt_verifier_new(&(struct jwt_options){.audience = "us"}, &(struct jwt_verifier *){NULL}, &error));
    assert_null(jwt_sign(path_of("ed.pub"), NULL, "{}", &error));
    assert_non_null(strstr(error.text, "no private key"));
    write_file("keys", "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}");
    assert_null(jwt_sign(path_of("keys"), NULL, "{}", &error));
    assert_non_null(strstr(error.text, "must be a secret"));
    write_file("keys", "{");
    assert_null(jwt_sign(path_of("keys"), NULL, "{}", &error));
    assert_non_null(strstr(error.text, "no JSON"));
}

/* A secret that everybody may read is none; a public key may be read by all. */
static void secrets_that_are_open(void **state)
{
    struct jwt_verifier *verifier = NULL;
    struct error error = {0};

    (void)state;
    write_file("keys", "{\"kty\":\"oct\",\"k\":\"" SECRET "\"}");
    assert_int_equal(chmod(path_of("keys"), 0604), 0);
    assert_unusable("keys", "open to everybody");
    assert_null(jwt_sign(path_of("keys"), NULL, "{}", &error));
    assert_non_null(strstr(error.text, "open to everybody"));
    assert_int_equal(chmod(path_of("ed"), 0602), 0);
    assert_null(jwt_sign(path_of("ed"), NULL, "{}", &error));
    assert_int_equal(chmod(path_of("ed"), 0640), 0);
    free(sign("ed", NULL, "{}"));
    assert_int_equal(chmod(path_of("ed"), 0600), 0);
    assert_int_equal(chmod(path_of("ed.pub"), 0644), 0);
    verifier = verifier_of("ed.pub", NULL);
    jwt_verifier_free(verifier);
}

/* Also what a token's claims say of the keys: whether they are those in use, be the token remembered or not. */
static void keys_that_change(void **state)
{
    struct jwt_verifier *verifier = NULL;
    struct jwt_claims claims;
    struct error error = {0};
    char *token = sign("oct", NULL, "{" CLAIMS "}");

    (void)state;
    write_file("keys", "{\"kty\":\"oct\",\"k\":\"" SECRET "\"}");
    verifier = verifier_of("keys", NULL);
    for (int i = 0; i < 2; i++) {
        assert_true(jwt_verify(verifier, token, strlen(token), NOW, &claims, &error));
        assert_int_equal(claims.keys, jwt_verifier_keys(verifier));
    }
    assert_true(jwt_verifier_reload(verifier, &error));
    write_file("keys", "broken");
    assert_false(jwt_verifier_reload(verifier, &error));
    assert_true(is_good(verifier, token, NULL));
    assert_true(jwt_verifier_reload(verifier, &error)); /* said once */
    unlink(path_of("keys"));
    assert_false(jwt_verifier_reload(verifier, &error));
    assert_true(is_good(verifier, token, NULL));
    assert_int_equal(claims.keys, jwt_verifier_keys(verifier));
    write_file("keys", "{\"kty\":\"oct\",\"k\":\"" OTHER_SECRET "\"}");
    assert_true(jwt_verifier_reload(verifier, &error));
    assert_int_not_equal(claims.keys, jwt_verifier_keys(verifier));
    assert_refused(verifier, token, "wrong signature");
    jwt_verifier_free(verifier);
    free(token);
}

/* --- Remembering -------------------------------------------------------------------------------------------------- */

static void a_payload_as_it_was_signed(void **state)
{
    static const char payload[] = "{\"sub\":\"\u00e4\",\"app_metadata\":{\"plan\":[1,2]},\"exp\":1}";
    char *token = NULL;
    char *text = NULL;

    (void)state;
    write_file("keys", "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\"}");
    token = sign("keys", NULL, payload);
    text = jwt_payload(token, strlen(token));
    assert_string_equal(text, payload);
    free(text);
    free(token);
}

static void cache_is_bounded(void **state)
{
    struct jwt_claims claims = {.subject = "me"};
    struct jwt_claims found;
    struct jwt_cache cache;
    unsigned char digest[JWT_DIGEST_SIZE] = {0};
    uint32_t known = 0;

    (void)state;
    jwt_cache_init(&cache);
    for (uint32_t i = 0; i < TOKENS; i++) {
        memcpy(digest + 4, &i, sizeof(i));
        jwt_cache_add(&cache, digest, &claims);
        jwt_cache_add(&cache, digest, &claims);
    }
    assert_int_equal(cache.by_digest.count, JWT_CACHE_MAX);
    for (uint32_t i = 0; i < TOKENS; i++) {
        memcpy(digest + 4, &i, sizeof(i));
        known += jwt_cache_find(&cache, digest, &found) ? 1 : 0;
        assert_int_equal(jwt_cache_find(&cache, digest, &found), i >= TOKENS - JWT_CACHE_MAX);
    }
    assert_int_equal(known, JWT_CACHE_MAX);
    jwt_cache_clear(&cache, 1);
    assert_false(jwt_cache_find(&cache, digest, &found));
    jwt_cache_add(&cache, digest, &claims); /* verified by keys that are gone */
    assert_false(jwt_cache_find(&cache, digest, &found));
    claims.keys = 1;
    jwt_cache_add(&cache, digest, &claims);
    assert_true(jwt_cache_find(&cache, digest, &found));
    jwt_cache_release(&cache);
}

struct reader {
    struct jwt_verifier *verifier;
    const char *token;
    atomic_bool *is_over;
    unsigned good;
};

static void *verify_on(void *argument)
{
    struct reader *reader = argument;

    while (!atomic_load(reader->is_over))
        reader->good += is_good(reader->verifier, reader->token, NULL) ? 1 : 0;
    return NULL;
}

static void keys_change_under_readers(void **state)
{
    static const char *const files[] = {
        "{\"kty\":\"oct\",\"k\":\"" SECRET "\"}", "{\"kty\":\"oct\",\"k\":\"" OTHER_SECRET "\"}"};
    char *token = sign("oct", NULL, "{" CLAIMS "}");
    struct reader readers[THREADS];
    pthread_t threads[THREADS];
    atomic_bool is_over = false;

    (void)state;
    write_file("keys", files[0]);
    struct jwt_verifier *verifier = verifier_of("keys", NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){verifier, token, &is_over, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, verify_on, &readers[i]), 0);
    }
    for (unsigned i = 1; i <= RELOADS; i++) {
        write_file("keys", files[i % 2]);
        assert_true(jwt_verifier_reload(verifier, NULL));
        assert_int_equal(is_good(verifier, token, NULL), i % 2 == 0); /* at once, whatever the others are at */
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    jwt_verifier_free(verifier);
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm),
        cmocka_unit_test(published_signatures),
        cmocka_unit_test(audience_and_issuer),
        cmocka_unit_test(headers_that_are_refused),
        cmocka_unit_test(payloads_that_are_refused),
        cmocka_unit_test(forms_that_are_refused),
        cmocka_unit_test(public_key_as_secret),
        cmocka_unit_test(key_ids),
        cmocka_unit_test(files_that_are_refused),
        cmocka_unit_test(secrets_that_are_open),
        cmocka_unit_test(keys_that_change),
        cmocka_unit_test(a_payload_as_it_was_signed),
        cmocka_unit_test(cache_is_bounded),
        cmocka_unit_test(keys_change_under_readers),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
