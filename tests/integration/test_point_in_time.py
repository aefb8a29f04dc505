"""Goal: a restore to an earlier moment works as docs/operations.md says: with its lines for archiving, its base backup and its lines for
the restore. What was decided until then is there, what came later is not, and a server goes on with it."""
import os
import pathlib
import re
import shutil
import subprocess

import grpc
import pytest

from support.guides import BLOCK, PATH, QUOTED, text_of
from support.jobs import when_nobody_is_at_it
from support.postgres import LEADCTL, migrate, scratch
from support.product_cluster import ProductCluster, execute, wait_until
from support.retries import PARTNER, WORKSPACES, create, route
from support.server import Server, wait_ready
from support.standby import OS_USER, Instance, let_replicate

GUIDE = "operations.md"
TIMEOUT_S = 60


def block(start, kind=BLOCK, group=2):
    found = [match[group] for match in kind.finditer(text_of(GUIDE)) if start in match[group]]
    assert len(found) == 1, f"{GUIDE} has {len(found)} blocks with {start}"
    return found[0]


def run(text, **environment):
    done = when_nobody_is_at_it(lambda: subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        env={**os.environ, "PATH": PATH, **environment}))
    assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"
    return done.stdout


class Place:
    """A cluster that archives its log, a restored one, and where both keep things."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.directory = pathlib.Path(scratch("archive"))
        self.archive = self.directory / "archive"
        self.archive.mkdir()
        self.restored = Instance(str(self.directory / "restored"))
        pathlib.Path(self.restored.directory).mkdir()
        self.give(self.directory)
        with open(f"{cluster.directory}/data/postgresql.auto.conf", "a", encoding="ascii") as settings:
            settings.write("\n".join(block("archive_command", QUOTED, 0).splitlines()[1:-1]).replace("/archive", str(self.archive)) + "\n")
        cluster.kill() # archive_mode wants a restart
        cluster.restart()
        let_replicate(cluster)

    def give(self, path):
        """To the user that runs PostgreSQL."""
        if OS_USER:
            subprocess.run(["chown", "-R", "postgres:postgres", path], check=True, timeout=TIMEOUT_S)

    def archived(self):
        """Waits until everything that was written lies in the archive."""
        last, = execute(self.cluster, "postgres", "select pg_walfile_name(pg_switch_wal())")[0]
        wait_until(lambda: (self.archive / last).exists(), f"{last} is not archived")

    def restore(self, base, moment):
        shutil.copytree(base, self.restored.data, symlinks=True)
        lines = [line for line in block("recovery_target_time").splitlines() if not line.startswith("systemctl")]
        text = re.sub("/archive", str(self.archive), re.sub(r"2026-01-31 12:00:00\+00", moment, "\n".join(lines)))
        assert str(self.archive) in text and moment in text
        run(text, PGDATA=self.restored.data)
        os.chmod(self.restored.data, 0o700)
        self.give(self.restored.data)
        self.restored.start()
        wait_until(lambda: execute(self.restored, "postgres", "select pg_is_in_recovery()") == [(False,)], "the restored one does not open")

    def close(self):
        self.restored.stop()
        shutil.rmtree(self.directory)


@pytest.fixture
def place():
    with ProductCluster() as cluster:
        place = Place(cluster)
        yield place
        place.close()


def decide(server, prefix):
    """{lead: decision} of leads that were taken in and routed."""
    return {lead: route(server, lead).decision_id for lead in create(server, 10, prefix, country="DE")}


def test_a_restore_to_an_earlier_moment(place):
    cluster = place.cluster
    name = cluster.database()
    assert migrate(cluster.url(name), "up").returncode == 0
    execute(cluster, name, WORKSPACES)
    backup = place.directory / "backup"
    with Server(cluster.service_url(name)) as server:
        wait_ready(server)
        decided = decide(server, "before the backup")
        run(block("pg_basebackup"), DATABASE=cluster.url(name), BACKUP=str(backup), LEADROUTER_TARGET=server.address)
        decided |= decide(server, "after the backup")
        assert all(decided.values())
        run("leadctl jobs run seal", LEADROUTER_TARGET=server.address)
        seal = re.search(r"last seal (\S+) of", run("leadctl audit verify", LEADROUTER_TARGET=server.address))[1]
        moment, = execute(cluster, name, "select clock_timestamp()::text")[0]
        later = decide(server, "later")
        run("leadctl jobs run seal", LEADROUTER_TARGET=server.address)
        seal_of_later = re.search(r"last seal (\S+) of", run("leadctl audit verify", LEADROUTER_TARGET=server.address))[1]
        place.archived()
    place.restore(backup / "base", moment)
    done = migrate(place.restored.url(name), "verify")
    assert done.returncode == 0 and "WRONG" not in done.stdout, done.stdout
    with Server(place.restored.url(name, "leadrouter_service"), "--no-jobs") as server:
        wait_ready(server)
        assert {lead: route(server, lead).decision_id for lead in decided} == decided
        for lead in later:
            with pytest.raises(grpc.RpcError) as caught:
                route(server, lead)
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert all(decide(server, "later").values()) # they are taken in and decided anew
        run(f"leadctl audit verify --expect {seal}", LEADROUTER_TARGET=server.address)
        refused = subprocess.run([LEADCTL, "audit", "verify", "--expect", seal_of_later, "--target", server.address], capture_output=True,
                                 text=True, timeout=TIMEOUT_S, check=False)
        assert refused.returncode == 1, "a seal from after the moment must not be found"
        server.check_log()
    assert execute(place.restored, name, "select count(*) from workspaces where id = %s", (PARTNER,)) == [(1,)]
