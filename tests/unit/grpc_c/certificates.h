/* Certificates for tests, made as they are needed, in a directory of their own. */
#ifndef GRPC_C_TEST_CERTIFICATES_H
#define GRPC_C_TEST_CERTIFICATES_H

#include <openssl/x509.h>

enum { CERTIFICATES_PATH_SIZE = 128 };

/* What a certificate says. Zero in a field means its default. */
struct certificate_options {
    const char *name;  /* Required: the subject's common name */
    const char *names; /* subject alternative names as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1" */
    const char *usage; /* extended key usage: "serverAuth", "clientAuth" */
    long begin_s;      /* from now; default a day ago */
    long end_s;        /* from now; default in a day */
    int rsa_bits;      /* default: a key on curve P-256 */
    long serial;       /* default 1 */
};

/* A certificate with its key. */
struct certificate {
    X509 *x509;
    EVP_PKEY *key;
};

/* Makes a certificate, signed by `ca`; NULL makes a CA, signed by itself. */
struct certificate certificate_new(const struct certificate_options *options, const struct certificate *ca);
void certificate_release(struct certificate *certificate);

/* A new directory in /tmp, and its end with all that is in it. */
void directory_new(char ret_path[CERTIFICATES_PATH_SIZE]);
void directory_remove(const char *path);

/* Writes DIRECTORY/NAME.pem and DIRECTORY/NAME.key; whoever reads them sees the old ones or the new. */
void certificate_write(const struct certificate *certificate, const char *directory, const char *name);

/* Writes any text, in the same way. */
void text_write(const char *directory, const char *name, const char *text);

#endif
