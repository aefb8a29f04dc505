"""Goal: every command that stands in a document of this tree is run by a test as it stands there, or is on the short list below, which says
why not; the flags of our programs are theirs."""
import functools
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading

from support.guides import BLOCK, CONSOLE, documents, run_script, scripts
from support.postgres import BUILD, ROOT

# Which test runs the commands of a page.
RUN_BY = {
    "README.md": ("integration/test_quickstart.py", "interop/test_grpcurl.py"),
    "client/README.md": ("interop/test_client_library.py",),
    "deploy/README.md": ("integration/test_documents.py",),
    "docs/clients.md": ("interop/test_clients_doc.py",),
    "docs/grpcurl.md": ("interop/test_grpcurl.py",),
    "docs/imports.md": ("integration/test_leadctl_import.py", "integration/test_guides.py"),
    "docs/incidents.md": ("monitoring/test_incidents.py",),
    "docs/leadctl.md": ("integration/test_leadctl_shell.py",),
    "docs/mappings.md": ("integration/test_guides.py",),
    "docs/migrations.md": ("integration/test_rollback.py",),
    "docs/monitoring.md": ("monitoring/test_runbooks.py",),
    "docs/operations.md": ("integration/test_guides.py",),
    "docs/rules.md": ("integration/test_guides.py",),
    "docs/troubleshooting.md": ("integration/test_guides.py",),
    "proto/README.md": ("interop/test_buf.py",),
}
RUNBOOKS = "docs/runbooks/" # all by integration/test_guides.py, which has a list of its own for these and the guides
# What no test types, by its first words: why, and what runs it all the same.
BY_HAND = {
    "tools/setup": "installs packages; the first step of tools/check",
    "tools/check": "is what runs this; check/test_check.py runs it in a small project",
    "tools/quickstart": "installs packages and builds; integration/test_quickstart.py gives it a build",
    "cmake --preset": "is how what is tested was built",
    "ctest --test-dir": "is how tools/check runs the tests in C",
    "LEADROUTER_BUILD_DIR=$PWD/build/asan /usr/bin/python3 -m pytest": "is how tools/check runs this",
    "LEADROUTER_LONG=1 LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 -m pytest": "the same",
    "/usr/bin/python3 -m pytest": "the same",
    "tests/tidy/tidy.py": "a test of ctest, tidy",
    "systemctl": "needs root and systemd; fault/test_systemd_unit.py has one",
    "build/release/tools/bench/leadrouter-bench": "measures for minutes; test_bench_commands.py, test_bench_scenarios.py do less",
    "LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/integration/cost_per_lead.py": "the same",
    "LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/sql/row_security_cost.py": "the same",
    "LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/integration/held_leads.py": "the same",
    "LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/sql/plans.py": "sql/test_plans.py makes the same plans",
    'psql "$DATABASE" -c "alter role leadrouter_service in database leads': "sql/test_plans.py runs it, for a database of another name",
}
GUIDES = ("docs/operations.md", "docs/troubleshooting.md", RUNBOOKS)
PAGES_OF_EXAMPLES = ("docs/imports.md", "docs/mappings.md", "docs/rules.md") # indented, by test_examples_work of test_guides.py
PATIENCE_S = 60


def named(page):
    return str(page.relative_to(ROOT))


def fenced(text):
    """(language, content) of each block."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block):
    """Of a block of shell, a line each, continued ones put together."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line]


def by_hand():
    """(page, command) of all that stands in blocks by hand, the guides' apart."""
    return [(named(page), line) for page in documents() if not named(page).startswith(GUIDES)
            for left, block in BLOCK.findall(page.read_text(encoding="utf-8")) if left for line in commands(block)]


def test_every_page_with_commands_is_run():
    found = {named(page) for page in documents() if CONSOLE.search(page.read_text(encoding="utf-8")) or any(
        not left for left, _ in BLOCK.findall(page.read_text(encoding="utf-8")))} | set(PAGES_OF_EXAMPLES)
    assert {page for page in found if not page.startswith(RUNBOOKS)} == set(RUN_BY)
    for page, tests in RUN_BY.items():
        for test in tests:
            text = (ROOT / "tests" / test).read_text(encoding="utf-8")
            if ROOT / "tests" / test == pathlib.Path(__file__):
                text = text.partition("\n}\n")[2] # behind the table itself
            assert re.search(rf'"(docs/)?{re.escape(page.removeprefix("docs/"))}"', text), f"{test} is not about {page}"


def is_command(line):
    """Whether a shell would find something to run: a program, or a script of this tree."""
    word = re.sub(r"^((\w+=\S+|\$) +)*", "", line.strip()).split(" ")[0]
    ours = (ROOT / word).is_file() and "/" in word
    return bool(ours or word in ("source", "leadrouterd", "leadctl", "leadrouter-bench") or
                (re.fullmatch(r"[a-z][\w./+-]*", word) and shutil.which(word)))


def test_no_command_hides():
    """Neither in an indented block nor in one that is marked as something else: nobody would run it."""
    assert is_command("    leadctl health") and is_command("X=1 tools/check --long") and not is_command("    bytes ─► encoding")
    hidden = []
    for page in documents():
        text = page.read_text(encoding="utf-8")
        blocks = [block for language, block in fenced(text) if language in ("", "bash", "shell", "zsh")]
        if named(page) not in PAGES_OF_EXAMPLES:
            blocks += re.findall(r"(?<=\n\n)((?:    .*\n)+)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
        hidden += [f"{named(page)}: {block}" for block in blocks if is_command(block.splitlines()[0])]
    assert hidden == []


def test_what_is_left_to_hand():
    """Each line has its reason, and each reason a line."""
    left = by_hand()
    assert [(page, line) for page, line in left if not line.startswith(tuple(BY_HAND))] == []
    assert [start for start in BY_HAND if not any(line.startswith(start) for _, line in left)] == []


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what is posted."""
    posted = []

    def do_POST(self): # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((self.path, self.headers["DD-API-KEY"], json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_commands_of_deploying(tmp_path):
    """deploy/README.md, in a folder in which deploy/ is; Prometheus' and our files of /etc are in another, and Datadog is somebody here."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    shutil.copy(ROOT / "deploy/monitoring/settings.yml", tmp_path / "my-settings.yml")
    (tmp_path / "etc/prometheus").mkdir(parents=True)
    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for text in scripts("deploy/README.md", {"/etc/": f"{tmp_path}/etc/",
                                                 "https://api.$DD_SITE": f"http://127.0.0.1:{server.server_address[1]}"}):
            run_script(text, cwd=tmp_path, DD_API_KEY="key", DD_APP_KEY="key", no_proxy="*")
        server.shutdown()
    assert (tmp_path / "etc/leadrouter/monitoring/prometheus/alerts.yml").read_text() == (ROOT / "deploy/prometheus/alerts.yml").read_text()
    assert [(path, key) for path, key, _ in Receiver.posted] == [("/api/v1/dashboard", "key")] * len(
        list((ROOT / "deploy/datadog/dashboards").glob("*.json"))) != []


def test_flags_are_those_of_the_programs():
    """Wherever a page says how leadrouterd or leadrouter-bench is called; for leadctl test_guides.py looks."""
    programs = {"leadrouterd": BUILD / "server/leadrouterd", "leadrouter-bench": BUILD / "tools/bench/leadrouter-bench"}

    @functools.cache
    def usage(program, word):
        return subprocess.run([programs[program], word, "--help"], capture_output=True, text=True, timeout=PATIENCE_S, check=False).stdout
    wrong, seen = [], 0
    for page in documents():
        if page.name == "CHANGELOG.md":
            continue
        for program, word, rest in re.findall(r"\b(leadrouterd|leadrouter-bench) ([a-z]+)\b([^`#;|\n]*)", page.read_text(encoding="utf-8")):
            flags = re.findall(r"(?<!\S)(--[a-z-]+)", rest)
            seen += len(flags)
            wrong += [f"{named(page)}: {program} {word} {flag}" for flag in flags
                      if not re.search(rf"(?<!\S){flag}(?![\w-])", usage(program, word))]
    assert wrong == [] and seen > 40
