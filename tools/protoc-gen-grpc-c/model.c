#include "model.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "groups.h"
#include "names.h"
#include "places.h"

/* protobuf-c.proto's numbers of the options that it adds to a file. */
enum { OPTION_PB_C_FILE = 1019, PB_C_FILE_C_PACKAGE = 6 };

/* Names behind "<service>__" that are ours; the stub of a method with such a name gets a "_" behind. */
static const char *const stub_names_taken[] = {"add", "grpc_service", "grpc_methods"};

/* The comment right before `syntax`: what the file is about. */
static const char *comment_of_file(const Google__Protobuf__FileDescriptorProto *file)
{
    static const int32_t path[] = {PLACE_FILE_SYNTAX};

    return place_comment(file, path, COUNT_OF(path));
}

/* True when the options hold (pb_c_file).c_package, which renames all types. */
static bool has_c_package(const Google__Protobuf__FileDescriptorProto *file)
{
    const ProtobufCMessage *options = file->options != NULL ? &file->options->base : NULL;

    for (size_t i = 0; options != NULL && i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &options->unknown_fields[i];
        const uint8_t tag = PB_C_FILE_C_PACKAGE << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;

        /* Its other options are numbers with values below 128, so that the tag's byte cannot be part of one. */
        if (field->tag == OPTION_PB_C_FILE && field->len > 1 && memchr(field->data + 1, tag, field->len - 1) != NULL)
            return true;
    }
    return false;
}

static const char *stub_name(struct arena *arena, const char *service_prefix, const char *method)
{
    const char *name = name_of_prefix(arena, method);
    const char *underscore = "";

    for (size_t i = 0; i < COUNT_OF(stub_names_taken); i++) {
        if (strcmp(name, stub_names_taken[i]) == 0)
            underscore = "_";
    }
    return arena_format(arena, "%s__%s%s", service_prefix, name, underscore);
}

/* One method; `service` has its names already, and the methods before this one. */
static bool method_build(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file, size_t service_index,
    size_t method_index, const struct service_model *service, struct method_model *ret_method,
    struct error *reterr_error)
{
    const Google__Protobuf__MethodDescriptorProto *method = file->service[service_index]->method[method_index];
    const int32_t path[] = {PLACE_FILE_SERVICE, (int32_t)service_index, PLACE_SERVICE_METHOD, (int32_t)method_index};

    if (!name_is_valid(method->name) || strchr(method->name, '.') != NULL)
        return error_set(reterr_error, ERROR_INVALID, "%s: malformed: service %s has a method without a proper name",
            file->name, service->name);
    if (!name_is_valid(method->input_type) || !name_is_valid(method->output_type))
        return error_set(reterr_error, ERROR_INVALID, "%s: malformed: method %s.%s lacks the type of its %s",
            file->name, service->name, method->name, name_is_valid(method->input_type) ? "response" : "request");
    *ret_method = (struct method_model){
        .name = method->name,
        .path = arena_format(arena, "/%s/%s", service->name, method->name),
        .member = name_of_member(arena, method->name),
        .stub = stub_name(arena, service->prefix, method->name),
        .request_type = name_of_type(arena, method->input_type),
        .request_prefix = name_of_prefix(arena, method->input_type),
        .response_type = name_of_type(arena, method->output_type),
        .response_prefix = name_of_prefix(arena, method->output_type),
        .comment = place_comment(file, path, COUNT_OF(path)),
        .client_streams = method->client_streaming != 0,
        .server_streams = method->server_streaming != 0,
    };
    for (size_t i = 0; i < method_index; i++) {
        if (strcmp(service->methods[i].stub, ret_method->stub) == 0)
            return error_set(reterr_error, ERROR_INVALID, "%s: methods %s and %s of service %s have the same name in C",
                place_of(arena, file, path, COUNT_OF(path)), service->methods[i].name, method->name, service->name);
    }
    return true;
}

static bool service_build(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file, size_t index,
    const struct service_model *before, struct service_model *ret_service, struct error *reterr_error)
{
    const Google__Protobuf__ServiceDescriptorProto *service = file->service[index];
    const int32_t path[] = {PLACE_FILE_SERVICE, (int32_t)index};
    struct method_model *methods = arena_alloc_array(arena, service->n_method, sizeof(*methods));
    const char *package = file->package != NULL ? file->package : "";

    if (!name_is_valid(service->name) || strchr(service->name, '.') != NULL)
        return error_set(reterr_error, ERROR_INVALID, "%s: malformed: a service without a proper name", file->name);
    ret_service->name = arena_format(arena, "%s%s%s", package, *package != '\0' ? "." : "", service->name);
    ret_service->prefix = name_of_prefix(arena, ret_service->name);
    ret_service->comment = place_comment(file, path, COUNT_OF(path));
    ret_service->methods = methods;
    ret_service->method_count = service->n_method;
    for (size_t i = 0; i < index; i++) {
        if (strcmp(before[i].prefix, ret_service->prefix) == 0)
            return error_set(reterr_error, ERROR_INVALID, "%s: services %s and %s have the same name in C",
                place_of(arena, file, path, COUNT_OF(path)), before[i].name, ret_service->name);
    }
    for (size_t i = 0; i < service->n_method; i++) {
        if (!method_build(arena, file, index, i, ret_service, &methods[i], reterr_error))
            return false;
    }
    return true;
}

/* "a/b.proto" without its end; protoc-c does the same, so that the names of headers agree. */
static const char *stem_of(struct arena *arena, const char *proto)
{
    static const char *const ends[] = {".protodevel", ".proto"};
    size_t size = strlen(proto);

    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        size_t end_size = strlen(ends[i]);
        if (size > end_size && strcmp(proto + size - end_size, ends[i]) == 0)
            return arena_copy(arena, proto, size - end_size);
    }
    return arena_copy_string(arena, proto);
}

/* --- Descriptors -------------------------------------------------------------------------------------------------- */

static struct descriptor_model pack_descriptor(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file)
{
    Google__Protobuf__FileDescriptorProto bare = *file;

    bare.source_code_info = NULL;
    size_t size = protobuf_c_message_get_packed_size(&bare.base);
    uint8_t *bytes = arena_alloc(arena, size);
    protobuf_c_message_pack(&bare.base, bytes);
    return (struct descriptor_model){.proto = file->name, .bytes = bytes, .size = size};
}

static const Google__Protobuf__FileDescriptorProto *find_file(
    Google__Protobuf__FileDescriptorProto *const *all, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (all[i]->name != NULL && strcmp(all[i]->name, name) == 0)
            return all[i];
    }
    return NULL;
}

/* Packs the file and, going through what was packed so far, everything that is imported and not packed yet. */
static bool descriptors_build(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file,
    Google__Protobuf__FileDescriptorProto *const *all, size_t all_count, struct file_model *model,
    struct error *reterr_error)
{
    const Google__Protobuf__FileDescriptorProto **files =
        arena_alloc_array(arena, all_count + 1, sizeof(const Google__Protobuf__FileDescriptorProto *));
    struct descriptor_model *descriptors = arena_alloc_array(arena, all_count + 1, sizeof(*descriptors));
    size_t count = 0;

    files[count++] = file;
    for (size_t i = 0; i < count; i++) {
        for (size_t d = 0; d < files[i]->n_dependency; d++) {
            const Google__Protobuf__FileDescriptorProto *import = find_file(all, all_count, files[i]->dependency[d]);
            size_t known = 0;
            if (import == NULL)
                return error_set(reterr_error, ERROR_INVALID,
                    "%s: malformed: it imports %s, which is not in the request", files[i]->name,
                    files[i]->dependency[d]);
            while (known < count && files[known] != import)
                known++;
            if (known == count && !groups_check(arena, import, reterr_error)) /* its header could not be made */
                return false;
            if (known == count)
                files[count++] = import;
        }
        descriptors[i] = pack_descriptor(arena, files[i]);
    }
    model->descriptors = descriptors;
    model->descriptor_count = count;
    return true;
}

bool file_model_build(struct arena *arena, const Google__Protobuf__FileDescriptorProto *file,
    Google__Protobuf__FileDescriptorProto *const *all, size_t all_count, struct file_model *ret_model,
    struct error *reterr_error)
{
    static const int32_t c_package[] = {PLACE_FILE_OPTIONS, OPTION_PB_C_FILE, PB_C_FILE_C_PACKAGE};
    struct service_model *services = arena_alloc_array(arena, file->n_service, sizeof(*services));

    assert(file->name != NULL);
    if (file->package != NULL && *file->package != '\0' && !name_is_valid(file->package))
        return error_set(reterr_error, ERROR_INVALID, "%s: malformed: the package has no proper name", file->name);
    if (has_c_package(file))
        return error_set(reterr_error, ERROR_INVALID, "%s: option (pb_c_file).c_package is not supported",
            place_of(arena, file, c_package, COUNT_OF(c_package)));
    if (!groups_check(arena, file, reterr_error))
        return false;
    for (size_t i = 0; i < file->n_service; i++) {
        if (!service_build(arena, file, i, services, &services[i], reterr_error))
            return false;
    }
    ret_model->proto = file->name;
    ret_model->stem = stem_of(arena, file->name);
    ret_model->guard = name_of_guard(arena, ret_model->stem);
    ret_model->comment = comment_of_file(file);
    ret_model->services = services;
    ret_model->service_count = file->n_service;
    return file->n_service == 0 || descriptors_build(arena, file, all, all_count, ret_model, reterr_error);
}
