"""Goal: the checklist of docs/migrations.md works as it stands, on a host application's database: the copy, up and verify, and the three
kinds of roll-back, after each of which the host goes on."""
import pathlib
import re

import pytest

from support.admin import address_of
from support.guides import BLOCK, run_script, scripts, text_of
from support.ports import free_address
from support.postgres import Postgres
from support.product_cluster import wait_until
from support.retries import route
from support.server import Server, wait_ready
from support.stubs import routing_pb2

PAGE = "docs/migrations.md"
ONE = "00000000-0000-4000-8000-000000000001"

HOST = f"""
create table workspaces (id uuid primary key default gen_random_uuid(), label text);
create table user_workspaces (user_id uuid, workspace_id uuid, primary key (user_id, workspace_id));
create table leads (id uuid primary key default gen_random_uuid(), workspace_id uuid not null, email text, note text);
insert into workspaces (id, label) values ('{ONE}', 'one');
insert into leads (workspace_id, email) select '{ONE}', n || '@example.com' from generate_series(1, 20) n;
"""
INSERT = f"insert into leads (workspace_id, email) values ('{ONE}', '{{}}') returning id::text"


@pytest.fixture
def postgres():
    with Postgres() as postgres:
        postgres.let_in()
        yield postgres


def test_the_checklist(postgres, tmp_path):
    name = postgres.database()
    _, restore, migrate, rehearse, during, after, reasons, retries_off, everything = scripts(PAGE)
    by_hand = [text for by_hand, text in BLOCK.findall(text_of("migrations.md")) if by_hand]
    assert by_hand == ["systemctl stop leadrouterd\n"] # needs systemd; done by a signal below
    environment = {"DATABASE": postgres.url(name), "COPY": postgres.url("copy"), "BACKUP": tmp_path / "backup",
                   "AUDIT": tmp_path / "audit", "REHEARSAL": free_address()}

    def sql(statement, database=name):
        connection = postgres.connect(database)
        with connection.cursor() as cursor:
            cursor.execute(statement)
            rows = cursor.fetchall() if cursor.description else None
        connection.close()
        return rows

    def run(text):
        return run_script(text, **environment)

    def columns(database):
        return sql("select attname from pg_attribute where attrelid = 'leads'::regclass and attnum > 0 and not attisdropped", database)

    def status(email):
        return sql(f"select routing_status from leads where email = '{email}'")

    sql(HOST)
    hosts_own = columns(name)
    run(restore)
    assert "leads that are routed: 20" in run(migrate) and len(columns("copy")) > len(hosts_own)
    printed = run(rehearse)
    assert re.search("retries (is|are) paused.*retries runs again.* routed +\\| +20\n.*schema version 0", printed, re.DOTALL), printed
    assert '"server.stopped"' in pathlib.Path(f"{environment['BACKUP']}.log").read_text(encoding="utf-8")
    assert columns("copy") == hosts_own == columns(name) and sql("select count(*) from leads", "copy") == [(20,)]
    sql(INSERT.format("copy@example.com"), "copy")
    assert "leads that are routed: 20" in run(during)

    # Retries off: calls are answered, what has to be tried again waits; and until it is let go.
    with Server(postgres.url(name, "leadrouter_service"), "--admin-listen", "127.0.0.1:0") as server:
        wait_ready(server)
        environment["LEADROUTER_TARGET"], environment["ADMIN"] = server.address, "http://%s:%d" % address_of(server)
        run(after)
        assert "55P03" in run(reasons) and "timed_out" in run(reasons)
        run(retries_off)
        lead, = sql(INSERT.format("refused@example.com"))[0]
        assert route(server, lead, ONE).outcome == routing_pb2.ROUTING_OUTCOME_QUEUED_FOR_RETRY
        sql("update lead_routing_queue set next_retry_at = now() - interval '1 minute'")
        sql("insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
            f" values ('{ONE}', 'all', '{{}}', '{ONE}')")
        lead, = sql(INSERT.format("called@example.com"))[0]
        assert route(server, lead, ONE).outcome == routing_pb2.ROUTING_OUTCOME_ROUTED
        assert status("refused@example.com") == [("pending",)]
        run("leadctl jobs resume retries")
        wait_until(lambda: status("refused@example.com") == [("routed",)], "not tried again")
        assert server.stop() == 0

    # Servers off: the host goes on, and a server that is back decides what came meanwhile.
    sql(INSERT.format("meanwhile@example.com"))
    assert status("meanwhile@example.com") == [("pending",)]
    sql("set session_replication_role = replica;"
        " update leads set created_at = now() - interval '2 minutes' where email = 'meanwhile@example.com'")
    with Server(postgres.url(name, "leadrouter_service")) as server:
        environment["LEADROUTER_TARGET"] = server.address
        run("leadctl jobs run lost_leads")
        wait_until(lambda: status("meanwhile@example.com") == [("routed",)], "not found")
        assert server.stop() == 0

    # Everything: what is left is the host's.
    assert "schema version 0" in run(everything)
    assert pathlib.Path(environment["AUDIT"]).stat().st_size > 0
    assert columns(name) == hosts_own and sql("select count(*) from leads") == [(23,)]
    sql(INSERT.format("after@example.com"))


def test_taking_over_step_by_step(postgres):
    """The example of a host whose role would lose sight of rows: it is named, and taken over all the same where that is said."""
    name = postgres.database()
    connection = postgres.connect(name)
    connection.cursor().execute(HOST + "create role reports; grant select on leads to reports, public")
    assert "reports" in run_script(scripts(PAGE)[0], DATABASE=postgres.url(name))
    cursor = connection.cursor()
    cursor.execute("select relforcerowsecurity from pg_class where oid = 'leads'::regclass")
    assert cursor.fetchall() == [(True,)]
    cursor.execute("revoke all on leads from reports; drop role reports")
    connection.close()
