"""Goal: a transaction that changes what a workspace's decisions read makes one version, and any version's rules, sets and policy can be
had back, whatever was changed since."""
import uuid

import pytest


@pytest.fixture
def workspaces(db):
    source, target = uuid.uuid4(), uuid.uuid4()
    db.execute("insert into workspaces (id, name, workspace_type) values (%s, 'Source', 'partner'), (%s, 'Target', 'standard')",
               source, target)
    return source, target


def add_rule(db, source, target, name="r", conditions="{}"):
    return db.rows("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
                   " values (%s, %s, %s, %s) returning id", source, name, conditions, target)[0].id


def version(db, source):
    return db.rows("select version from leadrouter.rule_versions where workspace_id = %s", source)[0].version


def rules_at(db, source, at):
    return {(row.rule_name, row.destination_is_active) for row in db.rows(
        "select * from leadrouter.rule_history where workspace_id = %s and from_version <= %s and (to_version is null or to_version > %s)"
        " and is_active", source, at, at)}


def test_each_change_is_a_version(db, workspaces):
    source, target = workspaces
    start = version(db, source)
    first = add_rule(db, source, target, "first")
    second = add_rule(db, source, target, "second")
    db.execute("update lead_routing_rules set rule_name = 'renamed' where id = %s", first)
    db.execute("delete from lead_routing_rules where id = %s", second)
    db.execute("update lead_routing_rules set is_active = false where id = %s", first)
    assert version(db, source) == start + 5
    assert [rules_at(db, source, start + n) for n in range(6)] == [
        set(), {("first", True)}, {("first", True), ("second", True)}, {("renamed", True), ("second", True)}, {("renamed", True)}, set()]


def test_a_transaction_makes_one(db, workspaces):
    source, target = workspaces
    start = version(db, source)
    db.execute("with a as (select leadrouter.raise_rule_versions(%s)) select 1 from a", [source])
    raised = version(db, source)
    assert raised == start + 1
    db.execute("do $$ declare v_id uuid; begin"
               f" insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id) values ('{source}', 'a', '{target}')"
               " returning id into v_id;"
               " update lead_routing_rules set rule_name = 'b' where id = v_id;"
               " update lead_routing_rules set rule_name = 'c' where id = v_id;"
               f" insert into lead_routing_sets (workspace_id, set_name) values ('{source}', 's');"
               " update lead_routing_sets set set_values = '{x}' where set_name = 's'; end $$")
    assert version(db, source) == raised + 1
    assert rules_at(db, source, raised + 1) == {("c", True)}
    assert [(row.from_version, row.to_version, row.set_values) for row in
            db.rows("select * from leadrouter.set_history where workspace_id = %s", source)] == [(raised + 1, None, ["x"])]


def test_activity_of_a_destination(db, workspaces):
    source, target = workspaces
    add_rule(db, source, target)
    before = version(db, source)
    db.execute("update workspaces set is_active = false where id = %s", target)
    assert version(db, source) == before + 1
    assert rules_at(db, source, before) == {("r", True)} and rules_at(db, source, before + 1) == {("r", False)}


def test_policy_and_sets(db, workspaces):
    source, _ = workspaces
    before = version(db, source)
    db.execute("""update workspaces set routing_config = '{"unmatched": "keep"}' where id = %s""", source)
    db.execute("insert into lead_routing_sets (workspace_id, set_name, set_values) values (%s, 's', '{a,b}')", source)
    db.execute("update lead_routing_sets set set_values = '{a}' where workspace_id = %s", source)
    db.execute("delete from lead_routing_sets where workspace_id = %s", source)
    versions = {row.version: row.routing_config for row in
                db.rows("select * from leadrouter.rule_set_versions where workspace_id = %s", source)}
    assert versions[before] == {} and versions[before + 1] == {"unmatched": "keep"}
    assert [(row.from_version, row.to_version, row.set_values) for row in
            db.rows("select * from leadrouter.set_history where workspace_id = %s order by from_version", source)] == \
        [(before + 2, before + 3, ["a", "b"]), (before + 3, before + 4, ["a"])]


def test_a_rule_moves_and_a_table_is_emptied(db, workspaces):
    source, target = workspaces
    rule = add_rule(db, source, target)
    db.execute("update lead_routing_rules set workspace_id = %s where id = %s", target, rule)
    assert rules_at(db, source, version(db, source)) == set()
    assert rules_at(db, target, version(db, target)) == {("r", True)}
    db.execute("truncate lead_routing_rules")
    assert rules_at(db, target, version(db, target)) == set()
