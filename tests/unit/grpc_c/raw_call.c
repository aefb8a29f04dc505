#include "raw_call.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { WAIT_S = 60 };

static grpc_channel *channel_new(int port, bool is_compressed)
{
    grpc_arg argument = {.type = GRPC_ARG_INTEGER,
        .key = (char *)(uintptr_t)GRPC_COMPRESSION_CHANNEL_DEFAULT_ALGORITHM,
        .value.integer = is_compressed ? GRPC_COMPRESS_GZIP : GRPC_COMPRESS_NONE};
    grpc_channel_args arguments = {.num_args = 1, .args = &argument};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    char target[64] = "";

    snprintf(target, sizeof(target), "ipv4:127.0.0.1:%d", port);
    grpc_channel *channel = grpc_channel_create(target, credentials, &arguments);
    grpc_channel_credentials_release(credentials);
    return channel;
}

static void copy_slice(char *text, grpc_slice slice)
{
    snprintf(text, RAW_TEXT_SIZE, "%.*s", (int)GRPC_SLICE_LENGTH(slice), (const char *)GRPC_SLICE_START_PTR(slice));
}

/* Sends and waits; what comes is left in the arguments. */
static void exchange(grpc_channel *channel, const struct raw_call *call, struct raw_result *result)
{
    grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
    gpr_timespec deadline = call->deadline_ms == 0 ? gpr_inf_future(GPR_CLOCK_REALTIME)
                                                   : gpr_time_add(gpr_now(GPR_CLOCK_REALTIME),
                                                         gpr_time_from_millis(call->deadline_ms, GPR_TIMESPAN));
    grpc_call *core = grpc_channel_create_call(
        channel, NULL, 0, queue, grpc_slice_from_static_string(call->path), NULL, deadline, NULL);
    grpc_slice message = grpc_slice_from_static_buffer(call->bytes, call->size);
    grpc_byte_buffer *sent = grpc_raw_byte_buffer_create(&message, 1);
    grpc_byte_buffer *response = NULL;
    grpc_metadata metadata[8];
    grpc_metadata_array initial, trailing;
    grpc_slice details = grpc_empty_slice();
    grpc_status_code status = GRPC_STATUS_UNKNOWN;
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA, .flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE},
        {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}, {.op = GRPC_OP_SEND_MESSAGE}};

    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    for (size_t i = 0; i < call->metadata_count; i++) {
        metadata[i].key = grpc_slice_from_static_string(call->metadata[i].key);
        metadata[i].value = grpc_slice_from_static_buffer(call->metadata[i].value, call->metadata[i].size);
    }
    ops[0].data.send_initial_metadata.count = call->metadata_count;
    ops[0].data.send_initial_metadata.metadata = metadata;
    ops[2].data.recv_initial_metadata.recv_initial_metadata = &initial;
    ops[3].data.recv_message.recv_message = &response;
    ops[4].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[4].data.recv_status_on_client.status = &status;
    ops[4].data.recv_status_on_client.status_details = &details;
    ops[5].data.send_message.send_message = sent;
    assert_int_equal(grpc_call_start_batch(core, ops, call->bytes == NULL ? 5 : 6, queue, NULL), GRPC_CALL_OK);
    gpr_timespec late = gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_seconds(WAIT_S, GPR_TIMESPAN));
    assert_int_equal(grpc_completion_queue_pluck(queue, queue, late, NULL).type, GRPC_OP_COMPLETE);
    result->status = (enum grpc_c_status)status;
    copy_slice(result->message, details);
    for (size_t i = 0; i < trailing.count; i++)
        if (grpc_slice_str_cmp(trailing.metadata[i].key, "grpc-retry-pushback-ms") == 0)
            copy_slice(result->pushback, trailing.metadata[i].value);
    grpc_slice_unref(details);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_byte_buffer_destroy(sent);
    if (response != NULL)
        grpc_byte_buffer_destroy(response);
    grpc_call_unref(core);
    grpc_completion_queue_shutdown(queue);
    grpc_completion_queue_destroy(queue);
}

struct raw_result raw_call(int port, const struct raw_call *call)
{
    struct raw_result result = {0};

    assert_true(call->metadata_count <= 8);
    grpc_init();
    grpc_channel *channel = channel_new(port, call->is_compressed);
    exchange(channel, call, &result);
    grpc_channel_destroy(channel);
    grpc_shutdown();
    return result;
}
