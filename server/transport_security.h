/* How leadrouterd listens: plain text or TLS, as the settings say; and certificates that change while it serves. */
#ifndef SERVER_TRANSPORT_SECURITY_H
#define SERVER_TRANSPORT_SECURITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "admin_listener.h"
#include "base/error.h"
#include "config.h"
#include "grpc_c/server.h"

enum { TRANSPORT_FILES = 3, TRANSPORT_LOOK_MS = 2000 /* how often files are looked at */ };

/* The files of a server's certificates, and when they were last read. One thread. */
struct transport_security {
    struct grpc_c_server_tls tls;
    const char *files[TRANSPORT_FILES]; /* NULL: none */
    struct stat read[TRANSPORT_FILES];  /* as they were when they were last read; zeroed: not there */
    struct stat seen[TRANSPORT_FILES];  /* as they were at the last look */
    atomic_int_fast64_t
        expires_s; /* any thread: when the first certificate of the chain ends, Unix; 0: none is there */
};

/* True when the settings about TLS fit together and, with them, the addresses of both listeners. Errors: ERROR_INVALID that names the flag;
 * ERROR_UNAVAILABLE: a host could not be looked up. Files are not looked at. */
bool transport_security_check(const struct config *config, struct error *reterr_error);

/* True when the settings ask for TLS. */
bool transport_security_is_on(const struct config *config);

/* Makes the server listen; `security` keeps what the settings say (borrowed). Errors: those of grpc_c_server_listen() and
 * grpc_c_server_listen_tls(). */
bool transport_security_listen(struct transport_security *security, const struct config *config,
    struct grpc_c_server *server, int *ret_port, struct error *reterr_error);

/* Reads the certificates again and logs how that went, one line. `admin` (NULL: none) gets them too. */
void transport_security_reload(
    struct transport_security *security, struct grpc_c_server *server, struct admin_listener *admin);

/* When the first of the certificates in use ends, Unix time; 0 without TLS. Any thread. */
int64_t transport_security_expires_s(const struct transport_security *security);

/* Reads them again when one of the files has changed and all have kept still since the look before. To be called every
 * TRANSPORT_LOOK_MS. */
void transport_security_look(
    struct transport_security *security, struct grpc_c_server *server, struct admin_listener *admin);

#endif
