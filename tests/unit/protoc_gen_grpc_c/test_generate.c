/* Goal: a request gives the right files or a message that says what is wrong, whatever the bytes are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "generate.h"
#include "plugin.pb-c.h"

typedef GrpcC__Plugin__CodeGeneratorRequest plugin_request;
typedef GrpcC__Plugin__CodeGeneratorResponse plugin_response;
typedef Google__Protobuf__FileDescriptorSet descriptor_set;

enum { BYTES_MAX = 4 * 1024 * 1024 };

/* The descriptor set that protoc made of a sample; the caller's. */
static descriptor_set *load_set(const char *name)
{
    char path[4096] = "";
    uint8_t chunk[4096];
    struct buffer bytes = {0};
    descriptor_set *set = NULL;
    FILE *file = NULL;
    size_t size = 0;

    snprintf(path, sizeof(path), "%s/%s.set", SETS, name);
    file = fopen(path, "rb");
    assert_non_null(file);
    buffer_init(&bytes, BYTES_MAX);
    while ((size = fread(chunk, 1, sizeof(chunk), file)) > 0)
        assert_true(buffer_append(&bytes, chunk, size));
    fclose(file);
    set = google__protobuf__file_descriptor_set__unpack(NULL, bytes.size, bytes.data);
    assert_non_null(set);
    buffer_release(&bytes);
    return set;
}

/* The bytes of a request for one file; memory of the caller. */
static uint8_t *pack_request(descriptor_set *set, const char *proto, const char *parameter, size_t *ret_size)
{
    plugin_request request = GRPC_C__PLUGIN__CODE_GENERATOR_REQUEST__INIT;
    char *names[] = {memory_copy_string(proto)};
    char *options = memory_copy_string(parameter);
    uint8_t *bytes = NULL;

    request.n_file_to_generate = 1;
    request.file_to_generate = names;
    request.parameter = options;
    request.n_proto_file = set->n_file;
    request.proto_file = set->file;
    *ret_size = grpc_c__plugin__code_generator_request__get_packed_size(&request);
    bytes = memory_new(*ret_size);
    grpc_c__plugin__code_generator_request__pack(&request, bytes);
    free(names[0]);
    free(options);
    return bytes;
}

/* Runs the generator over a set; the response is the caller's. NULL: no response, and `ret_error` says why. */
static plugin_response *generate(descriptor_set *set, const char *proto, const char *parameter, struct error *ret_error)
{
    struct buffer out = {0};
    plugin_response *response = NULL;
    size_t size = 0;
    uint8_t *bytes = pack_request(set, proto, parameter, &size);

    buffer_init(&out, BYTES_MAX);
    if (generate_stubs(bytes, size, &out, ret_error)) {
        response = grpc_c__plugin__code_generator_response__unpack(NULL, out.size, out.data);
        assert_non_null(response);
    }
    buffer_release(&out);
    free(bytes);
    return response;
}

static void assert_refused(descriptor_set *set, const char *proto, const char *text)
{
    struct error error = {0};
    plugin_response *response = generate(set, proto, NULL, &error);

    assert_non_null(response);
    assert_int_equal(response->n_file, 0);
    assert_non_null(response->error);
    assert_string_equal(response->error, text);
    grpc_c__plugin__code_generator_response__free_unpacked(response, NULL);
}

/* Goal: a header and a source per file with services. */
static void test_files(void **state)
{
    struct error error = {0};
    descriptor_set *set = load_set("orders");
    plugin_response *response = generate(set, "shop/v1/orders.proto", "", &error);

    (void)state;
    assert_non_null(response);
    assert_null(response->error);
    assert_int_equal(response->n_file, 2);
    assert_string_equal(response->file[0]->name, "shop/v1/orders.grpc.h");
    assert_string_equal(response->file[1]->name, "shop/v1/orders.grpc.c");
    assert_non_null(strstr(response->file[0]->content, "shop__v1__order_service__add("));
    assert_non_null(strstr(response->file[1]->content, "#include \"shop/v1/orders.grpc.h\""));
    assert_true(response->supported_features & 1);
    grpc_c__plugin__code_generator_response__free_unpacked(response, NULL);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Goal: a file of messages only is no fault and gives nothing. */
static void test_no_service(void **state)
{
    struct error error = {0};
    descriptor_set *set = load_set("only_messages");
    plugin_response *response = generate(set, "only_messages.proto", NULL, &error);

    (void)state;
    assert_non_null(response);
    assert_null(response->error);
    assert_int_equal(response->n_file, 0);
    grpc_c__plugin__code_generator_response__free_unpacked(response, NULL);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Goal: a .proto that we cannot serve is refused with file, line, and method. */
static void test_refusals(void **state)
{
    static const struct {
        const char *name;
        const char *text;
    } cases[] = {
        {"same_methods",
            "same_methods.proto:6: methods GetLead and get_lead of service refused.S have the same name in C"},
        {"same_services",
            "same_services.proto:5: services refused.HTTPService and refused.Httpservice have the same name in C"},
        {"c_package", "c_package.proto:5: option (pb_c_file).c_package is not supported"},
        {"group", "group.proto:8: field M.Inner.part is a group, which protobuf-c does not have"},
        {"imports_group", "group.proto:8: field M.Inner.part is a group, which protobuf-c does not have"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char proto[256] = "";
        descriptor_set *set = load_set(cases[i].name);

        snprintf(proto, sizeof(proto), "%s.proto", cases[i].name);
        assert_refused(set, proto, cases[i].text);
        google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    }
}

/* Goal: what no protoc writes (names missing or not fit for C) is refused, too. */
static void test_malformed_descriptors(void **state)
{
    descriptor_set *set = load_set("only_messages");
    Google__Protobuf__FileDescriptorProto *file = set->file[0];
    Google__Protobuf__MethodDescriptorProto method = GOOGLE__PROTOBUF__METHOD_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__ServiceDescriptorProto service = GOOGLE__PROTOBUF__SERVICE_DESCRIPTOR_PROTO__INIT;
    Google__Protobuf__MethodDescriptorProto *methods[] = {&method};
    Google__Protobuf__ServiceDescriptorProto *services[] = {&service};
    char name[] = "S";
    char bad_name[] = "S;";
    char type[] = ".refused.M";
    char *package = file->package;

    (void)state;
    file->n_service = 1;
    file->service = services;
    assert_refused(set, "only_messages.proto", "only_messages.proto: malformed: a service without a proper name");
    service.name = bad_name;
    assert_refused(set, "only_messages.proto", "only_messages.proto: malformed: a service without a proper name");
    service.name = name;
    service.n_method = 1;
    service.method = methods;
    assert_refused(set, "only_messages.proto",
        "only_messages.proto: malformed: service refused.S has a method without a proper name");
    method.name = name;
    assert_refused(
        set, "only_messages.proto", "only_messages.proto: malformed: method refused.S.S lacks the type of its request");
    method.input_type = type;
    assert_refused(set, "only_messages.proto",
        "only_messages.proto: malformed: method refused.S.S lacks the type of its response");
    method.output_type = type;
    file->package = bad_name;
    assert_refused(set, "only_messages.proto", "only_messages.proto: malformed: the package has no proper name");
    file->package = package;
    file->n_service = 0;
    file->service = NULL;
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Goal: a group that is an extension is no reason to refuse. */
static void test_group_extension(void **state)
{
    struct error error = {0};
    descriptor_set *set = load_set("group_extension");
    plugin_response *response = generate(set, "group_extension.proto", NULL, &error);

    (void)state;
    assert_non_null(response);
    assert_null(response->error);
    assert_int_equal(response->n_file, 2);
    grpc_c__plugin__code_generator_response__free_unpacked(response, NULL);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Goal: a request that lacks an imported file is refused, with both names. */
static void test_absent_import(void **state)
{
    descriptor_set *set = load_set("imports_group");

    (void)state;
    assert_int_equal(set->n_file, 2);
    Google__Protobuf__FileDescriptorProto *import = set->file[0];
    assert_string_equal(import->name, "group.proto");
    set->file[0] = set->file[1];
    set->n_file = 1;
    assert_refused(set, "imports_group.proto",
        "imports_group.proto: malformed: it imports group.proto, which is not in the request");
    set->file[0] = import;
    set->n_file = 2;
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

static void test_bad_requests(void **state)
{
    struct error error = {0};
    struct buffer out = {0};
    static const uint8_t no_file[] = {0x12, 0x00}; /* an empty parameter and nothing else */
    descriptor_set *set = load_set("orders");

    (void)state;
    buffer_init(&out, BYTES_MAX);
    assert_false(generate_stubs(NULL, 0, &out, &error));
    assert_int_equal(error.code, ERROR_INVALID);
    assert_string_equal(error.text, "standard input is empty: protoc runs this program");
    assert_false(generate_stubs(no_file, sizeof(no_file), &out, &error));
    assert_string_equal(error.text, "the request on standard input names no file to generate");
    assert_null(generate(set, "absent.proto", NULL, &error));
    assert_string_equal(error.text, "the request names absent.proto, which is not in it");
    assert_null(generate(set, "shop/v1/orders.proto", "color=red", &error));
    assert_string_equal(error.text, "unknown option \"color=red\": there are client_only and client_only=PREFIX_");
    assert_int_equal(out.size, 0);
    buffer_release(&out);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Goal: a request cut anywhere gives a message and nothing else. Each prefix has a buffer of its own, so that reading behind it is seen. */
static void test_truncated_request(void **state)
{
    descriptor_set *set = load_set("orders");
    size_t size = 0;
    uint8_t *whole = pack_request(set, "shop/v1/orders.proto", NULL, &size);
    struct buffer out = {0};

    (void)state;
    buffer_init(&out, BYTES_MAX);
    for (size_t cut = 0; cut < size; cut++) {
        struct error error = {0};
        uint8_t *bytes = memory_new(cut);

        memcpy(bytes, whole, cut);
        assert_false(generate_stubs(bytes, cut, &out, &error));
        assert_int_equal(error.code, ERROR_INVALID);
        assert_true(error.text[0] != '\0');
        free(bytes);
    }
    assert_int_equal(out.size, 0);
    assert_true(generate_stubs(whole, size, &out, NULL));
    buffer_release(&out);
    free(whole);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Goal: output that finds no room is an error, not a shorter output. */
static void test_full(void **state)
{
    struct error error = {0};
    struct buffer out = {0};
    descriptor_set *set = load_set("orders");
    size_t size = 0;
    uint8_t *bytes = pack_request(set, "shop/v1/orders.proto", NULL, &size);

    (void)state;
    buffer_init(&out, 1000);
    assert_false(generate_stubs(bytes, size, &out, &error));
    assert_int_equal(error.code, ERROR_FULL);
    assert_string_equal(error.text, "the output is larger than 1000 bytes");
    assert_int_equal(out.size, 0);
    buffer_release(&out);
    free(bytes);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Goal: services go, everything else stays as it was. */
static void test_without_services(void **state)
{
    struct error error = {0};
    struct buffer out = {0};
    descriptor_set *set = load_set("orders");
    size_t size = google__protobuf__file_descriptor_set__get_packed_size(set);
    uint8_t *bytes = memory_new(size);
    descriptor_set *stripped = NULL;

    (void)state;
    google__protobuf__file_descriptor_set__pack(set, bytes);
    buffer_init(&out, BYTES_MAX);
    assert_true(generate_set_without_services(bytes, size, &out, &error));
    stripped = google__protobuf__file_descriptor_set__unpack(NULL, out.size, out.data);
    assert_non_null(stripped);
    assert_int_equal(stripped->n_file, set->n_file);
    for (size_t i = 0; i < set->n_file; i++) {
        assert_int_equal(stripped->file[i]->n_service, 0);
        assert_string_equal(stripped->file[i]->name, set->file[i]->name);
        assert_int_equal(stripped->file[i]->n_message_type, set->file[i]->n_message_type);
        assert_int_equal(stripped->file[i]->source_code_info->n_location, set->file[i]->source_code_info->n_location);
    }
    buffer_clear(&out);
    assert_false(generate_set_without_services(NULL, 0, &out, &error));
    assert_string_equal(error.text, "not a FileDescriptorSet with a file in it");
    assert_false(generate_set_without_services(bytes, size - 1, &out, &error));
    assert_int_equal(out.size, 0);
    buffer_release(&out);
    free(bytes);
    google__protobuf__file_descriptor_set__free_unpacked(stripped, NULL);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

/* Imports that are for options alone go, others and their order stay. */
static void test_imports_for_options(void **state)
{
    static const char *const kept[] = {"common.proto", "money.proto", "kinds.proto"};
    struct error error = {0};
    struct buffer out = {0};
    size_t size = 0;
    descriptor_set *set = load_set("options");
    uint8_t *bytes = memory_new(google__protobuf__file_descriptor_set__get_packed_size(set));
    descriptor_set *stripped = NULL;

    (void)state;
    size = google__protobuf__file_descriptor_set__pack(set, bytes);
    buffer_init(&out, BYTES_MAX);
    assert_true(generate_set_without_services(bytes, size, &out, &error));
    stripped = google__protobuf__file_descriptor_set__unpack(NULL, out.size, out.data);
    assert_non_null(stripped);
    assert_int_equal(stripped->n_file, set->n_file);
    const Google__Protobuf__FileDescriptorProto *file = stripped->file[stripped->n_file - 1];
    assert_string_equal(file->name, "options.proto");
    assert_int_equal(set->file[set->n_file - 1]->n_dependency, COUNT_OF(kept) + 1);
    assert_int_equal(file->n_dependency, COUNT_OF(kept));
    for (size_t i = 0; i < COUNT_OF(kept); i++)
        assert_string_equal(file->dependency[i], kept[i]);
    assert_int_equal(file->message_type[0]->field[0]->options->base.n_unknown_fields, 1);
    buffer_release(&out);
    free(bytes);
    google__protobuf__file_descriptor_set__free_unpacked(stripped, NULL);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_no_service),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_malformed_descriptors),
        cmocka_unit_test(test_group_extension),
        cmocka_unit_test(test_absent_import),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_truncated_request),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_without_services),
        cmocka_unit_test(test_imports_for_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
