"""Goal: RouteLeads answers every lead of a stream once, with its index, in whatever order they are decided; one bad lead fails by
itself; who does not read holds back only itself; who goes away leaves nothing behind."""
import threading
import time
import uuid

import grpc
import pytest

from support.product_cluster import wait_until
from support.stubs import leads_pb2, routing_pb2, routing_pb2_grpc

PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000003"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
DEADLINE_S = 60
BATCH = 1000

RULES = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id) values
    ('{PARTNER}', 'all', '{{}}', '{DESK}');
"""


@pytest.fixture(autouse=True)
def rules(sql):
    sql(RULES)


def create(server, count):
    ids = []
    for start in range(0, count, BATCH):
        leads = [leads_pb2.NewLead(external_id=f"x-{n}", email=f"person{n}@example.com") for n in range(start, min(count, start + BATCH))]
        answer = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads), timeout=DEADLINE_S)
        ids += [result.lead_id for result in answer.results]
    return ids


def request(index, lead_id, **fields):
    return routing_pb2.RouteLeadsRequest(index=index, lead=routing_pb2.RouteLeadRequest(
        lead_id=lead_id, source_workspace_id=PARTNER, **fields))


def test_every_lead_is_answered_once(server, sql):
    ids = create(server, 3000)
    answers = list(server.routing.RouteLeads((request(n, lead) for n, lead in enumerate(ids)), timeout=DEADLINE_S))
    assert sorted(answer.index for answer in answers) == list(range(len(ids)))
    for answer in answers:
        assert answer.code == 0 and answer.result.lead_id == ids[answer.index]
        assert answer.result.outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs where routing_result = 'success'") == [(3000, 3000)]


def test_bad_leads_fail_by_themselves(server):
    good, = create(server, 1)
    requests = [request(7, "x"), request(8, NOBODY), routing_pb2.RouteLeadsRequest(index=9), request(10, good, max_attempts=21),
                request(11, good), request(11, good)]
    answers = list(server.routing.RouteLeads(iter(requests), timeout=DEADLINE_S))
    told = sorted((answer.index, answer.code, answer.message) for answer in answers)
    invalid, not_found = grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.NOT_FOUND.value[0]
    assert told[:4] == [(7, invalid, "lead_id: not a UUID"), (8, not_found, told[1][2]), (9, invalid, "lead_id: missing"),
                        (10, invalid, "max_attempts: must be from 1 to 20, or 0 for 3")]
    assert told[4:] == [(11, 0, ""), (11, 0, "")]
    decisions = {answer.result.decision_id for answer in answers if answer.index == 11}
    assert len(decisions) == 1 and decisions != {""}


def test_an_empty_stream_ends_well(server):
    call = server.routing.RouteLeads(iter(()), timeout=DEADLINE_S)
    assert list(call) == [] and call.code() == grpc.StatusCode.OK


def test_a_bad_message_ends_the_stream_with_the_reason(server):
    serialize = server.channel().stream_stream("/leadrouter.v1.RoutingService/RouteLeads", request_serializer=lambda data: data,
                                             response_deserializer=lambda data: data)
    call = serialize(iter([b"\x12\x03\x0a\x01\xff"]), timeout=DEADLINE_S)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "lead.lead_id: is not valid UTF-8"


def test_a_slow_reader_holds_back_only_itself(server):
    """One client sends without reading until the server reads no more from it; another is served meanwhile; then the first gets
    everything."""
    ids = create(server, 2)
    sent = 0
    enough = 200000
    stop = threading.Event()

    def flood():
        nonlocal sent
        while sent < enough and not stop.is_set():
            yield request(sent, ids[0])
            sent += 1
    slow = routing_pb2_grpc.RoutingServiceStub(server.channel()).RouteLeads(flood(), timeout=DEADLINE_S)
    seen = (0, time.monotonic())

    def stands_still():
        nonlocal seen
        if sent != seen[0]:
            seen = (sent, time.monotonic())
        return sent > 0 and time.monotonic() - seen[1] > 0.5
    wait_until(stands_still, "the flood is held back")
    assert sent < enough
    answer = server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=ids[1], source_workspace_id=PARTNER), timeout=DEADLINE_S)
    assert answer.outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
    stop.set()
    indexes = [answer.index for answer in slow]
    assert sorted(indexes) == list(range(sent))


def test_who_goes_away_leaves_nothing_behind(server, sql):
    ids = create(server, 500)
    call = server.routing.RouteLeads((request(n, lead) for n, lead in enumerate(ids)), timeout=DEADLINE_S)
    next(call)
    call.cancel()
    again = list(server.routing.RouteLeads((request(n, lead) for n, lead in enumerate(ids)), timeout=DEADLINE_S))
    assert sorted(answer.index for answer in again) == list(range(len(ids)))
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs where routing_result = 'success'") == [(500, 500)]
    assert str(uuid.UUID(again[0].result.decision_id)) == again[0].result.decision_id
