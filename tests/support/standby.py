"""A streaming replica of a disposable cluster: made by pg_basebackup, in a directory of its own, ended with the test.

`with Standby(cluster) as standby:` gives `connect(name)`. Both run as the same user of the machine, who may log in as postgres.
"""
import os
import pathlib
import shutil
import signal
import subprocess

import psycopg2

from support.postgres import Postgres, scratch
from support.product_cluster import PATIENCE_S, execute, wait_until

BIN = "/usr/lib/postgresql/15/bin"
OS_USER = {} if os.geteuid() else {"user": "postgres", "group": "postgres", "extra_groups": []} # who runs clusters: never root


def let_replicate(cluster):
    """pg_basebackup and standbys may log in from now on."""
    access = pathlib.Path(cluster.directory) / "data/pg_hba.conf"
    line = "local replication all peer map=leadrouter\n"
    if line not in access.read_text(encoding="ascii"):
        with access.open("a", encoding="ascii") as file:
            file.write(line)
    execute(cluster, "postgres", "select pg_reload_conf()")


class Instance:
    """A PostgreSQL of a directory `data` in `directory`, listening on a socket there only. Ends with the test's process."""

    def __init__(self, directory):
        self.directory, self.data = directory, f"{directory}/data"
        self.process = None

    def start(self, *settings):
        words = [f"{BIN}/postgres", "-D", self.data, "-k", self.directory, "-c", "listen_addresses=", "-c", "port=5432",
                 *settings]
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **OS_USER)
        wait_until(self.answers, "the instance does not answer")

    def answers(self):
        assert self.process.poll() is None, self.log()
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def log(self):
        return pathlib.Path(f"{self.directory}/log").read_text(errors="replace")[-4000:]

    def url(self, name, user="postgres"):
        return f"host={self.directory} port=5432 user={user} dbname={name}"

    connect = Postgres.connect

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT) # fast
            self.process.wait(timeout=PATIENCE_S)


class Standby(Instance):
    def __init__(self, cluster):
        super().__init__(scratch("standby"))
        self.cluster = cluster

    def __enter__(self):
        let_replicate(self.cluster)
        if OS_USER:
            shutil.chown(self.directory, "postgres", "postgres")
        subprocess.run([f"{BIN}/pg_basebackup", "--pgdata", self.data, "--checkpoint", "fast", "--wal-method", "stream",
                        "--write-recovery-conf", "--dbname", self.cluster.url("postgres")], check=True, timeout=PATIENCE_S, **OS_USER)
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory)
