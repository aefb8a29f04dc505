"""What the suites share: one migrated cluster per test process, a database of its own for each test, a server on it,
and leadctl."""
import atexit
import os
import shutil
import subprocess
import tempfile

import pytest

from support.cluster_roles import Roles
from support.product_cluster import ProductCluster, execute
from support.postgres import LEADCTL, sweep

# Nobody's own profiles of leadctl; a folder that is there, since browsers and other programs want to write into it.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="leadrouter-config-")
atexit.register(shutil.rmtree, os.environ["XDG_CONFIG_HOME"], ignore_errors=True)


def pytest_sessionstart():
    sweep()


shared_roles = [] # of the cluster below, once it is there


@pytest.fixture(scope="session")
def cluster():
    with ProductCluster() as cluster:
        shared_roles.append(Roles(cluster))
        yield cluster
        shared_roles.pop().close()


@pytest.fixture(autouse=True)
def roles_stay_as_they_are():
    """After each test's other fixtures: what it left in the shared cluster fails it, and no other."""
    yield
    for roles in shared_roles:
        roles.check()


@pytest.fixture
def database(cluster):
    """The name of a fresh database with the schema."""
    name = cluster.database()
    yield name
    cluster.drop_database(name)


@pytest.fixture
def sql(cluster, database):
    """Runs a statement in the test's database, as the superuser."""
    return lambda statement, parameters=None: execute(cluster, database, statement, parameters)


@pytest.fixture
def server(cluster, database):
    from support.server import Server # makes the stubs: only where they are needed
    with Server(cluster.service_url(database)) as server:
        yield server
        server.check_log()


@pytest.fixture
def leadctl(server):
    """Runs leadctl on the test's server; the finished process with its output as text."""
    def run(*words, target=None, timeout=120):
        return subprocess.run([LEADCTL, *words, "--target", target or server.address], capture_output=True,
                text=True,
                              timeout=timeout)
    return run
