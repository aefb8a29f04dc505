"""Goal: servers that are restarted one after the other, as an upgrade does, fail no call of a client that is set up as docs/clients.md
says, and decide each lead once."""
import json
import os
import re
import select
import threading
import time

import grpc

from support.ports import free_address
from support.postgres import ROOT
from support.server import Server
from support.stubs import routing_pb2, routing_pb2_grpc

PARTNER = "00000000-0000-4000-8000-000000000001"
CALLERS = 8
LEADS, ROUNDS = (8000, 10) if os.environ.get("LEADROUTER_LONG") else (1000, 1)
CALL_S = 5 # as in the programs of the guide
TRIES, STOOD_STILL_S = 5, 1


def service_config():
    """The guide's, for more than one address."""
    text = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    config = json.loads(re.search(r"^```json service-config.json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1])
    return json.dumps({**config, "loadBalancingConfig": [{"round_robin": {}}]})


class Callers:
    """Threads that call RouteLead for one lead after the other until they are told to stop, all leads once and then again."""

    def __init__(self, addresses, leads):
        self.target = "ipv4:" + ",".join(addresses)
        self.leads = leads
        self.lock = threading.Condition()
        self.asked = 0
        self.is_over = False
        self.faults = []
        self.stood_still_s = 0 # for how long at most, as far as one of its threads can see
        self.threads = [threading.Thread(target=self.run) for _ in range(CALLERS)] + [threading.Thread(target=self.watch)]
        for thread in self.threads:
            thread.start()

    def next(self):
        with self.lock:
            self.asked += 1
            self.lock.notify_all()
            return None if self.is_over and self.asked > LEADS or self.faults else self.leads[self.asked % LEADS]

    def run(self):
        options = [("grpc.service_config", service_config()), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.target, options) as channel:
            stub = routing_pb2_grpc.RoutingServiceStub(channel)
            while lead := self.next():
                try:
                    stub.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=CALL_S)
                except grpc.RpcError as error:
                    self.faults.append(error)

    def watch(self):
        while not self.is_over:
            began = time.monotonic()
            select.select([], [], [], 0.1)
            self.stood_still_s = max(self.stood_still_s, time.monotonic() - began)

    def wait_for_more(self, count):
        """Until so many more calls have begun."""
        with self.lock:
            until = self.asked + count
            assert self.lock.wait_for(lambda: self.asked >= until or self.faults, 60)

    def end(self):
        with self.lock:
            self.is_over = True
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


def restart_all(url, leads):
    """The callers, after servers were restarted under them."""
    servers = [Server(url, listen=free_address()).__enter__() for _ in range(2)]
    addresses = [server.address for server in servers]
    callers = Callers(addresses, leads)
    try:
        for _ in range(ROUNDS):
            for i, address in enumerate(addresses):
                callers.wait_for_more(200)
                assert servers[i].stop() == 0, servers[i].text()
                servers[i].__exit__()
                servers[i] = Server(url, listen=address).__enter__()
    finally:
        callers.end()
        for server in servers:
            server.__exit__()
    return callers


def test_no_call_fails(cluster, database, sql):
    """When one does while the machine stood still for a good part of the time that a call has, it is tried again."""
    sql("insert into workspaces (id, name, routing_config) values (%s, 'Partner', '{\"unmatched\": \"keep\"}')", (PARTNER,))
    leads = [row[0] for row in sql("insert into leads (workspace_id, email) select %s, i || '@example.com' from generate_series(1, %s) i"
                                   " returning id::text", (PARTNER, LEADS))]
    for _ in range(TRIES):
        callers = restart_all(cluster.service_url(database), leads)
        if not callers.faults or callers.stood_still_s < STOOD_STILL_S:
            break
    assert not callers.faults, callers.faults[0]
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs where routing_result = 'success'") == [(LEADS, LEADS)]
