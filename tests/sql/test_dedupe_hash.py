"""Goal: the SQL side of the identity gives the bytes that tests/vectors fixes for C and SQL alike, whatever the database's locale, the
caller's search path and the code point; only the roles meant may call it."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

import psycopg2
import pytest

from support.postgres import IS_LONG, scratch

ROOT = pathlib.Path(__file__).resolve().parents[2]
POSTGRES_BIN = pathlib.Path(os.environ.get("LEADROUTER_POSTGRES_BIN", "/usr/lib/postgresql/15/bin"))
TABLES = ROOT / "sql/migrations/0001_routing/10_tables.sql"
FUNCTIONS = ROOT / "sql/migrations/0001_routing/20_generate_dedupe_hash.sql"
VECTORS = json.loads((ROOT / "tests/vectors/dedupe.json").read_text(encoding="utf-8"))
FIELDS = ("email", "phone", "company_name", "first_name", "last_name")
HASH = "select public.generate_dedupe_hash(%s, %s, %s, %s, %s)"
BLOCK = 0x1000
LINE = 64

# Turkish is the locale in which lower('I') is not 'i'.
LOCALES = {
    "c": "locale 'C'",
    "c_utf8": "locale 'C.UTF-8'",
    "icu_turkish": "locale_provider icu icu_locale 'tr-TR' locale 'C.UTF-8'",
}


def run_postgres_tool(tool, *arguments):
    """Runs a server program, as the user postgres when we are root (it refuses root)."""
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    subprocess.run([*as_user, str(POSTGRES_BIN / tool), *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def cluster_directory():
    """A private cluster that listens on a socket in this directory only."""
    directory = scratch("dedupe")
    if os.geteuid() == 0:
        shutil.chown(directory, "postgres", "postgres")
    data = f"{directory}/data"
    options = f"-c listen_addresses='' -c unix_socket_directories='{directory}' -c fsync=off"
    started = False
    try:
        run_postgres_tool("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        run_postgres_tool("pg_ctl", "-D", data, "-o", options, "-l", f"{directory}/log", "-w", "start")
        started = True
        yield directory
    finally:
        if started:
            run_postgres_tool("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(directory)


def connect(directory, database):
    connection = psycopg2.connect(host=directory, user="postgres", dbname=database)
    connection.autocommit = True
    return connection


@pytest.fixture(scope="module", params=LOCALES)
def cursor(request, cluster_directory):
    """A database of each locale with the functions and what they need: their schema, the two roles, and the function that seals them."""
    connection = connect(cluster_directory, "postgres")
    with connection.cursor() as admin:
        for role in ("leadrouter_owner", "leadrouter_service", "stranger"):
            admin.execute("select from pg_roles where rolname = %s", (role,))
            if admin.rowcount == 0:
                admin.execute(f"create role {role}")
        admin.execute(f"create database {request.param} template template0 encoding utf8 {LOCALES[request.param]}")
    connection.close()
    connection = connect(cluster_directory, request.param)
    cursor = connection.cursor()
    cursor.execute("create schema leadrouter authorization leadrouter_owner")
    cursor.execute("grant usage on schema leadrouter to leadrouter_service")
    cursor.execute(re.search(r"create function leadrouter\.seal_functions.*?\$function\$;", TABLES.read_text(encoding="ascii"), re.S)[0])
    cursor.execute(FUNCTIONS.read_text(encoding="ascii"))
    yield cursor
    connection.close()


def test_databases_differ(cursor):
    """The locales do make a difference to what we do not use: else this file would prove less than it says."""
    cursor.execute("select current_database(), lower('I\u00c9')")
    database, lowered = cursor.fetchone()
    assert lowered == {"c": "i\u00c9", "c_utf8": "i\u00e9", "icu_turkish": "\u0131\u00e9"}[database]


@pytest.mark.parametrize("name, function", [("texts", "normalize_text"), ("phones", "normalize_phone")])
def test_normalized_forms(cursor, name, function):
    for case in VECTORS[name]:
        cursor.execute(f"select leadrouter.{function}(%s)", (case["text"],))
        assert cursor.fetchone()[0] == case["normalized"], ascii(case)


def test_texts_are_idempotent(cursor):
    for case in VECTORS["texts"]:
        cursor.execute("select leadrouter.normalize_text(%s)", (case["normalized"],))
        assert cursor.fetchone()[0] == case["normalized"], ascii(case)


def test_identities(cursor):
    for case in VECTORS["identities"]:
        cursor.execute(HASH, [case[field] for field in FIELDS])
        assert cursor.fetchone()[0] == case["hash"], ascii(case)


def test_vectors_are_sound():
    """The hashes in the file are those of the normalised fields in the file."""
    for case in VECTORS["identities"]:
        if case["hash"] is not None:
            hashed = "".join(field + "\x1f" for field in case["normalized"]).encode("utf-8")
            assert case["hash"] == hashlib.sha256(hashed).hexdigest()
        assert (case["hash"] is None) == (case["normalized"] is None)


def places(code_point):
    """The same places as append_places() in tests/unit/dedupe/test_dedupe.c."""
    c = chr(code_point)
    return f"{c} A{c}b {c}\u0308\u0301 i{c}\u0307 \u03a3{c} \u0130{c}\u0308 J{c}\u030c "


def block_lines(first):
    lines = []
    for start in range(first, first + BLOCK, LINE):
        points = (c for c in range(start, start + LINE) if c != 0 and not 0xD800 <= c < 0xE000)
        line = "".join(places(c) for c in points)
        if line:
            lines.append(line)
    return lines


def test_every_code_point(cursor):
    """The blocks in which anything is ever mapped; in the long form all of them, under C."""
    blocks = [line.split("\t") for line in (ROOT / "tests/vectors/dedupe_code_points.tsv").read_text().splitlines()]
    assert len(blocks) == 0x110000 // BLOCK
    cursor.execute("select current_database()")
    everything = IS_LONG and cursor.fetchone()[0] == "c"
    for first, expected in ((int(first, 16), expected) for first, expected in blocks):
        if not everything and first >= 0x20000 and first != 0xE0000:
            continue
        cursor.execute(
            "select encode(sha256(convert_to(string_agg(leadrouter.normalize_text(line) || chr(10), '' order by n), 'UTF8')), 'hex')"
            " from unnest(%s::text[]) with ordinality lines(line, n)", (block_lines(first),))
        assert cursor.fetchone()[0] == expected, f"block U+{first:04X}"


def test_null_is_empty(cursor):
    cursor.execute("select leadrouter.normalize_text(null), leadrouter.normalize_phone(null)")
    assert cursor.fetchone() == ("", "")
    cursor.execute(HASH, ["a@b.c", None, None, None, None])
    with_nulls = cursor.fetchone()[0]
    cursor.execute(HASH, ["a@b.c", "", "", "", ""])
    assert cursor.fetchone()[0] == with_nulls
    assert len(with_nulls) == 64


def test_search_path_of_the_caller(cursor):
    """Functions of the caller's that have the names of built-in ones are not called."""
    cursor.execute("create schema trap")
    cursor.execute("create function trap.lower(text) returns text language sql immutable as $$ select 'trapped' $$")
    cursor.execute("create function trap.sha256(bytea) returns bytea language sql immutable as $$ select '\\x00'::bytea $$")
    case = next(case for case in VECTORS["identities"] if case["hash"] is not None)
    cursor.execute("set search_path = trap, pg_catalog")
    try:
        cursor.execute("select lower('A')")
        assert cursor.fetchone()[0] == "trapped"
        cursor.execute(HASH, [case[field] for field in FIELDS])
        assert cursor.fetchone()[0] == case["hash"]
    finally:
        cursor.execute("reset search_path")
        cursor.execute("drop schema trap cascade")


def test_rights_and_properties(cursor):
    cursor.execute(
        "select p.proname, r.rolname, p.provolatile, p.proparallel, p.prosecdef, p.proconfig from pg_proc p"
        " join pg_roles r on r.oid = p.proowner"
        " where p.proname in ('generate_dedupe_hash', 'normalize_text', 'normalize_phone') order by 1")
    assert cursor.fetchall() == [
        (name, "leadrouter_owner", "i", "s", False, ["search_path=pg_catalog, pg_temp"])
        for name in ("generate_dedupe_hash", "normalize_phone", "normalize_text")]
    cursor.execute("set role leadrouter_service")
    try:
        cursor.execute(HASH, ["a@b.c", None, None, None, None])
        assert cursor.fetchone()[0] is not None
        cursor.execute("set role stranger")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(HASH, ["a@b.c", None, None, None, None])
    finally:
        cursor.execute("reset role")
