#include "grpc_c/services/reflection.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "grpc/reflection/v1/reflection.grpc.h"
#include "grpc/reflection/v1alpha/reflection.grpc.h"
#include "grpc_c/services/symbols.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

enum { ARENA_SIZE = 4096 };

struct grpc_c_reflection {
    struct symbols *symbols;
    const struct grpc_c_service *const *services; /* the server's */
    size_t service_count;
    struct grpc_c_method alpha_method;
    struct grpc_c_service alpha;
};

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void answer_error(reflection_response *response, struct arena *arena, enum grpc_c_status status, char *text)
{
    Grpc__Reflection__V1__ErrorResponse *error = arena_alloc(arena, sizeof(*error));

    grpc__reflection__v1__error_response__init(error);
    error->error_code = (int32_t)status;
    error->error_message = text;
    response->message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = error;
}

static void answer_files(
    reflection_response *response, struct arena *arena, const struct symbols *symbols, int file, char *missing)
{
    Grpc__Reflection__V1__FileDescriptorResponse *answer = arena_alloc(arena, sizeof(*answer));
    const struct grpc_c_file **files = NULL;

    if (file < 0) {
        answer_error(response, arena, GRPC_C_NOT_FOUND, missing);
        return;
    }
    grpc__reflection__v1__file_descriptor_response__init(answer);
    answer->n_file_descriptor_proto = symbols_closure(symbols, file, arena, &files);
    answer->file_descriptor_proto =
        arena_alloc_array(arena, answer->n_file_descriptor_proto, sizeof(*answer->file_descriptor_proto));
    for (size_t i = 0; i < answer->n_file_descriptor_proto; i++) {
        answer->file_descriptor_proto[i].len = files[i]->size;
        answer->file_descriptor_proto[i].data = (uint8_t *)(uintptr_t)files[i]->descriptor; /* only read */
    }
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = answer;
}

static void answer_extensions(
    reflection_response *response, struct arena *arena, const struct symbols *symbols, char *message)
{
    Grpc__Reflection__V1__ExtensionNumberResponse *answer = arena_alloc(arena, sizeof(*answer));
    bool is_known = false;

    grpc__reflection__v1__extension_number_response__init(answer);
    answer->base_type_name = message;
    answer->n_extension_number =
        symbols_extension_numbers(symbols, message, arena, &answer->extension_number, &is_known);
    if (!is_known) {
        answer_error(response, arena, GRPC_C_NOT_FOUND, arena_format(arena, "no message %s here", message));
        return;
    }
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    response->all_extension_numbers_response = answer;
}

static void answer_services(
    reflection_response *response, struct arena *arena, const struct grpc_c_reflection *reflection)
{
    size_t count = reflection->service_count;
    Grpc__Reflection__V1__ListServiceResponse *answer = arena_alloc(arena, sizeof(*answer));
    Grpc__Reflection__V1__ServiceResponse *services = arena_alloc_array(arena, count, sizeof(*services));

    grpc__reflection__v1__list_service_response__init(answer);
    answer->n_service = count;
    answer->service = arena_alloc_array(arena, count, sizeof(*answer->service));
    for (size_t i = 0; i < count; i++) {
        grpc__reflection__v1__service_response__init(&services[i]);
        services[i].name = arena_copy_string(arena, reflection->services[i]->name);
        answer->service[i] = &services[i];
    }
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = answer;
}

static void answer(const struct grpc_c_reflection *reflection, const reflection_request *request, struct arena *arena,
    reflection_response *response)
{
    const struct symbols *symbols = reflection->symbols;

    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        answer_files(response, arena, symbols, symbols_file(symbols, request->file_by_filename),
            arena_format(arena, "no file %s here", request->file_by_filename));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        answer_files(response, arena, symbols, symbols_declaring_file(symbols, request->file_containing_symbol),
            arena_format(arena, "no symbol %s here", request->file_containing_symbol));
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION: {
        const Grpc__Reflection__V1__ExtensionRequest *wanted = request->file_containing_extension;
        answer_files(response, arena, symbols,
            symbols_extending_file(symbols, wanted->containing_type, wanted->extension_number),
            arena_format(arena, "no extension %d of %s here", wanted->extension_number, wanted->containing_type));
        break;
    }
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        answer_extensions(response, arena, symbols, request->all_extension_numbers_of_type);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        answer_services(response, arena, reflection);
        break;
    default:
        answer_error(response, arena, GRPC_C_INVALID_ARGUMENT,
            arena_copy_string(arena, "the request asks for nothing that is known here"));
        break;
    }
}

/* --- The stream: one question, one answer ------------------------------------------------------------------------- */

/* Who is asked. In the call's arena. */
struct conversation {
    const struct grpc_c_reflection *reflection;
};

static void asked(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user);

static void answered(struct grpc_c_call *call, bool is_sent, void *user)
{
    if (is_sent)
        grpc_c_call_read(call, asked, user);
    else
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "nobody reads any more");
}

static void asked(struct grpc_c_call *call, enum grpc_c_read result, const ProtobufCMessage *message, void *user)
{
    const struct conversation *conversation = user;
    const reflection_request *request = (const reflection_request *)message;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    struct arena *arena = NULL;

    if (result == GRPC_C_READ_END) {
        grpc_c_call_finish(call);
        return;
    }
    if (result != GRPC_C_READ_MESSAGE) {
        grpc_c_call_fail(call, GRPC_C_CANCELLED, "the stream was broken off");
        return;
    }
    arena = arena_new(ARENA_SIZE);
    response.valid_host = request->host;
    response.original_request = (reflection_request *)(uintptr_t)request; /* only read */
    answer(conversation->reflection, request, arena, &response);
    grpc_c_call_write(call, &response.base, answered, user);
    arena_free(arena); /* packed already */
}

static void converse(struct grpc_c_call *call, const ProtobufCMessage *request, const void *handlers, void *user)
{
    struct conversation *conversation = arena_alloc(grpc_c_call_arena(call), sizeof(*conversation));

    (void)request;
    (void)handlers;
    conversation->reflection = user;
    grpc_c_call_read(call, asked, conversation);
}

/* --- Registering -------------------------------------------------------------------------------------------------- */

struct grpc_c_reflection *grpc_c_reflection_add(struct grpc_c_server *server)
{
    static grpc_c_adapter *const adapters[] = {converse};
    struct grpc_c_reflection *reflection = memory_new(sizeof(*reflection));

    /* The two versions are the same bytes under two names: v1alpha's method is served with v1's messages. */
    reflection->alpha = grpc__reflection__v1alpha__server_reflection__grpc_service;
    assert(reflection->alpha.method_count == 1);
    reflection->alpha_method = reflection->alpha.methods[0];
    reflection->alpha_method.request = &grpc__reflection__v1__server_reflection_request__descriptor;
    reflection->alpha_method.response = &grpc__reflection__v1__server_reflection_response__descriptor;
    reflection->alpha.methods = &reflection->alpha_method;
    grpc_c_server_add_service(
        server, &grpc__reflection__v1__server_reflection__grpc_service, adapters, NULL, reflection);
    grpc_c_server_add_service(server, &reflection->alpha, adapters, NULL, reflection);
    reflection->service_count = grpc_c_server_services(server, &reflection->services);
    reflection->symbols = symbols_new(reflection->services, reflection->service_count);
    return reflection;
}

void grpc_c_reflection_free(struct grpc_c_reflection *reflection)
{
    if (reflection == NULL)
        return;
    symbols_free(reflection->symbols);
    free(reflection);
}
