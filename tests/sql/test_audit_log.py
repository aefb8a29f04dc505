"""Goal: the audit log only grows, for everyone and in every partition; partitions are made ahead and dropped without
holding anybody up."""
import psycopg2
import pytest

from support.product_cluster import PATIENCE_S

PARTITIONS = ("select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'lead_routing_logs'::regclass"
              " order by 1")


def today(db):
    return db.value("select 'lead_routing_logs_' || to_char(now() at time zone 'UTC', 'YYYYMMDD')")


def partitions(db):
    return [row.relname for row in db.rows(PARTITIONS)]


def make_old_partition(db, days):
    """A partition of a day in the past, as an earlier run of the server would have made it."""
    name = db.value("select 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date - %s, 'YYYYMMDD')", days)
    bounds = db.row("select ((now() at time zone 'UTC')::date - %s)::timestamp at time zone 'UTC' as low,"
                    " ((now() at time zone 'UTC')::date - %s)::timestamp at time zone 'UTC' as high", days, days - 1)
    db.execute(f"create table leadrouter.{name} (like lead_routing_logs including defaults including constraints)")
    db.execute(f"alter table leadrouter.{name} owner to leadrouter_owner")
    db.execute(f"alter table lead_routing_logs attach partition leadrouter.{name} for values from (%s) to (%s)", *bounds)
    return name


@pytest.fixture
def service(own_db):
    """Of a database that has the days that it is to have: a midnight may have passed since it was migrated."""
    session = own_db.service()
    session.value("select leadrouter.make_log_partitions(30)")
    return session


@pytest.fixture
def logged(db):
    """A lead with a log row."""
    lead = db.lead(db.workspace())
    db.decide(db.decision(lead, destination=db.value("select id from workspaces")))
    return lead


@pytest.mark.parametrize("role", [None, "leadrouter_owner"])
@pytest.mark.parametrize("table", ["lead_routing_logs", "the partition"])
@pytest.mark.parametrize("statement", ["update {} set error_message = 'x'", "delete from {}", "truncate {}"])
def test_nobody_changes_the_log(db, logged, role, table, statement):
    """Neither a superuser nor the owner, neither through the table nor through its partition."""
    table = "leadrouter." + today(db) if table == "the partition" else table
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.session(role).execute(statement.format(table))
    assert len(db.logs(logged)) == 1


def test_every_partition_refuses(db):
    """Statement triggers do not pass to partitions: each has its own, and the row trigger's clone."""
    names = partitions(db)
    assert len(names) == 31
    for name in names:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
            db.execute(f"truncate leadrouter.{name}")
    assert db.value("select count(*) from pg_trigger where tgrelid in (select inhrelid from pg_inherits"
                    " where inhparent = 'lead_routing_logs'::regclass) and tgname = 'log_append_only' and tgenabled = 'O'") == 31


def test_a_conflict_clause_is_no_way_in(db, logged):
    (row,) = db.logs(logged)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.execute("insert into lead_routing_logs (id, lead_id, source_workspace_id, routing_result, created_at)"
                   " values (%s, %s, %s, 'failed', %s) on conflict (id, created_at) do update set routing_result = 'failed'",
                   row.id, row.lead_id, row.source_workspace_id, row.created_at)


def test_results_are_known_words(db, logged):
    with pytest.raises(psycopg2.errors.CheckViolation):
        db.execute("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result)"
                   " values (%s, gen_random_uuid(), 'sold')", logged)


def test_the_log_outlives_its_lead(db, logged):
    db.execute("delete from leads where id = %s", logged)
    assert len(db.logs(logged)) == 1


def test_partitions_belong_to_the_owner_alone(db):
    names = partitions(db)
    assert today(db) in names[:2] # a midnight may have passed since the database was migrated
    rows = db.rows("select c.relname, r.rolname, c.relnamespace::regnamespace::text as schema, coalesce(c.relacl::text, '') as acl"
                   " from pg_class c join pg_roles r on r.oid = c.relowner where c.relname = any(%s)", names)
    assert {(row.rolname, row.schema) for row in rows} == {("leadrouter_owner", "leadrouter")}
    assert all("leadrouter_service" not in row.acl and "=" not in row.acl.replace("leadrouter_owner=", "") for row in rows)


def test_there_is_no_default_partition(db):
    """A day without a partition is an error that is seen."""
    with pytest.raises(psycopg2.errors.CheckViolation, match="no partition"):
        db.execute("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, created_at)"
                   " values (gen_random_uuid(), gen_random_uuid(), 'failed', now() + interval '40 days')")


def test_missing_partitions_are_made(own_db, service):
    assert service.value("select leadrouter.make_log_partitions(30)") == 0
    assert service.value("select leadrouter.log_partition_days_ahead()") == 30
    assert service.value("select leadrouter.make_log_partitions(33)") == 3
    assert service.value("select leadrouter.log_partition_days_ahead()") == 33
    names = partitions(own_db)
    own_db.execute(f"drop table leadrouter.{names[5]}, leadrouter.{today(own_db)}")
    assert service.value("select leadrouter.make_log_partitions(33)") == 2
    assert partitions(own_db) == names
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        own_db.execute(f"truncate leadrouter.{names[5]}")


@pytest.mark.parametrize("days", [-1, 3651, None])
def test_absurd_numbers_of_days(db, days):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="p_days_ahead"):
        db.value("select leadrouter.make_log_partitions(%s)", days)


@pytest.mark.parametrize("days", [0, -1, None])
def test_no_day_is_dropped_while_it_lasts(db, days):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="p_keep_days"):
        db.value("select leadrouter.drop_log_partitions(%s)", days)


def test_two_servers_make_partitions_at_once(own_db, service):
    """The second waits for the first and finds nothing to do."""
    one, two = service, own_db.service()
    one.begin()
    assert one.value("select leadrouter.make_log_partitions(32)") == 2
    made = own_db.in_background(two.value, "select leadrouter.make_log_partitions(32)")
    own_db.wait_until_blocked(two, by=one)
    one.commit()
    assert made.result(PATIENCE_S) == 0


def test_making_partitions_lets_inserts_pass(own_db, service):
    maker, writer = service, own_db.session()
    maker.begin()
    assert maker.value("select leadrouter.make_log_partitions(32)") == 2
    writer.execute("set lock_timeout = '5s'")
    lead = own_db.lead(own_db.workspace())
    assert writer.decide(own_db.decision(lead, destination=own_db.value("select id from workspaces")))[1].result == "success"
    maker.rollback()


def test_old_partitions_are_dropped(own_db):
    old, kept = make_old_partition(own_db, 91), make_old_partition(own_db, 90)
    before = set(partitions(own_db))
    service = own_db.service()
    assert service.value("select leadrouter.drop_log_partitions(90)") == 1
    assert before - set(partitions(own_db)) == {old}
    assert kept in partitions(own_db)
    assert service.value("select leadrouter.drop_log_partitions(90)") == 0


def test_dropping_gives_up_soon(own_db):
    """A reader holds the log: the drop waits 200 ms, whatever its session would wait, and the next call does it; inserts are not held up
    behind it."""
    make_old_partition(own_db, 100)
    reader, service = own_db.session(), own_db.service()
    reader.begin()
    reader.rows("select * from lead_routing_logs")
    service.execute("set lock_timeout = '5min'; set statement_timeout = '10s'")
    assert service.value("select leadrouter.drop_log_partitions(90)") == 0
    reader.commit()
    assert service.value("select leadrouter.drop_log_partitions(90)") == 1
