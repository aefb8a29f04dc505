"""Databases with rows of two workspaces, on which it is tried who gets at what: a plain one, one as a hosted Supabase prepares its own,
and one of those on which the host's own tables were there before and were taken over."""
import json
import uuid

import psycopg2

from support import supabase
from support.database import Database, Session
from support.postgres import Postgres, migrate

A, B, DESK = (uuid.UUID(f"00000000-0000-4000-8000-00000000000{n}") for n in "123")
ALICE, ADAM, BOB, STRANGER = (uuid.UUID(f"00000000-0000-4000-8000-0000000000a{n}") for n in "1234")

KINDS = ("plain", "supabase", "adopted")

HOST = """
create table workspaces (id uuid primary key default gen_random_uuid(), name text);
create table user_workspaces (user_id uuid, workspace_id uuid references workspaces on delete cascade, role text,
    primary key (user_id, workspace_id));
create table leads (id uuid primary key default gen_random_uuid(), workspace_id uuid not null, email text);
"""


class Kept:
    """`with Kept("plain") as db:` is the superuser's session on a database of that kind, filled, in a cluster of its own."""

    def __init__(self, kind, is_filled=True):
        self.kind, self.is_filled = kind, is_filled

    def __enter__(self):
        self.postgres = Postgres().__enter__()
        self.postgres.let_in()
        name = self.postgres.database()
        words, user = ["up"], "postgres"
        if self.kind != "plain":
            supabase.prepare(self.postgres, name)
            user = supabase.OWNER
        if self.kind == "adopted":
            connection = self.postgres.connect(name, user)
            connection.cursor().execute(HOST)
            connection.close()
            words += ["--adopt", "--adopt-losing", "anon,authenticated"]
        finished = migrate(self.postgres.url(name, user), *words)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        self.db = Database(self.postgres, name)
        self.db.kind = self.kind
        if self.is_filled:
            fill(self.db)
        return self.db

    def __exit__(self, *_):
        self.db.close_others()
        self.db.close()
        self.postgres.__exit__()


def fill(db):
    """For A, B and DESK a lead that waits, one that is sold to another, a rule, a set and all that follows; old log partitions too."""
    for workspace in (A, B, DESK):
        db.execute("insert into workspaces (id, name) values (%s, 'w')", workspace)
    db.execute("insert into user_workspaces (user_id, workspace_id, role) values (%s, %s, 'member'), (%s, %s, 'admin'), (%s, %s, 'member')",
               ALICE, A, ADAM, A, BOB, B)
    for workspace, other in ((A, DESK), (B, DESK), (DESK, A)):
        db.execute("insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id) values (%s, 'all', %s)",
                   workspace, other)
        db.execute("insert into lead_routing_sets (workspace_id, set_name) values (%s, 's')", workspace)
        waiting, sold = (db.lead(workspace, email=f"{uuid.uuid4()}@example.com") for _ in range(2))
        db.decide(db.decision(waiting, verdict=3, error_class="unmatched"), db.decision(sold, destination=other))
        db.execute("with j as (insert into bulk_upload_jobs (workspace_id, owner) values (%s, gen_random_uuid()) returning id)"
                   " insert into leadrouter.import_batches (import_id, first_row, lead_ids) select id, 1, '{}' from j", workspace)
    db.execute("select leadrouter.register_jobs(array['job'], array[0]::bigint[])")
    db.execute("select * from leadrouter.create_leads(%s, '[]', gen_random_uuid(), '\\x00')", A)
    db.execute("select leadrouter.make_log_partitions(33)")


def claims(user):
    """The setting of a request by this person."""
    return json.dumps({"sub": str(user), "role": "authenticated"})


class Asker(Session):
    """A session as a role with the claims of a request (None: never set). What it may not do leaves nothing behind, so that
    it can go on."""

    def __init__(self, db, role, claims_text=None):
        super().__init__(db.cluster, db.name)
        db.sessions.append(self)
        if claims_text is not None:
            self.execute("select set_config('request.jwt.claims', %s, false)", claims_text)
        self.execute(f'set role "{role}"')

    def attempt(self, statement, *parameters):
        """What comes of it: the number of rows it gives or changes, 'denied', or the SQLSTATE of another refusal. Only what is refused
        is done for good."""
        self.execute("begin")
        try:
            self.execute(statement, *parameters)
            count = max(self.cursor.rowcount, 0)
            self.execute("rollback")
            return count
        except psycopg2.Error as error:
            self.execute("commit") # of a transaction that has failed: nothing should come of it
            return "denied" if error.pgcode == "42501" else error.pgcode

    def attempt_copy(self, statement, source):
        """The same for COPY; gives the number of lines that came out."""
        self.execute("begin")
        try:
            self.cursor.copy_expert(statement, source)
            self.execute("rollback")
            return None
        except psycopg2.Error as error:
            self.execute("commit")
            return "denied" if error.pgcode == "42501" else error.pgcode
