"""Goal: an installed libleadrouter-client builds a stranger's program (CMake, pkg-config, shared, static, C++), shows nothing but its own
names, and calls again what may be called again: no more often, no longer, and not what would be done twice."""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import threading

import grpc
import pytest

from support.certificates import Authority
from support.guides import documents, run_script, scripts
from support.http2 import END_HEADERS, END_STREAM, HEADERS, Answerer, frame, headers_of
from support.postgres import BUILD, ROOT
from support.server import Server
from support.stubs import (leads_pb2, leads_pb2_grpc, routing_pb2, routing_pb2_grpc, rules_pb2, rules_pb2_grpc, workspaces_pb2,
                           workspaces_pb2_grpc)

pytestmark = [pytest.mark.shipped, pytest.mark.xdist_group("client_library")] # builds the examples
PARTNER = "00000000-0000-4000-8000-000000000001"
DESK = "00000000-0000-4000-8000-000000000003"
LEAD = "00000000-0000-4000-8000-0000000000ff"
EXAMPLES = ("create_leads", "route_lead", "route_stream")
HERE = pathlib.Path(__file__).parent / "client_library"
PATIENCE_S = 120
WARNINGS = ["-std=c17", "-Wall", "-Wextra", "-Werror"]
# Functions that are the library's, and what is generated from the protocol.
PUBLIC = re.compile(r"leadrouter_\w+|google__protobuf__timestamp__\w+")

RULES = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id) values
    ('{PARTNER}', 'Germans', '{{"countries": ["DE"]}}', '{DESK}');
"""


def run(*words, check=True, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=PATIENCE_S, **options)
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """A scratch prefix with the library installed, and nothing else."""
    prefix = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--prefix", prefix, "--component", "client")
    return prefix


@pytest.fixture(scope="module")
def examples(prefix, tmp_path_factory):
    """The folder of the examples, built by CMake against what was installed."""
    build = tmp_path_factory.mktemp("examples")
    run("cmake", "-S", ROOT / "client/examples", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_C_FLAGS=" + " ".join(WARNINGS))
    run("cmake", "--build", build)
    return build


def pkg_config(prefix, *words):
    pc, = prefix.rglob("leadrouter-client.pc")
    return run("pkg-config", *words, "leadrouter-client", env={**os.environ, "PKG_CONFIG_PATH": str(pc.parent)}).stdout.split()


def compile_with_pkg_config(prefix, source, out, compiler="cc", flags=()):
    run(compiler, *flags, source, "-o", out, *pkg_config(prefix, "--cflags", "--libs"), f"-Wl,-rpath,{library(prefix).parent}")
    return out


def library(prefix):
    return next(prefix.rglob("libleadrouter-client.so"))


@pytest.fixture(scope="module")
def probe(prefix, tmp_path_factory):
    return compile_with_pkg_config(prefix, HERE / "probe.c", tmp_path_factory.mktemp("probe") / "probe", flags=WARNINGS)


def names(*words):
    return [line.split()[-1].split("@")[0] for line in run("nm", *words).stdout.splitlines() if re.match(r"[0-9a-f]+ [TDBRVW] ", line)]


def test_commands_of_the_readme(server, sql, tmp_path):
    """From client/README.md: installed, compiled and run as a stranger does."""
    sql(RULES)
    lead = leads_pb2.NewLead(email="bea@example.com", country="DE")
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[lead]), timeout=PATIENCE_S)
    commands, = scripts("client/README.md", {"build/release": BUILD, "client/examples": ROOT / "client/examples"})
    said = run_script(f"{commands}./route_lead {server.address} {created.results[0].lead_id} {PARTNER}", cwd=tmp_path,
                      PREFIX=tmp_path / "prefix")
    assert "\nROUTING_OUTCOME_ROUTED: " in said


def test_c_in_documents_compiles(prefix, tmp_path):
    found = 0
    for page in documents():
        for block in re.findall(r"^```c\b.*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            (tmp_path / "block.c").write_text(block, encoding="utf-8")
            run("cc", *WARNINGS, "-fsyntax-only", *pkg_config(prefix, "--cflags"), tmp_path / "block.c")
            found += 1
    assert found >= 2 # of client/README.md and docs/clients.md


def test_only_its_own_names_are_shown(prefix):
    shared = names("-D", "--defined-only", library(prefix))
    static = names("-g", "--defined-only", next(prefix.rglob("libleadrouter-client.a")))
    assert "leadrouter_connect" in shared and "leadrouter__v1__routing_service__route_lead" in shared
    assert [name for name in shared + static if not PUBLIC.fullmatch(name)] == []
    assert sorted(shared) == sorted(static)


def test_every_declared_function_is_there(prefix):
    header = (prefix / "include/leadrouter-client/leadrouter.h").read_text(encoding="utf-8")
    declared = set(re.findall(r"\b(leadrouter_[a-z_]+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S)))
    shared = set(names("-D", "--defined-only", library(prefix)))
    assert declared == {name for name in shared if re.match("leadrouter_[a-z]", name)}


def test_soname_is_versioned(prefix):
    assert "[libleadrouter-client.so.0]" in run("readelf", "-d", library(prefix)).stdout
    assert library(prefix).resolve().name == "libleadrouter-client.so.0.1.0"
    assert "LEADROUTER_0" in run("readelf", "--version-info", library(prefix)).stdout


def test_headers_stand_alone(prefix, tmp_path):
    """Each header by itself, in strict C17; the main one in C++ as well."""
    include = prefix / "include/leadrouter-client"
    for header in sorted(include.rglob("*.h")):
        name = header.relative_to(include)
        source = tmp_path / "alone.c"
        source.write_text(f'#include "{name}"\n', encoding="utf-8")
        run("cc", *WARNINGS, "-Wpedantic", "-fsyntax-only", *pkg_config(prefix, "--cflags"), source)
    run(compile_with_pkg_config(prefix, HERE / "header.cc", tmp_path / "header", compiler="c++", flags=["-Wall", "-Wextra", "-Werror"]))


def test_examples_work(examples, server, sql):
    sql(RULES)
    for ending in ("", "_static"):
        ids = run(examples / f"create_leads{ending}", server.address, PARTNER).stdout.split()
        routed = run(examples / f"route_lead{ending}", server.address, ids[0], PARTNER).stdout
        first = "ROUTING_OUTCOME_ROUTED" if ending == "" else "ROUTING_OUTCOME_DUPLICATE"
        assert len(ids) == 2 and routed.startswith(f"{first}: ")
        assert (f"destination {DESK}" in routed) == (ending == "")
        answers = run(examples / f"route_stream{ending}", server.address, PARTNER, input="\n".join([*ids, LEAD, "x"]) + "\n").stdout
        told = sorted(answers.splitlines())
        assert [line.split()[0] for line in told] == ["0", "1", "2", "3"]
        assert told[2].startswith("2 NOT_FOUND: ") and told[3].startswith("3 INVALID_ARGUMENT: ")
    assert sql("select count(*) from leads") == [(4,)]


def test_program_of_the_page(prefix, server, sql, tmp_path):
    """What docs/clients.md shows for C: its program, by its commands."""
    page = (ROOT / "docs/clients.md").read_text(encoding="utf-8")
    (tmp_path / "client.c").write_text(re.search(r"```c client\.c\n(.*?)```", page, re.S)[1], encoding="utf-8")
    script = re.search(r"## C\n.*?```sh\n(.*?)```", page, re.S)[1]
    environment = {**os.environ, "LEADROUTER": str(tmp_path / "tree"), "PREFIX": str(prefix), "CFLAGS": ""}
    (tmp_path / "tree/build").mkdir(parents=True)
    (tmp_path / "tree/build/release").symlink_to(BUILD.resolve())
    sql(RULES)
    lead = leads_pb2.NewLead(email="ann@example.com", country="DE")
    created = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[lead]), timeout=PATIENCE_S)

    def client(*words):
        return run("sh", "-ec", script + '\nexec ./client "$@"', "client", *words, cwd=tmp_path, env=environment, check=False)

    routed = client(server.address, PARTNER, created.results[0].lead_id)
    assert (routed.returncode, routed.stdout.splitlines()[-1]) == (0, f"ROUTING_OUTCOME_ROUTED {DESK}")
    unknown = client(server.address, PARTNER, LEAD)
    assert unknown.returncode == 1 and unknown.stderr == "NOT_FOUND: no such lead in that workspace\n"
    assert client("127.0.0.1:1", PARTNER, LEAD).returncode == 75


def test_static_by_pkg_config(prefix, tmp_path):
    archive, = prefix.rglob("libleadrouter-client.a")
    words = [word for word in pkg_config(prefix, "--static", "--cflags", "--libs") if word != "-lleadrouter-client"]
    run("cc", *WARNINGS, ROOT / "client/examples/create_leads.c", archive, "-o", tmp_path / "create_leads", *words)
    assert "libleadrouter" not in run("ldd", tmp_path / "create_leads").stdout
    assert run(tmp_path / "create_leads", check=False).returncode == 2


def test_examples_say_what_is_wrong(examples, server):
    wrong = run(examples / "route_lead", server.address, "x", PARTNER, check=False)
    assert wrong.returncode == 1 and wrong.stderr.startswith("route_lead: INVALID_ARGUMENT: lead_id")
    far = run(examples / "route_lead", "192.0.2.1:1", LEAD, PARTNER, check=False)
    assert far.returncode == 1 and "need TLS" in far.stderr
    lost = run(examples / "route_lead", server.address, LEAD, PARTNER, "/nowhere/ca.pem", "c", "k", check=False)
    assert lost.returncode == 1 and "/nowhere/ca.pem" in lost.stderr


def test_tls(examples, cluster, database, sql, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth")
    own, own_key = authority.issue("client", "DNS:caller", "clientAuth")
    flags = ["--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", authority.file]
    sql(RULES)
    with Server(cluster.service_url(database), *map(str, flags)) as server:
        answer = run(examples / "route_lead", server.address, LEAD, PARTNER, authority.file, own, own_key, check=False)
        assert answer.stderr.startswith("route_lead: NOT_FOUND: ")
        plain = run(examples / "create_leads", server.address, PARTNER, check=False)
        assert plain.returncode == 1 and "UNAVAILABLE" in plain.stderr


class Failing(routing_pb2_grpc.RoutingServiceServicer, leads_pb2_grpc.LeadServiceServicer, rules_pb2_grpc.RuleServiceServicer,
              workspaces_pb2_grpc.WorkspaceServiceServicer):
    """Ends the first `failures` calls with `code`, and counts all."""

    def __init__(self, code, failures, push_back_ms=None):
        self.code, self.failures, self.push_back_ms = code, failures, push_back_ms
        self.calls = 0
        self.lock = threading.Lock()

    def _answer(self, context, response):
        with self.lock:
            self.calls += 1
            fails = self.calls <= self.failures
        if fails:
            if self.push_back_ms is not None:
                context.set_trailing_metadata([("grpc-retry-pushback-ms", str(self.push_back_ms))])
            context.abort(self.code, "not now")
        return response

    def RouteLead(self, request, context):
        return self._answer(context, routing_pb2.RouteLeadResponse())

    def CreateLeads(self, request, context):
        return self._answer(context, leads_pb2.CreateLeadsResponse())

    def CreateRule(self, request, context):
        return self._answer(context, rules_pb2.CreateRuleResponse())

    def CreateWorkspace(self, request, context):
        return self._answer(context, workspaces_pb2.CreateWorkspaceResponse())


@pytest.fixture
def failing():
    """Starts a server that fails as told: failing(code, failures) gives it and its address."""
    servers = []

    def start(*words, **fields):
        service = Failing(*words, **fields)
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=2))
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(service, server)
        leads_pb2_grpc.add_LeadServiceServicer_to_server(service, server)
        rules_pb2_grpc.add_RuleServiceServicer_to_server(service, server)
        workspaces_pb2_grpc.add_WorkspaceServiceServicer_to_server(service, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return service, f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait(PATIENCE_S)


UNAVAILABLE, EXHAUSTED, ABORTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED
CANCELLED = grpc.StatusCode.CANCELLED


@pytest.mark.parametrize(("call", "mode", "code", "failures", "status", "calls"), [
    ("route", "", UNAVAILABLE, 2, "OK", 3),
    ("route", "", EXHAUSTED, 2, "OK", 3),
    ("route", "", UNAVAILABLE, 99, "UNAVAILABLE", 5),
    ("route", "", CANCELLED, 2, "OK", 3),
    ("route", "", ABORTED, 99, "ABORTED", 1),
    ("route", "no_retries", UNAVAILABLE, 99, "UNAVAILABLE", 1),
    ("create", "", UNAVAILABLE, 99, "UNAVAILABLE", 1),
    ("create", "", CANCELLED, 99, "CANCELLED", 1),
    ("create", "", EXHAUSTED, 1, "OK", 2),
    ("create", "creates_are_repeatable", UNAVAILABLE, 1, "OK", 2),
    ("create", "no_retries", EXHAUSTED, 99, "RESOURCE_EXHAUSTED", 1),
    ("rule", "", UNAVAILABLE, 99, "UNAVAILABLE", 1),
    ("rule", "", EXHAUSTED, 1, "OK", 2),
    ("rule", "creates_are_repeatable", UNAVAILABLE, 99, "UNAVAILABLE", 1),
    ("rule", "creates_are_repeatable", CANCELLED, 99, "CANCELLED", 1),
    ("workspace", "", UNAVAILABLE, 99, "UNAVAILABLE", 1),
    ("workspace", "creates_are_repeatable", CANCELLED, 99, "CANCELLED", 1),
])
def test_retries(probe, failing, call, mode, code, failures, status, calls):
    service, address = failing(code, failures)
    told = run(probe, address, call, 60000, *[mode] if mode else []).stdout
    assert told.startswith(f"{status}: ")
    assert service.calls == calls


def test_retries_stop_at_the_deadline(probe, failing):
    """A push-back beyond the deadline: the call ends when its time does, and is not made again."""
    service, address = failing(UNAVAILABLE, 99, push_back_ms=60000)
    assert run(probe, address, "route", 500).stdout.startswith("DEADLINE_EXCEEDED: ")
    assert service.calls == 1


def test_an_answer_without_a_status(probe):
    """It ends the process in the core's retries (SECURITY.md); without them it is a status like others."""
    with Answerer(lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, headers_of(status="200"))) as server:
        assert run(probe, server.address, "route", 5000, "no_retries").stdout.startswith("UNKNOWN: ")


def test_push_back_ends_retries(probe, failing):
    service, address = failing(UNAVAILABLE, 99, push_back_ms=-1)
    assert run(probe, address, "route", 60000).stdout.startswith("UNAVAILABLE: ")
    assert service.calls == 1
