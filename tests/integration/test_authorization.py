"""Goal: whoever calls may do what the table says and nothing else: every RPC is tried by everybody on everybody's workspace, and what is
refused changes no row. A token that is no good gets nobody in."""
import itertools
import random
import statistics
import subprocess
import time
import uuid

import grpc
import pytest
from google.protobuf import descriptor_pb2

from support.database import Database
from support.http2 import Peer, long_call, status_of
from support.process import memory_bytes
from support.product_cluster import execute, wait_until
from support.server import Server
from support.stubs import leads_pb2, maintenance_pb2, routing_pb2, rules_pb2, workspaces_pb2
from support.tokens import AUDIENCE, SERVICE, claims, encode, jwks, metadata, signed, token

DEADLINE_S = 20
OURS, THEIRS, NONE = (f"00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 9))
MEMBER, ADMIN, OTHER, STRANGER = (uuid.UUID(int=0x40008000000000000000 + n) for n in (11, 12, 13, 14))
LEADS = {OURS: "00000000-0000-4000-8000-0000000000a1", THEIRS: "00000000-0000-4000-8000-0000000000a2",
         NONE: "00000000-0000-4000-8000-0000000000a9"}
RULES = {OURS: "00000000-0000-4000-8000-0000000000b1", THEIRS: "00000000-0000-4000-8000-0000000000b2",
         NONE: "00000000-0000-4000-8000-0000000000b9"}
IMPORT = "00000000-0000-4000-8000-0000000000c2"

ROWS = f"""
insert into workspaces (id, name, workspace_type, is_active)
values ('{OURS}', 'Ours', 'partner', true), ('{THEIRS}', 'Theirs', 'partner', true);
insert into user_workspaces (user_id, workspace_id, role)
values ('{MEMBER}', '{OURS}', 'member'), ('{ADMIN}', '{OURS}', 'admin'), ('{OTHER}', '{THEIRS}', 'admin');
insert into lead_routing_rules (id, workspace_id, destination_workspace_id, rule_name, conditions)
values ('{RULES[OURS]}', '{OURS}', '{OURS}', 'ours', '{{}}'), ('{RULES[THEIRS]}', '{THEIRS}', '{THEIRS}', 'theirs', '{{}}');
insert into leads (id, workspace_id, source_workspace_id, email) values
    ('{LEADS[OURS]}', '{OURS}', '{OURS}', 'ours@example.com'), ('{LEADS[THEIRS]}', '{THEIRS}', '{THEIRS}', 'theirs@example.com');
"""

EVERYBODY = {
    "nobody": lambda: None,
    "expired": lambda: token(ADMIN, exp=int(time.time()) - 61),
    "wrong audience": lambda: token(ADMIN, aud="somebody else"),
    "other": lambda: token(OTHER),
    "stranger": lambda: token(STRANGER),
    "member": lambda: token(MEMBER),
    "admin": lambda: token(ADMIN),
    "service": lambda: token(uuid.uuid4(), SERVICE),
}
PLACES = {"member": {OURS: "member"}, "admin": {OURS: "admin"}, "other": {THEIRS: "admin"}, "stranger": {}}


class Method:
    """An RPC, who may call it, and what a service is told about a workspace that is there and about one that is not."""

    def __init__(self, package, service, name, right, request, found="OK", missing="NOT_FOUND", streams=False):
        self.path = f"/leadrouter.v1.{service}/{name}"
        self.right, self.codes, self.streams = right, {OURS: found, THEIRS: found, NONE: missing}, streams
        self.make = lambda workspace: getattr(package, f"{name}Request")(**request(workspace))
        self.response = getattr(package, f"{name}Response")

    def call(self, channel, workspace, credentials):
        return self.call_with(channel, self.make(workspace), credentials)[:2]

    def call_with(self, channel, request, credentials):
        """Code, text, and everything that came with them."""
        parts = {"request_serializer": lambda message: message.SerializeToString(), "response_deserializer": self.response.FromString}
        try:
            if self.streams:
                list(channel.stream_stream(self.path, **parts)(iter([request]), timeout=DEADLINE_S, metadata=credentials))
            else:
                channel.unary_unary(self.path, **parts)(request, timeout=DEADLINE_S, metadata=credentials)
        except grpc.RpcError as error:
            return error.code().name, error.details(), tuple(error.initial_metadata()), tuple(error.trailing_metadata())
        return "OK", "", (), ()

    def expected(self, who, workspace):
        if who in ("nobody", "expired", "wrong audience"):
            return "UNAUTHENTICATED"
        if who != "service" and self.right != "caller":
            role = PLACES[who].get(workspace)
            if self.right == "service" or role is None or (self.right == "admin" and role == "member"):
                return "PERMISSION_DENIED"
        return self.codes[workspace]


def nothing(_workspace):
    return {}


def of_rules(name, right, request=nothing, **codes):
    return Method(rules_pb2, "RuleService", name, right, lambda workspace: {"workspace_id": workspace, **request(workspace)}, **codes)


def of_maintenance(name, right, request=nothing, **codes):
    return Method(maintenance_pb2, "MaintenanceService", name, right, request, **codes)


def of_workspaces(name, right, request=nothing, **codes):
    return Method(workspaces_pb2, "WorkspaceService", name, right, lambda workspace: {"workspace_id": workspace, **request(workspace)},
                  **codes)


def in_workspace(workspace):
    return {"workspace_id": workspace}


def a_lead(workspace):
    return {"lead_id": LEADS[workspace], "source_workspace_id": workspace}


def a_rule(workspace, **more):
    rule = rules_pb2.Rule(name=str(uuid.uuid4()), conditions_json="{}", destination_workspace_id=OURS, is_active=True, **more)
    return {"rule": rule}


METHODS = [
    Method(routing_pb2, "RoutingService", "RouteLead", "member", a_lead),
    Method(routing_pb2, "RoutingService", "RouteLeads", "service",
           lambda workspace: {"lead": routing_pb2.RouteLeadRequest(**a_lead(workspace))}, missing="OK", streams=True),
    Method(routing_pb2, "RoutingService", "ProcessRetries", "admin", lambda workspace: {"limit": 10, "workspace_id": workspace},
            missing="OK"),
    Method(routing_pb2, "RoutingService", "Health", "member", in_workspace, missing="OK"),
    Method(leads_pb2, "LeadService", "CreateLeads", "member",
           lambda workspace: {"workspace_id": workspace, "leads": [leads_pb2.NewLead(email=f"{uuid.uuid4()}@example.com")]}),
    Method(leads_pb2, "LeadService", "GetLead", "member", lambda workspace: {"lead_id": LEADS[workspace], "workspace_id": workspace}),
    Method(leads_pb2, "LeadService", "EraseLead", "admin", lambda workspace: {"lead_id": LEADS[workspace], "workspace_id": workspace}),
    Method(leads_pb2, "LeadService", "ListLeads", "member", in_workspace, missing="OK"),
    Method(leads_pb2, "LeadService", "ImportLeads", "member",
           lambda workspace: {"start": leads_pb2.ImportStart(workspace_id=workspace)}, found="INVALID_ARGUMENT", streams=True),
    Method(leads_pb2, "LeadService", "GetImport", "member", lambda workspace: {"workspace_id": workspace, "import_id": LEADS[NONE]},
           found="NOT_FOUND"),
    Method(leads_pb2, "LeadService", "ListImports", "member", in_workspace, missing="OK"),
    Method(leads_pb2, "LeadService", "ListRejectedRows", "member",
           lambda workspace: {"workspace_id": workspace, "import_id": LEADS[NONE]}, found="NOT_FOUND"),
    of_rules("CreateRule", "admin", a_rule),
    of_rules("GetRule", "member", lambda workspace: {"rule_id": RULES[workspace]}),
    of_rules("ListRules", "member"),
    of_rules("UpdateRule", "admin", lambda workspace: a_rule(workspace, id=RULES[workspace])),
    of_rules("DeleteRule", "admin", lambda workspace: {"rule_id": NONE}, found="NOT_FOUND"),
    of_rules("ApplyRules", "admin", lambda workspace: {"rules": a_rule(workspace).values()}), # some rule is left for other tests
    of_rules("RevertRules", "admin", lambda workspace: {"version": 1}),
    of_rules("DiffRuleVersions", "member", lambda workspace: {"from_version": 1, "to_version": 1}),
    of_rules("ListRuleVersions", "member", missing="OK"),
    of_rules("TestRules", "member", lambda workspace: {"leads": [leads_pb2.NewLead(email="a@example.com")]}),
    of_rules("LintRules", "member"),
    of_rules("GetRoutingHistory", "member", lambda workspace: {"lead_id": LEADS[workspace]}),
    of_maintenance("ReleaseStaleLocks", "service", missing="OK"),
    of_maintenance("ExpireLeads", "admin", in_workspace, missing="OK"),
    of_maintenance("ListJobs", "service", missing="OK"),
    of_maintenance("RunJob", "service", lambda workspace: {"name": "expiry"}, missing="OK"),
    of_maintenance("PauseJob", "service", lambda workspace: {"name": "expiry"}, missing="OK"),
    of_maintenance("ResumeJob", "service", lambda workspace: {"name": "expiry"}, missing="OK"),
    of_maintenance("ListRetries", "member", in_workspace, missing="OK"),
    of_maintenance("CancelRetries", "service", lambda workspace: {"leads": [maintenance_pb2.LeadKey(**a_lead(workspace))]}, missing="OK"),
    of_maintenance("VerifyAudit", "service", missing="OK"),
    Method(workspaces_pb2, "WorkspaceService", "CreateWorkspace", "service", lambda workspace: {"workspace": {"name": "w"}}, missing="OK"),
    of_workspaces("GetWorkspace", "member"),
    Method(workspaces_pb2, "WorkspaceService", "ListWorkspaces", "caller", nothing, missing="OK"),
    of_workspaces("UpdateWorkspace", "admin",
                  lambda workspace: {"workspace": {"name": "Ours", "type": workspaces_pb2.WORKSPACE_TYPE_PARTNER, "is_active": True}}),
    of_workspaces("ListMembers", "member"),
    of_workspaces("SetMember", "admin",
                  lambda workspace: {"member": {"member_id": str(uuid.uuid4()), "role": workspaces_pb2.MEMBER_ROLE_MEMBER}}),
    of_workspaces("RemoveMember", "admin", lambda workspace: {"member_id": str(STRANGER)}),
]


@pytest.fixture(scope="module")
def place(cluster, tmp_path_factory):
    """A server that asks for tokens, and its database."""
    name = cluster.database()
    execute(cluster, name, ROWS)
    keys = jwks(tmp_path_factory.mktemp("keys") / "keys.json")
    with Server(cluster.service_url(name), "--token-keys", str(keys), "--token-audience", AUDIENCE, "--no-jobs") as server:
        yield server, lambda statement, parameters=None: execute(cluster, name, statement, parameters), name
        server.check_log()
    cluster.drop_database(name)


@pytest.fixture
def guarded(place):
    return place[0]


@pytest.fixture
def rows(place):
    """A picture of every row of every table."""
    sql = place[1]
    tables = [table for table, in sql("select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                                      " where n.nspname in ('public', 'leadrouter') and c.relkind = 'r' and c.relname not like '%job%'")]
    picture = " union all ".join(f"select '{table}', md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t"
                                 for table in tables)
    return lambda: sql(picture)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.path)
def test_every_method_by_everybody_on_every_workspace(guarded, rows, method):
    channel = guarded.channel()
    before = rows()
    wrong = []
    for who, workspace in sorted(itertools.product(EVERYBODY, (OURS, THEIRS, NONE)), key=lambda cell: method.expected(*cell) == "OK"):
        code, text = method.call(channel, workspace, metadata(EVERYBODY[who]()))
        if code != method.expected(who, workspace):
            wrong.append((who, workspace, code, text, method.expected(who, workspace)))
        if method.expected(who, workspace) != "OK":
            assert rows() == before, (who, workspace)
    assert not wrong


# What names something that lies in a workspace besides naming the workspace: the field, the things, and what to ask with.
OBJECTS = [("RouteLead", "lead_id", LEADS), ("GetLead", "lead_id", LEADS), ("GetRoutingHistory", "lead_id", LEADS),
           ("GetRule", "rule_id", RULES), ("DeleteRule", "rule_id", RULES), ("UpdateRule", "rule.id", RULES),
           ("TestRules", "lead_ids", LEADS)]


def about(name, field, thing):
    """A request in our workspace about a thing of some workspace."""
    request = method(name).make(OURS)
    if field == "lead_ids":
        request.ClearField("leads")
        request.lead_ids.append(thing)
    elif field == "rule.id":
        request.rule.id, request.rule.name = thing, "the same"
    else:
        setattr(request, field, thing)
    return request


@pytest.mark.parametrize("name, field, things", OBJECTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_thing_of_others_is_none(guarded, rows, name, field, things):
    """In a workspace of one's own, one that lies in another's and one that is nowhere: the same in every respect, and nothing changes."""
    channel, before = guarded.channel(), rows()
    for who in ("member", "admin", "service", "other", "stranger", "expired"):
        answers = {method(name).call_with(channel, about(name, field, things[place]), metadata(EVERYBODY[who]()))
                   for place in (THEIRS, NONE)}
        right = method(name).expected(who, OURS)
        assert len(answers) == 1 and answers.pop()[0] == ("NOT_FOUND" if right in ("OK", "NOT_FOUND") else right), who
    assert rows() == before


def test_a_thing_of_others_takes_as_long_as_none(guarded):
    """The same way through the program and as many round trips: seen from far away, with much room."""
    channel, credentials = guarded.channel(), metadata(token(MEMBER))
    for name, field, things in OBJECTS[:3]:
        times = {THEIRS: [], NONE: []}
        for _ in range(60):
            for place, taken in times.items():
                began = time.monotonic()
                method(name).call_with(channel, about(name, field, things[place]), credentials)
                taken.append(time.monotonic() - began)
        theirs, none = (sorted(taken)[len(taken) // 2] for taken in times.values())
        assert abs(theirs - none) < 0.005 + max(theirs, none) / 2, (name, theirs, none)


READINGS = ("Health", "GetLead", "ListLeads", "GetImport", "ListImports", "ListRejectedRows", "GetRule", "ListRules",
            "DiffRuleVersions", "ListRuleVersions", "TestRules", "LintRules", "GetRoutingHistory", "ListRetries",
            "GetWorkspace", "ListMembers")
MANY = f"""
insert into leads (workspace_id, source_workspace_id, email)
select '{THEIRS}', '{THEIRS}', n || '@example.com' from generate_series(1, 20000) n;
insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, attempt_number)
select '{LEADS[THEIRS]}', '{THEIRS}', 'retry', n from generate_series(1, 2000) n;
insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at)
select id, workspace_id, 1, 3, now() + interval '1 hour' from leads where workspace_id = '{THEIRS}';
insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name, conditions, is_active)
select '{THEIRS}', '{THEIRS}', 'rule ' || n, '{{}}', false from generate_series(1, 500) n;
insert into user_workspaces (user_id, workspace_id, role) select gen_random_uuid(), '{THEIRS}', 'member' from generate_series(1, 5000) n;
insert into bulk_upload_jobs (id, workspace_id, owner) values ('{IMPORT}', '{THEIRS}', gen_random_uuid());
"""


def takes_longer(one, other):
    """How often the first of two takes longer than the second, of all pairs: 0.5 when they do not differ, whatever they are like."""
    ranked = sorted([(value, 1) for value in one] + [(value, 0) for value in other])
    ranks = sum(rank for rank, (_, is_one) in enumerate(ranked, 1) if is_one)
    return (ranks - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))


@pytest.mark.long
def test_how_long_it_takes_says_nothing(cluster, database, sql, tmp_path):
    """Every reading RPC about another's workspace, which is full, and about none; and about things of it and none, in one's own. By the
    whole distribution, not by an average: of 600 calls each, in random order, neither kind is longer more often than chance has it."""
    sql(ROWS)
    sql(MANY)
    sql("analyze")
    cases = {name: [method(name).make(workspace) for workspace in (THEIRS, NONE)] for name in READINGS}
    an_import = {THEIRS: IMPORT, NONE: NONE}
    for name, field, things in [*OBJECTS, ("GetImport", "import_id", an_import), ("ListRejectedRows", "import_id", an_import)]:
        if name in READINGS:
            cases[f"{name} of one's own"] = [about(name, field, things[place]) for place in (THEIRS, NONE)]
    keys, credentials = jwks(tmp_path / "keys.json"), metadata(token(MEMBER))
    with Server(cluster.service_url(database), "--token-keys", str(keys), "--token-audience", AUDIENCE, "--no-jobs") as server:
        channel, found = server.channel(), {}
        for name, requests in cases.items():
            one, times, answers = method(name.split()[0]), ([], []), set()
            for n in range(620):
                for which in random.sample((0, 1), 2):
                    began = time.perf_counter()
                    answers.add(one.call_with(channel, requests[which], credentials))
                    if n >= 20:
                        times[which].append(time.perf_counter() - began)
            assert len(answers) == 1 and answers.pop()[0] == ("NOT_FOUND" if "own" in name else "PERMISSION_DENIED"), name
            found[name] = (round(takes_longer(*times), 3), *(round(statistics.median(taken) * 1e6) for taken in times))
        print(found)
        assert not {name: one for name, one in found.items() if abs(one[0] - 0.5) > 0.1}, found


def test_no_method_is_left_out(guarded):
    """Asked of the server itself: every method of ours that it serves has a row in the table above."""
    reflect = guarded.channel().stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                              request_serializer=lambda name: b"\x22" + bytes([len(name)]) + name.encode())
    served = set()
    for service in {method.path.split("/")[1] for method in METHODS}:
        answer, = reflect(iter([service]), metadata=metadata(token(STRANGER)), timeout=DEADLINE_S)
        served |= methods_in(answer, service)
    assert served == {method.path for method in METHODS}
    declared = {f"/{service.full_name}/{method.name}" for package in (leads_pb2, maintenance_pb2, routing_pb2, rules_pb2, workspaces_pb2)
                for service in package.DESCRIPTOR.services_by_name.values() for method in service.methods}
    assert served == declared


def methods_in(answer, wanted):
    """The methods of a service, out of the files in a reflection answer: field 4 of the answer, field 1 of that, each a file."""
    found = set()
    for file in fields(fields(answer, 4)[0], 1):
        proto = descriptor_pb2.FileDescriptorProto.FromString(file)
        found |= {f"/{proto.package}.{service.name}/{method.name}" for service in proto.service for method in service.method
                  if f"{proto.package}.{service.name}" == wanted}
    return found


def fields(message, number):
    """The values of a field that has a length, in bytes that nobody here has a descriptor for."""
    values, at = [], 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        size = varint()
        if key & 7 == 2:
            if key >> 3 == number:
                values.append(message[at:at + size])
            at += size
    return values


# --- What people are told, and what they may say of themselves ----------------------------------------------------------------


def method(name):
    return next(method for method in METHODS if method.path.endswith("/" + name))


def test_what_is_not_yours_looks_like_what_is_not_there(guarded):
    channel = guarded.channel()
    for one in METHODS:
        if one.right in ("member", "admin"):
            answers = {one.call(channel, workspace, metadata(token(ADMIN))) for workspace in (THEIRS, NONE)}
            assert answers == {("PERMISSION_DENIED", "there is no such workspace, or it is not yours")}, one.path


def test_a_lead_of_others_is_not_found_in_your_workspace(guarded):
    stub, credentials = guarded.leads, metadata(token(MEMBER))
    texts = set()
    for lead in (LEADS[THEIRS], LEADS[NONE]):
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetLead(leads_pb2.GetLeadRequest(lead_id=lead, workspace_id=OURS), metadata=credentials, timeout=DEADLINE_S)
        texts.add((caught.value.code().name, caught.value.details()))
    assert texts == {("NOT_FOUND", "no such lead in that workspace")}


def refused(call, request, credentials):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, metadata=credentials, timeout=DEADLINE_S)
    return caught.value.code().name, caught.value.details()


def new_leads(**fields):
    return leads_pb2.CreateLeadsRequest(workspace_id=OURS, leads=[leads_pb2.NewLead(email=f"{uuid.uuid4()}@example.com")], **fields)


def route(guarded, credentials, lead, **fields):
    return guarded.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=OURS, **fields), metadata=credentials,
                                     timeout=DEADLINE_S)


def test_people_act_as_themselves(guarded, place):
    credentials = metadata(token(MEMBER))
    lead = guarded.leads.CreateLeads(new_leads(), metadata=credentials, timeout=DEADLINE_S).results[0].lead_id
    request = routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=OURS, user_id=str(OTHER))
    assert refused(guarded.routing.RouteLead, request, credentials) == ("PERMISSION_DENIED", "user_id: must be the caller's")
    request.user_id = "me"
    assert refused(guarded.routing.RouteLead, request, credentials) == ("INVALID_ARGUMENT", "user_id: not a UUID")
    route(guarded, credentials, lead)
    assert place[1]("select distinct actor_id::text from lead_routing_logs where lead_id = %s", (lead,)) == [(str(MEMBER),)]
    second = guarded.leads.CreateLeads(new_leads(), metadata=credentials, timeout=DEADLINE_S).results[0].lead_id
    route(guarded, metadata(token(uuid.uuid4(), SERVICE)), second, user_id=str(OTHER))
    assert place[1]("select distinct actor_id::text from lead_routing_logs where lead_id = %s", (second,)) == [(str(OTHER),)]


def test_only_services_ask_for_all_workspaces(guarded):
    health, credentials = guarded.routing.Health, metadata(token(MEMBER))
    assert refused(health, routing_pb2.HealthRequest(), credentials) == (
        "INVALID_ARGUMENT", "workspace_id: missing; only services may leave it out")
    assert refused(health, routing_pb2.HealthRequest(workspace_id="%"), credentials) == ("INVALID_ARGUMENT", "workspace_id: not a UUID")
    health(routing_pb2.HealthRequest(), metadata=metadata(token(uuid.uuid4(), SERVICE)), timeout=DEADLINE_S)


def test_who_leaves_a_workspace_is_out_at_once(guarded, place):
    """Who somebody is may be remembered; what he may is asked each time."""
    somebody = uuid.uuid4()
    credentials = metadata(token(somebody))
    request = routing_pb2.HealthRequest(workspace_id=OURS)
    assert refused(guarded.routing.Health, request, credentials)[0] == "PERMISSION_DENIED"
    place[1]("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member')", (str(somebody), OURS))
    guarded.routing.Health(request, metadata=credentials, timeout=DEADLINE_S)
    place[1]("delete from user_workspaces where user_id = %s", (str(somebody),))
    assert refused(guarded.routing.Health, request, credentials)[0] == "PERMISSION_DENIED"


# --- A membership that ends while a call is under way ---------------------------------------------------------------------------


class Somebody:
    """A member of our workspace for as long as somebody else leaves it so; `boss` is the session of who does not."""

    def __init__(self, sessions, role="admin"):
        self.sessions, self.id, self.boss = sessions, uuid.uuid4(), sessions.session()
        self.credentials = metadata(token(self.id))
        self.boss.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, %s)", self.id, OURS, role)

    def leave(self):
        """The membership's end, in another thread, once it waits for somebody."""
        ending = self.sessions.in_background(self.boss.execute, "delete from user_workspaces where user_id = %s", self.id)
        self.sessions.wait_until_blocked(self.boss)
        return ending


@pytest.fixture
def sessions(place, cluster):
    database = Database(cluster, place[2])
    yield database
    database.close_others()
    database.close()


def new_lead(guarded, email):
    request = leads_pb2.CreateLeadsRequest(workspace_id=OURS, leads=[leads_pb2.NewLead(email=email)])
    return guarded.leads.CreateLeads(request, metadata=metadata(token(ADMIN)), timeout=DEADLINE_S).results[0].lead_id


def stuck_calls(guarded, sessions, somebody):
    """Calls that cannot end before a row that another session has is free: that session, and the call."""
    stuck = sessions.session()
    stuck.begin()
    stuck.execute("select from leadrouter.rule_versions where workspace_id = %s for update", OURS)
    yield stuck, guarded.rules.CreateRule, method("CreateRule").make(OURS)

    email = f"{uuid.uuid4()}@example.com"
    lead = new_lead(guarded, email)
    stuck = sessions.session()
    stuck.begin()
    stuck.execute("insert into lead_dedupe_claims (dedupe_hash, lead_id, workspace_id, expires_at)"
                  " select dedupe_hash, id, workspace_id, 'infinity' from leads where id = %s", lead)
    yield stuck, guarded.routing.RouteLead, routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=OURS)

    stuck = sessions.session()
    stuck.begin()
    stuck.execute("insert into leads (workspace_id, source_workspace_id, external_id) values (%s, %s, 'the same')", OURS, OURS)
    yield stuck, guarded.leads.CreateLeads, leads_pb2.CreateLeadsRequest(workspace_id=OURS,
                                                                         leads=[leads_pb2.NewLead(external_id="the same")])


def test_a_membership_ends_after_the_call_that_stands_on_it(guarded, sessions):
    """Not between the question and the commit: whoever ends it waits, and then the call is done."""
    for stuck, call, request in stuck_calls(guarded, sessions, None):
        somebody = Somebody(sessions)
        answer = call.future(request, metadata=somebody.credentials, timeout=DEADLINE_S)
        wait_until(lambda: sessions.value("select count(*) from pg_stat_activity where %s = any (pg_blocking_pids(pid))", stuck.pid) > 0,
                   "the call does not get stuck")
        ending = somebody.leave()
        stuck.rollback()
        answer.result()
        ending.result()
        assert refused(call, request, somebody.credentials)[0] == "PERMISSION_DENIED"


def test_a_membership_that_is_ending_holds_up_nobody(guarded, sessions):
    """Who ends it has not committed: the call is told to come again, soon, and others go on; afterwards it is refused."""
    somebody, lead = Somebody(sessions), new_lead(guarded, f"{uuid.uuid4()}@example.com")
    calls = [(guarded.routing.RouteLead, routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=OURS)),
             (guarded.leads.CreateLeads, new_leads()), (guarded.routing.ProcessRetries, method("ProcessRetries").make(OURS)),
             (guarded.rules.DeleteRule, method("DeleteRule").make(OURS))]
    somebody.boss.begin()
    somebody.boss.execute("delete from user_workspaces where user_id = %s", somebody.id)
    for call, request in calls[:3]:
        assert refused(call, request, somebody.credentials)[0] == "ABORTED", request
    route(guarded, metadata(token(ADMIN)), lead)
    somebody.boss.commit()
    for call, request in calls:
        assert refused(call, request, somebody.credentials) == ("PERMISSION_DENIED", "there is no such workspace, or it is not yours")


def test_two_people_who_ask_for_one_lead_get_each_their_own_answer(guarded):
    """Though one of them must not get any, at whatever moment the other asks. Who is told that another has the lead just now asks again."""
    def ask(who, lead):
        request = routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=OURS)
        return guarded.routing.RouteLead.future(request, metadata=metadata(EVERYBODY[who]()), timeout=DEADLINE_S)
    for _ in range(20):
        lead = new_lead(guarded, f"{uuid.uuid4()}@example.com")
        waiting = [(who, ask(who, lead)) for who in ("stranger", "member", "other", "service", "admin", "stranger")]
        decisions, deadline = [], time.monotonic() + DEADLINE_S
        while waiting:
            assert time.monotonic() < deadline
            who, call = waiting.pop(0)
            if call.code().name == "ABORTED":
                waiting.append((who, ask(who, lead)))
            elif who in ("stranger", "other"):
                assert call.code().name == "PERMISSION_DENIED"
            else:
                decisions.append(call.result().decision_id)
        assert len(decisions) == 3 and len(set(decisions)) == 1 and decisions[0]


# --- Tokens that are no good --------------------------------------------------------------------------------------------------

HS256 = {"alg": "HS256", "typ": "JWT"}


def attacks():
    good = token(ADMIN)
    header, payload, signature = good.split(".")
    mine = claims(ADMIN)
    unsigned = encode(b'{"alg":"none"}') + "." + payload + "."
    return {
        "none": unsigned,
        "none, signed": encode(b'{"alg":"none"}') + "." + payload + "." + signature,
        "another secret": signed(HS256, mine, b"x" * 32),
        "another algorithm": signed({"alg": "RS256"}, mine),
        "kid is a path": signed({**HS256, "kid": "../../../../dev/null"}, mine, b""),
        "kid is SQL": signed({**HS256, "kid": "' union select 'x"}, mine, b"x"),
        "jwk": signed({**HS256, "jwk": {"kty": "oct", "k": encode(b"x" * 32)}}, mine, b"x" * 32),
        "jku": signed({**HS256, "jku": "http://127.0.0.1:9/keys"}, mine),
        "x5u": signed({**HS256, "x5u": "http://127.0.0.1:9/keys"}, mine),
        "no exp": signed(HS256, {name: value for name, value in mine.items() if name != "exp"}),
        "exp is text": signed(HS256, {**mine, "exp": str(mine["exp"])}),
        "nbf in the future": signed(HS256, {**mine, "nbf": mine["exp"]}),
        "twice the same name": signed('{"alg":"HS256"}', f'{{"sub":"{ADMIN}","sub":"{OTHER}","aud":"{AUDIENCE}","exp":{mine["exp"]}}}'),
        "four parts": good + ".x",
        "two parts": header + "." + payload,
        "padding": good + "=",
        "empty": "",
        "a role that is none": token(ADMIN, "leadrouter_owner"),
        "a subject that is no person": token("robert'); drop table leads; --"),
        "7 KiB": token(ADMIN, pad="x" * 5000),
    }


def test_attacks(guarded, rows):
    before = rows()
    channel = guarded.channel()
    for name, bad in attacks().items():
        code, text = method("GetLead").call(channel, OURS, metadata(bad))
        if name == "7 KiB": # large, and good
            assert code == "OK", text
        else:
            assert code == "UNAUTHENTICATED", (name, code, text)
            assert text.startswith(("the token", "authorization: ")), text
    for scheme in ("Basic dTpw", "Bearer", "bearer  ", "Token " + token(ADMIN)):
        assert method("GetLead").call(channel, OURS, (("authorization", scheme),))[0] == "UNAUTHENTICATED", scheme
    assert rows() == before
    assert method("GetLead").call(channel, OURS, metadata(token(ADMIN)))[0] == "OK", "the server goes on"


def test_the_public_key_as_a_secret(cluster, tmp_path):
    """A server that has an RSA key, and tokens signed with HS256 and what everybody knows of that key."""
    public, name = tmp_path / "public.pem", cluster.database()
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", tmp_path / "key.pem"], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "key.pem", "-pubout", "-out", public], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", tmp_path / "key.pem", "-pubout", "-outform", "DER", "-out", tmp_path / "public.der"],
                   check=True, capture_output=True)
    with Server(cluster.service_url(name), "--token-keys", str(public), "--token-audience", AUDIENCE) as server:
        text = public.read_bytes()
        for secret in (text, text.strip(), text + b"\n", (tmp_path / "public.der").read_bytes()):
            for header in (HS256, {**HS256, "kid": str(public)}, {**HS256, "jwk": {"kty": "oct", "k": encode(secret)}}):
                bad = signed(header, claims(uuid.uuid4(), SERVICE), secret)
                assert method("Health").call(server.channel(), OURS, metadata(bad))[0] == "UNAUTHENTICATED"
        server.check_log()
    cluster.drop_database(name)


@pytest.mark.parametrize("size", [8192, 8193, 60000, 70000, 1 << 20])
def test_a_token_that_is_too_long(guarded, size):
    """Refused for its length by the server itself, before anything else is looked at: of a client that asks how much it may send, and of
    one that does not ask."""
    words = "is malformed: it must have three parts" if size <= 8192 else "has more than 8192 bytes"
    channel = guarded.channel(**{"grpc.max_metadata_size": 4 << 20})
    assert method("GetLead").call(channel, OURS, metadata("x" * size)) == ("UNAUTHENTICATED", f"the token {words}")
    with Peer(guarded.address) as peer:
        peer.send(long_call(1, authorization="Bearer " + "x" * size))
        assert status_of(peer.frames_of(1)) == ("UNAUTHENTICATED", f"the token {words}")
    assert method("GetLead").call(guarded.channel(), OURS, metadata(token(ADMIN)))[0] == "OK"


def test_long_tokens_leave_nothing_behind(guarded):
    """Hundreds of them over one connection, many at once: their memory is free again."""
    channel, before = guarded.channel(**{"grpc.max_metadata_size": 4 << 20}), memory_bytes(guarded.process.pid, "VmRSS")
    check = channel.unary_unary("/leadrouter.v1.RoutingService/Health")
    for _ in range(10):
        futures = [check.future(b"", metadata=metadata("x" * (1 << 20)), timeout=DEADLINE_S) for _ in range(20)]
        assert {future.code().name for future in futures} == {"UNAUTHENTICATED"}
    most = memory_bytes(guarded.process.pid, "VmHWM")
    print(f"{before >> 20} MiB before, at most {most >> 20} MiB")
    assert most - before < 100 << 20 # 200 MiB came


def test_much_metadata_that_is_no_token(guarded):
    channel = guarded.channel(**{"grpc.max_metadata_size": 4 << 20})
    more = (("x-more", "x" * 9000),)
    code, text = method("GetLead").call(channel, OURS, metadata(token(ADMIN)) + more)
    assert code == "RESOURCE_EXHAUSTED" and text.startswith("the request's metadata has ")
    assert method("GetLead").call(channel, OURS, metadata(None) + more)[0] == "UNAUTHENTICATED"


def test_health_of_the_process_is_everybodys_and_the_protocol_is_not(guarded):
    channel = guarded.channel()
    check = channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=DEADLINE_S) == b"\x08\x01"
    reflection = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection(iter([b"\x3a\x00"]), timeout=DEADLINE_S))
    assert caught.value.code().name == "UNAUTHENTICATED"
    assert list(reflection(iter([b"\x3a\x00"]), metadata=metadata(token(STRANGER)), timeout=DEADLINE_S))
