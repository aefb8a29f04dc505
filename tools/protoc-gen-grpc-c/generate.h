/* The two things the program does, from bytes to bytes. Pure; any thread. */
#ifndef PROTOC_GEN_GRPC_C_GENERATE_H
#define PROTOC_GEN_GRPC_C_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

/* A CodeGeneratorRequest gives a CodeGeneratorResponse: a header and a source for every file to generate that has a
 * service, without what servers need when its parameter is "client_only" or
 * "client_only=PREFIX_" (README.md). What is wrong with a .proto comes as the
 * response's `error`, which protoc prints. False, with ERROR_INVALID: the request itself is no good; or ERROR_FULL:
 * `out` is too small. */
bool generate_stubs(const uint8_t *request, size_t size, struct buffer *out, struct error *reterr_error);

/* A google.protobuf.FileDescriptorSet gives the same without services and without imports that are for options alone (imports.h):
 * for protoc-c. Errors as above. */
bool generate_set_without_services(const uint8_t *set, size_t size, struct buffer *out, struct error *reterr_error);

#endif
