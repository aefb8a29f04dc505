"""Goal: rules as a file, from export to apply and back; what a person is shown of changes, explanations and history; files that are wrong
are refused with their place."""
import json
import uuid

import pytest

from support.stubs import leads_pb2, routing_pb2

pytestmark = pytest.mark.asan
PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000002"
DEADLINE_S = 20

RULES = f"""
# The rules of the partner
rules:
  - name: solar
    priority: 7
    destination: {DESK}
    conditions: {{industries: [Solar, "true", "12"]}}
  - name: good score
    destination: {DESK}
    conditions:
      all:
        - {{field: attributes.score, op: gte, value: 50}}
        - not: {{field: email.domain, op: in_set, value: free mail}}
  - name: later
    destination: {DESK}
    active: false
    conditions: {{}}
sets:
  free mail: [gmail.com, "123"]
"""


@pytest.fixture(autouse=True)
def workspaces(sql):
    sql(f"insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard')")


@pytest.fixture
def rules(leadctl):
    """leadctl rules WORD … --workspace PARTNER; the output of one that ends well."""
    def run(*words):
        done = leadctl("rules", *words, "--workspace", PARTNER)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout
    return run


@pytest.fixture
def rules_file(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES, encoding="utf-8")
    return path


def test_apply_export_and_back(rules, rules_file, tmp_path):
    dry = rules("apply", str(rules_file), "--dry-run").splitlines()
    assert dry[:4] == ['+ rule "solar"', '+ rule "good score"', '+ rule "later"', '+ set "free mail"']
    assert dry[4].endswith(", not made") and rules("list").splitlines()[1:] == [f"0 rules, 0 sets, version {dry[4].split()[4][:-1]}"]
    assert rules("apply", str(rules_file), "--note", "first").splitlines()[4].startswith("4 changes made: version ")
    listed = rules("list").splitlines()
    assert listed[1].split()[0] == "7" and listed[1].endswith("  solar") and listed[3].endswith("  later (off)")

    for flags, name in (((), "out.yaml"), (("--json",), "out.json")):
        path = tmp_path / name
        path.write_text(rules("export", *flags), encoding="utf-8")
        assert rules("apply", str(path)).startswith("nothing to change; version ")
    exported = json.loads(rules("export", "--json"))
    assert exported["rules"][0] == {"name": "solar", "priority": 7, "destination": DESK,
                                    "conditions": {"industries": ["Solar", "true", "12"]}}
    assert exported["sets"] == {"free mail": ["gmail.com", "123"]} and exported["rules"][2]["active"] is False

    rules_file.write_text(RULES.replace("priority: 7", "priority: 8").replace("name: later", "name: sooner"), encoding="utf-8")
    assert rules("apply", str(rules_file)).splitlines()[:3] == ['~ rule "solar": priority', '+ rule "sooner"', '- rule "later"']
    versions = json.loads(rules("versions", "--json"))["versions"]
    assert versions[1]["note"] == "first" and versions[1]["rules_changed"] == 3
    assert rules("diff", str(versions[1]["version"])).splitlines()[:3] == ['~ rule "solar": priority', '+ rule "sooner"', '- rule "later"']
    assert rules("revert", "--version", str(versions[1]["version"])).splitlines()[0] == '~ rule "solar": priority'
    assert json.loads(rules("export", "--json")) == exported
    assert "first" in rules("versions")


def test_explanations_and_history(rules, rules_file, server, leadctl, tmp_path):
    rules("apply", str(rules_file))
    lead = leads_pb2.NewLead(email=f"{uuid.uuid4()}@gmail.com", company_industry="Wind", attributes_json='{"score": 61}')
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[lead]), timeout=DEADLINE_S)
    lead_id = created.results[0].lead_id
    told = rules("test", lead_id).splitlines()
    assert told[0] == "no rule takes it; it is tried again later"
    assert told[1].split() == ["no", "solar"]
    assert told[2].strip() == '$.industries: company_industry in ["Solar","true","12"]; it is "Wind"'
    assert told[4].strip() == '$.all[1].not: email.domain in_set "free mail"; it is "gmail.com"; it holds, under a not'
    assert told[5].split() == ["off", "later"]

    draft = tmp_path / "draft.json"
    draft.write_text(json.dumps({"rules": [{"name": "all", "destination": DESK, "conditions": {}}]}), encoding="utf-8")
    assert rules("test", lead_id, "--file", str(draft)).splitlines()[:2] == ['rule "all" takes it', f"destination {DESK}"]
    rules("apply", str(draft))
    server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=PARTNER), timeout=DEADLINE_S)
    rules("apply", str(rules_file))
    history = leadctl("history", lead_id, "--workspace", PARTNER)
    assert 'reason             rule "all" matched' in history.stdout and 'rule "all" takes it' in history.stdout
    as_json = json.loads(leadctl("history", lead_id, "--workspace", PARTNER, "--json").stdout)
    assert as_json["attempts"][0]["explanation"]["rules"][0]["result"] == "MATCHED"


def test_nothing_plays_with_the_terminal(rules, server, leadctl, tmp_path):
    """What leads, rules and notes have of control characters is escaped wherever it is shown, and whole in JSON."""
    bad, shown = "\x1b[2J\u202ea", r"\x1b[2J\u202ea"
    draft = tmp_path / "draft.json"
    conditions = {"all": [{"field": "company_name", "op": "eq", "value": bad}]}
    draft.write_text(json.dumps({"rules": [{"name": bad, "destination": DESK, "conditions": conditions},
                                           {"name": "off", "active": False, "destination": DESK, "conditions": {}}]}), encoding="utf-8")
    lead = leads_pb2.NewLead(email="ann@example.com", company_name=f"{bad}!")
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[lead]), timeout=DEADLINE_S)
    said = rules("apply", str(draft), "--note", bad)
    assert f'+ rule "{shown}"' in said.splitlines()
    said += rules("test", created.results[0].lead_id)
    assert f'; it is "{shown}!"' in said
    said += rules("lint") + rules("list") + rules("versions")
    said += leadctl("jobs", "pause", "expiry", "--note", bad).stdout + leadctl("jobs", "list").stdout
    assert said.count(shown) > 4 and "\x1b" not in said and "\u202e" not in said
    assert bad in json.loads(rules("list", "--json"))["rules"][0]["name"]


@pytest.mark.parametrize(("text", "message"), [
    ("", "is empty"),
    ("rules: [\n", "line 2: did not find expected node content"),
    ("a: 1\nb: &x 1\nc: *x\n", "line 3: aliases (*name) are not allowed"),
    ("rules: []\nrules: []\n", "line 2: a key is there twice"),
    ("rules: []\n---\nrules: []\n", "line 3: more than one document"),
    ('{"rules": []', "line 1: '}' expected near end of file"),
    ("sets: {}\n", 'must have "rules", and may have "sets"'),
    ("rules: {}\n", "rules: must be a list"),
    ("rules: []\nnames: []\n", "names: unknown key"),
    ("rules:\n  - x\n", "rules[0]: must have a name, a destination and conditions"),
    ("rules:\n  - {name: 1, conditions: {}}\n", "rules[0].name: must be a text"),
    ("rules:\n  - {name: a, conditions: []}\n", "rules[0].conditions: must be a mapping; {} takes every lead"),
    ("rules:\n  - {name: a}\n", "rules[0].conditions: missing; {} takes every lead"),
    ("rules:\n  - {name: a, priority: 1.5, conditions: {}}\n", "rules[0].priority: must be a whole number of at most 32 bits"),
    ("rules:\n  - {name: a, active: 1, conditions: {}}\n", "rules[0].active: must be true or false"),
    ("rules:\n  - {name: a, colour: red, conditions: {}}\n", "rules[0].colour: unknown key"),
    ("rules: []\nsets: []\n", "sets: must be a mapping of names to lists"),
    ("rules: []\nsets: {a: [1]}\n", "sets.a[0]: must be a text (quote numbers)"),
    ("rules: " + "[" * 70 + "]" * 70, "line 1: too deep"),
])
def test_files_that_are_wrong(leadctl, tmp_path, text, message):
    path = tmp_path / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    done = leadctl("rules", "apply", str(path), "--workspace", PARTNER)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"leadctl: {path}: {message}\n")


def test_what_the_server_refuses(leadctl, rules_file):
    rules_file.write_text(RULES.replace("op: gte", "op: about"), encoding="utf-8")
    done = leadctl("rules", "apply", str(rules_file), "--workspace", PARTNER)
    assert done.returncode == 1
    assert done.stderr == 'leadctl: INVALID_ARGUMENT: rules[1].conditions_json: $.all[0].op: unknown operator "about"\n'


LINTED = f"""
rules:
  - {{name: all Germans, priority: 5, destination: {DESK}, conditions: {{countries: [DE]}}}}
  - {{name: solar Germans, destination: {DESK}, conditions: {{industries: [Solar], countries: [Germany]}}}}
  - name: never
    destination: {DESK}
    conditions: {{all: [{{field: city, op: eq, value: a}}, {{field: city, op: eq, value: b}}]}}
  - {{name: solar, destination: {DESK}, conditions: {{industries: [Solar]}}}}
  - {{name: solar here, destination: {PARTNER}, conditions: {{industries: [Solar]}}}}
"""


def test_lint(leadctl, rules, tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(LINTED, encoding="utf-8")
    done = leadctl("rules", "lint", "--workspace", PARTNER, "--file", str(path))
    assert done.returncode == 1 and done.stdout.splitlines() == [
        'error   rule "solar Germans": never reached: every lead that meets it is taken by "all Germans"',
        '        for example {"company_industry":"solar","country":"DE"}',
        'error   rule "never": no lead can meet its conditions',
        'error   rule "solar here": never reached: every lead that meets it is taken by "solar"',
        '        for example {"company_industry":"solar"}',
        "3 errors, 0 warnings"]
    path.write_text(LINTED.replace("name: solar here", "name: wind, priority: 5").replace("industries: [Solar]}}", "industries: [Wind]}}"),
                    encoding="utf-8")
    warned = rules("apply", str(path)).splitlines()
    assert 'error   rule "never": no lead can meet its conditions' in warned and warned[5].startswith("5 changes made: version ")
    found = json.loads(leadctl("rules", "lint", "--workspace", PARTNER, "--json").stdout)["findings"]
    assert [(finding["kind"], finding["rule"], finding["other_rule"]) for finding in found if not finding["is_error"]] == [
        ("OVERLAP", "wind", "all Germans")]
    rules("apply", str(path), "--dry-run")
    clean = tmp_path / "clean.yaml"
    clean.write_text(f"rules: [{{name: all, destination: {DESK}, conditions: {{}}}}]\n", encoding="utf-8")
    assert rules("lint", "--file", str(clean)) == "0 errors, 0 warnings\n"


def test_one_rule(leadctl, rules, server):
    made = json.loads(rules("create", "--name", "solar", "--destination", DESK, "--conditions", '{"industries": ["Solar"]}', "--json"))
    assert made["active"] and made["priority"] == 0 and made["conditions"] == {"industries": ["Solar"]}
    assert "solar" in rules("show", made["id"]) and "state              on\n" in rules("show", made["id"])
    updated = json.loads(rules("update", made["id"], "--priority", "-7", "--name", "sun", "--json"))
    assert (updated["name"], updated["priority"], updated["conditions"]) == ("sun", -7, made["conditions"])
    assert updated["version"] == made["version"] + 1
    assert "state              off\n" in rules("deactivate", made["id"]) and "state              on\n" in rules("activate", made["id"])
    assert rules("delete", made["id"], "--note", "gone").startswith(f"rule {made['id']} is removed: version ")
    lost = leadctl("rules", "show", made["id"], "--workspace", PARTNER)
    assert (lost.returncode, lost.stderr) == (1, "leadctl: NOT_FOUND: no such rule in that workspace\n")
    assert leadctl("rules", "update", made["id"], "--workspace", PARTNER).stderr == \
        "leadctl: rules update needs something to change; see leadctl rules update --help\n"
    assert leadctl("rules", "create", "--workspace", PARTNER, "--name", "x").returncode == 2
    bad = leadctl("rules", "create", "--workspace", PARTNER, "--name", "x", "--destination", DESK, "--conditions", "{")
    assert bad.stderr.startswith("leadctl: INVALID_ARGUMENT: rule.conditions_json: $: not valid JSON")


def test_words(leadctl):
    assert "needs a second word: list, show, create" in leadctl("rules").stderr
    assert leadctl("rules", "list").stderr == "leadctl: rules list needs --workspace W: whose rules\n"
    assert leadctl("rules", "apply", "--workspace", PARTNER).returncode == 2
    assert leadctl("rules", "revert", "--workspace", PARTNER).stderr.startswith("leadctl: rules revert needs --version")
    assert leadctl("rules", "diff", "x", "--workspace", PARTNER).stderr == \
        'leadctl: FROM-VERSION: "x" is not a number from 1 to 2147483647\n'
    assert leadctl("history").returncode == 2
    missing = leadctl("rules", "apply", "/nowhere/rules.yaml", "--workspace", PARTNER)
    assert (missing.returncode, missing.stderr) == (2, "leadctl: could not open /nowhere/rules.yaml: No such file or directory\n")
