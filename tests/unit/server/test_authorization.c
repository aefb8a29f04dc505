/* Goal: no method of ours is served that the table does not speak of, and what it says can be asked of the request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "authorization.h"
#include "base/memory.h"
#include "grpc_c/types.h"
#include "service.h"

static void check_method(const struct grpc_c_method *method)
{
    const struct authorization_rule *rule = authorization_find(method->path);

    if (rule == NULL)
        fail_msg("%s: not in the table", method->path);
    bool asks_for_place = rule->right == RIGHT_MEMBER || rule->right == RIGHT_ADMIN;
    /* A stream has no request to look at: its handler says which workspace it is, and the matrix of test_authorization.py that it does. */
    assert_int_equal(asks_for_place && !method->client_streams, rule->workspace_field != NULL);
    if (rule->workspace_field == NULL)
        return;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(method->request, rule->workspace_field);
    assert_non_null(field);
    assert_int_equal(field->type, PROTOBUF_C_TYPE_STRING);
    assert_int_not_equal(field->label, PROTOBUF_C_LABEL_REPEATED);
}

static void every_method_is_in_the_table(void **state)
{
    struct service service = {0};
    struct grpc_c_server *server = grpc_c_server_new(NULL);
    const struct grpc_c_service *const *services = NULL;
    size_t methods = 0;

    (void)state;
    service_init(&service);
    service_register(server, &service);
    size_t count = grpc_c_server_services(server, &services);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < services[i]->method_count; j++, methods++)
            check_method(&services[i]->methods[j]);
    assert_true(methods >= 30);
    assert_null(authorization_find("/leadrouter.v1.RoutingService/Routelead"));
    assert_null(authorization_find(""));
    grpc_c_server_free(server);
    service_release(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_method_is_in_the_table)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
