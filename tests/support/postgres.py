"""A disposable PostgreSQL without the product's schema, for tests of the schema itself: `leadrouterd cluster --disposable`
in a private directory.

`with Postgres() as postgres:` gives `connect(name)` and `url(name)` for databases made by `database()`. The cluster ends when its
standard input closes, so nothing stays behind when a test process is killed.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LEADROUTER_BUILD_DIR", ROOT / "build" / "release"))
LEADROUTERD = BUILD / "server" / "leadrouterd"
LEADCTL = BUILD / "tools" / "leadctl" / "leadctl"
SHARED_MEMORY = pathlib.Path("/dev/shm")
ROOM_MIN_BYTES = 3 << 30 # what the clusters of a few test processes take at most
IS_LONG = os.environ.get("LEADROUTER_LONG") == "1"


def scratch(prefix):
    """A new directory for a cluster, which the user postgres can enter: in memory when there is room, for a database is hundreds of
    files, and making them on a disk is ten times as dear."""
    parent = None
    if SHARED_MEMORY.is_mount() and os.access(SHARED_MEMORY, os.W_OK):
        room = os.statvfs(SHARED_MEMORY)
        if room.f_bavail * room.f_frsize >= ROOM_MIN_BYTES:
            parent = SHARED_MEMORY
    path = tempfile.mkdtemp(prefix=f"leadrouter-{prefix}-{os.getpid()}-", dir=parent)
    os.chmod(path, 0o755)
    return path


def sweep(parent=SHARED_MEMORY):
    """Removes what scratch() made in memory for processes that are gone: their id is in the name."""
    for path in parent.glob("leadrouter-*"):
        owner = re.fullmatch(r"leadrouter-.+-(\d+)-[^-]+", path.name)
        if owner and not pathlib.Path("/proc", owner[1]).exists():
            shutil.rmtree(path, ignore_errors=True) # another user's stay


class Postgres:
    arguments = ()

    def __enter__(self):
        self.directory = scratch("postgres")
        self.made = 0
        self.start()
        self.leave_upkeep_to_tests()
        return self

    def start(self):
        """Starts the cluster and returns when it takes connections; leadrouterd itself gives up after a minute."""
        self.process = subprocess.Popen(
            [LEADROUTERD, "cluster", "--embedded", self.directory, "--disposable", *self.arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, "the cluster did not start"
        ready = json.loads(line)
        self.socket = ready["admin_url"].split("host=")[1].split()[0]
        self.pid = ready["pid"]

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()
        shutil.rmtree(self.directory)

    def leave_upkeep_to_tests(self):
        """What autovacuum does comes at a time of its own: a transaction of its ANALYZE holds up the seal of a row for a moment, and its
        statistics make another plan."""
        connection = self.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute("alter system set autovacuum = off")
            cursor.execute("select pg_reload_conf()")
        connection.close()

    def let_in(self):
        """From now on everybody may log in as anybody."""
        with open(f"{self.directory}/data/pg_hba.conf", "w", encoding="ascii") as hba:
            hba.write("local all all trust\n")
        connection = self.connect("postgres")
        connection.cursor().execute("select pg_reload_conf()")
        connection.close()

    def url(self, name, user="postgres"):
        return f"host={self.socket} port=5432 user={user} dbname={name}"

    def connect(self, name, user="postgres"):
        """A connection that commits each statement."""
        connection = psycopg2.connect(self.url(name, user))
        connection.autocommit = True
        return connection

    def database(self, template="template0"):
        """Makes a database and returns its name."""
        self.made += 1
        name = f"test_{self.made}"
        connection = self.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name} template {template} strategy file_copy")
        connection.close()
        return name


def migrate(url, *words, timeout=600):
    """Runs `leadrouterd migrate`; returns the finished process with its output as text."""
    return subprocess.run([LEADROUTERD, "migrate", *words, "--database", url], capture_output=True, text=True, timeout=timeout)
