"""Goal: a caller in another language (python3-grpcio, stubs made from proto/) gets what the contracts in proto/
promise, and bad input of every kind gives one clear message that names the thing, while the server goes on."""
import concurrent.futures
import json
import uuid

import grpc
import pytest

from support.product_cluster import wait_until
from support.stubs import leads_pb2, routing_pb2, routing_pb2_grpc

PARTNER = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
DESK = "00000000-0000-4000-8000-000000000003"
RULE = "00000000-0000-4000-9000-000000000001"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
ROUTE_LEAD = "/leadrouter.v1.RoutingService/RouteLead"
CREATE_LEADS = "/leadrouter.v1.LeadService/CreateLeads"
DEADLINE_S = 20

RULES = f"""
insert into workspaces (id, name, workspace_type) values
    ('{PARTNER}', 'Partner', 'partner'), ('{OTHER}', 'Other partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (id, workspace_id, rule_name, conditions, destination_workspace_id) values
    ('{RULE}', '{PARTNER}', 'Germans', '{{"countries": ["DE"]}}', '{DESK}');
insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id) values ('{OTHER}', 'all', '{{}}', '{DESK}');
"""


@pytest.fixture(autouse=True)
def rules(sql):
    sql(RULES)


def lead(number, country="Germany"):
    return leads_pb2.NewLead(external_id=f"x-{number}", email=f"person{number}@example.com", country=country)


def create(server, leads, workspace=PARTNER, **fields):
    return server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=workspace, leads=leads, **fields), timeout=DEADLINE_S)


def route(server, lead_id, workspace=PARTNER, **fields):
    return server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=workspace, **fields),
            timeout=DEADLINE_S)


def one_lead(server, number=1, **fields):
    return create(server, [lead(number)], **fields).results[0].lead_id


def refusal(call, *arguments, **fields):
    """The status and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **fields)
    return caught.value.code(), caught.value.details()


def raw(server, method, data, **fields):
    """A call with these bytes as its message."""
    call = server.channels[0].unary_unary(method, request_serializer=lambda message: message, response_deserializer=lambda message: message)
    return call(data, timeout=DEADLINE_S, **fields)


def test_route_lead(server, sql):
    lead_id = one_lead(server)
    answer = route(server, lead_id)
    assert answer.outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
    assert (answer.lead_id, answer.destination_workspace_id, answer.matched_rule_id, answer.matched_rule_name) == (
        lead_id, DESK, RULE, "Germans")
    assert answer.attempt == 1 and answer.reason and not answer.HasField("next_retry_at")
    assert sql("select lead_id::text, destination_workspace_id::text from lead_routing_logs where id = %s",
               (answer.decision_id,)) == [(lead_id, DESK)]
    again = route(server, lead_id)
    assert again.outcome == routing_pb2.ROUTING_OUTCOME_ALREADY_ROUTED and again.decided_outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
    assert (again.decision_id, again.destination_workspace_id, again.matched_rule_name) == (answer.decision_id, DESK, "Germans")


def test_route_lead_sells_an_identity_once(server):
    first = one_lead(server)
    second = one_lead(server, workspace=OTHER)
    assert route(server, first).outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
    answer = route(server, second, OTHER)
    assert answer.outcome == routing_pb2.ROUTING_OUTCOME_DUPLICATE
    assert (answer.duplicate_lead_id, answer.destination_workspace_id) == (first, OTHER)


def test_route_lead_without_a_match_is_tried_again_later(server):
    lead_id = create(server, [lead(1, "France")]).results[0].lead_id
    answer = route(server, lead_id, max_attempts=2)
    assert answer.outcome == routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY
    assert answer.HasField("next_retry_at") and not answer.destination_workspace_id
    assert route(server, lead_id, force=True).outcome == routing_pb2.ROUTING_OUTCOME_FAILED


def test_sixteen_callers_get_one_decision(server, sql):
    lead_id = one_lead(server)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: route(server, lead_id), range(64)))
    assert len({answer.decision_id for answer in answers}) == 1
    assert {answer.destination_workspace_id for answer in answers} == {DESK}
    assert sql("select count(*) from lead_routing_logs") == [(1,)]


def test_create_leads_with_route(server, sql):
    answer = create(server, [lead(1), lead(2, "France"), lead(3)], route=True)
    assert (answer.created, answer.existing) == (3, 0)
    assert [result.routing.outcome for result in answer.results] == [
        routing_pb2.ROUTING_OUTCOME_ROUTED, routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY, routing_pb2.ROUTING_OUTCOME_ROUTED]
    assert all(result.created and result.routing_status == 0 and result.routing.lead_id == result.lead_id for result in answer.results)
    assert sql("select external_id, routing_status::text from leads order by 1") == [
        ("x-1", "routed"), ("x-2", "pending"), ("x-3", "routed")]


def test_create_leads_takes_an_external_id_once(server, sql):
    first = create(server, [lead(1), lead(2)])
    second = create(server, [lead(2), lead(3), lead(3)])
    assert (second.created, second.existing) == (1, 2)
    assert [result.created for result in second.results] == [False, True, False]
    assert second.results[0].lead_id == first.results[1].lead_id and second.results[1].lead_id == second.results[2].lead_id
    assert create(server, [lead(1)], workspace=OTHER).created == 1
    assert sql("select count(*) from leads") == [(4,)]


def test_create_leads_is_repeatable_by_request_id(server, sql):
    request_id = str(uuid.uuid4())
    nameless = [leads_pb2.NewLead(email="a@example.com", country="DE"), leads_pb2.NewLead(email="b@example.com")]
    first = create(server, nameless, request_id=request_id, route=True)
    again = create(server, nameless, request_id=request_id, route=True)
    assert [(result.lead_id, result.created) for result in again.results] == [(result.lead_id, True) for result in first.results]
    assert again.results[0] == first.results[0] and again.created == 2 # the other is undecided: its answer is how it stands now
    assert sql("select count(*) from leads") == [(2,)]
    code, text = refusal(create, server, nameless[:1], request_id=request_id)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "request_id" in text
    assert sql("select count(*) from leads") == [(2,)]


def test_get_lead(server):
    given = leads_pb2.NewLead(external_id="x-1", email="Jane@Example.com", phone="+49 30 1", first_name="Jane", last_name="Döe",
                              company_name="Acme", company_industry="Software", company_size="51-200", company_revenue="$1M-$10M",
                              country="DE", state="BE", city="Berlin", postal_code="10115", source="manual")
    lead_id = create(server, [given], route=True).results[0].lead_id
    for asking in (PARTNER, DESK):
        got = server.leads.GetLead(leads_pb2.GetLeadRequest(lead_id=lead_id, workspace_id=asking), timeout=DEADLINE_S).lead
        assert (got.id, got.workspace_id, got.source_workspace_id, got.status) == (lead_id, DESK, PARTNER, leads_pb2.LEAD_STATUS_ROUTED)
        assert got.decided_outcome == routing_pb2.ROUTING_OUTCOME_ROUTED and got.matched_rule_id == RULE and got.decision_id
        assert got.created_at.seconds and got.decided_at.seconds
        for field in given.DESCRIPTOR.fields:
            if field.name != "attributes_json":
                assert getattr(got.data, field.name) == getattr(given, field.name), field.name


def test_attributes_come_back(server):
    lead_id = create(server, [leads_pb2.NewLead(attributes_json='{"campaign": "Frühling", "n": [1, {"a": null}]}')]).results[0].lead_id
    got = server.leads.GetLead(leads_pb2.GetLeadRequest(lead_id=lead_id, workspace_id=PARTNER), timeout=DEADLINE_S).lead.data
    assert json.loads(got.attributes_json) == {"campaign": "Frühling", "n": [1, {"a": None}]}


@pytest.mark.asan
def test_health(server):
    one_lead(server)
    health = server.routing.Health(routing_pb2.HealthRequest(workspace_id=PARTNER), timeout=DEADLINE_S)
    assert (health.status, health.pending, health.routing, health.failed) == (routing_pb2.HEALTH_STATUS_HEALTHY, 1, 0, 0)
    assert health.schema_version == 1 and health.server_version and health.counted_at.seconds and not health.problems
    assert server.routing.Health(routing_pb2.HealthRequest(workspace_id=OTHER), timeout=DEADLINE_S).pending == 0
    assert server.stop() == 0, server.text()


# --- Bad input --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field, text", [(field, text) for field in ("lead_id", "source_workspace_id", "user_id") for text in ("", "x",
        "00000000-0000-4000-8000-00000000000g", "00000000-0000-4000-8000-0000000000011", "ü" * 18)
                                         if text or field != "user_id"]) # an empty user_id means a service
def test_route_ids_that_are_no_uuid(server, field, text):
    ids = {"lead_id": PARTNER, "source_workspace_id": PARTNER, field: text}
    code, message = refusal(server.routing.RouteLead, routing_pb2.RouteLeadRequest(**ids), timeout=DEADLINE_S)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and message == f"{field}: {'not a UUID' if text else 'missing'}"


def test_other_ids_that_are_no_uuid(server):
    for message, call in (
            ("workspace_id", lambda: create(server, [lead(1)], workspace="x")),
            ("request_id", lambda: create(server, [lead(1)], request_id="x")),
            ("user_id", lambda: create(server, [lead(1)], user_id="x")),
            ("lead_id", lambda: server.leads.GetLead(leads_pb2.GetLeadRequest(lead_id="x", workspace_id=PARTNER), timeout=DEADLINE_S)),
            ("workspace_id", lambda: server.leads.GetLead(leads_pb2.GetLeadRequest(lead_id=PARTNER), timeout=DEADLINE_S)),
            ("workspace_id", lambda: server.routing.Health(routing_pb2.HealthRequest(workspace_id="x"), timeout=DEADLINE_S))):
        code, text = refusal(call)
        assert code == grpc.StatusCode.INVALID_ARGUMENT and text.startswith(message + ": "), (message, text)


def test_a_lead_of_another_workspace_is_unknown(server, sql):
    """Whether the lead is there must not show."""
    lead_id = one_lead(server)
    unknown = refusal(route, server, NOBODY)
    assert unknown[0] == grpc.StatusCode.NOT_FOUND
    assert refusal(route, server, lead_id, OTHER) == unknown
    assert refusal(route, server, lead_id, NOBODY) == unknown
    get = lambda lead, workspace: refusal(server.leads.GetLead, leads_pb2.GetLeadRequest(lead_id=lead, workspace_id=workspace),
            timeout=DEADLINE_S)
    assert get(lead_id, OTHER) == get(NOBODY, PARTNER) and get(NOBODY, PARTNER)[0] == grpc.StatusCode.NOT_FOUND
    assert sql("select routing_status::text from leads") == [("pending",)]


def test_create_in_an_unknown_workspace(server, sql):
    code, text = refusal(create, server, [lead(1)], workspace=NOBODY)
    assert code == grpc.StatusCode.NOT_FOUND and text.startswith("workspace_id: ")
    assert sql("select count(*) from leads") == [(0,)]


def length_delimited(number, data):
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


@pytest.mark.asan
@pytest.mark.parametrize("text, reason", [(b"a\0b", "NUL"), (b"a\xffb", "UTF-8"), (b"\xc0\xaf", "UTF-8"), (b"\xed\xa0\x80", "UTF-8")])
def test_text_that_is_none(server, sql, text, reason):
    request = length_delimited(1, PARTNER.encode()) + length_delimited(2, length_delimited(2, b"a@example.com")) \
        + length_delimited(2, length_delimited(4, text))
    code, message = refusal(raw, server, CREATE_LEADS, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "first_name" in message and reason.lower() in message.lower(), message
    assert sql("select count(*) from leads") == [(0,)]
    code, message = refusal(raw, server, ROUTE_LEAD, length_delimited(1, text))
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "lead_id" in message, message
    assert create(server, [lead(1)]).created == 1


def test_truncated_messages(server):
    """Every beginning of a good message is refused: half a field, or a field missing."""
    whole = routing_pb2.RouteLeadRequest(lead_id=one_lead(server), source_workspace_id=PARTNER, max_attempts=3).SerializeToString()
    for size in range(len(whole)):
        if size == len(whole) - 2: # without max_attempts it is whole again
            continue
        assert refusal(raw, server, ROUTE_LEAD, whole[:size])[0] == grpc.StatusCode.INVALID_ARGUMENT
    raw(server, ROUTE_LEAD, whole)


def test_attributes_that_are_no_object(server, sql):
    for text, reason in (("[1]", "must be a JSON object"), ("{", "not valid JSON"), ('{"a": "\\u0000"}', "not valid JSON"), ("x" * 65537,
            "longer than"),
                         ('{"a": 1, "a": 2}', "not valid JSON")):
        code, message = refusal(create, server, [lead(1), leads_pb2.NewLead(attributes_json=text)])
        assert code == grpc.StatusCode.INVALID_ARGUMENT and message.startswith("leads[1].attributes_json: ") and reason in message
    assert sql("select count(*) from leads") == [(0,)]


def test_a_field_that_is_too_long(server, sql):
    code, message = refusal(create, server, [lead(1), leads_pb2.NewLead(email="x" * 1001)])
    assert (code, message) == (grpc.StatusCode.INVALID_ARGUMENT, "leads[1].email: longer than 1000 bytes")
    assert sql("select count(*) from leads") == [(0,)]


@pytest.mark.parametrize("attempts", [-1, -2147483648, 21, 1_000_000, 2147483647])
def test_absurd_attempts(server, sql, attempts):
    lead_id = one_lead(server)
    code, message = refusal(route, server, lead_id, max_attempts=attempts)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and message.startswith("max_attempts: "), message
    assert sql("select routing_status::text from leads") == [("pending",)]


def test_too_many_leads_and_none(server, sql):
    code, message = refusal(create, server, [lead(i) for i in range(1001)])
    assert code == grpc.StatusCode.INVALID_ARGUMENT and "leads" in message and "1001" in message and "1000" in message
    assert refusal(create, server, []) == (grpc.StatusCode.INVALID_ARGUMENT, "leads: at least one is needed")
    assert sql("select count(*) from leads") == [(0,)]
    assert create(server, [lead(i) for i in range(1000)]).created == 1000


def test_an_oversize_message(server):
    leads = [leads_pb2.NewLead(attributes_json='{"a": "' + "x" * 60000 + '"}') for _ in range(100)]
    assert refusal(create, server, leads)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert create(server, [lead(1)]).created == 1


def test_an_unknown_method(server):
    for method in ("/leadrouter.v1.RoutingService/Nothing", "/nothing.Service/RouteLead"):
        assert refusal(raw, server, method, b"")[0] == grpc.StatusCode.UNIMPLEMENTED
    wait_until(lambda: len(server.events("rpc.failed")) == 2, "not one log line per refused call")


def test_too_much_metadata(server):
    """Far too much makes the core drop the connection that it came on; others do not notice."""
    lead_id = one_lead(server)
    request = routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER)
    code, message = refusal(server.routing.RouteLead, request, timeout=DEADLINE_S, metadata=[("x-much", "x" * 9000)])
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "metadata" in message and "8192" in message
    other = routing_pb2_grpc.RoutingServiceStub(server.channel())
    assert refusal(other.RouteLead, request, timeout=DEADLINE_S,
                   metadata=[("x-much", "x" * 100_000)])[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert route(server, lead_id).outcome == routing_pb2.ROUTING_OUTCOME_ROUTED


def test_an_expired_deadline(server, cluster, database):
    """A lead locked by somebody else makes the call wait; its caller does not."""
    lead_id, other_id, late_id = (one_lead(server, number) for number in range(3))
    late = routing_pb2.RouteLeadRequest(lead_id=late_id, source_workspace_id=PARTNER)
    request = routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER)
    assert refusal(server.routing.RouteLead, late, timeout=0)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    connection = cluster.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("begin; select from leads for update")
        # The server gives it up after a tenth of a second, which a machine that stands still may see first.
        wait_until(lambda: refusal(server.routing.RouteLead, request, timeout=0.03)[0] == grpc.StatusCode.DEADLINE_EXCEEDED, "it waits")
        assert refusal(route, server, other_id)[0] == grpc.StatusCode.ABORTED
    connection.close()
    assert route(server, lead_id).outcome in (routing_pb2.ROUTING_OUTCOME_ROUTED, routing_pb2.ROUTING_OUTCOME_ALREADY_ROUTED)
