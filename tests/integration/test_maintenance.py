"""Goal: what operators do by hand does what proto/leadrouter/v1/maintenance.proto promises, on any server and for all of them, and every
bad word gets one clear answer."""
import concurrent.futures
import json
import os
import signal
import uuid

import grpc
import pytest

from support.product_cluster import execute, wait_until
from support.retries import (CALL_S, DESK, NOBODY, OTHER, PARTNER, create, make_due, mend, open_row, process, queue, route,
                             status_of)
from support.server import Server
from support.stubs import maintenance_pb2, routing_pb2

pytestmark = pytest.mark.usefixtures("workspaces")

JOBS = ["expiry", "health_check", "lost_leads", "retention", "retries", "seal", "stale_locks"]
FAILED = routing_pb2.ROUTING_OUTCOME_FAILED
QUEUED = routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY
CANCELLED, NOT_FOUND, BUSY = 1, 2, 3


def call(server, method, **fields):
    return getattr(server.maintenance, method)(getattr(maintenance_pb2, method + "Request")(**fields), timeout=CALL_S)


def refusal(server, method, **fields):
    """The status and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(server, method, **fields)
    return caught.value.code(), caught.value.details()


def state_of(server, name):
    (job,) = [job for job in call(server, "ListJobs").jobs if job.name == name]
    return routing_pb2.JobState.Name(job.state)


def health(server):
    return server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S)


# --- Jobs -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_list_jobs(quiet):
    """From the moment the server serves, also where no server runs them."""
    answer = call(quiet, "ListJobs")
    assert [job.name for job in answer.jobs] == JOBS
    for job in answer.jobs:
        assert job.description.endswith(".") and job.schedule and job.state == routing_pb2.JOB_STATE_WAITING
        assert job.HasField("next_run_at") == (job.name != "retries") and job.runs == 0 and not job.last_result
        if job.name != "retries":
            assert -CALL_S < job.next_run_at.seconds - answer.now.seconds <= 24 * 3600 + 1 # written as the server started
    assert {job.name: job.schedule for job in answer.jobs} == {
        "expiry": "daily at 02:00 UTC", "health_check": "hourly", "lost_leads": "every 30 s", "retention": "daily at 03:00 UTC",
        "retries": "when due", "seal": "every 30 s", "stale_locks": "every 10 min"}


@pytest.mark.parametrize("name", JOBS)
def test_run_job(quiet, name):
    """Each by hand, twice, on a server that runs none by itself."""
    for run in (1, 2):
        job = call(quiet, "RunJob", name=name).job
        assert (job.name, job.last_result, job.runs, job.failures) == (name, "done", run, 0)
        assert job.HasField("last_started_at") and job.HasField("last_ended_at") and isinstance(json.loads(job.last_detail), dict)
    done = quiet.wait_for("job.done")
    assert done["job"] == name and done["duration_ms"] >= 0 and isinstance(json.loads(done["detail"]), dict)


def test_run_job_does_its_work(quiet, sql):
    lead, = create(quiet, 1)
    sql("update leads set created_at = now() - interval '2 minutes' where id = %s", (lead,))
    assert json.loads(call(quiet, "RunJob", name="lost_leads").job.last_detail)["queued"] == 1
    assert open_row(sql, lead) == (0, 3, "lost", True)
    mend(sql)
    detail = json.loads(call(quiet, "RunJob", name="retries").job.last_detail)
    assert (detail["processed"], detail["routed"]) == (1, 1) and status_of(sql, lead) == "routed"


def test_a_job_that_runs_is_not_run_twice(cluster, database, quiet, sql):
    """Another server is at it: ABORTED on every server, until that run ends."""
    (run,), = sql("select run_id from leadrouter.begin_job('expiry', null, 30000, true)")
    with Server(cluster.service_url(database), "--no-jobs") as second:
        for server in (quiet, second):
            assert refusal(server, "RunJob", name="expiry") == (grpc.StatusCode.ABORTED, "a server runs the job at this moment")
            assert state_of(server, "expiry") == "JOB_STATE_RUNNING"
        assert call(second, "RunJob", name="stale_locks").job.last_result == "done", "the others go on"
        sql(f"select leadrouter.end_job('expiry', '{run}', true, '{{}}', null, null)")
        assert call(second, "RunJob", name="expiry").job.runs == 2


def test_both_servers_run_a_job_in_the_same_instant(cluster, database, quiet, sql):
    """Eight callers on two servers: as many runs as were answered with OK, and everybody else was told why not."""
    with Server(cluster.service_url(database), "--no-jobs") as second, concurrent.futures.ThreadPoolExecutor(8) as pool:
        def run(number):
            try:
                return call((quiet, second)[number % 2], "RunJob", name="expiry").job.name
            except grpc.RpcError as error:
                return error.code()
        results = list(pool.map(run, range(8)))
    assert set(results) <= {"expiry", grpc.StatusCode.ABORTED} and "expiry" in results
    assert sql("select runs, run_id from leadrouter.scheduled_jobs where name = 'expiry'") == [(results.count("expiry"), None)]


def test_a_job_that_fails(quiet, sql):
    """RunJob says what it failed with, not what the database said; ListJobs and Health show it until a run succeeds."""
    sql("revoke execute on function leadrouter.release_stale_locks(integer, integer) from leadrouter_service")
    assert refusal(quiet, "RunJob", name="stale_locks") == (grpc.StatusCode.UNAVAILABLE, "the database does not let this server work")
    job, = [job for job in call(quiet, "ListJobs").jobs if job.name == "stale_locks"]
    assert (job.state, job.failures, job.last_result) == (routing_pb2.JOB_STATE_FAILING, 1, "failed") and job.last_error
    answer = health(quiet)
    assert answer.status == routing_pb2.HEALTH_STATUS_DEGRADED and list(answer.problems) == ["job stale_locks has failed"]
    assert quiet.wait_for("job.failed")["sqlstate"] == "42501"
    sql("grant execute on function leadrouter.release_stale_locks(integer, integer) to leadrouter_service")
    job = call(quiet, "RunJob", name="stale_locks").job
    assert (job.state, job.failures, job.last_result, job.last_error) == (routing_pb2.JOB_STATE_WAITING, 0, "done", "")
    wait_until(lambda: health(quiet).status == routing_pb2.HEALTH_STATUS_HEALTHY, "Health does not recover")


@pytest.mark.parametrize("method", ["RunJob", "PauseJob", "ResumeJob"])
def test_names_of_jobs(quiet, method):
    for name in ("nonsense", "Expiry", "expiry ", "x" * 1000, "'; drop table leads; --"):
        assert refusal(quiet, method, name=name) == (grpc.StatusCode.NOT_FOUND, "name: no such job")
    assert refusal(quiet, method) == (grpc.StatusCode.INVALID_ARGUMENT, "name: missing")


def test_pause_and_resume(quiet):
    actor = str(uuid.uuid4())
    job = call(quiet, "PauseJob", name="expiry", user_id=actor, note="ü" * 250).job
    assert (job.state, job.paused_by, job.pause_note) == (routing_pb2.JOB_STATE_PAUSED, actor, "ü" * 250) and job.HasField("paused_at")
    again = call(quiet, "PauseJob", name="expiry").job
    assert again.paused_at == job.paused_at and (again.paused_by, again.pause_note) == ("", "")
    assert call(quiet, "RunJob", name="expiry").job.state == routing_pb2.JOB_STATE_PAUSED, "by hand it runs all the same"
    assert "job expiry is paused" in health(quiet).problems
    job = call(quiet, "ResumeJob", name="expiry").job
    assert job.state == routing_pb2.JOB_STATE_WAITING and not job.HasField("paused_at")
    assert call(quiet, "ResumeJob", name="expiry").job == job


def test_pause_of_bad_words(quiet):
    assert refusal(quiet, "PauseJob", name="expiry", user_id="me") == (grpc.StatusCode.INVALID_ARGUMENT, "user_id: not a UUID")
    assert refusal(quiet, "PauseJob", name="expiry", note="x" * 501) == (grpc.StatusCode.INVALID_ARGUMENT, "note: longer than 500 bytes")
    assert state_of(quiet, "expiry") == "JOB_STATE_WAITING"


def looks(cluster, database):
    """How often servers have looked for due retries."""
    return execute(cluster, database, "select coalesce(sum(calls), 0)::int from pg_stat_user_functions"
                                      " where funcname = 'lock_due_leads'")[0][0]


def test_a_pause_holds_for_every_server_and_survives_restarts(cluster, database, sql):
    """Two servers with their background work on, one of them started after the pause: both look at the queue again and again, and leave
    a due lead alone until the job is resumed on the other one."""
    sql(f"alter database {database} set track_functions = 'all'")
    url = cluster.service_url(database)
    with Server(url) as first:
        call(first, "PauseJob", name="retries", note="an incident")
        lead, = queue(first, sql, 1)
        mend(sql)
        assert first.stop() == 0
    with Server(url) as first, Server(url) as second:
        before = looks(cluster, database)
        wait_until(lambda: looks(cluster, database) >= before + 12, "nobody looks at the queue")
        assert status_of(sql, lead) == "pending" and open_row(sql, lead)[3]
        assert state_of(first, "retries") == state_of(second, "retries") == "JOB_STATE_PAUSED"
        call(second, "ResumeJob", name="retries")
        wait_until(lambda: status_of(sql, lead) == "routed", "the resumed job does not run")
        assert sql("select count(*) from lead_routing_logs where lead_id = %s", (lead,)) == [(2,)]


def test_a_missed_run_is_made_up_for_once(server, sql):
    """A job that was paused over three of its times runs once when it is resumed."""
    call(server, "PauseJob", name="expiry")
    sql("update leadrouter.scheduled_jobs set next_run_at = now() - interval '70 hours' where name = 'expiry'")
    assert not any("expiry should" in problem for problem in health(server).problems)
    call(server, "ResumeJob", name="expiry")
    wait_until(lambda: sql("select runs from leadrouter.scheduled_jobs where name = 'expiry' and run_id is null") == [(1,)],
               "the missed run is not made up for")
    assert sql("select next_run_at > now() from leadrouter.scheduled_jobs where name = 'expiry'") == [(True,)]


# Ten milliseconds for a lead: what is to be done takes longer than a test waits.
SLOW = """create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); return new; end $$;
          create trigger slow before update on leads for each row execute function slow()"""


def test_a_run_whose_server_stops_is_taken_over(cluster, database, sql):
    """It is no failure: another server goes on where it was, once the run has not shown itself for its grace."""
    url = cluster.service_url(database)
    sql(f"insert into leads (workspace_id, lead_expires_at) select '{PARTNER}', now() from generate_series(1, 5000)")
    sql(SLOW)
    with Server(url) as first:
        sql("update leadrouter.scheduled_jobs set next_run_at = now() where name = 'expiry'")
        wait_until(lambda: sql("select 1 from leads where routing_status = 'expired' limit 1"), "the job does not begin")
        assert first.stop() == 0 and not first.events("job.failed")
    assert sql("select failures, run_id is not null, runs from leadrouter.scheduled_jobs where name = 'expiry'") == [(0, True, 1)]
    sql("drop trigger slow on leads")
    sql("update leadrouter.scheduled_jobs set last_touched_at = now() - interval '31 seconds' where name = 'expiry'")
    with Server(url) as second:
        wait_until(lambda: sql("select last_result from leadrouter.scheduled_jobs where name = 'expiry'") == [("done",)], "nobody goes on")
        assert sql("select failures, runs from leadrouter.scheduled_jobs where name = 'expiry'") == [(0, 2)]
        assert sql("select count(*) from leads where routing_status = 'expired'") == [(5000,)]
        assert second.stop() == 0


def test_stopping_ends_what_takes_long(quiet, sql):
    """A run by hand ends after its step, is told why, and does not hold the server up."""
    sql(f"insert into leads (workspace_id, lead_expires_at) select '{OTHER}', now() from generate_series(1, 5000)")
    sql(SLOW)
    run = quiet.maintenance.RunJob.future(maintenance_pb2.RunJobRequest(name="expiry"), timeout=CALL_S)
    wait_until(lambda: sql("select 1 from leads where routing_status = 'expired' limit 1"), "the job does not begin")
    os.kill(quiet.process.pid, signal.SIGTERM)
    assert run.exception(CALL_S).code() == grpc.StatusCode.UNAVAILABLE and run.exception().details() == "the server is stopping"
    assert quiet.wait() == 0
    assert sql("select last_result, last_error, run_id from leadrouter.scheduled_jobs where name = 'expiry'") == [
        ("failed", "the server is stopping", None)]


def test_a_job_that_nobody_runs_is_seen(quiet, sql):
    sql("update leadrouter.scheduled_jobs set next_run_at = now() - interval '10 minutes' where name = 'lost_leads'")
    assert list(health(quiet).problems) == ["job lost_leads should have begun 10 min ago"]


# --- Locks and times to live ------------------------------------------------------------------------------------------------------------


def test_release_stale_locks(quiet, sql):
    """1,500 locks are several steps; a worker that has not had its lead for long keeps it."""
    sql(f"""insert into leads (workspace_id, country) select '{PARTNER}', 'FR' from generate_series(1, 1501);
            update leads set routing_status = 'routing', routing_locked_by = gen_random_uuid(), routing_locked_at = now()
                - case when id = (select min(id::text)::uuid from leads) then interval '4 minutes' else interval '6 minutes' end""")
    (fresh,), = sql("select min(id::text) from leads")
    assert health(quiet).stale_locks == 1500
    answer = call(quiet, "ReleaseStaleLocks")
    assert (answer.released, answer.more) == (1500, False)
    assert call(quiet, "ReleaseStaleLocks").released == 0
    assert status_of(sql, fresh) == "routing"
    assert sql("select error_class, attempt_number, count(*) from lead_routing_queue where next_retry_at <= now() group by 1, 2") == [
        ("stale_lock", 1, 1500)]
    assert sql("select routing_result, count(*) from lead_routing_logs group by 1") == [("released", 1500)]


def test_expire_leads(cluster, database, quiet, sql):
    """Of one workspace, then of all; never one that somebody holds."""
    ours, theirs = create(quiet, 3), create(quiet, 2, "y", OTHER)
    sql("update leads set lead_expires_at = now()")
    with cluster.connect(database) as holder:
        holder.autocommit = False
        holder.cursor().execute("select from leads where id = %s for update", (ours[0],))
        assert call(quiet, "ExpireLeads", workspace_id=NOBODY).expired == 0
        assert call(quiet, "ExpireLeads", workspace_id=PARTNER).expired == 2
        answer = call(quiet, "ExpireLeads")
        assert (answer.expired, answer.more) == (2, False)
        assert status_of(sql, ours[0]) == "pending" and {status_of(sql, lead) for lead in ours[1:] + theirs} == {"expired"}
        holder.rollback()
    assert call(quiet, "ExpireLeads").expired == 1
    assert refusal(quiet, "ExpireLeads", workspace_id="me") == (grpc.StatusCode.INVALID_ARGUMENT, "workspace_id: not a UUID")


def test_expiry_of_many_ends_in_time(quiet, sql):
    """What cannot be done before the caller's time is up is left for the next call, which is told of it."""
    sql(f"insert into leads (workspace_id, lead_expires_at) select '{PARTNER}', now() from generate_series(1, 3000)")
    sql("""create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.005); return new; end $$;
           create trigger slow before update on leads for each row execute function slow()""")
    answer = quiet.maintenance.ExpireLeads(maintenance_pb2.ExpireLeadsRequest(), timeout=10) # a step takes five
    assert answer.more and 0 < answer.expired < 3000
    sql("drop trigger slow on leads")
    assert call(quiet, "ExpireLeads").expired == 3000 - answer.expired


# --- The retry queue --------------------------------------------------------------------------------------------------------------------


def pages(server, size, **fields):
    """All pages, as lists of retries."""
    token, found = "", []
    while not found or token:
        answer = call(server, "ListRetries", page_size=size, page_token=token, **fields)
        assert len(answer.retries) <= (size or 100) and answer.HasField("now") == bool(answer.retries)
        token = answer.next_page_token
        assert not token or len(answer.retries) == size
        found.append(list(answer.retries))
    return found


def test_list_retries(quiet, sql):
    """In order of their time, those without one last, each once, whatever the size of a page."""
    ours = queue(quiet, sql, 7)
    theirs = create(quiet, 4, "y", OTHER, route=True)
    sql("update lead_routing_queue set next_retry_at = now() - n * interval '1 minute'"
        " from unnest(%s::uuid[]) with ordinality as u (lead, n) where lead_id = lead", (ours,))
    sql("update lead_routing_queue set next_retry_at = 'infinity', error_class = 'held' where lead_id = any (%s::uuid[])", (theirs[:3],))
    whole = [retry.lead_id for page in pages(quiet, 100) for retry in page]
    assert whole[:8] == ours[::-1] + theirs[3:] and sorted(whole[8:]) == sorted(theirs[:3])
    for size in (1, 2, 3, 7, 11, 1000):
        assert [retry.lead_id for page in pages(quiet, size) for retry in page] == whole, size
    assert [retry.lead_id for page in pages(quiet, 2, due_only=True) for retry in page] == ours[::-1]
    assert sorted(retry.lead_id for page in pages(quiet, 3, workspace_id=OTHER) for retry in page) == sorted(theirs)
    assert pages(quiet, 5, workspace_id=OTHER, due_only=True) == [[]]


def test_a_listed_retry(quiet, sql):
    lead, = queue(quiet, sql, 1)
    retry, = pages(quiet, 0)[0]
    assert (retry.lead_id, retry.source_workspace_id, retry.attempt, retry.max_attempts) == (lead, PARTNER, 1, 3)
    assert retry.is_due and retry.HasField("next_retry_at") and retry.HasField("created_at")
    assert retry.error_class == "unmatched" and retry.last_error
    sql("update lead_routing_queue set next_retry_at = 'infinity'")
    retry, = pages(quiet, 0)[0]
    assert not retry.is_due and not retry.HasField("next_retry_at")
    sql("update lead_routing_rules set priority = 5") # a new version
    assert pages(quiet, 0)[0][0].is_due


def test_pages_that_are_refused(quiet, sql):
    queue(quiet, sql, 3)
    token = call(quiet, "ListRetries", page_size=1, due_only=True).next_page_token
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    for size in (-1, 1001, 2**31 - 1):
        assert refusal(quiet, "ListRetries", page_size=size) == (wrong, "page_size: must be from 1 to 1000, or 0 for 100")
    for bad in ("x", "0", token[:-1], token + "0", token.upper() if token.upper() != token else "G" * len(token), "0" * len(token)):
        code, text = refusal(quiet, "ListRetries", page_token=bad, due_only=True)
        assert code == wrong and text.startswith("page_token: not one that was given for "), text
    for other in ({}, {"due_only": True, "workspace_id": PARTNER}):
        assert refusal(quiet, "ListRetries", page_token=token, **other) == (
            wrong, "page_token: not one that was given for this list and what it was asked for")
    assert refusal(quiet, "ListRetries", workspace_id="me") == (wrong, "workspace_id: not a UUID")
    assert len(call(quiet, "ListRetries", page_token=token, due_only=True).retries) == 2


def key(lead, workspace=PARTNER):
    return maintenance_pb2.LeadKey(lead_id=lead, source_workspace_id=workspace)


def test_cancel_retries(cluster, database, quiet, sql):
    """Each lead has its own result; who and why is in the log; only force brings a cancelled lead back."""
    actor = str(uuid.uuid4())
    first, second, held, strange = queue(quiet, sql, 4)
    with cluster.connect(database) as holder:
        holder.autocommit = False
        holder.cursor().execute("select from leads where id = %s for update", (held,))
        answer = call(quiet, "CancelRetries", user_id=actor, reason="test data", leads=[
            key(first), key(NOBODY), key(held), key(strange, OTHER), key(second), key(first)])
        holder.rollback()
    assert list(answer.results) == [CANCELLED, NOT_FOUND, BUSY, NOT_FOUND, CANCELLED, CANCELLED]
    assert [status_of(sql, lead) for lead in (first, second, held, strange)] == ["failed", "failed", "pending", "pending"]
    assert open_row(sql, first) is None
    assert sql("select error_message, actor_id::text, routing_metadata ->> 'error_class' from lead_routing_logs"
               " where lead_id = %s and routing_result = 'failed'", (first,)) == [("test data", actor, "cancelled")]
    assert list(call(quiet, "CancelRetries", leads=[key(first)]).results) == [NOT_FOUND], "there is nothing left to cancel"
    mend(sql)
    sql("update lead_routing_rules set priority = 5") # new rules bring back what waits, and nothing else
    process(quiet)
    assert [status_of(sql, lead) for lead in (first, second, held, strange)] == ["failed", "failed", "routed", "routed"]
    assert route(quiet, first).outcome == FAILED
    assert route(quiet, first, force=True).outcome == routing_pb2.ROUTING_OUTCOME_ROUTED


def test_cancels_that_are_refused(quiet, sql):
    lead, = queue(quiet, sql, 1)
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(quiet, "CancelRetries") == (wrong, "leads: must be from 1 to 1000")
    assert refusal(quiet, "CancelRetries", leads=[key(lead)] * 1001) == (wrong, "leads: must be from 1 to 1000")
    assert refusal(quiet, "CancelRetries", leads=[key(lead), key("x")]) == (wrong, "leads[1].lead_id: not a UUID")
    assert refusal(quiet, "CancelRetries", leads=[key(lead, "")]) == (wrong, "leads[0].source_workspace_id: missing")
    assert refusal(quiet, "CancelRetries", leads=[key(lead)], user_id="me") == (wrong, "user_id: not a UUID")
    assert refusal(quiet, "CancelRetries", leads=[key(lead)], reason="x" * 501) == (wrong, "reason: longer than 500 bytes")
    assert status_of(sql, lead) == "pending"
    assert list(call(quiet, "CancelRetries", leads=[key(lead)] * 1000, reason="x" * 500).results) == [CANCELLED] * 1000


# --- Settings ---------------------------------------------------------------------------------------------------------------------------


def test_a_server_with_everything_off_and_one_that_listens_nowhere(cluster, database, sql):
    """Behind a pooler nobody is notified: the queue is polled, and new rules are still felt. A listener's own URL may be given."""
    url = cluster.service_url(database)
    for flags in (["--unnamed-statements"], ["--unnamed-statements", "--listen-database", url], ["--retry-lanes", "1"]):
        with Server(url, *flags) as server:
            lead, = create(server, 1, "-".join(flags), route=True)
            sql("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
                f" values ('{PARTNER}', 'all', '{{}}', '{DESK}')")
            wait_until(lambda lead=lead: status_of(sql, lead) == "routed", f"new rules are not felt with {flags}")
            sql("delete from lead_routing_rules where rule_name = 'all'")
            assert server.stop() == 0
            server.check_log()


def test_a_listen_database_that_is_not_there(cluster, database, sql):
    """Notifications are a hint: without them the queue is polled."""
    with Server(cluster.service_url(database), "--listen-database", "host=/nonexistent user=x dbname=y") as server:
        lead, = queue(server, sql, 1)
        make_due(sql, [lead])
        wait_until(lambda: open_row(sql, lead)[0] >= 2, "the retry is not made")
        assert server.stop() == 0
