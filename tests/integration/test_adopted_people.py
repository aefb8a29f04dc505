"""Goal: on tables of a host application that were taken over people read over RPC what is theirs and nothing else, as on our own; whether
the host had row security of its own or not."""
import uuid

import grpc
import pytest

from support.postgres import Postgres, migrate
from support.server import Server
from support.stubs import leads_pb2, routing_pb2, rules_pb2, workspaces_pb2, workspaces_pb2_grpc
from support.tokens import AUDIENCE, SERVICE, jwks, metadata, token

ONE, TWO = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
ANN, BOB = uuid.UUID(int=0xa1), uuid.UUID(int=0xb1)
LEADS = {ONE: "00000000-0000-4000-8000-0000000000e1", TWO: "00000000-0000-4000-8000-0000000000e2"}
CALL_S = 30

HOST = f"""
do $$ begin if to_regrole('host') is null then create role host login; end if; end $$;
create table workspaces (id uuid primary key, name text);
create table user_workspaces (user_id uuid, workspace_id uuid references workspaces on delete cascade, role text,
    primary key (user_id, workspace_id));
create table leads (id uuid primary key default gen_random_uuid(), workspace_id uuid not null, email text not null,
    first_name text, number serial);
alter table workspaces owner to host;
alter table user_workspaces owner to host;
alter table leads owner to host;
insert into workspaces values ('{ONE}', 'One'), ('{TWO}', 'Two');
insert into user_workspaces values ('{ANN}', '{ONE}', 'admin'), ('{BOB}', '{TWO}', 'member');
insert into leads (id, workspace_id, email, first_name)
values ('{LEADS[ONE]}', '{ONE}', 'one@example.com', 'Ann'), ('{LEADS[TWO]}', '{TWO}', 'two@example.com', 'Bob');
"""
OWN_POLICIES = """
alter table leads enable row level security;
create policy hosts_own on leads for all to host using (true);
"""


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as postgres:
        postgres.let_in()
        yield postgres


@pytest.fixture(params=["", OWN_POLICIES], ids=["without row security before", "with"])
def guarded(postgres, tmp_path, request):
    name = postgres.database()
    connection = postgres.connect(name)
    connection.cursor().execute(HOST + request.param)
    connection.close()
    done = migrate(postgres.url(name), "up", "--adopt", "--adopt-losing", "host")
    assert done.returncode == 0, done.stderr
    keys = jwks(tmp_path / "keys.json")
    with Server(postgres.url(name, "leadrouter_service"), "--token-keys", str(keys), "--token-audience", AUDIENCE, "--no-jobs") as server:
        assert not server.events("tenancy.not_enforced")
        server.connection = postgres.connect(name)
        server.workspaces = workspaces_pb2_grpc.WorkspaceServiceStub(server.channel())
        yield server
        server.connection.close()
        server.check_log()


def code(call, request, who):
    try:
        call(request, metadata=metadata(token(who)), timeout=CALL_S)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def reads(server, workspace):
    """Every call that reads of a workspace, with a request about it."""
    return [(server.leads.ListLeads, leads_pb2.ListLeadsRequest(workspace_id=workspace)),
            (server.leads.GetLead, leads_pb2.GetLeadRequest(workspace_id=workspace, lead_id=LEADS[workspace])),
            (server.leads.ListImports, leads_pb2.ListImportsRequest(workspace_id=workspace)),
            (server.rules.ListRules, rules_pb2.ListRulesRequest(workspace_id=workspace)),
            (server.rules.GetRoutingHistory, rules_pb2.GetRoutingHistoryRequest(workspace_id=workspace, lead_id=LEADS[workspace])),
            (server.rules.TestRules, rules_pb2.TestRulesRequest(workspace_id=workspace, lead_ids=[LEADS[workspace]])),
            (server.workspaces.GetWorkspace, workspaces_pb2.GetWorkspaceRequest(workspace_id=workspace)),
            (server.workspaces.ListMembers, workspaces_pb2.ListMembersRequest(workspace_id=workspace)),
            (server.routing.Health, routing_pb2.HealthRequest(workspace_id=workspace))]


def test_what_people_read(guarded):
    for person, own, other in ((ANN, ONE, TWO), (BOB, TWO, ONE)):
        assert {call._method: code(call, request, person) for call, request in reads(guarded, own)} == {
            call._method: "OK" for call, _ in reads(guarded, own)}
        assert {code(call, request, person) for call, request in reads(guarded, other)} == {"PERMISSION_DENIED"}
        assert code(guarded.leads.GetLead, leads_pb2.GetLeadRequest(workspace_id=own, lead_id=LEADS[other]), person) == "NOT_FOUND"
        options = {"metadata": metadata(token(person)), "timeout": CALL_S}
        assert [lead.id for lead in guarded.leads.ListLeads(leads_pb2.ListLeadsRequest(workspace_id=own), **options).leads] == [LEADS[own]]
        assert [one.id for one in guarded.workspaces.ListWorkspaces(workspaces_pb2.ListWorkspacesRequest(), **options).workspaces] == [own]
        members = guarded.workspaces.ListMembers(workspaces_pb2.ListMembersRequest(workspace_id=own), **options).members
        assert [member.member_id for member in members] == [str(person)]


def test_what_people_write(guarded):
    new = leads_pb2.CreateLeadsRequest(workspace_id=ONE, route=True, leads=[leads_pb2.NewLead(email="new@example.com")])
    made = guarded.leads.CreateLeads(new, metadata=metadata(token(ANN)), timeout=CALL_S)
    assert made.created == 1
    lead = made.results[0].lead_id
    assert code(guarded.leads.GetLead, leads_pb2.GetLeadRequest(workspace_id=ONE, lead_id=lead), ANN) == "OK"
    assert code(guarded.leads.CreateLeads, new, BOB) == "PERMISSION_DENIED"
    service = metadata(token(uuid.uuid4(), SERVICE))
    assert guarded.leads.ListLeads(leads_pb2.ListLeadsRequest(workspace_id=TWO), metadata=service, timeout=CALL_S).leads[0].id == LEADS[TWO]


def test_erasing(guarded):
    """An old lead in the host's table, which has a personal column that is never null: its person goes, the host's own column stays, and
    everybody who sees the lead sees when it was."""
    def row(lead):
        with guarded.connection.cursor() as cursor:
            cursor.execute("select to_jsonb(l) from leads l where id = %s", (lead,))
            return cursor.fetchone()[0]
    before, other = row(LEADS[ONE]), row(LEADS[TWO])
    erase = leads_pb2.EraseLeadRequest(workspace_id=ONE, lead_id=LEADS[ONE])
    assert code(guarded.leads.EraseLead, erase, BOB) == "PERMISSION_DENIED"
    assert code(guarded.leads.EraseLead, leads_pb2.EraseLeadRequest(workspace_id=ONE, lead_id=LEADS[TWO]), ANN) == "NOT_FOUND"
    assert (row(LEADS[ONE]), row(LEADS[TWO])) == (before, other) and before["erased_at"] is None
    assert code(guarded.leads.EraseLead, erase, ANN) == "OK"
    after = row(LEADS[ONE])
    assert after["erased_at"] and (after["email"], after["first_name"]) == ("", None)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"email", "first_name", "dedupe_hash", "erased_at", "updated_at"} and after["dedupe_hash"] is None
    assert row(LEADS[TWO]) == other
    got = guarded.leads.GetLead(leads_pb2.GetLeadRequest(workspace_id=ONE, lead_id=LEADS[ONE]), metadata=metadata(token(ANN)),
                                timeout=CALL_S)
    assert got.lead.erased_at.seconds > 0 and (got.lead.data.email, got.lead.data.first_name) == ("", "")
    assert code(guarded.leads.EraseLead, erase, ANN) == "OK" and row(LEADS[ONE]) == after, "a second time there is nothing to do"
