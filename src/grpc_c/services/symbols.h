/* What the .proto files of a server's services declare: which file declares a symbol, what extends a message, what a
 * file imports. Built once, then constant; any thread. */
#ifndef GRPC_C_SERVICES_SYMBOLS_H
#define GRPC_C_SERVICES_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "grpc_c/status.h"

struct symbols;

/* Reads the files of all services; one that several name is taken once. They must be generated code's: what cannot be
 * unpacked is an assertion. Descriptors are borrowed for as long as the result lives. */
struct symbols *symbols_new(const struct grpc_c_service *const *services, size_t service_count);
void symbols_free(struct symbols *symbols); /* NULL is fine */

/* The file with this name; that declares this message, enum, enum value, field, oneof, service, method or extension
 * (full name); that declares the extension with this number of this message. -1: there is none. */
int symbols_file(const struct symbols *symbols, const char *name);
int symbols_declaring_file(const struct symbols *symbols, const char *full_name);
int symbols_extending_file(const struct symbols *symbols, const char *message, int32_t number);

/* The numbers of the extensions of a message, in the arena; `*ret_is_known` false when there is no such message. */
size_t symbols_extension_numbers(
    const struct symbols *symbols, const char *message, struct arena *arena, int32_t **ret_numbers, bool *ret_is_known);

/* The file and everything that it imports, however deep, in the arena; the file comes first. */
size_t symbols_closure(
    const struct symbols *symbols, int file, struct arena *arena, const struct grpc_c_file ***ret_files);

#endif
