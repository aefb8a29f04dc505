#include "generate.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "imports.h"
#include "model.h"
#include "plugin.pb-c.h"
#include "print.h"

enum { TEXT_SIZE_MAX = 64 * 1024 * 1024 };

typedef GrpcC__Plugin__CodeGeneratorRequest plugin_request;
typedef GrpcC__Plugin__CodeGeneratorResponse plugin_response;
typedef GrpcC__Plugin__CodeGeneratorResponse__File plugin_file;
typedef Google__Protobuf__FileDescriptorProto file_proto;

static bool append_message(struct buffer *out, const ProtobufCMessage *message, struct error *reterr_error)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = memory_new(size);
    bool ok = false;

    protobuf_c_message_pack(message, bytes);
    ok = buffer_append(out, bytes, size);
    if (!ok)
        error_set(reterr_error, ERROR_FULL, "the output is larger than %zu bytes", out->size_max);
    free(bytes);
    return ok;
}

static const file_proto *find_file(const plugin_request *request, const char *name)
{
    for (size_t i = 0; i < request->n_proto_file; i++) {
        if (request->proto_file[i]->name != NULL && strcmp(request->proto_file[i]->name, name) == 0)
            return request->proto_file[i];
    }
    return NULL;
}

typedef void print_file(struct buffer *out, const struct file_model *file);

static plugin_file *new_file(struct arena *arena, const struct file_model *model, const char *end, print_file *print)
{
    plugin_file *file = arena_alloc(arena, sizeof(*file));
    struct buffer text = {0};

    buffer_init(&text, TEXT_SIZE_MAX);
    print(&text, model);
    grpc_c__plugin__code_generator_response__file__init(file);
    file->name = arena_format(arena, "%s%s", model->stem, end);
    file->content = text.overflowed ? NULL : arena_copy(arena, buffer_text(&text), text.size);
    buffer_release(&text);
    return file;
}

/* What the parameter of the request asks for. */
struct options {
    bool is_client_only;
    const char *runtime_prefix;
};

static bool parse_options(const char *parameter, struct options *ret_options, struct error *reterr_error)
{
    static const char client_only[] = "client_only";
    const char *rest = parameter;
    const char *prefix = NULL;

    *ret_options = (struct options){.runtime_prefix = "grpc_c_"};
    if (parameter == NULL || *parameter == '\0')
        return true;
    if (strncmp(parameter, client_only, strlen(client_only)) != 0)
        goto unknown;
    ret_options->is_client_only = true;
    rest += strlen(client_only);
    if (*rest == '\0')
        return true;
    prefix = rest + 1;
    if (*rest != '=' || *prefix == '\0' || prefix[strspn(prefix, "abcdefghijklmnopqrstuvwxyz0123456789_")] != '\0')
        goto unknown;
    ret_options->runtime_prefix = prefix;
    return true;

unknown:
    return error_set(
        reterr_error, ERROR_INVALID, "unknown option \"%s\": there are client_only and client_only=PREFIX_", parameter);
}

/* Adds the files of one .proto to the response. */
static bool generate_file(struct arena *arena, const plugin_request *request, const file_proto *proto,
    const struct options *options, plugin_response *response, struct error *reterr_error)
{
    struct file_model model = {0};
    plugin_file *header = NULL;
    plugin_file *source = NULL;

    if (!file_model_build(arena, proto, request->proto_file, request->n_proto_file, &model, reterr_error))
        return false;
    if (model.service_count == 0)
        return true;
    model.is_client_only = options->is_client_only;
    model.runtime_prefix = options->runtime_prefix;
    header = new_file(arena, &model, ".grpc.h", print_header);
    source = new_file(arena, &model, ".grpc.c", print_source);
    if (header->content == NULL || source->content == NULL)
        return error_set(reterr_error, ERROR_FULL, "%s: more than %d bytes of C", proto->name, TEXT_SIZE_MAX);
    response->file[response->n_file++] = header;
    response->file[response->n_file++] = source;
    return true;
}

/* False when the request is no good; `ret_response` then is not to be used. */
static bool generate_all(
    struct arena *arena, const plugin_request *request, plugin_response *ret_response, struct error *reterr_error)
{
    struct error refusal = {0};
    struct options options = {0};

    if (request->n_file_to_generate == 0)
        return error_set(reterr_error, ERROR_INVALID, "the request on standard input names no file to generate");
    if (!parse_options(request->parameter, &options, reterr_error))
        return false;
    ret_response->file = arena_alloc_array(arena, 2 * request->n_file_to_generate, sizeof(plugin_file *));
    for (size_t i = 0; i < request->n_file_to_generate; i++) {
        const file_proto *proto = find_file(request, request->file_to_generate[i]);

        if (proto == NULL)
            return error_set(
                reterr_error, ERROR_INVALID, "the request names %s, which is not in it", request->file_to_generate[i]);
        if (!generate_file(arena, request, proto, &options, ret_response, &refusal)) {
            ret_response->error = arena_copy_string(arena, refusal.text);
            ret_response->n_file = 0;
            break;
        }
    }
    return true;
}

bool generate_stubs(const uint8_t *request_bytes, size_t size, struct buffer *out, struct error *reterr_error)
{
    plugin_response response = GRPC_C__PLUGIN__CODE_GENERATOR_RESPONSE__INIT;
    plugin_request *request = NULL;
    struct arena *arena = arena_new(0);
    bool ok = false;

    if (size == 0) {
        error_set(reterr_error, ERROR_INVALID, "standard input is empty: protoc runs this program");
        goto cleanup;
    }
    request = grpc_c__plugin__code_generator_request__unpack(NULL, size, request_bytes);
    if (request == NULL) {
        error_set(reterr_error, ERROR_INVALID, "standard input is not a whole CodeGeneratorRequest");
        goto cleanup;
    }
    response.has_supported_features = true;
    response.supported_features = GRPC_C__PLUGIN__CODE_GENERATOR_RESPONSE__FEATURE__FEATURE_PROTO3_OPTIONAL;
    ok = generate_all(arena, request, &response, reterr_error) && append_message(out, &response.base, reterr_error);

cleanup:
    if (request != NULL)
        grpc_c__plugin__code_generator_request__free_unpacked(request, NULL);
    arena_free(arena);
    return ok;
}

/* How much of a file's lists is packed; the rest is put back to be freed. */
struct counts {
    size_t services;
    size_t imports;
};

bool generate_set_without_services(const uint8_t *bytes, size_t size, struct buffer *out, struct error *reterr_error)
{
    Google__Protobuf__FileDescriptorSet *set = google__protobuf__file_descriptor_set__unpack(NULL, size, bytes);
    struct counts *counts = NULL;
    bool ok = false;

    if (set == NULL || set->n_file == 0) {
        error_set(reterr_error, ERROR_INVALID, "not a FileDescriptorSet with a file in it");
        goto cleanup;
    }
    counts = memory_new_array(set->n_file, sizeof(*counts));
    for (size_t i = 0; i < set->n_file; i++) {
        counts[i] = (struct counts){.services = set->file[i]->n_service, .imports = set->file[i]->n_dependency};
        set->file[i]->n_dependency = imports_sort(set->file[i], set->file, set->n_file);
    }
    for (size_t i = 0; i < set->n_file; i++)
        set->file[i]->n_service = 0;
    ok = append_message(out, &set->base, reterr_error);
    for (size_t i = 0; i < set->n_file; i++) {
        set->file[i]->n_service = counts[i].services;
        set->file[i]->n_dependency = counts[i].imports;
    }

cleanup:
    if (set != NULL)
        google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    free(counts);
    return ok;
}
