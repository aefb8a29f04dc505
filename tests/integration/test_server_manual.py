"""Goal: leadrouterd(8) is installed beside leadrouterd, reads well in man, and has every setting of every command with its variable and
its default."""
import re
import subprocess

import pytest

from support import manual
from support.postgres import BUILD

SERVER = BUILD / "server/leadrouterd"
COMMANDS = ("serve", "migrate", "cluster")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """What man shows of what was installed."""
    prefix = tmp_path_factory.mktemp("leadrouterd")
    done = manual.run("cmake", "--install", str(BUILD), "--component", "leadrouterd", "--prefix", str(prefix))
    assert done.returncode == 0, done.stderr
    version = subprocess.run([prefix / "bin/leadrouterd", "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    shown = manual.shown(prefix / "share/man/man8/leadrouterd.8")
    assert version.strip().replace("leadrouterd", "leadrouter") in shown
    return shown


def test_it_has_all_commands(text):
    known = re.findall("^  ([a-z]+) {2}", manual.run(SERVER, "--help").stdout, re.MULTILINE)
    assert known == list(COMMANDS) == re.findall("^   leadrouterd ([a-z]+)$", text, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_it_has_all_settings(text, command):
    """Each under its command, with what --help says of it."""
    part = re.split(r"\n(?=\S|   leadrouterd )", text.partition(f"\n   leadrouterd {command}\n")[2])[0]
    help_text = manual.run(SERVER, command, "--help").stdout
    manual.every_flag(part, help_text)
    words = " ".join(part.split())
    usage, _, settings = help_text.partition("\n\nSettings")
    for paragraph in usage.removeprefix("Usage: ").split("\n\n"):
        assert " ".join(paragraph.split()) in words
    entries = re.findall(r"^  --(\S+)(?: ([A-Z]\S*))?((?: .*)?\n(?: {20,}\S.*\n)*)", settings, re.MULTILINE)
    assert len(entries) == settings.count("\n  --")
    for name, placeholder, lines in entries:
        said, _, more = re.sub(r"\n *(LEADROUTER_|default )", r"\n\n\1", lines, count=1).strip().partition("\n\n")
        after = "; ".join(filter(None, [said, *more.split(", ", 1)]))
        assert " ".join(f"--{name} {placeholder} {after}.".split()) in words, name
