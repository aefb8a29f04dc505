"""A disposable PostgreSQL with the product's schema, for tests of the server: a template from which each test takes a
database of its own.

`with ProductCluster() as cluster:` gives what Postgres gives, and `database()` is a migrated one. kill() and
restart() end the postmaster and bring it back on the same socket: what a client sees of a crash. The cluster ends
when its standard input closes, so nothing stays behind when a test is killed.
"""
import os
import select
import signal
import time

import psycopg2

from support.postgres import Postgres

PATIENCE_S = 60
TEMPLATE = "leadrouter"
COPY_SETTINGS = """do $$
    declare
        setting text;
    begin
        for setting in select unnest(r.setconfig) from pg_db_role_setting r join pg_database d on d.oid = r.setdatabase
                where d.datname = '{template}' and r.setrole = to_regrole('leadrouter_service') loop
            execute format('alter role leadrouter_service in database {name} set %I = %L',
                split_part(setting, '=', 1), split_part(setting, '=', 2));
        end loop;
    end $$"""


class ProductCluster(Postgres):
    arguments = ("--migrate",)

    def database(self, template=TEMPLATE):
        """Makes a database and returns its name; template0 gives an empty one. A copy gets the settings of the service's role too, which
        belong to the database that was migrated."""
        name = super().database(template)
        execute(self, "postgres", COPY_SETTINGS.format(name=name, template=template))
        return name

    def service_url(self, name):
        """How the server logs in."""
        return self.url(name, "leadrouter_service")

    def drop_database(self, name):
        execute(self, "postgres", f"drop database {name} with (force)")

    def kill(self):
        """Ends the postmaster with SIGKILL and waits until nothing answers any more."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self.answers(), "the killed cluster still answers")
        self.process.stdin.close()
        self.process.wait(timeout=PATIENCE_S)
        self.process.stdout.close()

    def restart(self):
        """Starts the cluster again after kill(); returns when it takes connections."""
        self.start()

    def answers(self):
        try:
            self.connect("postgres").close()
            return True
        except psycopg2.OperationalError:
            return False


def wait_until(condition, what, patience_s=PATIENCE_S):
    """Returns the first true value of `condition()`; fails with `what` when none comes in time."""
    deadline = time.monotonic() + patience_s
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < deadline, what
        select.select([], [], [], 0.01)


def execute(cluster, name, sql, parameters=None, user="postgres"):
    """Runs a statement, as the superuser or somebody else; returns its rows, or None."""
    connection = cluster.connect(name, user)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()
