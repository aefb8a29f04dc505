"""Goal: what is made from the table of commands works in the programs that it is for: completion in a real bash and a real zsh, the
manual in man; and all of it is installed where those programs look; without installing, docs/leadctl.md's line does."""
import contextlib
import os
import pty
import select
import subprocess
import time

import pytest

from support import manual
from support.guides import run_script, scripts
from support.postgres import BUILD, LEADCTL

PATIENCE_S = 60


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, **options)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Where the component `leadctl` was installed to."""
    prefix = tmp_path_factory.mktemp("leadctl")
    done = run("cmake", "--install", str(BUILD), "--component", "leadctl", "--prefix", str(prefix))
    assert done.returncode == 0, done.stderr
    return prefix


def commands():
    """The names in leadctl --help."""
    lines = run(LEADCTL, "--help").stdout.splitlines()
    return [line[2:].split("  ")[0] for line in lines if line.startswith("  ") and line[2] != " "]


# --- bash -------------------------------------------------------------------------------------------------------------------------------


def in_bash(script, *words):
    """What bash offers for the last of these words."""
    quoted = " ".join(f"'{word}'" for word in words)
    driver = f"""source '{script}'; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        eval "$(complete -p leadctl | sed 's/complete -F \\([^ ]*\\) leadctl/\\1/')" 2>/dev/null; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = run("bash", "--norc", "-c", driver)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.split()


def test_the_line_of_the_page():
    assert "leadctl" in run_script("".join(scripts("docs/leadctl.md")) + "complete -p leadctl")


@pytest.mark.parametrize("words, offered", [
    (("leadctl", "hea"), ["health"]),
    (("leadctl", "leads", ""), ["list", "show", "erase", "--help"]),
    (("leadctl", "leads", "er"), ["erase"]),
    (("leadctl", "leads", "list", "--stat"), ["--status"]),
    (("leadctl", "leads", "list", "--status", ""), ["pending", "routing", "routed", "failed", "expired"]),
    (("leadctl", "leads", "list", "--status", "rout"), ["routing", "routed"]),
    (("leadctl", "leads", "list", "--limit", ""), []),
    (("leadctl", "leads", "list", "--workspace", "0b", "--rec"), ["--received"]),
    (("leadctl", "completion", ""), ["bash", "zsh"]),
    (("leadctl", "health", "--tls-c"), ["--tls-ca", "--tls-certificate"]),
    (("leadctl", "nonsense", ""), []),
])
def test_bash_offers(installed, words, offered):
    assert in_bash(installed / "share/bash-completion/completions/leadctl", *words) == offered


def test_bash_offers_files(installed, tmp_path):
    (tmp_path / "rules one.yaml").touch()
    script = installed / "share/bash-completion/completions/leadctl"
    for words in (("rules", "apply"), ("health", "--token-file")):
        assert " ".join(in_bash(script, "leadctl", *words, f"{tmp_path}/ru")) == f"{tmp_path}/rules one.yaml"


def test_bash_knows_every_command(installed):
    script = installed / "share/bash-completion/completions/leadctl"
    assert script.read_text() == run(LEADCTL, "completion", "bash").stdout
    for command in commands():
        first, *second = command.split()
        assert first in in_bash(script, "leadctl", "")
        if second:
            assert second[0] in in_bash(script, "leadctl", first, "")
        assert "--json" in in_bash(script, "leadctl", *command.split(), "--"), command


# --- zsh --------------------------------------------------------------------------------------------------------------------------------


class Zsh:
    """An interactive zsh with the completion system, on a terminal of its own."""

    def __init__(self, functions):
        self.shown = ""
        child, self.master = pty.fork()
        if child == 0:
            os.environ.update(TERM="dumb", PROMPT="ready> ")
            os.execvp("zsh", ["zsh", "-f", "-i", "-o", "no_beep"])
        self.child = child
        self.send(f"fpath=('{functions}' $fpath); autoload -Uz compinit; compinit -u -D; unsetopt list_ambiguous; print done''here\n")
        self.wait("donehere")

    def send(self, text):
        os.write(self.master, text.encode())

    def wait(self, text):
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            ready = select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]
            assert ready, self.shown
            self.shown += os.read(self.master, 4096).decode(errors="replace")

    def close(self):
        with contextlib.suppress(OSError):
            os.write(self.master, b"\x03exit\n")
        os.close(self.master)
        os.waitpid(self.child, 0)


@pytest.fixture
def zsh(installed):
    shell = Zsh(installed / "share/zsh/site-functions")
    yield shell
    shell.close()


@pytest.mark.parametrize("typed, becomes", [
    ("leadctl heal\t", "leadctl health "), ("leadctl leads era\t", "leadctl leads erase "),
    ("leadctl leads list --stat\t", "leadctl leads list --status "), ("leadctl leads list --status pend\t", "--status pending "),
    ("leadctl completion z\t", "leadctl completion zsh "), ("leadctl retries cancel x y --reas\t", "x y --reason "),
    ("leadctl jobs \t", "the background jobs, and how they are doing"),
])
def test_zsh_completes(zsh, typed, becomes):
    zsh.shown = ""
    zsh.send(typed)
    zsh.wait(becomes)


def test_zsh_accepts_the_script(installed):
    script = installed / "share/zsh/site-functions/_leadctl"
    assert script.read_text() == run(LEADCTL, "completion", "zsh").stdout
    done = run("zsh", "-f", "-n", str(script))
    assert done.returncode == 0 and not done.stderr
    for command in commands():
        assert f"'{command.split()[0]}:" in script.read_text()


# --- man --------------------------------------------------------------------------------------------------------------------------------


def test_the_manual(installed):
    """Every command and flag that --help knows."""
    text = manual.shown(installed / "share/man/man1/leadctl.1")
    for command in commands():
        assert f"\n   leadctl {command}\n" in text, command
        manual.every_flag(text, run(LEADCTL, *command.split(), "--help").stdout)
