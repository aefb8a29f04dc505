"""Goal: the systemd unit takes away nothing that leadrouterd uses. A systemd runs the very file of deploy/, but for where its program and
its files are; and a call of the kernel that the filter does not let through ends the program instead of being refused, so that none is
overlooked."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import uuid

import grpc
import pytest

from support import systemd
from support.jobs import run_job
from support.ports import free_address
from support.postgres import LEADROUTERD, ROOT, Postgres, migrate
from support.product_cluster import wait_until
from support.stubs import (leads_pb2, leads_pb2_grpc, maintenance_pb2, maintenance_pb2_grpc, routing_pb2, routing_pb2_grpc, rules_pb2,
                           rules_pb2_grpc, workspaces_pb2, workspaces_pb2_grpc)
from support.tokens import AUDIENCE, SERVICE, jwks, metadata, token

UNIT = (ROOT / "deploy/systemd/leadrouterd.service").read_text()
NAME = "leadrouterd.service"
WORKSPACE = "00000000-0000-4000-8000-000000000001"
CALL_S = 30
# Beyond what the unit says.
STRICT = """
[Service]
SystemCallErrorNumber=kill
StandardOutput=append:/run/here/leadrouterd.log
StandardError=append:/run/here/leadrouterd.log
"""


@pytest.fixture(scope="module", autouse=True)
def a_systemd():
    if reason := systemd.why_not():
        pytest.skip(reason)


def unit(*changes):
    """The shipped file with its program and its secrets where they are here."""
    text = UNIT
    for old, new in (*changes, ("/usr/bin/leadrouterd", "/run/here/leadrouterd"), ("/etc/leadrouter", "/run/here")):
        text = text.replace(old, new)
    return text + STRICT


@pytest.fixture
def place(tmp_path):
    """A directory that the unit finds as /run/here, which everybody may enter."""
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    shutil.copy(LEADROUTERD, tmp_path / "leadrouterd")
    (tmp_path / "address").write_text(free_address())
    return tmp_path


class Service:
    """The unit as it runs."""

    def __init__(self, place, systemd):
        self.place, self.systemd = place, systemd
        self.address = (place / "address").read_text()
        try:
            wait_until(lambda: self.events("server.started"), "the server does not start")
        except AssertionError:
            raise AssertionError(self.text() + (place / "systemd.log").read_text()) from None
        self.channel = grpc.insecure_channel(self.address)
        self.routing = routing_pb2_grpc.RoutingServiceStub(self.channel)
        self.leads = leads_pb2_grpc.LeadServiceStub(self.channel)
        self.maintenance = maintenance_pb2_grpc.MaintenanceServiceStub(self.channel)

    def text(self):
        log = self.place / "leadrouterd.log"
        return log.read_text() if log.exists() else ""

    def events(self, name):
        lines = [json.loads(line) for line in re.findall(r"^\{.*\}$", self.text(), re.M)]
        return [line for line in lines if line["event"] == name]

    def check_is_closed(self):
        process, = self.systemd.processes("/run/here/leadrouterd")
        status = pathlib.Path(f"/proc/{process}/status").read_text()
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.M) and re.search(r"^Seccomp:\s+2$", status, re.M)
        assert re.search(r"^CapEff:\s+0+$", status, re.M) and not re.search(r"^Uid:.*\b0\b", status, re.M)

    def work(self, credentials=None):
        """What a server does: leads of every kind, an import, jobs, retries, health."""
        options = {"timeout": CALL_S, "metadata": metadata(credentials)}
        made = self.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=WORKSPACE, route=True, leads=[
            leads_pb2.NewLead(email=f"{uuid.uuid4()}@example.com", country="DE") for _ in range(50)]), **options)
        assert {result.routing.destination_workspace_id for result in made.results} == {WORKSPACE}
        lead = made.results[0].lead_id
        messages = [routing_pb2.RouteLeadsRequest(index=i, lead=routing_pb2.RouteLeadRequest(
            lead_id=result.lead_id, source_workspace_id=WORKSPACE)) for i, result in enumerate(made.results)]
        assert len(list(self.routing.RouteLeads(iter(messages), **options))) == 50
        rows = leads_pb2.ImportRows(rows=[leads_pb2.ImportRow(number=1, lead=leads_pb2.NewLead(email="i@example.com", country="DE"))])
        ended = list(self.leads.ImportLeads(iter([
            leads_pb2.ImportLeadsRequest(start=leads_pb2.ImportStart(workspace_id=WORKSPACE, route=True)),
            leads_pb2.ImportLeadsRequest(rows=rows), leads_pb2.ImportLeadsRequest(end=leads_pb2.ImportEnd())]), **options))
        assert ended[-1].WhichOneof("part") == "import"
        self.leads.EraseLead(leads_pb2.EraseLeadRequest(lead_id=lead, workspace_id=WORKSPACE), **options)
        for job in self.maintenance.ListJobs(maintenance_pb2.ListJobsRequest(), **options).jobs:
            if job.name != "retries":
                run_job(self.maintenance, job.name, options["metadata"])
        self.routing.ProcessRetries(routing_pb2.ProcessRetriesRequest(limit=10), **options)
        assert not self.maintenance.VerifyAudit(maintenance_pb2.VerifyAuditRequest(), **options).findings
        assert self.routing.Health(routing_pb2.HealthRequest(), **options).schema_version == 1

    def stop(self):
        """Stopped by systemd, in order: nothing was killed, by the filter least of all."""
        self.channel.close()
        self.systemd.ctl("stop", NAME)
        assert self.events("server.stopped"), self.text()
        assert self.systemd.property(NAME, "Result") == "success", (self.place / "systemd.log").read_text()
        assert self.systemd.property(NAME, "NRestarts") == "0", self.text()
        assert (self.systemd.property(NAME, "ExecMainCode"), self.systemd.property(NAME, "ExecMainStatus")) == ("1", "0") # exited


ROWS = f"""
insert into workspaces (id, name) values ('{WORKSPACE}', 'Partner');
insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name, conditions)
values ('{WORKSPACE}', '{WORKSPACE}', 'Germany', '{{"countries": ["DE"]}}');
"""


@pytest.fixture
def postgres():
    with Postgres() as postgres:
        postgres.let_in()
        os.chmod(postgres.socket, 0o755)
        os.chmod(f"{postgres.socket}/.s.PGSQL.5432", 0o777)
        yield postgres


def test_beside_a_database(place, postgres):
    """With the database's URL as a credential, token keys as another, over a Unix socket."""
    name = postgres.database()
    assert migrate(postgres.url(name), "up").returncode == 0
    connection = postgres.connect(name)
    connection.cursor().execute(ROWS)
    connection.close()
    jwks(place / "keys.json").chmod(0o600)
    (place / "database").write_text(f"host=/run/here/socket user=leadrouter_service dbname={name}")
    (place / "database").chmod(0o600)
    (place / "leadrouterd.env").write_text(f"LEADROUTER_LISTEN={(place / 'address').read_text()}\n"
                                           f"LEADROUTER_TOKEN_AUDIENCE={AUDIENCE}\n")
    keys = "LoadCredential=keys:/run/here/keys.json\nEnvironment=LEADROUTER_TOKEN_KEYS=%d/keys\n"
    text = unit(("LoadCredential=database", keys + "LoadCredential=database"))
    with systemd.Systemd(place, {NAME: text}, postgres.socket) as manager:
        service = Service(place, manager)
        service.check_is_closed()
        service.work(token(uuid.uuid4(), SERVICE))
        for _ in range(3): # it is well when systemctl says that it has been started: the next server's turn
            assert manager.ctl("restart", NAME).returncode == 0
            socket.create_connection(service.address.rsplit(":", 1)).close()
        assert len(service.events("server.started")) == 4
        service.stop()


def test_with_a_database_of_its_own(place):
    """As deploy/README.md says; PostgreSQL stands under the same filter."""
    (place / "leadrouterd.env").write_text(f"LEADROUTER_LISTEN={(place / 'address').read_text()}\n")
    text = unit(("LoadCredential=database:/etc/leadrouter/database\nEnvironment=LEADROUTER_DATABASE_FILE=%d/database\n",
                 "StateDirectory=leadrouter\n"), ("leadrouterd serve", "leadrouterd serve --embedded /var/lib/leadrouter"))
    with systemd.Systemd(place, {NAME: text}) as manager:
        service = Service(place, manager)
        service.check_is_closed()
        made = workspaces_pb2_grpc.WorkspaceServiceStub(service.channel).CreateWorkspace(
            workspaces_pb2.CreateWorkspaceRequest(workspace=workspaces_pb2.Workspace(
                id=WORKSPACE, name="Partner", type=workspaces_pb2.WORKSPACE_TYPE_PARTNER, is_active=True)), timeout=CALL_S)
        assert made.workspace.id == WORKSPACE
        rules_pb2_grpc.RuleServiceStub(service.channel).CreateRule(rules_pb2.CreateRuleRequest(workspace_id=WORKSPACE, rule=rules_pb2.Rule(
            name="Germany", conditions_json='{"countries": ["DE"]}', destination_workspace_id=WORKSPACE, is_active=True)), timeout=CALL_S)
        service.work()
        service.stop()


def test_what_starting_again_may_mend(place):
    """A server that cannot start is started again without an end; one that was told nonsense is not."""
    (place / "database").write_text("") # no URL in it: it ends at once, with 1
    often = unit(("RestartSec=1\n", "RestartSec=10ms\n"))
    with systemd.Systemd(place, {NAME: often}) as manager:
        wait_until(lambda: int(manager.property(NAME, "NRestarts") or 0) > 10, "systemd gives it up")
        (place / "leadrouterd.env").write_text("LEADROUTER_LANES=none\n")
        wait_until(lambda: manager.property(NAME, "SubState") == "failed", "systemd does not give it up")
        assert manager.property(NAME, "ExecMainStatus") == "2"


def test_the_filter_ends_what_it_does_not_let_through(place):
    """What the tests above rely on: a program that calls chroot under the same lines is ended by the kernel."""
    (place / "database").write_text("")
    text = unit(("/usr/bin/leadrouterd serve", "/usr/sbin/chroot / /bin/true"), ("Restart=always", "Restart=no"),
                ("Type=notify", "Type=exec"))
    with systemd.Systemd(place, {NAME: text}) as manager:
        wait_until(lambda: manager.property(NAME, "SubState") in ("failed", "dead"), "the program does not end")
        assert manager.property(NAME, "ExecMainStatus") == str(int(signal.SIGSYS)), manager.ctl("status", NAME).stdout
