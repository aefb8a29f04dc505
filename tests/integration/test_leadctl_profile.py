"""Goal: a setting comes from the flag, else the environment, else the profile, else what is built in; and a file of profiles that is
wrong, or that others may change, is refused with its line, whichever profile was asked for."""
import os
import subprocess

import pytest

from support.postgres import LEADCTL

PATIENCE_S = 60
WORKSPACE = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def home(tmp_path):
    """A home directory; writes its file of profiles and runs leadctl in it."""
    class Home:
        path = tmp_path / ".config/leadrouter/leadctl.yaml"

        def write(self, text):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text, encoding="utf-8")
            return self

        def run(self, *words, **environment):
            plain = {name: value for name, value in os.environ.items() if not name.startswith(("LEADROUTER_", "XDG_"))}
            return subprocess.run([LEADCTL, *words], capture_output=True, text=True, timeout=PATIENCE_S,
                                  env={**plain, "HOME": str(tmp_path), **environment})
    return Home()


def asked(done):
    """Whom it asked: nobody answers at any of these."""
    assert done.returncode == 1, done.stderr
    return done.stderr.partition("nobody answers at ")[2].split()[0]


def test_what_goes_before_what(home):
    assert asked(home.run("health", LEADROUTER_TARGET="127.0.0.1:3")) == "127.0.0.1:3", "without a file"
    home.write("default: {target: '127.0.0.1:1'}\nother: {target: '127.0.0.1:2'}\n")
    assert asked(home.run("health")) == "127.0.0.1:1"
    assert asked(home.run("health", "--profile", "other")) == "127.0.0.1:2"
    assert asked(home.run("health", LEADROUTER_PROFILE="other")) == "127.0.0.1:2"
    assert asked(home.run("health", "--profile", "default", LEADROUTER_PROFILE="other")) == "127.0.0.1:1"
    assert asked(home.run("health", LEADROUTER_TARGET="127.0.0.1:3")) == "127.0.0.1:3"
    assert asked(home.run("health", LEADROUTER_TARGET="")) == "127.0.0.1:1", "empty is not set"
    assert asked(home.run("health", "--target", "127.0.0.1:4", LEADROUTER_TARGET="127.0.0.1:3")) == "127.0.0.1:4"


def test_where_it_is(home, tmp_path):
    home.write("default: {target: '127.0.0.1:1'}\n")
    elsewhere = tmp_path / "elsewhere/leadrouter/leadctl.yaml"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text("default: {target: '127.0.0.1:2'}\n", encoding="utf-8")
    assert asked(home.run("health", XDG_CONFIG_HOME=str(tmp_path / "elsewhere"))) == "127.0.0.1:2"
    assert asked(home.run("health", XDG_CONFIG_HOME="elsewhere")) == "127.0.0.1:1", "relative ones are ignored"


def test_the_workspace_is_a_setting(home):
    """Where a command needs one; where it may be left out, leaving it out means all."""
    home.write(f"default: {{target: '127.0.0.1:1', workspace: {WORKSPACE}}}\n")
    assert asked(home.run("leads", "list")) == "127.0.0.1:1"
    home.write("default: {target: '127.0.0.1:1', workspace: me}\n")
    assert home.run("leads", "list").stderr == 'leadctl: workspace of the profile: "me" is not a UUID\n'
    assert home.run("leads", "list", LEADROUTER_WORKSPACE="you").stderr == 'leadctl: LEADROUTER_WORKSPACE: "you" is not a UUID\n'
    assert asked(home.run("leads", "list", LEADROUTER_WORKSPACE=WORKSPACE)) == "127.0.0.1:1"
    assert asked(home.run("health")) == "127.0.0.1:1", "health is about all of them"


def test_files_are_relative_to_it(home, tmp_path):
    for name, path in (("token", home.path.parent / "token"), ("~/token", tmp_path / "token"), ("/nowhere/token", "/nowhere/token")):
        home.write(f"default: {{token-file: '{name}'}}\n")
        assert home.run("health").stderr == f"leadctl: --token-file: could not open {path}: No such file or directory\n"


def test_its_token_is_for_its_target(home):
    """A server that the profile does not know is not shown the token, unless that is said. /nowhere/token is opened where it is shown."""
    shown = "leadctl: --token-file: could not open {}: No such file or directory\n"
    kept = "leadctl: the profile's token-file is not for 127.0.0.1:2, and not used; --token-file says which is\n"
    elsewhere = ("--target", "127.0.0.1:2")
    for target in ("target: '127.0.0.1:1', ", ""):
        home.write(f"default: {{{target}token-file: /nowhere/token}}\n")
        own = "127.0.0.1:1" if target else "127.0.0.1:7450"
        for same in ((), ("--target", own)):
            assert home.run("health", *same).stderr == shown.format("/nowhere/token")
        assert home.run("health", LEADROUTER_TARGET=own).stderr == shown.format("/nowhere/token")
        for words, variables in ((elsewhere, {}), ((), {"LEADROUTER_TARGET": "127.0.0.1:2"}),
                                 (elsewhere, {"LEADROUTER_TARGET": own})):
            done = home.run("health", *words, **variables)
            assert done.stderr.startswith(kept) and asked(done) == "127.0.0.1:2"
        assert home.run("health", *elsewhere, "--token-file", "/my/token").stderr == shown.format("/my/token")
        assert home.run("health", *elsewhere, LEADROUTER_TOKEN_FILE="/my/token").stderr == shown.format("/my/token")


@pytest.mark.parametrize("text, said", [
    ("default:\n  target: a:1\n  tokn-file: x\n", 'line 3: "tokn-file" is not a setting; did you mean token-file?'),
    ("default: {}\nother:\n  colour: red\n", 'line 3: "colour" is not a setting'),
    ("default:\n  token: eyJ\n", "line 2: tokens are not kept here: put it into a file of its own, and name that as token-file"),
    ("default: {target: [a, b]}\n", "line 1: target: must be a text"),
    ("default:\n  target: ''\n", "line 2: target: must be a text"),
    ("default: {target: a, target: b}\n", "line 1: target: is there twice"),
    ("default: prod\n", 'line 1: a profile is a mapping of settings, as in "default: {target: HOST:PORT}"'),
    ("- target\n", "line 1: must be a mapping of names to profiles"),
    ("default: {\n", "line 2: "),
    ("default: &a {target: *a}\n", "line 1: target: must be a text"),
])
def test_what_is_wrong_in_it(home, text, said):
    done = home.write(text).run("health")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith(f"leadctl: {home.path}: {said}"), done.stderr
    assert "eyJ" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_profile_that_is_not_there(home):
    assert home.run("health", "--profile", "prod").stderr == f"leadctl: could not open {home.path}: No such file or directory\n"
    for text in ("prod: {}\n", "prod:\n  target: a:1\ntest: {}\n"):
        done = home.write(text).run("health", "--profile", "prd")
        assert (done.returncode, done.stderr) == (2, f'leadctl: no profile "prd" in {home.path}; did you mean prod?\n')
    assert home.write("").run("health", "--profile", "x").stderr == f'leadctl: no profile "x" in {home.path}\n'


def test_a_file_that_others_may_change(home):
    """They would say where the token is sent."""
    home.write("default: {target: '127.0.0.1:1'}\n")
    home.path.chmod(0o666)
    done = home.run("health")
    assert done.returncode == 2 and done.stderr.startswith(f"leadctl: {home.path}: others may change it")
    home.path.chmod(0o600)
    os.chown(home.path, 12345, -1)
    assert home.run("health").stderr.startswith(f"leadctl: {home.path}: others may change it")


def test_what_is_no_file(home):
    home.path.mkdir(parents=True)
    assert home.run("health").stderr.startswith(f"leadctl: {home.path}: must be a file")
    home.path.rmdir()
    os.mkfifo(home.path)
    assert home.run("health").stderr.startswith(f"leadctl: {home.path}: must be a file")


def test_commands_that_ask_nobody_do_not_read_it(home):
    assert home.write("nonsense\n").run("completion", "bash").returncode == 0
