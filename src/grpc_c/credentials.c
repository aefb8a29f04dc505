#include "grpc_c/credentials.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/secret_file.h"

/* What the core is given: PEM, NUL-terminated. */
struct material {
    char *certificates; /* the own one first, then those between it and the root */
    char *key;
    char *roots; /* whom to trust; NULL: nobody is asked */
};

struct server_tls {
    char *certificate_file;
    char *key_file;
    char *client_ca_file; /* NULL: clients show no certificates */
    struct material prepared;

    pthread_mutex_t lock;
    /* under the lock */
    struct material served;
    bool is_new; /* the core has not asked for it yet */
};

static void material_release(struct material *material)
{
    free(material->certificates);
    secret_wipe(material->key, material->key == NULL ? 0 : strlen(material->key));
    free(material->roots);
    *material = (struct material){0};
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

/* The content of a file as a string, the caller's. What is judged is what is used: nothing is read twice. */
static bool file_read(const char *path, bool is_secret, char **ret_text, struct error *reterr_error)
{
    struct secret_file file = {0};
    bool ok =
        secret_file_read(path, &file, reterr_error) && (!is_secret || secret_file_check(&file, path, reterr_error));

    if (ok && strlen(file.text) != file.size)
        ok = error_set(reterr_error, ERROR_INVALID, "%s contains a NUL byte", path);
    if (ok)
        *ret_text = file.text;
    else
        secret_file_wipe(&file);
    return ok;
}

/* --- Judging ------------------------------------------------------------------------------------------------------ */

/* OpenSSL's reason for what has just failed. */
static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    return reason == NULL ? "OpenSSL gives no reason" : reason;
}

/* Nobody is there to be asked for a pass phrase. */
static int no_pass_phrase(char *buffer, int size, int is_writing, void *user)
{
    (void)buffer;
    (void)size;
    (void)is_writing;
    (void)user;
    return -1;
}

/* All certificates of a PEM text, in its order: at least one, and nothing that only looks like one. Freed with
 * sk_X509_pop_free(). */
static STACK_OF(X509) * certificates_parse(const char *path, const char *text, struct error *reterr_error)
{
    STACK_OF(X509) *certificates = sk_X509_new_null();
    BIO *input = BIO_new_mem_buf(text, -1);
    X509 *certificate = NULL;
    unsigned long failure = 0;

    ERR_clear_error();
    while ((certificate = PEM_read_bio_X509(input, NULL, no_pass_phrase, NULL)) != NULL)
        sk_X509_push(certificates, certificate);
    failure = ERR_peek_last_error();
    BIO_free(input);
    if (ERR_GET_LIB(failure) == ERR_LIB_PEM && ERR_GET_REASON(failure) == PEM_R_NO_START_LINE &&
        sk_X509_num(certificates) > 0)
        return certificates; /* read to the end */
    if (sk_X509_num(certificates) == 0 && ERR_GET_REASON(failure) == PEM_R_NO_START_LINE)
        error_set(reterr_error, ERROR_INVALID, "%s holds no certificate in PEM form", path);
    else
        error_set(reterr_error, ERROR_INVALID, "%s: certificate %d cannot be read: %s", path,
            sk_X509_num(certificates) + 1, openssl_reason());
    sk_X509_pop_free(certificates, X509_free);
    return NULL;
}

static EVP_PKEY *key_parse(const char *path, const char *text, struct error *reterr_error)
{
    BIO *input = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = NULL;

    ERR_clear_error();
    key = PEM_read_bio_PrivateKey(input, NULL, no_pass_phrase, NULL);
    if (key == NULL)
        error_set(reterr_error, ERROR_INVALID, "%s holds no private key in PEM form without a pass phrase: %s", path,
            openssl_reason());
    BIO_free(input);
    return key;
}

static bool check_dates(const char *path, int number, const X509 *certificate, struct error *reterr_error)
{
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) >= 0) /* 0: the time is malformed */
        return error_set(reterr_error, ERROR_INVALID, "%s: certificate %d is not valid yet", path, number);
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0)
        return error_set(reterr_error, ERROR_INVALID, "%s: certificate %d has expired", path, number);
    return true;
}

/* That OpenSSL would serve with these, which is what the core does with them: the key is the certificate's, and both
 * are as strong as the system asks for. */
static bool check_pair(const char *certificate_file, const char *key_file, STACK_OF(X509) * certificates, EVP_PKEY *key,
    struct error *reterr_error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    bool ok = false;

    assert(context != NULL);
    ERR_clear_error();
    if (X509_check_private_key(sk_X509_value(certificates, 0), key) != 1) {
        error_set(reterr_error, ERROR_INVALID, "the key in %s is not that of the certificate in %s", key_file,
            certificate_file);
        goto cleanup;
    }
    ok = SSL_CTX_use_certificate(context, sk_X509_value(certificates, 0)) == 1 &&
         SSL_CTX_use_PrivateKey(context, key) == 1;
    for (int i = 1; ok && i < sk_X509_num(certificates); i++)
        ok = SSL_CTX_add1_chain_cert(context, sk_X509_value(certificates, i)) == 1;
    if (!ok)
        error_set(reterr_error, ERROR_INVALID, "%s cannot be used: %s", certificate_file, openssl_reason());

cleanup:
    SSL_CTX_free(context);
    ERR_clear_error();
    return ok;
}

/* Reads a certificate with its chain, and its key, into `material`. With `is_server` the dates and the usage are
 * judged too; a client's are for the server to judge, whose clock counts. */
static bool load_pair(const char *certificate_file, const char *key_file, bool is_server, struct material *material,
    struct error *reterr_error)
{
    STACK_OF(X509) *certificates = NULL;
    EVP_PKEY *key = NULL;
    bool ok = false;

    if (!file_read(certificate_file, false, &material->certificates, reterr_error) ||
        !file_read(key_file, true, &material->key, reterr_error))
        goto cleanup;
    certificates = certificates_parse(certificate_file, material->certificates, reterr_error);
    if (certificates == NULL)
        goto cleanup;
    for (int i = 0; is_server && i < sk_X509_num(certificates); i++)
        if (!check_dates(certificate_file, i + 1, sk_X509_value(certificates, i), reterr_error))
            goto cleanup;
    if (is_server && X509_check_purpose(sk_X509_value(certificates, 0), X509_PURPOSE_SSL_SERVER, 0) != 1) {
        error_set(reterr_error, ERROR_INVALID, "%s: the certificate's usage is not that of a server", certificate_file);
        goto cleanup;
    }
    key = key_parse(key_file, material->key, reterr_error);
    ok = key != NULL && check_pair(certificate_file, key_file, certificates, key, reterr_error);

cleanup:
    EVP_PKEY_free(key);
    sk_X509_pop_free(certificates, X509_free);
    ERR_clear_error();
    return ok;
}

/* Reads whom to trust. A bundle may hold some that are out of date, but not only such. */
static bool load_roots(const char *path, struct material *material, struct error *reterr_error)
{
    STACK_OF(X509) *certificates = NULL;
    struct error error = {0};
    bool ok = false;

    if (!file_read(path, false, &material->roots, reterr_error))
        return false;
    certificates = certificates_parse(path, material->roots, &error);
    for (int i = 0; !ok && i < sk_X509_num(certificates); i++)
        ok = check_dates(path, i + 1, sk_X509_value(certificates, i), &error);
    sk_X509_pop_free(certificates, X509_free);
    ERR_clear_error();
    return ok || error_set(reterr_error, error.code, "%s", error.text);
}

/* --- Servers ------------------------------------------------------------------------------------------------------ */

bool server_tls_prepare(struct server_tls *tls, struct error *reterr_error)
{
    struct material material = {0};
    bool ok = load_pair(tls->certificate_file, tls->key_file, true, &material, reterr_error) &&
              (tls->client_ca_file == NULL || load_roots(tls->client_ca_file, &material, reterr_error));

    material_release(&tls->prepared);
    if (ok)
        tls->prepared = material;
    else
        material_release(&material);
    return ok;
}

void server_tls_swap(struct server_tls *tls)
{
    struct material old = {0};

    if (tls->prepared.certificates == NULL)
        return;
    pthread_mutex_lock(&tls->lock);
    old = tls->served;
    tls->served = tls->prepared;
    tls->is_new = true;
    pthread_mutex_unlock(&tls->lock);
    tls->prepared = (struct material){0};
    material_release(&old);
}

/* The core asks before every handshake. */
static grpc_ssl_certificate_config_reload_status fetch(void *user, grpc_ssl_server_certificate_config **config)
{
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    struct server_tls *tls = user;

    pthread_mutex_lock(&tls->lock);
    if (tls->is_new) {
        const grpc_ssl_pem_key_cert_pair pair = {
            .private_key = tls->served.key, .cert_chain = tls->served.certificates};
        /* The core asserts that there are roots, even where it asks nobody for a certificate: any will do there. */
        const char *roots = tls->served.roots == NULL ? tls->served.certificates : tls->served.roots;
        *config = grpc_ssl_server_certificate_config_create(roots, &pair, 1); /* copies */
        tls->is_new = false;
        status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    }
    pthread_mutex_unlock(&tls->lock);
    return status;
}

grpc_server_credentials *server_tls_credentials(struct server_tls *tls)
{
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            tls->client_ca_file == NULL ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                        : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
            fetch, tls));
}

bool server_tls_new(const struct grpc_c_server_tls *files, struct server_tls **ret_tls, struct error *reterr_error)
{
    struct server_tls *tls = NULL;

    if (files->certificate_file == NULL || files->key_file == NULL)
        return error_set(reterr_error, ERROR_INVALID, "TLS needs a certificate and its key");
    if ((files->client_ca_file == NULL) != files->without_client_certificates)
        return error_set(reterr_error, ERROR_INVALID,
            "TLS needs either the CA of the clients' certificates or the word that clients have none");
    tls = memory_new(sizeof(*tls));
    pthread_mutex_init(&tls->lock, NULL);
    tls->certificate_file = memory_copy_string(files->certificate_file);
    tls->key_file = memory_copy_string(files->key_file);
    tls->client_ca_file = memory_copy_string(files->client_ca_file);
    if (!server_tls_prepare(tls, reterr_error)) {
        server_tls_free(tls);
        return false;
    }
    server_tls_swap(tls);
    *ret_tls = tls;
    return true;
}

void server_tls_free(struct server_tls *tls)
{
    if (tls == NULL)
        return;
    material_release(&tls->prepared);
    material_release(&tls->served);
    pthread_mutex_destroy(&tls->lock);
    free(tls->certificate_file);
    free(tls->key_file);
    free(tls->client_ca_file);
    free(tls);
}

/* --- Channels ----------------------------------------------------------------------------------------------------- */

enum grpc_c_tls_lack grpc_c_channel_tls_lack(const struct grpc_c_channel_tls *tls)
{
    if (tls->ca_file == NULL)
        return GRPC_C_TLS_LACKS_CA;
    return (tls->certificate_file == NULL) != (tls->key_file == NULL) ? GRPC_C_TLS_LACKS_HALF
                                                                      : GRPC_C_TLS_LACKS_NOTHING;
}

bool channel_tls_credentials(
    const struct grpc_c_channel_tls *files, grpc_channel_credentials **ret_credentials, struct error *reterr_error)
{
    struct material material = {0};
    grpc_ssl_pem_key_cert_pair pair = {0};
    bool has_pair = files->certificate_file != NULL;
    bool ok = false;

    switch (grpc_c_channel_tls_lack(files)) {
    case GRPC_C_TLS_LACKS_CA:
        return error_set(reterr_error, ERROR_INVALID, "TLS needs the CA of the server's certificate");
    case GRPC_C_TLS_LACKS_HALF:
        return error_set(reterr_error, ERROR_INVALID, "a client's certificate and its key go together");
    case GRPC_C_TLS_LACKS_NOTHING:
        break;
    }
    ok = load_roots(files->ca_file, &material, reterr_error) &&
         (!has_pair || load_pair(files->certificate_file, files->key_file, false, &material, reterr_error));
    if (ok) {
        pair = (grpc_ssl_pem_key_cert_pair){.private_key = material.key, .cert_chain = material.certificates};
        *ret_credentials = grpc_ssl_credentials_create_ex(material.roots, has_pair ? &pair : NULL, NULL, NULL);
    }
    material_release(&material);
    return ok;
}
