#include "grpc_c/runtime.h"

#include <arpa/inet.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* --- The core -------------------------------------------------------------------------------------------------------- */

static void drop_log(gpr_log_func_args *arguments)
{
    (void)arguments;
}

void runtime_init(void)
{
    /* A line per malformed header, before anybody is known: whoever connects could fill the disk. */
    gpr_set_log_function(drop_log);
    grpc_init();
}

void runtime_release(void)
{
    grpc_shutdown();
}

/* --- Completion queues ------------------------------------------------------------------------------------------------ */

static void *serve_queue(void *argument)
{
    struct queue_thread *queue = argument;

    while (true) {
        grpc_event event = grpc_completion_queue_next(queue->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct tag *tag = event.tag;
            tag->done(tag, event.success != 0);
        }
    }
}

void queue_thread_init(struct queue_thread *queue)
{
    queue->queue = grpc_completion_queue_create_for_next(NULL);
    queue->is_started = false;
}

bool queue_thread_start(struct queue_thread *queue, struct error *reterr_error)
{
    int failure = pthread_create(&queue->thread, NULL, serve_queue, queue);

    if (failure != 0)
        return error_set(reterr_error, ERROR_SYSTEM, "could not start a thread: %s", strerror(failure));
    queue->is_started = true;
    return true;
}

void queue_thread_release(struct queue_thread *queue)
{
    if (queue->queue == NULL)
        return;
    grpc_completion_queue_shutdown(queue->queue);
    if (queue->is_started)
        pthread_join(queue->thread, NULL);
    else
        serve_queue(queue);
    grpc_completion_queue_destroy(queue->queue);
    queue->queue = NULL;
}

/* --- Addresses -------------------------------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    struct in_addr four;

    if (strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, host, &four) == 1 && (ntohl(four.s_addr) >> 24) == 127;
}

bool address_check_loopback(const char *address, struct error *reterr_error)
{
    const char *colon = strrchr(address, ':');
    char host[64] = "";
    char *end = NULL;

    if (colon == NULL || colon == address || (size_t)(colon - address) >= sizeof(host))
        return error_set(reterr_error, ERROR_INVALID, "\"%.100s\" is not an address of the form host:port", address);
    memcpy(host, address, (size_t)(colon - address));
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > 65535)
        return error_set(reterr_error, ERROR_INVALID, "\"%.100s\" has no port between 0 and 65535", address);
    if (!is_loopback(host))
        return error_set(reterr_error, ERROR_INVALID,
            "\"%.100s\" is not a loopback address (127.0.0.0/8, [::1], localhost), and other addresses need TLS",
            address);
    return true;
}

/* --- Bytes and times --------------------------------------------------------------------------------------------------- */

bool byte_buffer_read(grpc_byte_buffer *buffer, grpc_slice *ret_slice)
{
    grpc_byte_buffer_reader reader;

    if (grpc_byte_buffer_reader_init(&reader, buffer) == 0)
        return false;
    *ret_slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    return true;
}

gpr_timespec time_to_core(int64_t deadline_ns)
{
    if (deadline_ns == CLOCK_NEVER)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){.tv_sec = deadline_ns / 1000000000,
        .tv_nsec = (int32_t)(deadline_ns % 1000000000),
        .clock_type = GPR_CLOCK_MONOTONIC};
}

int64_t time_from_core(gpr_timespec time)
{
    gpr_timespec left;
    int64_t left_ns = 0;

    if (gpr_time_cmp(time, gpr_inf_future(time.clock_type)) == 0)
        return CLOCK_NEVER;
    left = gpr_time_sub(time, gpr_now(time.clock_type));
    if (__builtin_mul_overflow(left.tv_sec, (int64_t)1000000000, &left_ns))
        return left.tv_sec > 0 ? CLOCK_NEVER : clock_now_ns();
    if (__builtin_add_overflow(left_ns + left.tv_nsec, clock_now_ns(), &left_ns))
        return CLOCK_NEVER;
    return left_ns;
}
