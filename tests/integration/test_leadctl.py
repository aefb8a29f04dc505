"""Goal: what a person types at leadctl, right and wrong, gives what the help promises: the exit code, one clear
message that names the thing, and nothing lost of a file that is broken half-way."""
import contextlib
import json
import os
import pty
import subprocess

import pytest

from support.postgres import LEADCTL

PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000002"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
PATIENCE_S = 60


@pytest.fixture
def workspace(sql):
    sql(f"""insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
            insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)
            values ('{PARTNER}', 'Germans', '{{"countries": ["DE"]}}', '{DESK}')""")
    return PARTNER


@pytest.fixture
def importing(leadctl, workspace, tmp_path):
    """Imports a file with these bytes; the finished leadctl."""
    def run(content, *flags):
        path = tmp_path / "leads.csv"
        path.write_bytes(content)
        return leadctl("import", str(path), "--workspace", workspace, *flags)
    return run


def offline(*words, **environment):
    """leadctl without a server."""
    return subprocess.run([LEADCTL, *words], capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **environment})


def emails(sql):
    return [row[0] for row in sql("select email from leads order by email")]


# --- Words and flags --------------------------------------------------------------------------------------------------------------------


def test_help():
    for words in (("--help",), ("help",)):
        done = offline(*words)
        assert done.returncode == 0 and not done.stderr
        for command in ("route", "import", "health", "leads show"):
            assert f"  {command}" in done.stdout
    without = offline()
    assert without.returncode == 2 and not without.stdout and "Usage: leadctl COMMAND" in without.stderr
    assert offline("--version").stdout.startswith("leadctl ")


@pytest.mark.parametrize("words", [("route",), ("import",), ("health",), ("leads", "show")])
def test_help_of_a_command(words):
    done = offline(*words, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: leadctl {' '.join(words)}") and "Example: " in done.stdout
    assert "--target HOST:PORT" in done.stdout and not done.stderr


@pytest.mark.parametrize("words, message", [
    (("imprt",), 'leadctl: "imprt" is not a command; did you mean import?'),
    (("zzzzzzzz",), 'leadctl: "zzzzzzzz" is not a command; leadctl --help lists them\n'),
    (("leads",), "leadctl: leads needs a second word: list, show, erase"),
    (("health", "--workspce", PARTNER), "leadctl: --workspce: no such flag; did you mean --workspace?"),
    (("health", "--workspace"), "leadctl: --workspace: needs a value"),
    (("health", "extra"), 'leadctl: "extra": not expected here'),
    (("import", "x.csv"), "leadctl: import needs --workspace W"),
    (("import", "x.csv", "--workspace", "me"), 'leadctl: --workspace: "me" is not a UUID'),
    (("import", "x.csv", "--workspace", PARTNER, "--batch", "1001"), 'leadctl: --batch: "1001" is not a number from 1 to 1000'),
    (("import", "x.csv", "--workspace", PARTNER, "--map", "e_mail=Mail"),
            'leadctl: --map: "e_mail" is not a field of a lead; there are external_id, email'),
    (("import", "x.csv", "--workspace", PARTNER, "--map", "email"), "leadctl: --map email: must be FIELD=COLUMN"),
    (("health", "--target", "nonsense:port:1"), "leadctl: --target: "),
])
def test_wrong_words(words, message):
    done = offline(*words)
    assert done.returncode == 2 and message in done.stderr and not done.stdout


def test_output_that_cannot_be_written(tmp_path):
    """What is not there is not done: a proposal on a full disk, say."""
    (tmp_path / "leads.csv").write_text("email,city\na@example.com,Ulm\n", encoding="utf-8")
    for words in (["import", tmp_path / "leads.csv", "--suggest"], ["--help"], ["completion", "bash"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([LEADCTL, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (1, "leadctl: could not write to standard output: No space left on device\n"), words


def test_nobody_answers(tmp_path):
    """Port 1 is nobody's. The import ends, says why once, and counts nothing as taken."""
    for words in (("health",), ("route", NOBODY, "--workspace", PARTNER), ("leads", "show", NOBODY, "--workspace", PARTNER)):
        done = offline(*words, LEADROUTER_TARGET="127.0.0.1:1")
        assert done.returncode == 1 and "nobody answers at 127.0.0.1:1" in done.stderr and not done.stdout, done.stderr
    path = tmp_path / "leads.csv"
    path.write_text("email\na@example.com\n", encoding="utf-8")
    done = offline("import", str(path), "--workspace", PARTNER, "--json", "--target", "127.0.0.1:1")
    assert done.returncode == 1 and "nobody answers at 127.0.0.1:1" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["created"], summary["rejected"], summary["unsent"], summary["import_id"]) == (0, 0, 0, 0, "")


# --- Each command -----------------------------------------------------------------------------------------------------------------------


def test_import_show_route_health(sql, leadctl, importing):
    done = importing(b"External ID,E-Mail,country\nx-1,a@example.com,Germany\n", "--map", "email=E-Mail")
    assert done.returncode == 0 and not done.stderr
    assert [line.split() for line in done.stdout.splitlines()[2:4]] == [["rows", "that", "are", "in", "1"], ["leads", "created", "1"]]
    (lead_id,), = sql("select id::text from leads where external_id = 'x-1' and email = 'a@example.com'")

    shown = leadctl("leads", "show", lead_id, "--workspace", PARTNER)
    assert shown.returncode == 0 and "a@example.com" in shown.stdout and "pending" in shown.stdout
    health = leadctl("health", "--workspace", PARTNER)
    assert health.returncode == 0 and ["pending", "1"] in [line.split() for line in health.stdout.splitlines()]

    routed = leadctl("route", lead_id, "--workspace", PARTNER)
    assert routed.returncode == 0 and "ROUTED" in routed.stdout and DESK in routed.stdout and "Germans" in routed.stdout
    again = json.loads(leadctl("route", lead_id, "--workspace", PARTNER, "--json").stdout)
    assert (again["outcome"], again["decided_outcome"], again["destination_workspace_id"]) == ("ALREADY_ROUTED", "ROUTED", DESK)
    shown = json.loads(leadctl("leads", "show", lead_id, "--workspace", DESK, "--json").stdout)
    assert (shown["status"], shown["workspace_id"], shown["data"]["email"], shown["decision_id"]) == ("routed", DESK, "a@example.com",
            again["decision_id"])
    assert json.loads(leadctl("health", "--json").stdout)["status"] == "healthy"


def test_errors_of_the_server(leadctl, workspace):
    for words in (("route", NOBODY), ("leads", "show", NOBODY)):
        done = leadctl(*words, "--workspace", workspace)
        assert done.returncode == 1 and done.stderr.startswith("leadctl: NOT_FOUND: ") and not done.stdout


def test_import_into_an_unknown_workspace(leadctl, tmp_path):
    path = tmp_path / "leads.csv"
    path.write_text("email\na@example.com\n", encoding="utf-8")
    done = leadctl("import", str(path), "--workspace", NOBODY)
    assert done.returncode == 1 and "workspace_id: no such workspace" in done.stderr


def test_progress_on_a_terminal(tmp_path):
    """It says what it waits for in one line, and takes that away before it says how it ended."""
    path = tmp_path / "leads.csv"
    path.write_text("email\na@example.com\n", encoding="utf-8")
    master, slave = pty.openpty()
    words = [LEADCTL, "import", str(path), "--workspace", PARTNER, "--target", "127.0.0.1:1"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError): # the other end is closed
            while chunk := os.read(master, 4096):
                shown += chunk
        assert process.wait(PATIENCE_S) == 1
    os.close(master)
    lines = shown.decode("ascii").split("\r\033[K")
    assert len(lines) > 2 and lines[0] == "" and lines[1].startswith("nobody answers at 127.0.0.1:1"), lines
    assert lines[-1].startswith("leadctl: nobody answers") and all(len(line) < 80 for line in lines[:-1])


# --- Files ------------------------------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(leadctl, workspace, tmp_path):
    done = leadctl("import", str(tmp_path / "none.csv"), "--workspace", workspace)
    assert done.returncode == 1 and f"{tmp_path}/none.csv: No such file or directory" in done.stderr
    done = leadctl("import", str(tmp_path), "--workspace", workspace)
    assert done.returncode == 1 and f"{tmp_path}: is a directory" in done.stderr.lower()


def test_an_unknown_column(sql, importing):
    done = importing(b"mail,country\na@example.com,DE\n", "--map", "email=E-Mail")
    assert done.returncode == 1 and 'the file has no column "E-Mail"; it has mail, country' in done.stderr
    assert emails(sql) == []


def test_a_file_that_ends_inside_a_quoted_field(sql, importing):
    """Everything before the broken row is taken in."""
    done = importing(b'email,city\na@example.com,Berlin\nb@example.com,Bonn\nc@example.com,"K\xc3\xb6ln\nd@example.com,Ulm\n', "--json")
    assert done.returncode == 1 and "line 4: a quoted field begins here and is never closed" in done.stderr
    assert emails(sql) == ["a@example.com", "b@example.com"] and json.loads(done.stdout)["created"] == 2


def test_rows_with_other_numbers_of_fields(sql, importing):
    done = importing(b"email,city\na@example.com,Berlin\nb@example.com\nc@example.com,K,L\n\nd@example.com,Ulm\n")
    assert done.returncode == 1
    assert "line 4: rejected: has 3 fields where the header has 2" in done.stderr and done.stderr.count("rejected") == 1
    assert emails(sql) == ["a@example.com", "b@example.com", "d@example.com"]


def test_bytes_that_are_no_text(sql, importing):
    done = importing(b"email,city\na@example.com,Ber\0lin\nb@example.com,K\xf6ln\nc@example.com,Ulm\n")
    assert done.returncode == 1
    assert "line 2: rejected: contains a NUL byte" in done.stderr and done.stderr.count("rejected") == 1
    assert "t.csv: windows-1252" in done.stderr.replace("leads.csv", "t.csv")
    assert sql("select email, city from leads order by email") == [("b@example.com", "Köln"), ("c@example.com", "Ulm")]


def test_a_row_that_the_server_refuses(sql, importing):
    done = importing(b"email,city\na@example.com,Berlin\nb@example.com," + b"x" * 1001 + b"\nc@example.com,Ulm\n", "--json")
    assert done.returncode == 1 and "line 3: rejected: city: longer than 1000 bytes" in done.stderr
    assert emails(sql) == ["a@example.com", "c@example.com"]
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["created"], summary["rejected"]) == (3, 2, 1)


def test_a_row_that_the_databases_own_constraint_refuses(sql, importing):
    """The server cannot say which row it is; leadctl finds it."""
    sql("alter table leads add constraint known_city check (city <> 'Nowhere')")
    rows = b"".join(b"%d@example.com,%s\n" % (number, b"Nowhere" if number in (3, 17, 99) else b"Ulm") for number in range(100))
    done = importing(b"email,city\n" + rows, "--json")
    assert done.returncode == 1
    for line in (5, 19, 101):
        assert f"line {line}: rejected: a value does not fit the database's own types or constraints (SQLSTATE 23514)" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["created"], summary["rejected"], summary["unsent"]) == (100, 97, 3, 0)
    assert sql("select count(*), count(distinct email) from leads") == [(97, 97)]


def test_rows_that_are_large_together(sql, importing):
    """Five megabytes in one batch by count; a server takes four in a call."""
    rows = b"".join(b"%d@example.com,%s\n" % (number, b"x" * 50_000) for number in range(100))
    done = importing(b"email,notes\n" + rows, "--map", "attributes.notes=notes", "--batch", "1000", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["created"] == 100 and sql("select sum(length(attributes ->> 'notes')) from leads") == [(5_000_000,)]


def test_a_schema_that_is_gone_is_not_a_server_that_is_gone(sql, leadctl, workspace):
    sql("alter schema leadrouter rename to elsewhere")
    done = leadctl("leads", "show", NOBODY, "--workspace", workspace)
    assert done.returncode == 1 and done.stderr.startswith("leadctl: UNAVAILABLE: the database no longer has the schema")


def test_an_empty_file_and_a_header_alone(sql, importing):
    done = importing(b"")
    assert done.returncode == 1 and "the file is empty" in done.stderr
    done = importing(b"email,city\n", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["read"] == 0
    assert emails(sql) == []


def test_what_spreadsheets_write(sql, importing):
    """Byte order mark, CRLF, quotes, a line end inside a field, no end of the last line."""
    done = importing(b'\xef\xbb\xbfEmail,First Name,City\r\n"a@example.com","Jane ""JJ""","Ber\nlin"\r\nb@example.com,,', "--map",
            "attributes.place=City")
    assert done.returncode == 0, done.stderr
    assert sql("select email, first_name, city, attributes ->> 'place' from leads order by email") == [
        ("a@example.com", 'Jane "JJ"', "Ber lin", "Ber\nlin"), ("b@example.com", None, None, None)]


def test_a_mapping_is_suggested_and_used(sql, importing, tmp_path):
    """No server is needed to propose one; with it the columns go where they belong, uniform."""
    text = b"Mail;Tel;Firma;Plz\n" + b"".join(
        b"p%d@EXAMPLE.com;504-555-01%02d;Firma %d;7000%d\n" % (number, number, number, number) for number in range(5))
    (tmp_path / "people.csv").write_bytes(text)
    done = offline("import", str(tmp_path / "people.csv"), "--suggest")
    assert done.returncode == 0 and not done.stderr and "name: \"people\"" in done.stdout
    assert 'email: "Mail"  # ' in done.stdout and 'phone: "Tel"  # ' in done.stdout
    (tmp_path / "people.yaml").write_text(done.stdout.replace("attributes:", "  company_name: Firma\nattributes:"), encoding="utf-8")
    done = importing(text, "--mapping", str(tmp_path / "people.yaml"))
    assert done.returncode == 0, done.stderr
    assert "windows" not in done.stderr and "columns parted by ;" in done.stderr
    assert sql("select email, phone, company_name, postal_code from leads order by email")[1] == (
        "p1@example.com", "+15045550101", "Firma 1", "70001")
    done = importing(text, "--mapping", "audience")
    assert done.returncode == 1 and 'no mapping "audience" is built in; there are generic, datashopper' in done.stderr
    (tmp_path / "people.yaml").write_text("fields:\n  mail: Mail\n", encoding="utf-8")
    done = importing(text, "--mapping", str(tmp_path / "people.yaml"))
    assert done.returncode == 1 and f"{tmp_path}/people.yaml: line 2: fields.mail: is not a field of a lead" in done.stderr


def test_flags_of_the_reader(sql, importing):
    done = importing(b"a@example.com|K\xf6ln\n", "--no-header", "--encoding", "latin-1", "--delimiter", "|", "--map", "email=1", "--map",
                     "city=2")
    assert done.returncode == 0, done.stderr
    assert sql("select email, city from leads") == [("a@example.com", "Köln")]
    for flags, message in ((("--encoding", "ebcdic"), '--encoding: "ebcdic" is none of utf-8'),
                           (("--delimiter", "ab"), "must be one character")):
        done = importing(b"email\na@example.com\n", *flags)
        assert done.returncode == 1 and message in done.stderr
    done = importing(b"email\na@example.com\n", "--mapping", "generic", "--blank", "x")
    assert done.returncode == 2 and "--map and --blank do not go with --mapping" in done.stderr


def test_a_json_file(sql, importing):
    done = importing(b'{"email": "a@example.com", "city": "Ulm"}\n{"email": 7}\n{"email": "b@example.com"\n')
    assert done.returncode == 1 and done.stderr.count("rejected") == 2
    assert emails(sql) == ["a@example.com"]


def test_many_rejected_rows_are_counted(sql, importing):
    done = importing(b"email,city\n" + b"x\n" * 50 + b"a@example.com,Ulm\n", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["rejected"] == 50
    assert done.stderr.count("rejected: email: is not an e-mail address") == 20 and "further rejected rows are only counted" in done.stderr
    assert emails(sql) == ["a@example.com"]
