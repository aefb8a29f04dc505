"""Goal: a server whose clock is ten minutes off does the same as any other, at the same moments: business times are the database's,
deadlines are counted by a clock that nobody sets. The wrong clock is libfaketime's, in the server alone."""
import datetime
import pathlib
import statistics
import time

import grpc
import pytest

from support.jobs import run_job
from support.product_cluster import wait_until
from support.retries import CALL_S, DESK, PARTNER, WORKSPACES, create, mend, open_row, route, status_of
from support.server import Server
from support.stubs import maintenance_pb2, routing_pb2

LIBRARY = next(iter(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), pathlib.Path("libfaketimeMT.so.1"))
OFF_S = 600
TOLERANCE_S = 60


@pytest.fixture(params=[+OFF_S, -OFF_S], ids=["ahead", "behind"])
def off(request, cluster, database, sql):
    """A server whose clock is so much off, and by how much."""
    assert LIBRARY.exists(), "libfaketime is missing: tools/setup"
    sql(WORKSPACES)
    with Server(cluster.service_url(database), LD_PRELOAD=str(LIBRARY), FAKETIME=f"{request.param:+d}s",
                FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1") as server:
        yield server, request.param
        assert server.stop() == 0
        server.check_log()


def test_the_clock_is_off(off):
    """Otherwise the tests below show nothing."""
    server, by_s = off
    said = datetime.datetime.fromisoformat(server.wait_for("server.started")["time"].replace("Z", "+00:00")).timestamp()
    assert abs(said - time.time() - by_s) < TOLERANCE_S


def test_retries_start_when_they_are_due(off, sql):
    """By the database's clock: none before its time, and soon after it."""
    server, _ = off
    leads = create(server, 5, route=True)
    mend(sql)
    sql("update lead_routing_queue set next_retry_at = clock_timestamp() + n * interval '700 ms'"
        " from unnest(%s::uuid[]) with ordinality as u (lead, n) where lead_id = lead", (leads,))
    due = dict(sql("select lead_id::text, next_retry_at from lead_routing_queue"))
    wait_until(lambda: {status_of(sql, lead) for lead in leads} == {"routed"}, "not all are tried again")
    done = dict(sql("select lead_id::text, created_at from lead_routing_logs where routing_result = 'success'"))
    late = [(done[lead] - due[lead]).total_seconds() for lead in leads]
    assert min(late) >= 0 and statistics.median(late) < 10, late # clocks are off by much more


def test_back_off_is_the_databases(off, sql):
    """A minute after the attempt, give or take the jitter, and so it is answered."""
    server, _ = off
    lead, = create(server, 1)
    answer = route(server, lead)
    (asked, due), = sql("select l.created_at, q.next_retry_at from lead_routing_logs l join lead_routing_queue q using (lead_id)")
    assert 54 <= (due - asked).total_seconds() <= 66
    assert abs(answer.next_retry_at.seconds - due.timestamp()) < 1
    assert abs(due.timestamp() - time.time() - 60) < TOLERANCE_S


def test_jobs_run_at_the_databases_time(off, sql):
    server, _ = off
    listed = server.maintenance.ListJobs(maintenance_pb2.ListJobsRequest(), timeout=CALL_S)
    assert abs(listed.now.seconds - time.time()) < TOLERANCE_S
    (due,), = sql("update leadrouter.scheduled_jobs set next_run_at = clock_timestamp() + interval '2 seconds'"
                  " where name = 'stale_locks' returning next_run_at")
    wait_until(lambda: sql("select last_result = 'done' and last_started_at >= %s from leadrouter.scheduled_jobs"
                           " where name = 'stale_locks'", (due,)) == [(True,)], "it does not run")
    (began, again, soon), = sql("select last_started_at, next_run_at, next_run_at <= now() + interval '10 minutes'"
                                " from leadrouter.scheduled_jobs where name = 'stale_locks'")
    assert (began - due).total_seconds() < TOLERANCE_S and soon
    assert again.minute % 10 == 0 and (again.second, again.microsecond) == (0, 0)


def test_times_to_live_are_the_databases(off, sql):
    """Five minutes left are five minutes, for a clock that is ahead too; and over is over for one that is behind."""
    server, _ = off
    alive, dead = create(server, 2, country="DE")
    sql("update leads set lead_expires_at = now() + case when id = %s then interval '5 minutes' else interval '0' end", (alive,))
    assert route(server, alive).outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
    assert route(server, dead).outcome == routing_pb2.ROUTING_OUTCOME_EXPIRED
    assert server.maintenance.ExpireLeads(maintenance_pb2.ExpireLeadsRequest(), timeout=CALL_S).expired == 0


def test_lost_leads_and_stale_locks(off, sql):
    """A minute and five minutes are the database's: neither too early nor ten minutes too late."""
    server, _ = off
    old, young, stale, held = create(server, 4)
    sql("update leads set created_at = now() - interval '61 seconds' where id = %s", (old,))
    sql("update leads set routing_status = 'routing', routing_locked_by = gen_random_uuid(), routing_locked_at = now()"
        " - case when id = %s then interval '301 seconds' else interval '240 seconds' end where id = any (%s::uuid[])",
        (stale, [stale, held]))
    for job in ("lost_leads", "stale_locks"):
        run_job(server.maintenance, job)
    assert open_row(sql, young) is None and status_of(sql, held) == "routing"
    wait_until(lambda: open_row(sql, old)[:3] == (1, 3, "unmatched"), "the lost lead is not tried")
    wait_until(lambda: open_row(sql, stale)[:3] == (2, 3, "unmatched"), "the released lead is not tried")


def test_deadlines_hold(cluster, database, off):
    """A lead that somebody holds is given up after 100 ms; a call ends when its caller said, or after the server's five seconds."""
    server, _ = off
    lead, = create(server, 1, country="DE")
    with cluster.connect(database) as holder:
        holder.autocommit = False
        holder.cursor().execute("select from leads where id = %s for update", (lead,))
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            route(server, lead)
        assert caught.value.code() == grpc.StatusCode.ABORTED and 0.09 <= time.monotonic() - began < 5
        holder.rollback()
        holder.cursor().execute("lock table leads in access exclusive mode")
        for timeout, least in ((0.5, 0.45), (None, 1.5)): # a statement waits for two seconds at most
            began = time.monotonic()
            with pytest.raises(grpc.RpcError) as caught:
                server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=timeout)
            assert caught.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED)
            assert least <= time.monotonic() - began < 20
        holder.rollback()
    wait_until(lambda: route(server, lead).destination_workspace_id == DESK, "the lead is not routed afterwards")
