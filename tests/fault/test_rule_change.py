"""Goal: a rule change is felt by the very next lead, on every server: while four servers route and a rule is changed again and again, no
call that was sent after a change had been acknowledged is decided by an older version."""
import contextlib
import threading
import time

import pytest

from support.postgres import IS_LONG
from support.product_cluster import wait_until
from support.server import Server
from support.stubs import leads_pb2, routing_pb2, rules_pb2, rules_pb2_grpc

PARTNER = "00000000-0000-4000-8000-000000000001"
DESKS = ("00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003")
SERVERS = 4
CALLERS = 8
FLIPS = 200 if IS_LONG else 40
FLIPS_PER_S = 20 # at most
CALLS_A_FLIP = 10 # at least
RATE = 1000 # calls a second of all callers, at most
DEADLINE_S = 60
BATCH = 1000


@pytest.fixture
def servers(cluster, database, sql):
    sql("insert into workspaces (id, name, workspace_type) values (%s, 'Partner', 'partner'), (%s, 'A', 'standard'), (%s, 'B', 'standard')",
        [PARTNER, *DESKS])
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Server(cluster.service_url(database))) for _ in range(SERVERS)]


def create(server, count):
    ids = []
    for start in range(0, count, BATCH):
        leads = [leads_pb2.NewLead(external_id=f"x-{n}", email=f"person{n}@example.com") for n in range(start, start + BATCH)]
        request = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads)
        ids += [result.lead_id for result in server.leads.CreateLeads(request, timeout=DEADLINE_S).results]
    return ids


class Load:
    """Callers that route leads at a rate, each noting the version that had been acknowledged when it called."""

    def __init__(self, servers, ids):
        self.servers, self.ids = servers, iter(ids)
        self.lock = threading.Lock()
        self.acknowledged = 0
        self.calls = [] # (lead, version at least, destination)
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.call, args=(n,)) for n in range(CALLERS)]

    def call(self, number):
        stub = self.servers[number % SERVERS].routing
        next_at = time.monotonic()
        while not self.stopped.wait(max(0, next_at - time.monotonic())):
            next_at += CALLERS / RATE
            with self.lock:
                lead = next(self.ids, None)
                version = self.acknowledged
            if lead is None:
                return
            answer = stub.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=DEADLINE_S)
            assert answer.outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
            with self.lock:
                self.calls.append((lead, version, answer.destination_workspace_id))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)


def test_no_call_is_decided_by_an_older_version(servers, sql):
    stubs = [rules_pb2_grpc.RuleServiceStub(server.channel()) for server in servers]
    rule = rules_pb2.Rule(name="all", conditions_json="{}", destination_workspace_id=DESKS[0], is_active=True)
    made = stubs[0].CreateRule(rules_pb2.CreateRuleRequest(workspace_id=PARTNER, rule=rule), timeout=DEADLINE_S)
    ids = create(servers[0], RATE * (FLIPS // FLIPS_PER_S + 4))
    destination_of = {made.version: DESKS[0]}
    with Load(servers, ids) as load:
        load.acknowledged = made.version
        for flip in range(1, FLIPS + 1):
            made.rule.destination_workspace_id = DESKS[flip % 2]
            request = rules_pb2.UpdateRuleRequest(workspace_id=PARTNER, rule=made.rule)
            version = stubs[flip % SERVERS].UpdateRule(request, timeout=DEADLINE_S).version
            destination_of[version] = DESKS[flip % 2]
            with load.lock:
                load.acknowledged = version
            load.stopped.wait(1 / FLIPS_PER_S)
            wait_until(lambda flip=flip: len(load.calls) >= CALLS_A_FLIP * flip, "no calls are answered")
    decided = {str(row[0]): row[1] for row in sql("select lead_id, (routing_metadata ->> 'rules_version')::bigint from lead_routing_logs")}
    assert len(destination_of) == FLIPS + 1
    late = [(lead, version, decided[lead]) for lead, version, _ in load.calls if decided[lead] < version]
    assert late == []
    assert all(destination == destination_of[decided[lead]] for lead, _, destination in load.calls)
    assert len({decided[lead] for lead, _, _ in load.calls}) > FLIPS / 2, "most versions decided something"
