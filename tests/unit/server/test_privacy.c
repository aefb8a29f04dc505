/* Goal: the marks of the protocol have reached C, and of a message only what they and its types call harmless is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/memory.h"
#include "leadrouter/v1/leads.grpc.h"
#include "leadrouter/v1/routing.grpc.h"
#include "leadrouter/v1/rules.grpc.h"
#include "privacy.h"
#include "rules/fields.h"

#define ID "3f0e4a52-93d1-4b4e-9f0a-0d6c5a2b7e11"

static struct privacy *privacy;
static char id[] = ID; /* messages hold text that may be changed */
static char person[] = "jane@acme.example";

static int set_up(void **state)
{
    const struct grpc_c_service *const services[] = {&leadrouter__v1__lead_service__grpc_service,
        &leadrouter__v1__rule_service__grpc_service, &leadrouter__v1__routing_service__grpc_service};

    (void)state;
    privacy = privacy_new(services, COUNT_OF(services));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    privacy_free(privacy);
    privacy_free(NULL);
    return 0;
}

static void assert_form(const ProtobufCMessage *message, const char *wanted)
{
    struct buffer buffer = {0};

    buffer_init(&buffer, 1000);
    privacy_append_safe(privacy, message, &buffer);
    assert_string_equal(buffer_text(&buffer), wanted);
    buffer_release(&buffer);
}

static void marks(void **state)
{
    (void)state;
    assert_int_equal(privacy_class(privacy, "leadrouter.v1.NewLead", 2), PRIVACY_PERSONAL);
    assert_int_equal(privacy_class(privacy, "leadrouter.v1.NewLead", 15), PRIVACY_PROFILE);
    assert_int_equal(privacy_class(privacy, "leadrouter.v1.Lead", 1), PRIVACY_ID);
    assert_int_equal(privacy_class(privacy, "leadrouter.v1.Rule", 4), PRIVACY_UNKNOWN);
    assert_int_equal(privacy_class(privacy, "leadrouter.v1.Nothing", 1), PRIVACY_UNKNOWN);
    assert_int_equal(privacy_class(privacy, "leadrouter.v1.NewLead", 99), PRIVACY_UNKNOWN);
}

/* What the log of decisions never keeps of a lead is what the protocol calls personal. */
static void fields_of_rules(void **state)
{
    const ProtobufCMessageDescriptor *lead = &leadrouter__v1__new_lead__descriptor;

    (void)state;
    for (unsigned i = 0; i < lead->n_fields; i++) {
        enum privacy_class class = privacy_class(privacy, lead->name, lead->fields[i].id);
        enum rule_field field = RULE_FIELD_ATTRIBUTE;
        const char *attribute = NULL;
        if (rule_field_find(lead->fields[i].name, &field, &attribute))
            assert_int_equal(class, rule_field_info(field)->is_contact ? PRIVACY_PERSONAL : PRIVACY_PROFILE);
        else
            assert_string_equal(lead->fields[i].name, "attributes_json");
    }
    assert_true(rule_field_info(RULE_FIELD_EMAIL_DOMAIN)->is_contact);
    assert_true(rule_field_info(RULE_FIELD_PHONE_AREA_CODE)->is_contact);
}

static void forms(void **state)
{
    Leadrouter__V1__RouteLeadRequest route = LEADROUTER__V1__ROUTE_LEAD_REQUEST__INIT;
    Leadrouter__V1__CreateLeadsRequest create = LEADROUTER__V1__CREATE_LEADS_REQUEST__INIT;
    Leadrouter__V1__CreateRuleRequest rule_request = LEADROUTER__V1__CREATE_RULE_REQUEST__INIT;
    Leadrouter__V1__Rule rule = LEADROUTER__V1__RULE__INIT;
    Leadrouter__V1__NewLead lead = LEADROUTER__V1__NEW_LEAD__INIT;
    Leadrouter__V1__RouteLeadResponse response = LEADROUTER__V1__ROUTE_LEAD_RESPONSE__INIT;
    Leadrouter__V1__NewLead *leads[] = {&lead, &lead};

    (void)state;
    assert_form(&route.base, "{}");
    route.lead_id = id;
    route.source_workspace_id = person; /* where an id belongs */
    route.max_attempts = -3;
    route.force = true;
    assert_form(&route.base, "{\"lead_id\":\"" ID "\",\"max_attempts\":-3,\"force\":true}");
    lead.email = lead.attributes_json = lead.external_id = id;
    assert_form(&lead.base, "{}");
    create.workspace_id = id;
    create.n_leads = COUNT_OF(leads);
    create.leads = leads;
    assert_form(&create.base, "{\"workspace_id\":\"" ID "\",\"leads\":2}");
    rule.name = rule.conditions_json = rule_request.note = person;
    rule.priority = 7;
    rule.destination_workspace_id = id;
    rule_request.rule = &rule;
    rule_request.expected_version = INT64_MAX;
    assert_form(&rule_request.base,
        "{\"rule\":{\"priority\":7,\"destination_workspace_id\":\"" ID "\"},\"expected_version\":9223372036854775807}");
    response.outcome = LEADROUTER__V1__ROUTING_OUTCOME__ROUTING_OUTCOME_FAILED;
    response.decided_outcome = (Leadrouter__V1__RoutingOutcome)77;
    assert_form(&response.base, "{\"outcome\":\"ROUTING_OUTCOME_FAILED\",\"decided_outcome\":77}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks), cmocka_unit_test(fields_of_rules), cmocka_unit_test(forms)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
