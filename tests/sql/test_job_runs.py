"""Goal: the rows of the background jobs let one server run a job at a time, give a dead server's run to another, and hold for all servers
what operators say."""
import datetime
import uuid

import psycopg2
import pytest

from support.product_cluster import PATIENCE_S

BEGIN = "select * from leadrouter.begin_job(p_name => %s, p_next_run_us => %s, p_grace_ms => %s, p_by_hand => %s)"
TOUCH = "select * from leadrouter.touch_job(p_name => %s, p_run_id => %s)"
END = ("select leadrouter.end_job(p_name => %s, p_run_id => %s, p_is_done => %s, p_detail => %s, p_error => %s, p_again_in_ms => %s)")
REGISTER = "select leadrouter.register_jobs(p_names => %s, p_next_run_us => %s::bigint[])"
NOTE = "select leadrouter.note_job_run(p_name => %s, p_duration_ms => %s, p_is_done => %s, p_detail => %s, p_error => %s)"
PAUSE = "select leadrouter.pause_job(p_name => %s, p_actor_id => %s, p_note => %s)"
RESUME = "select leadrouter.resume_job(p_name => %s)"
MINUTE_US = 60_000_000
GRACE_MS = 30_000


@pytest.fixture
def service(db):
    """The role that servers have: everything here works without any right on a table."""
    return db.service()


def now_us(db):
    return db.value("select leadrouter.to_us(now())")


def job(session, name="sweep"):
    """The row of the job, as a server reads it."""
    return next(row for row in session.rows("select * from leadrouter.list_jobs()") if row.name == name)


@pytest.fixture
def due(db, service):
    """A job whose time came a minute ago, and the time of its next run."""
    assert service.value(REGISTER, ["sweep"], [now_us(db) - MINUTE_US]) == 1
    return now_us(db) + 60 * MINUTE_US


def begin(session, next_run_us, by_hand=False, grace_ms=GRACE_MS, name="sweep"):
    return session.row(BEGIN, name, next_run_us, grace_ms, by_hand)


def age_run(db, seconds):
    """The run under way was last heard of that long ago."""
    db.execute("update leadrouter.scheduled_jobs set last_touched_at = now() - %s * interval '1 s'", seconds)


# --- register_jobs, list_jobs -----------------------------------------------------------------------------------------------


def test_register_adds_what_is_missing(db, service):
    assert service.value(REGISTER, ["b", "a"], [5, 6]) == 2
    assert service.value(REGISTER, ["c", "a"], [7, 8]) == 1
    assert [(row.name, row.next_run_us) for row in service.rows("select * from leadrouter.list_jobs()")] == [("a", 6), ("b", 5), ("c", 7)]
    assert service.value(REGISTER, [], []) == 0


def test_servers_register_at_once(db):
    """They name the same jobs in orders of their own; none waits for another crosswise."""
    names = [f"job {n}" for n in range(20)]
    sessions = [db.service() for _ in range(8)]
    futures = [db.in_background(session.value, REGISTER, names[n:] + names[:n], [0] * 20) for n, session in enumerate(sessions)]
    assert sum(future.result(PATIENCE_S) for future in futures) == 20


def test_list_of_a_job_that_never_ran(db, service, due):
    row = job(service)
    assert (row.is_paused, row.is_running, row.runs, row.failures, row.last_detail) == (False, False, 0, 0, "{}")
    assert {row.last_started_us, row.last_touched_us, row.last_ended_us, row.last_duration_ms, row.last_result, row.last_error,
            row.paused_us, row.paused_by, row.pause_note} == {None}
    assert abs(row.now_us - now_us(db)) < MINUTE_US


# --- begin_job --------------------------------------------------------------------------------------------------------------


def test_begin_and_end(db, service, due):
    begun = begin(service, due)
    assert (begun.begun, begun.is_paused, begun.is_running) == (True, False, False)
    row = job(service)
    assert (row.is_running, row.next_run_us, row.runs, row.last_result, row.last_ended_us) == (True, due, 1, None, None)
    assert row.last_started_us == row.last_touched_us == begun.now_us
    assert service.value(END, "sweep", begun.run_id, True, '{"removed": 3}', None, None) is True
    row = job(service)
    assert (row.is_running, row.last_result, row.last_detail, row.last_error, row.failures) == (False, "done", '{"removed": 3}', None, 0)
    assert row.next_run_us == due, "a run that is done comes again by its schedule"
    assert 0 <= row.last_ended_us - row.last_started_us <= 1000 * (row.last_duration_ms + 1)


def test_begin_only_when_due(db, service):
    later = now_us(db) + 60 * MINUTE_US
    service.value(REGISTER, ["sweep"], [later])
    answer = begin(service, later + 1)
    assert (answer.begun, answer.run_id, answer.is_running) == (False, None, False)
    assert (job(service).next_run_us, job(service).runs) == (later, 0)
    assert begin(service, later + 1, by_hand=True).begun, "by hand whenever somebody likes"
    assert job(service).next_run_us == later + 1


def test_a_clock_that_was_put_back(db, service):
    """The next run is later than the schedule ever says: the database's clock was wrong when it was written down."""
    later = now_us(db) + 60 * MINUTE_US
    service.value(REGISTER, ["sweep"], [later])
    assert not begin(service, later - MINUTE_US // 2).begun, "a server's idea of the schedule may be a little older"
    assert begin(service, later - 2 * MINUTE_US).begun
    assert job(service).next_run_us == later - 2 * MINUTE_US


def test_begin_by_hand_may_leave_the_schedule(db, service, due):
    assert begin(service, None, by_hand=True).begun
    assert job(service).next_run_us < now_us(db)


def test_begin_while_it_runs(db, service, due):
    first = begin(service, due)
    for by_hand in (False, True):
        answer = begin(db.service(), due, by_hand)
        assert (answer.begun, answer.run_id, answer.is_running) == (False, None, True)
    assert job(service).runs == 1
    assert service.value(END, "sweep", first.run_id, True, "{}", None, None)
    assert not begin(service, due).begun, "the run that was missed meanwhile is not made up for: this one was it"


def test_begin_of_a_paused_job(db, service, due):
    service.execute(PAUSE, "sweep", None, "")
    answer = begin(service, due)
    assert (answer.begun, answer.is_paused) == (False, True)
    assert begin(service, due, by_hand=True).begun


def test_one_of_many_begins(db, due):
    """All of them stand before the row when it becomes free."""
    gate = db.session()
    gate.begin()
    gate.execute("select from leadrouter.scheduled_jobs for update")
    sessions = [db.service() for _ in range(16)]
    futures = [db.in_background(begin, session, due + n) for n, session in enumerate(sessions)]
    for session in sessions:
        db.wait_until_blocked(session)
    gate.commit()
    answers = [future.result(PATIENCE_S) for future in futures]
    assert sum(answer.begun for answer in answers) == 1
    assert sum(answer.is_running for answer in answers) == 15
    winner = next(n for n, answer in enumerate(answers) if answer.begun)
    assert (job(db).runs, job(db).next_run_us) == (1, due + winner)


def test_one_of_many_takes_over(db, due):
    begin(db.service(), due)
    age_run(db, 31)
    futures = [db.in_background(begin, session, due, by_hand) for by_hand in (False, True) for session in [db.service() for _ in range(4)]]
    answers = [future.result(PATIENCE_S) for future in futures]
    assert sum(answer.begun for answer in answers) == 1
    assert job(db).runs == 2


def test_a_run_that_was_left(db, service, due):
    """It is taken over when its grace is over, though the schedule says later; until the new run ends, its result says what was."""
    left = begin(service, due)
    age_run(db, 15)
    assert not begin(db.service(), due).begun
    age_run(db, 31)
    again = begin(db.service(), due + 1)
    assert again.begun and again.run_id != left.run_id
    row = job(service)
    assert (row.last_result, row.is_running, row.runs, row.next_run_us) == ("interrupted", True, 2, due + 1)
    # The server that was thought dead comes back.
    answer = service.row(TOUCH, "sweep", left.run_id)
    assert (answer.is_mine, answer.is_paused) == (False, False)
    assert service.value(END, "sweep", left.run_id, False, "{}", "too late", 1) is False
    assert job(service)._replace(now_us=0) == row._replace(now_us=0)
    assert service.value(END, "sweep", again.run_id, True, "{}", None, None) is True
    assert job(service).last_result == "done"


def test_a_left_run_of_a_paused_job_stays(db, service, due):
    begin(service, due)
    service.execute(PAUSE, "sweep", None, "")
    age_run(db, 31)
    assert not begin(service, due).begun
    service.execute(RESUME, "sweep")
    assert begin(service, due).begun


def test_a_left_run_does_not_look_like_one_under_way(db, service, due):
    """Also of a job that nothing takes over: one that is paused, or that has no schedule."""
    left = begin(service, due, by_hand=True)
    service.execute(PAUSE, "sweep", None, "")
    age_run(db, 15)
    assert (job(service).is_running, job(service).is_left, job(service).last_result) == (True, False, None)
    age_run(db, 31)
    row = job(service)
    assert (row.is_running, row.is_left, row.last_result) == (False, True, "interrupted")
    assert service.row(TOUCH, "sweep", left.run_id).is_mine, "its server was only slow"
    assert (job(service).is_running, job(service).last_result) == (True, None)
    age_run(db, 31)
    assert begin(service, due, by_hand=True).begun


def test_touch_keeps_a_run(db, service, due):
    begun = begin(service, due)
    age_run(db, 31)
    answer = service.row(TOUCH, "sweep", begun.run_id)
    assert (answer.is_mine, answer.is_paused) == (True, False)
    assert not begin(db.service(), due).begun
    service.execute(PAUSE, "sweep", None, "")
    assert service.row(TOUCH, "sweep", begun.run_id).is_paused, "a run learns that it is to stop"


# --- end_job, note_job_run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again_in_ms, scheduled_in_us, comes_in_us", [
    (60_000, 60 * MINUTE_US, MINUTE_US), (3_600_000, MINUTE_US, MINUTE_US), (None, 60 * MINUTE_US, 60 * MINUTE_US)])
def test_a_failed_run_comes_again(db, service, due, again_in_ms, scheduled_in_us, comes_in_us):
    """After the back-off, unless the schedule is sooner."""
    run = begin(service, now_us(db) + scheduled_in_us)
    assert service.value(END, "sweep", run.run_id, False, None, "it broke", again_in_ms) is True
    row = job(service)
    assert (row.last_result, row.last_error, row.failures, row.last_detail) == ("failed", "it broke", 1, "{}")
    assert abs(row.next_run_us - (now_us(db) + comes_in_us)) < MINUTE_US / 4


def test_failures_are_counted_until_one_is_done(db, service, due):
    for failures in (1, 2, 3):
        run = begin(service, due, by_hand=True)
        service.execute(END, "sweep", run.run_id, False, "{}", "it broke", 1000)
        assert job(service).failures == failures
    run = begin(service, due, by_hand=True)
    assert job(service).last_error is None
    service.execute(END, "sweep", run.run_id, True, "{}", None, None)
    assert (job(service).failures, job(service).runs) == (0, 4)


def test_end_of_no_run(db, service, due):
    before = db.rows("select * from leadrouter.scheduled_jobs")
    assert service.value(END, "sweep", uuid.uuid4(), True, "{}", None, None) is False
    assert service.value(END, "sweep", None, True, "{}", None, None) is False
    assert service.value(END, "nothing", uuid.uuid4(), True, "{}", None, None) is False
    assert service.row(TOUCH, "sweep", None).is_mine is False
    assert service.row(TOUCH, "nothing", uuid.uuid4()).is_mine is False
    assert db.rows("select * from leadrouter.scheduled_jobs") == before


def test_an_ended_run_is_not_ended_twice(db, service, due):
    run = begin(service, due)
    assert service.value(END, "sweep", run.run_id, True, "{}", None, None) is True
    assert service.value(END, "sweep", run.run_id, False, "{}", "late", 1) is False
    assert (job(service).last_result, job(service).failures) == ("done", 0)


def test_note_of_a_job_that_all_servers_do(db, service, due):
    service.execute(NOTE, "sweep", 250, True, '{"routed": 5}', None)
    row = job(service)
    assert (row.is_running, row.last_result, row.last_detail, row.last_duration_ms, row.runs) == (False, "done", '{"routed": 5}', 250, 1)
    for failures in (1, 2):
        service.execute(NOTE, "sweep", 10, False, None, "it broke")
        assert (job(service).last_result, job(service).last_error, job(service).failures) == ("failed", "it broke", failures)
    service.execute(NOTE, "nothing", 10, True, None, None)
    assert len(db.rows("select from leadrouter.scheduled_jobs")) == 1


def test_a_note_leaves_a_run_by_hand_alone(db, service, due):
    """Retries are run by hand while servers go on with them: what the run says in the end is what it did. A run that was left is over."""
    run = begin(service, due, by_hand=True)
    before = job(service)
    service.execute(NOTE, "sweep", 10, True, '{"routed": 5}', None)
    assert job(service)._replace(now_us=0) == before._replace(now_us=0)
    assert service.value(END, "sweep", run.run_id, True, '{"routed": 7}', None, None)
    left = begin(service, due, by_hand=True)
    age_run(db, 31)
    service.execute(NOTE, "sweep", 10, True, '{"routed": 5}', None)
    assert (job(service).is_running, job(service).is_left, job(service).last_detail) == (False, False, '{"routed": 5}')
    assert service.value(END, "sweep", left.run_id, True, "{}", None, None) is False
    assert begin(service, due, by_hand=True).begun


# --- pause_job, resume_job --------------------------------------------------------------------------------------------------


def test_pause_and_resume(db, service, due):
    operator, another = uuid.uuid4(), uuid.uuid4()
    service.execute(PAUSE, "sweep", operator, "the disk is full")
    row = job(service)
    assert (row.is_paused, row.paused_by, row.pause_note) == (True, operator, "the disk is full")
    db.execute("update leadrouter.scheduled_jobs set paused_at = paused_at - interval '1 hour'")
    since = job(service).paused_us
    service.execute(PAUSE, "sweep", another, "")
    row = job(service)
    assert (row.is_paused, row.paused_by, row.pause_note, row.paused_us) == (True, another, None, since), "paused since the first time"
    next_run_us = row.next_run_us
    service.execute(RESUME, "sweep")
    row = job(service)
    assert (row.is_paused, row.paused_us, row.paused_by, row.pause_note, row.next_run_us) == (False, None, None, None, next_run_us)
    assert begin(service, due).begun, "what was missed is made up for by one run"
    service.execute(RESUME, "sweep")


def test_resume_wakes_who_listens(db, service, due):
    listener = db.session()
    listener.execute("listen leadrouter_rules")
    service.execute(RESUME, "sweep")
    listener.execute("select 1")
    assert [notice.channel for notice in listener.connection.notifies] == ["leadrouter_rules"]


def test_no_such_job(db, service, due):
    for statement, parameters in ((BEGIN, ("nothing", 0, GRACE_MS, True)), (PAUSE, ("nothing", None, "")), (RESUME, ("nothing",)),
                                  (BEGIN, (None, 0, GRACE_MS, False))):
        with pytest.raises(psycopg2.Error, match="no such job") as caught:
            service.execute(statement, *parameters)
        assert caught.value.pgcode == "LR404"


def test_results_are_three(db, due):
    """Done, failed, interrupted: what Health reads."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.execute("update leadrouter.scheduled_jobs set last_result = 'maybe'")


# --- The audit log's days ---------------------------------------------------------------------------------------------------


def test_days_of_the_log_that_could_not_be_dropped(own_db):
    """Somebody reads one: it is left, said to be left, and dropped at the next run."""
    service = own_db.service()
    assert service.value("select leadrouter.check_log_partitions(30)") == 0
    day = own_db.value("select (now() at time zone 'UTC')::date") - datetime.timedelta(days=40)
    name = f"leadrouter.lead_routing_logs_{day:%Y%m%d}"
    own_db.execute(f"create table {name} (like lead_routing_logs including defaults including constraints);"
                   f" alter table {name} owner to leadrouter_owner; alter table lead_routing_logs attach partition {name}"
                   f" for values from ('{day} 00:00+00') to ('{day + datetime.timedelta(days=1)} 00:00+00')")
    reader = own_db.session()
    reader.begin()
    reader.execute(f"select from {name}")
    assert service.value("select leadrouter.drop_log_partitions(30)") == 0
    with pytest.raises(psycopg2.Error, match="1 days of the audit log") as caught:
        service.execute("select leadrouter.check_log_partitions(30)")
    assert caught.value.pgcode == "LR423"
    assert service.value("select leadrouter.check_log_partitions(41)") == 0
    reader.rollback()
    assert service.value("select leadrouter.drop_log_partitions(30)") == 1
    assert service.value("select leadrouter.check_log_partitions(30)") == 0
