"""Goal: ProcessRetries decides what is due, says truly what came of it, and stays right whatever has befallen a lead since its last
attempt, however many callers and servers ask at once. Servers here do no background work, so that what happens is the call's doing."""
import concurrent.futures

import grpc
import pytest

from support.product_cluster import wait_until
from support.retries import (CALL_S, DESK, NOBODY, OTHER, PARTNER, RULE, counts, create, make_due, mend, open_row, process,
                             queue, route, status_of)
from support.server import Server
from support.stubs import maintenance_pb2, routing_pb2

pytestmark = pytest.mark.usefixtures("workspaces")

ROUTED = routing_pb2.ROUTING_OUTCOME_ROUTED
FAILED = routing_pb2.ROUTING_OUTCOME_FAILED


def refusal(call, *arguments, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **fields)
    return caught.value.code(), caught.value.details()


# --- What it does and says --------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_each_outcome_is_counted(quiet, sql):
    """One lead of each kind, all due: the answer has the sums, and the database the states."""
    fits, refused, last_try, expired, sold, copy = queue(quiet, sql, 6)
    sql("update lead_routing_queue set max_attempts = 2 where lead_id = %s", (last_try,))
    sql("update leads set lead_expires_at = now() - interval '1 second' where id = %s", (expired,))
    mend(sql, [fits, copy, sold])
    sql("update leads set email = 'same@example.com', first_name = null where id = any (%s::uuid[])", ([sold, copy],))
    assert route(quiet, sold, force=True).outcome == ROUTED
    answer = process(quiet)
    assert counts(answer) == {"processed": 5, "routed": 1, "duplicates": 1, "requeued": 1, "failed": 1, "expired": 1}, answer
    assert not answer.errors and not answer.more
    assert [status_of(sql, lead) for lead in (fits, refused, last_try, expired, sold, copy)] == [
        "routed", "pending", "failed", "expired", "routed", "routed"]
    assert open_row(sql, refused) == (2, 3, "unmatched", False)
    assert open_row(sql, fits) is None and open_row(sql, expired) is None
    assert counts(process(quiet)) == {}
    rates = quiet.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S).rates
    assert rates.decisions == 6 + 1 + 5 # the retries count as attempts of this server


def test_nothing_due(quiet, sql):
    create(quiet, 3, route=True) # their time has not come
    answer = process(quiet)
    assert counts(answer) == {} and not answer.more and not answer.errors


def test_limit_default_and_more(quiet, sql):
    queue(quiet, sql, 250)
    mend(sql)
    answer = process(quiet)
    assert counts(answer) == {"processed": 100, "routed": 100} and answer.more
    answer = process(quiet, 120)
    assert counts(answer) == {"processed": 120, "routed": 120} and answer.more
    answer = process(quiet, 10_000)
    assert counts(answer) == {"processed": 30, "routed": 30} and not answer.more
    assert counts(process(quiet, 1)) == {}


def test_the_limit_holds_however_rows_lie(quiet, sql):
    """A claim goes on where the last one ended, and then looks at what came due before that: both together are within the limit."""
    leads = queue(quiet, sql, 30)
    mend(sql)
    for number, lead in enumerate(leads):
        make_due(sql, [lead])
        sql("update lead_routing_queue set next_retry_at = next_retry_at - %s * interval '1 hour' where lead_id = %s", (number % 3, lead))
    sql("update lead_routing_queue set next_retry_at = now() + interval '1 hour' where lead_id = any (%s::uuid[])", (leads[1::3],))
    assert process(quiet, 5).processed == 5 # of the earliest: what lies behind is the bound
    sql("update lead_routing_queue set next_retry_at = now() - interval '9 hours' where lead_id = any (%s::uuid[])", (leads[1::3],))
    answer = process(quiet, 17)
    assert answer.processed == answer.routed == 17 and answer.more
    assert sql("select count(*) from leads where routing_status = 'routed'") == [(22,)]
    assert process(quiet, 17).processed == 8


@pytest.mark.parametrize("limit", [-1, 10_001, -2**31, 2**31 - 1])
def test_limits_that_are_refused(quiet, limit):
    code, text = refusal(process, quiet, limit)
    assert code == grpc.StatusCode.INVALID_ARGUMENT and text == "limit: must be from 1 to 10000, or 0 for 100"


def test_a_workspace_that_is_no_uuid(quiet):
    code, text = refusal(process, quiet, 1, "me")
    assert code == grpc.StatusCode.INVALID_ARGUMENT and text == "workspace_id: not a UUID"


def test_one_workspace(quiet, sql):
    ours = queue(quiet, sql, 3)
    theirs = queue(quiet, sql, 2, "y", OTHER)
    assert counts(process(quiet, 0, OTHER)) == {"processed": 2, "requeued": 2}
    assert {open_row(sql, lead)[0] for lead in ours} == {1} and {open_row(sql, lead)[0] for lead in theirs} == {2}
    assert counts(process(quiet, 0, NOBODY)) == {}
    assert counts(process(quiet, 0, PARTNER)) == {"processed": 3, "requeued": 3}


def test_new_rules_are_reason_enough(quiet, sql):
    """Neither waits for its time: a lead whose retry is an hour away, and one that had failed and starts afresh."""
    waiting, failed = create(quiet, 2, route=True, country="FR")
    sql("update lead_routing_queue set max_attempts = 1 where lead_id = %s", (failed,))
    assert route(quiet, failed, force=True).outcome == FAILED
    assert counts(process(quiet)) == {}
    sql("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
        f" values ('{PARTNER}', 'all', '{{}}', '{DESK}')")
    assert counts(process(quiet)) == {"processed": 2, "routed": 2}
    assert status_of(sql, waiting) == status_of(sql, failed) == "routed"
    assert sql("select routing_attempts from leads where id = %s", (failed,)) == [(1,)]


def test_paused_retries_are_processed_by_hand(quiet, sql):
    queue(quiet, sql, 2)
    sql("update leadrouter.scheduled_jobs set is_paused = true, paused_at = now() where name = 'retries'")
    assert counts(process(quiet)) == {"processed": 2, "requeued": 2}


def test_held_leads(quiet, sql):
    """Of a workspace that is inactive or routes only when asked: no attempt counts, and nothing brings them back but a change of it."""
    inactive, = queue(quiet, sql, 1)
    asked, = queue(quiet, sql, 1, "y", OTHER)
    sql(f"update workspaces set is_active = false where id = '{PARTNER}'")
    sql(f"update workspaces set routing_config = '{{\"auto_route\": false}}' where id = '{OTHER}'")
    assert counts(process(quiet)) == {"processed": 2, "held": 2}
    assert counts(process(quiet)) == {}
    assert open_row(sql, inactive) == (1, 3, "held", False) and open_row(sql, asked) == (1, 3, "held", False)
    health = quiet.routing.Health(routing_pb2.HealthRequest(workspace_id=OTHER), timeout=CALL_S)
    assert (health.held, health.retries_due, health.pending) == (1, 0, 1)
    sql(f"update workspaces set is_active = true where id = '{PARTNER}'")
    assert counts(process(quiet)) == {"processed": 1, "requeued": 1}
    assert route(quiet, asked, OTHER).outcome == routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY # asked for: an attempt
    assert open_row(sql, asked)[0] == 2


def test_its_time_ends_before_the_callers(quiet, sql):
    """A database that takes 10 ms for a lead and 600 of them: in three seconds the call does what it can, and says that there is more. On a
    machine that stands still for a moment its time may be over all the same: then it is asked for others."""
    sql("""create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.01); return new; end $$""")
    for place in range(5):
        queue(quiet, sql, 600, f"x{place}")
        mend(sql)
        before = sql("select count(*) from lead_routing_logs where routing_result = 'success'")[0][0]
        sql("create trigger slow before update on leads for each row execute function slow()")
        call = quiet.routing.ProcessRetries.future(routing_pb2.ProcessRetriesRequest(limit=10_000), timeout=3)
        code = call.code()
        sql("drop trigger slow on leads")
        if code == grpc.StatusCode.OK:
            break
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: process(quiet, 10_000).processed == 0, "they are not routed")
    answer = call.result()
    assert 0 < answer.processed < 600 and answer.processed == answer.routed and answer.more
    assert process(quiet, 10_000).processed == 600 - answer.processed
    assert sql("select count(*) from lead_routing_logs where routing_result = 'success'") == [(before + 600,)]


# --- What can befall a lead meanwhile ---------------------------------------------------------------------------------------------------


def test_a_lead_that_was_deleted(quiet, sql):
    gone, stays = queue(quiet, sql, 2)
    sql("delete from leads where id = %s", (gone,))
    answer = process(quiet)
    assert counts(answer) == {"processed": 1, "requeued": 1} and not answer.errors
    assert open_row(sql, gone) is None and open_row(sql, stays)[0] == 2


def test_a_lead_that_had_failed_and_was_deleted(quiet, sql):
    """Its row waits for a change of rules. When that comes there is nobody to decide about, and nothing stays due for ever."""
    gone, stays = create(quiet, 2, route=True)
    sql("update lead_routing_queue set next_retry_at = 'infinity'")
    sql("delete from leads where id = %s", (gone,))
    sql(f"update lead_routing_rules set priority = 1 where id = '{RULE}'")
    answer = process(quiet)
    assert counts(answer) == {"processed": 1, "requeued": 1} and not answer.errors
    assert open_row(sql, gone) is None and open_row(sql, stays)[0] == 2
    health = quiet.routing.Health(routing_pb2.HealthRequest(workspace_id=PARTNER), timeout=CALL_S)
    assert (health.retries_due, health.retry_queue_depth) == (0, 1)


def test_a_lead_that_expired(quiet, sql):
    lead, = queue(quiet, sql, 1)
    sql("update leads set lead_expires_at = now() where id = %s", (lead,))
    assert counts(process(quiet)) == {"processed": 1, "expired": 1}
    assert status_of(sql, lead) == "expired" and open_row(sql, lead) is None
    assert [row[0] for row in sql("select routing_result from lead_routing_logs where lead_id = %s order by created_at", (lead,))] == [
        "retry", "expired"]


def test_a_lead_that_was_routed_by_hand_meanwhile(quiet, sql):
    """By RouteLead with force, and by another program through the SQL functions."""
    forced, locked = queue(quiet, sql, 2)
    mend(sql, [forced])
    assert route(quiet, forced, force=True).outcome == ROUTED
    sql("select acquire_routing_lock(%s, %s)", (locked, NOBODY))
    assert counts(process(quiet)) == {}, "somebody holds it"
    sql(f"select complete_routing(%s, '{DESK}', null, %s)", (locked, NOBODY))
    assert counts(process(quiet)) == {}
    assert open_row(sql, forced) is None and open_row(sql, locked) is None
    assert sql("select count(*) from lead_routing_logs where routing_result = 'success'") == [(2,)]


def test_a_lead_whose_rule_vanished(quiet, sql):
    """The rule that would take it is deleted before the retry: it is refused again, not lost and not given away."""
    lead, = queue(quiet, sql, 1)
    mend(sql, [lead])
    sql(f"delete from lead_routing_rules where id = '{RULE}'")
    assert counts(process(quiet)) == {"processed": 1, "requeued": 1}
    assert status_of(sql, lead) == "pending" and open_row(sql, lead)[2] == "unmatched"


def test_a_lead_whose_destination_vanished(quiet, sql):
    """Deleted, or inactive: the rule is passed over."""
    lead, = queue(quiet, sql, 1)
    mend(sql, [lead])
    sql(f"update workspaces set is_active = false where id = '{DESK}'")
    assert counts(process(quiet)) == {"processed": 1, "requeued": 1}
    sql(f"delete from workspaces where id = '{DESK}'")
    make_due(sql)
    assert counts(process(quiet)) == {"processed": 1, "failed": 1}
    assert status_of(sql, lead) == "failed"


def test_a_row_with_attempts_beyond_its_maximum(quiet, sql):
    """As an older version, or a hand, may have left it: the next attempt is the last, and it ends."""
    lead, = queue(quiet, sql, 1)
    sql("set session_replication_role = replica; update leads set routing_attempts = 9 where id = %s", (lead,))
    sql("update lead_routing_queue set attempt_number = 9 where lead_id = %s", (lead,))
    assert counts(process(quiet)) == {"processed": 1, "failed": 1}
    assert status_of(sql, lead) == "failed" and not open_row(sql, lead)[3]
    assert counts(process(quiet)) == {}


def test_a_row_of_another_workspace(quiet, sql):
    """A queue row that names a workspace which the lead did not come in through decides nothing."""
    lead, = queue(quiet, sql, 1)
    sql("update lead_routing_queue set workspace_id = %s where lead_id = %s", (OTHER, lead))
    sql(f"insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
        f" values ('{OTHER}', 'all', '{{}}', '{OTHER}')")
    process(quiet)
    assert status_of(sql, lead) == "pending" and sql("select workspace_id::text from leads where id = %s", (lead,)) == [(PARTNER,)]


def test_leads_that_cannot_be_looked_at_stay_due(quiet, sql):
    """A constraint of the host breaks the transaction of one lead, and even the record of that: it is named once, the others go through."""
    bad, good = queue(quiet, sql, 2)
    mend(sql)
    sql(f"alter table leads add constraint broken check (id <> '{bad}' or routing_attempts < 2) not valid")
    for _ in range(2):
        answer = process(quiet, 50)
        assert answer.processed - len(answer.errors) == answer.routed == (1 if good else 0)
        assert [error.lead_id for error in answer.errors] == [bad] and answer.errors[0].error.startswith("could not be routed now")
        assert "broken" not in str(answer.errors), "what the database says may quote rows"
        assert open_row(sql, bad)[3] and not answer.more
        good = None
    sql("alter table leads drop constraint broken")
    assert counts(process(quiet)) == {"processed": 1, "routed": 1}


# --- Many at once -----------------------------------------------------------------------------------------------------------------------


def process_patiently(server, limit):
    """As a client that follows push-back does."""
    def ask():
        try:
            return process(server, limit)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert ("grpc-retry-pushback-ms", "100") in error.trailing_metadata()
            return None
    return wait_until(ask, "ProcessRetries is never let in")


def test_callers_on_two_servers_share_the_rows(cluster, database, quiet, sql):
    """Sixteen callers on two servers, 2,000 rows: each row is in one answer, and each lead is decided once."""
    queue(quiet, sql, 1000)
    queue(quiet, sql, 1000, "y")
    mend(sql)
    with Server(cluster.service_url(database), "--no-jobs") as second, concurrent.futures.ThreadPoolExecutor(16) as pool:
        def caller(number):
            server = (quiet, second)[number % 2]
            processed = 0
            while (answer := process_patiently(server, 50)).processed > 0 or answer.more:
                assert answer.processed == answer.routed and not answer.errors
                processed += answer.processed
            return processed
        shares = list(pool.map(caller, range(16)))
    assert sum(shares) == 2000
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs where routing_result = 'success'") == [(2000, 2000)]
    assert sql("select count(*) from lead_routing_queue where processed_at is null") == [(0,)]


def test_long_calls_do_not_stop_the_others(cluster, database, quiet, sql):
    """More ProcessRetries than the server has room for, each stuck at a lock in the database: RouteLead's neighbours still answer."""
    queue(quiet, sql, 10)
    with cluster.connect(database) as blocker, concurrent.futures.ThreadPoolExecutor(40) as pool:
        with blocker.cursor() as cursor:
            cursor.execute("begin; lock table lead_routing_queue in access exclusive mode")
            calls = [pool.submit(process, quiet) for _ in range(40)]
            refused = wait_until(lambda: [call for call in calls if call.done() and
                                          call.exception().code() == grpc.StatusCode.RESOURCE_EXHAUSTED], "no call was refused")
            assert len(refused) <= 40 - 18
            assert quiet.maintenance.ListJobs(maintenance_pb2.ListJobsRequest(), timeout=CALL_S).jobs
            cursor.execute("rollback")
        done = [call.result() for call in calls if call.exception() is None]
    assert sum(answer.processed for answer in done) == 10
