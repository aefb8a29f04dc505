/* What of a message may be seen outside of it: the marks of the protocol (leadrouter/v1/privacy.proto), and a form of messages for
 * the log in which only what is known to be harmless is left. */
#ifndef SERVER_PRIVACY_H
#define SERVER_PRIVACY_H

#include "base/buffer.h"
#include "grpc_c/types.h"

/* As DataClass in the protocol. */
enum privacy_class { PRIVACY_UNKNOWN = 0, PRIVACY_ID = 1, PRIVACY_PERSONAL = 2, PRIVACY_PROFILE = 3 };

/* The marks of all fields. Constant once made; any thread. */
struct privacy;

/* Reads the marks in the files of these services. */
struct privacy *privacy_new(const struct grpc_c_service *const *services, size_t service_count);
void privacy_free(struct privacy *privacy); /* NULL is fine */

/* The class of a field; PRIVACY_UNKNOWN for one without a mark, and for messages of other files. */
enum privacy_class privacy_class(const struct privacy *privacy, const char *message, unsigned number);

/* Appends a JSON object with the fields of `message` that may be logged: numbers, switches, enums and times without a mark, and ids
 * that are UUIDs. Of lists only the number of elements. What does not fit into the buffer is left out. */
void privacy_append_safe(const struct privacy *privacy, const ProtobufCMessage *message, struct buffer *buffer);

#endif
