"""Goal: rules of the general form decide over gRPC on a real database: other columns, attributes, named sets; what they looked at is in
the log, and who the lead is is not."""
import uuid

import pytest

from support.stubs import leads_pb2, routing_pb2

pytestmark = pytest.mark.asan
PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000003"
SECOND = "00000000-0000-4000-8000-000000000004"
DEADLINE_S = 20

RULES = f"""
insert into workspaces (id, name, workspace_type, routing_config) values
    ('{PARTNER}', 'Partner', 'partner', '{{"default_country": "US"}}'), ('{DESK}', 'Desk', 'standard', '{{}}'),
    ('{SECOND}', 'Second desk', 'standard', '{{}}');
insert into lead_routing_sets (workspace_id, set_name, set_values) values
    ('{PARTNER}', 'free mail', '{{GMAIL.com,yahoo.com}}'), ('{PARTNER}', 'empty', '{{}}');
insert into lead_routing_rules (workspace_id, rule_name, priority, conditions, destination_workspace_id) values
    ('{PARTNER}', 'good', 10, '{{"all": [
        {{"field": "attributes.score", "op": "gte", "value": 50}},
        {{"field": "us_state", "op": "in", "value": ["CA", "NY"]}},
        {{"not": {{"field": "email.domain", "op": "in_set", "value": "free mail"}}}},
        {{"field": "created_at", "op": "within_last", "value": {{"days": 1}}}}]}}', '{DESK}'),
    ('{PARTNER}', 'by postal code', 5, '{{"field": "postal_code", "op": "postal_prefix_in", "value": ["10"]}}', '{SECOND}');
"""


@pytest.fixture(autouse=True)
def rules(sql):
    sql(RULES)


def route(server, **fields):
    """A new lead, routed: its id and the answer."""
    lead = leads_pb2.NewLead(external_id=str(uuid.uuid4()), first_name="Ann", last_name=str(uuid.uuid4()), company_name="Acme", **fields)
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[lead]), timeout=DEADLINE_S)
    lead_id = created.results[0].lead_id
    request = routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER)
    return lead_id, server.routing.RouteLead(request, timeout=DEADLINE_S)


def test_other_columns_attributes_and_sets(server, sql):
    lead_id, answer = route(server, email="ann@acme.example", state="California", attributes_json='{"score": 61.5, "secret": "x"}')
    assert answer.matched_rule_name == "good" and answer.destination_workspace_id == DESK
    (facts, version), = sql("select routing_metadata -> 'facts', routing_metadata -> 'rules_version' from lead_routing_logs"
                            " where lead_id = %s", [lead_id])
    assert facts.pop("created_at").startswith("20")
    assert facts == {"attributes.score": "61.5", "state": "California"} and version > 0
    assert route(server, email="ann@gmail.COM", state="CA", attributes_json='{"score": 61}')[1].outcome == \
        routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY
    assert route(server, email="b@acme.example", state="CA", postal_code="1 0-115")[1].matched_rule_name == "by postal code"


def test_a_changed_set_is_felt_by_the_next_lead(server, sql):
    assert route(server, email="a@web.example", state="NY", attributes_json='{"score": 50}')[1].matched_rule_name == "good"
    sql("update lead_routing_sets set set_values = set_values || '{web.example}' where set_name = 'free mail'")
    assert route(server, email="b@web.example", state="NY", attributes_json='{"score": 50}')[1].matched_rule_name == ""
    sql("delete from lead_routing_sets where set_name = 'free mail'")
    answer = route(server, email="c@web.example", state="NY", attributes_json='{"score": 50}')[1]
    assert answer.reason == 'the workspace\'s rules cannot be used: unknown set'


@pytest.mark.parametrize("beside", ["100000000000000000000", "1e400", '{"deep": [1e400, "]"]}', "[" * 3000 + "]" * 3000],
                         ids=["more than 64 bits", "more than a double", "nested", "deep"])
def test_what_only_the_database_holds(server, sql, beside):
    """An attribute that PostgreSQL keeps, and a parser of JSON or a double does not, changes nothing of those beside it."""
    sql("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id) values (%s, 'one id', %s, %s)",
        [PARTNER, '{"field": "attributes.id", "op": "eq", "value": "12345678901234567"}', DESK])
    (lead_id,), = sql("insert into leads (workspace_id, source_workspace_id, last_name, attributes) values (%s, %s, 'Lee', %s)"
                      " returning id::text", [PARTNER, PARTNER, f'{{"id": 12345678901234567, "beside": {beside}}}'])
    answer = server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER), timeout=DEADLINE_S)
    assert answer.matched_rule_name == "one id" and answer.destination_workspace_id == DESK
    (facts,), = sql("select routing_metadata -> 'facts' from lead_routing_logs where lead_id = %s", [lead_id])
    assert facts["attributes.id"] == "12345678901234567"
