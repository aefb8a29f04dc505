"""Goal: every command reads as a person would read it: its help, what it usually says, and what it says when something is wrong, on
terminals of 80 and of 160 columns, are kept in transcripts/ and compared word by word. With --json each gives what
docs/leadctl.schema.json says.

LEADROUTER_WRITE_TRANSCRIPTS=1 writes the files anew: read the difference before you commit it."""
import contextlib
import fcntl
import functools
import json
import os
import pathlib
import pty
import re
import shlex
import struct
import subprocess
import termios
import unicodedata

import jsonschema
import pytest

from support.postgres import LEADCTL
from support.product_cluster import execute
from support.server import Server

KEPT = pathlib.Path(__file__).parent / "transcripts"
SCHEMA = pathlib.Path(__file__).parents[2] / "docs/leadctl.schema.json"
PATIENCE_S = 60
NARROW, WIDE = 80, 160

ACME, DESK, BARE = (f"0b9e0000-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
SOLD, WAITING, DUE, COPY, LOST, ODD, FRESH = (f"6f1c0000-0000-4000-8000-00000000000{n}" for n in range(1, 8))
ANN, NOBODY = "5c3e0000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-0000000000ff"
NAMED = {"RULE": "9a1d0000-0000-4000-8000-000000000001", "IMPORT": "7c1f0000-0000-4000-8000-000000000001"}
OTHER = "de00de00-0000-4000-8000-000000000000" # stands for every id that the server makes

LEADS = f"""
insert into leads (id, workspace_id, source_workspace_id, external_id, email, phone, first_name, last_name, company_name, country, source,
                   created_at) values
    ('{SOLD}', '{ACME}', '{ACME}', 'crm-1', 'zoe@example.com', '+4930123456', 'Zoë', 'Müller', 'Solar AG',
     'DE', 'csv', now() - interval '49 hours 1 minute'),
    ('{WAITING}', '{ACME}', '{ACME}', 'crm-2', 'jean@example.com', null, 'Jean', null,
     null, 'FR', 'api', now() - interval '49 hours 2 minutes'),
    ('{DUE}', '{ACME}', '{ACME}', 'crm-3', 'marie@example.com', null, 'Marie', null,
     null, 'FR', 'api', now() - interval '49 hours 3 minutes'),
    ('{COPY}', '{ACME}', '{ACME}', 'crm-4', 'Zoe@Example.com', '+49 30 123456', 'zoë', 'Müller',
     'Solar AG', 'DE', 'csv', now() - interval '49 hours 4 minutes'),
    ('{LOST}', '{ACME}', '{ACME}', 'crm-5', 'paul@example.com', null, null, null,
     null, 'FR', 'api', now() - interval '49 hours 5 minutes'),
    ('{ODD}', '{ACME}', '{ACME}', 'crm-6', 'a.person.with.a.long.name@a.company.with.a.long.name.example.com',
     null, E'\\033[2J日本\\u202e', null,
     null, 'JP',
     'api', now() - interval '49 hours 6 minutes'),
    ('{FRESH}', '{ACME}', '{ACME}', 'crm-7', '日本語の名前@example.jp', null, null, null,
     null, 'JP', 'api', now() - interval '49 hours 7 minutes');
"""
RULES = f"""rules:
  - name: Germans
    destination: {DESK}
    conditions: {{countries: [DE]}}
  - name: large companies of the solar and of the wind industry
    priority: 10
    destination: {DESK}
    conditions: {{industries: [Solar, Wind], countries: [US, CA]}}
"""
CSV = "email,country\nnew@example.com,DE\nnot an address,DE\nother@example.com,FR\n"

# Commands that change nothing are asked again for JSON.
READING = {"list", "show", "rejected", "export", "lint", "versions", "diff", "test", "history", "health", "slo", "verify", "token"}

# What is typed, in this order: on a narrow terminal, on both, for JSON alone, or unseen; and between them what nobody types.
STORY = [
    ("both", f"workspaces create Acme --id {ACME} --type partner --policy '{{\"unmatched\": \"retry\"}}'"),
    ("one", f"workspaces create Desk --id {DESK}"),
    ("one", "workspaces create x --type partnr"),
    ("both", "workspaces list"),
    ("one", "workspaces list --workspaces"),
    ("one", f"workspaces show {ACME}"),
    ("one", f"workspaces show {NOBODY}"),
    ("one", f"workspaces update {DESK} --name 'The desk' --note 'as they call it'"),
    ("one", f"workspaces update {DESK}"),
    ("one", f"members set {ANN} --workspace {ACME} --role admin"),
    ("one", f"members set {ANN} --workspace {ACME}"),
    ("one", f"members set ann --workspace {ACME}"),
    ("one", f"members list --workspace {ACME}"),
    ("one", "members list"),
    ("one", f"rules create --workspace {ACME} --name Germans --destination {DESK} --conditions '{{\"countries\": [\"DE\"]}}'"),
    ("one", f"rules create --workspace {ACME} --name Germans --destination {DESK} --conditions '{{\"countris\": [\"DE\"]}}'"),
    ("rule",),
    ("one", f"rules show RULE --workspace {ACME}"),
    ("one", f"rules show {NOBODY} --workspace {ACME}"),
    ("one", f"rules update RULE --workspace {ACME} --priority 5"),
    ("one", f"rules update RULE --workspace {ACME}"),
    ("one", f"rules deactivate RULE --workspace {ACME} --note 'holidays'"),
    ("one", "rules deactivate RULE"),
    ("one", f"rules activate RULE --workspace {ACME}"),
    ("one", f"rules activate {NOBODY} --workspace {ACME}"),
    ("one", f"rules apply rules.yaml --workspace {ACME} --dry-run"),
    ("one", f"rules apply rules.yaml --workspace {ACME} --note 'the new year'"),
    ("one", f"rules apply rule.yaml --workspace {ACME}"),
    ("both", f"rules list --workspace {ACME}"),
    ("one", f"rules list --workspace {NOBODY}"),
    ("rule",),
    ("one", f"rules export --workspace {ACME}"),
    ("one", f"rules export --workspace {NOBODY}"),
    ("one", f"rules lint --workspace {ACME}"),
    ("one", f"rules lint --workspace {ACME} --file broken.yaml"),
    ("both", f"rules versions --workspace {ACME}"),
    ("one", f"rules versions --wrkspace {ACME}"),
    ("one", f"rules diff 1 --workspace {ACME}"),
    ("one", f"rules diff one --workspace {ACME}"),
    ("sql", LEADS),
    ("one", f"rules test {SOLD} --workspace {ACME}"),
    ("one", f"rules test {NOBODY} --workspace {ACME}"),
    ("one", f"route {SOLD} --workspace {ACME}"),
    ("one", f"route {COPY} --workspace {ACME}"),
    ("one", f"route {WAITING} --workspace {ACME}"),
    ("silent", f"route {DUE} --workspace {ACME}"),
    ("silent", f"route {LOST} --workspace {ACME}"),
    ("one", f"route {NOBODY} --workspace {ACME}"),
    ("one", f"route {WAITING} --workspace acme"),
    ("both", f"history {SOLD} --workspace {ACME}"),
    ("one", f"history {COPY} --workspace {ACME}"),
    ("one", f"history {NOBODY} --workspace {ACME}"),
    ("sql", f"""update lead_routing_queue set next_retry_at = now() + interval '30 minutes 30 seconds'
                where lead_id = '{WAITING}';
                update lead_routing_queue set next_retry_at = now() + interval '45 minutes 30 seconds' where lead_id = '{LOST}';
                update lead_routing_queue set next_retry_at = now() - interval '1 minute' where lead_id = '{DUE}'"""),
    ("both", "retries list"),
    ("both", f"retries list --workspace {ACME}"),
    ("one", "retries list --limit 0"),
    ("one", f"retries cancel {LOST} --workspace {ACME} --reason 'test data'"),
    ("one", f"retries cancel {LOST} {NOBODY} --workspace {ACME}"),
    ("one", f"retries cancel --workspace {ACME}"),
    ("one", "retries process"),
    ("one", "retries process --limit many"),
    ("both", f"leads list --workspace {ACME}"),
    ("one", f"leads list --workspace {ACME} --status routed --limit 1"),
    ("one", f"leads list --workspace {ACME} --status lost"),
    ("one", f"leads show {SOLD} --workspace {ACME}"),
    ("one", f"leads show {COPY} --workspace {ACME}"),
    ("one", f"leads show {ODD} --workspace {ACME}"),
    ("one", f"leads show {NOBODY} --workspace {ACME}"),
    ("one", f"leads erase {LOST} --workspace {ACME}", "yes\n"),
    ("one", f"leads erase {LOST} --workspace {ACME} --yes"),
    ("one", f"leads show {LOST} --workspace {ACME}"),
    ("one", f"leads list --workspace {ACME} --status expired"),
    ("one", f"leads erase {SOLD} --workspace {ACME}", "no\n"),
    ("one", f"leads erase {NOBODY} --workspace {ACME} --yes"),
    ("one", f"import leads.csv --workspace {ACME} --route"),
    ("one", f"import lead.csv --workspace {ACME}"),
    ("both", f"imports list --workspace {ACME}"),
    ("one", "imports list --workspace"),
    ("import",),
    ("one", f"imports show IMPORT --workspace {ACME}"),
    ("one", f"imports show {NOBODY} --workspace {ACME}"),
    ("one", f"imports rejected IMPORT --workspace {ACME}"),
    ("one", f"imports rejected {NOBODY} --workspace {ACME}"),
    ("sql", """update leadrouter.scheduled_jobs
               set last_started_at = now() - interval '3 hours 1 minute', last_ended_at = now() - interval '3 hours',
               last_result = 'done', next_run_at = now() + interval '10 minutes 30 seconds'"""),
    ("one", "jobs pause retries --note 'the CRM is down'"),
    ("one", "jobs pause retris"),
    ("sql", "update leadrouter.scheduled_jobs set failures = 2, last_result = 'failed', last_error = 'no space left'"
            " where name = 'retention'"),
    ("both", "jobs list"),
    ("one", "jobs list --jsn"),
    ("one", "jobs resume retries"),
    ("one", "jobs resume everything"),
    ("one", "jobs run expiry"),
    ("one", "jobs run"),
    ("one", "health"),
    ("one", f"health --workspace {ACME}"),
    ("one", "health --workspce x"),
    ("one", "health --target 127.0.0.1:1"),
    ("both", "slo"),
    ("one", "slo --window 1h"),
    ("one", "slo --prometheus http://leads.example.com:9090"),
    ("one", "slo --prometheus http://127.0.0.1:1"),
    ("one", "slo --promethus http://127.0.0.1:1"),
    ("one", "audit verify"),
    ("one", "audit verify --expect 1"),
    ("one", f"rules revert --workspace {ACME} --version 3"),
    ("one", f"rules revert --workspace {ACME}"),
    ("rule",),
    ("one", f"rules delete RULE --workspace {ACME} --note 'not needed'"),
    ("one", f"rules delete {NOBODY} --workspace {ACME}"),
    ("json", f"members set {ANN} --workspace {ACME}"),
    ("json", f"members remove {ANN} --workspace {ACME}"),
    ("silent", f"members set {ANN} --workspace {ACME}"),
    ("one", f"members remove {ANN} --workspace {ACME}"),
    ("one", f"members remove {ANN} --workspace {NOBODY}"),
    ("json", f"workspaces create Other --id {BARE}"),
    ("json", f"workspaces update {BARE} --inactive"),
    ("json", f"rules create --workspace {ACME} --name Swiss --destination {DESK} --conditions '{{\"countries\": [\"CH\"]}}'"),
    ("json", f"rules apply rules.yaml --workspace {ACME}"),
    ("rule",),
    ("json", f"rules update RULE --workspace {ACME} --name Austrians"),
    ("json", f"rules deactivate RULE --workspace {ACME}"),
    ("json", f"rules activate RULE --workspace {ACME}"),
    ("json", f"rules delete RULE --workspace {ACME}"),
    ("json", f"rules revert --workspace {ACME} --version 3"),
    ("json", f"route {SOLD} --workspace {ACME}"),
    ("json", f"retries cancel {WAITING} {NOBODY} --workspace {ACME}"),
    ("json", "retries process"),
    ("json", f"import leads.csv --workspace {ACME} --again"),
    ("json", "jobs run expiry"),
    ("json", "jobs pause expiry"),
    ("json", "jobs resume expiry"),
    ("json", f"leads erase {FRESH} --workspace {ACME} --yes"),
    ("json", f"leads show {SOLD} --workspace {ACME}"),
    ("one", f"token --key key.pem --subject {ANN} --audience leadrouter"),
    ("one", f"token --key none.pem --subject {ANN} --audience leadrouter"),
    ("one", "completion zsh"),
    ("one", "completion fish"),
]


@functools.cache
def commands():
    """The names in leadctl --help."""
    lines = subprocess.run([LEADCTL, "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout.splitlines()
    return [line[2:].split("  ")[0] for line in lines if line.startswith("  ") and line[2] != " "]


def command_of(words):
    """The name of the command that is called."""
    return next((name for name in commands() if name.split() == words[:len(name.split())]), " ".join(words[:2]))


def on_terminal(words, columns, folder, typed="", **environment):
    """What a terminal of so many columns shows, and the exit code."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    modes = termios.tcgetattr(slave)
    modes[3] &= ~termios.ECHO # what is typed would come before or after the question
    termios.tcsetattr(slave, termios.TCSANOW, modes)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEADROUTER_") and name not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen([LEADCTL, *words], stdin=slave, stdout=slave, stderr=slave, cwd=folder,
                          env={**kept, "TERM": "dumb", "LC_ALL": "C.UTF-8", **environment}) as process:
        os.close(slave)
        os.write(master, typed.encode())
        shown = b""
        try:
            while chunk := os.read(master, 65536):
                shown += chunk
        except OSError: # the other end is closed
            pass
        code = process.wait(PATIENCE_S)
    os.close(master)
    return shown.decode().replace("\r\n", "\n"), code


def same(text, names):
    """What differs from run to run, made equal in as many columns."""
    known = {ACME, DESK, BARE, SOLD, WAITING, DUE, COPY, LOST, ODD, FRESH, ANN, NOBODY}
    for name, value in names.items():
        text = text.replace(value, NAMED[name])
        known.add(NAMED[name])
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", lambda id: id[0] if id[0] in known else OTHER, text)
    text = re.sub(r"\b[0-9a-f]{8}[0-9a-f-]*…",
                  lambda cut: cut[0] if any(id.startswith(cut[0][:-1]) for id in known) else OTHER[:len(cut[0]) - 1] + "…", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "2026-01-31T12:00:00.000Z", text)
    text = re.sub(r"20\d\d-\d\d-\d\d \d\d:\d\d", "2026-01-31 12:00", text)
    text = re.sub(r"\b[0-9a-f]{64}\b", "5c1f" * 16, text)
    text = re.sub(r"eyJ[\w.-]+", "eyJ…", text)
    text = re.sub(r"within the last \d+ \w+", "within the last 59 min", text)
    text = re.sub(r"( +)\d+\.\d ms", lambda wait: " 1.0 ms".rjust(len(wait[0])) if len(wait[1]) > 1 else " 1.0 ms", text)
    text = re.sub(r"^(p9\d latency)( +[\d.]+ m?s)", lambda wait: wait[1] + "1 ms".rjust(len(wait[2])), text, flags=re.MULTILINE)
    text = re.sub(r"\b\d+ calls$", "90 calls", text, flags=re.MULTILINE)
    text = re.sub(r"at 127\.0\.0\.1:\d{4,5} alone", "at 127.0.0.1:7450 alone", text)
    text = re.sub(r"ended \d+ s ago", "ended 0 s ago", text)
    text = re.sub(r"took( +)\d+ ms", r"took\1 7 ms", text)
    text = re.sub(r"\d+\.\d s, \d+ (\w+) a second", r"0.1 s, 30 \1 a second", text)
    return text


def columns_of(line):
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


def json_of(words, folder, environment):
    """What the command says with --json; None when it fails without a word of JSON."""
    done = subprocess.run([LEADCTL, *words, "--json"], capture_output=True, text=True, timeout=PATIENCE_S, cwd=folder,
                          env={**os.environ, **environment}, stdin=subprocess.DEVNULL)
    return json.loads(done.stdout) if done.stdout else None


class Story:
    """What all commands showed, by command."""

    def __init__(self, cluster, database, server, folder):
        self.cluster, self.database, self.folder = cluster, database, folder
        self.environment = {"LEADROUTER_TARGET": server.address}
        self.names = {}
        self.shown = {}
        self.answers = {} # to --json
        self.codes = {}

    def sql(self, statement):
        return execute(self.cluster, self.database, statement)

    def type(self, line, columns, typed="", is_silent=False):
        words = [self.names.get(word, word) for word in shlex.split(line)]
        text, code = on_terminal(words, columns, self.folder, typed, **self.environment)
        if is_silent:
            return
        name = command_of(words)
        if name == "completion" and code == 0 and "--help" not in line:
            text = "".join(text.splitlines(keepends=True)[:3]) + "...\n"
        entry = same(f"$ leadctl {' '.join(map(shlex.quote, words))}\n{text}", self.names) + f"[exit {code}]\n"
        if columns != NARROW:
            entry = f"# {columns} columns\n{entry}"
        self.shown.setdefault(name, []).append(entry)
        self.codes.setdefault(name, set()).add(code)

    def answer(self, line):
        words = [self.names.get(word, word) for word in shlex.split(line)]
        answer = json_of(words, self.folder, self.environment)
        if answer is not None:
            self.answers.setdefault(command_of(words), []).append(answer)

    def tell(self, kind, *what):
        if kind == "sql":
            self.sql(what[0])
        elif kind == "rule":
            (self.names["RULE"],), = self.sql("select id::text from lead_routing_rules order by rule_name = 'Germans' desc limit 1")
        elif kind == "import":
            (self.names["IMPORT"],), = self.sql("select id::text from bulk_upload_jobs order by created_at limit 1")
        elif kind == "json":
            self.answer(what[0])
        elif kind == "silent":
            self.type(what[0], NARROW, is_silent=True)
        else:
            self.type(what[0], NARROW, *what[1:])
            if kind == "both":
                self.type(what[0], WIDE)
            if command_of(shlex.split(what[0])).split()[-1] in READING:
                self.answer(what[0])


@contextlib.contextmanager
def beginning(cluster, folder):
    """A story of which nothing is told yet."""
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    (folder / "broken.yaml").write_text(RULES.replace("priority: 10", "priorty: 10"), encoding="utf-8")
    (folder / "leads.csv").write_text(CSV, encoding="utf-8")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", folder / "key.pem"], check=True, capture_output=True)
    (folder / "key.pem").chmod(0o600)
    database = cluster.database()
    with Server(cluster.service_url(database), "--no-jobs") as server:
        yield Story(cluster, database, server, folder)
    cluster.drop_database(database)


@pytest.fixture(scope="module")
def story(cluster, tmp_path_factory):
    with beginning(cluster, tmp_path_factory.mktemp("story")) as told:
        for name in commands():
            told.type(f"{name} --help", NARROW)
        for step in STORY:
            told.tell(*step)
        yield told


def check(name, text):
    path = KEPT / f"{name.replace(' ', '-')}.txt"
    if os.environ.get("LEADROUTER_WRITE_TRANSCRIPTS"):
        KEPT.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no transcript of leadctl {name}"
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", commands())
def test_transcript(story, name):
    assert name in story.shown and {0, 2} & story.codes[name] and len(story.codes[name]) > 1, "a typical call, and one that fails"
    check(name, "\n".join(story.shown[name]))


@pytest.mark.asan
def test_how_the_story_begins(cluster, tmp_path):
    """What makes rules, and routes a lead and its copy, says what is in the transcripts. The rest of the story is too long for a program
    with AddressSanitizer."""
    told_of = {"workspaces create", "rules create", "rules update", "rules deactivate", "rules activate", "rules apply", "route", "history"}
    begin = STORY[:STORY.index(("one", f"history {COPY} --workspace {ACME}")) + 1]
    with beginning(cluster, tmp_path) as told:
        for kind, *what in begin:
            if kind in ("sql", "rule"):
                told.tell(kind, *what)
            elif kind != "silent" and command_of(shlex.split(what[0])) in told_of and NOBODY not in what[0]:
                told.type(what[0], NARROW, *what[1:])
    for name, entries in told.shown.items():
        kept = (KEPT / f"{name.replace(' ', '-')}.txt").read_text(encoding="utf-8")
        assert [entry for entry in entries if entry not in kept] == [], name
    assert "outcome            DUPLICATE\n" in told.shown["route"][1]


def test_transcript_without_a_command(tmp_path):
    shown = ""
    for line in ("", "--help", "--version", "leads --help", "help health", "leads", "leads lst", "laeds list", "--json health",
                 "frobnicate"):
        text, code = on_terminal(shlex.split(line), NARROW, tmp_path)
        shown += f"{'' if not shown else chr(10)}$ leadctl {line}".rstrip() + f"\n{text}[exit {code}]\n"
    check("leadctl", re.sub(r"leadctl \d+\.\d+\.\d+", "leadctl 0.0.0", shown))


def test_no_transcript_without_a_command():
    assert {path.stem for path in KEPT.glob("*")} == {name.replace(" ", "-") for name in commands()} | {"leadctl"}


@pytest.mark.parametrize("name", commands())
def test_lines_fit(story, name):
    """No line of help or of a list is wider than the terminal, but for what must not be broken: examples and messages."""
    for entry in story.shown[name]:
        if "--help" in entry or name.endswith(" list"):
            limit = WIDE if entry.startswith("#") else NARROW
            wide = [line for line in entry.splitlines()[1:] if not line.startswith(("$ ", "Example: ", "         ", "leadctl: "))]
            assert max(map(columns_of, wide)) <= limit, entry


# --- JSON -------------------------------------------------------------------------------------------------------------------------------

WITHOUT_JSON = {"completion"} # a script in any case


@pytest.mark.parametrize("name", [name for name in commands() if name not in WITHOUT_JSON])
def test_json(story, name):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert story.answers.get(name), "the story has no call of it that succeeds"
    for answer in story.answers[name]:
        jsonschema.validate(answer, {"$ref": f"#/$defs/{name}", "$defs": schema["$defs"]})


# --- Colours ----------------------------------------------------------------------------------------------------------------------------


def test_colours(story):
    """On a terminal that has them, and never when somebody does not want them or nobody looks."""
    words = ["leads", "list", "--workspace", ACME]
    environment = {**story.environment, "TERM": "xterm"}
    coloured = on_terminal(words, NARROW, story.folder, **environment)[0]
    assert "\033[1mLEAD\033[0m" in coloured and "\033[32mrouted\033[0m" in coloured
    plain = on_terminal(words, NARROW, story.folder, **story.environment)[0]
    assert re.sub(r"\033\[\d*m", "", coloured) == plain and "\033" not in plain
    assert on_terminal(words, NARROW, story.folder, **environment, NO_COLOR="1")[0] == plain
    assert on_terminal(words, NARROW, story.folder, **environment, NO_COLOR="")[0] == coloured, "empty is not set"
    assert on_terminal([*words, "--no-color"], NARROW, story.folder, **environment)[0] == plain
    piped = subprocess.run([LEADCTL, *words], capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **environment}).stdout
    assert "\033" not in piped
    assert "a.person.with.a.long.name@a.company.with.a.long.name.example.com" in piped, "whole where nobody looks"
    assert "\033" not in on_terminal([*words, "--json"], NARROW, story.folder, **environment)[0]


def test_columns_as_somebody_says(story):
    words = ["leads", "list", "--workspace", ACME]
    wide = on_terminal(words, WIDE, story.folder, **story.environment)[0]
    assert on_terminal(words, NARROW, story.folder, **story.environment, COLUMNS=str(WIDE))[0] == wide
