"""Goal: behind PgBouncer in transaction mode, with the settings of docs/operations.md, leads are taken in, routed, tried again and listed,
rules are felt, and the pooler's few sessions carry all of it; with plain settings the server says what is wrong."""
import contextlib
import getpass
import pathlib
import re
import shutil
import subprocess
import threading

import grpc
import psycopg2
import pytest

from support.postgres import ROOT, scratch
from support.product_cluster import wait_until
from support.retries import CALL_S, DESK, PARTNER, WORKSPACES, create, status_of
from support.server import Server, wait_ready
from support.stubs import routing_pb2

BLOCK = re.compile(r"^```ini\n(\[databases\].*?)^```$", re.MULTILINE | re.DOTALL)
POOL = 20


def example():
    """The configuration of the guide."""
    found, = BLOCK.findall((ROOT / "docs/operations.md").read_text(encoding="utf-8"))
    return found


class Pooler:
    """PgBouncer, as the guide sets it up, on a socket of its own."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    def __enter__(self):
        self.directory = pathlib.Path(scratch("pooler"))
        (self.directory / "users.txt").write_text('"leadrouter_service" ""\n"pooler" ""\n', encoding="ascii")
        text = example()
        for line, own in (("host=db.internal", f"host={self.cluster.socket}"), ("dbname=leads", f"dbname={self.name}"),
                          ("listen_addr = 127.0.0.1", f"unix_socket_dir = {self.directory}"),
                          ("auth_type = scram-sha-256", "auth_type = trust"),
                          ("/etc/pgbouncer/userlist.txt", str(self.directory / "users.txt"))):
            assert line in text, line
            text = text.replace(line, own)
        (self.directory / "pgbouncer.ini").write_text(text + "admin_users = pooler\n", encoding="ascii")
        words = ["pgbouncer", "--quiet", str(self.directory / "pgbouncer.ini")]
        if getpass.getuser() == "root": # which PgBouncer refuses to be
            shutil.chown(self.directory, "postgres")
            words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *words]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: (self.directory / ".s.PGSQL.6432").exists() or self.process.poll() is not None, "PgBouncer does not start")
        assert self.process.poll() is None, self.process.stderr.read()
        self.url = f"host={self.directory} port=6432 user=leadrouter_service dbname=leads"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.process.stderr.close()
        shutil.rmtree(self.directory)


@pytest.fixture
def pooler(cluster, database, sql):
    sql(WORKSPACES)
    with Pooler(cluster, database) as pooler:
        yield pooler


def test_all_work_goes_through_it(cluster, database, sql, pooler):
    with Server(pooler.url, "--unnamed-statements", "--listen-database", cluster.service_url(database)) as server:
        wait_ready(server)
        leads = create(server, 40, "pooled", route=True)
        assert server.routing.Health(routing_pb2.HealthRequest(), timeout=CALL_S).retry_queue_depth == len(leads)
        sql("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
            f" values ('{PARTNER}', 'all', '{{}}', '{DESK}')")
        wait_until(lambda: {status_of(sql, lead) for lead in leads} == {"routed"}, "new rules are not felt")
        sessions = sql("select count(*) from pg_stat_activity where usename = 'leadrouter_service' and datname = %s", [database])[0][0]
        assert sessions <= POOL + 1 # and the one that listens
        leads = create(server, 5, "later", route=True)
        assert {status_of(sql, lead) for lead in leads} == {"routed"}
        assert server.stop() == 0
        server.check_log()


def test_prepared_statements_do_not_pass(sql, pooler):
    """What the guide warns of: names that were prepared in one session are unknown, or taken, in another."""
    with Server(pooler.url) as server:
        def is_refused():
            try:
                create(server, 1, "named", route=True)
            except grpc.RpcError as error:
                return error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL)
            return False
        wait_until(is_refused, "prepared statements pass through the pooler")


def test_a_statement_is_cancelled_through_it(pooler):
    with contextlib.closing(psycopg2.connect(pooler.url)) as connection, connection.cursor() as cursor:
        timer = threading.Timer(0.2, connection.cancel)
        timer.start()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("select pg_sleep(60)")
        timer.join()
