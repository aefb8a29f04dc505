"""Goal: every command of the runbooks and the guides is one that works; every alert has its runbook and every runbook an alert; the page of
the protocol is what its comments say."""
import functools
import os
import re
import shutil
import subprocess

import pytest
import yaml

from support.admin import address_of
from support.certificates import Authority
from support.guides import BLOCK, CONSOLE, PATH, QUOTED, TYPED, documents, text_of, variables
from support.jobs import when_nobody_is_at_it
from support.postgres import BUILD, LEADCTL, ROOT, migrate, scratch
from support.product_cluster import execute
from support.retries import PARTNER, WORKSPACES, queue
from support.server import Server, wait_ready

RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(path.name for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
GUIDES = ["operations.md", "troubleshooting.md"]
BOOK = [f"runbooks/{page}" for page in PAGES] + GUIDES
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
TIMEOUT_S = 60

# What the test does not run, by its first words, and why.
BY_HAND = {
    'psql "$DATABASE" -c "select pg_terminate_backend(PID)"': "the number is known on the day only",
    'psql "$STANDBY"': "needs a standby (tests/integration/test_standby.py)",
    "leadctl rules diff FROM": "the number is known on the day only (tests/monitoring/test_incidents.py)",
    "leadctl rules revert --version FROM": "the same",
    "systemctl": "needs root and systemd",
    'psql "$DATABASE" -c "select calls,': "needs a library that PostgreSQL loads at its start; it is explained below",
    "tools/setup": "installs packages",
    "cpack --config": "is what tests/fault/test_packages.py does",
    "cmake --preset": "is how what the test runs was built",
    "leadrouterd migrate up --database \"$DATABASE\"\npsql \"$DATABASE\" -c \"\\password": "asks for a password",
    "install -d -m 755 /etc/leadrouter": "needs root and systemd",
    "cat >> \"$PGDATA/postgresql.auto.conf\"": "needs root and systemd",
    "leadctl audit verify --expect 1041:": "the seal is an example",
}


@pytest.fixture(scope="module")
def surroundings(cluster, tmp_path_factory):
    """A server with leads that wait, and the environment that the runbooks ask for."""
    directory = tmp_path_factory.mktemp("guides")
    memory = scratch("guides")
    name = cluster.database()
    assert migrate(cluster.url(name), "up").returncode == 0 # the template's limits are its own
    authority = Authority(directory)
    authority.issue("server", "DNS:localhost", "serverAuth")

    def sql(statement, parameters=None):
        connection = cluster.connect(name)
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows = cursor.fetchall() if cursor.description else None
        connection.close()
        return rows

    sql(WORKSPACES)
    with Server(cluster.service_url(name), "--admin-listen", "127.0.0.1:0") as server:
        wait_ready(server)
        lead = queue(server, sql, 3)[0]
        host, port = address_of(server)
        log = directory / "journal"
        log.write_text(server.text(), encoding="utf-8")
        with open(f"{cluster.directory}/data/pg_hba.conf", "a", encoding="ascii") as access: # for pg_basebackup
            access.write("local replication all peer map=leadrouter\n")
        sql("select pg_reload_conf()")
        yield {**os.environ, **variables(directory, log), "PATH": PATH,
               "DATABASE": cluster.url(name), "LEADROUTER_TARGET": server.address, "ADMIN": f"http://{host}:{port}",
               "W": PARTNER, "LEAD": lead, "JOB": "stale_locks",
               "CERTIFICATE": str(directory / "server.pem"), "PAGER": "",
               "BUILD": str(BUILD), "PREFIX": str(directory / "prefix"), "BACKUP": f"{memory}/backup", "COPY": cluster.url("copy")}
        server.check_log()
    execute(cluster, "postgres", "drop database if exists copy")
    shutil.rmtree(memory)
    cluster.drop_database(name)


def blocks(page):
    """Of each block, and of each line that is typed in a transcript: whether it is left to hand, and the commands; in order."""
    text = text_of(page)
    found = [(match.start(), match[1], match[2]) for match in BLOCK.finditer(text)]
    for match in CONSOLE.finditer(text):
        found += [(match.start(1) + typed.start(), typed[1].startswith(tuple(BY_HAND)), typed[1]) for typed in TYPED.finditer(match[1])]
    return [(by_hand, commands) for _, by_hand, commands in sorted(found)]


@pytest.mark.parametrize("page", BOOK)
def test_commands_of_a_page(surroundings, page):
    found = blocks(page)
    assert [text for by_hand, text in found if not by_hand], "a page without a command"
    for by_hand, text in found:
        if by_hand:
            assert text.startswith(tuple(BY_HAND)), f"not listed: {text}"
            continue
        done = when_nobody_is_at_it(lambda text=text: subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], env=surroundings, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT_S))
        assert done.returncode == 0, f"{text}ended with {done.returncode}: {done.stdout}{done.stderr}"


def test_every_block_is_one_of_the_two_kinds():
    for page in BOOK:
        text = text_of(page)
        kinds = [len(kind.findall(text)) for kind in (BLOCK, CONSOLE, QUOTED)]
        assert len(re.findall("^```", text, re.MULTILINE)) == 2 * sum(kinds), page
        assert not re.search(r"^    (leadctl|leadrouterd|psql|curl) ", text, re.MULTILINE), f"{page}: an indented command is run by nobody"


def test_what_is_left_to_hand_is_there():
    left = [text for page in BOOK for by_hand, text in blocks(page) if by_hand]
    for start in BY_HAND:
        assert any(text.startswith(start) for text in left), start


def test_every_alert_has_its_runbook():
    alerts = (ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"docs/runbooks/([\w-]+\.md)", alerts)) == set(PAGES)


def test_events_and_metrics_are_those_of_the_server():
    """A query of an event that nobody writes finds nothing, and says that all is well."""
    sources = "".join(path.read_text(encoding="utf-8") for folder in ("server", "src") for path in (ROOT / folder).rglob("*.c"))
    for page in BOOK:
        text = text_of(page)
        for end, name in re.findall(r'event (==|\| startswith\()\s*"([\w.]+)"', text):
            assert f'"{name}' + ('"' if end == "==" else "") in sources, f"{page}: {name}"
        for name in re.findall(r"\.(duration_us|wait_us|lock_us|load_us|match_us|write_us|sqlstate|method|code)\b", text):
            assert f'"{name}"' in sources, f"{page}: {name}"


def anchors(page):
    """What a link may name behind #, as GitHub makes it of a heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = [re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    """Of every page in the tree, to the very heading."""
    wrong = []
    for page in documents():
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
            there = page.parent / link if link else page
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                wrong.append(f"{page.relative_to(ROOT)}: {link}#{anchor}")
    assert wrong == []


def named(page):
    """The commands of leadctl that a page names, or an alert says to type."""
    text = page.read_text(encoding="utf-8")
    if page == ALERTS:
        return re.findall(r"leadctl ([a-z][^:;,?\n]*)", "\n".join(actions()))
    return re.findall(r"leadctl (?!--)([a-z][^`|;\n]*)",
                      "\n".join(re.findall(r"`leadctl [^`\n]*`|^(?:\$ |    )?leadctl .*$", text, re.MULTILINE)))


def actions():
    """What alerts say to do first."""
    groups = yaml.load(ALERTS.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["groups"]
    return [rule["annotations"]["actions"] for group in groups for rule in group["rules"]]


def test_settings_and_their_defaults():
    """Every flag that the guides name is one, and where a default stands beside it, it is that."""
    helped = "".join(run(BUILD / program, *words, "--help", check=False) for program, *words in (
        ("server/leadrouterd", "serve"), ("server/leadrouterd", "migrate"), ("tools/leadctl/leadctl", "slo"),
        ("tools/leadctl/leadctl", "health"), ("tools/leadctl/leadctl", "jobs", "pause"), ("tools/leadctl/leadctl", "import"),
        ("tools/leadctl/leadctl", "audit", "verify")))
    defaults = dict(re.findall(r"^  --([a-z-]+)[^\n]*\n(?:(?!  --).*\n)*? +LEADROUTER_\w+, default (\S+)$", helped, re.MULTILINE))
    text = "".join(map(text_of, [*BOOK, "logging.md", "monitoring.md"]))
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    said = re.findall(r"`--([a-z-]+)`(?: \(|\. Default |, default )([0-9,]+)\)?", text)
    for flags, values in re.findall(r"^\| (`--[a-z-]+`(?:, `--[a-z-]+`)*) \| ([\d, ]+) \|", text, re.MULTILINE):
        said += zip(re.findall(r"--([a-z-]+)", flags), values.split(", "), strict=True)
    assert len(said) > 10 and [(flag, value) for flag, value in said if defaults.get(flag) != value.replace(",", "")] == []
    named_flags = set(re.findall(r"`--([a-z][a-z-]+)[ `]", text))
    assert len(named_flags) > 40
    assert {flag for flag in named_flags if f"--{flag} " not in helped and f"--{flag}\n" not in helped} == set()


def test_statements_within_sentences(surroundings, cluster):
    """Each is one that PostgreSQL takes: those of pages, and those that alerts say to type. Nothing of them stays."""
    pages = [re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL) for page in documents()]
    found = [text for page in pages for text in re.findall(r"`((?:select|alter|grant|create policy) [^`]*)`", page)]
    found += re.findall(r"\b((?:select|alter|grant) .*)$", "\n".join(actions()), re.MULTILINE)
    found += [f"create extension pg_stat_statements; {text}" for text in re.findall(
        r'psql "\$DATABASE" -c "(select [^"]* from pg_stat_statements [^"]*)"', text_of("troubleshooting.md"))]
    assert len(found) > 15 and "pg_stat_statements" in found[-1]
    name = re.search(r"dbname=(\S+)", surroundings["DATABASE"])[1]
    for text in found:
        text = text.replace("PID", "0").replace("database …", f"database {name}").replace(" to app ", " to leadrouter_service ")
        with cluster.connect(name) as connection, connection.cursor() as cursor: # pylint: disable=not-context-manager
            for statement in text.split("; "):
                cursor.execute(f"explain {statement}" if statement.startswith("select") else statement)
            connection.rollback()


def test_the_packages_of_a_machine_that_only_runs_it():
    """Those whose libraries the programs load, and none besides."""
    line, = re.findall(r"^apt-get install --no-install-recommends (lib.*)$", text_of("operations.md"), re.MULTILINE)
    paths = []
    for program in ("server/leadrouterd", "tools/leadctl/leadctl"):
        wanted = set(re.findall(r"NEEDED +(\S+)", run("objdump", "-p", BUILD / program)))
        found = [path for name, path in re.findall(r"^\t(\S+) => (\S+)", run("ldd", BUILD / program), re.MULTILINE) if name in wanted]
        assert len(found) >= len(wanted) - 1 # the loader itself
        paths += [folder + path.removeprefix("/usr") for path in found for folder in ("", "/usr")] # whichever of the two the package says
    loaded = set(re.findall(r"^([^:]+):", run("dpkg", "-S", *paths, check=False), re.MULTILINE))
    with_those = re.findall(r"[a-z][a-z0-9.+-]+", run("dpkg-query", "-W", "-f", "${Depends} ", *line.split()))
    assert set(line.split()) <= loaded <= set(line.split()) | set(with_those), sorted(loaded)


def test_the_connections_of_a_server(surroundings):
    """The sum that operators size max_connections by, wherever it stands; and what the server itself says of its pools and lanes."""
    text, = re.findall(r"^With the defaults a server has at most (\d+ connections: .*)$", text_of("operations.md"), re.MULTILINE)
    words = {"one": 1, "two": 2, "four": 4, "five": 5, "six": 6}
    parts = [words[word] for word in re.findall(r"\b(one|two|four|five|six)\b", re.sub(r"\(.*?\)", "", text))]
    lanes, background, calls, people, imports, limits, metrics, long_calls = parts
    total = int(text.split()[0])
    assert sum(parts) == total and background + long_calls == 9
    served = dict(re.findall(r"^(\w+(?:{.*?})?) (\d+)$", run("curl", "-sS", "-m", "5", surroundings["ADMIN"] + "/metrics"), re.MULTILINE))
    assert int(served["leadrouter_lanes"]) == lanes
    assert int(served['leadrouter_pool_connections_max{pool="service"}']) == calls + imports + limits + metrics
    assert int(served['leadrouter_pool_connections_max{pool="people"}']) == people
    everywhere = text_of("operations.md") + text_of("runbooks/database-sessions.md") + ALERTS.read_text(encoding="utf-8")
    told = re.findall(r"servers × (\d+)|(\d+) per server|takes (\d+) at most", everywhere)
    assert len(told) >= 5 and {int(number) for numbers in told for number in numbers if number} == {total}


def run(*words, check=True):
    return subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=TIMEOUT_S,
                          check=check).stdout


def test_flags_are_those_of_the_commands():
    """Wherever a page names a command of leadctl, in a block or within a sentence, it is one, and it has these flags."""

    @functools.cache
    def helped(*words):
        return subprocess.run([LEADCTL, *words, "--help"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False).stdout
    names = re.findall(r"^  ([a-z]+(?: [a-z]+)?)(?:  |$)", helped(), re.MULTILINE)
    assert len(names) > 35
    wrong, seen = [], 0
    for page in [*documents(), ALERTS]:
        if page.name == "CHANGELOG.md":
            continue
        for text in named(page):
            text = text.partition(" #")[0]
            words = text.split()
            name = next((name for name in (" ".join(words[:2]), words[0]) if name in names), None)
            flags = re.findall(r"(?<!\S)(--[a-z-]+)", text)
            seen += 1
            if name is None and not (len(words) == 1 and any(known.startswith(words[0] + " ") for known in names) or words[0] == "help"):
                wrong.append(f"{page.relative_to(ROOT)}: leadctl {text}: no such command")
            elif name is not None and not all(re.search(rf"{flag}(?![\w-])", helped(*name.split())) for flag in flags):
                wrong.append(f"{page.relative_to(ROOT)}: leadctl {text}: no such flag")
    assert wrong == [] and seen > 100


def test_examples_work(surroundings, tmp_path):
    """Commands that stand in a text as examples, W and LEAD in capitals, in order; a file of leads and one of rules are where they say."""
    (tmp_path / "leads.csv").write_text("E-Mail,Land\nnew@example.com,DE\nother@example.com,FR\n", encoding="utf-8")
    for page in ("imports.md", "mappings.md", "rules.md"):
        commands = re.findall(r"^    (leadctl .*)$", text_of(page), re.MULTILINE)
        assert commands, page
        for text in commands:
            text = re.sub(r"\b(W|LEAD)\b", r'"$\1"', text)
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], env=surroundings, cwd=tmp_path, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=TIMEOUT_S)
            assert done.returncode == 0, f"{page}: {text} ended with {done.returncode}: {done.stdout}{done.stderr}"


def test_every_page_is_listed():
    listed = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in listed] == []


def test_the_page_of_the_protocol_is_what_its_comments_say():
    made = subprocess.run([ROOT / "tools/api-docs"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S).stdout
    assert (ROOT / "docs/api.md").read_text(encoding="utf-8") == made, "run: tools/api-docs > docs/api.md"


def test_the_reasons_not_to_start_are_those_of_the_server():
    """In the words of the sources, so that a search for what the log says finds its line."""
    sources = "".join(path.read_text(encoding="utf-8") for folder in ("server", "src") for path in (ROOT / folder).rglob("*.c"))
    section = text_of("troubleshooting.md").split("\n## ")[1]
    quoted = [text for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE) for text in re.findall("`([^`]+)`", row)]
    assert len(quoted) > 20
    assert [text for text in quoted if text not in re.sub(r'"\s*\n\s*"', "", sources)] == []
