"""Goal: the rows of an import are in once each, whoever is killed or comes twice, in their order, with one result each; a row that is wrong
stops no other; what is said of an import is what is there."""
import collections
import concurrent.futures
import json
import os
import pathlib
import queue
import random
import threading
import uuid

import grpc
import pytest

from support.product_cluster import execute, wait_until
from support.server import Server
from support.stubs import leads_pb2, routing_pb2
from support.tokens import AUDIENCE, SERVICE, jwks, metadata, token

pytestmark = pytest.mark.asan
PARTNER, DESK, THIRD, NOBODY = (f"00000000-0000-4000-8000-0000000000{n}" for n in ("01", "02", "03", "ff"))
DEADLINE_S = 60
LONG = "LEADROUTER_LONG" in os.environ
CREATED, UPDATED, EXISTING, DUPLICATE_ROW, REJECTED = range(1, 6)

ROWS = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard'),
    ('{THIRD}', 'Third', 'partner');
insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name, conditions)
values ('{PARTNER}', '{DESK}', 'Germany', '{{"countries": ["DE"]}}');
"""


@pytest.fixture(autouse=True)
def workspaces(sql):
    sql(ROWS)


def lead(n, **fields):
    return leads_pb2.NewLead(**{"external_id": f"x{n}", "email": f"p{n}@example.com", "country": "DE", **fields})


def row(n, lead=None, **fields):
    return leads_pb2.ImportRow(number=n, lead=lead, **fields)


def start(**fields):
    return leads_pb2.ImportLeadsRequest(start=leads_pb2.ImportStart(**{"workspace_id": PARTNER, "source": "file.csv", **fields}))


def rows(*some, end_offset=0):
    return leads_pb2.ImportLeadsRequest(rows=leads_pb2.ImportRows(rows=some, end_offset=end_offset))


END = leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())


class Import:
    """A stream that is written to step by step."""

    def __init__(self, server, metadata=None, **fields):
        self.outgoing = queue.Queue()
        self.call = server.leads.ImportLeads(iter(self.outgoing.get, None), timeout=DEADLINE_S, metadata=metadata)
        self.send(start(**fields))
        self.started = self.read().started

    def send(self, message):
        self.outgoing.put(message)

    def read(self):
        return next(self.call)

    def rows(self, *some, **fields):
        self.send(rows(*some, **fields))
        return list(self.read().results.results)

    def end(self):
        self.send(END)
        ended = self.read()
        self.outgoing.put(None)
        assert ended.WhichOneof("part") == "import" and list(self.call) == []
        return getattr(ended, "import")

    def break_off(self):
        self.call.cancel()
        self.outgoing.put(None)


def all_at_once(server, some, size=1000, **fields):
    """Started, results by number, and the import as it ended."""
    messages = [start(**fields)] + [rows(*some[i:i + size]) for i in range(0, len(some), size)] + [END]
    answers = list(server.leads.ImportLeads(iter(messages), timeout=DEADLINE_S))
    assert [one.WhichOneof("part") for one in answers] == ["started"] + ["results"] * (len(messages) - 2) + ["import"]
    return answers[0].started, [one for answer in answers[1:-1] for one in answer.results.results], getattr(answers[-1], "import")


def refused(server, *messages):
    with pytest.raises(grpc.RpcError) as caught:
        list(server.leads.ImportLeads(iter(messages), timeout=DEADLINE_S))
    return caught.value.code().name, caught.value.details()


@pytest.fixture(scope="module")
def vectors():
    return json.loads((pathlib.Path(__file__).resolve().parents[1] / "vectors/dedupe.json").read_text(encoding="utf-8"))["identities"]


# --- What becomes of rows -----------------------------------------------------------------------------------------------------


def test_identities_are_those_of_any_other_writer(server, sql, vectors):
    """The server hands the hash in instead of the table's trigger: it is the one of the vectors, and of the database's function."""
    fields = ("email", "phone", "company_name", "first_name", "last_name")
    some = [row(n, leads_pb2.NewLead(external_id=f"v{n}", **{field: vector[field] or "" for field in fields}))
            for n, vector in enumerate(vectors, 1)]
    _, results, _ = all_at_once(server, some)
    taken = {result.number for result in results if result.result == CREATED}
    assert len(taken) >= 0.9 * len(vectors), "the rest is longer than a lead may be"
    rows = sql("select external_id, dedupe_hash, generate_dedupe_hash(email, phone, company_name, first_name, last_name) from leads")
    assert {(name, hash) for name, hash, _ in rows} == {(f"v{n}", vectors[n - 1]["hash"]) for n in taken}
    assert all(given == computed for _, given, computed in rows)


def test_each_kind_of_row(server, sql):
    server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[
        leads_pb2.NewLead(external_id="old", email="old@example.com"), lead("same")]), timeout=DEADLINE_S)
    _, results, ended = all_at_once(server, [
        row(1, lead(1)), row(2, lead(1, first_name="later")), row(3, lead("same")),
        row(5, leads_pb2.NewLead(external_id="old", email="new@example.com", city="Bonn", attributes_json='{"a": 1}')),
        row(6, lead(6, email="x" * 1001)), row(7, rejection={"field": "email", "reason": "not an address"}), row(8),
        row(9, lead(9, attributes_json="[]")), row(10, leads_pb2.NewLead(email="no-id@example.com")),
        row(11, leads_pb2.NewLead(email="no-id@example.com"))])
    assert [(one.number, one.result) for one in results] == [
        (1, CREATED), (2, DUPLICATE_ROW), (3, EXISTING), (5, UPDATED), (6, REJECTED), (7, REJECTED), (8, REJECTED), (9, REJECTED),
        (10, CREATED), (11, DUPLICATE_ROW)]
    assert results[0].lead_id == results[1].lead_id and results[8].lead_id == results[9].lead_id
    assert [(one.rejection.field, one.rejection.reason) for one in results if one.result == REJECTED] == [
        ("email", "longer than 1000 bytes"), ("email", "not an address"), ("", "no lead"), ("attributes_json", "must be a JSON object")]
    assert (ended.processed_rows, ended.created, ended.duplicate_rows, ended.existing, ended.updated, ended.rejected) == (10, 2, 2, 1, 1, 4)
    assert ended.state == leads_pb2.IMPORT_STATE_COMPLETED_WITH_ERRORS and ended.total_rows == 10 and ended.unrouted == 2
    assert [(one.number, one.error) for one in ended.errors] == [
        (6, "email: longer than 1000 bytes"), (7, "email: not an address"), (8, "no lead"), (9, "attributes_json: must be a JSON object")]
    assert sql("select email, city, attributes from leads where external_id = 'old'") == [("old@example.com", "Bonn", {"a": 1})]
    assert sql("select count(*), count(distinct import_id) from leads where import_id is not null") == [(2, 1)]


def test_filling_in_changes_no_decision(server, sql):
    _, first, _ = all_at_once(server, [row(1, lead(1, city=""))], route=True)
    before = sql("select routing_status, decision_id, dedupe_hash, workspace_id from leads")
    _, again, _ = all_at_once(server, [row(1, lead(1, city="Bonn", first_name="Ann", email="other@example.com"))], route=True)
    assert (again[0].result, again[0].lead_id, again[0].HasField("routing")) == (UPDATED, first[0].lead_id, False)
    assert sql("select routing_status, decision_id, dedupe_hash, workspace_id from leads") == before
    assert sql("select email, city, first_name from leads") == [("p1@example.com", "Bonn", "Ann")]


def test_routing(server, sql):
    _, results, ended = all_at_once(server, [
        row(1, lead(1)), row(2, lead(2, country="FR")), row(3, lead(3, email="p1@example.com"))], route=True)
    outcomes = [one.routing.outcome for one in results]
    assert outcomes == [routing_pb2.ROUTING_OUTCOME_ROUTED, routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY,
                        routing_pb2.ROUTING_OUTCOME_DUPLICATE]
    assert [(one.workspace_id, one.leads) for one in ended.destinations] == [(DESK, 1)]
    assert (ended.unrouted, ended.duplicate_leads, ended.is_routed) == (2, 1, True)
    assert sql("select routing_summary->'routed_workspaces', error_log, status from bulk_upload_jobs") == [({DESK: 1}, [], "completed")]


def test_a_row_that_the_database_refuses(server, sql):
    """A host's own constraint says no to some rows among many; the others are in."""
    sql("alter table leads add constraint hosts_own check (city is distinct from 'Nowhere')")
    some = [row(n, lead(n, city="Nowhere" if n in (1, 77, 78, 500) else "Bonn")) for n in range(1, 501)]
    _, results, ended = all_at_once(server, some, route=True)
    assert {one.number for one in results if one.result == REJECTED} == {1, 77, 78, 500}
    assert {one.rejection.reason for one in results if one.result == REJECTED} == {
        "a value does not fit the database's own types or constraints (SQLSTATE 23514)"}
    assert (ended.created, ended.rejected, ended.destinations[0].leads) == (496, 4, 496)


def test_plans_of_an_empty_table_stay_good(cluster, database, sql):
    """The first leads of a new database, of which the planner knows nothing: each is found by its id."""
    with Server(cluster.service_url(database), "--no-jobs") as server:
        for n in range(3):
            all_at_once(server, [row(i, lead(1000 * n + i)) for i in range(1, 301)], route=True)
    # A session has told what it did when it is gone.
    wait_until(lambda: sql("select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()") == [],
               "the server's sessions do not end")
    scans = sql("select indexrelname, idx_scan from pg_stat_user_indexes where relname = 'leads' and idx_scan > 0")
    assert dict(scans)["leads_pkey"] > 900 and set(dict(scans)) <= {"leads_pkey", "leads_external_id"}, scans


def some_people(count):
    """Leads of fewer people, from countries that go elsewhere, stay, and find no rule."""
    chance = random.Random(7)
    return [lead(n, email=f"p{chance.randrange(count // 2)}@example.com", country=chance.choice(["DE", "FR", "IT"]))
            for n in range(1, count + 1)]


def decisions(results):
    """What was decided of each row, leads by the numbers of their rows."""
    number = {one.lead_id: one.number for one in results}
    return [(one.number, one.routing.outcome, one.routing.destination_workspace_id, one.routing.matched_rule_name,
             number.get(one.routing.duplicate_lead_id)) for one in results]


def test_as_if_one_by_one(cluster, server, sql):
    """An import decides as if its rows came one after the other: the same destinations, the same duplicates."""
    people = some_people(10000 if LONG else 1200)
    france = (f"insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name, conditions)"
              f" values ('{PARTNER}', '{PARTNER}', 'France', '{{\"countries\": [\"FR\"]}}')")
    sql(france)
    _, imported, _ = all_at_once(server, [row(n, one) for n, one in enumerate(people, 1)], size=130, route=True)
    other = cluster.database()
    execute(cluster, other, ROWS + france)
    with Server(cluster.service_url(other), "--no-jobs") as slow:
        single = []
        for n, one in enumerate(people, 1):
            made = slow.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[one], route=True), timeout=DEADLINE_S)
            single.append(leads_pb2.ImportRowResult(number=n, lead_id=made.results[0].lead_id, routing=made.results[0].routing))
    cluster.drop_database(other)
    assert decisions(imported) == decisions(single)
    assert len({outcome for _, outcome, _, _, _ in decisions(single)}) == 3, "all kinds of outcomes are among them"


def test_all_rows_are_one_person(server):
    _, results, ended = all_at_once(server, [row(n, lead(n, email="one@example.com")) for n in range(1, 3001)], route=True)
    outcomes = collections.Counter(one.routing.outcome for one in results)
    assert outcomes == {routing_pb2.ROUTING_OUTCOME_ROUTED: 1, routing_pb2.ROUTING_OUTCOME_DUPLICATE: 2999}
    assert results[0].routing.outcome == routing_pb2.ROUTING_OUTCOME_ROUTED, "the first of them"
    assert ended.duplicate_leads == 2999


# --- Going on -----------------------------------------------------------------------------------------------------------------


def test_the_same_file_goes_on_where_it_stopped(server, sql):
    first = Import(server, fingerprint="f", route=True)
    assert not first.started.is_continued and first.started.last_row == 0
    assert [one.result for one in first.rows(row(1, lead(1)), row(2, lead(2)), end_offset=200)] == [CREATED] * 2
    first.break_off()
    wait_until(lambda: sql("select status from bulk_upload_jobs") == [("pending",)], "the import to be left")
    second = Import(server, fingerprint="f", route=True)
    assert (second.started.is_continued, second.started.is_complete, second.started.last_row, second.started.end_offset) == (
        True, False, 2, 200)
    assert second.started.import_id == first.started.import_id
    second.rows(row(3, lead(3)), end_offset=300)
    ended = second.end()
    assert (ended.created, ended.destinations[0].leads) == (3, 3)
    third = Import(server, fingerprint="f")
    assert third.started.is_complete and third.started.last_row == 3
    assert third.end() == ended
    other = Import(server, fingerprint="g")
    assert other.started.import_id != first.started.import_id
    other.break_off()


def test_who_only_continues_begins_nothing(server, sql):
    none = ("NOT_FOUND", "start.only_continue: there is no unfinished import of it")
    assert refused(server, start(fingerprint="f", only_continue=True)) == none
    assert refused(server, start(only_continue=True)) == none
    assert sql("select count(*) from bulk_upload_jobs") == [(0,)]
    first = Import(server, fingerprint="f")
    first.rows(row(1, lead(1)))
    second = Import(server, fingerprint="f", only_continue=True)
    assert (second.started.is_continued, second.started.last_row) == (True, 1)
    second.end()
    assert refused(server, start(fingerprint="f", only_continue=True)) == none


def test_rows_after_the_end_are_refused(server):
    all_at_once(server, [row(1, lead(1))], fingerprint="f")
    assert refused(server, start(fingerprint="f"), rows(row(2, lead(2)))) == (
        "ALREADY_EXISTS", "the import has ended already: nothing but its end is to be sent")


def test_who_continues_takes_the_import_over(server, sql):
    """The call that was thought lost changes nothing any more."""
    lost = Import(server, fingerprint="f")
    lost.rows(row(1, lead(1)))
    second = Import(server, fingerprint="f")
    second.rows(row(2, lead(2)))
    with pytest.raises(grpc.RpcError) as caught:
        lost.rows(row(2, lead("two")))
    assert (caught.value.code().name, caught.value.details()) == ("ABORTED", "the import goes on elsewhere")
    assert second.end().created == 2
    assert sql("select external_id from leads order by 1") == [("x1",), ("x2",)]


def test_leads_that_a_crash_left_are_routed_by_who_goes_on(server, sql):
    Import(server, fingerprint="f").rows(row(1, lead(1)), row(2, lead(2))) # without routing: as if it had come before the crash
    second = Import(server, fingerprint="f", route=True)
    second.rows(row(3, lead(3)))
    assert second.end().destinations[0].leads == 3


def test_a_stream_without_an_end(server, sql):
    code, text = refused(server, start(fingerprint="f"), rows(row(1, lead(1))))
    assert (code, text) == ("INVALID_ARGUMENT", "the stream ended without `end`: the import can be continued")
    assert sql("select status, processed_records from bulk_upload_jobs") == [("pending", 1)]


def send_all(server, some, size, on_answer):
    """As a client goes on with an import: from where it is told. The last answer."""
    outgoing = queue.Queue()
    call = server.leads.ImportLeads(iter(outgoing.get, None), timeout=DEADLINE_S)
    outgoing.put(start(fingerprint="f", route=True))
    last_row = next(call).started.last_row
    for at in range(last_row, len(some), size):
        outgoing.put(rows(*(row(n + 1, some[n]) for n in range(at, min(at + size, len(some))))))
    outgoing.put(END)
    outgoing.put(None)
    for n, answer in enumerate(call):
        on_answer(n)
    return answer


def test_killed_servers(cluster, database, sql):
    """SIGKILL in the middle, again and again: every row is in once, with one outcome, and the import says so."""
    chance = random.Random(3)
    some = [lead(n) if n % 3 else leads_pb2.NewLead(email=f"p{n}@example.com", country="DE") for n in range(1, 3001)]
    answer, kills = None, 0
    while answer is None:
        with Server(cluster.service_url(database)) as server:
            deaths = chance.randrange(1, 6) if kills < 8 else None
            try:
                answer = send_all(server, some, 50, lambda n: server.kill() if n == deaths else None)
            except grpc.RpcError as error:
                assert error.code().name in ("UNAVAILABLE", "CANCELLED"), error
                kills += 1
        last_row, count = sql("select last_row, (select count(*) from leads) from bulk_upload_jobs")[0]
        assert count == last_row
    ended = getattr(answer, "import")
    assert kills >= 3 and (ended.processed_rows, ended.created, ended.duplicate_rows, ended.existing) == (3000, 3000, 0, 0)
    assert sql("select count(*), count(distinct email), count(distinct import_row) from leads") == [(3000, 3000, 3000)]
    wait_until(lambda: sql("select count(*) from leads where routing_status <> 'routed'") == [(0,)], "every lead to be routed")
    assert sql("select count(*), count(distinct lead_id) from lead_routing_logs where routing_result = 'success'") == [(3000, 3000)]


def test_the_database_goes_away(cluster, database, sql):
    with Server(cluster.service_url(database)) as server:
        going = Import(server, fingerprint="f", route=True)
        going.rows(row(1, lead(1)))
        sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'leadrouter_service' and pid <> pg_backend_pid()")
        with pytest.raises(grpc.RpcError) as caught:
            for n in range(2, 40): # a connection that was ended is noticed when it is used
                going.rows(row(n, lead(n)))
                sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'leadrouter_service'")
        assert caught.value.code().name in ("UNAVAILABLE", "INTERNAL"), caught.value
        again = wait_until(lambda: try_again(server), "the import to go on")
        at = again.started.last_row
        again.rows(row(at + 1, lead(at + 1)))
        assert again.end().created == at + 1


# --- At once ------------------------------------------------------------------------------------------------------------------


def try_again(server):
    try:
        return Import(server, fingerprint="f", route=True)
    except grpc.RpcError:
        return None


def limit(sql, workspace, **values):
    sql("update workspaces set routing_config = jsonb_build_object('limits', %s::jsonb) where id = %s", (json.dumps(values), workspace))


def begin_when_there_is_room(server, workspace, metadata=None):
    """An import that was begun; it is told to come back until its workspace may have one more."""
    begun = []

    def try_it():
        try:
            begun.append(Import(server, metadata=metadata, workspace_id=workspace))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error.details()
        return begun
    wait_until(try_it, "no room for an import")
    return begun[0]


def test_several_imports_at_once(server, sql):
    """Of one workspace, with rows in common: each row is a lead once."""
    limit(sql, PARTNER, imports=4)
    for one in [begin_when_there_is_room(server, PARTNER) for _ in range(4)]: # then the server knows its limit
        one.end()
    def run(n):
        return all_at_once(server, [row(i, lead(i % 300 if n % 2 else f"{n}-{i}")) for i in range(1, 601)], size=97, route=True)[2]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(run, range(4)))
    assert sum(one.created for one in ended) == 2 * 600 + 300 == sql("select count(*) from leads")[0][0]
    assert all(one.processed_rows == 600 for one in ended)


def test_too_many_imports(server):
    going = [Import(server, workspace_id=home) for home in (PARTNER, DESK) * 2]
    with pytest.raises(grpc.RpcError) as caught:
        Import(server, workspace_id=THIRD)
    assert (caught.value.code().name, caught.value.details()) == ("RESOURCE_EXHAUSTED", "4 imports are under way already")
    assert "grpc-retry-pushback-ms" in dict(caught.value.trailing_metadata())
    going[0].end()
    begin_when_there_is_room(server, THIRD).end()


TWO = "limits.imports: the workspace may have 2 imports under way here"


def test_one_workspace_leaves_room_for_others(server, sql):
    """Whatever it tries: of four imports at most two are its own, and others begin at once."""
    going = [Import(server) for _ in range(2)]
    for _ in range(20):
        with pytest.raises(grpc.RpcError) as caught:
            Import(server)
        assert (caught.value.code().name, caught.value.details()) == ("RESOURCE_EXHAUSTED", TWO)
        assert int(dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
    others = [Import(server, workspace_id=home) for home in (DESK, THIRD)]
    assert [one.result for one in others[0].rows(row(1, lead(1)))] == [CREATED]
    assert sql("select count(*) from bulk_upload_jobs") == [(4,)], "who is refused leaves nothing"
    for one in (*others, going[0]):
        one.end()
    begin_when_there_is_room(server, PARTNER).end()
    going[1].break_off()
    limit(sql, PARTNER, imports=1)
    first = begin_when_there_is_room(server, PARTNER)
    wait_until(lambda: refused(server, start(), start())[1] == TWO.replace("2 imports", "1 imports"), "its own limit is not known")
    first.end()


def test_members_count_for_their_workspace_and_strangers_for_none(cluster, database, sql, tmp_path):
    """Members whom the server has not seen before too; strangers, who wait to be told so, take neither the workspace's places nor the
    server's."""
    members, keys = [str(uuid.uuid4()) for _ in range(3)], jwks(tmp_path / "keys.json")
    for member in members:
        sql("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member')", (member, PARTNER))
    service = metadata(token(uuid.uuid4(), SERVICE))
    with Server(cluster.service_url(database), "--token-keys", str(keys), "--token-audience", AUDIENCE) as server, \
            cluster.connect(database) as session:
        going = [Import(server, metadata=metadata(token(member))) for member in members[:2]]
        for who in (metadata(token(members[2])), service):
            with pytest.raises(grpc.RpcError) as caught:
                Import(server, metadata=who)
            assert (caught.value.code().name, caught.value.details()) == ("RESOURCE_EXHAUSTED", TWO)
        going[0].end()
        going.append(begin_when_there_is_room(server, PARTNER, metadata(token(members[2]))))
        for one in going[1:]:
            one.end()
        session.autocommit = False
        session.cursor().execute("lock user_workspaces in access exclusive mode") # so that strangers wait for their answer
        strangers = [server.leads.ImportLeads(iter([start()]), timeout=DEADLINE_S, metadata=metadata(token(uuid.uuid4())))
                     for _ in range(6)]
        wait_until(lambda: sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
                               " and datname = current_database() and query like '%require_member%'")[0][0] > 0, "no stranger waits")
        going = [Import(server, metadata=service, workspace_id=home) for home in (PARTNER, DESK) * 2]
        assert [[one.result for one in it.rows(row(1, lead(n)))] for n, it in enumerate(going)] == [[CREATED]] * 4
        session.rollback()
        for stranger in strangers: # who waited for too long is to come again
            with pytest.raises(grpc.RpcError) as caught:
                list(stranger)
            assert caught.value.code().name in ("PERMISSION_DENIED", "ABORTED")
        with pytest.raises(grpc.RpcError) as caught:
            Import(server, metadata=metadata(token(uuid.uuid4())))
        assert (caught.value.code().name, caught.value.details()) == ("PERMISSION_DENIED", "there is no such workspace, or it is not yours")
        for one in going:
            one.end()


def test_who_says_nothing_keeps_nobody_out(server):
    """Streams without a start, some of which are broken off."""
    silence = threading.Event()

    def say_nothing():
        silence.wait(DEADLINE_S)
        yield from ()
    silent = [server.leads.ImportLeads(say_nothing(), timeout=DEADLINE_S) for _ in range(12)]
    assert not server.leads.ListImports(leads_pb2.ListImportsRequest(workspace_id=PARTNER), timeout=DEADLINE_S).imports
    for call in silent[:4]:
        call.cancel()
    going = [Import(server, workspace_id=home) for home in (PARTNER, DESK) * 2]
    assert all(call.is_active() for call in silent[4:])
    silence.set()
    for call in silent[4:]:
        assert call.details() == "start: the first message must have it"
    for one in going:
        one.end()


def test_a_client_that_does_not_read(server):
    """What it has sent is bounded by what it has read; it goes on when it reads."""
    call = server.leads.ImportLeads(iter([start()] + [rows(row(n, lead(n))) for n in range(1, 201)] + [END]),
                                    timeout=4 * DEADLINE_S)
    wait_until(lambda: call.is_active(), "the call")
    parts = [one.WhichOneof("part") for one in call]
    assert collections.Counter(parts) == {"started": 1, "results": 200, "import": 1}


# --- Wrong from the beginning -------------------------------------------------------------------------------------------------

BAD = [
    ([], "start: the first message must have it"),
    ([rows(row(1, lead(1)))], "start: the first message must have it"),
    ([leads_pb2.ImportLeadsRequest()], "start: the first message must have it"),
    ([start(), start()], "start: only the first message has it"),
    ([start(), leads_pb2.ImportLeadsRequest()], "part: missing"),
    ([start(workspace_id="x")], "start.workspace_id: not a UUID"),
    ([start(user_id="x")], "start.user_id: not a UUID"),
    ([start(source="x" * 201)], "start.source: longer than 200 bytes"),
    ([start(fingerprint="x" * 129)], "start.fingerprint: longer than 128 bytes"),
    ([start(total_rows=-1)], "start.total_rows: must not be negative"),
    ([start(), rows()], "rows.rows: 0 given, must be from 1 to 1000"),
    ([start(), rows(*[row(n, lead(n)) for n in range(1, 1002)])], "rows.rows: 1001 given, must be from 1 to 1000"),
    ([start(), rows(row(0, lead(1)))], "rows.rows[0].number: 0 does not come after 0, the number of the row before"),
    ([start(), rows(row(1, lead(1)), row(1, lead(2)))], "rows.rows[1].number: 1 does not come after 1, the number of the row before"),
    ([start(), rows(row(1, lead(1)), end_offset=-1)], "rows.end_offset: must not be negative"),
]


@pytest.mark.parametrize("messages, text", BAD, ids=[text for _, text in BAD])
def test_bad_streams(server, messages, text):
    assert refused(server, *messages) == ("INVALID_ARGUMENT", text)


def test_no_such_workspace(server):
    assert refused(server, start(workspace_id=NOBODY)) == ("NOT_FOUND", "start.workspace_id: no such workspace")


# --- Looking at imports -------------------------------------------------------------------------------------------------------


def test_get_and_list(server):
    made = [all_at_once(server, [row(1, lead(n))], source=f"{n}.csv")[2] for n in range(5)]
    got = server.leads.GetImport(leads_pb2.GetImportRequest(workspace_id=PARTNER, import_id=made[2].id), timeout=DEADLINE_S)
    assert getattr(got, "import") == made[2] and got.now.seconds
    pages, token = [], ""
    while not pages or token:
        page = server.leads.ListImports(leads_pb2.ListImportsRequest(workspace_id=PARTNER, page_size=2, page_token=token),
                                        timeout=DEADLINE_S)
        pages.append([one.source for one in page.imports])
        token = page.next_page_token
    assert pages == [["4.csv", "3.csv"], ["2.csv", "1.csv"], ["0.csv"]]
    for name, fields, code in (("GetImport", {"workspace_id": DESK, "import_id": made[0].id}, "NOT_FOUND"),
                               ("GetImport", {"workspace_id": PARTNER, "import_id": "x"}, "INVALID_ARGUMENT"),
                               ("GetImport", {"import_id": made[0].id}, "INVALID_ARGUMENT"),
                               ("ListImports", {"workspace_id": PARTNER, "page_size": 1001}, "INVALID_ARGUMENT"),
                               ("ListImports", {"workspace_id": PARTNER, "page_token": "0"}, "INVALID_ARGUMENT"),
                               ("ListImports", {"workspace_id": ""}, "INVALID_ARGUMENT")):
        with pytest.raises(grpc.RpcError) as caught:
            getattr(server.leads, name)(getattr(leads_pb2, f"{name}Request")(**fields), timeout=DEADLINE_S)
        assert caught.value.code().name == code, (name, fields)
    assert not server.leads.ListImports(leads_pb2.ListImportsRequest(workspace_id=DESK), timeout=DEADLINE_S).imports


def test_more_than_a_hundred_errors(server, sql):
    some = [row(n, rejection={"reason": json.dumps(n)}) for n in range(1, 301)]
    _, _, ended = all_at_once(server, some, size=70)
    assert ended.rejected == 300 and [one.number for one in ended.errors] == list(range(1, 101))
    assert sql("select jsonb_array_length(error_log), failed_records, successful_records from bulk_upload_jobs") == [(100, 300, 0)]


def listed(server, **fields):
    request = leads_pb2.ListRejectedRowsRequest(**{"workspace_id": PARTNER, **fields})
    return server.leads.ListRejectedRows(request, timeout=DEADLINE_S)


def test_all_rejected_rows_are_told_page_by_page(server, sql):
    """Whoever rejected them, and in whatever batches they came: the same that was answered when they came in."""
    sql("alter table leads add constraint known check (city <> 'Nowhere')")
    some = [row(n, rejection={"field": "email", "reason": f"reason {n}"}) if n % 3 == 0
            else row(n, lead(n, city="Nowhere" if n % 5 == 0 else "Ulm")) for n in range(1, 300)]
    _, results, ended = all_at_once(server, some, size=70)
    expected = [(one.number, one.rejection.field, one.rejection.reason) for one in results if one.result == REJECTED]
    assert len(expected) == ended.rejected == 139
    pages, after = [], 0
    while not pages or pages[-1].more:
        pages.append(listed(server, import_id=ended.id, after_row=after, page_size=30))
        after = pages[-1].rows[-1].number
    assert [len(page.rows) for page in pages] == [30, 30, 30, 30, 19]
    assert [(one.number, one.rejection.field, one.rejection.reason) for page in pages for one in page.rows] == expected
    for behind in (0, 1, 3, 69, 70, 71, 200, 297, 298, 299):
        page = listed(server, import_id=ended.id, after_row=behind, page_size=1000)
        assert [one.number for one in page.rows] == [number for number, _, _ in expected if number > behind] and not page.more
    assert len(listed(server, import_id=ended.id).rows) == 100
    for fields, code in (({"import_id": NOBODY}, "NOT_FOUND"), ({"import_id": ended.id, "workspace_id": DESK}, "NOT_FOUND"),
                         ({"import_id": "x"}, "INVALID_ARGUMENT"), ({"import_id": ended.id, "page_size": 1001}, "INVALID_ARGUMENT"),
                         ({"import_id": ended.id, "after_row": -1}, "INVALID_ARGUMENT")):
        with pytest.raises(grpc.RpcError) as caught:
            listed(server, **fields)
        assert caught.value.code().name == code, fields


def test_what_a_client_says_of_a_rejection_is_cut_and_made_harmless(server, sql):
    _, results, ended = all_at_once(server, [
        row(1, rejection={"field": "e\nmail" * 20, "reason": "a\x1b[31m\nb\x7f\u0085c " + "\u00e4" * 300}),
        row(2, rejection={"field": "email"})])
    field, reason = results[0].rejection.field, results[0].rejection.reason
    assert field == ("e mail" * 20)[:64] and reason == "a [31m b   c " + "\u00e4" * 93 and len(reason.encode()) == 199
    assert ended.errors[0].error == f"{field}: {reason}" and ended.errors[1].error == "email: rejected"
    assert "\\u00" not in sql("select error_log::text from bulk_upload_jobs")[0][0].replace("\u00e4", "")


# --- People -------------------------------------------------------------------------------------------------------------------


def test_members_import_as_themselves(cluster, database, sql, tmp_path):
    """Membership is asked for in every transaction of a stream: who leaves the workspace in the middle gets no further row in."""
    member, keys = str(uuid.uuid4()), jwks(tmp_path / "keys.json")
    sql("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member')", (member, PARTNER))
    with Server(cluster.service_url(database), "--token-keys", str(keys), "--token-audience", AUDIENCE) as server:
        def begin(**fields):
            return Import(server, metadata=metadata(token(member)), **fields)
        going = begin(route=True)
        wrong = row(2, rejection={"reason": "wrong"})
        assert [one.routing.outcome for one in going.rows(row(1, lead(1)), wrong)] == [routing_pb2.ROUTING_OUTCOME_ROUTED, 0]
        own = leads_pb2.ListRejectedRowsRequest(workspace_id=PARTNER, import_id=going.started.import_id)
        assert [one.number for one in server.leads.ListRejectedRows(own, metadata=metadata(token(member))).rows] == [2]
        assert sql("select user_id::text from bulk_upload_jobs") == [(member,)]
        assert sql("select distinct actor_id::text from lead_routing_logs") == [(member,)]
        for fields, text in (({"workspace_id": DESK}, "there is no such workspace, or it is not yours"),
                             ({"user_id": NOBODY}, "user_id: must be the caller's")):
            with pytest.raises(grpc.RpcError) as caught:
                begin(**fields)
            assert (caught.value.code().name, caught.value.details()) == ("PERMISSION_DENIED", text)
        sql("delete from user_workspaces")
        with pytest.raises(grpc.RpcError) as caught:
            going.rows(row(3, lead(2)))
        assert caught.value.code().name == "PERMISSION_DENIED"
        assert sql("select count(*) from leads") == [(1,)]


def test_who_was_erased_is_not_filled_in_again(server, sql):
    """The same file again brings the person in as a lead of its own, which is known to be a copy."""
    nobody = leads_pb2.NewLead(email="gone@example.com", country="DE")
    _, first, _ = all_at_once(server, [row(1, lead(1)), row(2, nobody)], route=True)
    for one in first:
        server.leads.EraseLead(leads_pb2.EraseLeadRequest(lead_id=one.lead_id, workspace_id=PARTNER), timeout=DEADLINE_S)
    _, again, _ = all_at_once(server, [row(1, lead(1)), row(2, nobody)], route=True)
    assert [(one.result, one.routing.outcome) for one in again] == [(CREATED, routing_pb2.ROUTING_OUTCOME_DUPLICATE)] * 2
    assert sql("select count(*) from leads where email is null and external_id is null and import_key is null") == [(2,)]
