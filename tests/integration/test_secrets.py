"""Goal: secrets come from files that not everybody can read, never from arguments or the environment, and are in nothing that the
programs say, whatever fails."""
import concurrent.futures
import os
import subprocess
import uuid

import pytest

from support.certificates import Authority
from support.postgres import BUILD, LEADCTL, LEADROUTERD
from support.product_cluster import PATIENCE_S
from support.server import Server

PASSWORD = "hunter2-canary"
WITH_PASSWORD = [f"postgres://u:{PASSWORD}@127.0.0.1:9/x", f"postgresql://127.0.0.1:9/x?password={PASSWORD}",
                 f"host=127.0.0.1 port=9 password={PASSWORD}", f"host=127.0.0.1 port=9 sslpassword={PASSWORD}"]


def run(*words, program=LEADROUTERD, **environment):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S,
                          env={**os.environ, **environment})
    assert PASSWORD not in done.stdout + done.stderr
    return done


@pytest.fixture
def url_file(tmp_path):
    """Writes a URL into a file that only its owner reads; its path."""
    def write(url, mode=0o600):
        path = tmp_path / str(uuid.uuid4())
        path.write_text(url + "\n", encoding="ascii")
        path.chmod(mode)
        return path
    return write


@pytest.mark.parametrize("url", WITH_PASSWORD)
def test_arguments_hold_no_password(url):
    for words in (("serve", "--database", url), ("serve", f"--database={url}"), ("serve", "--database", "x", "--listen-database", url),
                  ("migrate", "up", "--database", url)):
        done = run(*words)
        assert done.returncode == 2 and "database-file FILE" in done.stderr, done.stderr
    done = run("load", "--database", url, program=BUILD / "tools/bench/leadrouter-bench")
    assert done.returncode == 2 and "passfile" in done.stderr, done.stderr


@pytest.mark.parametrize("url", WITH_PASSWORD)
def test_the_environment_holds_no_password(url):
    for command in (("serve",), ("migrate", "up")):
        done = run(*command, LEADROUTER_DATABASE=url)
        assert done.returncode == 2 and "LEADROUTER_DATABASE: " in done.stderr, done.stderr
    done = run("serve", "--database", "host=127.0.0.1", PGPASSWORD=PASSWORD)
    assert done.returncode == 2 and "PGPASSWORD: " in done.stderr, done.stderr


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_files_that_everybody_can_reach(url_file, mode):
    path = url_file(WITH_PASSWORD[0], mode)
    for command in (("serve",), ("migrate", "status")):
        done = run(*command, "--database-file", path)
        assert done.returncode == 1 and "open to everybody" in done.stderr and str(path) in done.stderr, done.stderr


def test_a_key_that_everybody_can_read(tmp_path):
    certificate, key = Authority(tmp_path).issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth")
    key.chmod(0o644)
    done = run("health", "--tls-ca", tmp_path / "ca.pem", "--tls-certificate", certificate, "--tls-key", key,
               program=LEADCTL)
    assert done.returncode == 2 and "open to everybody" in done.stderr, done.stderr


def test_what_fails_says_nothing_of_the_url(url_file):
    """A database that is away, for which a server waits five seconds, and URLs that are none: on all levels of the log."""
    def fail(url):
        path = url_file(url)
        done = run("serve", "--database-file", path, "--listen", "127.0.0.1:0", "--log-level", "debug")
        assert done.returncode == 1 and "server.failed" in done.stderr, (url, done.stderr)
        for action in ("up", "status", "down"):
            done = run("migrate", action, "--database-file", path)
            assert done.returncode == 1 and done.stderr.startswith("leadrouterd: "), (url, done.stderr)
    urls = [*WITH_PASSWORD, f"postgres://u:{PASSWORD}@[broken", f"password={PASSWORD} nonsense=1", PASSWORD]
    with concurrent.futures.ThreadPoolExecutor(len(urls)) as threads:
        list(threads.map(fail, urls))


def test_the_file_is_read(cluster, database, url_file):
    """As systemd gives it: readable by the service alone, named by a variable. The password, which this database does not ask
    for, is in nothing that can be seen of the process."""
    path = url_file(f"{cluster.service_url(database)} password={PASSWORD}", 0o400)
    with Server(None, LEADROUTER_DATABASE_FILE=str(path)) as server:
        for name in ("cmdline", "environ"):
            with open(f"/proc/{server.process.pid}/{name}", "rb") as file:
                assert PASSWORD.encode() not in file.read()
        assert server.stop() == 0
        server.check_log()
        assert PASSWORD not in server.text()
    admin = url_file(f"{cluster.url(database)} password={PASSWORD}")
    assert "version 1" in run("migrate", "status", "--database-file", admin).stdout


def test_leadctl_takes_no_token_as_an_argument(tmp_path):
    """What follows is the name of a file."""
    empty = tmp_path / "token"
    empty.touch(0o600)
    done = run("health", "--token", empty, program=LEADCTL)
    assert done.returncode == 2 and done.stderr == f"leadctl: --token-file: no token in {empty}\n", done.stderr
