"""Goal: what a workspace's limits say is checked when it is written, is no part of its rules, and holds for rules and for leads of a
request whoever writes them, also for two who do so at once."""
import json
import uuid

import psycopg2
import pytest

OVER = "LR429"


def limits(**values):
    return {"limits": values}


def versions(db, workspace):
    return db.value("select version from leadrouter.rule_versions where workspace_id = %s", workspace)


def refused(call, text):
    with pytest.raises(psycopg2.Error) as caught:
        call()
    assert caught.value.pgcode == OVER and caught.value.diag.message_primary == text


def set_limits(db, workspace, **values):
    db.execute("update workspaces set routing_config = routing_config || %s where id = %s", json.dumps(limits(**values)), workspace)


# --- What may be said ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"rules": 1}, {"rules": 1000000}, {"calls_per_second": 200, "calls_burst": 400},
                                    {"calls_per_second": 1, "calls_in_flight": 64, "imports": 4, "leads_per_request": 1000, "rules": 1000}])
def test_good_limits(db, values):
    workspace = db.workspace(routing_config=limits(**values))
    assert db.value("select routing_config from workspaces where id = %s", workspace) == limits(**values)


@pytest.mark.parametrize("name", ["calls_per_second", "calls_in_flight", "imports", "leads_per_request", "rules"])
@pytest.mark.parametrize("value", [0, -1, 1000001, 1.5, 10 ** 30, "7", None, True, [1], {}])
def test_bad_values_are_named(db, name, value):
    workspace = db.workspace()
    with pytest.raises(psycopg2.errors.InvalidParameterValue,
                       match=rf"^routing_config\.limits\.{name}: must be a whole number between 1 and 1000000"):
        set_limits(db, workspace, **{name: value})
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match=rf"^routing_config\.limits\.{name}: must be"):
        db.workspace(routing_config=limits(**{name: value}))


@pytest.mark.parametrize("config, text", [
    ({"limits": []}, r"^routing_config\.limits: must be an object"), ({"limits": None}, r"^routing_config\.limits: must be an object"),
    (limits(rule=3), r"^routing_config\.limits\.rule: unknown key"),
    (limits(calls_burst=3), r"^routing_config\.limits\.calls_burst: of no use without calls_per_second")])
def test_what_cannot_be_understood_is_named(db, config, text):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match=text):
        db.workspace(routing_config=config)


def test_what_servers_read(db):
    first, second, none = db.workspace(routing_config=limits(calls_per_second=5, calls_burst=9)), db.workspace(), uuid.uuid4()
    third = db.workspace(routing_config=limits(calls_in_flight=3, imports=1))
    rows = db.service().rows("select * from leadrouter.workspace_limits(%s::uuid[])", [first, none, second, third])
    assert {row.workspace_id: tuple(row)[1:] for row in rows} == {
        first: (5, 9, None, None), second: (None,) * 4, none: (None,) * 4, third: (None, None, 3, 1)}


def test_what_was_there_before_the_check_is_no_obstacle(own_db):
    workspace = own_db.workspace()
    own_db.execute("alter table workspaces disable trigger workspaces_check")
    for odd in ('{"limits": 3}', '{"limits": {"calls_per_second": "many", "rules": {}}}', '{"limits": {"rules": -1}}', '[]'):
        own_db.execute("update workspaces set routing_config = %s where id = %s", odd, workspace)
        row = own_db.service().row("select * from leadrouter.workspace_limits(%s::uuid[])", [workspace])
        assert tuple(row)[1:] == (None,) * 4, odd


def test_limits_are_no_part_of_the_rules(db):
    """They raise no version, so that no retry is due because of them, and are not in what decisions read."""
    workspace = db.workspace(routing_config={"dedupe_days": 30})
    before = versions(db, workspace)
    set_limits(db, workspace, rules=3)
    assert versions(db, workspace) == before
    service = db.service()
    assert json.loads(service.row("select * from leadrouter.load_rule_sets(%s::uuid[])", [workspace]).routing_config) == {"dedupe_days": 30}
    db.execute("update workspaces set routing_config = routing_config || '{\"dedupe_days\": 31}' where id = %s", workspace)
    assert versions(db, workspace) == before + 1
    assert json.loads(service.rows("select * from leadrouter.rule_set_at(%s, null)", workspace)[0].routing_config) == {"dedupe_days": 31}


# --- Rules ---------------------------------------------------------------------------------------------------------------------

TWO = "limits.rules: the workspace may have 2 rules"


def test_rules_are_counted_whoever_writes(db):
    workspace, other = db.workspace(routing_config=limits(rules=2)), db.workspace()
    db.rule(workspace, other)
    db.rule(workspace, other, is_active=False) # counts as well
    refused(lambda: db.rule(workspace, other), TWO)
    refused(lambda: db.execute("insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name)"
                               " select %s, %s, 'r' || n from generate_series(1, 3) n", workspace, other), TWO)
    for _ in range(3):
        moved = db.rule(other, other)
    refused(lambda: db.execute("update lead_routing_rules set workspace_id = %s where id = %s", workspace, moved), TWO)
    db.execute("delete from lead_routing_rules where workspace_id = %s and is_active", workspace)
    db.execute("update lead_routing_rules set workspace_id = %s where id = %s", workspace, moved)
    assert db.value("select count(*) from lead_routing_rules where workspace_id = %s", workspace) == 2


def test_who_has_too_many_may_change_them_and_take_some_away(db):
    workspace, other = db.workspace(), db.workspace()
    ids = [db.rule(workspace, other) for _ in range(4)]
    set_limits(db, workspace, rules=2)
    db.execute("update lead_routing_rules set priority = 7 where workspace_id = %s", workspace)
    refused(lambda: db.rule(workspace, other), TWO)
    db.execute("delete from lead_routing_rules where id = %s", ids[0])
    refused(lambda: db.rule(workspace, other), TWO)
    db.execute("delete from lead_routing_rules where id = any (%s)", ids[1:3])
    db.rule(workspace, other)


def change(session, workspace, destination, version, creates, deletes=(), most=None):
    changes = {"create": [{"id": str(uuid.uuid4()), "rule_name": "r", "priority": 0, "conditions": {}, "is_active": True,
                           "destination_workspace_id": str(destination)} for _ in range(creates)],
               "delete": [str(rule) for rule in deletes]}
    return session.value("select leadrouter.change_rules(%s, %s, null, null, %s, %s)", workspace, version, json.dumps(changes), most)


def test_a_servers_own_bound_holds_where_the_workspace_says_nothing(db):
    quiet, frank, desk = db.workspace(), db.workspace(routing_config=limits(rules=3)), db.workspace()
    service = db.service()
    change(service, quiet, desk, versions(db, quiet), 2, most=2)
    refused(lambda: change(service, quiet, desk, versions(db, quiet), 1, most=2), TWO)
    change(service, frank, desk, versions(db, frank), 3, most=2) # it says something
    refused(lambda: change(service, frank, desk, versions(db, frank), 1, most=9), "limits.rules: the workspace may have 3 rules")
    db.rule(quiet, desk) # not the server's business
    change(service, quiet, desk, versions(db, quiet), 5) # no bound


def test_rules_are_put_in_place_of_others(db):
    workspace, desk = db.workspace(routing_config=limits(rules=2)), db.workspace()
    old = [db.rule(workspace, desk) for _ in range(2)]
    change(db.service(), workspace, desk, versions(db, workspace), 2, old)
    assert db.value("select count(*) from lead_routing_rules where workspace_id = %s and id <> all (%s)", workspace, old) == 2


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_two_who_write_at_once(db, isolation):
    """Room for one more: the second waits for the first, and then there is none, or it has to look again."""
    workspace, desk = db.workspace(routing_config=limits(rules=2)), db.workspace()
    db.rule(workspace, desk)
    first, second = db.session(), db.session()
    insert = "insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name) values (%s, %s, 'r')"
    for session in (first, second):
        session.execute(f"begin isolation level {isolation}")
        session.value("select count(*) from lead_routing_rules") # its snapshot is from before
    first.execute(insert, workspace, desk)
    waiting = db.in_background(second.execute, insert, workspace, desk)
    db.wait_until_blocked(second, by=first)
    first.commit()
    with pytest.raises(psycopg2.Error) as caught:
        waiting.result(60)
    assert caught.value.pgcode == (OVER if isolation == "read committed" else "40001")
    second.rollback()
    assert db.value("select count(*) from lead_routing_rules where workspace_id = %s", workspace) == 2


def test_many_who_write_at_once(db):
    workspace, desk = db.workspace(routing_config=limits(rules=10)), db.workspace()
    sessions = [db.session() for _ in range(8)]

    def work(session):
        made = 0
        for _ in range(5):
            try:
                session.execute("insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name) values (%s, %s, 'r')",
                                workspace, desk)
                made += 1
            except psycopg2.Error as error:
                assert error.pgcode == OVER
        return made
    assert sum(future.result(60) for future in [db.in_background(work, session) for session in sessions]) == 10
    assert db.value("select count(*) from lead_routing_rules where workspace_id = %s", workspace) == 10


# --- Leads of a request -----------------------------------------------------------------------------------------------------------


def test_leads_of_a_request(db):
    workspace = db.workspace(routing_config=limits(leads_per_request=2))
    service, request = db.service(), uuid.uuid4()

    def create(count, request_id=None):
        return service.rows("select * from leadrouter.create_leads(%s, %s, %s, '\\x00')", workspace,
                            json.dumps([{"email": f"{uuid.uuid4()}@example.com"} for _ in range(count)]), request_id)
    assert len(create(2, request)) == 2
    refused(lambda: create(3), "limits.leads_per_request: the workspace may send 2 leads in a request")
    set_limits(db, workspace, leads_per_request=1)
    assert create(2, request)[0].replayed # what was answered is answered again
    set_limits(db, workspace, leads_per_request=3)
    assert len(create(3)) == 3
