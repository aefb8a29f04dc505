#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "command.h"
#include "jwt/jwt.h"

enum { EXPIRES_MAX_S = 31536000 };

/* The caller's, released with free(). */
static char *payload_of(const struct arguments *options)
{
    int64_t now_s = time(NULL);
    json_t *payload = json_pack("{s:s, s:s, s:s, s:I, s:I}", "sub", options->subject, "aud", options->audience, "role",
        options->role == NULL ? "authenticated" : options->role, "iat", (json_int_t)now_s, "exp",
        (json_int_t)(now_s + options->expires));
    char *text = NULL;

    if (payload != NULL && options->issuer != NULL)
        json_object_set_new(payload, "iss", json_string(options->issuer));
    text = json_dumps(payload, JSON_COMPACT);
    json_decref(payload);
    return text;
}

static int run(const struct arguments *arguments, struct session *session)
{
    struct error error = {0};
    char *payload = payload_of(arguments);
    char *token = NULL;

    (void)session; /* no server is asked */
    if (payload == NULL) {
        fprintf(stderr, "leadctl: --audience and --issuer: must be UTF-8\n");
        return EXIT_USAGE;
    }
    token = jwt_sign(arguments->key, arguments->key_id, payload, &error);
    free(payload);
    if (token == NULL) {
        fprintf(stderr, "leadctl: --key: %s\n", error.text);
        return EXIT_USAGE;
    }
    if (arguments->common.json)
        print_json(json_pack("{s:s}", "token", token));
    else
        printf("%s\n", token);
    free(token);
    return EXIT_DONE;
}

static const struct option_spec flags[] = {
    {.name = "key",
        .placeholder = "FILE",
        .help = "private key: Ed25519, P-256 or RSA in PEM form, or a JWK of kind oct",
        .kind = OPTION_FILE,
        .offset = offsetof(struct arguments, key),
        .is_needed = true},
    {.name = "subject",
        .placeholder = "UUID",
        .help = "who it is (sub)",
        .kind = OPTION_ID,
        .offset = offsetof(struct arguments, subject),
        .is_needed = true},
    {.name = "audience",
        .placeholder = "TEXT",
        .help = "whom it is meant for (aud), as the server's --token-audience",
        .offset = offsetof(struct arguments, audience),
        .is_needed = true},
    {.name = "key-id",
        .placeholder = "ID",
        .help = "name of the key, when the server has several",
        .offset = offsetof(struct arguments, key_id)},
    {.name = "issuer",
        .placeholder = "TEXT",
        .help = "who issues it (iss)",
        .offset = offsetof(struct arguments, issuer)},
    {.name = "role",
        .placeholder = "ROLE",
        .help = "authenticated for people (the default), service_role for services",
        .offset = offsetof(struct arguments, role)},
    {.name = "expires",
        .placeholder = "SECONDS",
        .help = "how long it is good for",
        .kind = OPTION_NUMBER,
        .offset = offsetof(struct arguments, expires),
        .least = 1,
        .most = EXPIRES_MAX_S,
        .standard = 3600},
};

const struct command command_token = {
    .name = "token",
    .summary = "a token for development, signed with a key of yours",
    .text = "Prints a token for development and tests, signed with a private key of yours. It asks no server.\n\n"
            "A key is made with openssl genpkey -algorithm ed25519 (or -algorithm EC -pkeyopt ec_paramgen_curve:P-256) "
            "-out "
            "FILE; its public part, for leadrouterd serve --token-keys, with openssl pkey -in FILE -pubout.",
    .example = "leadctl token --key key.pem --subject 3f0e4a52-93d1-4b4e-9f0a-0d6c5a2b7e11 --audience leadrouter",
    COMMAND_FLAGS(flags),
    .run = run,
    .is_local = true,
    .is_offline = true,
};
