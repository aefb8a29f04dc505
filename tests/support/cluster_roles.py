"""Roles, memberships and settings belong to a whole cluster: what a test leaves there the next one's database has too, whichever that is.

`Roles(cluster)` remembers how they are; `check()` fails when something is otherwise, and takes it for given from then on, so that the test
that left it is the only one to fail.
"""
import psycopg2

STATE = """
select format('role %I: %s', rolname, concat_ws(' ', case when rolsuper then 'superuser' end, case when rolinherit then 'inherit' end,
    case when rolcreaterole then 'createrole' end, case when rolcreatedb then 'createdb' end, case when rolcanlogin then 'login' end,
    case when rolreplication then 'replication' end, case when rolbypassrls then 'bypassrls' end, rolconnlimit, rolvaliduntil))
from pg_roles where rolname !~ '^pg_'
union all
select format('%s is a member of %s%s', member::regrole, roleid::regrole, case when admin_option then ' with admin option' end)
from pg_auth_members
union all
select format('settings of %s in every database: %s', coalesce(nullif(setrole, 0)::regrole::text, 'everybody'), setconfig)
from pg_db_role_setting where setdatabase = 0
union all
select format('alter system set %s = %s', name, setting) from pg_file_settings where sourcefile ~ 'postgresql.auto.conf$'
"""


class Roles:
    def __init__(self, cluster):
        self.cluster = cluster
        self.connection = None
        self.known = self.state()

    def state(self):
        """By a connection that stays, since a new one is forty times as dear; a cluster that was killed meanwhile wants a new one."""
        try:
            return self._read()
        except psycopg2.Error:
            self.close()
            return self._read()

    def check(self):
        before, self.known = self.known, self.state()
        assert not before ^ self.known, (f"left behind in the cluster that other tests use as well: now {sorted(self.known - before)},"
                                         f" no longer {sorted(before - self.known)}")

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def _read(self):
        if self.connection is None:
            self.connection = self.cluster.connect("postgres")
        with self.connection.cursor() as cursor:
            cursor.execute(STATE)
            return {row for row, in cursor.fetchall()}

