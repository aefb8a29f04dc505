"""Goal: with the trouble there that a page of the runbooks is about, its commands end soon and name the cause: whose leads, which error,
from where. (tests/integration/test_guides.py shows of every page that its commands work; test_incidents.py goes through three of them to
the end.)"""
import contextlib
import os
import re
import signal
import socket
import subprocess
import time

import grpc
import pytest

from support.admin import address_of
from support.guides import BLOCK, PATH, text_of, variables
from support.monitoring import Monitoring
from support.product_cluster import wait_until
from support.retries import CALL_S, DESK, OTHER, PARTNER, WORKSPACES, create, route
from support.server import Server, wait_ready
from support.stubs import leads_pb2, maintenance_pb2, routing_pb2

SOON_S, PATIENCE_S = 20, 120 # what a page's commands may take while what they ask does not answer


class Reader:
    """Types what a page says."""

    def __init__(self, server, url, directory):
        host, port = address_of(server)
        self.server, self.log = server, directory / "leadrouter.log"
        journal = directory / "journal"
        journal.write_text(server.text(), encoding="utf-8")
        self.environment = {**os.environ, **variables(directory, journal), "DATABASE": url, "PAGER": "",
                            "PATH": PATH,
                            "LEADROUTER_TARGET": server.address, "ADMIN": f"http://{host}:{port}", "LOG": str(self.log)}

    def blocks(self, page, folder="runbooks/"):
        return [commands for by_hand, commands in BLOCK.findall(text_of(f"{folder}{page}")) if not by_hand]

    def type(self, commands, **names):
        """What they print; each line is typed whatever became of the one before."""
        self.log.write_text(self.server.text(), encoding="utf-8")
        done = subprocess.run(["bash", "-uo", "pipefail", "-c", commands], env={**self.environment, **names}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S, check=False)
        return done.stdout


@pytest.fixture
def reader(cluster, database, sql, tmp_path):
    sql(WORKSPACES)
    with Server(cluster.service_url(database), "--admin-listen", "127.0.0.1:0", "--no-jobs") as server:
        wait_ready(server)
        yield Reader(server, cluster.url(database), tmp_path)


def fails(server, lead, code):
    with pytest.raises(grpc.RpcError) as caught:
        route(server, lead)
    assert caught.value.code() == code


def rows(printed):
    return [line.split("\t") for line in printed.splitlines() if "\t" in line]


@pytest.mark.parametrize("page", ["server-down.md", "self-probe.md"])
def test_a_server_that_stands_still(reader, page):
    """Whoever asks it is told soon that it does not answer, and does not wait for it."""
    os.kill(reader.server.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        printed = reader.type(reader.blocks(page)[0])
        assert time.monotonic() - began < SOON_S and "curl: (28)" in printed
    finally:
        os.kill(reader.server.process.pid, signal.SIGCONT)


def test_a_database_that_stands_still(reader):
    """Here something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=x user=postgres"
        printed = reader.type(reader.blocks("database-down.md")[0], DATABASE=url)
    assert "no response" in printed and "timeout expired" in printed and "\nready" in f"\n{printed}"


def test_a_client_with_many_connections(reader):
    """How many, and whose."""
    host, port = reader.server.address.rsplit(":", 1)
    with contextlib.ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=CALL_S))
        printed = reader.type(reader.blocks("descriptors.md")[1])
    found = re.fullmatch(r" *(\d+) (?:127\.0\.0\.1|\[::ffff:127\.0\.0\.1\])\n", printed)
    assert found and int(found[1]) >= 7, printed


def test_tables_that_somebody_locks(reader, cluster, database):
    """Decisions fail: how many, and with which SQLSTATE; and the slow ones say that they came no further than the lock."""
    leads = create(reader.server, 3)
    with cluster.connect(database) as holder, holder.cursor() as cursor:
        cursor.execute("lock table leads in access exclusive mode")
        requests = [routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER) for lead in leads]
        calls = []
        who, = [text for text in reader.blocks("troubleshooting.md", "") if "pg_blocking_pids" in text]
        row = rf"\| leadrouterd .*\| +{holder.info.backend_pid} \|.*\| idle in transaction"

        def is_seen():
            if all(call.done() for call in calls): # who waits is waiting for two seconds
                calls.extend(reader.server.routing.RouteLead.future(request, timeout=CALL_S) for request in requests)
            return re.search(row, reader.type(who))
        wait_until(is_seen, "nobody is blocked")
        assert {call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        holder.rollback()
    found = rows(reader.type(reader.blocks("availability.md")[0]))
    assert [row[:4] for row in found if row[1] == "routing.error"] == [[str(len(calls)), "routing.error", "UNAVAILABLE", "55P03"]], found
    slow = [line for line in reader.type(reader.blocks("latency.md")[0]).splitlines() if '"sqlstate":"55P03"' in line]
    assert len(slow) == len(calls) and '"lock_us":null' in slow[0]


def test_two_programs_that_route_the_same_leads(reader, cluster, database):
    """From where it was that leads were found held, and of which workspace."""
    lead, other = create(reader.server, 1)[0], create(reader.server, 1, workspace=OTHER)[0]
    with cluster.connect(database) as holder, holder.cursor() as cursor:
        cursor.execute("select from leads for no key update")
        for _ in range(2):
            fails(reader.server, lead, grpc.StatusCode.ABORTED)
        with pytest.raises(grpc.RpcError):
            route(reader.server, other, OTHER)
        holder.rollback()
    printed = [reader.type(commands) for commands in reader.blocks("lock-acquisition.md")]
    assert rows(printed[1]) == [["2", "ipv4:127.0.0.1", PARTNER], ["1", "ipv4:127.0.0.1", OTHER]], printed


def test_retries_that_the_database_caused(reader, sql):
    """Which class, which SQLSTATE, whose leads."""
    lead, = create(reader.server, 1, country="DE")
    sql("""create function public.refuse() returns trigger language plpgsql as $$ begin raise 'no' using errcode = '53100'; end $$;
           create trigger refuse before update on leads
           for each row when (new.routing_status = 'routed') execute function public.refuse()""")
    assert route(reader.server, lead).outcome == routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY
    first, said = [reader.type(commands) for commands in reader.blocks("elevated-retries.md")]
    assert re.search(rf"^ {PARTNER} \| database +\| +1 \|", first, re.MULTILINE), first
    assert rows(said) == [["1", "database", "53100", PARTNER]]


def test_copies(reader):
    """Who brought them, who had them, and a lead of which the history names the other one."""
    person = {"email": "jane@example.com", "country": "DE"}
    request = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, route=True, leads=[
        leads_pb2.NewLead(external_id=str(n), **person) for n in range(3)])
    routed, *copies = [result.lead_id for result in reader.server.leads.CreateLeads(request, timeout=CALL_S).results]
    first, then = reader.blocks("duplicates.md")
    found = rows(reader.type(first))
    assert [row[:3] for row in found] == [["2", f"W={PARTNER}", f"had={DESK}"]] and found[0][3].removeprefix("LEAD=") in copies, found
    printed = reader.type(then, **dict(text.split("=") for text in found[0] if text[0] in "WL"))
    assert routed in printed, printed


def test_leads_that_expired_long_after_their_time(reader, sql):
    """A job that was late: their time ended days ago, and they expired now."""
    create(reader.server, 3)
    sql("set session_replication_role = replica; update leads set lead_expires_at = now() - interval '3 days'")
    reader.server.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="expiry"), timeout=CALL_S)
    assert re.search(rf"^ {PARTNER} \| +3 \|", reader.type(reader.blocks("expiry.md")[0]), re.MULTILINE)


def test_a_job_that_was_paused(reader):
    """Which one, and why; and the page's way out of it."""
    reader.server.maintenance.PauseJob(maintenance_pb2.PauseJobRequest(name="seal", note="the disk is being moved"), timeout=CALL_S)
    first, run, resume, _ = reader.blocks("jobs.md")
    job = re.search("^(.*) is paused since .*: the disk is being moved$", reader.type(first), re.MULTILINE)[1]
    assert "done" in reader.type(run, JOB=job) and "runs again" in reader.type(resume, JOB=job)
    assert "paused" not in reader.type(first)


def test_a_transaction_that_holds_the_seals_back(reader, cluster):
    """In another database: whose it is."""
    with cluster.connect("postgres") as holder, holder.cursor() as cursor:
        cursor.execute("set application_name = 'forgotten-report'; select pg_current_xact_id()")
        route(reader.server, create(reader.server, 1)[0])
        first, found = [reader.type(commands) for commands in reader.blocks("audit-unsealed.md")]
        assert re.search(r"rows_sealed 0\b", first), first
        assert re.search(r"\| postgres +\| postgres +\| forgotten-report +\| idle in transaction", found), found
        holder.rollback()
    seal, _ = reader.blocks("audit-unsealed.md")
    wait_until(lambda: re.search(r"rows_sealed [1-9]", reader.type(seal)), "not sealed although it has ended")


def test_the_service_levels(reader):
    """The lines of docs/monitoring.md: each level with its verdict, by the server and by a real Prometheus that watches it."""
    example = "http://127.0.0.1:9090"
    block, = reader.blocks("monitoring.md", "")
    by_server, by_prometheus = block.splitlines()
    assert example in by_prometheus
    levels = ["availability", "routing success", "p95 latency", "p99 latency", "retries due", "lock acquisition", "stale locks"]
    route(reader.server, create(reader.server, 1, country="DE")[0])
    printed = reader.type(by_server)
    assert re.findall(r"^(\w[\w ]*?)  +\S.* met +", printed, re.MULTILINE) == levels, printed
    with Monitoring() as monitoring:
        monitoring.watch([reader.environment["ADMIN"].partition("//")[2]])
        typed = by_prometheus.replace(example, f"http://127.0.0.1:{monitoring.port}")
        seen = []
        wait_until(lambda: seen.append(reader.type(typed)) or re.search("^stale locks .* met ", seen[-1], re.MULTILINE), "no data")
        printed = seen[-1]
    assert re.findall(r"^(\w[\w ]*?)  +\S", printed, re.MULTILINE)[1:8] == levels, printed


def test_a_worker_that_died(reader, sql):
    """Which one it was, before its leads are released, and after."""
    owner = "00000000-0000-4000-8000-00000000dead"
    lead, = create(reader.server, 1)
    sql("select acquire_routing_lock(%s, %s)", (lead, owner))
    sql("set session_replication_role = replica; update leads set routing_locked_at = now() - interval '10 minutes' where id = %s", (lead,))
    first, then = [reader.type(commands) for commands in reader.blocks("stale-locks.md")]
    row = rf"^ {owner} \| +1 \|"
    assert re.search(row, first, re.MULTILINE) and "released 1" in first, first
    assert re.search(row, then, re.MULTILINE), then
