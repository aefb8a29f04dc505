"""Goal: two people of two workspaces do at random whatever can be done, by every method and by SQL, with their own ids and each other's:
neither ever sees a text or an id of the other's rows, or leaves a text there."""
import contextlib
import json
import os
import random
import re
import uuid

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor

from support.database import Database
from support.server import Server
from support.stubs import leads_pb2, maintenance_pb2, routing_pb2, rules_pb2, workspaces_pb2
from support.tokens import AUDIENCE, jwks, metadata, token

DEADLINE_S = 30
STEPS = 10000 if os.environ.get("LEADROUTER_LONG") else 1000
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# A duplicate names the lead that it repeats, whosever that is: the id opens nothing.
REPEATED = re.compile(r"the same person is lead [0-9a-f-]{36}")

DESK = uuid.UUID(int=0x40008000000000000000 + 99)
READABLE = ("leads", "workspaces", "user_workspaces", "lead_routing_rules", "lead_routing_sets", "lead_routing_queue", "lead_routing_logs",
            "leadrouter.rule_versions", "leadrouter.rule_set_versions", "leadrouter.rule_history", "leadrouter.set_history")
METHODS = [(service, method) for package in (leads_pb2, maintenance_pb2, routing_pb2, rules_pb2, workspaces_pb2)
           for service in package.DESCRIPTOR.services_by_name.values() for method in service.methods]


class Person:
    """One of the two: what is theirs, and the word that stands in every text of it."""

    def __init__(self, name):
        self.id, self.workspace, self.mark = uuid.uuid4(), uuid.uuid4(), f"mark-{name}"
        self.credentials = metadata(token(self.id))
        self.leads, self.rules, self.imports, self.tokens, self.other = [], [], [], [""], None
        self.strangers = [str(uuid.uuid4()) for _ in range(20)]

    def claims(self):
        return json.dumps({"sub": str(self.id), "role": "authenticated"})


class World:
    """The database, the server, the two, and what chance says."""

    def __init__(self, db, server, seed):
        self.db, self.chance, self.channel = db, random.Random(seed), server.channel()
        self.people = Person("ann"), Person("bob")
        self.worked = set()
        self.direct = db.session("leadrouter_service")
        for one, other in (self.people, self.people[::-1]):
            one.other = other
            db.execute("insert into workspaces (id, name, is_active) values (%s, %s, true)", one.workspace, one.mark)
            db.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'admin')", one.id, one.workspace)
            for n in range(5):
                db.rule(one.workspace, DESK, rule_name=f"{one.mark} {n}", conditions={"industries": [one.mark]})
                db.lead(one.workspace, email=f"{one.mark}-{n}@example.com", first_name=one.mark, attributes=json.dumps({"k": one.mark}))
            db.execute("insert into lead_routing_sets (workspace_id, set_name, set_values) values (%s, %s, %s)", one.workspace, one.mark,
                       [one.mark])
        self.look()

    def look(self):
        for one in self.people:
            one.leads = [str(row.id) for row in self.db.rows("select id from leads where source_workspace_id = %s", one.workspace)]
            one.imports = [str(row.id) for row in self.db.rows("select id from bulk_upload_jobs where workspace_id = %s", one.workspace)]
            one.rules = [str(row.id) for row in self.db.rows("select id from lead_routing_rules where workspace_id = %s", one.workspace)]

    def ids_of(self, person):
        """Ids that stand in rows of this person's workspace and in none of the other's; those of workspaces are no secret."""
        def ids(workspace):
            columns = {"leads": ("workspace_id", "source_workspace_id"), "lead_routing_logs": ("source_workspace_id",),
                       "workspaces": ("id",)}
            return {found for table in READABLE for row in self.db.rows(
                f"select t::text from {table} t where %s in ({', '.join(columns.get(table, ('workspace_id',)))})", workspace)
                for found in UUID.findall(row[0])}
        known = {str(one.workspace) for one in self.people} | {str(DESK)}
        return ids(person.workspace) - ids(person.other.workspace) - known


def text_for(world, person, name):
    """A value for a field of this name: mostly one that works, often one that is the other's."""
    chance, other = world.chance, person.other

    def one_of(own, theirs):
        pick = chance.random()
        if pick < 0.65 and own:
            return chance.choice(own)
        return chance.choice(theirs) if pick < 0.9 and theirs else str(uuid.uuid4())

    if name in ("workspace_id", "source_workspace_id"):
        return one_of([str(person.workspace)], [str(other.workspace)])
    if name == "destination_workspace_id":
        return str(chance.choice((person.workspace, DESK)))
    if name in ("lead_id", "lead_ids"):
        return one_of(person.leads, other.leads)
    if name == "import_id":
        return one_of(person.imports, other.imports)
    if name in ("rule_id", "id"):
        return one_of(person.rules, other.rules)
    if name == "user_id":
        return chance.choice(("", "", "", str(person.id), str(other.id)))
    if name in ("member_id", "request_id"): # of each their own: whoever belonged to both would be nobody's secret
        return chance.choice(person.strangers)
    if name == "after_member_id":
        return ""
    if name == "page_token":
        return chance.choice(person.tokens + other.tokens)
    if name == "conditions_json":
        return json.dumps(chance.choice(({}, {"industries": [person.mark]}, {"attributes": {"k": [person.mark]}})))
    if name == "attributes_json":
        return json.dumps({"k": person.mark})
    if name == "policy_json":
        return "{}"
    if name == "email":
        return chance.choice((f"{person.mark}-{chance.randrange(10**9)}@example.com", f"same-{chance.randrange(50)}@example.com"))
    if name in ("first_name", "last_name", "company_name", "phone") and chance.random() < 0.5:
        return ""
    return f"{person.mark} {chance.randrange(10**6)}"


def fill(world, person, message, depth=0):
    """Random values in the fields of a request."""
    chance = world.chance
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.message_type.full_name.startswith("google.") or depth > 3:
                continue
            parts = [getattr(message, field.name).add() for _ in range(chance.randint(1, 2))] \
                if field.label == FieldDescriptor.LABEL_REPEATED else [getattr(message, field.name)]
            for part in parts:
                part.SetInParent()
                fill(world, person, part, depth + 1)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if field.label == FieldDescriptor.LABEL_REPEATED:
                getattr(message, field.name).extend(text_for(world, person, field.name) for _ in range(chance.randint(0, 2)))
            elif not (field.name == "id" and message.DESCRIPTOR.name == "Workspace"):
                setattr(message, field.name, text_for(world, person, field.name))
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            continue
        elif field.type == FieldDescriptor.TYPE_BOOL:
            setattr(message, field.name, field.name == "is_active" or chance.random() < 0.5)
        elif field.type == FieldDescriptor.TYPE_ENUM:
            setattr(message, field.name, chance.choice([value.number for value in field.enum_type.values][:2]))
        elif field.name == "expected_version":
            continue
        elif "version" in field.name:
            setattr(message, field.name, chance.choice((0, 1, 1, 1, 2, 5)))
        else:
            setattr(message, field.name, chance.randrange(3))


def strings(message):
    """(field, text) of everything in an answer."""
    for field, value in message.ListFields():
        for one in value if field.label == FieldDescriptor.LABEL_REPEATED else [value]:
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                yield from strings(one)
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield field.name, one


def import_parts(world, person):
    """A whole import, of one row, to one of the two workspaces."""
    start, rows = leads_pb2.ImportStart(), leads_pb2.ImportRows()
    fill(world, person, start)
    fill(world, person, rows)
    del rows.rows[1:]
    rows.rows[0].number, rows.end_offset = 1, 1
    rows.rows[0].ClearField(world.chance.choice(("lead", "rejection")))
    return [leads_pb2.ImportLeadsRequest(start=start), leads_pb2.ImportLeadsRequest(rows=rows),
            leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())]


def call(world, person, service, method):
    """One call; what was seen of it, and the ids that it brought along."""
    request, answer = method.input_type._concrete_class(), method.output_type._concrete_class
    fill(world, person, request)
    path = f"/{service.full_name}/{method.name}"
    parts = {"request_serializer": lambda message: message.SerializeToString(), "response_deserializer": answer.FromString}
    seen = []
    try:
        if method.client_streaming:
            requests = import_parts(world, person) if method.name == "ImportLeads" else [request]
            request = [str(one) for one in requests]
            answers = list(world.channel.stream_stream(path, **parts)(iter(requests), timeout=DEADLINE_S, metadata=person.credentials))
        else:
            answers = [world.channel.unary_unary(path, **parts)(request, timeout=DEADLINE_S, metadata=person.credentials)]
        world.worked.add(method.name)
        for message in answers:
            seen += [REPEATED.sub("", text) for name, text in strings(message) if name != "duplicate_lead_id"]
            if getattr(message, "next_page_token", ""):
                person.tokens = person.tokens[-5:] + [message.next_page_token]
    except grpc.RpcError as error:
        assert error.code().name not in ("UNKNOWN", "INTERNAL"), (path, error.details(), str(request))
        seen = [error.details(), str(error.trailing_metadata())]
    return path, seen, set(UUID.findall(str(request)))


def ask_directly(world, person):
    """A statement as the person, who got at the database itself."""
    table = world.chance.choice(READABLE)
    key = {"workspaces": "id", "lead_routing_logs": "source_workspace_id"}.get(table, "workspace_id")
    statement = world.chance.choice((
        f"select t::text from {table} t", f"select t::text from {table} t where {key} = '{person.other.workspace}'",
        f"update {table} set {key} = {key} where {key} = '{person.other.workspace}' returning {key}::text",
        f"delete from {table} where {key} = '{person.other.workspace}' returning {key}::text",
        f"select g::text from leadrouter.own_rule_set_at('{person.other.workspace}', null) g",
        f"select g::text from leadrouter.own_list_retries('{person.other.workspace}', false, null, null, 10) g"))
    world.direct.begin()
    world.direct.execute("select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)", person.claims())
    seen = []
    with contextlib.suppress(Exception):
        seen = [row[0] for row in world.direct.rows(statement)]
    world.direct.rollback()
    if table in ("leads", "lead_routing_logs"): # rows that name the lead which they repeat
        seen = [UUID.sub("", text) for text in seen]
    if str(person.other.workspace) in statement:
        assert seen == [], statement
    return statement, seen, set()


@pytest.fixture
def world(cluster, tmp_path):
    name = cluster.database()
    db = Database(cluster, name)
    db.execute("insert into workspaces (id, name, is_active) values (%s, 'desk', true)", DESK)
    keys = jwks(tmp_path / "keys.json")
    seed = int(os.environ.get("LEADROUTER_TEST_SEED", random.randrange(10**6)))
    print(f"LEADROUTER_TEST_SEED={seed}")
    with Server(cluster.service_url(name), "--token-keys", str(keys), "--token-audience", AUDIENCE, "--no-jobs") as server:
        yield World(db, server, seed)
        server.check_log()
    db.close_others()
    db.close()
    cluster.drop_database(name)


def test_nobody_sees_anything_of_the_others(world):
    answers = {person: [] for person in world.people}
    for step in range(STEPS):
        person = world.chance.choice(world.people)
        if world.chance.random() < 0.15:
            answers[person].append(ask_directly(world, person))
        else:
            answers[person].append(call(world, person, *choose(world)))
        if step % 25 == 0:
            world.look()
    for person, told in answers.items():
        secret = world.ids_of(person.other)
        assert len(secret) > 20
        for what, seen, sent in told:
            for text in seen:
                assert person.other.mark not in text, (what, text)
                assert not (set(UUID.findall(text)) - sent) & secret, (what, text)
        for table in READABLE:
            sources = ("lead_routing_logs", "leads")
            key = "id" if table == "workspaces" else "source_workspace_id" if table in sources else "workspace_id"
            assert world.db.value(f"select count(*) from {table} t where {key} = %s and t::text like %s", person.workspace,
                                  f"%{person.other.mark}%") == 0, table
    assert world.worked == may_succeed(), world.worked ^ may_succeed()


def choose(world):
    """Any method; a third of the time one of those that have not worked yet, so that each does."""
    missing = [one for one in METHODS if one[1].name in may_succeed() - world.worked]
    return world.chance.choice(missing if missing and world.chance.random() < 0.33 else METHODS)


def may_succeed():
    """The methods that are for people."""
    services = {"RouteLeads", "ReleaseStaleLocks", "ListJobs", "RunJob", "PauseJob", "ResumeJob", "CancelRetries", "CreateWorkspace",
                "VerifyAudit"}
    return {method.name for _, method in METHODS} - services
