"""Goal: the commands of docs/clients.md make clients, and each client routes a lead of a running leadrouterd, prints what
stands there, tries again when it should and only then, and speaks TLS."""
import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import grpc
import pytest

from support.certificates import Authority
from support.groups import together
from support.postgres import ROOT
from support.product_cluster import wait_until
from support.server import Server
from support.stubs import leads_pb2, leads_pb2_grpc, routing_pb2, routing_pb2_grpc

PAGE = ROOT / "docs/clients.md"
PROGRAMS = {"Python": ("protoc", "grpc_python_plugin"), "Go": ("go", "protoc"), "TypeScript": ("node", "npm", "npx")}
FETCHES = re.compile(r"^(?:\w+=\S+ )*(?:npm install|go install|go get) .*$", re.MULTILINE)
NOT_FETCHED = 77
LATER = 75
ADDRESS = "127.0.0.1:7450"
PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000003"
LEAD = "00000000-0000-4000-a000-00000000000{}"
ATTEMPTS_MAX = 5
DEADLINE_S = 5
CLOCK_S = 0.005  # libraries count in milliseconds, and by clocks of their own
PUSHBACK_MS = 600 # longer than any first or second back-off of the page
TIMEOUT_S = 60
BUILD_TIMEOUT_S = 600
FETCH_TIMEOUT_S = 180

DATA = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (id, workspace_id, rule_name, conditions, destination_workspace_id) values
    ('00000000-0000-4000-9000-000000000001', '{PARTNER}', 'Germans', '{{"countries": ["DE"]}}', '{DESK}');
insert into leads (id, workspace_id, email, country)
    select format('{LEAD.format('%s')}', n)::uuid, '{PARTNER}', format('person%s@example.com', n), 'DE' from generate_series(1, 3) n;
"""


def blocks(text):
    """(words after the language, content) of each fenced block, by language."""
    found = {}
    for language, words, content in re.findall(r"^```(\w+) ?(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
        found.setdefault(language, []).append((words, content))
    return found


def service_config():
    """(file name, content) of the page's service config."""
    block, = blocks(section("What all of them do"))["json"]
    return block


def section(name):
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))[name]


class Client:
    """The client that a section of the page makes, made in a directory of its own; skips, and says why, where it cannot be."""

    def __init__(self, language, directory):
        page = blocks(section(language))
        (_, self.setup), = page.pop("sh")
        (_, console), = page.pop("console")
        command, self.expected = re.fullmatch(r"\$ (.*)\n((?:.*\n)+)", console).groups()
        self.words = shlex.split(command)
        self.directory = directory / "client"
        self.directory.mkdir()
        programs = directory / "programs"
        programs.mkdir()
        (programs / "python3").symlink_to(sys.executable)
        self.environment = {**os.environ, "LEADROUTER": str(ROOT), "NO_PROXY": "*", "no_proxy": "*",
                            "PATH": f"{programs}:{os.environ['PATH']}:/usr/local/go/bin"}
        sources = [block for found in page.values() for block in found]
        assert len(sources) == 1, "one program"
        for name, content in [service_config(), *sources]:
            (self.directory / name).write_text(content, encoding="utf-8")
        self._make(language)

    def _make(self, language):
        for program in PROGRAMS[language]:
            if not shutil.which(program, path=self.environment["PATH"]):
                pytest.skip(f"{language}: {program} is not installed")
        say = lambda match: (f"{ROOT}/tools/try-again {FETCH_TIMEOUT_S} env {match[0]} ||"
                             f" {{ echo {shlex.quote(f'{language}: could not fetch: {match[0]}')}; exit {NOT_FETCHED}; }}")
        script = FETCHES.sub(say, self.setup)
        done = subprocess.run(["sh", "-ec", script], cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_TIMEOUT_S)
        if done.returncode == NOT_FETCHED:
            pytest.skip(done.stdout.strip().splitlines()[-1])
        assert done.returncode == 0, f"{self.setup}\nended with {done.returncode}:\n{done.stdout}"

    def start(self, *words):
        """The program with these words instead of the page's: exit code, standard output, standard error."""
        at = self.words.index(ADDRESS)
        done = subprocess.run([*self.words[:at], *map(str, words)], cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=TIMEOUT_S)
        return done.returncode, done.stdout, done.stderr

    def route(self, address, *more, lead=LEAD.format(1)):
        return self.start(address, PARTNER, lead, *more)


@pytest.fixture(scope="module", params=together("clients_doc", PROGRAMS))
def client(request, tmp_path_factory):
    return Client(request.param, tmp_path_factory.mktemp(request.param))


class Scripted(routing_pb2_grpc.RoutingServiceServicer, leads_pb2_grpc.LeadServiceServicer):
    """A server that ends one call after the other as told, the last way for good; `calls` has (when, time left) of each."""

    def __init__(self, *endings):
        self.endings = endings
        self.calls = []

    def __enter__(self):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(self, self.server)
        leads_pb2_grpc.add_LeadServiceServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(None).wait(TIMEOUT_S)

    # The names are the protocol's.
    def RouteLead(self, request, context):
        self._end(context)
        return routing_pb2.RouteLeadResponse(outcome=routing_pb2.ROUTING_OUTCOME_FAILED, lead_id=request.lead_id, reason="no rule")

    def CreateLeads(self, request, context):
        self._end(context)
        return leads_pb2.CreateLeadsResponse(created=len(request.leads))

    def _end(self, context):
        self.calls.append((time.monotonic(), context.time_remaining()))
        code = self.endings[min(len(self.calls), len(self.endings)) - 1]
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            context.set_trailing_metadata([("grpc-retry-pushback-ms", str(PUSHBACK_MS))])
        if code != grpc.StatusCode.OK:
            context.abort(code, "so the script says")


def status_of(errors):
    """The status in the last line of standard error (gRPC's C core, below Python, may have logged before), as the protocol spells it:
    Go says NotFound."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", errors.splitlines()[-1].split(":")[0]).upper()


def serves(server):
    """Waits until the server has its database."""
    def answers():
        try:
            return server.routing.Health(routing_pb2.HealthRequest(), timeout=TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError:
            return None
    wait_until(answers, "the server serves")
    return server


def test_the_page_is_true(client, server, sql):
    sql(DATA)
    serves(server)
    at = client.words.index(ADDRESS)
    words = [server.address, *client.words[at + 1:]]
    assert client.start(*words) == (0, client.expected, "")
    assert sql("select count(*) from leads where routing_status = 'routed'") == [(1,)]
    code, output, _ = client.start(*words)
    assert code == 0 and output == client.expected.replace("_ROUTED", "_ALREADY_ROUTED", 1)


def test_refusals(client, server, sql, cluster, database):
    sql(DATA)
    serves(server)
    code, output, errors = client.route(server.address, lead="1")
    assert (code, output, status_of(errors)) == (1, "", "INVALID_ARGUMENT") and errors.endswith(": lead_id: not a UUID\n")
    code, output, errors = client.route(server.address, lead=LEAD.format(9))
    assert (code, output, status_of(errors)) == (1, "", "NOT_FOUND")
    connection = cluster.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("begin; select from leads for update")
        code, output, errors = client.route(server.address)
    connection.close()
    assert (code, output, status_of(errors)) == (LATER, "", "ABORTED")
    assert client.start(server.address)[0] == 1


def test_retries(client):
    with Scripted(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OK) as server:
        code, output, errors = client.route(server.address)
    assert (code, output.split()[0], errors) == (0, "ROUTING_OUTCOME_FAILED", "")
    (_, first_left), (second, _), (third, third_left) = server.calls
    assert third - second >= PUSHBACK_MS / 1000 - CLOCK_S, "not before the time that the server named"
    # Half the pause: gRPC's C core sends timeouts rounded.
    assert DEADLINE_S + 1 > first_left and 0 < third_left < first_left - PUSHBACK_MS / 2000, "one deadline for all attempts"


def test_retries_end(client):
    with Scripted(grpc.StatusCode.UNAVAILABLE) as server:
        code, output, errors = client.route(server.address)
    assert (code, output, status_of(errors)) == (LATER, "", "UNAVAILABLE") and errors.endswith(": so the script says\n")
    assert len(server.calls) == ATTEMPTS_MAX


@pytest.mark.parametrize("status, expected", [("ABORTED", LATER), ("DEADLINE_EXCEEDED", LATER), ("INTERNAL", 1), ("PERMISSION_DENIED", 1)])
def test_no_retries_of_others(client, status, expected):
    with Scripted(grpc.StatusCode[status]) as server:
        code, output, errors = client.route(server.address)
    assert (code, output, status_of(errors)) == (expected, "", status) and errors.endswith(": so the script says\n")
    assert len(server.calls) == 1


def test_tls(client, cluster, database, sql, tmp_path):
    sql(DATA)
    ca = Authority(tmp_path)
    foreign = Authority(tmp_path, "foreign")
    certificate, key = ca.issue("server", "DNS:localhost", "serverAuth")
    own = ca.issue("client", "URI:spiffe://example.com/router", "clientAuth")
    flags = ["--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", ca.file,
             "--service-names", "uri:spiffe://example.com/router"]
    with Server(cluster.service_url(database), *map(str, flags), listen="0.0.0.0:0") as server:
        address = "localhost:" + server.address.rsplit(":", 1)[1]
        wait_until(lambda: client.route(address, ca.file, *own)[0] == 0, "the server serves")
        code, output, errors = client.route(address, ca.file, *own)
        assert (code, errors) == (0, "") and output.split()[1] == DESK
        code, output, errors = client.route(address, foreign.file, *own)
        assert (code, output, status_of(errors)) == (LATER, "", "UNAVAILABLE")


@pytest.mark.parametrize("first, expected, attempts", [("UNAVAILABLE", "UNAVAILABLE", 1), ("RESOURCE_EXHAUSTED", "OK", 2)])
def test_leads_are_not_created_twice(first, expected, attempts):
    """By the page's service config; which leads were inserted nobody knows after UNAVAILABLE."""
    with Scripted(grpc.StatusCode[first], grpc.StatusCode.OK) as server:
        with grpc.insecure_channel(server.address, [("grpc.service_config", service_config()[1])]) as channel:
            call = leads_pb2_grpc.LeadServiceStub(channel).CreateLeads.future(leads_pb2.CreateLeadsRequest(), timeout=DEADLINE_S)
            assert call.code().name == expected
    assert len(server.calls) == attempts
