"""Goal: rules are read, changed, tried, explained and brought back over gRPC; each change is a version that the next lead feels; who was
not quick enough is told so; what is wrong is refused with its place."""
import concurrent.futures
import json
import uuid

import grpc
import pytest

from support.stubs import leads_pb2, routing_pb2, rules_pb2, rules_pb2_grpc

pytestmark = pytest.mark.asan
PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000003"
SECOND = "00000000-0000-4000-8000-000000000004"
CLOSED = "00000000-0000-4000-8000-000000000005"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
DEADLINE_S = 20

WORKSPACES = f"""
insert into workspaces (id, name, workspace_type, is_active) values ('{PARTNER}', 'Partner', 'partner', true),
    ('{DESK}', 'Desk', 'standard', true), ('{SECOND}', 'Second desk', 'standard', true), ('{CLOSED}', 'Closed', 'standard', false);
"""
SOLAR = {"industries": ["Solar"]}


@pytest.fixture(autouse=True)
def workspaces(sql):
    sql(WORKSPACES)


class Rules:
    """RuleService with a deadline, and the partner's workspace where none is given."""

    def __init__(self, channel):
        self.stub = rules_pb2_grpc.RuleServiceStub(channel)

    def __getattr__(self, name):
        def call(**fields):
            request = getattr(rules_pb2, f"{name}Request")(**{"workspace_id": PARTNER, **fields})
            return getattr(self.stub, name)(request, timeout=DEADLINE_S)
        return call


@pytest.fixture
def rules(server):
    return Rules(server.channel())


def rule(name="r", conditions=None, destination=DESK, **fields):
    return rules_pb2.Rule(name=name, conditions_json=json.dumps(conditions or {}), destination_workspace_id=destination,
                          **{"is_active": True, **fields})


def names(rules, **fields):
    return [rule.name for rule in rules.ListRules(**fields).rules]


def refused(call, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        call(**fields)
    return caught.value.code().name, caught.value.details()


def route(server, **fields):
    lead = leads_pb2.NewLead(**{"external_id": str(uuid.uuid4()), "email": f"{uuid.uuid4()}@example.com", **fields})
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[lead]), timeout=DEADLINE_S)
    lead_id = created.results[0].lead_id
    request = routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER)
    return lead_id, server.routing.RouteLead(request, timeout=DEADLINE_S)


def test_create_get_update_delete(rules, server):
    made = rules.CreateRule(rule=rule("solar", SOLAR, priority=7), user_id=NOBODY, note="first")
    assert made.rule.name == "solar" and made.rule.priority == 7 and made.rule.destination_is_active and made.rule.created_at.seconds
    assert route(server, company_industry="solar")[1].destination_workspace_id == DESK
    assert rules.GetRule(rule_id=made.rule.id).rule == made.rule

    changed = rules.UpdateRule(rule=rule("solar", SOLAR, SECOND, priority=7, id=made.rule.id))
    assert changed.version == made.version + 1 and changed.rule.created_at == made.rule.created_at
    assert route(server, company_industry="solar")[1].destination_workspace_id == SECOND
    off = rules.UpdateRule(rule=rule("solar", SOLAR, SECOND, priority=7, id=made.rule.id, is_active=False))
    assert not off.rule.is_active and route(server, company_industry="solar")[1].destination_workspace_id == ""

    gone = rules.DeleteRule(rule_id=made.rule.id)
    assert gone.version == off.version + 1 and names(rules) == []
    assert refused(rules.GetRule, rule_id=made.rule.id) == ("NOT_FOUND", "no such rule in that workspace")
    assert refused(rules.DeleteRule, rule_id=made.rule.id) == ("NOT_FOUND", "no such rule in that workspace")
    versions = rules.ListRuleVersions(limit=4).versions
    assert [version.version for version in versions] == [gone.version, off.version, changed.version, made.version]
    assert (versions[3].user_id, versions[3].note, versions[3].rules_changed) == (NOBODY, "first", 1)


def test_versions_and_reverting(rules):
    first = rules.ApplyRules(rules=[rule("a", SOLAR, priority=2), rule("b")], sets=[rules_pb2.NamedSet(name="s", values=["x", "y"])])
    assert [(change.name, change.kind, change.is_set) for change in first.changes] == [("a", 1, False), ("b", 1, False), ("s", 1, True)]
    second = rules.ApplyRules(rules=[rule("b", priority=1), rule("c")])
    assert {(change.name, change.kind, tuple(change.parts)) for change in second.changes} == {
        ("b", 2, ("priority",)), ("c", 1, ()), ("a", 3, ()), ("s", 3, ())}
    assert names(rules) == ["b", "c"] and names(rules, version=first.version) == ["a", "b"]
    assert [tuple(s.values) for s in rules.ListRules(version=first.version).sets] == [("x", "y")]

    dry = rules.ApplyRules(rules=[rule("c")], dry_run=True)
    assert [change.name for change in dry.changes] == ["b"] and dry.version == second.version and names(rules) == ["b", "c"]
    same = rules.ApplyRules(rules=[rule("b", priority=1), rule("c")])
    assert not same.changes and same.version == second.version

    back = rules.RevertRules(version=first.version, note="back")
    assert back.version > second.version and names(rules) == ["a", "b"]
    now, then = rules.ListRules(), rules.ListRules(version=first.version)
    assert [r.id for r in now.rules] == [r.id for r in then.rules] and now.sets == then.sets
    assert refused(rules.RevertRules, version=10**6) == ("NOT_FOUND", "no such workspace or version")


def test_warnings_on_save(rules):
    """What is saved is saved; what is wrong with it is said."""
    first = rules.CreateRule(rule=rule("all", priority=5))
    assert not first.findings
    second = rules.CreateRule(rule=rule("solar", SOLAR))
    finding, = second.findings
    assert (finding.kind, finding.is_error, finding.rule_name, finding.other_rule_name) == (
        rules_pb2.LINT_FINDING_KIND_SHADOWED, True, "solar", "all")
    assert json.loads(finding.witness_json) == {"company_industry": "solar"}
    fixed = rules.UpdateRule(rule=rule("all", priority=-5, id=first.rule.id))
    assert not fixed.findings and not rules.LintRules().findings
    assert refused(rules.LintRules, version=-1) == ("INVALID_ARGUMENT", "version: must not be negative")


def test_cycles(rules, sql):
    """A lead goes round by three rules of three workspaces; the way is broken when one of them asks for another lead."""
    rules.CreateRule(rule=rule("out", SOLAR, DESK))
    rules.CreateRule(workspace_id=DESK, rule=rule("on", {"countries": ["DE"]}, SECOND))
    back = rules.CreateRule(workspace_id=SECOND, rule=rule("back", {"field": "source", "op": "eq", "value": "csv"}, PARTNER))
    finding, = rules.LintRules().findings
    assert (finding.kind, finding.is_error, finding.rule_name, finding.other_rule_name) == (
        rules_pb2.LINT_FINDING_KIND_CYCLE, False, "out", "on")
    assert json.loads(finding.witness_json) == {"company_industry": "solar", "country": "DE", "source": "csv"}
    rules.UpdateRule(workspace_id=SECOND, rule=rule("back", {"industries": ["Wind"]}, PARTNER, id=back.rule.id))
    assert not rules.LintRules().findings
    sql("update lead_routing_rules set conditions = '{}', is_active = false where rule_name = 'back'")
    assert not rules.LintRules().findings


def test_differences(rules):
    first = rules.ApplyRules(rules=[rule("a")]).version
    second = rules.ApplyRules(rules=[rule("a", priority=3), rule("b")]).version
    changes = rules.DiffRuleVersions(from_version=first, to_version=second).changes
    assert [(change.name, change.kind, list(change.parts)) for change in changes] == [("a", 2, ["priority"]), ("b", 1, [])]
    assert rules.DiffRuleVersions(from_version=second).to_version == second
    assert [change.kind for change in rules.DiffRuleVersions(from_version=second, to_version=first).changes] == [2, 3]
    assert refused(rules.DiffRuleVersions, from_version=10**6) == ("NOT_FOUND", "no such workspace or version")
    assert refused(rules.DiffRuleVersions)[1] == "from_version: must be 1 or more, and to_version not negative"


def test_stale_updates_are_aborted(rules, sql):
    made = rules.CreateRule(rule=rule("a"))
    sql("update lead_routing_rules set priority = 5 where rule_name = 'a'")
    code, text = refused(rules.DeleteRule, rule_id=made.rule.id, expected_version=made.version)
    assert code == "ABORTED" and text == f"the rules are at version {made.version + 1} by now"
    assert names(rules) == ["a"]
    rules.DeleteRule(rule_id=made.rule.id, expected_version=made.version + 1)


def test_many_writers_lose_nothing(rules):
    """Without an expected version nobody is told ABORTED, and every change is made once, in a version of its own."""
    before = rules.ListRules().version
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: rules.CreateRule(rule=rule(f"rule {n}")), range(24)))
    assert sorted(answer.version for answer in made) == list(range(before + 1, before + 25))
    assert sorted(names(rules)) == sorted(f"rule {n}" for n in range(24))


@pytest.mark.parametrize(("fields", "code", "text"), [
    ({"rule": None}, "INVALID_ARGUMENT", "rule: missing"),
    ({"rule": rule(" ")}, "INVALID_ARGUMENT", "rule.name: must have 1 to 200 bytes"),
    ({"rule": rule(destination="x")}, "INVALID_ARGUMENT", "rule.destination_workspace_id: not a UUID"),
    ({"rule": rule(destination=NOBODY)}, "INVALID_ARGUMENT", f"destination_workspace_id: no active workspace {NOBODY}"),
    ({"rule": rule(destination=CLOSED)}, "INVALID_ARGUMENT", f"destination_workspace_id: no active workspace {CLOSED}"),
    ({"rule": rule(conditions={"field": "colour", "op": "eq", "value": "x"})}, "INVALID_ARGUMENT",
     'rule.conditions_json: $.field: unknown field "colour"'),
    ({"rule": rule(conditions={"field": "city", "op": "in_set", "value": "s"})}, "INVALID_ARGUMENT", 'unknown set "s"'),
    ({"rule": rule(conditions={"field": "city", "op": "regex", "value": "(a+)+$"})}, "INVALID_ARGUMENT",
     "rule.conditions_json: $.value: takes too many steps on some texts: repeat nothing that can match in two ways"),
    ({"rule": rule(), "workspace_id": NOBODY}, "NOT_FOUND", "no such workspace"),
    ({"rule": rule(), "workspace_id": "x"}, "INVALID_ARGUMENT", "workspace_id: not a UUID"),
    ({"rule": rule(), "user_id": "x"}, "INVALID_ARGUMENT", "user_id: not a UUID"),
    ({"rule": rule(), "expected_version": -1}, "INVALID_ARGUMENT", "expected_version: must not be negative"),
    ({"rule": rule(), "note": "n" * 1001}, "INVALID_ARGUMENT", "note: longer than 1000 bytes"),
])
def test_refusals(rules, fields, code, text):
    before = rules.ListRules().version
    assert refused(rules.CreateRule, **fields) == (code, text)
    assert rules.ListRules().version == before and names(rules) == []


def test_refusals_of_whole_sets(rules):
    assert refused(rules.ApplyRules, rules=[rule("a"), rule("a")])[1] == "rules[0].name: another one has it too"
    assert refused(rules.ApplyRules, sets=[rules_pb2.NamedSet(name="s")] * 2)[1] == "sets[0].name: another one has it too"
    assert refused(rules.ApplyRules, rules=[rule(), rule("b", {"all": 1})])[1] == \
        "rules[1].conditions_json: $.all: must be a list of conditions"
    assert refused(rules.ApplyRules, sets=[rules_pb2.NamedSet(name="")])[1] == "sets[0].name: must have 1 to 200 bytes"
    assert refused(rules.ListRules, version=-1)[1] == "version: must not be negative"
    assert refused(rules.ListRuleVersions, limit=1001)[1] == "limit: must be from 1 to 1000, or 0 for 50"
    rules.ApplyRules(rules=[rule("a", {"field": "city", "op": "in_set", "value": "s"})], sets=[rules_pb2.NamedSet(name="s", values=["x"])])
    assert refused(rules.ApplyRules, rules=[rule("a", {"field": "city", "op": "in_set", "value": "s"})])[1] == 'unknown set "s"'


def explained(lead):
    return [(rule.rule_name, rules_pb2.RuleResult.Name(rule.result)[12:], rule.is_reached,
             [(test.path, test.field, test.op, test.expected_json, test.actual, rules_pb2.TestReason.Name(test.reason)[12:])
              for test in rule.failed_tests]) for rule in lead.rules]


EXPLAINED = [
    rule("big", {"all": [{"field": "attributes.score", "op": "gte", "value": 50},
                         {"not": {"field": "city", "op": "eq", "value": "Berlin"}}]}, priority=9),
    rule("off", priority=8, is_active=False),
    rule("solar", SOLAR, priority=7),
    rule("rest", priority=6),
    rule("phone", {"field": "phone", "op": "starts_with", "value": "+49"}, SECOND, priority=5),
]


def test_explanations_of_leads_that_are_not_stored(rules, sql):
    rules.ApplyRules(rules=EXPLAINED)
    lead = leads_pb2.NewLead(company_industry="Wind", city="berlin", attributes_json='{"score": "many"}')
    answer = rules.TestRules(leads=[lead])
    assert answer.leads[0].summary == 'rule "rest" takes it' and answer.leads[0].destination_workspace_id == DESK
    assert explained(answer.leads[0]) == [
        ("big", "NOT_MATCHED", True, [("$.all[0]", "attributes.score", "gte", "50", "many", "NOT_A_NUMBER"),
                                      ("$.all[1].not", "city", "eq", '"Berlin"', "berlin", "HOLDS")]),
        ("off", "INACTIVE", False, []),
        ("solar", "NOT_MATCHED", True, [("$.industries", "company_industry", "in", '["Solar"]', "Wind", "DIFFERS")]),
        ("rest", "MATCHED", True, []),
        ("phone", "NOT_MATCHED", False, [("$", "phone", "starts_with", '"+49"', "", "MISSING")]),
    ]
    draft = rules.TestRules(leads=[lead], draft_rules=[rule("draft", {"field": "city", "op": "in_set", "value": "new"})],
                            draft_sets=[rules_pb2.NamedSet(name="new", values=["Berlin"])])
    assert draft.version == 0 and draft.leads[0].matched_rule_name == "draft"
    sql(f"update workspaces set is_active = false where id = '{SECOND}'")
    closed = rules.TestRules(leads=[leads_pb2.NewLead(phone="+49 30 1")])
    assert explained(closed.leads[0])[4][1] == "DESTINATION_INACTIVE"
    assert sql("select count(*) from leads") == [(0,)]


def test_explanations_of_stored_leads(rules, server, sql):
    rules.ApplyRules(rules=EXPLAINED[:3])
    lead_id, answer = route(server, company_industry="Solar", attributes_json='{"score": 10}')
    assert answer.matched_rule_name == "solar"
    told = rules.TestRules(lead_ids=[lead_id]).leads[0]
    assert (told.lead_id, told.matched_rule_name, told.status) == (lead_id, "solar", leads_pb2.LEAD_STATUS_ROUTED)
    copy = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[leads_pb2.NewLead(
        email=server.leads.GetLead(leads_pb2.GetLeadRequest(lead_id=lead_id, workspace_id=PARTNER)).lead.data.email)]), timeout=DEADLINE_S)
    assert rules.TestRules(lead_ids=[copy.results[0].lead_id]).leads[0].duplicate_lead_id == lead_id
    sql("select acquire_routing_lock(%s, %s)", [copy.results[0].lead_id, NOBODY])
    assert rules.TestRules(lead_ids=[copy.results[0].lead_id]).leads[0].is_held
    assert refused(rules.TestRules, lead_ids=[lead_id, NOBODY]) == ("NOT_FOUND", "lead_ids[1]: no such lead in that workspace")
    assert refused(rules.TestRules, lead_ids=["x"]) == ("INVALID_ARGUMENT", "lead_ids[0]: not a UUID")
    assert refused(rules.TestRules) == ("INVALID_ARGUMENT", "leads: 1 to 100, by id or not")


def test_history_is_explained_by_the_rules_of_then(rules, server):
    """Why it went there, and why not elsewhere, after the rules and the lead's workspace have changed."""
    version = rules.ApplyRules(rules=[*EXPLAINED[:3], EXPLAINED[4]]).version
    lead_id, answer = route(server, email="twin@example.com", company_industry="Solar", phone="+49 30 123456",
                            attributes_json='{"score": 10}')
    rules.ApplyRules(rules=[rule("others", {"industries": ["Wind"]})])
    attempt, = rules.GetRoutingHistory(lead_id=lead_id).attempts
    assert (attempt.result, attempt.id, attempt.rules_version) == ("success", answer.decision_id, version)
    assert attempt.explanation.summary == 'rule "solar" takes it'
    assert explained(attempt.explanation)[0] == (
        "big", "NOT_MATCHED", True, [("$.all[0]", "attributes.score", "gte", "50", "10", "DIFFERS")])
    assert explained(attempt.explanation)[3] == ("phone", "NOT_KEPT", False, [("$", "phone", "starts_with", '"+49"', "", "NOT_KEPT")])
    assert rules.GetRoutingHistory(lead_id=lead_id, workspace_id=DESK).attempts[0].id == answer.decision_id
    assert refused(rules.GetRoutingHistory, lead_id=lead_id, workspace_id=SECOND) == ("NOT_FOUND", "no such lead in that workspace")

    copy, _ = route(server, email="twin@example.com", company_industry="Wind", phone="+49 30 123456")
    attempt, = rules.GetRoutingHistory(lead_id=copy).attempts
    told = attempt.explanation
    assert (attempt.result, attempt.duplicate_lead_id, told.matched_rule_id, told.destination_workspace_id) == (
        "duplicate", lead_id, "", attempt.destination_workspace_id)
    assert told.summary == 'it is a copy and stays in its source workspace; otherwise rule "others" would take it'
    assert [(one.rule_name, one.is_reached) for one in told.rules] == [("others", True)]

    other, _ = route(server, company_industry="Coal")
    attempt, = rules.GetRoutingHistory(lead_id=other).attempts
    assert attempt.result == "retry" and attempt.next_retry_at.seconds > 0 and attempt.explanation.summary.startswith("no rule takes it")
