#include "transport_security.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "base/address.h"
#include "base/log.h"

bool transport_security_is_on(const struct config *config)
{
    return config->tls_certificate != NULL;
}

/* The address for gRPC; resolved, for freeaddrinfo(). */
static bool resolve_listen(const struct config *config, struct addrinfo **ret_found, struct error *reterr_error)
{
    return ((transport_security_is_on(config) || address_check_loopback(config->listen, reterr_error)) &&
               address_resolve(config->listen, ret_found, reterr_error)) ||
           error_add_context(reterr_error, "--listen");
}

static bool check_addresses(const struct config *config, struct error *reterr_error)
{
    const struct admin_listener_options admin = {.address = config->admin_listen,
        .certificate_file = config->tls_certificate,
        .token_file = config->admin_token_file};
    struct addrinfo *listen = NULL;
    struct addrinfo *admin_listen = NULL;
    bool ok = resolve_listen(config, &listen, reterr_error);

    if (ok && config->admin_listen != NULL)
        ok = admin_listener_resolve(&admin, &admin_listen, reterr_error);
    if (ok && admin_listen != NULL && address_collides(listen, admin_listen->ai_addr))
        ok = error_set(reterr_error, ERROR_INVALID,
            "--listen %.100s and --admin-listen %.100s are one address: each needs its own", config->listen,
            config->admin_listen);
    if (listen != NULL)
        freeaddrinfo(listen);
    if (admin_listen != NULL)
        freeaddrinfo(admin_listen);
    return ok;
}

bool transport_security_check(const struct config *config, struct error *reterr_error)
{
    if ((config->tls_certificate == NULL) != (config->tls_key == NULL))
        return error_set(reterr_error, ERROR_INVALID, "--tls-certificate and --tls-key go together");
    if (!transport_security_is_on(config) && (config->tls_client_ca != NULL || config->no_client_certificates))
        return error_set(reterr_error, ERROR_INVALID, "%s is of no use without --tls-certificate",
            config->tls_client_ca != NULL ? "--tls-client-ca" : "--no-client-certificates");
    if (config->tls_client_ca != NULL && config->no_client_certificates)
        return error_set(
            reterr_error, ERROR_INVALID, "--tls-client-ca and --no-client-certificates exclude each other");
    if (transport_security_is_on(config) && config->tls_client_ca == NULL && !config->no_client_certificates)
        return error_set(reterr_error, ERROR_INVALID,
            "TLS needs --tls-client-ca FILE, or --no-client-certificates to serve whoever reaches the address");
    return check_addresses(config, reterr_error);
}

/* How the files are now. A file that is not there looks zeroed. */
static void look(const struct transport_security *security, struct stat ret_status[TRANSPORT_FILES])
{
    memset(ret_status, 0, TRANSPORT_FILES * sizeof(*ret_status));
    for (size_t i = 0; i < TRANSPORT_FILES; i++)
        if (security->files[i] != NULL && stat(security->files[i], &ret_status[i]) != 0)
            ret_status[i] = (struct stat){0};
}

/* True when neither content nor name can have changed between two looks. */
static bool is_same(const struct stat *old, const struct stat *now)
{
    for (size_t i = 0; i < TRANSPORT_FILES; i++)
        if (old[i].st_dev != now[i].st_dev || old[i].st_ino != now[i].st_ino || old[i].st_size != now[i].st_size ||
            old[i].st_mtim.tv_sec != now[i].st_mtim.tv_sec || old[i].st_mtim.tv_nsec != now[i].st_mtim.tv_nsec)
            return false;
    return true;
}

/* The files were judged by whoever uses them: what cannot be read here is 0. */
static void read_expiry(struct transport_security *security)
{
    BIO *file = BIO_new_file(security->tls.certificate_file, "r");
    int64_t first_s = 0;

    for (X509 *certificate = NULL; file != NULL && (certificate = PEM_read_bio_X509(file, NULL, NULL, NULL)) != NULL;
         X509_free(certificate)) {
        struct tm end;
        if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
            continue;
        int64_t end_s = timegm(&end);
        if (first_s == 0 || end_s < first_s)
            first_s = end_s;
    }
    BIO_free(file);
    ERR_clear_error(); /* the end of the file is one */
    atomic_store(&security->expires_s, first_s);
}

int64_t transport_security_expires_s(const struct transport_security *security)
{
    return atomic_load(&security->expires_s);
}

bool transport_security_listen(struct transport_security *security, const struct config *config,
    struct grpc_c_server *server, int *ret_port, struct error *reterr_error)
{
    *security = (struct transport_security){0};
    if (!transport_security_is_on(config))
        return grpc_c_server_listen(server, config->listen, ret_port, reterr_error) ||
               error_add_context(reterr_error, "--listen");
    security->tls = (struct grpc_c_server_tls){.certificate_file = config->tls_certificate,
        .key_file = config->tls_key,
        .client_ca_file = config->tls_client_ca,
        .without_client_certificates = config->no_client_certificates};
    security->files[0] = config->tls_certificate;
    security->files[1] = config->tls_key;
    security->files[2] = config->tls_client_ca;
    look(security, security->read);
    memcpy(security->seen, security->read, sizeof(security->seen));
    read_expiry(security);
    return grpc_c_server_listen_tls(server, config->listen, &security->tls, ret_port, reterr_error);
}

static void tell_refused(const struct error *error, const char *message)
{
    const struct log_field fields[] = {LOG_STRING("error", error->text), LOG_END};

    log_write(LOG_LEVEL_ERROR, "tls.refused", message, fields);
}

void transport_security_reload(
    struct transport_security *security, struct grpc_c_server *server, struct admin_listener *admin)
{
    struct error error = {0};

    look(security, security->read); /* before they are read: what changes meanwhile is read again */
    memcpy(security->seen, security->read, sizeof(security->seen));
    if (!grpc_c_server_reload_tls(server, &error)) {
        tell_refused(&error, "the certificates in use stay");
        return;
    }
    read_expiry(security);
    const struct log_field fields[] = {LOG_STRING("certificate", security->tls.certificate_file), LOG_END};
    log_write(LOG_LEVEL_INFO, "tls.reloaded", "new connections get the certificates in the files", fields);
    if (admin != NULL && !admin_listener_reload(admin, &error))
        tell_refused(&error, "the admin listener keeps its certificate and its token");
}

void transport_security_look(
    struct transport_security *security, struct grpc_c_server *server, struct admin_listener *admin)
{
    struct stat now[TRANSPORT_FILES];
    bool is_still = false;

    look(security, now);
    is_still = is_same(security->seen, now);
    memcpy(security->seen, now, sizeof(security->seen));
    if (is_still && !is_same(security->read, now))
        transport_security_reload(security, server, admin);
}
