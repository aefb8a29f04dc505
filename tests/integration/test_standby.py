"""Goal: the metrics of standbys say what a real one does: one is there, how far it is behind in time and bytes, and that it has gone."""
import subprocess

import pytest

from support.admin import scrape, value
from support.guides import BLOCK, text_of
from support.product_cluster import ProductCluster, execute, wait_until
from support.server import Server
from support.standby import Standby

LAG_S = 1.0
LAG_BYTES = 4 << 20
PATIENCE_S = 60


@pytest.fixture(scope="module")
def cluster():
    with ProductCluster() as cluster:
        yield cluster


@pytest.fixture
def place(cluster):
    """A database, and a standby on which replay is paused and which lacks a few megabytes."""
    name = cluster.database()
    with Standby(cluster) as standby:
        execute(standby, "postgres", "select pg_wal_replay_pause()")
        execute(cluster, name, f"select pg_logical_emit_message(false, 'x', repeat('x', {LAG_BYTES} + 1))")
        yield name, standby
        execute(cluster, name, "revoke pg_read_all_stats from leadrouter_owner; alter role leadrouter_owner noinherit")


def write(cluster, name):
    """Something that a standby has to replay: how long it is behind is known of what came only."""
    execute(cluster, name, "select pg_logical_emit_message(true, 'x', 'x')")


def show(cluster, name):
    execute(cluster, name, "grant pg_read_all_stats to leadrouter_owner; alter role leadrouter_owner inherit")


def go_on(standby):
    """What the runbook types on the standby."""
    text, = [match[2] for match in BLOCK.finditer(text_of("runbooks/replication-lag.md")) if '"$STANDBY"' in match[2]]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text.replace("$STANDBY", standby.url("postgres"))],
                          capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert "pg_is_wal_replay_paused" in done.stdout


def test_a_standby_in_sql(cluster, place):
    """What the server asks: nothing of it is seen without the right to, but that it is there."""
    name, standby = place
    service = cluster.connect(name, "leadrouter_service")

    def seen():
        with service.cursor() as cursor:
            cursor.execute("select standbys, lag_seconds, lag_bytes from leadrouter.sample_database()")
            return cursor.fetchone()
    wait_until(lambda: seen()[0] == 1, "no standby is seen")
    assert seen() == (1, 0, 0)
    show(cluster, name)
    wait_until(lambda: write(cluster, name) or (seen()[1] > LAG_S and seen()[2] > LAG_BYTES), "it is not seen to be behind")
    go_on(standby)
    wait_until(lambda: write(cluster, name) or (seen()[1] < LAG_S and seen()[2] < LAG_BYTES), "it does not catch up")
    standby.stop()
    wait_until(lambda: seen() == (0, 0, 0), "it is still seen")
    service.close()


@pytest.mark.long
def test_a_standby_in_metrics(cluster, place):
    """The same as a server shows it, which looks every half minute."""
    name, standby = place
    with Server(cluster.service_url(name), "--admin-listen", "127.0.0.1:0") as server:
        def seen(metric):
            return value(scrape(server), f"leadrouter_database_{metric}")
        wait_until(lambda: seen("standbys") == 1, "no standby is seen")
        assert seen("sessions_hidden") > 0 and (seen("replication_lag_seconds"), seen("replication_lag_bytes")) == (0, 0)
        show(cluster, name)
        wait_until(lambda: write(cluster, name) or (seen("replication_lag_seconds") > LAG_S and seen("replication_lag_bytes") > LAG_BYTES),
                   "it is not seen to be behind")
        go_on(standby)
        wait_until(lambda: write(cluster, name) or (seen("replication_lag_seconds") < LAG_S and seen("replication_lag_bytes") < LAG_BYTES),
                   "it does not catch up")
        standby.stop()
        wait_until(lambda: seen("standbys") == 0, "the standby is still seen")
        server.check_log()
