"""Goal: proto/ is clean by buf's rules, and every change that would break a caller is refused; an addition is not. The commands
of proto/README.md do it."""
import json
import re
import shutil
import subprocess

import pytest

from support.fetched_program import npm_program
from support.guides import run_script, scripts
from support.postgres import BUILD, ROOT

PROTO = ROOT / "proto"
RELEASED = PROTO / "leadrouter.v1.binpb"
ROUTING = "leadrouter/v1/routing.proto"
REFUSED = 100 # buf's exit code for findings
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def buf():
    return npm_program("buf")


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(PROTO, tmp_path / "proto")


def edit(folder, pattern, replacement):
    path = folder / ROUTING
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, f"nothing in {ROUTING} matches {pattern}"
    path.write_text(text)


def run(buf, *arguments):
    """buf's exit code and what it found: the rules that were broken."""
    done = subprocess.run([buf, *arguments, "--error-format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=TIMEOUT_S)
    assert done.returncode in (0, REFUSED), done.stderr
    return done.returncode, [json.loads(line)["type"] for line in done.stdout.splitlines()]


def test_the_protocol_is_clean(buf):
    assert run(buf, "lint", PROTO) == (0, [])


def test_nothing_is_broken_since_the_last_release(buf):
    assert run(buf, "breaking", PROTO, "--against", RELEASED) == (0, [])


def test_commands_of_the_page(buf, copy):
    """In a copy, since the last one writes what was released."""
    (copy.parent / "tools").symlink_to(ROOT / "tools")
    before = (copy / RELEASED.name).stat().st_mtime_ns
    run_script("".join(scripts("proto/README.md", {"build/tools": BUILD / "tools"})), cwd=copy.parent)
    assert (copy / RELEASED.name).stat().st_mtime_ns > before


@pytest.mark.parametrize("pattern, replacement, rule", [
    (r"\(RouteLeadRequest\)", "(Request)", "RPC_REQUEST_STANDARD_NAME"),
    (r"  // The rule that took the lead.*\n", "", "COMMENT_FIELD"),
    (r"bool force = 5", "bool isForced = 5", "FIELD_LOWER_SNAKE_CASE"),
    (r"HEALTH_STATUS_HEALTHY", "HEALTHY", "ENUM_VALUE_PREFIX"),
])
def test_an_unclean_copy_is_refused(buf, copy, pattern, replacement, rule):
    edit(copy, pattern, replacement)
    if replacement == "(Request)":
        edit(copy, "^message RouteLeadRequest ", "message Request ")
        edit(copy, "RouteLeadRequest lead = 2", "Request lead = 2")
    code, rules = run(buf, "lint", copy)
    assert code == REFUSED and rule in rules


@pytest.mark.parametrize("pattern, replacement, rule", [
    (r"^  string reason = 6;", "", "FIELD_NO_DELETE"),
    (r"^  string reason = 6;", "  bytes reason = 6;", "FIELD_SAME_TYPE"),
    (r"^  string reason = 6;", "  string reason = 12;", "FIELD_NO_DELETE"),
    (r"^  string reason = 6;", "  string words = 6;", "FIELD_SAME_NAME"),
    (r"^  repeated string problems = 12;", "  string problems = 12;", "FIELD_SAME_CARDINALITY"),
    (r"^  ROUTING_OUTCOME_EXPIRED = 6;", "", "ENUM_VALUE_NO_DELETE"),
    (r"^  rpc Health.*", "", "RPC_NO_DELETE"),
    (r"returns \(stream RouteLeadsResponse\)", "returns (RouteLeadsResponse)", "RPC_SAME_SERVER_STREAMING"),
])
def test_a_broken_copy_is_refused(buf, copy, pattern, replacement, rule):
    edit(copy, pattern, replacement)
    code, rules = run(buf, "breaking", copy, "--against", RELEASED)
    assert code == REFUSED and rule in rules


def test_an_addition_is_taken(buf, copy):
    edit(copy, r"^  string reason = 6;", "  string reason = 6;\n  // More of it.\n  string details = 12;")
    edit(copy, r"^  ROUTING_OUTCOME_EXPIRED = 6;", "  ROUTING_OUTCOME_EXPIRED = 6;\n  // Another.\n  ROUTING_OUTCOME_OTHER = 7;")
    assert run(buf, "breaking", copy, "--against", RELEASED) == (0, [])
    assert run(buf, "lint", copy) == (0, [])
