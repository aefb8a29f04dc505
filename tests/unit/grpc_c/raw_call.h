/* One unary call made with the core alone: what no client of ours would send. */
#ifndef GRPC_C_TEST_RAW_CALL_H
#define GRPC_C_TEST_RAW_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grpc_c/status.h"

enum { RAW_TEXT_SIZE = 512 };

struct raw_call {
    const char *path;
    const void *bytes; /* of the message; NULL: none is sent */
    size_t size;
    const struct grpc_c_metadata *metadata; /* Optional */
    size_t metadata_count;
    int64_t deadline_ms; /* 0: none, nor a grpc-timeout */
    bool is_compressed;  /* with gzip */
};

struct raw_result {
    enum grpc_c_status status;
    char message[RAW_TEXT_SIZE];
    char pushback[RAW_TEXT_SIZE]; /* "" when the answer had none */
};

/* Calls the server on this port and waits for the end of the call. */
struct raw_result raw_call(int port, const struct raw_call *call);

#endif
