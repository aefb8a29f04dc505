"""Goal: tools/quickstart brings a stranger from nothing to routed leads, says truly what became of them, needs nothing but the product's
own commands for it, and can be run again; and what README.md goes on with works as it stands."""
import json
import os
import pathlib
import pty
import re
import shlex
import shutil
import subprocess

import pytest

from support.guides import PATH, run_script, scripts
from support.postgres import BUILD, LEADCTL, ROOT, scratch
from support.server import Server, wait_ready

QUICKSTART = ROOT / "tools/quickstart"
PARTNER = "00000000-0000-4000-8000-000000000001"
LEADS = 300
TIMEOUT_S = 120


@pytest.fixture
def place(tmp_path):
    """Where it keeps things, and a PATH on which psql says that it was called."""
    path = pathlib.Path(scratch("quickstart"))
    (tmp_path / "psql").write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 1\n", encoding="ascii")
    (tmp_path / "psql").chmod(0o755)

    def quickstart(*flags):
        return subprocess.run([QUICKSTART, "--directory", path, "--build", BUILD, *flags], capture_output=True, text=True,
                              timeout=TIMEOUT_S, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})

    yield path, quickstart
    quickstart("--stop")
    shutil.rmtree(path)
    assert not (tmp_path / "called").exists(), "what it counts, leadctl tells"


def counts(text, title):
    """The table below a title."""
    part = re.search(rf"^{title}.*\n((?:  .*\n)+)", text, re.MULTILINE)[1]
    return {name: int(count) for name, count in re.findall(r"^  (.*?) +(\d+)$", part, re.MULTILINE)}


def leads_of(target):
    leads = []
    for n in range(1, 5):
        done = subprocess.run([LEADCTL, "leads", "list", "--workspace", f"00000000-0000-4000-8000-{n:012d}", "--target", target,
                               "--limit", "100000", "--json"], capture_output=True, check=True, timeout=TIMEOUT_S)
        leads += json.loads(done.stdout)["leads"]
    return leads


def take_the_tour(target, lead, folder):
    """What README.md shows at the quickstart's server, in one shell; what needs grpcurl is run by test_grpcurl.py. A busy machine may
    miss a level."""
    found = scripts("README.md", {"build/release": BUILD, "leadctl slo ": "leadctl slo || [ $? -eq 1 ] "})
    tour = [text for text in found if "grpcurl" not in text and "leadrouterd" not in text]
    assert len(tour) == 4
    return run_script("".join(tour), cwd=folder, LEADROUTER_TARGET=target, LEAD=lead)


def run_it(embedded, url):
    """The three commands of README.md that bring a server to life; what serves does so until it is told to stop."""
    own, migrate, serve = next(text for text in scripts("README.md", {"/var/lib/leadrouter": embedded, "host=db dbname=leads": url})
                               if "migrate" in text).splitlines()
    run_script(migrate)
    for command in (own, serve):
        program, word, *flags = shlex.split(command, comments=True)
        assert (program, word) == ("leadrouterd", "serve")
        with Server(None, *flags) as server:
            wait_ready(server)
            assert server.stop() == 0, server.text()


def test_from_nothing_and_again(place, cluster, tmp_path):
    directory, quickstart = place
    first = quickstart("--leads", str(LEADS))
    assert first.returncode == 0, first.stdout + first.stderr
    target = (directory / "target").read_text(encoding="ascii").strip()
    leads = leads_of(target)
    became = counts(first.stdout, "What became of the leads of 4 partners")
    given = [lead for lead in leads if lead["decided_outcome"] == "ROUTED" and lead["workspace_id"] != lead["source_workspace_id"]]
    assert became.pop("all") == sum(became.values()) == len(leads) == LEADS
    assert became["given away"] == len(given) > 0
    assert became["duplicate: another copy was first"] == sum(lead["decided_outcome"] == "DUPLICATE" for lead in leads) > 0
    assert sum(counts(first.stdout, "Who got those given away").values()) == len(given)
    assert re.search(rf"^RouteLead, 64 in flight: {LEADS} leads, \d+ leads/s, p50 [\d.]+ ms, p99 [\d.]+ ms", first.stdout, re.MULTILINE)
    commands = re.findall(r"^  (leadctl .*)$", first.stdout, re.MULTILINE)
    assert len(commands) == 4
    for command in commands: # how to go on
        done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=TIMEOUT_S,
                              env={**os.environ, "PATH": PATH, "LEADROUTER_TARGET": target})
        assert done.returncode == 0 and done.stdout, (command, done.stderr)
    again = quickstart("--leads", str(LEADS))
    assert again.returncode == 0 and re.search(r"^\[4/5\] .* were there ", again.stdout, re.MULTILINE), again.stdout + again.stderr
    assert counts(again.stdout, "What became of the leads of 4 partners") == {**became, "all": LEADS}
    lead = next(lead["id"] for lead in given if lead["source_workspace_id"] == PARTNER)
    said = take_the_tour(target, lead, tmp_path)
    assert re.search(r"^leads created +1$", said, re.MULTILINE) and " met, " in said, said
    once = quickstart("--leads", str(LEADS), "--once")
    assert once.returncode == 0 and counts(once.stdout, "What became of the leads of 4 partners")["all"] == LEADS + 1, once.stdout
    assert not (directory / "server.pid").exists(), "--once stops it"
    name = cluster.database("template0")
    run_it(directory / "db", cluster.url(name))
    cluster.drop_database(name)


@pytest.mark.parametrize("flags", [("--leads", "0"), ("--leads", "100001"), ("--build", "/nowhere"), ("--nonsense",)], ids=" ".join)
def test_wrong_usage(place, flags):
    _, quickstart = place
    done = quickstart(*flags)
    assert done.returncode == 2 and "usage: tools/quickstart" in done.stderr


def test_remarks_fit_the_terminal():
    """What is longer than the line wraps, and a wrapped line cannot be cleared: each remark would stay on the screen."""
    function = re.search(r"^progress\(\) \{.*?^\}", QUICKSTART.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]
    script = function + '\nclear_line=$1 bold= plain= dim= step_number=2 step_count=5 step_title=Build columns=$2\nprogress "$3"'
    for columns, shown in ((80, 40), (120, 50), (30, 0)):
        line = subprocess.run(["bash", "-euc", script, "-", ">", str(columns), "x" * 200], check=True, capture_output=True,
                              text=True).stdout
        assert line == ">[2/5] " + "Build".ljust(32) + "x" * shown, line


@pytest.mark.parametrize("on_terminal", [True, False], ids=["terminal", "pipe"])
def test_setup_lets_sudo_ask(tmp_path, on_terminal):
    """Who has sudo with a password is asked for it where somebody sits; elsewhere nothing waits, and the packages are named."""
    programs = {
        "id": "echo 1000",
        "dpkg-query": "exit 1",
        "sudo": f'cd {tmp_path}; echo "$*" >> said; [ "$1" != -n ] || [ -e asked ] || exit 1; [ "$1" != -v ] || touch asked;'
                ' [ "$2" != tee ] || cat', # or who writes to it finds nobody
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        (tmp_path / name).chmod(0o755)
    ours, theirs = pty.openpty()
    done = subprocess.run([ROOT / "tools/setup", "--runtime"], stdin=theirs if on_terminal else subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=TIMEOUT_S, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    os.close(ours), os.close(theirs)
    said = (tmp_path / "said").read_text(encoding="ascii").splitlines()
    assert "build-essential" in done.stderr and (done.returncode == 0) == on_terminal, done.stderr
    if on_terminal:
        assert said[:2] == ["-n true", "-v"] and any(" apt-get install " in line for line in said), said
    else:
        assert said == ["-n true"] and "run as root: apt-get install" in done.stderr
