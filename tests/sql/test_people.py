"""Goal: what the server asks about people before it works for them, in the transaction of the work: who is no member gets nowhere, what
was answered holds until the end, and nobody waits long. What people read is what services read, of their own workspaces."""
import json
import uuid

import psycopg2
import pytest

MEMBER, ADMIN, OWNER, STRANGER = (uuid.UUID(int=0x40008000000000000000 + n) for n in range(1, 5))
REQUIRE = "select leadrouter.require_member(%s, %s, %s, %s)"


@pytest.fixture
def place(own_db):
    """A workspace with a member, an admin and an owner, as some installations call those, and one that is somebody else's."""
    db = own_db
    ours, theirs = db.workspace(), db.workspace()
    db.execute("alter table user_workspaces drop constraint user_workspaces_role_check")
    db.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member'), (%s, %s, 'admin'), (%s, %s, 'owner')",
               MEMBER, ours, ADMIN, ours, OWNER, ours)
    return db, ours, theirs


def asked(session, *arguments):
    """The SQLSTATE of the question, or '' for yes."""
    try:
        session.execute(REQUIRE, *arguments)
        return ""
    except psycopg2.Error as error:
        return error.pgcode


@pytest.mark.parametrize("is_held", [False, True])
def test_who_may(place, is_held):
    db, ours, theirs = place
    service = db.service()
    for user, as_member, as_admin in ((MEMBER, "", "LR430"), (ADMIN, "", ""), (OWNER, "", ""), (STRANGER, "LR401", "LR401")):
        assert (asked(service, user, ours, False, is_held), asked(service, user, ours, True, is_held)) == (as_member, as_admin), user
        for workspace in (theirs, uuid.uuid4(), None):
            assert asked(service, user, workspace, False, is_held) == "LR401"
    assert asked(service, None, ours, False, is_held) == "LR401"


def test_a_membership_that_is_held_ends_after_the_work(place):
    db, ours, _ = place
    service, boss = db.service(), db.session()
    service.begin()
    assert asked(service, MEMBER, ours, False, True) == ""
    for change in ("delete from user_workspaces where user_id = %s", "update user_workspaces set role = 'admin' where user_id = %s"):
        boss.execute("set lock_timeout = '50ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            boss.execute(change, MEMBER)
    boss.execute("set lock_timeout = 0")
    ending = db.in_background(boss.execute, "delete from user_workspaces where user_id = %s", MEMBER)
    db.wait_until_blocked(boss, service)
    service.commit()
    ending.result()
    assert asked(service, MEMBER, ours, False, True) == "LR401"


def test_a_membership_that_is_changing_is_not_waited_for_long(place):
    db, ours, _ = place
    service, boss = db.service(), db.session()
    boss.begin()
    boss.execute("delete from user_workspaces where user_id = %s", MEMBER)
    assert asked(service, MEMBER, ours, False, True) == "55P03"
    assert asked(service, MEMBER, ours, False, False) == "", "nothing is committed"
    assert asked(service, ADMIN, ours, True, True) == "", "others are not concerned"
    assert service.value("select memberships from leadrouter.hold_members(%s::uuid[], %s, %s::uuid[])", [MEMBER, ADMIN], [False, True],
                         [ours, ours]) == [2, 0]
    boss.commit()
    assert asked(service, MEMBER, ours, False, True) == "LR401"


def test_many_at_once(place):
    """One question for the leads of a batch: what may not be looked at loses its workspace."""
    db, ours, theirs = place
    service = db.service()
    users = [None, MEMBER, MEMBER, ADMIN, OWNER, STRANGER, MEMBER, MEMBER]
    admins = [False, False, True, True, True, False, False, False]
    workspaces = [theirs, ours, ours, ours, ours, ours, theirs, uuid.uuid4()]
    service.begin()
    row = service.row("select * from leadrouter.hold_members(%s::uuid[], %s, %s::uuid[])", users, admins, workspaces)
    assert row.memberships == [0, 0, 3, 0, 0, 1, 1, 1]
    assert row.workspace_ids == [theirs, ours, None, ours, ours, None, None, None]
    boss = db.session()
    boss.execute("set lock_timeout = '50ms'")
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        boss.execute("delete from user_workspaces where user_id = %s", ADMIN)
    service.commit()


def test_many_who_all_may(place):
    """The short way keeps what the long one keeps: each membership is held, also one that stands twice in a host's table."""
    db, ours, theirs = place
    service, boss = db.service(), db.session()
    db.execute("alter table user_workspaces drop constraint user_workspaces_pkey")
    db.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'admin')", MEMBER, ours)
    question = ("select * from leadrouter.hold_members(%s::uuid[], %s, %s::uuid[])",
                [ADMIN, MEMBER, None, MEMBER], [False, True, True, False], [ours, ours, theirs, ours])
    service.begin()
    row = service.row(*question)
    assert row.memberships == [0, 0, 0, 0] and row.workspace_ids == [ours, ours, theirs, ours]
    boss.execute("set lock_timeout = '50ms'")
    for role in ("member", "admin"):
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            boss.execute("delete from user_workspaces where user_id = %s and role = %s", MEMBER, role)
    service.commit()
    boss.begin()
    boss.execute("delete from user_workspaces where user_id = %s and role = 'admin'", MEMBER)
    assert service.row(*question).memberships == [0, 3, 0, 0], "the other row is still a member's"
    boss.commit()


def rows_or_code(session, sql, *parameters):
    try:
        return sorted(map(tuple, session.rows(sql, *parameters)), key=str)
    except psycopg2.Error as error:
        return error.pgcode


def test_people_read_what_services_read_of_their_own(place):
    db, ours, theirs = place
    service, person = db.service(), db.session("leadrouter_service")
    leads, rules = {}, {}
    db.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member')", uuid.uuid4(), theirs)
    for workspace in (ours, theirs):
        rules[workspace] = db.rule(workspace, theirs if workspace == ours else ours, rule_name=f"rule of {workspace}")
        db.execute("insert into lead_routing_sets (workspace_id, set_name, set_values) values (%s, 's', '{a,b}')", workspace)
        leads[workspace] = db.lead(workspace, email=f"{uuid.uuid4()}@example.com")
        db.decide(db.decision(leads[workspace], verdict=3, error_class="unmatched"))
    questions = (
        ("get_lead(%s, %s)", lambda workspace: (leads[workspace], workspace)),
        ("list_leads(%s, false, null, null, null, null, null, null, null, null, 10, 10)", lambda workspace: (workspace,)),
        ("health_counts(%s)", lambda workspace: (workspace,)),
        ("read_workspaces(%s, null, null, null, 10)", lambda workspace: (workspace,)),
        ("list_members(%s, null, 10)", lambda workspace: (workspace,)),
        ("rule_set_at(%s, null)", lambda workspace: (workspace,)),
        ("list_rule_versions(%s, null, 10)", lambda workspace: (workspace,)),
        ("lead_history(%s, %s)", lambda workspace: (leads[workspace], workspace)),
        ("list_retries(%s, false, null, null, 10)", lambda workspace: (workspace,)),
        ("leads_for_test(array[%s]::uuid[], %s)", lambda workspace: (leads[workspace], workspace)),
        ("rule_ways_back(%s, array[%s]::uuid[])", lambda workspace: (workspace, theirs if workspace == ours else ours)),
    )
    for function, arguments in questions:
        for user, workspace in ((MEMBER, ours), (MEMBER, theirs), (STRANGER, ours)):
            person.begin()
            service.begin()
            person.execute("select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
                           json.dumps({"sub": str(user), "role": "authenticated"}))
            own = rows_or_code(person, f"select * from leadrouter.own_{function}", *arguments(workspace))
            everything = rows_or_code(service, f"select * from leadrouter.{function}", *arguments(workspace))
            person.rollback()
            service.rollback()
            assert everything not in ([], "LR404"), function
            if function.startswith("health_counts"):
                assert own[0][0] == (1 if (user, workspace) == (MEMBER, ours) else 0)
            elif (user, workspace) != (MEMBER, ours) or function.startswith("rule_ways_back"):
                assert own in ([], "LR404"), function
            else:
                assert len(own) == len(everything) and without_times(own) == without_times(everything), function
    assert person.value("select current_user") == "leadrouter_service"


def without_times(rows):
    """Two transactions have two times of day."""
    return [tuple(value for value in row if not (isinstance(value, int) and value > 1 << 40)) for row in rows]


def test_who_holds_the_identity_is_told_of_ones_own_leads_only(place):
    db, ours, theirs = place
    first, second = (db.lead(workspace, email="same@example.com") for workspace in (theirs, ours))
    db.decide(db.decision(first, destination=theirs))
    person = db.session("leadrouter_service")

    def seen_by(user, lead):
        person.begin()
        person.execute("select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
                       json.dumps({"sub": str(user)}))
        holder = person.value("select leadrouter.own_claim_holder(%s)", lead)
        person.rollback()
        return holder

    assert (seen_by(MEMBER, second), seen_by(STRANGER, second), seen_by(MEMBER, first)) == (first, None, None)
