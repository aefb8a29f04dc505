/* Any bytes as a token, which nobody signed: refused. With a tab in them, what stands before and behind it becomes header and payload of a
 * token that is signed well: then what was accepted is for us and for now. */
#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "fuzz.h"
#include "jwt/internal.h"

enum { NOW = 1800000000, SIGNATURE_ROOM = 64 };

static const unsigned char secret[] = "a secret of thirty-two bytes, or";

/* The secret in base64url, and the public keys of RFC 7515 (A.3) and RFC 8037 (A.2). */
static const char keys[] =
    "{\"keys\":[{\"kty\":\"oct\",\"k\":\"YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcywgb3I\"},"
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},"
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

static struct jwt_verifier *make_verifier(void)
{
    char path[] = "/tmp/fuzz_jwt-XXXXXX";
    const char *const paths[] = {path};
    const struct jwt_options options = {.key_paths = paths, .key_path_count = 1, .audience = "us", .skew_s = 60};
    struct jwt_verifier *verifier = NULL;
    int file = mkstemp(path);

    if (file < 0 || write(file, keys, strlen(keys)) != (ssize_t)strlen(keys) ||
        !jwt_verifier_new(&options, &verifier, NULL))
        abort();
    close(file);
    unlink(path);
    return verifier;
}

static char *sign(const char *header, size_t header_size, const char *payload, size_t payload_size)
{
    char *head = base64url_encode(header, header_size);
    char *body = base64url_encode(payload, payload_size);
    size_t size = strlen(head) + strlen(body) + SIGNATURE_ROOM;
    char *token = memory_new(size);
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t mac_size = 0;

    snprintf(token, size, "%s.%s", head, body);
    EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, secret, sizeof(secret) - 1, (unsigned char *)token, strlen(token),
        mac, sizeof(mac), &mac_size);
    char *signature = base64url_encode(mac, mac_size);
    snprintf(token + strlen(token), size - strlen(token), ".%s", signature);
    free(signature);
    free(head);
    free(body);
    return token;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct jwt_verifier *verifier = NULL;
    const char *text = (const char *)data;
    const char *tab = memchr(text, '\t', size);
    struct jwt_claims claims;
    struct error error = {0};

    if (verifier == NULL)
        verifier = make_verifier();
    if (tab == NULL) {
        bool is_good = jwt_verify(verifier, text, size, NOW, &claims, &error);
        assert(!is_good && error.code == ERROR_UNAUTHENTICATED && error.text[0] != '\0');
        return 0;
    }
    char *token = sign(text, (size_t)(tab - text), tab + 1, size - (size_t)(tab - text) - 1);
    if (jwt_verify(verifier, token, strlen(token), NOW, &claims, &error))
        assert(claims.expires_s > NOW - 60 && claims.subject[0] != '\0');
    else
        assert(error.code == ERROR_UNAUTHENTICATED);
    free(token);
    return 0;
}
