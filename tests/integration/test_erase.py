"""Goal: `leadctl leads erase` and EraseLead leave nothing of a person on a server, whatever became of the lead, and `leadctl audit verify`
stays content. What the database promises: tests/sql/test_erasure.py."""
import concurrent.futures
import json
import os
import pty
import subprocess
import time
import uuid

import grpc
import pytest

from support import admin
from support.audit import seal
from support.postgres import LEADCTL
from support.retries import CALL_S, DESK, NOBODY, OTHER, PARTNER, route, status_of
from support.server import Server
from support.stubs import leads_pb2, routing_pb2, rules_pb2, rules_pb2_grpc

pytestmark = pytest.mark.usefixtures("workspaces")

CANARY = "kanarienvogel"
EXPIRED, DUPLICATE, ALREADY = (getattr(routing_pb2, f"ROUTING_OUTCOME_{name}") for name in ("EXPIRED", "DUPLICATE", "ALREADY_ROUTED"))


def ctl(server, *words, stdin=subprocess.DEVNULL):
    done = subprocess.run([LEADCTL, *words, "--target", server.address], capture_output=True, text=True, timeout=60, stdin=stdin)
    return done.returncode, done.stdout, done.stderr


def create(server, country="FR", workspace=PARTNER, **fields):
    """A lead that is personal all over, and asked for."""
    person = {"external_id": str(uuid.uuid4()), "email": f"{CANARY}@example.com", "phone": "+49 731 5550100", "first_name": CANARY,
              "last_name": CANARY, "company_name": CANARY, "city": CANARY, "postal_code": CANARY,
              "attributes_json": json.dumps({"note": CANARY}), **fields}
    answer = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(
        workspace_id=workspace, leads=[leads_pb2.NewLead(country=country, **person)], route=True), timeout=CALL_S)
    return answer.results[0].lead_id, answer.results[0].routing.outcome


def erase(server, lead, workspace=PARTNER, **fields):
    return server.leads.EraseLead(leads_pb2.EraseLeadRequest(lead_id=lead, workspace_id=workspace, **fields), timeout=CALL_S)


def refusal(server, *words, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        erase(server, *words, **fields)
    return caught.value.code(), caught.value.details()


def traces(sql):
    tables = sql("select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                 " where n.nspname in ('public', 'leadrouter') and c.relkind = 'r'")
    return [table for table, in tables if sql(f"select count(*) from {table} t where t::text ilike %s", (f"%{CANARY}%",)) != [(0,)]]


def get(server, lead):
    return server.leads.GetLead(leads_pb2.GetLeadRequest(lead_id=lead, workspace_id=PARTNER), timeout=CALL_S).lead


def look_at_people(sql):
    """Rules that look at what is personal, so that the log keeps it."""
    personal = [{"field": field, "op": "present"} for field in ("attributes.note", "city", "external_id")]
    sql("update lead_routing_rules set conditions = %s where workspace_id = %s",
        (json.dumps({"all": [{"field": "country", "op": "eq", "value": "DE"}, {"any": personal}]}), PARTNER))


@pytest.fixture
def facts(sql):
    look_at_people(sql)


@pytest.mark.asan
def test_a_decided_lead(quiet, sql, facts):
    """Its decision and its history stay, its claim too: a copy is still a duplicate, and the log is as it was sealed."""
    lead, _ = create(quiet, "DE")
    assert len(traces(sql)) == 2 and not get(quiet, lead).HasField("erased_at"), "the lead and the day of the log"
    seal(quiet)
    assert ctl(quiet, "leads", "erase", lead, "--workspace", PARTNER, "--yes", "--user", NOBODY) == (
        0, f"the person of lead {lead} is erased\nemptied: 1 row of the audit log, 0 of the retry queue\n", "")
    assert traces(sql) == []
    shown = get(quiet, lead)
    (listed,) = quiet.leads.ListLeads(leads_pb2.ListLeadsRequest(workspace_id=PARTNER), timeout=CALL_S).leads
    assert listed == shown and abs(shown.erased_at.seconds - time.time()) < 60
    code, text, _ = ctl(quiet, "leads", "list", "--workspace", PARTNER)
    assert code == 0 and "(erased)" in text
    assert (shown.data.email, shown.data.attributes_json, shown.data.country) == ("", "{}", "DE")
    again = route(quiet, lead)
    assert (again.outcome, again.destination_workspace_id, again.matched_rule_name) == (ALREADY, DESK, "Germans")
    assert create(quiet, "DE")[1] == DUPLICATE
    code, text, _ = ctl(quiet, "audit", "verify")
    assert code == 0 and text.startswith("nothing is wrong"), text
    seal(quiet)
    assert ctl(quiet, "audit", "verify")[0] == 0
    history = rules_pb2_grpc.RuleServiceStub(quiet.channel()).GetRoutingHistory(
        rules_pb2.GetRoutingHistoryRequest(lead_id=lead, workspace_id=PARTNER), timeout=CALL_S)
    assert [(attempt.result, attempt.reason, attempt.user_id, attempt.HasField("explanation")) for attempt in history.attempts] == [
        ("success", "", "", False), ("erased", "personal data was erased", NOBODY, False)]


@pytest.mark.asan
def test_an_undecided_lead_expires(quiet, sql, facts):
    lead, _ = create(quiet)
    assert ctl(quiet, "leads", "erase", lead, "--workspace", PARTNER, "--yes")[:2] == (
        0, f"the person of lead {lead} is erased; it was undecided and has expired\n"
           "emptied: 2 rows of the audit log, 1 of the retry queue\n")
    assert traces(sql) == [] and status_of(sql, lead) == "expired"
    assert route(quiet, lead, force=True).outcome == EXPIRED
    assert sql("select count(*) from lead_routing_queue where processed_at is null") == [(0,)]
    seal(quiet)
    assert ctl(quiet, "audit", "verify")[0] == 0


def test_whatever_way_it_came_in(cluster, database, sql):
    """By an import with rows that were rejected, and by a call that can be repeated; waiting for a retry, and sent once more. Neither a
    table, nor the log of the server, nor its admin listener has anything of them."""
    look_at_people(sql)
    person = {"external_id": CANARY, "email": f"{CANARY}@example.com", "first_name": CANARY, "last_name": CANARY, "company_name": CANARY,
              "city": CANARY, "postal_code": CANARY, "attributes_json": json.dumps({"note": CANARY})}
    rows = [leads_pb2.NewLead(country="FR", **person), leads_pb2.NewLead(**{**person, "attributes_json": "{" + CANARY}),
            leads_pb2.NewLead(**{**person, "external_id": "2", "phone": CANARY * 999}), leads_pb2.NewLead(country="FR", **person)]
    start = leads_pb2.ImportStart(workspace_id=PARTNER, source="people.csv", fingerprint="f", route=True)
    parts = [leads_pb2.ImportLeadsRequest(start=start),
             leads_pb2.ImportLeadsRequest(rows=leads_pb2.ImportRows(rows=[leads_pb2.ImportRow(number=n, lead=lead)
                                                                          for n, lead in enumerate(rows, 1)])),
             leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())]
    with Server(cluster.service_url(database), "--no-jobs", "--log-level", "debug", "--log-sample-per-mille", "1000", "--admin-listen",
                "127.0.0.1:0") as server:
        ended = getattr(list(server.leads.ImportLeads(iter(parts), timeout=CALL_S))[-1], "import")
        assert (ended.created, ended.rejected, len(ended.errors)) == (1, 2, 2)
        call = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, request_id=str(uuid.uuid4()), route=True, leads=[
            leads_pb2.NewLead(country="FR", **{**person, "external_id": CANARY + "2"})])
        for _ in range(2):
            server.leads.CreateLeads(call, timeout=CALL_S)
        leads = [str(lead) for lead, in sql("select id from leads")]
        for lead in leads:
            route(server, lead, force=True)
        assert len(leads) == 2 and len(traces(sql)) == 2, "the leads and the day of the log"
        assert all(erase(server, lead).erased for lead in leads)
        assert traces(sql) == []
        for page in ("/metrics", "/api/health"):
            assert CANARY not in admin.get(server, page).text.lower()
        assert CANARY not in server.text().lower() and server.events("routing.retry_queued")
        server.check_log()


def test_once_is_enough(quiet, sql):
    lead, _ = create(quiet, "DE")
    assert erase(quiet, lead).erased
    assert erase(quiet, lead) == leads_pb2.EraseLeadResponse()
    assert ctl(quiet, "leads", "erase", lead, "--workspace", PARTNER, "--yes") == (0, f"nothing personal was left of lead {lead}\n", "")
    code, text, _ = ctl(quiet, "leads", "erase", lead, "--workspace", PARTNER, "--yes", "--json")
    assert (code, json.loads(text)) == (0, {"lead_id": lead, "erased": False, "expired": False, "log_rows": 0, "queue_rows": 0})
    assert sql("select count(*) from lead_routing_logs where routing_result = 'erased'") == [(1,)]


def test_what_is_refused(quiet, sql):
    lead, _ = create(quiet, "DE")
    wrong, missing = grpc.StatusCode.INVALID_ARGUMENT, (grpc.StatusCode.NOT_FOUND, "no such lead in that workspace")
    assert refusal(quiet, "x") == (wrong, "lead_id: not a UUID")
    assert refusal(quiet, lead, "") == (wrong, "workspace_id: missing")
    assert refusal(quiet, lead, user_id="me") == (wrong, "user_id: not a UUID")
    assert refusal(quiet, lead, DESK) == missing, "the owner is not the source"
    assert refusal(quiet, lead, OTHER) == refusal(quiet, NOBODY) == missing
    held, _ = create(quiet, email="held@example.com", phone="")
    sql("select acquire_routing_lock(%s, gen_random_uuid())", (held,))
    assert refusal(quiet, held) == (grpc.StatusCode.ABORTED, "a worker holds the lead; asking again is safe")
    assert get(quiet, lead).data.email and status_of(sql, held) == "routing"


def test_a_lead_that_somebody_has_locked(cluster, database, quiet):
    lead, _ = create(quiet, "DE")
    with cluster.connect(database) as holder:
        holder.autocommit = False
        holder.cursor().execute("select from leads where id = %s for update", (lead,))
        assert refusal(quiet, lead)[0] == grpc.StatusCode.ABORTED
        holder.rollback()
    assert erase(quiet, lead).erased


def test_it_asks_first(quiet, sql):
    """On a terminal; elsewhere it wants --yes."""
    lead, _ = create(quiet, "DE")
    words = ("leads", "erase", lead, "--workspace", PARTNER)
    code, text, errors = ctl(quiet, *words)
    assert (code, text, errors) == (2, "", "leadctl: leads erase cannot be undone: say --yes\n")
    for answer, expected in ((b"no\n", 2), (b"y\n", 2), (b"yes\n", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        code, _, errors = ctl(quiet, *words, stdin=theirs)
        os.close(ours)
        os.close(theirs)
        assert code == expected and f"Erase the person of lead {lead} for good?" in errors
        assert (get(quiet, lead).data.email == "") == (expected == 0)
    assert ctl(quiet, "leads", "erase", lead)[0] == 2


def test_every_field_that_is_personal(quiet, sql):
    """Whatever a new lead can have is emptied, or stands here as what says nothing of a person."""
    kept = {"company_industry", "company_size", "company_revenue", "country", "state", "source"}
    values = {field.name: f"{field.name}@x.org" for field in leads_pb2.NewLead.DESCRIPTOR.fields}
    values.update(attributes_json='{"a": "b"}', country="US")
    answer = quiet.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[leads_pb2.NewLead(**values)]),
                                     timeout=CALL_S)
    lead = answer.results[0].lead_id
    erase(quiet, lead)
    left = {field.name for field, value in get(quiet, lead).data.ListFields() if value != "{}"}
    assert left == kept


def in_the_end(call, server, lead):
    """The answer, asked for as clients are told to: where somebody held the lead for too long nothing was done, and they ask again."""
    deadline = time.monotonic() + CALL_S
    while True:
        try:
            return call(server, lead)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.ABORTED and time.monotonic() < deadline, error


def test_while_it_is_being_routed(quiet, sql):
    """The caller of RouteLead gets a decision, or hears that the lead has expired; either way nothing is left. An erasure that
    takes long holds the lead meanwhile."""
    rows = [create(quiet, email=f"{CANARY}{n}@example.com", phone="", first_name=f"{CANARY}{n}")[0] for n in range(40)]
    sql("update leads set country = 'DE'; update lead_routing_queue set next_retry_at = now()")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        routed = [pool.submit(in_the_end, route, quiet, lead) for lead in rows]
        erased = [pool.submit(in_the_end, erase, quiet, lead) for lead in rows[::-1]]
        outcomes = {call.result().outcome for call in routed}
        assert all(call.result().erased for call in erased)
    assert outcomes <= {routing_pb2.ROUTING_OUTCOME_ROUTED, EXPIRED}
    assert traces(sql) == []
    seal(quiet)
    assert ctl(quiet, "audit", "verify")[0] == 0
