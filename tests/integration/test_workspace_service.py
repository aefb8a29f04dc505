"""Goal: workspaces are made, read, changed and listed, and people put into them and out of them, over gRPC alone; what is changed is felt
by the next lead; a person changes no more than what administrators may, and no workspace loses its last one by them."""
import concurrent.futures
import json
import uuid

import grpc
import pytest

from support.server import Server
from support.stubs import leads_pb2, routing_pb2, rules_pb2, rules_pb2_grpc, workspaces_pb2, workspaces_pb2_grpc
from support.tokens import AUDIENCE, SERVICE, jwks, metadata, token

pytestmark = pytest.mark.asan
NOBODY = "00000000-0000-4000-8000-0000000000ff"
DEADLINE_S = 20
STANDARD, PARTNER = workspaces_pb2.WORKSPACE_TYPE_STANDARD, workspaces_pb2.WORKSPACE_TYPE_PARTNER
MEMBER, ADMIN = workspaces_pb2.MEMBER_ROLE_MEMBER, workspaces_pb2.MEMBER_ROLE_ADMIN


class Workspaces:
    """WorkspaceService with a deadline, as somebody."""

    def __init__(self, server, credentials=None):
        self.stub, self.credentials = workspaces_pb2_grpc.WorkspaceServiceStub(server.channel()), credentials

    def __getattr__(self, name):
        def call(**fields):
            request = getattr(workspaces_pb2, f"{name}Request")(**fields)
            return getattr(self.stub, name)(request, timeout=DEADLINE_S, metadata=self.credentials)
        return call

    def make(self, name="w", **fields):
        return self.CreateWorkspace(workspace=workspace(name, **fields)).workspace


def workspace(name="w", type=STANDARD, is_active=True, policy=None, **fields):
    return workspaces_pb2.Workspace(name=name, type=type, is_active=is_active,
                                    policy_json="" if policy is None else json.dumps(policy), **fields)


def refused(call, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        call(**fields)
    return caught.value.code().name, caught.value.details()


@pytest.fixture
def workspaces(server):
    return Workspaces(server)


# --- Making, reading, changing ------------------------------------------------------------------------------------------------


def test_from_nothing_to_a_routed_lead(workspaces, server):
    """What needed SQL before."""
    partner, desk = workspaces.make("Partner", type=PARTNER), workspaces.make("Desk")
    assert (partner.name, partner.type, partner.is_active, partner.policy_json) == ("Partner", PARTNER, True, "{}")
    assert partner.created_at.seconds and partner.version > 0
    rules_pb2_grpc.RuleServiceStub(server.channel()).CreateRule(rules_pb2.CreateRuleRequest(workspace_id=partner.id, rule=rules_pb2.Rule(
        name="all", conditions_json="{}", destination_workspace_id=desk.id, is_active=True)), timeout=DEADLINE_S)
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=partner.id, leads=[leads_pb2.NewLead(email="a@b.example")],
                                                                    route=True), timeout=DEADLINE_S)
    assert created.results[0].routing.destination_workspace_id == desk.id
    assert workspaces.GetWorkspace(workspace_id=partner.id).workspace.version == partner.version + 1


def test_making_can_be_repeated(workspaces):
    wanted = workspace("Mine", id=str(uuid.uuid4()), policy={"unmatched": "keep"})
    first, second = (workspaces.CreateWorkspace(workspace=wanted) for _ in range(2))
    assert (first.created, second.created) == (True, False) and first.workspace == second.workspace
    assert first.workspace.id == wanted.id
    wanted.name = "Yours"
    assert refused(workspaces.CreateWorkspace, workspace=wanted) == ("ALREADY_EXISTS", "another workspace has this id")


def test_a_change_is_felt_by_the_next_lead(workspaces, server):
    made = workspaces.make("Partner")

    def route():
        lead = leads_pb2.NewLead(email=f"{uuid.uuid4()}@example.com")
        request = leads_pb2.CreateLeadsRequest(workspace_id=made.id, leads=[lead], route=True)
        return server.leads.CreateLeads(request, timeout=DEADLINE_S).results[0].routing.outcome

    assert route() == routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY
    kept = workspaces.UpdateWorkspace(workspace_id=made.id, workspace=workspace("Keeper", PARTNER, policy={"unmatched": "keep"}),
                                      expected_version=made.version, user_id=NOBODY, note="keep them").workspace
    assert (kept.name, kept.type, json.loads(kept.policy_json), kept.version) == (
        "Keeper", PARTNER, {"unmatched": "keep"}, made.version + 1)
    assert route() == routing_pb2.ROUTING_OUTCOME_ROUTED
    version = rules_pb2_grpc.RuleServiceStub(server.channel()).ListRuleVersions(
        rules_pb2.ListRuleVersionsRequest(workspace_id=made.id, limit=1), timeout=DEADLINE_S).versions[0]
    assert (version.version, version.user_id, version.note) == (kept.version, NOBODY, "keep them")
    workspaces.UpdateWorkspace(workspace_id=made.id, workspace=workspace("Keeper", PARTNER, False, {"unmatched": "keep"}))
    assert route() == routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY


def test_who_was_not_quick_enough_is_told(workspaces):
    made = workspaces.make()
    workspaces.UpdateWorkspace(workspace_id=made.id, workspace=workspace("b", policy={"dedupe_days": 7}), expected_version=made.version)
    assert refused(workspaces.UpdateWorkspace, workspace_id=made.id, workspace=workspace("c"), expected_version=made.version) == (
        "ABORTED", f"the workspace is at version {made.version + 1} by now")
    assert workspaces.GetWorkspace(workspace_id=made.id).workspace.name == "b"


def test_pages(workspaces):
    made = [workspaces.make(f"w{n}").id for n in range(7)]
    pages, page_token = [], ""
    while True:
        page = workspaces.ListWorkspaces(page_size=3, page_token=page_token)
        pages.append([one.id for one in page.workspaces])
        page_token = page.next_page_token
        if not page_token:
            break
    assert [len(page) for page in pages] == [3, 3, 1] and sum(pages, []) == made
    assert [one.id for one in workspaces.ListWorkspaces().workspaces] == made
    page_token = workspaces.ListWorkspaces(page_size=1).next_page_token
    assert refused(workspaces.ListWorkspaces, page_token=page_token[:-1])[0] == "INVALID_ARGUMENT"


OTHER = str(uuid.uuid4())
BAD = [
    ("CreateWorkspace", {}, "workspace: missing"),
    ("CreateWorkspace", {"workspace": workspace("")}, "workspace.name: must have 1 to 200 bytes"),
    ("CreateWorkspace", {"workspace": workspace(" \t")}, "workspace.name: must have 1 to 200 bytes"),
    ("CreateWorkspace", {"workspace": workspace("ä" * 101)}, "workspace.name: must have 1 to 200 bytes"),
    ("CreateWorkspace", {"workspace": workspace(type=3)}, "workspace.type: not one that is known"),
    ("CreateWorkspace", {"workspace": workspace(type=-1)}, "workspace.type: not one that is known"),
    ("CreateWorkspace", {"workspace": workspace(id="x")}, "workspace.id: not a UUID"),
    ("CreateWorkspace", {"workspace": workspace(), "user_id": "me"}, "user_id: not a UUID"),
    ("CreateWorkspace", {"workspace": workspace(policy=[])}, "workspace.policy_json: "),
    ("CreateWorkspace", {"workspace": workspace(policy={"unmatchd": "keep"})}, "workspace.policy_json: $.unmatchd: "),
    ("CreateWorkspace", {"workspace": workspace(policy={"unmatched": "fallback", "fallback_workspace_id": NOBODY})},
     "workspace.policy_json: $.fallback_workspace_id: no active workspace"),
    ("GetWorkspace", {}, "workspace_id: missing"),
    ("GetWorkspace", {"workspace_id": "%"}, "workspace_id: not a UUID"),
    ("ListWorkspaces", {"page_size": -1}, "page_size: must be from 1 to 1000, or 0 for 100"),
    ("ListWorkspaces", {"page_size": 1001}, "page_size: must be from 1 to 1000, or 0 for 100"),
    ("ListWorkspaces", {"page_token": "0"}, "page_token: not one that was given for a page"),
    ("UpdateWorkspace", {"workspace_id": NOBODY}, "workspace: missing"),
    ("UpdateWorkspace", {"workspace_id": NOBODY, "workspace": workspace(id=OTHER)}, "workspace.id: must be workspace_id, or empty"),
    ("UpdateWorkspace", {"workspace_id": NOBODY, "workspace": workspace(), "expected_version": -1},
     "expected_version: must not be negative"),
    ("UpdateWorkspace", {"workspace_id": NOBODY, "workspace": workspace(), "note": "x" * 1001}, "note: more than 1000 bytes"),
    ("ListMembers", {"workspace_id": NOBODY, "page_size": 1001}, "page_size: must be from 1 to 1000, or 0 for 100"),
    ("ListMembers", {"workspace_id": NOBODY, "after_member_id": "x"}, "after_member_id: not a UUID"),
    ("SetMember", {"workspace_id": NOBODY}, "member: missing"),
    ("SetMember", {"workspace_id": NOBODY, "member": {"member_id": OTHER}}, "member.role: must be member or admin"),
    ("SetMember", {"workspace_id": NOBODY, "member": {"member_id": OTHER, "role": 9}}, "member.role: must be member or admin"),
    ("SetMember", {"workspace_id": NOBODY, "member": {"member_id": "", "role": ADMIN}}, "member.member_id: missing"),
    ("RemoveMember", {"workspace_id": NOBODY, "member_id": ""}, "member_id: missing"),
]


@pytest.mark.parametrize("name, fields, text", BAD, ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(BAD)])
def test_bad_input(workspaces, name, fields, text):
    code, details = refused(getattr(workspaces, name), **fields)
    assert code == "INVALID_ARGUMENT" and details.startswith(text), details


@pytest.mark.parametrize("name, fields", [
    ("GetWorkspace", {}), ("UpdateWorkspace", {"workspace": workspace()}), ("ListMembers", {}),
    ("SetMember", {"member": {"member_id": OTHER, "role": MEMBER}}), ("RemoveMember", {"member_id": OTHER})])
def test_no_such_workspace(workspaces, name, fields):
    assert refused(getattr(workspaces, name), workspace_id=NOBODY, **fields) == ("NOT_FOUND", "no such workspace")


def test_what_a_hosts_own_constraint_refuses(workspaces, sql):
    sql("alter table workspaces add constraint short_names check (length(name) < 5)")
    assert refused(workspaces.CreateWorkspace, workspace=workspace("too long")) == (
        "INVALID_ARGUMENT", "a value does not fit the database's own constraints (SQLSTATE 23514)")


# --- Members ------------------------------------------------------------------------------------------------------------------


def members(workspaces, where, **fields):
    return {one.member_id: one.role for one in workspaces.ListMembers(workspace_id=where.id, **fields).members}


def set_member(workspaces, where, who, role):
    return workspaces.SetMember(workspace_id=where.id, member={"member_id": who, "role": role}).added


def test_members(workspaces):
    where = workspaces.make()
    people = sorted(str(uuid.uuid4()) for _ in range(5))
    assert all(set_member(workspaces, where, who, MEMBER) for who in people)
    assert not set_member(workspaces, where, people[0], MEMBER) and not set_member(workspaces, where, people[1], ADMIN)
    assert members(workspaces, where) == dict.fromkeys(people, MEMBER) | {people[1]: ADMIN}
    page = workspaces.ListMembers(workspace_id=where.id, page_size=2)
    assert [one.member_id for one in page.members] == people[:2] and page.more
    page = workspaces.ListMembers(workspace_id=where.id, page_size=3, after_member_id=people[1])
    assert [one.member_id for one in page.members] == people[2:] and not page.more
    assert workspaces.RemoveMember(workspace_id=where.id, member_id=people[1]).removed
    assert not workspaces.RemoveMember(workspace_id=where.id, member_id=people[1]).removed
    assert sorted(members(workspaces, where)) == people[:1] + people[2:]


def test_a_hosts_table_without_a_unique_index(workspaces, sql):
    """The host's own name of an administrator stays what it is, and nobody is put in twice by two at once."""
    where, who, owner = workspaces.make(), str(uuid.uuid4()), str(uuid.uuid4())
    sql("alter table user_workspaces drop constraint user_workspaces_pkey; alter table user_workspaces drop constraint"
        " user_workspaces_role_check")
    sql("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'owner')", (owner, where.id))
    assert not set_member(workspaces, where, owner, ADMIN)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda _: set_member(workspaces, where, who, ADMIN), range(16))) == [False] * 15 + [True]
    assert sorted(sql("select role from user_workspaces")) == [("admin",), ("owner",)]


# --- What people may ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(cluster, database, tmp_path):
    keys = jwks(tmp_path / "keys.json")
    with Server(cluster.service_url(database), "--token-keys", str(keys), "--token-audience", AUDIENCE, "--no-jobs") as server:
        yield server
        server.check_log()


@pytest.fixture
def service(guarded):
    return Workspaces(guarded, metadata(token(uuid.uuid4(), SERVICE)))


@pytest.fixture
def home(service):
    return service.make("Home", policy={"dedupe_days": 7})


def person(guarded, service, where, role):
    who = str(uuid.uuid4())
    set_member(service, where, who, role)
    return who, Workspaces(guarded, metadata(token(who)))


def test_a_person_lists_their_own(guarded, service, home):
    service.make("Away")
    _, member = person(guarded, service, home, MEMBER)
    assert [one.id for one in member.ListWorkspaces().workspaces] == [home.id]
    assert len(service.ListWorkspaces().workspaces) == 2
    stranger = Workspaces(guarded, metadata(token(uuid.uuid4())))
    assert not stranger.ListWorkspaces().workspaces
    second = service.make("Second")
    set_member(service, second, person(guarded, service, home, MEMBER)[0], MEMBER)
    page_token = service.ListWorkspaces(page_size=1).next_page_token
    assert refused(member.ListWorkspaces, page_token=page_token)[0] == "INVALID_ARGUMENT", "a token goes with its list"


def test_an_administrator_changes_name_and_policy(guarded, service, home):
    who, admin = person(guarded, service, home, ADMIN)
    changed = admin.UpdateWorkspace(workspace_id=home.id, workspace=workspace("Sweet home", policy={"unmatched": "keep"})).workspace
    assert (changed.name, json.loads(changed.policy_json)) == ("Sweet home", {"unmatched": "keep"})
    for other in (workspace("Home", PARTNER), workspace("Home", is_active=False)):
        assert refused(admin.UpdateWorkspace, workspace_id=home.id, workspace=other) == (
            "PERMISSION_DENIED", "workspace: only services change type and activity")
    assert service.GetWorkspace(workspace_id=home.id).workspace == changed
    assert refused(admin.CreateWorkspace, workspace=workspace("Mine"))[0] == "PERMISSION_DENIED"
    del who


def test_the_last_administrator_stays(guarded, service, home):
    who, admin = person(guarded, service, home, ADMIN)
    text = ("FAILED_PRECONDITION", "the workspace would have no administrator; name another one first")
    assert refused(admin.RemoveMember, workspace_id=home.id, member_id=who) == text
    assert refused(admin.SetMember, workspace_id=home.id, member={"member_id": who, "role": MEMBER}) == text
    other, _ = person(guarded, service, home, ADMIN)
    assert not admin.SetMember(workspace_id=home.id, member={"member_id": who, "role": MEMBER}).added
    assert members(service, home) == {who: MEMBER, other: ADMIN}
    assert service.RemoveMember(workspace_id=home.id, member_id=other).removed, "a service may"


def test_two_administrators_cannot_remove_each_other_at_once(guarded, service, home):
    for _ in range(10):
        (one, as_one), (two, as_two) = (person(guarded, service, home, ADMIN) for _ in range(2))

        def remove(who, other):
            try:
                return who.RemoveMember(workspace_id=home.id, member_id=other).removed
            except grpc.RpcError as error:
                assert error.code().name in ("FAILED_PRECONDITION", "PERMISSION_DENIED")
                return False
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(remove, (as_one, as_two), (two, one)))
        left = members(service, home)
        assert ADMIN in left.values()
        for who in left:
            service.RemoveMember(workspace_id=home.id, member_id=who)
