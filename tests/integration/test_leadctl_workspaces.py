"""Goal: workspaces and their members are set up from a terminal alone; what is printed and said reads as here, line by line."""
import json
import re
import subprocess
import uuid

import pytest

from support.postgres import LEADCTL

ONE, TWO = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
ANN, BEN = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
PATIENCE_S = 60


@pytest.fixture
def ctl(server):
    """Runs leadctl: exit code, lines of standard output, standard error; times are made equal."""
    def run(*words):
        done = subprocess.run([LEADCTL, *words, "--target", server.address], capture_output=True, text=True, timeout=PATIENCE_S)
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", done.stdout)
        return done.returncode, [re.sub(r" +", " ", line).rstrip() for line in text.splitlines()], done.stderr
    return run


def test_workspaces(ctl):
    shown = [f"workspace {ONE}", "name Acme", "type partner", "state active", 'policy {"unmatched": "keep"}', "rules version 1",
             "created TIME", "changed TIME"]
    words = ("workspaces", "create", "Acme", "--id", ONE, "--type", "partner", "--policy", '{"unmatched": "keep"}')
    assert ctl(*words) == (0, shown, "")
    assert ctl(*words) == (0, shown, ""), "again"
    assert ctl("workspaces", "create", "Desk", "--id", TWO, "--inactive")[0] == 0
    assert ctl("workspaces", "show", ONE) == (0, shown, "")
    assert ctl("workspaces", "list") == (0, [
        "WORKSPACE TYPE STATE NAME", f"{ONE} partner active Acme", f"{TWO} standard inactive Desk", "2 workspaces"], "")
    code, lines, _ = ctl("workspaces", "update", ONE, "--name", "Acme & Sons", "--inactive", "--note", "contract ended")
    assert (code, lines[1:6]) == (0, ["name Acme & Sons", "type partner", "state inactive", 'policy {"unmatched": "keep"}',
                                      "rules version 2"])
    code, lines, _ = ctl("workspaces", "update", ONE, "--active", "--policy", "{}", "--json")
    assert code == 0 and {name: value for name, value in json.loads("".join(lines)).items() if not name.endswith("_at")} == {
        "id": ONE, "name": "Acme & Sons", "type": "partner", "active": True, "policy": {}, "version": 3}
    listed = json.loads("".join(ctl("workspaces", "list", "--json")[1]))
    assert ([one["id"] for one in listed["workspaces"]], listed["more"]) == ([ONE, TWO], False)


def test_members(ctl):
    ctl("workspaces", "create", "Acme", "--id", ONE)
    place = ("--workspace", ONE)
    assert ctl("members", "list", *place) == (0, ["MEMBER ROLE", "0 members"], "")
    assert ctl("members", "set", BEN, *place) == (0, [f"{BEN} is now a member"], "")
    assert ctl("members", "set", ANN, *place, "--role", "admin") == (0, [f"{ANN} is now an admin"], "")
    assert ctl("members", "set", BEN, *place, "--role", "admin") == (0, [f"{BEN} is an admin, and was in the workspace before"], "")
    assert ctl("members", "list", *place) == (0, ["MEMBER ROLE", f"{ANN} admin", f"{BEN} admin", "2 members"], "")
    assert ctl("members", "remove", BEN, *place) == (0, [f"{BEN} is no longer a member"], "")
    assert ctl("members", "remove", BEN, *place) == (0, [f"{BEN} was not a member"], "")
    assert json.loads("".join(ctl("members", "remove", BEN, *place, "--json")[1])) == {"removed": False}
    assert json.loads("".join(ctl("members", "set", BEN, *place, "--json")[1])) == {"added": True}
    assert json.loads("".join(ctl("members", "list", *place, "--json")[1])) == {"more": False, "members": [
        {"member_id": ANN, "role": "admin"}, {"member_id": BEN, "role": "member"}]}


def test_more_members_than_a_page(ctl, sql):
    ctl("workspaces", "create", "Acme", "--id", ONE)
    sql("insert into user_workspaces (user_id, workspace_id) select gen_random_uuid(), %s from generate_series(1, 2001)", (ONE,))
    assert len(json.loads("".join(ctl("members", "list", "--workspace", ONE, "--json")[1]))["members"]) == 2001
    sql("insert into workspaces (name) select 'w' from generate_series(1, 1500)")
    assert len(ctl("workspaces", "list")[1]) == 1503


@pytest.mark.parametrize("words, code, text", [
    (("workspaces", "create"), 2, "leadctl: workspaces create needs NAME: its name\n"),
    (("workspaces", "show"), 2, "leadctl: workspaces show needs W: id of the workspace; leadctl workspaces list shows them\n"),
    (("workspaces", "create", "x", "--type", "partnr"), 2,
     'leadctl: --type: "partnr" is none of standard, partner; did you mean partner?\n'),
    (("workspaces", "update", ONE, "--active", "--inactive"), 2, "leadctl: --active and --inactive exclude each other\n"),
    (("workspaces", "update", ONE, "--polcy", "{}"), 2, "leadctl: --polcy: no such flag; did you mean --policy?\n"),
    (("members", "list"), 2, "leadctl: members list needs --workspace W: the workspace\n"),
    (("members", "set", ANN), 2, "leadctl: members set needs --workspace W: the workspace\n"),
    (("members", "set", ANN, "--workspace", ONE, "--role", "king"), 2, 'leadctl: --role: "king" is none of member, admin\n'),
    (("workspaces", "show", ONE), 1, "leadctl: NOT_FOUND: no such workspace\n"),
    (("workspaces", "show", "x"), 2, 'leadctl: W: "x" is not a UUID\n'),
    (("workspaces", "update", ONE, "--name", "x"), 1, "leadctl: NOT_FOUND: no such workspace\n"),
    (("workspaces", "create", "x", "--policy", "{"), 1, "leadctl: INVALID_ARGUMENT: workspace.policy_json: "),
    (("members", "list", "--workspace", str(uuid.UUID(int=9))), 1, "leadctl: NOT_FOUND: no such workspace\n"),
    (("members", "remove", ANN, "--workspace", ONE), 1, "leadctl: NOT_FOUND: no such workspace\n"),
])
def test_what_is_wrong_is_said(ctl, words, code, text):
    ended, lines, error = ctl(*words)
    assert (ended, lines) == (code, []) and error.startswith(text), error


@pytest.mark.parametrize("words", [("workspaces", word) for word in ("list", "show", "create", "update")]
                         + [("members", word) for word in ("list", "set", "remove")])
def test_help_has_an_example(words):
    done = subprocess.run([LEADCTL, *words, "--help"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and f"Example: leadctl {' '.join(words)}" in done.stdout
    assert all(len(line) <= 110 for line in done.stdout.splitlines())
