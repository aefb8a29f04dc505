#include "certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAY_S = 24 * 3600 };

static void add_extension(X509 *x509, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

struct certificate certificate_new(const struct certificate_options *options, const struct certificate *ca)
{
    struct certificate made = {.x509 = X509_new()};
    X509_NAME *subject = X509_get_subject_name(made.x509);

    made.key = options->rsa_bits == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen((unsigned)options->rsa_bits);
    assert_non_null(made.key);
    X509_set_version(made.x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.x509), options->serial == 0 ? 1 : options->serial);
    X509_gmtime_adj(X509_getm_notBefore(made.x509), options->begin_s == 0 ? -DAY_S : options->begin_s);
    X509_gmtime_adj(X509_getm_notAfter(made.x509), options->end_s == 0 ? DAY_S : options->end_s);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)options->name, -1, -1, 0);
    X509_set_issuer_name(made.x509, ca == NULL ? subject : X509_get_subject_name(ca->x509));
    X509_set_pubkey(made.x509, made.key);
    add_extension(made.x509, ca == NULL ? made.x509 : ca->x509, NID_basic_constraints,
        ca == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (options->usage != NULL)
        add_extension(made.x509, made.x509, NID_ext_key_usage, options->usage);
    if (options->names != NULL)
        add_extension(made.x509, made.x509, NID_subject_alt_name, options->names);
    assert_true(X509_sign(made.x509, ca == NULL ? made.key : ca->key, EVP_sha256()) > 0);
    return made;
}

void certificate_release(struct certificate *certificate)
{
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
    *certificate = (struct certificate){0};
}

/* --- Files -------------------------------------------------------------------------------------------------------- */

void directory_new(char ret_path[CERTIFICATES_PATH_SIZE])
{
    snprintf(ret_path, CERTIFICATES_PATH_SIZE, "/tmp/leadrouter-tls-XXXXXX");
    assert_non_null(mkdtemp(ret_path));
}

void directory_remove(const char *path)
{
    DIR *directory = opendir(path);
    char name[2 * CERTIFICATES_PATH_SIZE + 256];

    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.')
            assert_int_equal(unlink(name), 0);
    }
    closedir(directory);
    assert_int_equal(rmdir(path), 0);
}

/* Opens what finish() puts in its place. */
static FILE *begin(const char *directory, char ret_path[2 * CERTIFICATES_PATH_SIZE])
{
    snprintf(ret_path, 2 * CERTIFICATES_PATH_SIZE, "%s/new", directory);
    mode_t before = umask(077); /* keys that others may read are refused */
    FILE *file = fopen(ret_path, "we");
    umask(before);
    assert_non_null(file);
    return file;
}

static void finish(FILE *file, const char *path, const char *directory, const char *name, const char *ending)
{
    char target[2 * CERTIFICATES_PATH_SIZE];

    assert_int_equal(fclose(file), 0);
    snprintf(target, sizeof(target), "%s/%s%s", directory, name, ending);
    assert_int_equal(rename(path, target), 0);
}

void certificate_write(const struct certificate *certificate, const char *directory, const char *name)
{
    char path[2 * CERTIFICATES_PATH_SIZE];
    FILE *file = begin(directory, path);

    assert_int_equal(PEM_write_X509(file, certificate->x509), 1);
    finish(file, path, directory, name, ".pem");
    file = begin(directory, path);
    assert_int_equal(PEM_write_PrivateKey(file, certificate->key, NULL, NULL, 0, NULL, NULL), 1);
    finish(file, path, directory, name, ".key");
}

void text_write(const char *directory, const char *name, const char *text)
{
    char path[2 * CERTIFICATES_PATH_SIZE];
    FILE *file = begin(directory, path);

    assert_true(fputs(text, file) >= 0);
    finish(file, path, directory, name, "");
}
