"""Goal: Health's counts are the database's, its rates this server's own, and what is wrong is said in sentences; who asks for one workspace
hears of that one alone. The thresholds themselves: tests/unit/server/test_health_verdict.c."""
import concurrent.futures
import re

import grpc
import pytest

from support.audit import log_row, make_old_day
from support.product_cluster import wait_until
from support.retries import CALL_S, OTHER, PARTNER, create, queue, route
from support.server import Server
from support.stubs import maintenance_pb2, routing_pb2

pytestmark = pytest.mark.usefixtures("workspaces")

HEALTHY, DEGRADED, CRITICAL = 1, 2, 3


def health(server, workspace=""):
    return server.routing.Health(routing_pb2.HealthRequest(workspace_id=workspace), timeout=CALL_S)


def when(server, condition, what):
    """Health once it fulfils the condition: its counts are up to a second old."""
    def look():
        answer = health(server)
        return answer if condition(answer) else None
    return wait_until(look, what)


def test_counts(quiet, sql):
    queue(quiet, sql, 3)
    create(quiet, 2, "y", OTHER, route=True)
    sql("update lead_routing_queue set next_retry_at = now() - interval '90 seconds' where workspace_id = %s", (PARTNER,))
    sql("update leads set created_at = now() - interval '10 minutes' where source_workspace_id = %s", (OTHER,))
    answer = health(quiet)
    assert (answer.pending, answer.retry_queue_depth, answer.retries_due, answer.held) == (5, 5, 3, 0)
    assert 90 <= answer.oldest_due_age_seconds < 150 and 600 <= answer.oldest_pending_age_seconds < 660
    assert answer.status == HEALTHY and not answer.problems
    ours, theirs = health(quiet, PARTNER), health(quiet, OTHER)
    assert (ours.pending, ours.retries_due, theirs.pending, theirs.retries_due) == (3, 3, 2, 0)
    assert theirs.oldest_due_age_seconds == 0 and 600 <= theirs.oldest_pending_age_seconds < 660
    assert not ours.jobs and not ours.HasField("rates"), "these are not of one workspace"


def test_attempts_and_ages(quiet, sql):
    """Of those that are due, attempts; of stale locks, how long they have been held; and the longest wait, and outcomes by number."""
    leads = queue(quiet, sql, 2)
    sql("update lead_routing_queue set attempt_number = case when lead_id = %s then 1 else 4 end", (leads[0],))
    held = create(quiet, 2, "h")
    for lead, minutes in zip(held, (10, 20)):
        sql("select acquire_routing_lock(%s, gen_random_uuid())", (lead,))
        sql("set session_replication_role = replica; update leads set routing_locked_at = now() - %s * interval '1 minute'"
            " where id = %s", (minutes, lead))
    answer = when(quiet, lambda answer: answer.stale_locks == 2, "stale locks are not seen")
    assert 900 <= answer.stale_locks_age_seconds < 960
    assert (answer.retries_due_attempt_mean, answer.retries_due_attempt_max) == (2.5, 4)
    one, other = health(quiet, PARTNER), health(quiet, OTHER)
    assert (one.retries_due_attempt_mean, one.retries_due_attempt_max) == (2.5, 4) and 900 <= one.stale_locks_age_seconds < 960
    assert (other.retries_due_attempt_mean, other.retries_due_attempt_max, other.stale_locks_age_seconds) == (0, 0, 0)
    rates = answer.rates
    assert (rates.decisions, rates.requeued, rates.routed, rates.duplicates, rates.failed, rates.expired) == (2, 2, 0, 0, 0, 0)
    assert rates.max_us >= rates.p99_us >= rates.p50_us > 0


def test_jobs(quiet):
    answer = health(quiet)
    assert [job.name for job in answer.jobs] == ["expiry", "health_check", "lost_leads", "retention", "retries", "seal", "stale_locks"]
    assert {job.state for job in answer.jobs} == {routing_pb2.JOB_STATE_WAITING}
    assert not any(job.HasField("last_ended_at") for job in answer.jobs)
    quiet.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="expiry"), timeout=CALL_S)
    quiet.maintenance.PauseJob(maintenance_pb2.PauseJobRequest(name="retries"), timeout=CALL_S)
    answer = when(quiet, lambda answer: answer.status == DEGRADED, "the pause is not seen")
    states = {job.name: job.state for job in answer.jobs}
    assert states["retries"] == routing_pb2.JOB_STATE_PAUSED and list(answer.problems) == ["job retries is paused"]
    assert [job.name for job in answer.jobs if job.HasField("last_ended_at")] == ["expiry"]
    assert health(quiet, PARTNER).status == HEALTHY


def test_rates(cluster, database, quiet, sql):
    """30 routed, 10 failed, 5 queued, 5 expired: by this server, and by no other."""
    good, bad = create(quiet, 30, country="DE"), create(quiet, 20, "y")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda lead: route(quiet, lead), good))
        list(pool.map(lambda lead: route(quiet, lead, max_attempts=1), bad[:10]))
        list(pool.map(lambda lead: route(quiet, lead), bad[10:15]))
        sql("update leads set lead_expires_at = now() where id = any (%s::uuid[])", (bad[15:],))
        list(pool.map(lambda lead: route(quiet, lead), bad[15:]))
        list(pool.map(lambda lead: route(quiet, lead), good)) # again: no attempts
    rates = when(quiet, lambda answer: answer.rates.decisions == 50, "not all are counted").rates
    assert rates.success_share == 0.75 and rates.duplicate_share == 0 and rates.expired_share == 0.1
    assert rates.lock_share == 1 and rates.leads_asked_for >= 1 and 0 <= rates.period_seconds < 600
    assert 0 < rates.p50_us <= rates.p95_us <= rates.p99_us < CALL_S * 1_000_000
    # 30 + 10 + 5 + 5 calls, the first 30 once more, CreateLeads and Health; all of them were answered as they should be.
    assert rates.calls >= 82 and rates.calls_failed == 0 and rates.waits == 80 and rates.waits_late_p99 <= rates.waits_late_p95 <= 80
    assert list(health(quiet).problems) == ["25.0 % of this server's decisions within the last hour were failures, more than 10 %"]
    with Server(cluster.service_url(database), "--no-jobs") as second:
        answer = health(second)
        assert answer.rates.decisions == 0 and answer.rates.p99_us == 0 and answer.status == HEALTHY


def test_calls(quiet, sql):
    """What a caller did wrong is no failure of the service, and health checks are no calls; a database that breaks down over a call is
    one."""
    before = health(quiet).rates
    asked = [1]
    check = quiet.channels[0].unary_unary("/grpc.health.v1.Health/Check")
    assert {check(b"", timeout=CALL_S) for _ in range(500)} == {b"\x08\x01"}
    for _ in range(3):
        assert refused(quiet, "no lead") is grpc.StatusCode.INVALID_ARGUMENT
    lead, = create(quiet, 1)
    sql("""create function break() returns trigger language plpgsql as $$ begin raise exception 'x' using errcode = 'XX000'; end $$;
           create trigger break before update on leads for each row execute function break()""")
    assert refused(quiet, lead) is grpc.StatusCode.UNAVAILABLE
    sql("drop trigger break on leads")

    def has_failed(answer):
        asked[0] += 1
        return answer.rates.calls_failed > before.calls_failed
    rates = when(quiet, has_failed, "not counted").rates
    assert rates.calls_failed == before.calls_failed + 1
    assert 5 <= rates.calls <= 5 + asked[0] # CreateLeads, four times RouteLead, and Health


def refused(server, lead):
    with pytest.raises(grpc.RpcError) as failed:
        route(server, lead)
    return failed.value.code()


def test_locks_that_others_hold(cluster, database, quiet):
    leads = create(quiet, 12, country="DE")
    with cluster.connect(database) as holder:
        holder.autocommit = False
        holder.cursor().execute("select from leads where id = any (%s::uuid[]) for update", (leads[:3],))
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(route, quiet, lead) for lead in leads[:3]]
            assert {call.exception().code() for call in calls} == {grpc.StatusCode.ABORTED}
        holder.rollback()
    for lead in leads[3:]:
        route(quiet, lead)
    assert when(quiet, lambda answer: answer.rates.decisions == 9, "not all are counted").rates.lock_share == 0.75


def test_a_log_that_is_not_sealed(cluster, database, quiet, sql):
    """By nobody, or since a transaction that goes on keeps it from being sealed."""
    make_old_day(sql)
    assert health(quiet).status == HEALTHY
    log_row(sql, "2020-01-01")
    answer = when(quiet, lambda answer: answer.status == DEGRADED, "nobody notices")
    assert [re.sub(r"\d+", "N", text) for text in answer.problems] == ["the audit log has not been sealed for N days"]
    assert not health(quiet, PARTNER).problems
    quiet.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="seal"), timeout=CALL_S)
    when(quiet, lambda answer: answer.status == HEALTHY, "it is sealed")
    with cluster.connect(database) as writer:
        writer.autocommit = False
        writer.cursor().execute("select pg_current_xact_id()")
        log_row(sql, "2020-01-01")
        quiet.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="seal"), timeout=CALL_S)
        answer = when(quiet, lambda answer: answer.status == DEGRADED, "nobody notices")
        assert answer.problems[0].endswith("days: a transaction has been under way for as long")
        writer.rollback()


def test_how_bad_it_is(quiet, sql):
    """From healthy over degraded to critical, and back."""
    queue(quiet, sql, 101)
    answer = when(quiet, lambda answer: answer.retries_due == 101, "not counted")
    assert answer.status == DEGRADED and list(answer.problems) == ["101 retries are due, more than 100"]
    one = health(quiet, PARTNER)
    assert one.status == DEGRADED and list(one.problems) == ["101 retries are due, more than 50"]
    sql("update lead_routing_queue set next_retry_at = now() - interval '3 hours'")
    answer = when(quiet, lambda answer: answer.status == CRITICAL, "not critical")
    assert list(answer.problems) == ["101 retries are due, more than 100", "a retry has been due for 3 h"]
    sql("update lead_routing_queue set next_retry_at = now() + interval '1 hour'")
    assert not when(quiet, lambda answer: answer.status == HEALTHY, "does not recover").problems


def test_a_log_without_days(quiet, sql):
    """Decisions cannot be written down once the partitions end: critical before that."""
    sql("""do $$ declare t text; begin
           for t in select c.oid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'lead_routing_logs'::regclass
               and c.relname > 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date + 1, 'YYYYMMDD') loop
               execute 'drop table ' || t; end loop; end $$""")
    answer = health(quiet)
    assert answer.status == CRITICAL and list(answer.problems) == ["the audit log has room for today and 1 more day only"]
    quiet.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="retention"), timeout=CALL_S)
    when(quiet, lambda answer: answer.status == HEALTHY, "retention does not make the days")


def test_old_pending_leads(quiet, sql):
    create(quiet, 1)
    sql("update leads set created_at = now() - interval '26 hours'")
    assert list(health(quiet).problems) == ["the oldest pending lead has been there for 26 h"]
