"""What several of these tests start from."""
import subprocess

import pytest

from support.postgres import LEADCTL

PATIENCE_S = 60


@pytest.fixture
def workspaces(sql):
    """The partner, the desk and the others of support/retries.py, and the rule."""
    from support.retries import WORKSPACES # makes the stubs: only where they are needed
    sql(WORKSPACES)


@pytest.fixture
def quiet(cluster, database):
    """A server that does nothing by itself."""
    from support.server import Server
    with Server(cluster.service_url(database), "--no-jobs") as server:
        yield server
        server.check_log()


@pytest.fixture
def ctl(quiet):
    """Runs leadctl on the quiet server: exit code, standard output, standard error."""
    def run(*words):
        done = subprocess.run([LEADCTL, *words, "--target", quiet.address], capture_output=True, text=True,
                              timeout=PATIENCE_S)
        return done.returncode, done.stdout, done.stderr
    return run
