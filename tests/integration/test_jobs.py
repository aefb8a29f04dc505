"""Goal: what has to be done without being asked is done: once, by whichever server is there, soon after its time has come, and again
after it failed or its server died."""
import contextlib
import os
import re
import signal

import pytest

from support.audit import log_row, make_old_day
from support.product_cluster import wait_until
from support.server import Server, wait_ready
from support.stubs import routing_pb2

PARTNER = "00000000-0000-4000-8000-000000000001"
QUIET = "00000000-0000-4000-8000-000000000002"
DESK = "00000000-0000-4000-8000-0000000000ff"
SOON_S = 1 # what "when due" means: a retry begins within a second
TRIES = 5 # of what takes so long at most: a machine that stands still for a moment spoils one of them, and not all
GRACE_S = 30
CALL_S = 20

JOB = "select runs, last_result, failures, run_id is not null, last_error," \
      " case when isfinite(next_run_at) then extract(epoch from next_run_at - now()) end::float8" \
      " from leadrouter.scheduled_jobs where name = %s"


@pytest.fixture
def start(cluster, database):
    """Starts a server on the test's database."""
    with contextlib.ExitStack() as stack:
        def start(*flags):
            server = stack.enter_context(Server(cluster.service_url(database), *flags))
            wait_ready(server)
            return server
        yield start


@pytest.fixture
def job(sql):
    """What the row of a job says: runs, last result, failures, whether it runs, last error, seconds to the next run."""
    return lambda name: sql(JOB, [name])[0] if sql(JOB, [name]) else None


def make_due(sql, name, seconds_ago=0):
    assert sql("update leadrouter.scheduled_jobs set next_run_at = now() - %s * interval '1 second' where name = %s returning name",
               [seconds_ago, name])


def workspaces(sql):
    sql("insert into workspaces (id, name) values (%s, 'Partner'), (%s, 'Desk')", [PARTNER, DESK])


def give_all(sql):
    sql("insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id) values (%s, 'all', %s)", [PARTNER, DESK])


def queue_lead(sql, seconds):
    """A lead that is due in some seconds; its id."""
    lead = sql("insert into leads (workspace_id) values (%s) returning id", [PARTNER])[0][0]
    sql("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)"
        " select %s, %s, 1, 3, now() + %s * interval '1 second', version from leadrouter.rule_versions where workspace_id = %s",
        [lead, PARTNER, seconds, PARTNER])
    return lead


def lateness(sql):
    """Seconds from the time of each queue row until it was processed."""
    return [row[0] for row in sql("select extract(epoch from processed_at - next_retry_at)::float8 from lead_routing_queue"
                                  " where processed_at is not null")]


# --- Retries --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--unnamed-statements",)], ids=["listening", "polling"])
def test_a_retry_begins_within_a_second_of_its_time(start, sql, flags):
    workspaces(sql)
    give_all(sql)
    start(*flags)
    took = []
    while len(took) < TRIES and (not took or took[-1] >= SOON_S):
        sql("delete from lead_routing_queue")
        for tenth in range(0, 20):
            queue_lead(sql, tenth / 10)
        wait_until(lambda: sql("select count(*) from leads where routing_status <> 'routed'") == [(0,)], "not all were routed")
        late = lateness(sql)
        assert len(late) == 20 and min(late) >= 0, "before its time"
        took.append(max(late))
    assert took[-1] < SOON_S, took


@pytest.mark.parametrize("flags", [(), ("--unnamed-statements",)], ids=["listening", "polling"])
def test_a_change_of_rules_is_felt_within_a_second(start, sql, flags):
    workspaces(sql)
    start(*flags)
    took = []
    while len(took) < TRIES and (not took or took[-1] >= SOON_S):
        sql("delete from lead_routing_rules")
        sql("insert into leads (workspace_id) select %s from generate_series(1, 20)", [PARTNER])
        sql("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)"
            " select l.id, l.workspace_id, 1, 3, now() + interval '1 hour', v.version from leads l join leadrouter.rule_versions v"
            " on v.workspace_id = l.workspace_id where l.routing_status = 'pending'")
        give_all(sql)
        wait_until(lambda: sql("select count(*) from leads where routing_status <> 'routed'") == [(0,)], "not all were routed")
        (felt,), = sql("select extract(epoch from max(q.processed_at) - max(v.changed_at))::float8 from lead_routing_queue q"
                       " join leadrouter.rule_versions v on v.workspace_id = q.workspace_id")
        took.append(felt)
    assert took[-1] < SOON_S, took


def test_a_server_without_jobs_leaves_them_to_others(start, sql, job):
    workspaces(sql)
    give_all(sql)
    lead = queue_lead(sql, 0)
    start("--no-jobs")
    wait_until(lambda: job("lost_leads"), "its jobs cannot be run by hand")
    assert sql("select count(*) from leadrouter.scheduled_jobs where runs > 0") == [(0,)]
    start()
    wait_until(lambda: sql("select routing_status::text from leads where id = %s", [lead]) == [("routed",)], "nobody took it")


def test_lost_leads_are_found_and_routed(start, sql, job):
    """Their creator died; held are those whose workspace wants to be asked. Young ones are not lost yet."""
    workspaces(sql)
    give_all(sql)
    sql("insert into workspaces (id, name, routing_config) values (%s, 'Quiet', '{\"auto_route\": false}')", [QUIET])
    sql("insert into leads (workspace_id, external_id, created_at) values (%s, 'old', now() - interval '61 seconds'),"
        " (%s, 'young', now()), (%s, 'quiet', now() - interval '1 hour')", [PARTNER, PARTNER, QUIET])
    start()
    wait_until(lambda: job("lost_leads"), "no such job")
    make_due(sql, "lost_leads")
    wait_until(lambda: sql("select routing_status::text from leads where external_id = 'old'") == [("routed",)], "not found")
    assert sql("select l.external_id, q.error_class from lead_routing_queue q join leads l on l.id = q.lead_id"
               " where processed_at is null") == [("quiet", "held")]
    assert sql("select routing_status::text from leads where external_id <> 'old'") == [("pending",), ("pending",)]


# --- The schedule ---------------------------------------------------------------------------------------------------------------------


def test_several_servers_run_a_due_job_once(start, sql, job):
    """In each round all of them see that it is due in the same second. A job whose own time comes once a day does not run by itself
    meanwhile."""
    servers = [start() for _ in range(3)]
    wait_until(lambda: job("expiry"), "no such job")
    before = job("expiry")[0]
    for round_number in range(1, 6):
        make_due(sql, "expiry")
        wait_until(lambda: job("expiry")[0] > before + round_number - 1 and not job("expiry")[3], "not run")
        assert job("expiry")[0] == before + round_number
    done = [line for server in servers for line in server.events("job.done") if line["job"] == "expiry"]
    assert len(done) >= 5


def test_missed_runs_are_made_up_for_by_one(start, sql, job):
    with_server = start()
    wait_until(lambda: job("expiry"), "no such job")
    assert with_server.stop() == 0
    runs = job("expiry")[0]
    make_due(sql, "expiry", 7 * 86400) # a week without a server
    start()
    wait_until(lambda: job("expiry")[1] == "done", "not run")
    assert job("expiry")[0] == runs + 1 and 0 < job("expiry")[5] <= 86400


def test_a_job_that_fails_backs_off_and_recovers(start, sql, job):
    sql("alter function leadrouter.expire_leads(uuid, integer) rename to hidden")
    server = start()
    wait_until(lambda: job("expiry"), "no such job")
    for failures, again_s in ((1, 60), (2, 120)):
        make_due(sql, "expiry")
        wait_until(lambda: job("expiry")[2] == failures and not job("expiry")[3], "did not fail")
        assert job("expiry")[1] == "failed"
        assert job("expiry")[4] == "expired: the database refused it (SQLSTATE 42883); the server's log has the reason"
        (again,), = sql("select extract(epoch from next_run_at - last_ended_at)::float8 from leadrouter.scheduled_jobs"
                        " where name = 'expiry'")
        assert abs(again - again_s) < 0.01 # its schedule, once a day, is not sooner
    sql("alter function leadrouter.hidden(uuid, integer) rename to expire_leads")
    make_due(sql, "expiry")
    wait_until(lambda: job("expiry")[1] == "done", "did not recover")
    assert job("expiry")[2] == 0 and job("expiry")[4] is None
    failed = server.events("job.failed")
    assert len(failed) == 2 and failed[0]["sqlstate"] == "42883" and "expire_leads" in failed[0]["error"]


def test_a_job_that_loses_its_connection_is_recorded_and_run_again(start, sql, job):
    """Its step ends the very session that runs it."""
    sql("alter function leadrouter.release_stale_locks(integer, integer) rename to original")
    sql("create function leadrouter.release_stale_locks(integer, integer) returns integer language plpgsql security definer as"
        " $$ begin perform pg_terminate_backend(pg_backend_pid()); return 0; end $$")
    start()
    wait_until(lambda: job("stale_locks"), "no such job")
    make_due(sql, "stale_locks")
    wait_until(lambda: job("stale_locks")[1] == "failed" and not job("stale_locks")[3], "not recorded")
    sql("drop function leadrouter.release_stale_locks(integer, integer)")
    sql("alter function leadrouter.original(integer, integer) rename to release_stale_locks")
    make_due(sql, "stale_locks")
    wait_until(lambda: job("stale_locks")[1] == "done", "not run again")


def test_a_run_left_behind_is_taken_over(start, sql, job):
    """As a server leaves it that was killed in the middle; its grace is over. Nobody waits for the schedule."""
    start()
    wait_until(lambda: job("retention"), "no such job")
    runs = job("retention")[0]
    sql("update leadrouter.scheduled_jobs set run_id = gen_random_uuid(), last_started_at = now() - interval '1 hour',"
        " last_touched_at = now() - %s * interval '1 second', next_run_at = now() + interval '5 hours' where name = 'retention'",
        [GRACE_S + 1])
    wait_until(lambda: job("retention")[1] == "done" and not job("retention")[3], "not taken over")
    assert job("retention")[0] == runs + 1


def test_a_run_of_a_server_that_stands_still_is_not_disturbed_within_its_grace(start, sql, job):
    start()
    wait_until(lambda: job("stale_locks"), "no such job")
    sql("update leadrouter.scheduled_jobs set run_id = gen_random_uuid(), last_touched_at = now(), next_run_at = now()"
        " where name = 'stale_locks'")
    runs = job("stale_locks")[0]
    make_due(sql, "lost_leads")
    wait_until(lambda: job("lost_leads")[1] == "done", "the scheduler does not look")
    assert job("stale_locks")[0] == runs and job("stale_locks")[3]


def test_a_server_that_stands_still_hands_its_retries_over(start, sql):
    """SIGSTOP in the middle of whatever it does: the other one goes on, and nothing is done twice when the first one wakes up."""
    workspaces(sql)
    give_all(sql)
    stopped, _ = start("--batch-leads-max", "8"), start("--batch-leads-max", "8")
    sql("insert into leads (workspace_id, email) select %s, 'p' || n || '@example.com' from generate_series(1, 3000) n", [PARTNER])
    sql("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)"
        " select l.id, l.workspace_id, 0, 3, now(), v.version from leads l join leadrouter.rule_versions v"
        " on v.workspace_id = l.workspace_id")
    wait_until(lambda: sql("select count(*) from leads where routing_status = 'routed'")[0][0] > 0, "nothing is done")
    os.kill(stopped.process.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: sql("select count(*) from leads where routing_status = 'routed'") == [(3000,)], "the rest waits")
    finally:
        os.kill(stopped.process.pid, signal.SIGCONT)
    assert stopped.stop() == 0
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs") == [(3000, 3000)]


def test_a_server_that_stands_still_lets_its_batch_go(start, sql, cluster, database):
    """SIGSTOP between the two round trips of a batch: the engine's own limit ends the transaction, though the role has none."""
    workspaces(sql)
    give_all(sql)
    sql(f"alter role leadrouter_service in database {database} reset idle_in_transaction_session_timeout")
    stopped, holder = start(), cluster.connect(database)
    holder.autocommit = False
    holder.cursor().execute("lock table lead_dedupe_claims in access exclusive mode")
    lead = queue_lead(sql, 0)
    try:
        wait_until(lambda: sql("select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
                               " and query like '%%lock_due_leads%%' and xact_start > (select created_at from lead_routing_queue)"),
                   "no batch waits")
        os.kill(stopped.process.pid, signal.SIGSTOP)
        holder.close()
        wait_until(lambda: sql("select id from leads for update skip locked") == [], "no batch has the lead")
        start()
        wait_until(lambda: sql("select routing_status::text from leads where id = %s", [lead]) == [("routed",)], "its lead waits")
    finally:
        holder.close()
        os.kill(stopped.process.pid, signal.SIGCONT)
    assert stopped.stop() == 0
    assert sql("select count(*) from lead_routing_logs") == [(1,)]


# --- What keeps retries from their work -----------------------------------------------------------------------------------------------


def break_leads(sql, prefix):
    """Leads whose external_id begins so cannot be written any more; tries() counts how often somebody tried to."""
    sql(f"""create sequence tries;
            create function refuse() returns trigger language plpgsql security definer as $$ begin
                perform nextval('public.tries'); raise exception 'broken' using errcode = '23514'; end $$;
            create trigger refuse before update on leads for each row when (old.external_id like '{prefix}%%') execute function refuse()""")


def queue_many(sql, count, prefix, seconds_ago):
    sql("insert into leads (workspace_id, external_id) select %s, %s || n from generate_series(1, %s) n", [PARTNER, prefix, count])
    sql("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)"
        " select l.id, l.workspace_id, 1, 3, now() - %s * interval '1 second', v.version from leads l join leadrouter.rule_versions v"
        " on v.workspace_id = l.workspace_id where l.external_id like %s", [seconds_ago, prefix + "%"])


@pytest.mark.parametrize("count", [1, 100])
def test_leads_that_cannot_be_looked_at_are_left_alone_for_a_while(start, sql, count):
    """More of them than a batch holds, and first in the queue: what comes behind them is routed, and nobody tries them over and over."""
    workspaces(sql)
    give_all(sql)
    break_leads(sql, "bad")
    queue_many(sql, count, "bad", 60)
    queue_many(sql, 5, "good", 1)
    server = start("--batch-leads-max", "16")
    wait_until(lambda: sql("select count(*) from leads where routing_status = 'routed'") == [(5,)], "the others wait")
    postponed = "select count(*) from lead_routing_queue where postponed_until > updated_at + interval '50 seconds'"
    wait_until(lambda: sql(postponed) == [(count,)], "they are tried again at once")
    tries = sql("select last_value from tries")[0][0]
    lead = queue_lead(sql, 1.5) # three looks later
    wait_until(lambda: sql("select routing_status::text from leads where id = %s", [lead]) == [("routed",)], "not routed")
    assert sql("select last_value from tries") == [(tries,)]
    rows = sql("select distinct last_error, next_retry_at <= now() from lead_routing_queue where processed_at is null")
    assert rows == [("could not be routed now (SQLSTATE 23514); nothing was done, asking again is safe", True)]
    sql("drop trigger refuse on leads")
    answer = server.routing.ProcessRetries(routing_pb2.ProcessRetriesRequest(limit=1000), timeout=CALL_S)
    assert (answer.processed, answer.routed) == (count, count), "who processes them by hand need not wait"


def test_retries_that_fail_are_seen(start, sql, job):
    workspaces(sql)
    server = start()
    wait_until(lambda: job("retries") and job("retries")[1] == "done", "they do not run")
    sql("alter function leadrouter.next_due(uuid) rename to hidden")
    wait_until(lambda: job("retries")[1] == "failed", "nothing is seen")
    assert job("retries")[4] == "the database refused it (SQLSTATE 42883); the server's log has the reason"
    problems = wait_until(lambda: server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S).problems, "Health says nothing")
    assert list(problems) == ["job retries has failed"]
    assert server.events("job.database")[0]["sqlstate"] == "42883"
    sql("alter function leadrouter.hidden(uuid) rename to next_due")
    wait_until(lambda: job("retries")[1] == "done", "they do not recover")
    assert job("retries")[2] == 0


def test_jobs_that_cannot_be_begun_are_told_once(start, sql, job):
    server = start()
    wait_until(lambda: job("lost_leads") and job("lost_leads")[1] == "done", "it does not run")
    sql("create sequence tries; grant usage on sequence tries to leadrouter_owner;"
        " alter function leadrouter.begin_job(text, bigint, integer, boolean) rename to hidden;"
        " create function leadrouter.begin_job(p_name text, p_next_run_us bigint, p_grace_ms integer, p_by_hand boolean) returns table"
        " (begun boolean, run_id uuid, is_paused boolean, is_running boolean, now_us bigint) language plpgsql security definer"
        " as $$ begin perform nextval('public.tries'); raise 'not now' using errcode = '55P03'; end $$;"
        " select leadrouter.seal_functions('{begin_job}', 'leadrouter_service')")
    make_due(sql, "lost_leads")
    wait_until(lambda: sql("select last_value >= 3 from tries") == [(True,)], "it is not tried again")
    assert [line["sqlstate"] for line in server.events("job.database")] == ["55P03"]
    sql("drop function leadrouter.begin_job(text, bigint, integer, boolean);"
        " alter function leadrouter.hidden(text, bigint, integer, boolean) rename to begin_job")
    wait_until(lambda: job("lost_leads")[1] == "done" and job("lost_leads")[3] is not None, "it does not recover")


def test_paused_retries_do_not_say_that_they_ran(start, sql, job):
    sql("insert into leadrouter.scheduled_jobs (name, next_run_at, is_paused) values ('retries', 'infinity', true)")
    start()
    wait_until(lambda: job("lost_leads"), "no such job")
    make_due(sql, "lost_leads")
    wait_until(lambda: job("lost_leads")[1] == "done", "the scheduler does not look")
    assert job("retries")[0] == 0


# --- Long jobs ------------------------------------------------------------------------------------------------------------------------


def test_long_jobs_do_not_hold_up_the_short_ones(start, sql, job, cluster, database):
    """Expiry and retention take their time, both: a stale lock is released all the same."""
    for function in ("expire_leads(uuid, integer)", "drop_log_partitions(integer)"):
        name, types = function[:-1].split("(")
        sql(f"alter function leadrouter.{function} rename to {name}_original")
        sql(f"create function leadrouter.{name}({types}) returns integer language plpgsql security definer set lock_timeout = 0 as"
            " $$ begin perform pg_advisory_xact_lock_shared(7); return 0; end $$")
    with cluster.connect(database) as holder:
        holder.cursor().execute("select pg_advisory_lock(7)")
        start()
        wait_until(lambda: job("retention"), "no such job")
        make_due(sql, "expiry")
        make_due(sql, "retention")
        wait_until(lambda: job("expiry")[3] or job("retention")[3], "neither begins")
        wait_until(lambda: sql("select count(*) from pg_locks where locktype = 'advisory' and not granted") != [(0,)], "neither waits")
        make_due(sql, "stale_locks")
        wait_until(lambda: job("stale_locks")[1] == "done", "the short one waits", CALL_S)
        assert job("expiry")[3] or job("retention")[3]
        holder.cursor().execute("select pg_advisory_unlock(7)")
    wait_until(lambda: job("expiry")[1] == job("retention")[1] == "done", "the long ones do not end")


def test_a_pause_in_the_middle_is_made_up_for(start, sql, job):
    """The run ends where it is; the rest does not wait for tomorrow's."""
    sql("alter function leadrouter.expire_leads(uuid, integer) rename to original")
    sql("create function leadrouter.expire_leads(uuid, integer) returns integer language sql as 'select 1'")
    start()
    wait_until(lambda: job("expiry"), "no such job")
    make_due(sql, "expiry")
    wait_until(lambda: job("expiry")[3], "not begun")
    sql("select leadrouter.pause_job('expiry', null, '')")
    wait_until(lambda: not job("expiry")[3], "not ended")
    assert job("expiry")[:2] == (1, "done")
    sql("drop function leadrouter.expire_leads(uuid, integer)")
    sql("alter function leadrouter.original(uuid, integer) rename to expire_leads")
    sql("select leadrouter.resume_job('expiry')")
    wait_until(lambda: job("expiry")[0] == 2 and job("expiry")[1] == "done", "the rest waits")
    assert job("expiry")[5] > 60


# --- What is thrown away --------------------------------------------------------------------------------------------------------------


def test_retention_and_expiry(start, sql, job):
    """A day of the log from long ago goes, its queue rows too; the days to come are there; leads and claims past their time end."""
    workspaces(sql)
    make_old_day(sql)
    sql("insert into leads (workspace_id, email, lead_expires_at) values (%s, 'x@example.com', now())", [PARTNER])
    sql("insert into lead_dedupe_claims (dedupe_hash, lead_id, workspace_id, expires_at) values ('past', gen_random_uuid(), %s, now()),"
        " ('alive', gen_random_uuid(), %s, now() + interval '1 day')", [PARTNER, PARTNER])
    sql("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, processed_at) values"
        " (gen_random_uuid(), %s, 1, 3, now(), now() - interval '8 days'), (gen_random_uuid(), %s, 1, 3, now(), now() - interval '6 days')",
        [PARTNER, PARTNER])
    start()
    wait_until(lambda: job("retention"), "no such job")
    make_due(sql, "retention")
    make_due(sql, "expiry")
    wait_until(lambda: job("retention")[1] == "done" and job("expiry")[1] == "done", "not done")
    assert sql("select to_regclass('leadrouter.lead_routing_logs_20200101') is null, leadrouter.log_partition_days_ahead()") == [(True, 30)]
    assert sql("select count(*) from lead_routing_queue") == [(1,)]
    assert sql("select dedupe_hash from lead_dedupe_claims") == [("alive",)]
    assert sql("select routing_status::text from leads") == [("expired",)]
    detail = sql("select last_detail from leadrouter.scheduled_jobs where name = 'retention'")[0][0]
    assert detail["partitions_dropped"] == 1 and detail["queue_rows_removed"] == 1


def test_a_day_that_is_being_read_is_dropped_later(start, sql, job, cluster, database):
    make_old_day(sql)
    reader = cluster.connect(database)
    reader.autocommit = False
    reader.cursor().execute("select count(*) from lead_routing_logs")
    start()
    wait_until(lambda: job("retention"), "no such job")
    make_due(sql, "retention")
    wait_until(lambda: job("retention")[1] == "failed", "said nothing")
    assert "1 days of the audit log are in use" in job("retention")[4] and job("retention")[5] <= 60
    reader.close()
    make_due(sql, "retention")
    wait_until(lambda: job("retention")[1] == "done", "not dropped")
    assert sql("select to_regclass('leadrouter.lead_routing_logs_20200101') is null") == [(True,)]


def test_the_health_check_says_what_is_wrong(start, sql, job):
    workspaces(sql)
    server = start()
    wait_until(lambda: job("retries"), "no such job")
    sql("update leadrouter.scheduled_jobs set is_paused = true where name in ('retries', 'seal')")
    make_old_day(sql)
    log_row(sql, "2020-01-01")
    sql("insert into leads (workspace_id) select %s from generate_series(1, 101)", [PARTNER])
    sql("insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)"
        " select l.id, l.workspace_id, 1, 3, now() - interval '6 minutes', v.version from leads l join leadrouter.rule_versions v"
        " on v.workspace_id = l.workspace_id")
    sql("update leadrouter.error_classes set is_retried = false where class = 'unmatched'")
    for lead in [row[0] for row in sql("insert into leads (workspace_id) select %s from generate_series(1, 20) returning id", [PARTNER])]:
        server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=str(lead), source_workspace_id=PARTNER), timeout=CALL_S)
    runs = job("health_check")[0]
    make_due(sql, "health_check")
    wait_until(lambda: job("health_check")[0] > runs and job("health_check")[1] == "done", "not run")
    alerts = [line["detail"] for line in server.events("health.alert")]
    assert any(text.startswith("101 retries are due") for text in alerts), alerts
    assert any(text.startswith("100 % of 20 final decisions") for text in alerts), alerts
    assert any(text.startswith("the audit log has not been sealed for ") for text in alerts), alerts
    waited = [text for text in alerts if text.startswith("the oldest due retry has waited for ")]
    assert 360 <= int(re.search("[0-9]+", waited[0])[0]) < 420, alerts
    assert any(text.startswith(f"101 retries of workspace {PARTNER} are due") for text in alerts), alerts
