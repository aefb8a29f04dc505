/* What ThreadSanitizer cannot see of the gRPC core, which is not instrumented: what a thread did before it handed a tag over happens
 * before what the thread does that gets the tag back. The linker puts these between the runtime and the core (--wrap), in the
 * tsan build only; the core's own memory is left alone (TSAN_OPTIONS=ignore_noninstrumented_modules=1). */
#include <grpc/grpc.h>
#include <sanitizer/tsan_interface.h>

grpc_call_error __real_grpc_call_start_batch(
    grpc_call *call, const grpc_op *ops, size_t count, void *tag, void *reserved);
grpc_call_error __real_grpc_server_request_call(grpc_server *server, grpc_call **call, grpc_call_details *details,
    grpc_metadata_array *metadata, grpc_completion_queue *bound, grpc_completion_queue *notified, void *tag);
grpc_call_error __real_grpc_server_request_registered_call(grpc_server *server, void *method, grpc_call **call,
    gpr_timespec *deadline, grpc_metadata_array *metadata, grpc_byte_buffer **payload, grpc_completion_queue *bound,
    grpc_completion_queue *notified, void *tag);
void __real_grpc_server_shutdown_and_notify(grpc_server *server, grpc_completion_queue *queue, void *tag);
grpc_event __real_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline, void *reserved);
grpc_event __real_grpc_completion_queue_pluck(
    grpc_completion_queue *queue, void *tag, gpr_timespec deadline, void *reserved);

grpc_call_error __wrap_grpc_call_start_batch(
    grpc_call *call, const grpc_op *ops, size_t count, void *tag, void *reserved);
grpc_call_error __wrap_grpc_server_request_call(grpc_server *server, grpc_call **call, grpc_call_details *details,
    grpc_metadata_array *metadata, grpc_completion_queue *bound, grpc_completion_queue *notified, void *tag);
grpc_call_error __wrap_grpc_server_request_registered_call(grpc_server *server, void *method, grpc_call **call,
    gpr_timespec *deadline, grpc_metadata_array *metadata, grpc_byte_buffer **payload, grpc_completion_queue *bound,
    grpc_completion_queue *notified, void *tag);
void __wrap_grpc_server_shutdown_and_notify(grpc_server *server, grpc_completion_queue *queue, void *tag);
grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline, void *reserved);
grpc_event __wrap_grpc_completion_queue_pluck(
    grpc_completion_queue *queue, void *tag, gpr_timespec deadline, void *reserved);

grpc_call_error __wrap_grpc_call_start_batch(
    grpc_call *call, const grpc_op *ops, size_t count, void *tag, void *reserved)
{
    __tsan_release(tag);
    return __real_grpc_call_start_batch(call, ops, count, tag, reserved);
}

grpc_call_error __wrap_grpc_server_request_call(grpc_server *server, grpc_call **call, grpc_call_details *details,
    grpc_metadata_array *metadata, grpc_completion_queue *bound, grpc_completion_queue *notified, void *tag)
{
    __tsan_release(tag);
    return __real_grpc_server_request_call(server, call, details, metadata, bound, notified, tag);
}

grpc_call_error __wrap_grpc_server_request_registered_call(grpc_server *server, void *method, grpc_call **call,
    gpr_timespec *deadline, grpc_metadata_array *metadata, grpc_byte_buffer **payload, grpc_completion_queue *bound,
    grpc_completion_queue *notified, void *tag)
{
    __tsan_release(tag);
    return __real_grpc_server_request_registered_call(
        server, method, call, deadline, metadata, payload, bound, notified, tag);
}

void __wrap_grpc_server_shutdown_and_notify(grpc_server *server, grpc_completion_queue *queue, void *tag)
{
    __tsan_release(tag);
    __real_grpc_server_shutdown_and_notify(server, queue, tag);
}

grpc_event __wrap_grpc_completion_queue_next(grpc_completion_queue *queue, gpr_timespec deadline, void *reserved)
{
    grpc_event event = __real_grpc_completion_queue_next(queue, deadline, reserved);

    if (event.type == GRPC_OP_COMPLETE)
        __tsan_acquire(event.tag);
    return event;
}

grpc_event __wrap_grpc_completion_queue_pluck(
    grpc_completion_queue *queue, void *tag, gpr_timespec deadline, void *reserved)
{
    grpc_event event = __real_grpc_completion_queue_pluck(queue, tag, deadline, reserved);

    if (event.type == GRPC_OP_COMPLETE)
        __tsan_acquire(event.tag);
    return event;
}
