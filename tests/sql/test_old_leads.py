"""Goal: leads that were there before the migration stay the host application's, count as decided, keep their identities,
and can be written all the while."""
import uuid

import psycopg2
import pytest

from support.database import Database
from support.postgres import migrate
from support.product_cluster import PATIENCE_S, wait_until

HOST_TABLES = """
create table workspaces (id uuid primary key default gen_random_uuid());
create table user_workspaces (user_id uuid, workspace_id uuid, primary key (user_id, workspace_id));
create table leads (id uuid primary key default gen_random_uuid(), workspace_id uuid, email varchar(100),
    created_at timestamptz default now())
"""
A_LOCK = 4242


@pytest.fixture
def host(cluster):
    """A database with a host application's tables, not migrated."""
    database = Database(cluster, cluster.database("template0"))
    database.execute(HOST_TABLES)
    yield database
    database.close_others()
    database.close()
    cluster.drop_database(database.name)


def up(host):
    done = migrate(host.cluster.url(host.name), "up")
    assert done.returncode == 0, done.stdout + done.stderr


def old_lead(host, workspace, days=1, email="a@example.com"):
    """A lead that is so many days old."""
    return host.value("insert into leads (workspace_id, email, created_at) values (%s, %s, now() - %s * interval '1 day') returning id",
                      workspace, email, days)


def new_workspace(host):
    return host.value("insert into workspaces default values returning id")


def test_the_oldest_lead_of_an_identity_holds_it(host):
    """However the ids fall into batches; none past its time to live; blank identities hold nothing."""
    a, b = new_workspace(host), new_workspace(host)
    for days, workspace in ((3, a), (60, b), (20, a), (91, a)):
        old_lead(host, workspace, days)
    old_lead(host, a, 200, "gone@example.com")
    old_lead(host, a, 5, None)
    host.execute("insert into leads (workspace_id, email) select %s, n || '@example.com' from generate_series(1, 5000) n", a)
    up(host)
    claim = host.claim(host.value("select generate_dedupe_hash('a@example.com', null, null, null, null)"))
    assert host.value("select round(extract(epoch from now() - created_at) / 86400) from leads where id = %s", claim.lead_id) == 60
    assert claim.workspace_id == b
    assert host.value("select %s = created_at + interval '90 days' from leads where id = %s", claim.expires_at, claim.lead_id)
    assert host.value("select count(*) from lead_dedupe_claims") == 5001


def test_a_new_copy_of_an_old_lead_is_a_duplicate(host):
    a, b = new_workspace(host), new_workspace(host)
    first = old_lead(host, a)
    up(host)
    copy = host.lead(b, email="A@example.com ")
    row = host.decide(host.decision(copy, destination=a))[1]
    assert (row.result, row.duplicate_lead_id) == ("duplicate", first)


def test_old_leads_are_final_but_the_host_may_move_them(host):
    """Not decided here, so the owner may change; never routed here, so the state may not."""
    a, b = new_workspace(host), new_workspace(host)
    lead = old_lead(host, a)
    up(host)
    host.execute("update leads set workspace_id = %s, email = 'b@example.com' where id = %s", b, lead)
    state = host.state(lead)
    assert (state.workspace_id, state.source_workspace_id, state.routing_status) == (b, a, "routed")
    for change in ("routing_status = 'pending', routing_attempts = 1", "decision_id = gen_random_uuid()", "decided_outcome = 'success'"):
        with pytest.raises(psycopg2.errors.CheckViolation):
            host.execute(f"update leads set {change} where id = %s", lead)
    assert not host.value("select acquire_routing_lock(%s, %s)", lead, uuid.uuid4())
    assert host.decide(host.decision(lead, destination=b)) == {}


def test_leads_without_a_workspace(host):
    """An old one stays and can be written; a new one is refused: it could never be routed."""
    lead = old_lead(host, None)
    up(host)
    host.execute("update leads set email = 'b@example.com' where id = %s", lead)
    assert host.state(lead).source_workspace_id is None
    assert host.value("select count(*) from lead_dedupe_claims") == 0
    with pytest.raises(psycopg2.errors.CheckViolation, match="leads_source_workspace_check"):
        host.execute("insert into leads (email) values ('c@example.com')")


def test_a_decided_lead_does_not_lose_its_workspace(host):
    """Where the host's table allows NULL the guard must not take it for no change."""
    a = new_workspace(host)
    up(host)
    lead = host.lead(a)
    host.decide(host.decision(lead, destination=a))
    with pytest.raises(psycopg2.errors.CheckViolation):
        host.execute("update leads set workspace_id = null where id = %s", lead)


def test_the_host_writes_while_its_leads_are_filled_in(host):
    """The backfill is stopped in its middle by a trigger of the host's. Old leads that it has not reached can be changed, and
    new ones inserted; afterwards all are filled in, with what was written last."""
    a = new_workspace(host)
    lead = old_lead(host, a)
    host.execute(f"""
        create function slow() returns trigger language plpgsql as $$
        begin
            if current_setting('host.is_quick', true) is distinct from 'yes' then
                perform pg_advisory_xact_lock({A_LOCK});
            end if;
            return new;
        end $$;
        create trigger slow before update on leads for each row execute function slow()""")
    holder = host.session()
    holder.execute("select pg_advisory_lock(%s)", A_LOCK)
    migration = host.in_background(migrate, host.cluster.url(host.name), "up")
    wait_until(lambda: migration.done() or host.value(
        "select count(*) from pg_locks where locktype = 'advisory' and objid = %s and not granted"
        " and database = (select oid from pg_database where datname = current_database())", A_LOCK), "the backfill")
    assert not migration.done(), migration.result()
    host.execute("set host.is_quick = 'yes'")
    assert host.state(lead).source_workspace_id is None, "not reached yet"
    host.execute("update leads set email = 'changed@example.com' where id = %s", lead)
    new = host.lead(a, email="new@example.com")
    holder.execute("select pg_advisory_unlock(%s)", A_LOCK)
    done = migration.result(PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (host.state(lead).source_workspace_id, host.state(lead).routing_status) == (a, "routed")
    assert host.state(lead).dedupe_hash == host.value("select generate_dedupe_hash('changed@example.com', null, null, null, null)")
    assert (host.state(new).source_workspace_id, host.state(new).routing_status) == (a, "pending")
