"""Goal: a workspace gets of a server what its limits say, whoever calls; who is refused is told which limit it was and when to come back; a
limit that is changed is felt soon, and no place is lost however calls end."""
import collections
import concurrent.futures
import json
import random
import threading
import time
import uuid
from contextlib import contextmanager

import grpc
import pytest

from support.admin import scrape, value
from support.product_cluster import wait_until
from support.server import Server
from support.stubs import (leads_pb2, routing_pb2, routing_pb2_grpc, rules_pb2, rules_pb2_grpc, workspaces_pb2,
                           workspaces_pb2_grpc)
from support.tokens import AUDIENCE, SERVICE, jwks, metadata, token

BUSY, QUIET, NONE = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 9))
MEMBER, STRANGER = uuid.UUID(int=21), uuid.UUID(int=22)
CALL_S = 30
FELT_S = 5 # within which a change of limits is felt: docs/operations.md


@pytest.fixture(autouse=True)
def workspaces(sql):
    sql(f"""insert into workspaces (id, name) values ('{BUSY}', 'Busy'), ('{QUIET}', 'Quiet');
            insert into user_workspaces (user_id, workspace_id, role) values ('{MEMBER}', '{BUSY}', 'admin')""")


@pytest.fixture
def limit(sql):
    """Sets the limits of a workspace."""
    return lambda workspace=BUSY, **limits: sql("update workspaces set routing_config = %s where id = %s",
                                                [json.dumps({"limits": limits}), workspace])


@contextmanager
def serving(cluster, database, *flags):
    with Server(cluster.service_url(database), "--no-jobs", *flags) as server:
        yield server
        server.check_log()


def route(workspace=BUSY, lead=None):
    return routing_pb2.RouteLeadRequest(lead_id=lead or str(uuid.uuid4()), source_workspace_id=workspace)


def new_leads(count=1, workspace=BUSY, **more):
    return leads_pb2.CreateLeadsRequest(workspace_id=workspace, **more,
                                        leads=[leads_pb2.NewLead(email=f"{uuid.uuid4()}@example.com") for _ in range(count)])


def calls(server, count, workspace=BUSY, who=None):
    """So many cheap calls at once; the errors of those that were not let in."""
    request = leads_pb2.GetLeadRequest(lead_id=NONE, workspace_id=workspace)
    futures = [server.leads.GetLead.future(request, timeout=CALL_S, metadata=metadata(who)) for _ in range(count)]
    errors = [future.exception(2 * CALL_S) for future in futures]
    return [error for error in errors if error.code() != grpc.StatusCode.NOT_FOUND]


def ask(server, workspace=BUSY, who=None):
    """One of them; the error, or None."""
    return next(iter(calls(server, 1, workspace, who)), None)


def pushback(error):
    """What a refusal says: after how many milliseconds to come back."""
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    return int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"])


def refusal(call, request, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=CALL_S, **options)
    return caught.value


def first_refusals(server, **where):
    """Once the limits have been felt: of more and more calls at once, so that a slow machine makes enough of them too."""
    counts = iter([1, 2, 4, 8, 16, 32])
    return wait_until(lambda: calls(server, next(counts, 64), **where), "no call is refused")


def wait_refused(server, **where):
    return first_refusals(server, **where)[0]


def refused_soon(call):
    """The refusal of a call that is let in now and then."""
    def tried():
        try:
            call()
        except grpc.RpcError as error:
            return error if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED else None
        return None
    return wait_until(tried, "no call is refused")


@contextmanager
def held(cluster, database, table="leads"):
    """Nobody reads or writes the table."""
    connection = cluster.connect(database)
    connection.autocommit = False
    connection.cursor().execute(f"lock table {table}")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def wait_felt_in_flight(cluster, database, server):
    """Until the limit of calls under way is felt: while none of them ends, one more call is refused. A server reads limits when the
    first call has come, in the background; that call, and those that come in the meantime, are let in. Whoever waits for the table is given
    up after two seconds: when that was first, it is tried again."""
    def is_felt():
        with held(cluster, database):
            under_way = []

            def has_ended():
                under_way.append(server.routing.RouteLead.future(route(), timeout=CALL_S))
                return any(future.done() for future in under_way)
            wait_until(has_ended, "no call ends", CALL_S / 2)
        codes = {future.exception(CALL_S).code() for future in under_way} # all places are free again
        return codes == {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.RESOURCE_EXHAUSTED}
    wait_until(is_felt, "the limit is not felt")


# --- How often ------------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_calls_per_second(server, limit):
    limit(calls_per_second=5, calls_burst=3)
    first = first_refusals(server)
    assert first[0].details() == "limits.calls_per_second: the workspace may make 5 calls a second here, 3 of them at once"
    assert 1 <= min(map(pushback, first)) <= 200
    assert ask(server, QUIET) is None # nobody else notices
    let_in, refused, begun = 0, 0, time.monotonic()
    while let_in < 12 and time.monotonic() < begun + CALL_S:
        error = ask(server)
        let_in += error is None
        refused += error is not None
    assert let_in == 12
    assert time.monotonic() - begun >= (12 - 3 - 1) / 5
    line = server.wait_for("limits.reached")
    assert line["workspace_id"] == BUSY and line["calls"] == 1 and "calls_per_second" in line["error"]
    assert len(server.events("limits.reached")) <= 2 + (time.monotonic() - begun) / 10 # a line in ten seconds, not one for each call
    server.stop()
    assert server.events("server.stopped")[0]["calls_over_limit"] == len(first) + refused


def test_who_comes_back_when_he_is_told_to_is_let_in(server, limit):
    """Also when many are refused at once: each is told another time."""
    limit(calls_per_second=50, calls_burst=3)
    wait_refused(server)

    def patient(_):
        for attempt in range(20):
            error = ask(server)
            if error is None:
                return attempt
            time.sleep(pushback(error) / 1000) # what a client does
        return 20
    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        attempts = list(threads.map(patient, range(20)))
    assert max(attempts) < 20 and sum(attempts) / 20 <= 4, attempts


def test_a_client_that_knows_of_push_back_hardly_notices(server, limit):
    limit(calls_per_second=20, calls_burst=3) # with a burst of one each that comes late takes another's turn
    wait_refused(server)
    policy = {"methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}
    channel = server.channel(**{"grpc.enable_retries": 1, "grpc.service_config": json.dumps(policy)})
    stub = routing_pb2_grpc.RoutingServiceStub(channel)
    futures = [stub.RouteLead.future(route(), timeout=CALL_S) for _ in range(10)]
    assert {future.exception(CALL_S).code() for future in futures} == {grpc.StatusCode.NOT_FOUND}


def hammer(stub, seconds, in_flight=64):
    """Calls again as soon as there is an answer; answers by code."""
    answers, until = collections.Counter(), time.monotonic() + seconds
    room = threading.Semaphore(in_flight)

    def answered(future):
        try:
            future.result()
        except grpc.RpcError as error:
            answers[error.code().name] += 1
        except grpc.FutureCancelledError:
            answers["CANCELLED"] += 1
        room.release()
    while time.monotonic() < until:
        if room.acquire(timeout=0.1):
            stub.RouteLead.future(route(), timeout=CALL_S).add_done_callback(answered)
    for _ in range(in_flight):
        assert room.acquire(timeout=CALL_S)
    return answers


@pytest.mark.asan
def test_who_does_not_wait_is_made_to(cluster, database, limit):
    """A client that calls again at once, instead of when it is told to: it gets what its limit says, and is refused two hundred times a
    second instead of many thousand times."""
    limit(calls_per_second=30, calls_burst=10)
    with serving(cluster, database, "--admin-listen", "127.0.0.1:0") as server:
        wait_refused(server)
        begun = time.monotonic()
        answers = hammer(server.routing, 3)
        seconds = time.monotonic() - begun
        assert ask(server, QUIET) is None
        samples = scrape(server)
    assert set(answers) == {"NOT_FOUND", "RESOURCE_EXHAUSTED"}
    assert 30 <= answers["NOT_FOUND"] <= 30 * seconds + 10 + 10
    assert answers["RESOURCE_EXHAUSTED"] <= 200 + 200 * seconds + 1 # that many at once, and then so many a second
    assert 0 < value(samples, "leadrouter_rpc_refused_late_total") <= value(samples, "leadrouter_rpc_over_limit_total")
    assert value(samples, "leadrouter_rpc_refusals_waiting") == 0


def test_a_server_ends_while_calls_wait_to_be_refused(cluster, database, limit):
    limit(calls_in_flight=1)
    with serving(cluster, database) as server:
        wait_felt_in_flight(cluster, database, server)
        with held(cluster, database):
            futures = [server.routing.RouteLead.future(route(), timeout=CALL_S) for _ in range(900)]
            for future in futures[::7]:
                future.cancel()
            wait_until(lambda: sum(future.done() for future in futures) >= 400, "no call is refused")
        assert server.stop() == 0
        codes = collections.Counter(future.code().name for future in futures if not future.cancelled())
        assert codes["RESOURCE_EXHAUSTED"] > 200, codes # those that had not come are told UNAVAILABLE
        assert set(codes) <= {"RESOURCE_EXHAUSTED", "UNAVAILABLE", "NOT_FOUND", "CANCELLED"}, codes


def test_every_call_with_a_workspace_counts(server, limit):
    limit(calls_per_second=1, calls_burst=1)
    wait_refused(server)
    rules = rules_pb2_grpc.RuleServiceStub(server.channel())
    for call, request in ((server.routing.RouteLead, route()), (server.leads.CreateLeads, new_leads()),
                          (server.routing.Health, routing_pb2.HealthRequest(workspace_id=BUSY)),
                          (server.routing.ProcessRetries, routing_pb2.ProcessRetriesRequest(workspace_id=BUSY)),
                          (rules.ListRules, rules_pb2.ListRulesRequest(workspace_id=BUSY))):
        assert 1 <= pushback(refused_soon(lambda: call(request, timeout=CALL_S))) <= 2000
    server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S) # of no workspace


def test_a_change_is_felt_soon(server, limit):
    """Each follows right after limits were read: what it takes is the whole time between two readings. A machine that stands still for a
    moment delays one of them, and not all."""
    took = []
    while not took or min(took) > FELT_S and len(took) < 5:
        limit(calls_per_second=1, calls_burst=1)
        wait_refused(server)
        begun = time.monotonic()
        limit()
        wait_until(lambda: not calls(server, 8), "a limit that was taken away goes on")
        for _ in range(50): # in use all the time, so that nothing is read for the first time
            assert ask(server) is None
        limit(calls_per_second=1, calls_burst=1)
        wait_refused(server)
        took.append((time.monotonic() - begun) / 2)
    assert min(took) <= FELT_S, took


def test_a_server_may_say_what_holds_where_a_workspace_says_nothing(cluster, database, limit):
    flags = ("--workspace-calls-per-second", "1", "--workspace-calls-burst", "2", "--workspace-calls-in-flight", "7")
    with serving(cluster, database, *flags) as server:
        assert ask(server) is None and ask(server) is None
        assert "1 calls a second here, 2 of them" in wait_refused(server).details()
        assert ask(server, NONE) is None and ask(server, NONE) is None # nor one that does not exist
        assert pushback(wait_refused(server, workspace=NONE)) > 0
        limit(calls_per_second=1000)
        wait_until(lambda: not calls(server, 8), "the workspace's own limit does not hold")


def test_while_the_database_is_away_the_limits_stay(cluster, database, limit, sql):
    """A server that cannot read limits goes by those it has read, and says once that it cannot."""
    limit(calls_per_second=2, calls_burst=1)
    with serving(cluster, database) as server:
        wait_refused(server)
        sql("alter function leadrouter.workspace_limits(uuid[]) rename to workspace_limits_away")
        wait_until(lambda: wait_refused(server) and server.events("limits.failed"), "nobody says that limits cannot be read")
        begun = time.monotonic()
        while time.monotonic() < begun + 2: # four times as long as until the next reading fails
            wait_refused(server)
        assert len(server.events("limits.failed")) == 1
        sql("alter function leadrouter.workspace_limits_away(uuid[]) rename to workspace_limits")
        limit()
        wait_until(lambda: not calls(server, 8), "the limits are not read again")


@pytest.mark.asan
def test_limits_over_grpc(cluster, database, tmp_path):
    """Services set them, and are told what is wrong with them; those who administer a workspace do not set its own."""
    service, admin = metadata(token(uuid.uuid4(), SERVICE)), metadata(token(MEMBER))
    with guarded(cluster, database, tmp_path) as server:
        stub = workspaces_pb2_grpc.WorkspaceServiceStub(server.channel())

        def update(policy, **more):
            workspace = workspaces_pb2.Workspace(id=BUSY, name="Busy", is_active=True, policy_json=json.dumps(policy))
            workspace.type = workspaces_pb2.WORKSPACE_TYPE_STANDARD
            return stub.UpdateWorkspace(workspaces_pb2.UpdateWorkspaceRequest(workspace_id=BUSY, workspace=workspace),
                                        timeout=CALL_S, **more)
        with pytest.raises(grpc.RpcError) as caught:
            update({"limits": {"calls_per_second": 0}}, metadata=service)
        assert caught.value.details() == \
            "workspace.policy_json: $.limits.calls_per_second: must be a whole number from 1 to 1000000"
        update({"limits": {"calls_per_second": 2, "calls_burst": 1}}, metadata=service)
        wait_refused(server, who=token(uuid.uuid4(), SERVICE))

        def tried():
            try:
                update({"limits": {"calls_per_second": 1000}}, metadata=admin)
            except grpc.RpcError as error:
                return error if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED else None
        error = wait_until(tried, "no call of the administrator is let in")
        assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED,
                                                   "workspace.policy_json: $.limits: only services change limits")


# --- How many at once -----------------------------------------------------------------------------------------------------------


def test_calls_in_flight(cluster, database, limit):
    limit(calls_in_flight=3)
    with serving(cluster, database) as server:
        wait_felt_in_flight(cluster, database, server)

        def let_in():
            """The names of those that were let in, of ten calls at once."""
            with held(cluster, database):
                under_way = [server.routing.RouteLead.future(route(), timeout=CALL_S) for _ in range(10)]
                wait_until(lambda: sum(f.done() for f in under_way) >= 7, "more than the limit are under way", CALL_S / 2)
                assert not server.leads.CreateLeads.future(new_leads(workspace=QUIET), timeout=CALL_S).done()
            errors = [f.exception(CALL_S) for f in under_way]
            for error in errors:
                if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
                    assert error.details() == "limits.calls_in_flight: the workspace may have 3 calls under way here"
                    assert pushback(error) > 0
            return [error.code().name for error in errors if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED]
        # Who has waited for two seconds is given up, and leaves a place to those that come later still.
        wait_until(lambda: let_in() == ["NOT_FOUND"] * 3, "another number than the limit is under way")
        for _ in range(5):
            assert ask(server) is None


@pytest.mark.asan
def test_no_place_is_lost(cluster, database, limit):
    """Calls that end in every way, thousands of them: by an answer, an error, a deadline, a client that takes them back, or one
    that goes away. Afterwards exactly as many may be under way as before."""
    places = 4
    limit(calls_in_flight=places)
    chance = random.Random(5)
    with serving(cluster, database) as server:
        wait_felt_in_flight(cluster, database, server)
        leads = [result.lead_id for result in server.leads.CreateLeads(new_leads(50), timeout=CALL_S).results]
        requests = [lambda: (server.routing.RouteLead, route(lead=chance.choice(leads))), lambda: (server.routing.RouteLead, route()),
                    lambda: (server.routing.RouteLead, route(lead="x")), lambda: (server.leads.CreateLeads, new_leads()),
                    lambda: (server.leads.CreateLeads, new_leads(0)),
                    lambda: (server.routing.Health, routing_pb2.HealthRequest(workspace_id=BUSY)),
                    lambda: (server.leads.GetLead, leads_pb2.GetLeadRequest(lead_id=leads[0], workspace_id=BUSY))]
        for round_number in range(30):
            channel = server.channel()
            stub = routing_pb2_grpc.RoutingServiceStub(channel)
            futures = []
            for _ in range(40):
                call, request = chance.choice(requests)()
                futures.append(call.future(request, timeout=chance.choice((0.001, 0.005, CALL_S))))
                gone = stub.RouteLead.future(route(), timeout=CALL_S)
                for future in (futures[-1], gone):
                    if chance.random() < 0.3:
                        future.cancel()
            channel.close()
            for future in futures:
                try:
                    future.exception(CALL_S)
                except grpc.FutureCancelledError:
                    pass
        with held(cluster, database):
            def fill():
                futures = [server.routing.RouteLead.future(route(), timeout=2) for _ in range(places + 6)]
                wait_until(lambda: sum(f.done() for f in futures) >= 6, "places are left over")
                left = sum(not f.done() for f in futures)
                for future in futures:
                    future.exception(CALL_S)
                return left == places
            wait_until(fill, "a place was lost")


# --- Streams --------------------------------------------------------------------------------------------------------------------


def stream(server, requests, workspace=BUSY):
    """Routes over one stream; answers by index."""
    messages = [routing_pb2.RouteLeadsRequest(index=i, lead=request) for i, request in enumerate(requests)]
    return {answer.index: answer for answer in server.routing.RouteLeads(iter(messages), timeout=CALL_S)}


def test_each_lead_of_a_stream_is_a_call(server, limit):
    limit(calls_per_second=10, calls_burst=5)
    wait_refused(server)
    time.sleep(0.5) # five tenths of a second are five calls
    begun = time.monotonic()
    answers = stream(server, [route() for _ in range(40)] + [route(QUIET) for _ in range(40)])
    codes = [answers[i].code for i in range(80)]
    exhausted, not_found = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], grpc.StatusCode.NOT_FOUND.value[0]
    assert 4 <= codes[:40].count(not_found) <= 5 + 10 * (time.monotonic() - begun) and set(codes) == {exhausted, not_found}
    assert set(codes[40:]) == {not_found} # another workspace on the same stream
    refused = [answers[i] for i in range(40) if answers[i].code == exhausted]
    assert all("calls_per_second" in answer.message and 1 <= answer.retry_after_ms <= 1000 for answer in refused)
    assert all(answers[i].retry_after_ms == 0 for i in range(80) if answers[i].code != exhausted)
    assert len({answer.retry_after_ms for answer in refused}) > 3 # one after the other


def test_leads_of_a_stream_that_are_under_way(cluster, database, limit):
    limit(calls_in_flight=3)
    with serving(cluster, database) as server:
        wait_felt_in_flight(cluster, database, server)
        for _ in range(3): # each stream gives its places back, also when it is broken off
            with held(cluster, database):
                broken = server.routing.RouteLeads(iter([routing_pb2.RouteLeadsRequest(index=i, lead=route()) for i in range(10)]))
                refused = [next(broken) for _ in range(7)]
                assert {answer.code for answer in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]}
                assert refused[0].retry_after_ms > 0
                broken.cancel()
            wait_until(lambda: ask(server) is None, "no place comes back")
            wait_until(lambda: {answer.code for answer in stream(server, [route() for _ in range(3)]).values()} ==
                       {grpc.StatusCode.NOT_FOUND.value[0]}, "places were lost")


# --- Imports --------------------------------------------------------------------------------------------------------------------


def import_messages(batches, size=1, workspace=BUSY, route=True):
    """The messages of an import: that many batches of so many rows each."""
    yield leads_pb2.ImportLeadsRequest(start=leads_pb2.ImportStart(workspace_id=workspace, route=route))
    for first in range(1, batches * size + 1, size):
        rows = [leads_pb2.ImportRow(number=n, lead=leads_pb2.NewLead(email=f"{uuid.uuid4()}@example.com"))
                for n in range(first, first + size)]
        yield leads_pb2.ImportLeadsRequest(rows=leads_pb2.ImportRows(rows=rows))
    yield leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())


def imported(server, messages, **options):
    """The import as it ended."""
    return getattr(list(server.leads.ImportLeads(messages, timeout=CALL_S, **options))[-1], "import")


class OpenImport:
    """An import that has begun and stays open."""

    def __init__(self, server, **options):
        self.is_over = threading.Event()

        def messages():
            yield next(import_messages(0))
            self.is_over.wait(CALL_S)
        self.call = server.leads.ImportLeads(messages(), timeout=CALL_S, **options)
        assert next(self.call).HasField("started")

    def close(self):
        self.call.cancel()
        self.is_over.set()


def import_refusal(server, messages, **options):
    with pytest.raises(grpc.RpcError) as caught:
        list(server.leads.ImportLeads(messages, timeout=CALL_S, **options))
    return caught.value


def test_an_import_is_a_call(server, limit):
    limit(calls_per_second=1, calls_burst=1)
    wait_refused(server)
    error = refused_soon(lambda: imported(server, import_messages(0)))
    assert "limits.calls_per_second: the workspace may make 1 calls a second" in error.details() and 1 <= pushback(error) <= 2000
    assert imported(server, import_messages(1, workspace=QUIET)).created == 1 # nobody else notices


def test_a_batch_of_an_import_is_a_call(server, limit, sql):
    """More of them than may come are slowed down, not refused: who sends is held back, and all rows get in."""
    limit(calls_per_second=10, calls_burst=2)
    wait_refused(server)
    time.sleep(1) # the bucket is full again
    begun = time.monotonic()
    assert imported(server, import_messages(30, size=2)).created == 60
    assert time.monotonic() - begun >= (31 - 2) / 10 - 0.1
    assert sql("select count(*) from leads where routing_status = 'pending' and routing_attempts = 0") == [(0,)]


def test_an_import_that_is_open_is_under_way(cluster, database, limit):
    limit(calls_in_flight=1)
    with serving(cluster, database) as server:
        wait_felt_in_flight(cluster, database, server)
        for _ in range(3): # each gives its place back, broken off or not
            wait_until(lambda: ask(server) is None, "no place comes back")
            one = OpenImport(server)
            error = import_refusal(server, import_messages(1))
            assert error.details() == "limits.calls_in_flight: the workspace may have 1 calls under way here" and pushback(error) > 0
            assert pushback(ask(server)) > 0
            one.close()
        wait_until(lambda: ask(server) is None, "no place comes back")
        assert imported(server, import_messages(3)).created == 3
        assert ask(server) is None


def test_rows_of_a_batch(server, limit, sql):
    limit(leads_per_request=2)
    error = import_refusal(server, import_messages(1, size=3))
    assert error.details() == "limits.leads_per_request: the workspace may send 2 leads in a request" and pushback(error) == -1
    assert sql("select count(*) from leads") == [(0,)]
    assert imported(server, import_messages(3, size=2)).created == 6


def test_a_persons_import_counts_for_the_workspace(cluster, database, tmp_path, limit):
    """From its first batch on, though nothing of theirs had succeeded before; strangers' imports count for themselves."""
    limit(calls_per_second=2, calls_burst=2)
    member, stranger, service = (metadata(token(who, *role)) for who, *role in ((MEMBER,), (STRANGER,), (uuid.uuid4(), SERVICE)))
    with guarded(cluster, database, tmp_path) as server:
        wait_refused(server, who=token(uuid.uuid4(), SERVICE))
        time.sleep(1) # the bucket is full again
        for _ in range(20):
            assert import_refusal(server, import_messages(1), metadata=stranger).code() == grpc.StatusCode.PERMISSION_DENIED
        assert imported(server, import_messages(1), metadata=service).created == 1
        begun = time.monotonic()
        assert imported(server, import_messages(6), metadata=member).created == 6
        assert time.monotonic() - begun >= (6 - 2) / 2 - 0.1


# --- How much -------------------------------------------------------------------------------------------------------------------


def test_leads_of_a_request(server, limit, sql):
    limit(leads_per_request=2)
    error = refusal(server.leads.CreateLeads, new_leads(3)) # at once: it is looked up where they are written
    assert error.details() == "limits.leads_per_request: the workspace may send 2 leads in a request" and pushback(error) == -1
    assert sql("select count(*) from leads") == [(0,)]
    assert server.leads.CreateLeads(new_leads(2), timeout=CALL_S).created == 2
    assert server.leads.CreateLeads(new_leads(3, QUIET), timeout=CALL_S).created == 3


def new_rule(workspace=BUSY):
    rule = rules_pb2.Rule(name=str(uuid.uuid4()), conditions_json="{}", destination_workspace_id=QUIET, is_active=True)
    return rules_pb2.CreateRuleRequest(workspace_id=workspace, rule=rule)


def test_rules(server, limit, sql):
    """Also by many who make one at the same time."""
    limit(rules=5)
    stub = rules_pb2_grpc.RuleServiceStub(server.channel())

    def make(_):
        try:
            stub.CreateRule(new_rule(), timeout=CALL_S)
            return None
        except grpc.RpcError as error:
            return error
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        errors = [error for error in threads.map(make, range(12)) if error]
    assert sql("select count(*) from lead_routing_rules") == [(5,)] and len(errors) == 7
    assert {error.details() for error in errors} == {"limits.rules: the workspace may have 5 rules"}
    assert {pushback(error) for error in errors} == {-1}
    many = rules_pb2.ApplyRulesRequest(workspace_id=BUSY, rules=[new_rule().rule for _ in range(6)])
    assert pushback(refusal(stub.ApplyRules, many)) == -1
    del many.rules[5]
    stub.ApplyRules(many, timeout=CALL_S) # five others instead
    assert sql("select count(*) from lead_routing_rules") == [(5,)]


def test_a_server_may_bound_rules(cluster, database, limit):
    with serving(cluster, database, "--workspace-rules", "1") as server:
        stub = rules_pb2_grpc.RuleServiceStub(server.channel())
        stub.CreateRule(new_rule(), timeout=CALL_S)
        assert refusal(stub.CreateRule, new_rule()).details() == "limits.rules: the workspace may have 1 rules"
        limit(rules=2)
        stub.CreateRule(new_rule(), timeout=CALL_S)


# --- People ---------------------------------------------------------------------------------------------------------------------


@contextmanager
def guarded(cluster, database, tmp_path, *flags):
    keys = jwks(tmp_path / "keys.json")
    with serving(cluster, database, "--token-keys", str(keys), "--token-audience", AUDIENCE, *flags) as server:
        yield server


def test_people_and_services_share_the_limits_of_a_workspace(cluster, database, tmp_path, limit):
    limit(calls_per_second=2, calls_burst=1)
    person, service = token(MEMBER), token(uuid.uuid4(), SERVICE)
    with guarded(cluster, database, tmp_path) as server:
        # By the first that succeeds the person is known as a member.
        server.routing.Health(routing_pb2.HealthRequest(workspace_id=BUSY), timeout=CALL_S, metadata=metadata(person))
        wait_refused(server, who=service)
        wait_until(lambda: ask(server, who=service), "no call of a service is refused")
        error = wait_until(lambda: ask(server, who=person), "no call of a person is refused")
        assert "the workspace may make 2 calls" in error.details()


@pytest.mark.asan
def test_strangers_take_nothing_from_a_workspace_and_learn_nothing(cluster, database, tmp_path, limit):
    """Whoever is no member is told the same of a workspace that is there and of one that is not, by limits too."""
    limit(calls_per_second=5, calls_burst=5)
    service = token(uuid.uuid4(), SERVICE)
    with guarded(cluster, database, tmp_path) as server:
        wait_refused(server, who=service)
        time.sleep(1) # the bucket is full again
        for _ in range(200):
            assert ask(server, who=token(STRANGER)).code() == grpc.StatusCode.PERMISSION_DENIED
        assert [ask(server, who=service) for _ in range(5)] == [None] * 5
    with guarded(cluster, database, tmp_path, "--workspace-calls-per-second", "1", "--workspace-calls-burst", "3") as server:
        seen = set()
        for workspace, user in ((BUSY, token(uuid.uuid4())), (NONE, token(uuid.uuid4()))):
            first = [ask(server, workspace, user) for _ in range(3)] # the burst
            last = wait_until(lambda: (error := ask(server, workspace, user)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED and error,
                              "no call is refused")
            seen.add(tuple((error.code().name, error.details()) for error in (*first, last)))
        assert len(seen) == 1 and [code for code, _ in seen.pop()] == ["PERMISSION_DENIED"] * 3 + ["RESOURCE_EXHAUSTED"]
