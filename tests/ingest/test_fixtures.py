"""Goal: what providers send, and what the old importers took, becomes leads by the mappings that are built in: every row of every
fixture is what its .expected file says."""
import json
import subprocess

import pytest

from support.postgres import BUILD, ROOT

FOLDER = ROOT / "tests/ingest/fixtures"
PEER = BUILD / "tests/ingest/ingest_peer"
FIXTURES = sorted(path.name for path in FOLDER.iterdir() if path.suffix != ".expected")
BUILTINS = ("generic", "datashopper", "audience-labs", "clay", "hubspot", "salesforce")

pytestmark = pytest.mark.asan


def mapping_of(name):
    return next(builtin for builtin in BUILTINS if name.startswith(builtin))


def rows_of(mapping, path):
    done = subprocess.run([PEER, "rows", mapping, path], capture_output=True, text=True, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", FIXTURES)
def test_fixture(name):
    expected = [json.loads(line) for line in (FOLDER / f"{name}.expected").read_text(encoding="utf-8").splitlines()]
    assert rows_of(mapping_of(name), FOLDER / name) == expected


def test_every_builtin_has_a_fixture():
    assert {mapping_of(name) for name in FIXTURES} == set(BUILTINS) == {
        path.stem for path in (ROOT / "src/ingest/mappings").iterdir()}


@pytest.mark.parametrize("name", ["audience_labs", "Audience-Labs"])
def test_both_spellings(name):
    fixture = FOLDER / "audience-labs-sync.csv"
    assert rows_of(name, fixture) == rows_of("audience-labs", fixture)


def test_unknown_builtin():
    assert rows_of("audience", FOLDER / "clay.jsonl") == [{
        "error": f'no mapping "audience" is built in; there are {", ".join(BUILTINS)}'}]
