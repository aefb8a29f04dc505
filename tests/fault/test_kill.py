"""Goal: a server killed with SIGKILL in mid-batch, fifty times, loses nothing, decides nothing twice and leaves
nothing held, while callers simply ask again."""
import collections
import queue
import threading

import grpc
import psycopg2.extras

from support.product_cluster import wait_until
from support.server import Server
from support.stubs import routing_pb2, routing_pb2_grpc

KILLS, CALLERS, PARTNERS, IDENTITIES = 50, 16, 4, 1000
LEADS = PARTNERS * IDENTITIES
KILL_PATIENCE_S = 60
RUN_PATIENCE_S = 300
CALL_S = 10
PARTNER = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, PARTNERS + 1)]
DESK = "00000000-0000-4000-8000-0000000000ff"
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
DECIDED = (routing_pb2.ROUTING_OUTCOME_ROUTED, routing_pb2.ROUTING_OUTCOME_DUPLICATE, routing_pb2.ROUTING_OUTCOME_ALREADY_ROUTED)


class Callers:
    """Threads that route all leads, asking again until each has an answer; they find the server of the moment by `address`."""

    def __init__(self, leads):
        self.work = queue.SimpleQueue()
        for lead in leads:
            self.work.put(lead)
        self.lock = threading.Condition()
        self.address = None
        self.decisions = collections.defaultdict(set)
        self.answered = 0
        self.faults = []
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CALLERS)]
        for thread in self.threads:
            thread.start()

    def move_to(self, address):
        with self.lock:
            self.address = address
            self.lock.notify_all()

    def run(self):
        channel, connected = None, None
        while True:
            try:
                lead_id, workspace = self.work.get_nowait()
            except queue.Empty:
                break
            while True:
                with self.lock:
                    self.lock.wait_for(lambda: self.address, RUN_PATIENCE_S)
                    address = self.address
                if address != connected:
                    if channel:
                        channel.close()
                    channel, connected = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]), address
                if self.ask(channel, address, lead_id, workspace):
                    break
        if channel:
            channel.close()

    def ask(self, channel, address, lead_id, workspace):
        """True when this lead is done with; after a call that failed the caller waits for another server, or for a while."""
        try:
            answer = routing_pb2_grpc.RoutingServiceStub(channel).RouteLead(
                routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=workspace), timeout=CALL_S)
        except grpc.RpcError as error:
            if error.code() in AGAIN:
                with self.lock:
                    self.lock.wait_for(lambda: self.address != address, 0.1)
                return False
            self.faults.append((error.code(), error.details()))
            return True
        with self.lock:
            self.answered += 1
            if answer.outcome in DECIDED:
                self.decisions[lead_id].add(answer.decision_id)
            else:
                self.faults.append(answer)
            self.lock.notify_all()
        return True

    def wait_for_answers(self, count):
        with self.lock:
            assert self.lock.wait_for(lambda: self.answered >= count or self.faults, KILL_PATIENCE_S), f"{self.answered} answers of {count}"


def make_leads(cluster, database, sql):
    sql(f"insert into workspaces (id, name, workspace_type) values ('{DESK}', 'Desk', 'standard')")
    for workspace in PARTNER:
        sql("insert into workspaces (id, name, workspace_type) values (%s, 'Partner', 'partner')", (workspace,))
        sql("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id) values (%s, 'all', '{}', %s)",
            (workspace, DESK))
    connection = cluster.connect(database)
    with connection.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, "insert into leads (workspace_id, email) values %s", [
            (workspace, f"person{number}@example.com") for number in range(IDENTITIES) for workspace in PARTNER], page_size=1000)
    connection.close()
    return sql("select id::text, source_workspace_id::text from leads order by email, id")


def test_killed_fifty_times(cluster, database, sql):
    leads = make_leads(cluster, database, sql)
    assert len(leads) == LEADS
    callers = Callers(leads)
    killed_at_work = 0
    for kill in range(KILLS):
        with Server(cluster.service_url(database), "--batch-leads-max", "8") as server:
            before = callers.answered
            callers.move_to(server.address)
            callers.wait_for_answers(min(before + 1 + kill % 40, LEADS)) # a different moment each time
            killed_at_work += callers.answered < LEADS
            server.kill()
    assert killed_at_work == KILLS, "the leads were all decided before the last kill"
    with Server(cluster.service_url(database)) as server:
        callers.move_to(server.address)
        for thread in callers.threads:
            thread.join(RUN_PATIENCE_S)
        assert not any(thread.is_alive() for thread in callers.threads) and not callers.faults, callers.faults[:5]
        assert server.stop() == 0

    assert sql("select routing_status::text, count(*) from leads group by 1") == [("routed", LEADS)]
    # Leads that nobody has asked for within a minute are queued as lost: that is no decision.
    assert sql("select routing_result, count(*), count(distinct lead_id) from lead_routing_logs where routing_result <> 'requeued'"
               " group by 1 order by 1") == [
        ("duplicate", LEADS - IDENTITIES, LEADS - IDENTITIES), ("success", IDENTITIES, IDENTITIES)]
    assert sql("select count(*), count(distinct l.dedupe_hash) from leads l where l.workspace_id = %s", (DESK,)) == [(IDENTITIES,
            IDENTITIES)]
    assert sql("select count(*) from lead_dedupe_claims c join leads l on l.id = c.lead_id where l.workspace_id = %s",
               (DESK,)) == [(IDENTITIES,)]
    assert sql("select count(*) from lead_routing_queue where processed_at is null") == [(0,)]
    assert {lead: {decision} for lead, decision in sql("select id::text, decision_id::text from leads")} == dict(callers.decisions)
    wait_until(lambda: sql("select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
            == [(0,)],
               "a killed server's session is still open")
