"""The commands that stand in a page: blocks marked `sh` are run by a test, those marked `sh by-hand` are listed in one."""
import os
import re
import subprocess

from support.jobs import when_nobody_is_at_it
from support.postgres import LEADCTL, LEADROUTERD, ROOT

BLOCK = re.compile(r"^```sh( by-hand)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"^```(?:ini|text)\n.*?^```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^\$ (.*\n)", re.MULTILINE)
PROGRAMS = f"{LEADCTL.parent}:{LEADROUTERD.parent}"
PATH = f"{PROGRAMS}:{os.environ['PATH']}" # of a shell that finds the programs of this build
TIMEOUT_S = 120


def text_of(page):
    """A page under docs/."""
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def variables(directory, log):
    """What the block of runbooks/README.md exports, on a machine whose journal has this log; and that file of it."""
    block, = [match[2] for match in BLOCK.finditer(text_of("runbooks/README.md"))]
    text = 'journalctl() { cat "$JOURNAL"; }; ' + block + "env -0"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=directory, stdout=subprocess.PIPE, text=True, timeout=60,
                          env={"PATH": os.environ["PATH"], "JOURNAL": str(log)}, check=True)
    exported = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    exported["LOG"] = str(directory / exported["LOG"])
    assert (directory / exported["LOG"]).read_text(encoding="utf-8") == log.read_text(encoding="utf-8")
    return {name: value for name, value in exported.items() if name.isupper() and name not in ("PATH", "PWD", "SHLVL", "JOURNAL")}


def documents():
    """Every page of the tree."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, check=False, timeout=TIMEOUT_S)
    names = listed.stdout.decode().split("\0")[:-1] if listed.returncode == 0 else []
    pages = [ROOT / name for name in names] or [page for page in ROOT.rglob("*.md") if "build" not in page.relative_to(ROOT).parts]
    assert len(pages) > 50
    return pages


def scripts(page, replaced=()):
    """What is run of a page, given by its path in the tree, block by block; what stands there for a place on the reader's machine is
    replaced by the test's, and each of `replaced` must be there."""
    text = "\0".join(match[2] for match in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")) if not match[1])
    assert text, f"{page}: nothing to run"
    for written, meant in dict(replaced).items():
        assert written in text, f"{page}: {written}"
        text = text.replace(written, str(meant))
    return text.split("\0")


def run_script(text, **environment):
    """What it printed; with the programs of this build, and aliases as in a shell that somebody types in."""
    cwd = environment.pop("cwd", None)
    known = {**os.environ, **{name: str(value) for name, value in environment.items()},
                       "PATH": f"{PROGRAMS}:{environment.get('PATH', os.environ['PATH'])}"}
    done = when_nobody_is_at_it(lambda: subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "shopt -s expand_aliases\n" + text], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=TIMEOUT_S, env=known))
    assert done.returncode == 0, f"{text}ended with {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout
