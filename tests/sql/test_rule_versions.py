"""Goal: whatever a workspace's decisions read, a change of it raises the workspace's version in the same transaction,
by plain SQL too; and a routing_config that cannot be understood is refused with the name of the key."""
import json

import psycopg2
import pytest

from support.product_cluster import PATIENCE_S


def versions(db):
    return dict(db.rows("select workspace_id, version from leadrouter.rule_versions"))


class Watch:
    """Which workspaces' versions a change raised, and that nothing else did."""

    def __init__(self, db):
        self.db = db
        self.before = versions(db)

    def raised(self):
        now = versions(self.db)
        changed = {workspace for workspace in now if now[workspace] != self.before.get(workspace, 0)}
        assert all(now[workspace] > self.before.get(workspace, 0) for workspace in changed)
        self.before = now
        return changed


def test_a_new_workspace_has_a_version(db):
    workspace = db.workspace()
    assert versions(db) == {workspace: 1}


def test_rules(db):
    """Insert, update of any column, a move to another workspace, delete, truncate; many rows in one statement raise each workspace once."""
    a, b, c = (db.workspace() for _ in range(3))
    watch = Watch(db)
    rule = db.rule(a, c)
    assert watch.raised() == {a}
    for change in ("priority = 3", "rule_name = 'x'", "conditions = '{\"countries\": [\"US\"]}'", "is_active = false"):
        db.execute(f"update lead_routing_rules set {change} where id = %s", rule)
        assert watch.raised() == {a}, change
    db.execute("update lead_routing_rules set workspace_id = %s", b)
    assert watch.raised() == {a, b}
    db.execute("insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id)"
               " select w, 'r', %s from unnest(%s::uuid[]) w, generate_series(1, 10)", c, [a, b])
    before = watch.before
    assert watch.raised() == {a, b}
    assert {workspace: watch.before[workspace] - before[workspace] for workspace in (a, b)} == {a: 1, b: 1}
    db.execute("delete from lead_routing_rules where workspace_id = %s", b)
    assert watch.raised() == {b}
    db.execute("truncate lead_routing_rules")
    assert watch.raised() == {a, b, c}


def test_a_rolled_back_change_raises_nothing(db):
    a = db.workspace()
    watch = Watch(db)
    db.begin()
    db.rule(a, a)
    db.rollback()
    assert watch.raised() == set()


def test_activity_matters_to_who_names_the_workspace(db):
    """By an active rule or as the fallback; others are left alone."""
    target = db.workspace()
    by_rule, by_idle_rule, stranger = (db.workspace() for _ in range(3))
    by_fallback = db.workspace(routing_config={"unmatched": "fallback", "fallback_workspace_id": str(target)})
    db.rule(by_rule, target)
    db.rule(by_idle_rule, target, is_active=False)
    db.rule(stranger, by_rule)
    watch = Watch(db)
    for is_active in (False, True):
        db.execute("update workspaces set is_active = %s where id = %s", is_active, target)
        assert watch.raised() == {target, by_rule, by_fallback}
    db.execute("update workspaces set is_active = true, name = 'new name' where id = %s", target)
    assert watch.raised() == set()
    db.execute("delete from workspaces where id = %s", target)
    assert watch.raised() == {target, by_rule, by_fallback}


def test_policy_matters_to_the_workspace(db):
    a, other = db.workspace(), db.workspace()
    db.rule(other, a)
    watch = Watch(db)
    db.execute("update workspaces set routing_config = '{\"unmatched\": \"keep\"}' where id = %s", a)
    assert watch.raised() == {a}
    db.execute("update workspaces set routing_config = '{\"unmatched\": \"keep\"}' where id = %s", a)
    assert watch.raised() == set(), "the same again is no change"


def test_both_at_once(db):
    a, other = db.workspace(), db.workspace()
    db.rule(other, a)
    watch = Watch(db)
    db.execute("update workspaces set routing_config = '{\"auto_route\": false}', is_active = false where id = %s", a)
    assert watch.raised() == {a, other}


def test_writers_queue(db):
    """A version is visible only when all lower ones are: the second writer waits, and its version is the higher."""
    a = db.workspace()
    one, two = db.session(), db.session()
    insert = "insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id) values (%s, 'r', %s)"
    one.begin()
    one.execute(insert, a, a)
    written = db.in_background(two.execute, insert, a, a)
    db.wait_until_blocked(two, by=one)
    assert versions(db) == {a: 1}
    one.commit()
    written.result(PATIENCE_S)
    assert versions(db) == {a: 3}


def test_who_writes_rules_needs_no_right_on_versions(db):
    db.execute("create role editor")
    db.execute("grant select, insert, update, delete on lead_routing_rules to editor; grant update, select on workspaces to editor;"
               " create policy editor on lead_routing_rules to editor using (true);"
               " create policy editor on workspaces to editor using (true)")
    a = db.workspace()
    editor = db.session("editor")
    editor.execute("insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id) values (%s, 'r', %s)", a, a)
    editor.execute("update workspaces set is_active = false where id = %s", a)
    assert versions(db)[a] == 3
    db.execute("drop policy editor on lead_routing_rules; drop policy editor on workspaces; drop owned by editor")
    db.execute("drop role editor")


# --- routing_config ----------------------------------------------------------------------------------------------------------

FALLBACK = "0f0f0f0f-0000-4000-8000-00000000abcd"


@pytest.mark.parametrize("config", [
    {}, {"unmatched": "retry"}, {"unmatched": "keep"}, {"unmatched": "fallback", "fallback_workspace_id": FALLBACK},
    {"fallback_workspace_id": FALLBACK}, {"dedupe_scope": "cross_partner"}, {"dedupe_scope": "global"}, {"dedupe_days": 1},
    {"dedupe_days": 3650}, {"auto_route": True}, {"auto_route": False}, {"default_country": "US"}])
def test_good_configs(db, config):
    workspace = db.workspace(routing_config=config)
    assert db.value("select routing_config from workspaces where id = %s", workspace) == config


BAD = [
    ("unmatched", "drop"), ("unmatched", None), ("unmatched", ["retry"]), ("unmatched", ""),
    ("fallback_workspace_id", "x"), ("fallback_workspace_id", None), ("fallback_workspace_id", FALLBACK.upper()),
    ("fallback_workspace_id", FALLBACK + "\n"),
    ("dedupe_scope", "local"), ("dedupe_scope", None), ("dedupe_scope", True),
    ("dedupe_days", 0), ("dedupe_days", 3651), ("dedupe_days", -1), ("dedupe_days", 1.5), ("dedupe_days", "90"), ("dedupe_days", None),
    ("dedupe_days", 10 ** 30),
    ("auto_route", "true"), ("auto_route", 1), ("auto_route", None),
    ("default_country", "USA"), ("default_country", "us"), ("default_country", None), ("default_country", "U"),
]


@pytest.mark.parametrize("key, value", BAD)
def test_bad_values_are_named(db, key, value):
    workspace = db.workspace()
    for sql, parameters in (("insert into workspaces (name, routing_config) values ('x', %s)", ()),
                            ("update workspaces set routing_config = %s where id = %s", (workspace,))):
        with pytest.raises(psycopg2.errors.InvalidParameterValue, match=f"^routing_config.{key}: must be "):
            db.execute(sql, json.dumps({key: value}), *parameters)


def test_unknown_keys_are_named(db):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match=r"^routing_config\.dedup_days: unknown key"):
        db.workspace(routing_config={"dedup_days": 90})


@pytest.mark.parametrize("config", ["[]", "3", "null", '"retry"'])
def test_a_config_is_an_object(db, config):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="^routing_config: must be an object"):
        db.workspace(routing_config=config)


def test_a_fallback_needs_a_workspace(db):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match=r"^routing_config\.fallback_workspace_id: needed"):
        db.workspace(routing_config={"unmatched": "fallback"})


@pytest.mark.parametrize("columns", [{"rule_name": ""}, {"rule_name": "x" * 201}, {"conditions": "[]"}, {"conditions": "null"}])
def test_rules_that_cannot_be(db, columns):
    workspace = db.workspace()
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.rule(workspace, workspace, **columns)
