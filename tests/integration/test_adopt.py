"""Goal: tables that were there before are taken over when somebody says so and not before; nobody loses sight of a row unasked; and down
puts everything back."""
import json
import re
import select
import shutil
import signal
import subprocess
import threading
import uuid

import psycopg2
import pytest

from support import supabase
from support.postgres import LEADROUTERD, Postgres, migrate
from support.product_cluster import wait_until

TABLES = ("public.leads", "public.user_workspaces", "public.workspaces")
ONE, TWO = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
ALICE = "00000000-0000-0000-0000-0000000000a1"

# A host application: its owner, the role that it works as, one that reports, one that passes rights on, a sequence of a table's own.
HOST_ROLES = """
do $$
begin
    if to_regrole('host') is null then
        create role host login;
        create role app login;
        create role reports login;
        create role lender login;
        create role borrower login;
    end if;
end
$$;
"""
HOST = f"""
create table workspaces (id uuid primary key default gen_random_uuid(), label text);
create table user_workspaces (user_id uuid, workspace_id uuid references workspaces on delete cascade, role text default 'member',
    primary key (user_id, workspace_id));
create table leads (id uuid primary key default gen_random_uuid(), workspace_id uuid not null, email text, number serial);
create table notes (lead_id uuid references leads on delete cascade);
alter table workspaces owner to host;
alter table user_workspaces owner to host;
alter table leads owner to host;
alter table notes owner to host;
revoke truncate on leads from host;
grant select, insert, update, delete, references, trigger, truncate on leads, workspaces to app;
grant usage on sequence leads_number_seq to app;
grant select (id, email), update (email) on leads to reports;
grant select on leads to lender with grant option;
set role lender;
grant select on leads to borrower;
reset role;
insert into workspaces (id) values ('{ONE}'), ('{TWO}');
insert into user_workspaces values ('{ALICE}', '{ONE}');
insert into leads (workspace_id, email) values ('{ONE}', 'one@example.com'), ('{TWO}', 'two@example.com');
"""
LOSERS = ("app", "borrower", "host", "lender", "reports")


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as postgres:
        postgres.let_in()
        yield postgres


@pytest.fixture
def host(postgres):
    name = postgres.database()
    execute(postgres, name, HOST_ROLES)
    execute(postgres, name, HOST)
    return name


def execute(postgres, name, sql, user="postgres"):
    connection = postgres.connect(name, user)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else cursor.rowcount
    finally:
        connection.close()


def value(postgres, name, sql, user="postgres"):
    return execute(postgres, name, sql, user)[0][0]


def run(postgres, name, *words, user="postgres"):
    done = migrate(postgres.url(name, user), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def picture(postgres, name):
    """Everything pg_dump knows of the schema, rights and owners too; and the rights as the catalogue orders them."""
    dump = subprocess.run([shutil.which("pg_dump"), "--schema-only", "--dbname", postgres.url(name)], capture_output=True, text=True,
                          check=True).stdout
    return (re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.M),
            execute(postgres, name, "select relname, relowner::regrole::text, relrowsecurity, relforcerowsecurity,"
                    " coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::\"char\", relowner))::text from pg_class"
                    " where relnamespace = 'public'::regnamespace and relkind in ('r', 'S') order by 1"),
            execute(postgres, name, "select attrelid::regclass::text, attname, attacl::text from pg_attribute where attacl is not null"
                    " and attrelid >= 16384 order by 1, 2"))


def flags(postgres, name):
    return {row[0]: row[1:] for row in execute(
        postgres, name, "select 'public.' || relname, relowner::regrole::text, relrowsecurity, relforcerowsecurity from pg_class"
        " where relname in ('leads', 'workspaces', 'user_workspaces')")}


def grouped(losers):
    return ("--adopt", "--adopt-losing", ",".join(losers))


def test_without_the_word_they_stay_as_they_are_and_status_says_so(postgres, host):
    before = flags(postgres, host)
    assert "row security does not keep workspaces apart on public.leads (it belongs to host)" in run(postgres, host, "up")
    assert flags(postgres, host) == before
    status = run(postgres, host, "status")
    assert all(f"{table} (it belongs to host)" in status for table in TABLES) and "--adopt" in status


def test_the_server_says_so_when_it_starts(postgres, host):
    run(postgres, host, "up")
    for words, is_warned in (((), True), (grouped(LOSERS), False)):
        run(postgres, host, "up", *words)
        with subprocess.Popen([LEADROUTERD, "serve", "--listen", "127.0.0.1:0", "--no-jobs", "--database",
                               postgres.url(host, "leadrouter_service")], stderr=subprocess.PIPE, text=True) as server:
            lines = []
            for line in server.stderr:
                lines.append(json.loads(line))
                if lines[-1]["event"] == "server.started":
                    break
            server.terminate()
        warnings = [line["tables"] for line in lines if line["event"] == "tenancy.not_enforced"]
        assert lines[-1]["event"] == "server.started"
        assert len(warnings) == is_warned and all(f"{table} (it belongs to host)" in warnings[0] for table in TABLES if is_warned)


def test_it_lists_who_would_lose_sight_and_stops(postgres, host):
    """Before anything is changed: there is no schema yet, and afterwards there is none either."""
    before = picture(postgres, host)
    refused = migrate(postgres.url(host), "up", "--adopt")
    assert refused.returncode == 1
    assert "roles would lose sight of rows" in refused.stderr
    for role in LOSERS:
        assert f"{role} on public.leads" in refused.stderr, role
    assert "no policy would give app what it may on public.leads: SELECT, INSERT, DELETE, UPDATE" in refused.stdout
    assert "no policy would give reports what it may on public.leads: SELECT, UPDATE" in refused.stdout
    assert "no policy would give host what it may on public.user_workspaces: SELECT, INSERT, DELETE, UPDATE" in refused.stdout
    assert "leadrouter_service" not in refused.stdout
    assert picture(postgres, host) == before
    assert value(postgres, host, "select to_regnamespace('leadrouter') is null")
    assert "there is no role nobody" in migrate(postgres.url(host), "up", "--adopt", "--adopt-losing", "nobody").stderr
    for role in LOSERS:
        others = [other for other in LOSERS if other != role]
        refused = migrate(postgres.url(host), "up", *grouped(others))
        assert refused.returncode == 1 and f"({role} on" in refused.stderr, role


def test_a_dry_run_shows_it(postgres, host):
    before = picture(postgres, host)
    shown = run(postgres, host, "up", "--dry-run", "--adopt")
    assert "would take over public.leads, which belongs to host and has row security off" in shown
    assert "no policy would give app" in shown and "--adopt-losing" in shown and "would run: migration 1" in shown
    assert picture(postgres, host) == before


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
def test_taken_over_and_given_back(postgres, host, at_once):
    before = picture(postgres, host)
    if not at_once:
        run(postgres, host, "up")
    assert "taken over: public.workspaces, public.user_workspaces, public.leads" in run(postgres, host, "up", *grouped(LOSERS))
    assert flags(postgres, host) == {table: ("leadrouter_owner", True, True) for table in TABLES}
    assert "row security does not keep" not in run(postgres, host, "status")
    assert "there is no table to take over" in run(postgres, host, "up", "--adopt")
    assert "would give back: table public.leads to host" in run(postgres, host, "down", "--dry-run")
    run(postgres, host, "down")
    assert picture(postgres, host) == before


def test_people_see_what_is_theirs_and_roles_without_a_policy_nothing(postgres, host):
    run(postgres, host, "up", *grouped(LOSERS))
    claims = f"set request.jwt.claims = '{{\"sub\": \"{ALICE}\"}}'; set role authenticated; select count(*) from "
    assert [value(postgres, host, claims + table) for table in TABLES] == [1, 1, 1]
    assert value(postgres, host, "set role authenticated; select count(*) from leads") == 0
    for role in ("app", "host", "lender", "borrower"):
        assert value(postgres, host, "select count(*) from leads", role) == 0
    assert value(postgres, host, "select count(id) from leads", "reports") == 0
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="row-level security"):
        execute(postgres, host, f"insert into leads (workspace_id) values ('{ONE}')", "app")
    for role in ("app", "host"):
        for statement in ("truncate leads cascade", "alter table leads disable row level security",
                          "create trigger t before update on leads for each row execute function suppress_redundant_updates_trigger()"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                execute(postgres, host, statement, role)
        assert not value(postgres, host, f"select has_table_privilege('{role}', 'leads', 'truncate, references, trigger')")


def test_the_functions_go_on(postgres, host):
    run(postgres, host, "up", *grouped(LOSERS))
    lead = value(postgres, host, f"insert into leads (workspace_id, email) values ('{ONE}', 'new@example.com') returning id")
    for statement in (f"select acquire_routing_lock('{lead}', '{TWO}')", f"select complete_routing('{lead}', '{TWO}', null, '{TWO}')"):
        assert value(postgres, host, statement, "leadrouter_service")
    assert value(postgres, host, "select failed + pending + routing from leadrouter.health_counts(null)", "leadrouter_service") == 0
    assert value(postgres, host, f"select email from leadrouter.get_lead('{lead}', '{TWO}')", "leadrouter_service") == "new@example.com"


POLICIES = """
create policy app_all on leads to app using (true) with check (true);
create policy app_all on workspaces to app using (true) with check (true);
create policy host_all on leads to host using (true) with check (true);
create policy host_all on workspaces to host using (true) with check (true);
create policy host_all on user_workspaces to host using (true) with check (true);
create policy readers on leads for select to lender, borrower using (email like 'one%');
"""


def test_roles_with_policies_go_on(postgres, host):
    """A host that had policies of its own: nobody needs to be named but who has none, and inserts and the sequence work as before."""
    execute(postgres, host, POLICIES + "alter table leads enable row level security")
    execute(postgres, host, "drop owned by reports; revoke all on leads from reports")
    before = picture(postgres, host)
    run(postgres, host, "up")
    run(postgres, host, "up", "--adopt")
    for role in ("app", "host"):
        execute(postgres, host, f"insert into leads (workspace_id, email) values ('{ONE}', '{role}@example.com')", role)
        assert execute(postgres, host, f"update leads set email = 'other@example.com' where email = '{role}@example.com'", role) == 1
        assert value(postgres, host, "select count(*) from leads", role) >= 3
    for role in ("lender", "borrower"):
        assert execute(postgres, host, "select email from leads", role) == [("one@example.com",)]
    execute(postgres, host, "delete from workspaces where id = '%s'; delete from leads where workspace_id = '%s'" % (TWO, TWO), "host")
    assert value(postgres, host, "select count(*) from leads where workspace_id = '%s'" % TWO) == 0
    run(postgres, host, "down", "--yes")
    assert picture(postgres, host) == before


def test_a_policy_for_one_command_is_none_for_another(postgres, host):
    execute(postgres, host, POLICIES + "drop policy app_all on leads; create policy app_reads on leads for select to app using (true)")
    shown = run(postgres, host, "up", "--dry-run", "--adopt")
    assert "no policy would give app what it may on public.leads: INSERT, DELETE, UPDATE" in shown
    assert "app what it may on public.workspaces" not in shown


def test_who_is_bound_already_loses_nothing(postgres, host):
    execute(postgres, host, "alter table leads enable row level security; alter table leads force row level security;"
                            "alter table workspaces enable row level security")
    shown = run(postgres, host, "up", "--dry-run", "--adopt")
    assert "on public.leads:" not in shown
    assert "host what it may on public.workspaces" in shown and "app what it may on public.workspaces" not in shown


def test_rights_for_everybody_and_roles_that_read_everything(postgres, host):
    execute(postgres, host, "grant select on workspaces to public; create role backup login in role pg_read_all_data;"
                            "create role dumps login bypassrls in role pg_read_all_data")
    try:
        shown = run(postgres, host, "up", "--dry-run", "--adopt")
        assert "no policy would give public what it may on public.workspaces: SELECT" in shown
        assert "no policy would give backup what it may on public.leads: SELECT" in shown
        assert "dumps" not in shown
    finally:
        execute(postgres, host, "drop role backup; drop role dumps")


def test_a_policy_of_the_host_that_would_blind_the_functions_is_refused(postgres, host):
    execute(postgres, host, "create policy by_day on leads as restrictive using (number > 1)")
    refused = migrate(postgres.url(host), "up")
    assert refused.returncode == 1 and "the restrictive policy by_day on public.leads applies to leadrouter_owner" in refused.stderr
    execute(postgres, host, "drop policy by_day on leads; create policy by_day on leads as restrictive to app using (number > 1)")
    run(postgres, host, "up")


def test_row_security_that_the_host_turns_on_itself_does_not_blind_the_functions(postgres, host):
    """Neither before nor after; old leads are filled in all the same."""
    execute(postgres, host, "alter table leads enable row level security; alter table leads force row level security")
    run(postgres, host, "up")
    assert value(postgres, host, "select count(*) from leads where source_workspace_id is null") == 0
    execute(postgres, host, "alter table workspaces enable row level security; alter table user_workspaces enable row level security")
    lead = value(postgres, host, f"insert into leads (workspace_id) values ('{ONE}') returning id")
    assert value(postgres, host, f"select is_locked from leadrouter.lock_leads(array['{lead}']::uuid[], array['{ONE}']::uuid[])",
                 "leadrouter_service")
    execute(postgres, host, f"select leadrouter.require_member('{ALICE}', '{ONE}', false, true)", "leadrouter_service")


def test_a_table_with_children_is_refused(postgres, host):
    execute(postgres, host, "create table old_leads () inherits (leads)")
    run(postgres, host, "up")
    before = picture(postgres, host)
    refused = migrate(postgres.url(host), "up", *grouped(LOSERS))
    assert refused.returncode == 1 and "public.leads has partitions or inherits" in refused.stderr
    assert picture(postgres, host) == before


def test_columns_that_people_may_see_stay_the_ones(postgres, host):
    execute(postgres, host, "do $$ begin if to_regrole('authenticated') is null then create role authenticated; end if; end $$;"
                            "grant select (id) on leads to authenticated")
    run(postgres, host, "up", *grouped(LOSERS))
    claims = f"set request.jwt.claims = '{{\"sub\": \"{ALICE}\"}}'; set role authenticated; select "
    assert value(postgres, host, claims + "count(id) from leads") == 1
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(postgres, host, claims + "email from leads")


def test_what_was_granted_since_stays_after_down(postgres, host):
    before = picture(postgres, host)
    run(postgres, host, "up", *grouped(LOSERS))
    execute(postgres, host, "create role later; grant select, update (email) on leads to later")
    run(postgres, host, "down")
    assert execute(postgres, host, "select has_table_privilege('later', 'leads', 'select'), has_column_privilege('later', 'leads',"
                   " 'email', 'update'), has_column_privilege('later', 'leads', 'id', 'update')") == [(True, True, False)]
    execute(postgres, host, "drop owned by later; drop role later")
    assert picture(postgres, host)[1] == before[1]


def test_killed_in_the_middle_nothing_has_happened(postgres, host):
    """The first table is taken over, in the transaction, and the second is not had: somebody is reading it."""
    run(postgres, host, "up")
    before = picture(postgres, host)
    reader = postgres.connect(host)
    reader.autocommit = False
    reader.cursor().execute("select count(*) from leads")
    runner = subprocess.Popen([LEADROUTERD, "migrate", "up", *grouped(LOSERS), "--database", postgres.url(host)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waiting = "select count(*) from pg_locks l where l.relation = 'leads'::regclass and l.mode = 'AccessExclusiveLock' and not l.granted"
    while value(postgres, host, waiting) == 0:
        assert runner.poll() is None
    runner.send_signal(signal.SIGKILL)
    runner.communicate(timeout=60)
    reader.rollback()
    assert picture(postgres, host) == before
    reader.close()
    while value(postgres, host, "select count(*) from pg_stat_activity where application_name = 'leadrouterd migrate'") > 0:
        pass
    run(postgres, host, "up", *grouped(LOSERS))
    assert flags(postgres, host)["public.leads"] == ("leadrouter_owner", True, True)


def test_three_runners_at_once(postgres, host):
    before = picture(postgres, host)
    runners = [subprocess.Popen([LEADROUTERD, "migrate", "up", *grouped(LOSERS), "--database", postgres.url(host)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [runner.communicate(timeout=120) for runner in runners]
    assert [runner.returncode for runner in runners] == [0, 0, 0], outputs
    assert sum("taken over:" in output for output, _ in outputs) == 1
    run(postgres, host, "down")
    assert picture(postgres, host) == before


class Writer(threading.Thread):
    """The host application: transactions that write the tables, in the order given, until it is told to stop. What it committed is in
    `leads`, and an error ends it."""

    def __init__(self, postgres, host, steps, pause_s=0.0):
        super().__init__(daemon=True)
        self.connection, self.steps, self.pause_s = postgres.connect(host, "app"), steps, pause_s
        self.connection.autocommit = False
        self.leads, self.error, self.is_over = [], None, threading.Event()
        self.start()

    def run(self):
        number = 0
        try:
            while not self.is_over.is_set():
                lead = str(uuid.uuid4())
                with self.connection, self.connection.cursor() as cursor:
                    for step in self.steps:
                        cursor.execute(step, {"lead": lead, "number": number, "workspace": ONE})
                        self.is_over.wait(self.pause_s)
                self.leads.append((lead, f"{number}@example.com"))
                number += 1
                self.is_over.wait(0.03)
        except psycopg2.Error as error:
            self.error = error

    def count(self):
        assert self.error is None, self.error
        return len(self.leads)

    def stop(self):
        self.is_over.set()
        self.join(60)
        assert not self.is_alive() and self.error is None, self.error
        self.connection.close()
        return self.leads


INSERT = "insert into leads (id, workspace_id, email) values (%(lead)s, %(workspace)s, '')"
UPDATE = "update leads set email = %(number)s || '@example.com' where id = %(lead)s"
RENAME = "update workspaces set label = %(lead)s where id = %(workspace)s"
LOOK = "select count(*) from user_workspaces where workspace_id = %(workspace)s"


# What the host's transactions do, and for how long after each step they wait.
ORDERS = [((INSERT, UPDATE), 0), ((INSERT, UPDATE, RENAME), 0.01), ((RENAME, INSERT, UPDATE), 0.01), ((LOOK, INSERT, UPDATE, LOOK), 0)]
LONG = [((INSERT, UPDATE), 0), ((INSERT, LOOK, UPDATE), 0.2)] # open for longer than the runner waits


@pytest.mark.parametrize("transactions, direction", [
    pytest.param(ORDERS, "taken over", id="in every order, taken over"),
    pytest.param(ORDERS, "given back", id="in every order, given back", marks=pytest.mark.long),
    pytest.param(LONG, "taken over", id="long, taken over", marks=pytest.mark.long),
    pytest.param(LONG, "given back", id="long, given back", marks=pytest.mark.long)])
def test_while_the_host_writes(postgres, host, transactions, direction):
    """In every order of the tables, also against that of the runner, or with transactions that are open for longer than it waits: none
    of the host's transactions fails, none of its rows is lost, and at every moment all tables are taken over or none is."""
    execute(postgres, host, POLICIES + "grant select on user_workspaces to app;"
                                       "create policy app_all on user_workspaces to app using (true)")
    run(postgres, host, "up")
    words = ("up", *grouped(LOSERS))
    if direction == "given back":
        run(postgres, host, *words)
        words = ("down", "--yes")
    writers = [Writer(postgres, host, steps, pause_s) for steps, pause_s in transactions]
    wait_until(lambda: all(writer.count() > 1 for writer in writers), "the host does not write")
    runner = subprocess.Popen([LEADROUTERD, "migrate", *words, "--database", postgres.url(host)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    seen = set()
    while runner.poll() is None:
        seen.add(tuple(sorted(set(flags(postgres, host).values()))))
        select.select([runner.stderr], [], [], 0.05)
    output = runner.communicate(timeout=120)
    before = [writer.count() for writer in writers]
    wait_until(lambda: all(writer.count() > count + 1 for writer, count in zip(writers, before)), "the host does not go on")
    written = [lead for writer in writers for lead in writer.stop()]
    assert runner.returncode == 0, output
    assert seen <= {(("leadrouter_owner", True, True),), (("host", False, False),)}, seen
    is_taken = direction == "taken over"
    assert set(flags(postgres, host).values()) == {("leadrouter_owner", True, True) if is_taken else ("host", False, False)}
    assert set(written) <= set(execute(postgres, host, "select id::text, email from leads")) and len(written) > 10


@pytest.mark.long
def test_a_transaction_that_never_ends_is_not_waited_for_for_ever(postgres, host):
    """After some three minutes the runner gives up, names the tables, and nothing has happened; others went on all the time."""
    run(postgres, host, "up")
    before = picture(postgres, host)
    reader = postgres.connect(host)
    reader.autocommit = False
    reader.cursor().execute("select count(*) from leads")
    writer = Writer(postgres, host, (INSERT, UPDATE, RENAME))
    refused = migrate(postgres.url(host), "up", *grouped(LOSERS))
    written = writer.stop()
    reader.rollback()
    reader.close()
    assert refused.returncode == 1 and "taking over public.workspaces, public.user_workspaces, public.leads" in refused.stderr
    assert "lock" in refused.stderr and len(written) > 100
    assert picture(postgres, host) == before


def test_adopt_is_for_up(postgres, host):
    for words in (("down", "--adopt"), ("status", "--adopt"), ("up", "--adopt-losing", "app")):
        assert migrate(postgres.url(host), *words).returncode == 2


@pytest.fixture
def supabase_postgres():
    with Postgres() as postgres:
        postgres.let_in()
        yield postgres


def test_on_supabase_by_its_owner(supabase_postgres):
    """By a role that is no superuser; its roles and its schema auth are as they were after down."""
    postgres = supabase_postgres
    name = postgres.database()
    supabase.prepare(postgres, name)
    tables = "create table workspaces (id uuid primary key, name text); create table user_workspaces (user_id uuid, workspace_id uuid," \
             " role text, primary key (user_id, workspace_id)); create table leads (id uuid primary key default gen_random_uuid()," \
             " workspace_id uuid, email text); alter table leads enable row level security;" \
             " create policy mine on leads for select to authenticated using (workspace_id in" \
             " (select workspace_id from user_workspaces where user_id = auth.uid()));" \
             f" insert into workspaces values ('{ONE}'), ('{TWO}'); insert into user_workspaces values ('{ALICE}', '{ONE}', 'admin');" \
             f" insert into leads (workspace_id, email) values ('{ONE}', 'one@example.com'), ('{TWO}', 'two@example.com')"
    execute(postgres, name, tables, supabase.OWNER)
    before = picture(postgres, name)
    refused = migrate(postgres.url(name, supabase.OWNER), "up", "--adopt")
    assert refused.returncode == 1 and "anon on public.workspaces" in refused.stderr and "service_role" not in refused.stdout
    assert "anon on public.leads" not in refused.stderr and supabase.OWNER not in refused.stderr
    run(postgres, name, "up", "--adopt", "--adopt-losing", "anon,authenticated", user=supabase.OWNER)
    claims = f"set request.jwt.claims = '{{\"sub\": \"{ALICE}\"}}'; set role authenticated; select count(*) from "
    assert [value(postgres, name, claims + table) for table in TABLES] == [1, 1, 1]
    assert value(postgres, name, "set role service_role; select count(*) from leads") == 2
    lead = value(postgres, name, f"insert into leads (workspace_id) values ('{ONE}') returning id", supabase.OWNER)
    assert value(postgres, name, f"set role service_role; select acquire_routing_lock('{lead}', '{TWO}')")
    run(postgres, name, "down", "--yes", user=supabase.OWNER)
    assert picture(postgres, name) == before
