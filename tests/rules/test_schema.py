"""Goal: docs/rules.schema.json and the parser take the same conditions, but for what the schema says it cannot express."""
import json

import jsonschema
import pytest

from rules.peer import Peer
from support.postgres import ROOT

CORPUS = json.loads((ROOT / "tests/vectors/rules.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def peer():
    with Peer() as peer:
        yield peer


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((ROOT / "docs/rules.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("conditions", CORPUS["valid"], ids=json.dumps)
def test_valid(peer, validator, conditions):
    assert peer.ask({"check": conditions}) == {}
    validator.validate(conditions)


@pytest.mark.parametrize("conditions", CORPUS["invalid"], ids=json.dumps)
def test_invalid(peer, validator, conditions):
    assert "error" in peer.ask({"check": conditions})
    assert not validator.is_valid(conditions)


@pytest.mark.parametrize("conditions", CORPUS["invalid_beyond_the_schema"], ids=json.dumps)
def test_invalid_beyond_the_schema(peer, validator, conditions):
    assert "error" in peer.ask({"check": conditions})
    validator.validate(conditions)
