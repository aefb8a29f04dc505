"""Goal: the schema comes and goes without a trace: on an empty database and under a host application, by one runner or two,
killed or not."""
import re
import shutil
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

from support.postgres import IS_LONG, LEADROUTERD, Postgres, migrate

PATIENCE_S = 60
HOST_LEADS = 1_000_000 if IS_LONG else 100_000

HOST_TABLES = """
create table workspaces (id uuid primary key default gen_random_uuid(), label text);
create table user_workspaces (user_id uuid, workspace_id uuid, primary key (user_id, workspace_id));
create table leads (id uuid primary key default gen_random_uuid(), workspace_id uuid not null, email text, note text);
create index leads_note on leads (note);
insert into workspaces (id, label) values ('00000000-0000-0000-0000-000000000001', 'one'), ('00000000-0000-0000-0000-000000000002', 'two');
"""
ONE = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def database(postgres):
    return postgres.database()


@pytest.fixture
def host(postgres, database):
    """A database with a host application's tables and some old leads: two of them are one person."""
    execute(postgres, database, HOST_TABLES)
    execute(postgres, database, f"""
        insert into leads (id, workspace_id, email) values
        ('00000000-0000-0000-0001-000000000001', '{ONE}', 'old@example.com'),
        ('00000000-0000-0000-0001-000000000002', '00000000-0000-0000-0000-000000000002', 'OLD@example.com'),
        ('00000000-0000-0000-0001-000000000003', '{ONE}', null)""")
    return database


def execute(postgres, name, sql):
    connection = postgres.connect(name)
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else None
    connection.close()
    return rows


def value(postgres, name, sql):
    return execute(postgres, name, sql)[0][0]


def up(postgres, name):
    done = migrate(postgres.url(name), "up")
    assert done.returncode == 0, done.stderr
    return done


def picture(postgres, name):
    """Everything pg_dump knows of a database's schema, and what roles there are, what they may and how they are set."""
    dump = subprocess.run([shutil.which("pg_dump"), "--schema-only", "--dbname", postgres.url(name)], capture_output=True, text=True,
                          check=True).stdout
    dump = re.sub(r"^\\(un)?restrict .*$", "", dump, flags=re.M)
    return (dump, execute(postgres, name, "select rolname from pg_roles order by 1"),
            execute(postgres, name, "select roleid::regrole::text, member::regrole::text from pg_auth_members order by 1, 2"),
            execute(postgres, name, "select setrole::regrole::text, setconfig from pg_db_role_setting s join pg_database d"
                    " on d.oid = s.setdatabase where datname = current_database() order by 1"))


def start(url, action="up"):
    return subprocess.Popen([LEADROUTERD, "migrate", action, "--database", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(runner):
    output, errors = runner.communicate(timeout=PATIENCE_S)
    assert runner.returncode == 0, errors
    return output


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_after(postgres, name, step):
    """Kills a runner when it says that a step is done: somewhere in the next one."""
    runner = start(postgres.url(name))
    for line in runner.stdout:
        if step in line:
            break
    runner.send_signal(signal.SIGKILL)
    runner.communicate(timeout=PATIENCE_S)
    wait_until(lambda: value(postgres, name, "select count(*) from pg_stat_activity where datname = current_database()"
                             " and application_name = 'leadrouterd migrate'") == 0) # its backend notices at its next word


@pytest.fixture
def own():
    """A cluster of its own, since roles belong to a cluster, where anybody may log in as anybody."""
    with Postgres() as postgres:
        postgres.let_in()
        yield postgres


def test_empty_database_up_status_again_down(postgres, database):
    before = picture(postgres, database)
    assert "schema version 0, this build needs 1: run leadrouterd migrate up" in migrate(postgres.url(database), "status").stdout
    assert "to do" in migrate(postgres.url(database), "status").stdout
    assert "the schema is at version 1" in up(postgres, database).stdout
    assert value(postgres, database, "select leadrouter.schema_version()") == 1
    status = migrate(postgres.url(database), "status").stdout
    assert "to do" not in status and "schema version 1" in status
    assert "up to date" in up(postgres, database).stdout
    down = migrate(postgres.url(database), "down")
    assert down.returncode == 0, down.stderr
    assert picture(postgres, database) == before
    assert "nothing to remove" in migrate(postgres.url(database), "down").stdout
    up(postgres, database)


def findings(done):
    """What `migrate verify` printed: what was found by what was looked at, and the names of what is wrong."""
    lines = [re.fullmatch(r"(ok|WRONG|-) +(.+?): (.*)", line).groups() for line in done.stdout.splitlines()]
    return {what: found for _, what, found in lines}, [what for verdict, what, _ in lines if verdict == "WRONG"]


def test_verify_after_up(postgres, host):
    """On a host's tables, with old leads: all is as it should be, the counts are told, and nothing is changed."""
    assert migrate(postgres.url(host), "verify").returncode == 1, "there is no schema yet"
    up(postgres, host)
    done = migrate(postgres.url(host), "verify")
    found, wrong = findings(done)
    assert wrong == ["row security keeps workspaces apart"], "the host's tables were not taken over"
    assert done.returncode == 1 and done.stderr == "leadrouterd: 1 thing is not as migrate up makes it\n"
    assert found["leads that are routed"] == "3" and found["hashes that several workspaces have"] == "1"
    migrate(postgres.url(host), "up", "--adopt")
    before = picture(postgres, host)
    done = migrate(postgres.url(host), "verify")
    assert (done.returncode, findings(done)[1], done.stderr) == (0, [], "")
    assert picture(postgres, host) == before


@pytest.fixture(scope="module")
def verified(postgres):
    """A database in which nothing is wrong, with a lead and its claim."""
    name = postgres.database()
    up(postgres, name)
    execute(postgres, name, f"""
        insert into workspaces (id, name) values ('{ONE}', 'one');
        insert into leads (workspace_id, email) values ('{ONE}', 'a@example.com');
        insert into lead_dedupe_claims select dedupe_hash, id, workspace_id, now(), now() + interval '1 day' from leads""")
    assert migrate(postgres.url(name), "verify").returncode == 0
    return name


@pytest.mark.parametrize("damage, wrong, named", [
    ("alter table leads drop column routing_error cascade", "columns of this build", "public.leads.routing_error"),
    ("drop function leadrouter.decide", "functions of this build", "leadrouter.decide"),
    ("drop function public.fail_routing", "functions of this build", "public.fail_routing"),
    ("drop table lead_routing_sets cascade", "each table that up made", "public.lead_routing_sets"),
    ("alter table leads no force row level security", "row security keeps workspaces apart", "public.leads: row security is not forced"),
    ("grant select on leads to leadrouter_service", "the server reads and writes no table itself", "leads"),
    ("create policy p on leads using (true); grant select on leads to authenticated",
     "a stranger who is logged in sees nobody's rows", "1 rows of"),
    ("do $$ begin execute 'drop table leadrouter.lead_routing_logs_' || to_char(now() at time zone 'UTC', 'YYYYMMDD'); end $$",
     "the audit log has a place for today and tomorrow", "1 of 2 days"),
    ("update pg_index set indisvalid = false where indexrelid = (select min(indexrelid) from pg_index where indrelid = 'leads'::regclass"
     " and not indisprimary)", "indexes that are usable", "leads_"),
    ("set session_replication_role = replica; update leads set dedupe_hash = null",
     "every lead that says who it is about has its hash", "1 have none"),
    ("set session_replication_role = replica; update lead_dedupe_claims set dedupe_hash = repeat('0', 64)",
     "every claim is of a lead that has its hash, or was erased", "1 are not"),
])
def test_verify_finds_what_was_damaged(postgres, verified, damage, wrong, named):
    database = postgres.database(verified)
    execute(postgres, database, damage)
    done = migrate(postgres.url(database), "verify")
    found, names = findings(done)
    assert done.returncode == 1 and wrong in names and named in found[wrong], done.stdout + done.stderr


SETTINGS = ["idle_in_transaction_session_timeout=5s", "jit=off", "lock_timeout=2s", "statement_timeout=10s"]


def settings(postgres, name):
    """Of the server's role in this database."""
    return execute(postgres, name, "select unnest(setconfig) from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase"
                   " where datname = current_database() and setrole = 'leadrouter_service'::regrole order by 1")


def test_a_restored_dump_gets_its_settings_back(postgres, verified, tmp_path):
    """They belong to the role in a database, and no dump has them: verify says so, up sets them, down takes them away, and none of it
    touches the database that was dumped."""
    up(postgres, verified) # the dumped one has them
    copy = postgres.database()
    subprocess.run(["pg_dump", "--format=custom", "--file", tmp_path / "dump", postgres.url(verified)], check=True, timeout=PATIENCE_S)
    subprocess.run(["pg_restore", "--exit-on-error", "--dbname", postgres.url(copy), tmp_path / "dump"], check=True, timeout=PATIENCE_S)
    assert settings(postgres, copy) == []
    done = migrate(postgres.url(copy), "verify")
    found, wrong = findings(done)
    assert (done.returncode, wrong) == (1, ["the server's role has its settings"])
    assert found[wrong[0]] == ("0 of 4; missing: idle_in_transaction_session_timeout, jit, lock_timeout, statement_timeout:"
                               " run leadrouterd migrate up")
    shown = migrate(postgres.url(copy), "up", "--dry-run")
    assert shown.stdout.count("would run: alter role leadrouter_service in database") == 4 and settings(postgres, copy) == []
    execute(postgres, copy, f"alter role leadrouter_service in database {copy} set lock_timeout = '7s'") # somebody's choice
    assert up(postgres, copy).stdout.count("missing: alter role leadrouter_service in database") == 3
    assert [text for text, in settings(postgres, copy)] == [*SETTINGS[:2], "lock_timeout=7s", SETTINGS[3]]
    assert migrate(postgres.url(copy), "verify").returncode == 0
    assert "missing" not in up(postgres, copy).stdout
    assert migrate(postgres.url(copy), "down", "--yes").returncode == 0
    assert settings(postgres, copy) == [("lock_timeout=7s",)]
    assert [text for text, in settings(postgres, verified)] == SETTINGS and migrate(postgres.url(verified), "verify").returncode == 0


def test_who_may_not_change_settings_is_told_what_to_run(own):
    """A role that may migrate, on a restored database; where there is nothing to do it needs no rights."""
    name = weak_host(own, "createrole")
    assert migrate(own.url(name, "host"), "up").returncode == 0
    execute(own, name, f"alter role host nocreaterole; alter role leadrouter_service in database {name} reset lock_timeout")
    refused = migrate(own.url(name, "host"), "up")
    assert refused.returncode == 1 and "not allowed to make the roles leadrouter needs" in refused.stderr
    statements = [line.strip() for line in refused.stdout.splitlines() if line.startswith("  ")]
    assert statements == [f"alter role leadrouter_service in database {name} set lock_timeout = '2s';"]
    execute(own, name, "".join(statements))
    assert migrate(own.url(name, "host"), "up").returncode == 0


def test_verify_says_through_whom_the_server_sees_tables(own):
    name = own.database()
    up(own, name)
    execute(own, name, "alter role leadrouter_service inherit")
    found, wrong = findings(migrate(own.url(name), "verify"))
    assert wrong == ["the server reads and writes no table itself"]
    assert found[wrong[0]].endswith("; leadrouter_service has what authenticated may: alter role leadrouter_service noinherit")


def test_partitions_exist_thirty_days_ahead(postgres, database):
    up(postgres, database)
    assert value(postgres, database, "select leadrouter.log_partition_days_ahead()") == 30


def test_roles_have_no_more_than_they_need(postgres, database):
    up(postgres, database)
    assert execute(postgres, database, "select rolcanlogin, rolinherit, rolsuper, rolbypassrls from pg_roles"
                   " where rolname = 'leadrouter_service'") == [(True, False, False, False)]
    assert value(postgres, database, "select count(*) from pg_class where relowner = 'leadrouter_service'::regrole") == 0
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        connection = postgres.connect(database, "leadrouter_service")
        connection.cursor().execute("select * from leads")


def test_host_tables_get_what_routing_needs(postgres, host):
    up(postgres, host)
    assert execute(postgres, host, "select distinct routing_status::text, decision_id from leads") == [("routed", None)]
    assert value(postgres, host, "select count(*) from leads where source_workspace_id = workspace_id and lead_expires_at is not null") == 3
    assert execute(postgres, host, "select lead_id::text from lead_dedupe_claims") == [("00000000-0000-0000-0001-000000000001",)]
    execute(postgres, host, f"insert into leads (workspace_id, email, note) values ('{ONE}', 'new@example.com', 'x')")
    assert execute(postgres, host, "select routing_status::text, source_workspace_id::text from leads where note = 'x'") == [
        ("pending", ONE)]


def test_an_old_lead_is_already_routed(postgres, host):
    up(postgres, host)
    rows = execute(postgres, host, "select found, routing_status, decision_id, decided_outcome from leadrouter.lock_leads("
                   f"array['00000000-0000-0000-0001-000000000001']::uuid[], array['{ONE}']::uuid[])")
    assert rows == [(True, "routed", None, None)]


def test_down_restores_a_host_exactly(postgres, host):
    before = picture(postgres, host)
    rows = execute(postgres, host, "select id, workspace_id, email, note from leads order by id")
    up(postgres, host)
    assert migrate(postgres.url(host), "down").returncode == 0
    assert picture(postgres, host) == before
    assert execute(postgres, host, "select id, workspace_id, email, note from leads order by id") == rows
    execute(postgres, host, f"insert into leads (workspace_id, email) values ('{ONE}', 'after@example.com')")
    up(postgres, host)


def test_down_asks_before_it_destroys_an_audit_log(postgres, host):
    up(postgres, host)
    execute(postgres, host, "insert into lead_routing_logs (lead_id, source_workspace_id, routing_result)"
                            f" values ('{ONE}', '{ONE}', 'retry')")
    refused = migrate(postgres.url(host), "down")
    assert refused.returncode == 1 and "1 rows" in refused.stderr and "--yes" in refused.stderr
    assert value(postgres, host, "select count(*) from lead_routing_logs") == 1
    assert migrate(postgres.url(host), "down", "--yes").returncode == 0


def test_old_system_tables_are_refused(postgres, host):
    execute(postgres, host, "create table lead_routing_queue (id int)")
    before = picture(postgres, host)
    refused = migrate(postgres.url(host), "up")
    assert refused.returncode == 1 and "lead_routing_queue" in refused.stderr
    assert picture(postgres, host) == before


def test_old_system_column_is_refused(postgres, host):
    execute(postgres, host, "alter table leads add routing_status text")
    refused = migrate(postgres.url(host), "up")
    assert refused.returncode == 1 and "leads.routing_status" in refused.stderr


def test_leads_without_a_unique_id_are_refused(postgres, database):
    execute(postgres, database, "create table leads (id uuid, workspace_id uuid)")
    refused = migrate(postgres.url(database), "up")
    assert refused.returncode == 1 and "no unique index on id" in refused.stderr


def test_newer_schema_is_refused(postgres, database):
    up(postgres, database)
    execute(postgres, database, "insert into leadrouter.migrations (number, name, applied_at) values (99, 'future', now())")
    for action in ("up", "down"):
        refused = migrate(postgres.url(database), action)
        assert refused.returncode == 1 and "version 99" in refused.stderr


def test_dry_run_changes_nothing(postgres, host):
    before = picture(postgres, host)
    shown = migrate(postgres.url(host), "up", "--dry-run")
    assert shown.returncode == 0 and "would run: migration 1 (routing), step 10_tables" in shown.stdout
    assert picture(postgres, host) == before
    up(postgres, host)
    after = picture(postgres, host)
    shown = migrate(postgres.url(host), "down", "--dry-run")
    assert shown.returncode == 0
    assert "would remove: column public.leads.decision_id\n" in shown.stdout and "public.leads.email" not in shown.stdout
    assert picture(postgres, host) == after


def weak_host(own, options):
    """A host application whose tables belong to an ordinary role, which also migrates."""
    name = own.database()
    execute(own, name, f"create role host login {options}; alter database {name} owner to host")
    connection = own.connect(name, "host")
    connection.cursor().execute(HOST_TABLES)
    connection.close()
    return name


def test_a_role_that_is_no_superuser_migrates(own):
    name = weak_host(own, "createrole")
    before = picture(own, name)
    done = migrate(own.url(name, "host"), "up")
    assert done.returncode == 0, done.stderr
    execute(own, name, f"set role host; insert into leads (workspace_id, email) values ('{ONE}', 'new@example.com')")
    assert value(own, name, "select string_agg(distinct c.relowner::regrole::text, ',') from pg_class c"
                 " where c.relname like 'lead\\_routing%' and relkind in ('r', 'p')") == "leadrouter_owner"
    done = migrate(own.url(name, "host"), "down")
    assert done.returncode == 0, done.stderr
    assert picture(own, name) == before


def test_without_the_right_to_make_roles_it_says_what_to_run(own):
    name = weak_host(own, "")
    before = picture(own, name)
    refused = migrate(own.url(name, "host"), "up")
    assert refused.returncode == 1 and "not allowed to make the roles leadrouter needs" in refused.stderr
    assert picture(own, name) == before
    statements = [line.strip() for line in refused.stdout.splitlines() if line.startswith("  ")]
    assert "create role leadrouter_service login noinherit;" in statements
    execute(own, name, "".join(statements))
    prepared = picture(own, name)
    for action in ("up", "down"):
        done = migrate(own.url(name, "host"), action)
        assert done.returncode == 0, done.stderr
    assert picture(own, name) == prepared


def test_the_owner_itself_migrates(own):
    """Where it may log in, and somebody has run what it prints."""
    name = own.database()
    execute(own, name, "create role leadrouter_owner login noinherit")
    refused = migrate(own.url(name, "leadrouter_owner"), "up")
    statements = [line.strip() for line in refused.stdout.splitlines() if line.startswith("  ")]
    assert refused.returncode == 1 and f"grant create on database {name} to leadrouter_owner;" in statements
    execute(own, name, "".join(statements))
    prepared = picture(own, name)
    for action in ("up", "down"):
        done = migrate(own.url(name, "leadrouter_owner"), action)
        assert done.returncode == 0, done.stderr
    assert picture(own, name) == prepared


def test_roles_that_were_there_keep_what_they_have(own):
    """down takes from roles only what up gave to them, and never a table that happens to be theirs."""
    name = own.database()
    execute(own, name, "create role leadrouter_owner; create role leadrouter_service login; create role team;"
                       "grant team to leadrouter_service; grant connect on database %s to leadrouter_service;" % name + HOST_TABLES +
                       "create table theirs (i int); alter table theirs owner to leadrouter_owner;"
                       "grant select on leads, theirs to leadrouter_service; grant select on leads to leadrouter_owner;"
                       "alter role leadrouter_service in database %s set lock_timeout = '7s'" % name)
    before = picture(own, name)
    access = value(own, name, "select datacl::text from pg_database where datname = current_database()")
    up(own, name)
    down = migrate(own.url(name), "down")
    assert down.returncode == 0, down.stderr
    assert picture(own, name) == before
    assert value(own, name, "select datacl::text from pg_database where datname = current_database()") == access


def test_two_databases_of_one_cluster(own):
    """Both runners need the same roles; whoever made them leaves them to the other."""
    names = [own.database(), own.database()]
    for runner in [start(own.url(name)) for name in names]:
        finish(runner)
    makers = [name for name in names
              if value(own, name, "select count(*) from leadrouter.migration_objects where object_type = 'role'") == 3]
    assert len(makers) == 1
    assert "the role leadrouter_owner stays" in finish(start(own.url(makers[0]), "down"))
    for name in names:
        finish(start(own.url(name), "down"))


def test_wrong_words_and_addresses(postgres, database):
    assert migrate(postgres.url(database), "sideways").returncode == 2
    assert migrate("host=/nonexistent dbname=x", "up").returncode == 1
    assert migrate("this is no url", "up").stderr.startswith("leadrouterd: the database URL is not a valid connection string")
    assert subprocess.run([LEADROUTERD, "migrate", "up"], capture_output=True).returncode == 2


def test_two_runners_at_once(postgres, host):
    for runner in [start(postgres.url(host)) for _ in range(3)]:
        finish(runner)
    assert value(postgres, host, "select count(*) from leadrouter.migration_steps") == \
        value(postgres, host, "select count(distinct step) from leadrouter.migration_steps")


def test_a_killed_runner_is_taken_up_where_it_stopped(postgres, host):
    before = picture(postgres, host)
    for step in ("10_tables", "30_log_partitions", "55_service_functions", "80_indexes"):
        kill_after(postgres, host, step)
    up(postgres, host)
    assert value(postgres, host, "select count(*) from pg_index where not indisvalid") == 0
    assert migrate(postgres.url(host), "down").returncode == 0
    assert picture(postgres, host) == before


@pytest.mark.parametrize("step", ["migrating", "10_tables", "40_triggers", "72_constraints"])
def test_what_a_killed_runner_left_can_be_taken_down(postgres, host, step):
    before = picture(postgres, host)
    kill_after(postgres, host, step)
    assert migrate(postgres.url(host), "down").returncode == 0
    assert picture(postgres, host) == before


def test_what_others_make_meanwhile_is_not_ours(postgres, host):
    """Tables that the host makes while the runner looks at the catalogue are there after down."""
    connection = postgres.connect(host)
    cursor = connection.cursor()
    runner = start(postgres.url(host))
    count = 0
    while runner.poll() is None:
        cursor.execute(f"create table meanwhile_{count} (i int default 1 check (i > 0))")
        count += 1
    connection.close()
    finish(runner)
    assert count > 100
    assert value(postgres, host, "select count(*) from leadrouter.migration_objects where object_identity like '%meanwhile%'") == 0
    assert migrate(postgres.url(host), "down").returncode == 0
    assert value(postgres, host, "select count(*) from pg_class where relname like 'meanwhile%'") == count


def test_down_stops_at_what_depends_on_ours(postgres, host):
    before = picture(postgres, host)
    up(postgres, host)
    execute(postgres, host, "create view report as select id, routing_status from leads;"
                            "create index host_index on leads (decided_outcome);"
                            "create table host_table (rule_id uuid references lead_routing_rules)")
    after = picture(postgres, host)
    refused = migrate(postgres.url(host), "down")
    assert refused.returncode == 1
    for name in ("view public.report", "index public.host_index", "constraint public.host_table.host_table_rule_id_fkey"):
        assert name in refused.stderr
    assert picture(postgres, host) == after
    execute(postgres, host, "drop view report; drop index host_index; drop table host_table")
    assert migrate(postgres.url(host), "down").returncode == 0
    assert picture(postgres, host) == before


@pytest.mark.parametrize("taken", ["create schema leadrouter", "create type lead_routing_status as enum ('new')",
                                   "create function fail_routing() returns int language sql as 'select 1'",
                                   "alter table leads add column erased_at timestamptz"])
def test_names_that_are_taken_are_refused(postgres, host, taken):
    execute(postgres, host, taken)
    before = picture(postgres, host)
    refused = migrate(postgres.url(host), "up")
    assert refused.returncode == 1 and taken.split()[2].split("(")[0] in refused.stderr
    assert picture(postgres, host) == before


def test_an_index_of_the_host_is_not_taken_for_ours(postgres, host):
    execute(postgres, host, "create index leads_held on leads (note)")
    refused = migrate(postgres.url(host), "up")
    assert refused.returncode == 1 and "public.leads_held is there already" in refused.stderr
    execute(postgres, host, "alter index leads_held rename to host_held")
    up(postgres, host)
    assert migrate(postgres.url(host), "down").returncode == 0
    assert value(postgres, host, "select count(*) from pg_class where relname = 'host_held'") == 1


def test_limits_for_short_queries_do_not_break_off_a_step(postgres, host):
    execute(postgres, host, f"alter database {host} set statement_timeout = '30ms';"
                            f"alter database {host} set default_transaction_isolation = 'serializable'")
    up(postgres, host)


def test_a_lock_that_is_not_had_makes_nobody_wait(postgres, host):
    """A transaction of the host holds leads; the runner asks again and again, and others write all the while, though it never ends: none of
    them waits for more than the half second for which the runner stands in the way, with some room for a machine that has much to do."""
    holder = postgres.connect(host)
    holder.autocommit = False
    holder.cursor().execute("select count(*) from leads")
    runner = start(postgres.url(host))
    for line in runner.stdout:
        if "10_tables" in line:
            break
    for _ in range(200):
        execute(postgres, host, f"set lock_timeout = '5s'; insert into leads (workspace_id, note) values ('{ONE}', 'meanwhile')")
    assert value(postgres, host, "select count(*) from leadrouter.migration_steps where step = '15_columns'") == 0
    holder.rollback()
    holder.close()
    finish(runner)


def test_an_index_waits_for_old_transactions_as_long_as_it_takes(postgres, host):
    """It is not begun anew every half second: on a large table it would never be done."""
    up(postgres, host)
    execute(postgres, host, "drop index leads_held; delete from leadrouter.migration_steps where step = '80_indexes';"
                            "update leadrouter.migrations set applied_at = null")
    holder = postgres.connect(host)
    holder.autocommit = False
    holder.cursor().execute(f"insert into leads (workspace_id, note) values ('{ONE}', 'held')")
    runner = start(postgres.url(host))
    wait_until(lambda: value(postgres, host, "select count(*) from pg_stat_activity where datname = current_database()"
                             " and query like 'create index%' and now() - query_start > interval '1.2 s'") == 1)
    holder.commit()
    holder.close()
    finish(runner)
    assert value(postgres, host, "select indisvalid from pg_index where indexrelid = 'leads_held'::regclass")


def test_an_invalid_index_is_built_anew(postgres, host):
    """What CREATE INDEX CONCURRENTLY leaves behind when it is broken off is dropped first."""
    up(postgres, host)
    execute(postgres, host, "update pg_index set indisvalid = false where indexrelid = 'leads_held'::regclass;"
                            "delete from leadrouter.migration_steps where step = '80_indexes';"
                            "update leadrouter.migrations set applied_at = null")
    up(postgres, host)
    assert value(postgres, host, "select indisvalid from pg_index where indexrelid = 'leads_held'::regclass")


def test_a_large_table_is_never_locked_for_over_a_second(postgres, host):
    """A writer inserts all the while; no insert waits for a lock for a second. How long it takes otherwise is the machine's business."""
    execute(postgres, host, "insert into leads (workspace_id, email, note) select '%s', 'person' || i || '@example.com', 'many'"
                            " from generate_series(1, %d) i" % (ONE, HOST_LEADS))
    stop = threading.Event()
    written = [0]
    faults = []

    def write():
        connection = postgres.connect(host)
        try:
            with connection.cursor() as cursor:
                cursor.execute("set lock_timeout = '1s'")
                while not stop.is_set():
                    cursor.execute(f"insert into leads (workspace_id, note) values ('{ONE}', 'meanwhile')")
                    written[0] += 1
        except psycopg2.Error as fault:
            faults.append(fault)
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        up(postgres, host)
    finally:
        stop.set()
        writer.join()
    assert faults == []
    assert written[0] > 100
    assert value(postgres, host, "select count(*) from leads where source_workspace_id is null or lead_expires_at is null") == 0
    assert value(postgres, host, "select count(*) from leads where note = 'many' and routing_status = 'routed'") == HOST_LEADS
    assert value(postgres, host, "select count(*) from lead_dedupe_claims") == HOST_LEADS + 1
