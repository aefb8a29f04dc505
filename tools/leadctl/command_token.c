#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/uuid.h"
#include "command.h"
#include "jwt/jwt.h"

enum { EXPIRES_MAX_S = 31536000 };

static const char usage[] =
    "Usage: leadctl token --key FILE --subject UUID --audience TEXT [FLAGS]\n\n"
    "Prints a token for development and tests, signed with a private key of yours. It asks no server. A key is made "
    "with\n"
    "openssl genpkey -algorithm ed25519 (or -algorithm EC -pkeyopt ec_paramgen_curve:P-256) -out FILE; its public "
    "part,\n"
    "for leadrouterd serve --token-keys, with openssl pkey -in FILE -pubout.\n\n"
    "Example: leadctl token --key key.pem --subject 3f0e4a52-93d1-4b4e-9f0a-0d6c5a2b7e11 --audience leadrouter";

struct token_options {
    const char *key;
    const char *key_id;
    const char *subject;
    const char *audience;
    const char *issuer;
    const char *role;
    int expires_s;
};

static bool check(const struct token_options *options)
{
    struct uuid id;

    if (options->key == NULL || options->subject == NULL || options->audience == NULL) {
        fprintf(stderr, "leadctl: --%s: missing; see --help\n",
            options->key == NULL       ? "key"
            : options->subject == NULL ? "subject"
                                       : "audience");
        return false;
    }
    if (!uuid_parse(options->subject, &id)) {
        fprintf(stderr, "leadctl: --subject: \"%s\" is not a UUID\n", options->subject);
        return false;
    }
    return true;
}

/* The caller's, released with free(). */
static char *payload_of(const struct token_options *options)
{
    int64_t now_s = time(NULL);
    json_t *payload = json_pack("{s:s, s:s, s:s, s:I, s:I}", "sub", options->subject, "aud", options->audience, "role",
        options->role, "iat", (json_int_t)now_s, "exp", (json_int_t)(now_s + options->expires_s));
    char *text = NULL;

    if (payload != NULL && options->issuer != NULL)
        json_object_set_new(payload, "iss", json_string(options->issuer));
    text = json_dumps(payload, JSON_COMPACT);
    json_decref(payload);
    return text;
}

static int print_token(const struct token_options *options, bool as_json)
{
    struct error error = {0};
    char *payload = payload_of(options);
    char *token = NULL;

    if (payload == NULL) {
        fprintf(stderr, "leadctl: --audience, --issuer and --role: must be UTF-8\n");
        return EXIT_USAGE;
    }
    token = jwt_sign(options->key, options->key_id, payload, &error);
    free(payload);
    if (token == NULL) {
        fprintf(stderr, "leadctl: --key: %s\n", error.text);
        return EXIT_USAGE;
    }
    if (as_json)
        print_json(json_pack("{s:s}", "token", token));
    else
        printf("%s\n", token);
    free(token);
    return EXIT_DONE;
}

int command_token(int argc, char **argv)
{
    struct token_options options = {.role = "authenticated", .expires_s = 3600};
    const struct option_spec specs[] = {
        {"key", "FILE", "private key: Ed25519, P-256 or RSA in PEM form, or a JWK of kind oct", OPTION_TEXT,
            &options.key, 0, 0},
        {"key-id", "ID", "name of the key, when the server has several", OPTION_TEXT, &options.key_id, 0, 0},
        {"subject", "UUID", "who it is (sub)", OPTION_TEXT, &options.subject, 0, 0},
        {"audience", "TEXT", "whom it is meant for (aud), as the server's --token-audience", OPTION_TEXT,
            &options.audience, 0, 0},
        {"issuer", "TEXT", "who issues it (iss)", OPTION_TEXT, &options.issuer, 0, 0},
        {"role", "ROLE", "authenticated for people (the default), service_role for services", OPTION_TEXT,
            &options.role, 0, 0},
        {"expires", "SECONDS", "how long it is good for; default 3600", OPTION_NUMBER, &options.expires_s, 1,
            EXPIRES_MAX_S},
    };
    struct common_options common;
    const char *operand = NULL;
    size_t operand_count = 0;

    switch (options_parse(usage, specs, COUNT_OF(specs), argc, argv, &common, &operand, 0, &operand_count)) {
    case OPTIONS_HELP_SHOWN:
        return EXIT_DONE;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    case OPTIONS_OK:
        break;
    }
    return check(&options) ? print_token(&options, common.json) : EXIT_USAGE;
}
