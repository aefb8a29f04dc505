"""Goal: what happens is counted, once each, under the right name; what is there is the database's. Each test does a few things to a quiet
server and compares all counters before and after: what is not named must not have moved."""
import contextlib
import queue as queues
import re
import threading
import time
import uuid

import grpc
import pytest

from support.admin import get, scrape, value
from support.audit import make_old_day
from support.product_cluster import wait_until
from support.retries import CALL_S, DESK, OTHER, PARTNER, WORKSPACES, create, make_due, mend, process, queue, route
from support.server import Server
from support.stubs import leads_pb2, maintenance_pb2

HOSTILE = 'Ä "quoted" <script>alert(1)</script> back\\slash'
ROUTE = "leadrouter.v1.RoutingService/RouteLead"
SERIES_MAX = 3000


@pytest.fixture
def server(cluster, database, sql):
    sql(WORKSPACES)
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as running:
        yield running
        running.check_log()


class Moved:
    """What counters have moved since, by name and labels in brackets: only those of routing, locks, claims, rules and retries."""
    NAMES = ("leadrouter_decisions_total", "leadrouter_routing_answers_total", "leadrouter_lock_attempts_total",
             "leadrouter_claims_total", "leadrouter_rule_evaluations_total", "leadrouter_retries_opened_total",
             "leadrouter_retries_processed_total", "leadrouter_leads_expired_total", "leadrouter_fenced_writes_total")

    def __init__(self, server):
        self.server = server
        self.before = scrape(server)

    def __call__(self):
        after = scrape(self.server)
        return {f"{name.removeprefix('leadrouter_').removesuffix('_total')} {' '.join(text for _, text in labels)}".strip():
                after[name, labels] - count for (name, labels), count in self.before.items()
                if name in self.NAMES and after[name, labels] != count}

    def more(self, metric, /, **labels):
        return value(scrape(self.server), metric, **labels) - value(self.before, metric, **labels)


def test_a_lead_that_is_routed(server):
    [lead] = create(server, 1, country="DE")
    moved = Moved(server)
    route(server, lead)
    assert moved() == {"decisions call routed": 1, "routing_answers decided": 1, "lock_attempts acquired": 1, "claims won": 1,
                       "rule_evaluations matched": 1}
    for name, labels in (("leadrouter_routing_duration_seconds", {}), ("leadrouter_queue_wait_seconds", {}),
                         ("leadrouter_rule_compilation_seconds", {}), ("leadrouter_batch_leads", {"origin": "call"}),
                         ("leadrouter_transaction_seconds", {"origin": "call"}), ("leadrouter_rpc_duration_seconds", {"method": ROUTE}),
                         *(("leadrouter_transaction_phase_seconds", {"phase": phase}) for phase in ("lock", "load", "match", "decide"))):
        assert moved.more(f"{name}_count", **labels) == 1, name
        assert moved.more(f"{name}_sum", **labels) > 0, name
    assert moved.more("leadrouter_batch_leads_sum", origin="call") == 1
    assert moved.more("leadrouter_database_round_trips_total") >= 3, "lock, rules, decide"
    samples = scrape(server)
    assert value(samples, "leadrouter_lanes") == 2 and value(samples, "leadrouter_lanes_connected") >= 1
    assert value(samples, "leadrouter_lanes_busy") == 0 == value(samples, "leadrouter_routing_waiting")
    whole = value(samples, "leadrouter_transaction_seconds_sum", origin="call")
    parts = sum(value(samples, "leadrouter_transaction_phase_seconds_sum", phase=phase) for phase in ("lock", "load", "match", "decide"))
    assert 0.5 * whole < parts <= whole
    moved = Moved(server)
    route(server, lead)
    assert moved() == {"routing_answers already_decided": 1}


def test_duplicates(server, sql):
    first, second = create(server, 2, country="DE")
    sql("update leads set email = 'same@example.com'")
    route(server, first)
    moved = Moved(server)
    route(server, second)
    assert moved() == {"decisions call duplicate": 1, "routing_answers decided": 1, "lock_attempts acquired": 1, "claims seen": 1}


def test_leads_that_nothing_takes(server, sql):
    [lead] = create(server, 1)
    moved = Moved(server)
    route(server, lead)
    assert moved() == {"decisions call queued_for_retry": 1, "routing_answers decided": 1, "lock_attempts acquired": 1,
                       "rule_evaluations unmatched": 1, "retries_opened attempt": 1}
    sql("update lead_routing_rules set conditions = '{\"no_such_field\": 1}'")
    [other] = create(server, 1, "y")
    moved = Moved(server)
    route(server, other)
    assert moved() == {"decisions call queued_for_retry": 1, "routing_answers decided": 1, "lock_attempts acquired": 1,
                       "rule_evaluations unusable": 1, "retries_opened attempt": 1}


def test_a_lead_that_somebody_holds(server, cluster, database):
    [lead] = create(server, 1, country="DE")
    holder = cluster.connect(database)
    holder.autocommit = False
    holder.cursor().execute("select from leads where id = %s for update", (lead,))
    moved = Moved(server)
    with pytest.raises(grpc.RpcError, match="ABORTED"):
        route(server, lead)
    assert moved() == {"lock_attempts passed_over": 1, "lock_attempts timed_out": 1, "routing_answers busy": 1}
    assert moved.more("leadrouter_held_again_total") >= 1, "how often it is tried again is a matter of how busy the machine is"
    holder.close()


def test_answers_without_an_outcome(server):
    moved = Moved(server)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        route(server, str(uuid.uuid4()))
    assert moved() == {"routing_answers not_found": 1}


def test_retries(server, sql):
    leads = queue(server, sql, 3)
    mend(sql, leads[:2])
    moved = Moved(server)
    process(server)
    assert moved() == {"decisions retry routed": 2, "decisions retry queued_for_retry": 1, "retries_processed routed": 2,
                       "retries_processed requeued": 1, "retries_opened attempt": 1, "claims won": 2, "rule_evaluations matched": 2,
                       "rule_evaluations unmatched": 1}
    assert moved.more("leadrouter_batch_leads_sum", origin="retry") == 3


def test_expiry_and_stale_locks(server, sql):
    expired, held, asked = create(server, 3)
    sql("update leads set lead_expires_at = now() - interval '1 minute' where id = any (%s::uuid[])", ([expired, asked],))
    assert sql("select acquire_routing_lock(%s, gen_random_uuid())", (held,)) == [(True,)]
    sql("set session_replication_role = replica; update leads set routing_locked_at = now() - interval '20 minutes'"
        " where routing_status = 'routing'")
    wait_until(lambda: value(scrape(server), "leadrouter_stale_locks") == 1, "the stale lock is not seen")
    samples = scrape(server)
    assert 1200 <= value(samples, "leadrouter_stale_locks_age_seconds", aggregate="mean") < 1300
    assert 1200 <= value(samples, "leadrouter_stale_locks_age_seconds", aggregate="max") < 1300
    moved = Moved(server)
    route(server, asked)
    assert moved() == {"decisions call expired": 1, "routing_answers decided": 1, "lock_attempts acquired": 1, "leads_expired": 1}
    moved = Moved(server)
    server.maintenance.ExpireLeads(maintenance_pb2.ExpireLeadsRequest(), timeout=CALL_S)
    server.maintenance.ReleaseStaleLocks(maintenance_pb2.ReleaseStaleLocksRequest(), timeout=CALL_S)
    assert moved() == {"leads_expired": 1, "retries_opened stale_lock": 1}


def test_steps_that_were_done_are_counted_when_a_later_one_fails(server, sql):
    """A step is a transaction of 200 leads at most. The first says that it has handled as many, the second fails."""
    sql("""create sequence steps;
           grant usage on sequence steps to public;
           create or replace function leadrouter.expire_leads(p_workspace_id uuid, p_limit integer) returns integer
               language plpgsql security definer as $$
               begin if nextval('public.steps') > 1 then raise 'no more'; end if; return p_limit; end $$""")
    moved = Moved(server)
    with pytest.raises(grpc.RpcError):
        server.maintenance.ExpireLeads(maintenance_pb2.ExpireLeadsRequest(), timeout=CALL_S)
    assert moved() == {"leads_expired": 200}


def test_jobs_by_hand(server, sql):
    """What jobs do is counted like what calls do; and the jobs' own figures are those of ListJobs."""
    expired, lost = create(server, 2)
    sql("update leads set lead_expires_at = now() - interval '1 minute' where id = %s", (expired,))
    sql("update leads set created_at = now() - interval '10 minutes' where id = %s", (lost,))
    moved = Moved(server)
    for name in ("expiry", "lost_leads"):
        server.maintenance.RunJob(maintenance_pb2.RunJobRequest(name=name), timeout=CALL_S)
    assert moved() == {"leads_expired": 1, "retries_opened lost_lead": 1}
    server.maintenance.PauseJob(maintenance_pb2.PauseJobRequest(name="seal"), timeout=CALL_S)
    wait_until(lambda: value(scrape(server), "leadrouter_job_paused", name="seal") == 1, "the pause is not seen")
    [ended, runs] = sql("select extract(epoch from last_done_at)::float8, runs from leadrouter.scheduled_jobs where name = 'expiry'")[0]
    samples = scrape(server)
    assert value(samples, "leadrouter_job_last_success_timestamp_seconds", name="expiry") == pytest.approx(ended, abs=0.001)
    assert value(samples, "leadrouter_job_runs_total", name="expiry") == runs == 1
    assert value(samples, "leadrouter_job_failures", name="expiry") == 0
    assert value(samples, "leadrouter_job_last_success_timestamp_seconds", name="retention") == 0


def test_what_is_there(server, sql, cluster, database):
    """The database's counts, and workspaces by name, whatever the name is."""
    sql("update workspaces set name = %s where id = %s", (HOSTILE + "\nline", PARTNER))
    queue(server, sql, 3)
    create(server, 2, "y", OTHER)
    first, second = create(server, 2, "z", country="DE")
    sql("update leads set email = 'same@example.com' where id = any (%s::uuid[])", ([first, second],))
    route(server, first), route(server, second)
    make_due(sql)
    sql("update lead_routing_queue set next_retry_at = now() - interval '10 minutes', attempt_number = 2")
    wait_until(lambda: value(scrape(server), "leadrouter_retries_due") == 3, "the due rows are not seen")
    samples = scrape(server)
    assert value(samples, "leadrouter_leads", status="pending") == 5
    assert value(samples, "leadrouter_leads", status="failed") == 0
    assert value(samples, "leadrouter_retry_queue_depth") == 3
    assert 600 <= value(samples, "leadrouter_oldest_due_retry_age_seconds") < 700
    assert value(samples, "leadrouter_retries_due_attempt", aggregate="mean") == 2
    assert value(samples, "leadrouter_retries_due_attempt", aggregate="max") == 2
    assert value(samples, "leadrouter_audit_partitions_ahead") == 30
    assert value(samples, "leadrouter_audit_unsealed_age_seconds") >= 0
    escaped = (HOSTILE + "\nline").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    name = {"workspace_id": PARTNER, "workspace": escaped}
    # A server looks at workspaces and tables every 30 s, and once it has started.
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as fresh:
        wait_until(lambda: ("leadrouter_workspace_retries_due", tuple(sorted(name.items()))) in scrape(fresh), "it is not seen")
        samples = scrape(fresh)
    assert value(samples, "leadrouter_workspace_retries_due", **name) == 3
    assert value(samples, "leadrouter_workspace_duplicates", **name) == 1
    assert value(samples, "leadrouter_database_sessions") >= 1 and value(samples, "leadrouter_database_sessions_max") >= 100
    assert value(samples, "leadrouter_table_size_bytes", table="leads") > 0
    assert value(samples, "leadrouter_pool_connections_max", pool="people") == 4
    assert value(samples, "leadrouter_pool_connections_used", pool="service") <= 1
    assert value(samples, "leadrouter_pool_wait_seconds_count", pool="service") > 0
    assert value(samples, "leadrouter_database_connects_total", result="ok") >= 2
    assert value(samples, "leadrouter_build_info", version="0.1.0", schema_version="1") == 1
    assert value(samples, "process_resident_memory_bytes") > 5e6 and 10 < value(samples, "process_open_fds") < 200
    assert value(samples, "process_cpu_seconds_total") > 0 and value(samples, "process_threads") > 5
    assert DESK not in str(samples), "a workspace without any is not listed"


def test_ages(cluster, database, server, sql):
    """How long leads have waited, and jobs have not begun; what waits for its workspace; when the log was sealed; how old the process and
    its last probe are."""
    old, _ = create(server, 2), create(server, 1, "y", OTHER)
    route(server, old[0])
    sql("update leads set created_at = now() - interval '10 minutes' where id = %s", (old[1],))
    sql("update workspaces set is_active = false where id = %s", (OTHER,))
    for lead, in sql("select id::text from leads where source_workspace_id = %s", (OTHER,)):
        route(server, lead, OTHER)
    server.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="seal"), timeout=CALL_S)
    sql("update leadrouter.scheduled_jobs set next_run_at = now() - interval '7 minutes' where name = 'expiry'")
    sql("update leadrouter.scheduled_jobs set last_started_at = now() - interval '1250 ms', last_ended_at = now() where name = 'retention'")
    wait_until(lambda: value(scrape(server), "leadrouter_job_late_seconds", name="expiry") > 0, "it is not late")
    samples = scrape(server)
    assert 420 <= value(samples, "leadrouter_job_late_seconds", name="expiry") < 480
    assert value(samples, "leadrouter_job_late_seconds", name="retention") == 0
    assert value(samples, "leadrouter_job_last_duration_seconds", name="retention") == 1.25
    assert 600 <= value(samples, "leadrouter_oldest_pending_age_seconds") < 660
    assert value(samples, "leadrouter_leads_held") == 1
    now = time.time()
    for name in ("leadrouter_audit_last_seal_timestamp_seconds", "process_start_time_seconds"):
        assert now - 120 < value(samples, name) <= now + 1, name
    assert 0 < value(samples, "leadrouter_sample_duration_seconds", sample="routing") < 10
    assert value(samples, "process_max_fds") >= 1024 > value(samples, "process_open_fds")
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0", "--self-probe-ms", "100") as probing:
        wait_until(lambda: value(scrape(probing), "leadrouter_self_probe_success_timestamp_seconds") > 0, "it does not probe itself")
        samples = scrape(probing)
        assert now - 1 < value(samples, "leadrouter_self_probe_success_timestamp_seconds") <= time.time() + 1
        assert 0 <= value(samples, "leadrouter_self_probe_age_seconds") < CALL_S
        assert value(samples, "leadrouter_self_probe_failures_total") == 0


def test_tables_and_sessions(cluster, database, sql):
    """Dead and live rows of a table that was changed; somebody who waits for a lock; sessions of which a server sees nothing."""
    sql(WORKSPACES)
    sql("alter table leads set (autovacuum_enabled = off)")
    sql("insert into leads (workspace_id, external_id) select %s, n from generate_series(1, 10) n", (PARTNER,))
    sql("update leads set city = 'X'")
    counted = "select n_live_tup, n_dead_tup from pg_stat_user_tables where relname = 'leads'"
    wait_until(lambda: sql(counted) == [(10, 10)], "PostgreSQL has not counted")
    with contextlib.closing(cluster.connect(database)) as holder, contextlib.closing(cluster.connect(database)) as waiter:
        holder.autocommit = waiter.autocommit = False
        holder.cursor().execute("lock table lead_routing_sets in access exclusive mode")
        thread = threading.Thread(target=lambda: waiter.cursor().execute("select from lead_routing_sets"))
        thread.start()
        wait_until(lambda: sql("select count(*) from pg_locks where not granted and relation = 'lead_routing_sets'::regclass") == [(1,)],
                   "nobody waits")
        with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as fresh:
            wait_until(lambda: value(scrape(fresh), "leadrouter_table_live_rows", table="leads") > 0, "tables are not looked at")
            wait_until(lambda: value(scrape(fresh), "leadrouter_database_sessions") > 0, "sessions are not looked at")
            samples = scrape(fresh)
        holder.rollback()
        thread.join()
    assert value(samples, "leadrouter_table_live_rows", table="leads") == 10 == value(samples, "leadrouter_table_dead_rows", table="leads")
    assert value(samples, "leadrouter_table_live_rows", table="lead_dedupe_claims") == 0
    assert value(samples, "leadrouter_database_lock_waits") >= 1
    assert 0 < value(samples, "leadrouter_database_sessions_hidden") <= value(samples, "leadrouter_database_sessions")
    assert value(samples, "leadrouter_database_standbys") == value(samples, "leadrouter_database_replication_lag_bytes") == 0


def test_duplicates_by_workspace(cluster, database, sql):
    """All of the last hour and none from before, of the ten workspaces with the most, whatever else the log got since."""
    sql(WORKSPACES)
    make_old_day(sql)
    insert = ("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, attempt_number, created_at)"
              " select gen_random_uuid(), %s, %s, 1, coalesce(%s, now()) from generate_series(1, %s)")
    many = [f"00000000-0000-4000-9000-{n:012}" for n in range(1, 13)]
    for n, workspace in enumerate(many, 1):
        sql("insert into workspaces (id, name) values (%s, %s)", (workspace, f"workspace {n}"))
        sql(insert, (workspace, "duplicate", None, n))
    sql(insert, (many[0], "duplicate", "2020-01-01 12:00", 50))
    sql(insert, (many[0], "success", None, 20_001))
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as server:
        def listed():
            return {dict(labels)["workspace"]: count for (name, labels), count in scrape(server).items()
                    if name == "leadrouter_workspace_duplicates"}
        wait_until(listed, "no duplicates are seen")
        assert listed() == {f"workspace {n}": n for n in range(3, 13)}
        assert value(scrape(server), "leadrouter_sample_failures_total", sample="duplicates") == 0
        assert 0 < value(scrape(server), "leadrouter_sample_age_seconds", sample="duplicates") < CALL_S


def test_a_scrape_is_quick(cluster, database, sql):
    """With a thousand workspaces that all have retries due: under 20 ms, the quickest of fifty, when nobody else wants the processor:
    others are waited for by measuring again."""
    sql(WORKSPACES)
    sql("insert into workspaces (id, name) select gen_random_uuid(), 'workspace ' || n from generate_series(1, 1000) n")
    sql("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)"
        " select gen_random_uuid(), w.id, 1, 3, now() - interval '1 minute', 1 from workspaces w, generate_series(1, 3)")
    with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as server:
        wait_until(lambda: value(scrape(server), "leadrouter_retries_due") > 3000, "the due rows are not seen")
        taken = []

        def is_quick():
            began = time.monotonic()
            get(server, "/metrics")
            taken.append(time.monotonic() - began)
            return len(taken) >= 50 and min(taken) < 0.02
        wait_until(is_quick, "none takes less than 20 ms")


def test_an_audit_log_that_was_bent(server, sql, cluster, database):
    """A server that starts finds it in its first round, and no longer once it is as it was."""
    def look(what, condition):
        with Server(cluster.service_url(database), "--no-jobs", "--admin-listen", "127.0.0.1:0") as fresh:
            wait_until(lambda: condition(scrape(fresh)), what)
            return value(scrape(fresh), "leadrouter_audit_problems"), value(scrape(fresh), "leadrouter_audit_verified_timestamp_seconds")
    for lead in create(server, 3, country="DE"):
        route(server, lead)
    server.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="seal"), timeout=CALL_S)
    began = time.time()
    problems, verified = look("a round does not end", lambda samples: value(samples, "leadrouter_audit_verified_timestamp_seconds") > 0)
    assert problems == 0 and began - 2 < verified < time.time() + 2
    bend = "set session_replication_role = replica; update lead_routing_logs set attempt_number = attempt_number {} 1"
    sql(bend.format("+"))
    assert look("nothing is found", lambda samples: value(samples, "leadrouter_audit_problems") > 0) == (3, 0)
    sql(bend.format("-"))
    assert look("it is still found", lambda samples: value(samples, "leadrouter_audit_verified_timestamp_seconds") > 0)[0] == 0


def test_errors_of_the_database(server):
    moved = Moved(server)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        create(server, 1, workspace=str(uuid.uuid4()))
    assert moved.more("leadrouter_database_errors_total", sqlstate="LR") == 1
    assert moved.more("leadrouter_database_errors_total", sqlstate="40001") == 0


def test_an_import_that_goes_on_elsewhere(server, sql):
    outgoing = queues.Queue()
    stream = server.leads.ImportLeads(iter(outgoing.get, None), timeout=CALL_S)
    outgoing.put(leads_pb2.ImportLeadsRequest(start=leads_pb2.ImportStart(workspace_id=PARTNER, source="f.csv", fingerprint="f")))
    next(stream)
    sql("update bulk_upload_jobs set owner = gen_random_uuid()")
    moved = Moved(server)
    rows = [leads_pb2.ImportRow(number=1, lead=leads_pb2.NewLead(external_id="1", email="a@b.example"))]
    outgoing.put(leads_pb2.ImportLeadsRequest(rows=leads_pb2.ImportRows(rows=rows)))
    with pytest.raises(grpc.RpcError, match="the import goes on elsewhere"):
        next(stream)
    outgoing.put(None)
    assert moved() == {"fenced_writes import": 1}


def test_series_are_there_from_the_start(server, sql):
    """Before the first look at the database all series are served, and whatever happens makes no more of them, but for lists of workspaces;
    ids are in no other label."""
    first = set(scrape(server))
    assert len(first) < SERIES_MAX
    good, doubled, bad, expired = create(server, 4, country="DE")
    sql("update leads set email = 'same@example.com' where id = any (%s::uuid[])", ([good, doubled],))
    sql("update leads set country = 'FR' where id = %s", (bad,))
    sql("update leads set lead_expires_at = now() - interval '1 minute' where id = %s", (expired,))
    for lead in (good, doubled, bad, expired):
        route(server, lead, max_attempts=1)
    queue(server, sql, 2, "again")
    process(server)
    for job in ("expiry", "health_check", "lost_leads", "retention", "retries", "seal", "stale_locks"):
        server.maintenance.RunJob(maintenance_pb2.RunJobRequest(name=job), timeout=CALL_S)
    for path, method in (("/nothing", "GET"), ("/metrics", "POST"), ("/api/health", "GET"), ("/", "GET"), ("/api/live", "GET")):
        get(server, path, method)
    for call, error in ((lambda: route(server, "no id"), "INVALID_ARGUMENT"), (lambda: route(server, str(uuid.uuid4())), "NOT_FOUND"),
                        (lambda: server.channels[0].unary_unary("/no.such/Method")(b"", timeout=CALL_S), "UNIMPLEMENTED")):
        with pytest.raises(grpc.RpcError, match=error):
            call()
    wait_until(lambda: value(scrape(server), "leadrouter_database_up") == 1, "the database is not looked at")
    lists = {"leadrouter_workspace_retries_due", "leadrouter_workspace_duplicates"}
    now = set(scrape(server))
    assert {(name, labels) for name, labels in now if name not in lists} == first
    ids = {name for name, labels in now for _, text in labels if re.search("[0-9a-f]{8}-[0-9a-f]{4}", text)}
    assert ids <= lists and len([name for name, _ in now if name in lists]) <= 2 * 10


def test_counting_can_be_turned_off(cluster, database, sql):
    sql(WORKSPACES)
    with Server(cluster.service_url(database), "--no-jobs", "--no-metrics", "--admin-listen", "127.0.0.1:0") as server:
        [lead] = create(server, 1, country="DE")
        route(server, lead)
        wait_until(lambda: value(scrape(server), "leadrouter_database_up") == 1, "what is read is not shown")
        assert value(scrape(server), "leadrouter_rpc_started_total", method=ROUTE) == 0
