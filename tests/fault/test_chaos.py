"""Goal: nothing is forgotten and nothing is done twice, whatever happens to the servers: three of them share a database full of leads while
they are killed and paused at random; then it is quiet, and every lead is routed, failed after its attempts, or waits with a due time."""
import contextlib
import os
import random
import signal
import threading
import time

import grpc
import pytest

from support.jobs import run_job
from support.postgres import IS_LONG
from support.product_cluster import wait_until
from support.server import Server, wait_ready
from support.stubs import maintenance_pb2_grpc, routing_pb2, routing_pb2_grpc

SEED = int(os.environ.get("LEADROUTER_TEST_SEED", "1"))
SERVERS, PARTNERS, CALLERS = 3, 4, 4
LEADS = 100_000 if IS_LONG else 4_000
CHAOS_S = 300 if IS_LONG else 12
ABANDONED = 200 if IS_LONG else 40 # locks of workers that never come back
PAUSE_S = 7 # above the 5 s after which the database ends a session that stands still in a transaction
RESUME_S = 30
CALL_S = 10
PARTNER = [f"00000000-0000-4000-8000-{number:012d}" for number in range(1, PARTNERS + 1)]
DESK = "00000000-0000-4000-8000-0000000000ff"
ATTEMPTS = 3

# Of ten leads five match at once, three when their rule arrives, two never. Two partners each bring every person.
MAKE_LEADS = """
insert into leads (workspace_id, email, company_industry, created_at)
select (%(partners)s::uuid[])[1 + (n %% %(count)s)], 'person' || n / 2 || '@example.com',
    case when (n / 2) %% 10 < 5 then 'Software' when (n / 2) %% 10 < 8 then 'Late' else 'Never' end, now() - interval '2 minutes'
from generate_series(0, %(leads)s - 1) n"""

DUE = """
select count(*) from lead_routing_queue q left join leadrouter.rule_versions v on v.workspace_id = q.workspace_id
where q.processed_at is null and (q.next_retry_at <= now() or v.version > q.rules_version)"""

LOST = """
select count(*) from leads l where l.routing_status = 'pending'
and not exists (select from lead_routing_queue q where q.lead_id = l.id and q.processed_at is null)"""


@pytest.fixture
def leads(sql):
    """All leads, as if their creators had died; attempts follow one another in seconds."""
    sql("update leadrouter.error_classes set delays = '{1 second, 2 seconds}' where class = 'unmatched'")
    sql("insert into workspaces (id, name, workspace_type) values (%s, 'Desk', 'standard')", [DESK])
    for partner in PARTNER:
        sql("insert into workspaces (id, name, workspace_type) values (%s, 'Partner', 'partner')", [partner])
        add_rule(sql, partner, "Software")
    sql(MAKE_LEADS, {"partners": PARTNER, "count": PARTNERS, "leads": LEADS})
    return sql("select id::text, source_workspace_id::text from leads order by id")


def add_rule(sql, partner, industry):
    sql("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
        " values (%s, %s, jsonb_build_object('industries', jsonb_build_array(%s)), %s)", [partner, industry, industry, DESK])


def abandon(sql, leads):
    """Workers take leads by the SQL functions and die; their locks are six minutes old."""
    for lead, _ in leads:
        assert sql("select acquire_routing_lock(%s, gen_random_uuid())", [lead]) == [(True,)]
    sql("set session_replication_role = replica; update leads set routing_locked_at = now() - interval '6 minutes'"
        " where routing_status = 'routing'; set session_replication_role = origin")


class Fleet:
    """Servers that come back when they are killed; `addresses` are those of the moment."""

    def __init__(self, stack, url):
        self.stack, self.url = stack, url
        self.servers = [self.start() for _ in range(SERVERS)]

    def start(self):
        server = self.stack.enter_context(Server(self.url))
        wait_ready(server)
        return server

    def replace(self, place):
        self.servers[place].kill()
        self.servers[place] = self.start()

    def pause(self, place, seconds):
        os.kill(self.servers[place].process.pid, signal.SIGSTOP)
        try:
            wait_for(seconds)
        finally:
            os.kill(self.servers[place].process.pid, signal.SIGCONT)


class Callers:
    """Ask for leads at random until stopped; what is answered must be one of the outcomes."""

    def __init__(self, fleet, leads, seed):
        self.fleet, self.leads = fleet, leads
        self.stopped = threading.Event()
        self.answers, self.faults = 0, []
        self.threads = [threading.Thread(target=self.run, args=(random.Random(seed + number),)) for number in range(CALLERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def run(self, chance):
        while not self.stopped.is_set():
            address = chance.choice(self.fleet.servers).address
            with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                self.ask(routing_pb2_grpc.RoutingServiceStub(channel), chance)

    def ask(self, stub, chance):
        """A hundred leads, or until the server has gone."""
        for lead, workspace in chance.choices(self.leads, k=100):
            if self.stopped.wait(0.01):
                return
            try:
                stub.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=workspace, max_attempts=ATTEMPTS),
                               timeout=CALL_S)
                self.answers += 1
            except grpc.RpcError as error:
                if error.code() in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND):
                    self.faults.append((error.code(), error.details()))
                if error.code() == grpc.StatusCode.UNAVAILABLE:
                    return


def wait_for(seconds):
    """A time that is part of the scenario: how long something lasts, not how long something takes."""
    threading.Event().wait(seconds)


def run_chaos(fleet, sql, chance):
    """Kills and pauses until the time is over and there were some of both; the late rules arrive half-way. Returns how many."""
    end = time.monotonic() + CHAOS_S
    rules_at, rules_are_there = end - CHAOS_S / 2, False
    count = {"killed": 0, "paused": 0}
    while time.monotonic() < end or count["killed"] < 2 or count["paused"] < 1:
        if time.monotonic() >= rules_at and not rules_are_there:
            rules_are_there = True
            for partner in PARTNER:
                add_rule(sql, partner, "Late")
        place = chance.randrange(SERVERS)
        if chance.random() < 0.6:
            fleet.replace(place)
            count["killed"] += 1
        else:
            fleet.pause(place, PAUSE_S)
            count["paused"] += 1
        wait_for(chance.random() * 3)
    return count


def test_nothing_is_forgotten_and_nothing_done_twice(cluster, database, sql, leads):
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    abandon(sql, leads[:ABANDONED])
    with contextlib.ExitStack() as stack:
        fleet = Fleet(stack, cluster.service_url(database))
        with Callers(fleet, leads[ABANDONED:], SEED) as callers:
            count = run_chaos(fleet, sql, chance)
        assert callers.faults == [] and callers.answers > 100, (callers.answers, callers.faults)

        # The locks of the dead are released by the job; what a server that is killed now was doing goes on in the others at once.
        with grpc.insecure_channel(fleet.servers[0].address) as channel:
            run_job(maintenance_pb2_grpc.MaintenanceServiceStub(channel), "stale_locks")
        fleet.servers[1].kill()
        killed_at = time.monotonic()
        wait_until(lambda: sql(DUE) == [(0,)] and sql(LOST) == [(0,)], "what is due or lost stays so", 2 * RESUME_S)
        resumed_s = time.monotonic() - killed_at
        wait_until(lambda: sql("select count(*) from lead_routing_queue where processed_at is null and isfinite(next_retry_at)") == [(0,)],
                   "attempts do not come to an end", 2 * RESUME_S)
        wait_until(lambda: sql(DUE) == [(0,)], "what is due stays so", RESUME_S)
    print(f"{count}, {callers.answers} calls answered, resumed in {resumed_s:.1f} s")
    assert resumed_s < RESUME_S
    check_end(sql)


def check_end(sql):
    by_industry = sql("select company_industry, routing_status::text, count(*) from leads group by 1, 2 order by 1")
    assert by_industry == [("Late", "routed", LEADS * 3 // 10), ("Never", "failed", LEADS // 5), ("Software", "routed", LEADS // 2)]
    assert sql("select count(*) from leads where routing_status = 'failed' and routing_attempts < %s", [ATTEMPTS]) == [(0,)]
    # One deciding row for each routed lead, and none for another.
    assert sql("""select count(*), count(distinct g.lead_id), count(*) filter (where l.decision_id is distinct from g.id)
        from lead_routing_logs g join leads l on l.id = g.lead_id where g.routing_result in ('success', 'duplicate')""") == [
            (LEADS * 8 // 10, LEADS * 8 // 10, 0)]
    # Nobody is sold twice, and everybody who can be sold is.
    assert sql("""select count(*), count(distinct l.dedupe_hash) from lead_routing_logs g join leads l on l.id = g.lead_id
        where g.routing_result = 'success' and g.destination_workspace_id <> g.source_workspace_id""") == [
            (LEADS * 4 // 10, LEADS * 4 // 10)]
    assert sql("select count(*), count(distinct lead_id) from lead_routing_queue where processed_at is null") == [(LEADS // 5, LEADS // 5)]
