"""Goal: docs/mapping.schema.json and the parser take the same mappings, but for what the schema says it cannot express; and faults
are named by file, line and path."""
import json
import subprocess

import jsonschema
import pytest
import yaml

from support.postgres import BUILD, ROOT

CORPUS = json.loads((ROOT / "tests/vectors/mappings.json").read_text(encoding="utf-8"))
BUILTINS = sorted((ROOT / "src/ingest/mappings").iterdir())

pytestmark = pytest.mark.asan


def check(text):
    done = subprocess.run([BUILD / "tests/ingest/ingest_peer", "check"], input=json.dumps(text) + "\n", capture_output=True,
                          text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def validator():
    schema = json.loads((ROOT / "docs/mapping.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("mapping", CORPUS["valid"], ids=json.dumps)
def test_valid(validator, mapping):
    assert check(json.dumps(mapping)) == {}
    assert check(json.dumps(mapping, indent=2)) == {}
    validator.validate(mapping)


@pytest.mark.parametrize("mapping", CORPUS["invalid"], ids=json.dumps)
def test_invalid(validator, mapping):
    assert check(json.dumps(mapping))["error"].startswith("file: line 1: ")
    assert not validator.is_valid(mapping)


@pytest.mark.parametrize("mapping", CORPUS["invalid_beyond_the_schema"], ids=json.dumps)
def test_invalid_beyond_the_schema(validator, mapping):
    assert "error" in check(json.dumps(mapping))
    validator.validate(mapping)


@pytest.mark.parametrize("text", CORPUS["invalid_as_text"])
def test_invalid_as_text(text):
    assert check(text)["error"].startswith("file: ")


@pytest.mark.parametrize("path", BUILTINS, ids=lambda path: path.stem)
def test_builtins(validator, path):
    text = path.read_text(encoding="utf-8")
    assert check(text) == {}
    validator.validate(yaml.safe_load(text))
    assert yaml.safe_load(text)["name"] == path.stem


@pytest.mark.parametrize("text, expected", [
    ("fields:\n  email: a\n  mail: b\n", "file: line 3: fields.mail: is not a field of a lead; there are external_id, email, "),
    ("fields:\n  email:\n    frm: a\n", "file: line 3: fields.email.frm: unknown key"),
    ("fields:\n  phone:\n    from:\n    - a\n    - from: b\n      part: street\n",
     "file: line 6: fields.phone.from[1].part: must be one of first_name, last_name, city, state, postal_code, country"),
    ("fields: {email: a}\nrequired:\n- [email, fax]\n", 'file: line 3: required[0]: "fax" is not a field of a lead'),
    ("fields: {email: a}\nfields: {email: b}\n", "file: line 2: fields: is there twice"),
    ("fields: {email: &x a, phone: *x}", "file: line 1: fields.phone: aliases are not taken"),
    ("fields: {email: 'a\n", "file: line 2: found unexpected end of stream"),
    ("", "file: is empty"),
])
def test_faults_are_named(text, expected):
    assert check(text)["error"].startswith(expected)
