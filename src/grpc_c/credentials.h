/* Certificates and keys: read from files, judged with OpenSSL, and given to the core. Not for users of src/grpc_c. */
#ifndef GRPC_C_CREDENTIALS_H
#define GRPC_C_CREDENTIALS_H

#include <grpc/grpc_security.h>
#include <stdbool.h>

#include "base/error.h"
#include "grpc_c/client.h"
#include "grpc_c/server.h"

/* What one listener shows and trusts. The files can be read again while connections are made. */
struct server_tls;

/* Remembers the files' names (copied) and reads them. Errors: ERROR_INVALID, ERROR_SYSTEM; the text names the file.
 * Released with server_tls_free(). */
bool server_tls_new(const struct grpc_c_server_tls *files, struct server_tls **ret_tls, struct error *reterr_error);

/* Reads and judges the files again and keeps the result aside; what is in use does not change. Errors as above. Not for
 * two threads at once. */
bool server_tls_prepare(struct server_tls *tls, struct error *reterr_error);

/* From now on new connections get what was prepared last; nothing prepared, nothing done. */
void server_tls_swap(struct server_tls *tls);

/* The core's side of it, the caller's. `tls` must outlive the server that listens with it. */
grpc_server_credentials *server_tls_credentials(struct server_tls *tls);

/* Releases it and wipes the keys. NULL is fine. */
void server_tls_free(struct server_tls *tls);

/* Reads the files into credentials of a channel, the caller's. Errors as of server_tls_new(). */
bool channel_tls_credentials(
    const struct grpc_c_channel_tls *files, grpc_channel_credentials **ret_credentials, struct error *reterr_error);

#endif
