"""One database with the product's schema, as the tests of SQL use it: rows by keyword, the functions by name, several sessions at once."""

import concurrent.futures
import json
import uuid

import psycopg2.extras

from support.product_cluster import wait_until

psycopg2.extras.register_uuid()

TABLES = ("leads", "lead_routing_rules", "lead_routing_queue", "lead_routing_logs", "lead_dedupe_claims",
          "leadrouter.import_batches", "bulk_upload_jobs", "user_workspaces", "workspaces",
          "leadrouter.rule_versions", "leadrouter.create_requests", "leadrouter.scheduled_jobs",
          "leadrouter.log_seal_rows")

GIVE, DUPLICATE, FAILED, EXPIRE, HOLD = range(1, 6)

# An attempt that failed in a way that is tried again, and one for good: verdict and error class.
RETRY, FAIL = (FAILED, "unmatched"), (FAILED, "invalid_data")

# decide()'s parameters in order: name, type, and the default of a test.
DECIDE = (
    ("lead_id", "uuid", None),
    ("source", "uuid", None),
    ("lock_owner", "uuid", uuid.uuid4),
    ("verdict", "smallint", GIVE),
    ("destination", "uuid", None),
    ("rule_id", "uuid", None),
    ("rule_name", "text", None),
    ("rules_version", "bigint", 1),
    ("duplicate_of", "uuid", None),
    ("reason", "text", "because"),
    ("error_class", "text", None),
    ("max_attempts", "integer", 3),
    ("actor_id", "uuid", None),
    ("global_scope", "boolean", False),
    ("dedupe_days", "integer", 90),
    ("hash", "text", None),
    ("lead_expires_us", "bigint", 0),
)


class Session:
    """One connection. Each statement commits unless a transaction was begun."""

    def __init__(self, cluster, name, role=None):
        self.connection = cluster.connect(name)
        self.cursor = self.connection.cursor(cursor_factory=psycopg2.extras.NamedTupleCursor)
        self.pid = self.connection.get_backend_pid()
        self.execute("set statement_timeout = '60s'")
        if role is not None:
            self.execute(f'set role "{role}"')

    def execute(self, sql, *parameters):
        self.cursor.execute(sql, parameters or None)

    def rows(self, sql, *parameters):
        self.execute(sql, *parameters)
        return self.cursor.fetchall()

    def row(self, sql, *parameters):
        """The one row of the query."""
        rows = self.rows(sql, *parameters)
        assert len(rows) == 1, rows
        return rows[0]

    def value(self, sql, *parameters):
        """The one value of the query."""
        return self.row(sql, *parameters)[0]

    def begin(self):
        self.execute("begin")

    def commit(self):
        self.execute("commit")

    def rollback(self):
        self.execute("rollback")

    def decide(self, *decisions):
        """Calls decide() with what the decisions (dictionaries) say and its defaults; rows of its answer by ord. A verdict may bring its
        error class along. With "place" and "queue_place", as lock_leads() gives them, leads and rows are not looked up."""
        decisions = [{**decision, "verdict": decision["verdict"][0], "error_class": decision["verdict"][1]}
                     if isinstance(decision.get("verdict"), tuple) else decision for decision in decisions]
        columns = [[decision.get(name, default() if callable(default) else default) for decision in decisions]
                   for name, _, default in DECIDE]
        arrays = ", ".join(f"%s::{kind}[]" for _, kind, _ in DECIDE)
        if decisions and "place" in decisions[0]:
            arrays += ", null, %s::tid[], %s::tid[]"
            columns += [[decision[name] for decision in decisions] for name in ("place", "queue_place")]
        return {row.ord: row for row in self.rows(f"select * from leadrouter.decide({arrays})", *columns)}

    def cancel_and_close(self):
        """Ends what another thread may be waiting for on this connection, and the connection."""
        self.connection.cancel()
        self.connection.close()

    def close(self):
        self.connection.close()


class Database(Session):
    """The superuser's session, and makers of rows and of further sessions."""

    def __init__(self, cluster, name):
        super().__init__(cluster, name)
        self.cluster = cluster
        self.name = name
        self.sessions = []
        self.threads = None

    def close_others(self):
        """Ends the sessions and the threads of this database."""
        for session in self.sessions:
            session.cancel_and_close()
        if self.threads is not None:
            self.threads.shutdown()

    def clean(self):
        """Removes every row. Only a superuser can switch the append-only triggers off."""
        self.rollback()
        self.execute("reset role; set session_replication_role = replica")
        for table in TABLES:
            self.execute(f"delete from {table}")
        self.execute("delete from leadrouter.log_seals where number > 0")
        self.execute("set session_replication_role = origin")

    def session(self, role=None):
        """A connection of its own; closed with the database."""
        session = Session(self.cluster, self.name, role)
        self.sessions.append(session)
        return session

    def service(self):
        return self.session("leadrouter_service")

    def in_background(self, function, *arguments, **keywords):
        """Starts the function in a thread; a future."""
        if self.threads is None:
            self.threads = concurrent.futures.ThreadPoolExecutor(max_workers=16)
        return self.threads.submit(function, *arguments, **keywords)

    def wait_until_blocked(self, session, by=None):
        """Returns when the session waits for a lock (of the session `by`)."""
        wait_until(
            lambda: [pid for pid in self.value("select pg_blocking_pids(%s)", session.pid) if by is None or pid == by.pid],
            f"session {session.pid} waiting for a lock")

    def wait_until_gone(self, session):
        """Returns when the session's process has ended."""
        wait_until(lambda: self.value("select count(*) from pg_stat_activity where pid = %s", session.pid) == 0,
                   f"session {session.pid} to end")

    def workspace(self, **columns):
        """Inserts a workspace; its id."""
        columns = {"name": "somebody", **columns}
        if isinstance(columns.get("routing_config"), dict):
            columns["routing_config"] = json.dumps(columns["routing_config"])
        return self._insert("workspaces", columns)

    def lead(self, workspace, **columns):
        """Inserts a lead; its id."""
        return self._insert("leads", {"workspace_id": workspace, **columns})

    def rule(self, workspace, destination, **columns):
        """Inserts a rule; its id."""
        columns = {"rule_name": "a rule", **columns}
        if isinstance(columns.get("conditions"), dict):
            columns["conditions"] = json.dumps(columns["conditions"])
        return self._insert("lead_routing_rules", {"workspace_id": workspace, "destination_workspace_id": destination, **columns})

    def state(self, lead):
        """The row of the lead."""
        return self.row("select * from leads where id = %s", lead)

    def open_rows(self, lead):
        """Open queue rows of the lead."""
        return self.rows("select * from lead_routing_queue where lead_id = %s and processed_at is null", lead)

    def logs(self, lead):
        """Log rows of the lead, oldest first."""
        return self.rows("select * from lead_routing_logs where lead_id = %s order by created_at", lead)

    def claim(self, lead_hash):
        """The claim on the hash, or None."""
        rows = self.rows("select * from lead_dedupe_claims where dedupe_hash = %s", lead_hash)
        return rows[0] if rows else None

    def decision(self, lead, **keywords):
        """What decide() is told about a lead, with the lead's own hash, source and expiry."""
        row = self.row("select source_workspace_id, dedupe_hash, (extract(epoch from lead_expires_at) * 1000000)::bigint as expires_us"
                       " from leads where id = %s", lead)
        return {"lead_id": lead, "source": row.source_workspace_id, "hash": row.dedupe_hash, "lead_expires_us": row.expires_us, **keywords}

    def _insert(self, table, columns):
        names = ", ".join(columns)
        marks = ", ".join(["%s"] * len(columns))
        return self.value(f"insert into {table} ({names}) values ({marks}) returning id", *columns.values())
