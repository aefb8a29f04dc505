#include "grpc_c/details.h"

#include <string.h>

#include "base/memory.h"
#include "grpc_c/wire.h"
#include "status.pb-c.h"

static const char key[] = "grpc-status-details-bin";

enum { DEPTH_MAX = 3, MEMORY_FACTOR = 64, MEMORY_SIZE_LEAST = 64 * 1024 };

void grpc_c_call_fail_with_details(struct grpc_c_call *call, enum grpc_c_status status, const char *message,
    const struct grpc_c_detail *details, size_t count)
{
    struct arena *arena = grpc_c_call_arena(call);
    GrpcC__Rpc__Status full = GRPC_C__RPC__STATUS__INIT;
    Google__Protobuf__Any *any = arena_alloc_array(arena, count, sizeof(*any));

    full.code = (int32_t)status;
    full.message = arena_copy_string(arena, message);
    full.n_details = count;
    full.details = arena_alloc_array(arena, count, sizeof(*full.details));
    for (size_t i = 0; i < count; i++) {
        google__protobuf__any__init(&any[i]);
        any[i].type_url = arena_copy_string(arena, details[i].type_url);
        any[i].value.data = (uint8_t *)(uintptr_t)details[i].bytes; /* only read */
        any[i].value.len = details[i].size;
        full.details[i] = &any[i];
    }
    size_t size = grpc_c__rpc__status__get_packed_size(&full);
    uint8_t *bytes = arena_alloc(arena, size);
    grpc_c__rpc__status__pack(&full, bytes);
    grpc_c_call_add_trailing_metadata(call, key, (const char *)bytes, size);
    grpc_c_call_fail(call, status, message);
}

static const struct grpc_c_metadata *find(const struct grpc_c_outcome *outcome)
{
    for (size_t i = 0; i < outcome->trailing_metadata_count; i++)
        if (strcmp(outcome->trailing_metadata[i].key, key) == 0)
            return &outcome->trailing_metadata[i];
    return NULL;
}

bool grpc_c_outcome_details(const struct grpc_c_outcome *outcome, struct arena *arena,
    const struct grpc_c_detail **ret_details, size_t *ret_count, struct error *reterr_error)
{
    const struct grpc_c_metadata *sent = find(outcome);
    struct grpc_c_detail *details = NULL;

    *ret_details = NULL;
    *ret_count = 0;
    if (sent == NULL)
        return true;
    const struct wire_limits limits = {
        .depth_max = DEPTH_MAX, .memory_size_max = MEMORY_SIZE_LEAST + MEMORY_FACTOR * sent->size};
    const GrpcC__Rpc__Status *status = (const GrpcC__Rpc__Status *)wire_unpack(
        &grpc_c__rpc__status__descriptor, (const uint8_t *)sent->value, sent->size, &limits, arena, reterr_error);
    if (status == NULL)
        return error_add_context(reterr_error, key);
    if (status->code != (int32_t)outcome->status)
        return error_set(reterr_error, ERROR_INVALID, "%s: speaks of code %d, and the call ended with %d", key,
            status->code, (int)outcome->status);
    details = arena_alloc_array(arena, status->n_details, sizeof(*details));
    for (size_t i = 0; i < status->n_details; i++)
        details[i] = (struct grpc_c_detail){.type_url = status->details[i]->type_url,
            .bytes = status->details[i]->value.data,
            .size = status->details[i]->value.len};
    *ret_details = details;
    *ret_count = status->n_details;
    return true;
}
