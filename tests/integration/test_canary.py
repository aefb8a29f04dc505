"""Goal: what callers send about people is in no log, no error text and no row of the audit log, whatever is called and whatever fails.

Each text of each request is a marker of its own, planted by the descriptors of the protocol: a new field or a new method is planted
too. Texts that the protocol marks (leadrouter/v1/privacy.proto) may be nowhere; others neither in the server's log nor in an error.
What the rules decide by is the exception that the protocol names; the last tests are about it."""
import json
import re
import subprocess
import uuid

import grpc
import pytest

from support.admin import get
from support.postgres import LEADCTL
from support.product_cluster import execute, wait_until
from support.server import Server
from support.stubs import leads_pb2, maintenance_pb2, privacy_pb2, routing_pb2, rules_pb2, workspaces_pb2

PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000002"
RULE = "00000000-0000-4000-8000-0000000000b1"
USER = "00000000-0000-4000-8000-0000000000c1"
DEADLINE_S = 30
FILES = [leads_pb2, maintenance_pb2, routing_pb2, rules_pb2, workspaces_pb2]
MARKER = re.compile(r"Canary[0-9a-f]{8}")
NAMES = re.compile(r'workspace_name="[^"]*"') # which the metrics tell
PERSONAL = (privacy_pb2.DATA_CLASS_PERSONAL, privacy_pb2.DATA_CLASS_PROFILE)

ROWS = f"""
insert into workspaces (id, name, workspace_type, is_active)
values ('{PARTNER}', 'Partner', 'partner', true), ('{DESK}', 'Desk', 'standard', true);
insert into user_workspaces (user_id, workspace_id, role) values ('{USER}', '{PARTNER}', 'admin');
insert into lead_routing_rules (id, workspace_id, destination_workspace_id, rule_name, conditions)
values ('{RULE}', '{PARTNER}', '{DESK}', 'without gmail', '{{"field": "email.domain", "op": "ne", "value": "gmail.com"}}');
"""


def data_class(field):
    return field.GetOptions().Extensions[privacy_pb2.data_class]


def methods():
    """Every method of every service, as (path, request, response, streams)."""
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield (f"/{service.full_name}/{method.name}", getattr(file_of(method.input_type), method.input_type.name),
                       getattr(file_of(method.output_type), method.output_type.name), method.client_streaming)


def file_of(message):
    return next(file for file in FILES if file.DESCRIPTOR.name == message.file.name)


# --- Markers ---------------------------------------------------------------------------------------------------------------------------


class Planter:
    """Fills messages with markers and remembers which of them are about people, and what was planted."""

    def __init__(self):
        self.marked, self.others, self.planted = set(), set(), set()

    def marker(self, field):
        marker = f"Canary{uuid.uuid4().hex[:8]}"
        is_marked = field is not None and data_class(field) in PERSONAL
        (self.marked if is_marked else self.others).add(marker)
        if is_marked:
            self.planted.add(field.full_name)
        return marker

    def text(self, field, broken):
        marker = self.marker(field)
        if broken:
            return marker
        if field.name == "attributes_json":
            return json.dumps({"note": marker, "Key" + self.marker(field): 1})
        return f"{marker}@Acme.example" if field.name == "email" else marker

    def fill(self, message, ids=(), broken=False, prefix="", suffix=""):
        """`ids`: values for fields of ids, by name; others get a new one. broken: markers there too, and where JSON belongs."""
        for field in message.DESCRIPTOR.fields:
            is_list = field.label == field.LABEL_REPEATED
            if field.message_type is not None and field.message_type.file.package == "leadrouter.v1":
                self.fill(getattr(message, field.name).add() if is_list else getattr(message, field.name), ids, broken, prefix, suffix)
            elif field.type == field.TYPE_STRING:
                if data_class(field) == privacy_pb2.DATA_CLASS_ID and not broken:
                    value = dict(ids).get(field.name, str(uuid.uuid4()))
                else:
                    value = prefix + self.text(field, broken) + suffix
                getattr(message, field.name).append(value) if is_list else setattr(message, field.name, value)
        return message


class Birdcage:
    """A server on the lowest level of the log, and all that it has told its callers of failures."""

    def __init__(self, server, sql):
        self.server, self.sql, self.planter, self.told, self.codes, self.first = server, sql, Planter(), [], {}, {}

    def call(self, path, request, response, streams=False):
        """The answer, or None; `request` may be bytes, or for a stream a list."""
        channel = self.server.channels[0]
        parts = {"request_serializer": lambda message: message if isinstance(message, bytes) else message.SerializeToString(),
                 "response_deserializer": response.FromString}
        try:
            if streams:
                requests = request if isinstance(request, list) else [request]
                answers = list(channel.stream_stream(path, **parts)(iter(requests), timeout=DEADLINE_S))
                answer = answers[0] if answers else None
            else:
                answer = channel.unary_unary(path, **parts)(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            self.told.append(f"{MARKER.sub('', path)}: {error.code().name} {error.details()} {error.trailing_metadata()}")
            self.codes.setdefault(path, set()).add(error.code().name)
            self.first.setdefault(path, self.told[-1])
            return None
        self.codes.setdefault(path, set()).add("OK")
        self.told += [f"{path}: {text}" for text in errors_of(answer)] if answer is not None else []
        return answer

    def fill(self, request, **options):
        return self.planter.fill(request(), **options)

    def check(self):
        """Nothing is where it should not be."""
        log, told = self.server.text(), "\n".join(self.told)
        assert self.planter.marked, "nothing was planted"
        for where, text in (("the log", log), ("an error", told)):
            found = MARKER.search(text)
            assert not found, f"{where}: {text[max(0, found.start() - 300):found.end() + 100]}"
        for table, row in kept(self.sql):
            found = [marker for marker in MARKER.findall(row) if marker in self.planter.marked]
            assert not found, f"{table}: {row}"
        for page in ("/metrics", "/api/health", "/livez", "/readyz"):
            answer = get(self.server, page)
            assert answer.status in (200, 503) and len(answer.text) > 20
            found = MARKER.search(NAMES.sub("", answer.text))
            assert not found, f"{page}: {found and answer.text[max(0, found.start() - 300):found.end() + 100]}"


def errors_of(message):
    """Texts of an answer that say why something failed, however deep."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if field.label == field.LABEL_REPEATED else [value]:
                yield from errors_of(each)
        elif field.name in ("message", "routing_message", "error", "last_error", "reason", "summary", "problems"):
            yield str(value)


def kept(sql):
    """What the database keeps, as JSON: every table but the leads themselves."""
    tables = [table for table, in sql("select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                                      " where n.nspname in ('public', 'leadrouter') and c.relkind = 'r' and c.relname <> 'leads'")]
    assert {"lead_routing_queue", "bulk_upload_jobs", "leadrouter.create_requests", "leadrouter.rule_history"} < set(tables)
    for table in tables:
        yield from ((table, row) for row, in sql(f"select to_jsonb(t)::text from {table} t"))
    yield from (("leads", row) for row, in sql("select routing_error from leads where routing_error is not null"))


@pytest.fixture
def cage(cluster, database, sql):
    sql(ROWS)
    with Server(cluster.service_url(database), "--log-level", "debug", "--log-sample-per-mille", "1000", "--admin-listen",
                "127.0.0.1:0") as server:
        yield Birdcage(server, sql)
        server.check_log()


def take_in(cage, route=True, **fields):
    """A lead of markers; its id, or None."""
    request = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, route=route)
    lead = cage.planter.fill(request.leads.add())
    for name, value in fields.items():
        setattr(lead, name, value)
    answer = cage.call("/leadrouter.v1.LeadService/CreateLeads", request, leads_pb2.CreateLeadsResponse)
    return answer.results[0].lead_id if answer is not None else None


# --- The protocol ----------------------------------------------------------------------------------------------------------------------


def test_what_is_known_of_a_lead_is_marked():
    for field in leads_pb2.NewLead.DESCRIPTOR.fields:
        assert data_class(field) in PERSONAL, f"{field.full_name} says nothing of people, or its mark was forgotten"


def test_ids_are_marked():
    """So that they are logged; what only looks like one by its name is not."""
    for file in FILES:
        for message in file.DESCRIPTOR.message_types_by_name.values():
            for field in message.fields:
                if field.name.endswith("_id") and field.name != "external_id":
                    assert data_class(field) == privacy_pb2.DATA_CLASS_ID, field.full_name


# --- Every method ----------------------------------------------------------------------------------------------------------------------


def import_parts(cage, **options):
    """A whole import: where it goes is right, what its row says is not always."""
    rows = cage.fill(leads_pb2.ImportRows, **options)
    del rows.rows[1:]
    rows.rows[0].number = 1
    rows.rows[0].ClearField("rejection") # words of the caller's own choice
    start = leads_pb2.ImportStart(workspace_id=PARTNER, route=True, source=cage.planter.marker(None))
    return [leads_pb2.ImportLeadsRequest(start=start), leads_pb2.ImportLeadsRequest(rows=rows),
            leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())]


def right(cage, path, request):
    """A request that succeeds. What the descriptors cannot know stands here; a new method that needs more has to be added."""
    ids = {"workspace_id": PARTNER, "source_workspace_id": PARTNER, "destination_workspace_id": DESK, "user_id": USER, "rule_id": RULE}
    name = path.rsplit("/", 1)[1]
    if name == "ImportLeads":
        return import_parts(cage)
    if name in ("GetImport", "ListRejectedRows"):
        cage.sql("insert into bulk_upload_jobs (workspace_id, owner) values (%s, gen_random_uuid())", (PARTNER,))
        ids["import_id"] = str(cage.sql("select id from bulk_upload_jobs limit 1")[0][0])
    if "lead_id" in str([field.name for field in request.DESCRIPTOR.fields]) or name in ("RouteLeads", "CancelRetries", "TestRules"):
        ids["lead_id"] = ids["lead_ids"] = take_in(cage, route=False)
    message = cage.fill(request, ids=ids)
    for rules in ("rules", "draft_rules"):
        for rule in getattr(message, rules, []):
            rule.conditions_json = json.dumps({"field": "email", "op": "eq", "value": cage.planter.marker(None)})
    if hasattr(message, "rule"):
        message.rule.conditions_json = json.dumps({"field": "last_name", "op": "eq", "value": cage.planter.marker(None)})
        message.rule.id = RULE if name == "UpdateRule" else ""
    if hasattr(message, "workspace"):
        message.workspace.policy_json = "{}"
        message.workspace.id = PARTNER if name == "UpdateWorkspace" else str(uuid.uuid4())
    if hasattr(message, "leads") and name == "CreateLeads":
        message.route = True
    for token in ("page_token", "after_member_id", "expected_hash"): # empty ones ask for nothing of before
        if hasattr(message, token):
            setattr(message, token, "")
    if name in ("RunJob", "PauseJob", "ResumeJob"):
        message.name = "expiry"
    if name == "RevertRules":
        message.version = cage.sql(f"select max(version) from leadrouter.rule_set_versions where workspace_id = '{PARTNER}'")[0][0]
    if name == "DiffRuleVersions":
        message.from_version = cage.sql(f"select max(version) from leadrouter.rule_set_versions where workspace_id = '{PARTNER}'")[0][0]
    if name == "SetMember":
        message.member.role = workspaces_pb2.MEMBER_ROLE_ADMIN
    if hasattr(message, "workspace_version"):
        message.workspace_version = 0
    return message


WRONG = {
    "ids that are none, JSON that is none": {"broken": True},
    "ids that nobody has": {},
    "too long": {"suffix": "x" * 70000},
    "blanks and line ends around": {"broken": True, "prefix": " \n\t", "suffix": "\r\n"},
    "quotes, as of JSON and SQL": {"broken": True, "prefix": "{\"a\": '", "suffix": "\"; --"},
    "a domain in place of a name": {"prefix": "jane.", "suffix": ".example"},
}


def test_every_method(cage):
    """Each with requests that are right, wrong in many ways, and no messages at all."""
    for path, request, response, streams in methods():
        cage.call(path, right(cage, path, request), response, streams)
        for options in WRONG.values():
            cage.call(path, cage.fill(request, **options), response, streams)
            if path.endswith("/ImportLeads"):
                cage.call(path, import_parts(cage, **options), response, streams)
        whole = cage.fill(request).SerializeToString()
        cage.call(path, whole[:-3], response, streams)
        cage.call(path, whole.replace(b"Canary", b"Canary\xff"), response, streams)
        cage.call(f"{path}{cage.planter.marker(None)}", cage.fill(request), response, streams)
    for path, codes in cage.codes.items():
        known = MARKER.sub("", path) == path
        assert ("OK" in codes) == known, f"{path} never succeeded: right() has to know more of it; {cage.first[path]}"
    for _, request, _, _ in methods():
        assert marked_in(request.DESCRIPTOR) <= cage.planter.planted, "a field that was not planted"
    wait_until(lambda: cage.server.events("rpc.called"), "no call was logged")
    cage.check()


def test_every_kind_of_decision(cage, cluster, database):
    """Routed, a duplicate, one that waits, one that failed, one that is held: their events tell ids and times, and nothing of the lead."""
    person = {name: cage.planter.marker(None) for name in ("phone", "first_name", "last_name", "company_name")}
    person["email"] = cage.planter.marker(None) + "@acme.example"
    routed, _ = take_in(cage, **person), take_in(cage, **person)
    waiting = take_in(cage, email=cage.planter.marker(None) + "@gmail.com")
    held = take_in(cage, route=False)

    def route(lead, **fields):
        request = routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER, **fields)
        return cage.call("/leadrouter.v1.RoutingService/RouteLead", request, routing_pb2.RouteLeadResponse)
    for _ in range(3):
        assert route(waiting, force=True)
    assert route(routed).outcome == routing_pb2.ROUTING_OUTCOME_ALREADY_ROUTED
    with cluster.connect(database) as holder, holder.cursor() as cursor:
        cursor.execute("select from leads where id = %s for update", (held,))
        assert route(held) is None
        holder.rollback()
    for event in ("complete", "duplicate_detected", "retry_queued", "failed", "lock.failed"):
        cage.server.wait_for(f"routing.{event}")
    cage.check()


def marked_in(message):
    """Full names of the marked fields of a request, however deep."""
    names = {field.full_name for field in message.fields if data_class(field) in PERSONAL}
    for field in message.fields:
        if field.message_type is not None and field.message_type.file.package == "leadrouter.v1":
            names |= marked_in(field.message_type)
    return names


# --- Every failure of the database -------------------------------------------------------------------------------------------------------

TRIGGER = """
create function public.host_fault() returns trigger language plpgsql security definer as $$ begin {action} return new; end $$;
create trigger host_fault {when} on leads for each row execute function public.host_fault();
"""
QUOTES = "coalesce(new.email, '') || coalesce(new.first_name, '') || new::text"
FAULTS = {
    "raised": f"raise exception '%', {QUOTES} using detail = new::text, hint = new::text;",
    "raised as another class": f"raise exception '%', {QUOTES} using errcode = '53100';",
    "a value of another type": f"perform ({QUOTES})::int;",
    "SQL that was made of values": f"execute 'select ' || {QUOTES};",
    "a table that a value names": "execute format('select * from %I', new.last_name);",
    "too slow": "perform set_config('statement_timeout', '1', true); perform pg_sleep(20);",
    "cancelled": "perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(20);", # PostgreSQL's words and SQLSTATE but for the reason
    "out of the blue": "perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(20);",
    "a warning": f"raise warning '%', {QUOTES};",
}


# Those that wait the longest, several times for a timeout of ten seconds, are left to the long form.
LONG = (("too slow", "before insert"), ("too slow", "before update"), ("out of the blue", "before update"))


@pytest.mark.parametrize("fault, when", [
    pytest.param(fault, when, marks=[pytest.mark.long] if (fault, when) in LONG else [])
    for fault in FAULTS for when in ("before insert", "before update")])
def test_a_host_whose_trigger_fails(cage, fault, when):
    cage.sql(TRIGGER.format(action=FAULTS[fault], when=when))
    lead = take_in(cage)
    take_in(cage, email="jane@gmail.com")
    if lead is not None:
        request = routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER, force=True)
        cage.call("/leadrouter.v1.RoutingService/RouteLead", request, routing_pb2.RouteLeadResponse)
        cage.call("/leadrouter.v1.RoutingService/ProcessRetries", routing_pb2.ProcessRetriesRequest(), routing_pb2.ProcessRetriesResponse)
        history = cage.call("/leadrouter.v1.RuleService/GetRoutingHistory",
                            rules_pb2.GetRoutingHistoryRequest(lead_id=lead, workspace_id=PARTNER), rules_pb2.GetRoutingHistoryResponse)
        assert history is not None
    has_failed = cage.told or cage.sql("select 1 from lead_routing_logs where error_message is not null")
    assert fault == "a warning" or has_failed, "nothing failed"
    cage.check()


@pytest.mark.parametrize("rule", [
    "alter table leads add constraint host_check check (email is null)",
    "alter table leads add column again text generated always as (first_name) stored, add constraint host_check "
    "check (again is null)",
    "alter table leads alter column city type varchar(3)",
    "create unique index host_unique on leads ((left(first_name, 6)))",
    "alter table leads add constraint host_exclusion exclude using btree ((left(last_name, 6)) with =)",
], ids=lambda rule: rule.split("host_")[-1].split()[0])
def test_a_host_whose_constraints_refuse(cage, rule):
    cage.sql(rule)
    assert take_in(cage) is None or take_in(cage) is None
    cage.server.wait_for("rpc.failed")
    cage.check()


def test_a_commit_of_which_nobody_knows(cage):
    """The connection ends inside COMMIT."""
    cage.sql("""create function public.at_commit() returns trigger language plpgsql security definer as
                $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(20); return null; end $$;
                create constraint trigger at_commit after insert or update on leads deferrable initially deferred
                for each row execute function public.at_commit()""")
    assert take_in(cage) is None
    assert cage.told and cage.server.wait_for("rpc.failed")
    cage.check()


def test_a_database_that_goes_away(cluster, database, sql):
    sql(ROWS)
    with Server(cluster.service_url(database), "--log-level", "debug") as server:
        cage = Birdcage(server, sql)
        assert take_in(cage)
        away = [f"alter database {database} allow_connections false",
                f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"]
        for statement in away:
            execute(cluster, "postgres", statement)
        assert take_in(cage) is None
        for path, request, response, streams in methods():
            cage.call(path, cage.fill(request, ids={"workspace_id": PARTNER}), response, streams)
        found = MARKER.search(server.text() + "\n".join(cage.told))
        assert cage.told and not found, found
        server.check_log()
        execute(cluster, "postgres", f"alter database {database} allow_connections true")


# --- leadctl -----------------------------------------------------------------------------------------------------------------------


def test_leadctl_says_where_and_not_what(cage, tmp_path):
    """Files that are wrong in every way, and a database that refuses: leadctl names lines and columns."""
    said = []

    def run(*words):
        done = subprocess.run([LEADCTL, *words, "--target", cage.server.address], capture_output=True, text=True, timeout=60)
        said.append(done.stderr + ("" if words[0] == "leads" else done.stdout))
        return done

    def row(**more):
        lead = cage.planter.fill(leads_pb2.NewLead())
        columns = {name: getattr(lead, name) for name in ("external_id", "email", "first_name", "last_name", "company_name", "city")}
        return ",".join({**columns, **more}.values()) + "\n"

    head = "external_id,email,first_name,last_name,company_name,city\n"
    path = tmp_path / "leads.csv"
    for content in (head + row(), head + row() + row(city="x" * 20000), head + row() + '"' + row(), head + row(email="\udcff") + row(),
                    head + row() + row().strip() + ",one,too,many\n", head + row(first_name="a\0b")):
        path.write_bytes(content.encode(errors="surrogateescape"))
        run("import", path, "--workspace", PARTNER, "--route")
        run("import", path, "--workspace", PARTNER, "--json")
    cage.sql("alter table leads add constraint host_check check (external_id is null or city is null or length(city) > 30) not valid")
    path.write_text(head + row() + row())
    assert run("import", path, "--workspace", PARTNER, "--route").returncode != 0
    run("route", str(uuid.uuid4()), "--workspace", PARTNER)
    found = [marker for marker in MARKER.findall("\n".join(said)) if marker in cage.planter.marked]
    assert not found, said
    cage.check()


# --- What rules decide by ----------------------------------------------------------------------------------------------------------


def test_the_audit_log_keeps_what_rules_look_at_and_never_who_the_lead_is(cage):
    """The exception: values of fields that say not who somebody is, and that a rule of the workspace names."""
    cage.sql("delete from lead_routing_rules")
    fields = ["external_id", "email", "email.domain", "phone", "first_name", "last_name", "company_name", "city", "attributes.note"]
    for number, field in enumerate(fields):
        conditions = json.dumps({"field": field, "op": "eq", "value": "somebody else"})
        cage.sql(f"insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name, conditions) "
                 f"values ('{PARTNER}', '{DESK}', 'rule {number}', '{conditions}')")
    named = {name: cage.planter.marker(None) for name in ("city", "note")}
    lead = take_in(cage, city=named["city"], attributes_json=json.dumps({"note": named["note"], "other": cage.planter.marker(
        leads_pb2.NewLead.DESCRIPTOR.fields_by_name["attributes_json"])}))
    rows = "\n".join(row for _, row in kept(cage.sql))
    assert lead and named["city"] in rows and named["note"] in rows
    cage.check() # the others, and all in the server's log
