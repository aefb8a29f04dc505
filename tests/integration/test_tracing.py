"""Goal: calls that are to be traced leave spans of what took how long, in the trace of who called, at a collector that is not ours and
reads OpenTelemetry's own messages; and a collector that is away, slow or hangs costs the server nothing but spans."""
import concurrent.futures
import os
import subprocess
import sys
import threading
import time
import uuid

import grpc
import pytest

from support.admin import scrape, value
from support.certificates import Authority
from support.fetched_program import pypi_module
from support.ports import free_address
from support.postgres import LEADROUTERD
from support.process import memory_bytes, own_threads
from support.product_cluster import PATIENCE_S, wait_until
from support.server import Server
from support.stubs import leads_pb2, routing_pb2

PARTNER, DESK = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
ROWS = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner <b>', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)
values ('{PARTNER}', 'all that comes', '{{}}', '{DESK}');
"""
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = (("traceparent", f"00-{TRACE}-{PARENT}-01"),), (("traceparent", f"00-{TRACE}-{PARENT}-00"),)
PHASES = ["wait for a lane", "lock and read", "match", "write and commit"]
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
DEADLINE_S = 30
SOON = ("--trace-interval-ms", "20")
R = routing_pb2


@pytest.fixture(scope="session")
def otlp():
    """OpenTelemetry's own messages, made from its own files."""
    sys.path.insert(0, str(pypi_module("opentelemetry-proto")))
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
    return trace_service_pb2


class Collector:
    """A TraceService in Python: keeps what it is sent; may be told to hang."""

    def __init__(self, otlp, credentials=None, address="127.0.0.1:0"):
        self.otlp, self.requests, self.raw, self.metadata = otlp, [], [], []
        self.hanging, self.let_go = False, threading.Event()
        handler = grpc.unary_unary_rpc_method_handler(self.export, request_deserializer=self.read,
                                                      response_serializer=lambda response: response.SerializeToString())
        generic = grpc.method_handlers_generic_handler(EXPORT.split("/")[1], {"Export": handler})
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), handlers=(generic,), options=[("grpc.so_reuseport", 0)])
        port = self.server.add_secure_port(address, credentials) if credentials else self.server.add_insecure_port(address)
        self.address = f"127.0.0.1:{port}"
        self.server.start()

    def read(self, data):
        self.raw.append(data)
        return self.otlp.ExportTraceServiceRequest.FromString(data)

    def export(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        if self.hanging:
            self.let_go.wait(PATIENCE_S)
        self.requests.append(request)
        return self.otlp.ExportTraceServiceResponse()

    def spans(self):
        return [span for request in list(self.requests) for resource in request.resource_spans for scope in resource.scope_spans
                for span in scope.spans]

    def wait_for(self, count):
        wait_until(lambda: len(self.spans()) >= count, f"not {count} spans")
        return self.spans()

    def stop(self):
        self.let_go.set()
        self.server.stop(None).wait()


@pytest.fixture
def collector(otlp):
    collector = Collector(otlp)
    yield collector
    collector.stop()


@pytest.fixture
def traced(cluster, database, sql, collector):
    """Starts servers that export to the collector."""
    sql(ROWS)
    servers = []

    def start(*flags, endpoint=None):
        server = Server(cluster.service_url(database), "--no-jobs", "--log-sample-per-mille", "1000",
                        "--trace-endpoint", endpoint or collector.address, *flags)
        servers.append(server)
        return server.__enter__()
    yield start
    for server in servers:
        server.__exit__()
        server.check_log()


def new_leads(sql, count=1):
    rows = sql("insert into leads (workspace_id, email, city) select %s, 'jane' || i || '@acme.example', 'Lyon' "
               "from generate_series(1, %s) i returning id", (PARTNER, count))
    return [str(id) for id, in rows]


def route(server, lead, metadata=()):
    return server.routing.RouteLead(R.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=DEADLINE_S, metadata=metadata)


def attributes(span):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def by_name(spans):
    named = {span.name: span for span in spans}
    assert len(named) == len(spans), [span.name for span in spans]
    return named


def test_one_thread_more(traced, collector, cluster, database, sql):
    """Exporting takes one. A second one, that waited in the gRPC core for the collector's answers, would wait for all sockets of the
    process and wake other threads for what comes from callers: half as many context switches again for each call."""
    server = traced("--trace-sample-per-mille", "1000", *SOON)
    with Server(cluster.service_url(database), "--no-jobs") as plain:
        for each, lead in zip((server, plain), new_leads(sql, 2)):
            route(each, lead)
        collector.wait_for(6)
        wait_until(lambda: own_threads(server.process.pid) == own_threads(plain.process.pid) + 1, "another number of threads")


# --- What spans say ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_a_routed_lead(traced, collector, sql):
    server, lead = traced("--trace-sample-per-mille", "0", *SOON), new_leads(sql)[0]
    before = time.time_ns()
    answer = route(server, lead, SAMPLED)
    after = time.time_ns()
    line = server.wait_for("routing.complete")
    assert server.stop() == 0, server.text()
    spans = by_name([span for span in collector.spans() if span.name != "load rules"])
    assert sorted(spans) == sorted([*PHASES, "route lead", "leadrouter.v1.RoutingService/RouteLead"])
    call, decision = spans["leadrouter.v1.RoutingService/RouteLead"], spans["route lead"]
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE} and len({span.span_id for span in spans.values()}) == len(spans)
    assert call.parent_span_id.hex() == PARENT and decision.parent_span_id == call.span_id
    assert {spans[name].parent_span_id for name in PHASES} == {decision.span_id}
    assert (line["trace_id"], line["span_id"]) == (TRACE, call.span_id.hex())
    kinds = [span.kind for span in (call, decision, *(spans[name] for name in PHASES))]
    assert kinds == [2, 1, 1, 3, 1, 3], "server, internal, and two round trips of a client"
    inner = [decision, *(spans[name] for name in PHASES)]
    assert before <= call.start_time_unix_nano and call.end_time_unix_nano <= after
    for span in inner:
        times = [call.start_time_unix_nano, span.start_time_unix_nano, span.end_time_unix_nano, call.end_time_unix_nano]
        assert times == sorted(times), span.name
    ends = [spans[name].end_time_unix_nano for name in PHASES]
    assert ends == sorted(ends)
    assert attributes(call)["rpc.grpc.status_code"] == 0 and attributes(call)["leadrouter.request_id"] == line["request_id"]
    assert {**attributes(decision)} == {
        "leadrouter.lead_id": lead, "leadrouter.workspace_id": PARTNER, "leadrouter.decision_id": answer.decision_id,
        "leadrouter.outcome": "routed", "leadrouter.batch_leads": 1, "leadrouter.attempt": 1}
    source = attributes(collector.requests[0].resource_spans[0].resource)
    assert source["service.name"] == "leadrouterd" and uuid.UUID(source["service.instance.id"])
    stopped = server.events("traces.stopped")[0]
    assert stopped["spans_exported"] == len(collector.spans()) and stopped["spans_dropped"] == 0


def test_nothing_of_people_is_in_spans(traced, collector, sql):
    server = traced("--trace-sample-per-mille", "1000", *SOON)
    for lead in new_leads(sql, 3):
        route(server, lead)
    with pytest.raises(grpc.RpcError):
        request = leads_pb2.CreateLeadsRequest(workspace_id="Lyon", leads=[leads_pb2.NewLead(city="Lyon")])
        server.leads.CreateLeads(request, timeout=DEADLINE_S)
    server.stop()
    assert len(collector.spans()) >= 3 * 6 + 1
    for text in (b"jane", b"acme", b"Lyon", b"Partner", b"comes"):
        assert not any(text in raw for raw in collector.raw), text


def test_who_is_traced(traced, collector, sql):
    """Who says so; nobody who says no; and of those that say nothing, or nothing that can be read, the share."""
    server = traced("--trace-sample-per-mille", "1000", *SOON)
    routed, refused, silent, garbled = new_leads(sql, 4)
    route(server, refused, NOT_SAMPLED)
    route(server, silent)
    route(server, garbled, (("traceparent", f"00-{TRACE.upper()}-{PARENT}-01"),))
    route(server, routed, SAMPLED)
    server.stop()
    decisions = {attributes(span)["leadrouter.lead_id"]: span for span in collector.spans() if span.name == "route lead"}
    assert set(decisions) == {routed, silent, garbled}
    assert decisions[routed].trace_id.hex() == TRACE
    roots = [span for span in collector.spans() if span.name.endswith("RouteLead") and not span.parent_span_id]
    assert len({root.trace_id for root in roots}) == 2 and TRACE not in {root.trace_id.hex() for root in roots}


def test_callers_who_say_that_all_is_sampled(traced, collector, sql):
    """Are believed up to the limit."""
    server = traced("--trace-sample-per-mille", "0", "--trace-parents-per-second", "5", *SOON)
    leads, since = new_leads(sql, 200), time.monotonic()
    calls = [server.routing.RouteLead.future(R.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=DEADLINE_S,
                                             metadata=SAMPLED) for lead in leads]
    for call in calls:
        call.result()
    seconds = time.monotonic() - since
    server.stop()
    assert 5 <= len([span for span in collector.spans() if span.name.endswith("/RouteLead")]) <= 5 * (seconds + 2)


def test_a_call_with_many_leads(traced, collector, sql):
    server = traced("--trace-sample-per-mille", "0", *SOON)
    leads = [leads_pb2.NewLead(external_id=str(i)) for i in range(60)]
    request = leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=leads, route=True)
    server.leads.CreateLeads(request, timeout=DEADLINE_S, metadata=SAMPLED)
    server.stop()
    names = [span.name for span in collector.spans()]
    assert names.count("leadrouter.v1.LeadService/CreateLeads") == 1 and names.count("route lead") == 32


def test_retries_and_failures(traced, collector, sql):
    server = traced("--trace-sample-per-mille", "1000", *SOON)
    sql("update lead_routing_rules set conditions = '{\"field\": \"city\", \"op\": \"eq\", \"value\": \"Nice\"}'")
    lead = new_leads(sql)[0]
    assert route(server, lead).outcome == R.ROUTING_OUTCOME_QUEUED_FOR_RETRY
    sql("update leads set city = 'Nice'")
    sql("update lead_routing_queue set next_retry_at = now() - interval '1 s'")
    server.routing.ProcessRetries(R.ProcessRetriesRequest(), timeout=DEADLINE_S)
    with pytest.raises(grpc.RpcError):
        route(server, str(uuid.uuid4()))
    server.stop()
    asked, retried, unknown = [span for span in collector.spans() if span.name == "route lead"]
    assert attributes(asked)["leadrouter.error_class"] == "unmatched" and asked.status.code == 0
    assert not retried.parent_span_id and attributes(retried)["leadrouter.attempt"] == 2
    assert (unknown.status.code, unknown.status.message) == (2, "NOT_FOUND")
    codes = [attributes(span)["rpc.grpc.status_code"] for span in collector.spans() if span.name.endswith("/RouteLead")]
    assert codes == [0, grpc.StatusCode.NOT_FOUND.value[0]]


# --- Collectors --------------------------------------------------------------------------------------------------------------------------


def test_a_collector_that_hangs(traced, collector, sql):
    """Calls are answered, memory stays, spans are dropped and counted, and the end waits no longer than it is told."""
    collector.hanging = True
    server = traced("--trace-sample-per-mille", "1000", "--trace-queue-spans", "100", "--trace-batch-spans", "50",
                    "--trace-flush-ms", "300", "--trace-timeout-ms", "600000", "--admin-listen", "127.0.0.1:0", *SOON)
    leads = new_leads(sql, 500)
    for lead in leads[:100]:
        route(server, lead)
    before = memory_bytes(server.process.pid)
    assert value(scrape(server), "leadrouter_trace_spans_exported_total") == 0
    calls = [server.routing.RouteLead.future(R.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER), timeout=DEADLINE_S)
             for lead in leads]
    assert {call.result().outcome for call in calls} <= {R.ROUTING_OUTCOME_ROUTED, R.ROUTING_OUTCOME_ALREADY_ROUTED}
    assert memory_bytes(server.process.pid) - before < 32 * 1024 * 1024
    dropped = value(scrape(server), "leadrouter_trace_spans_dropped_total")
    assert server.stop() == 0, server.text() # the collector's own time would be ten minutes
    stopped, = server.events("traces.stopped")
    assert stopped["spans_exported"] == 0 and stopped["spans_dropped"] > 2000
    assert 2000 < dropped <= stopped["spans_dropped"]
    assert sum(line.get("spans", 0) for line in server.events("traces.dropped")) == stopped["spans_dropped"]


def test_a_collector_that_comes_late_and_goes(traced, otlp, sql):
    """Nobody is there at first: the server serves. Then somebody is: spans arrive. Then he has gone again: it stops in time."""
    address = free_address()
    server = traced("--trace-sample-per-mille", "1000", "--trace-flush-ms", "200", *SOON, endpoint=address)
    leads = iter(new_leads(sql, 200))
    route(server, next(leads))
    late = Collector(otlp, address=address)
    wait_until(lambda: route(server, next(leads, None) or new_leads(sql)[0]) and late.spans(), "no span arrived")
    late.stop()
    route(server, new_leads(sql)[0])
    assert server.stop() == 0, server.text()


def test_a_collector_with_tls(traced, otlp, sql, tmp_path):
    ca = Authority(tmp_path, "ca")
    certificate, key = (path.read_bytes() for path in ca.issue("collector", "IP:127.0.0.1", "serverAuth"))
    root = ca.file.read_bytes()
    collector = Collector(otlp, grpc.ssl_server_credentials([(key, certificate)], root, False))
    server = traced("--trace-sample-per-mille", "1000", "--trace-tls-ca", str(ca.file), *SOON, endpoint=collector.address)
    route(server, new_leads(sql)[0])
    assert len(collector.wait_for(6)) >= 6
    server.stop()
    collector.stop()


def test_a_collector_that_wants_a_key(traced, collector, sql, tmp_path):
    """It is sent what a file says with each export; what is in it is neither in the log nor among the arguments."""
    headers = tmp_path / "headers"
    headers.write_text("# of the collector's owner\nX-Api-Key: s3cr3t-of-ours\nx-tenant: leads: ours\n", encoding="ascii")
    headers.chmod(0o600)
    server = traced("--trace-sample-per-mille", "1000", "--trace-headers-file", str(headers), "--admin-listen", "127.0.0.1:0", *SOON)
    leads = new_leads(sql, 2)
    route(server, leads[0])
    collector.wait_for(6)
    headers.unlink() # read at the start
    route(server, leads[1])
    spans = len(collector.wait_for(12))
    assert len(collector.metadata) > 1
    for sent in collector.metadata:
        assert (sent["x-api-key"], sent["x-tenant"]) == ("s3cr3t-of-ours", "leads: ours")
    wait_until(lambda: value(scrape(server), "leadrouter_trace_spans_exported_total") == len(collector.spans()) >= spans, "not counted")
    assert value(scrape(server), "leadrouter_trace_spans_dropped_total") == 0
    with open(f"/proc/{server.process.pid}/cmdline", "rb") as words, open(f"/proc/{server.process.pid}/environ", "rb") as variables:
        assert b"s3cr3t" not in words.read() + variables.read()
    assert server.stop() == 0 and "s3cr3t" not in server.text()


def test_settings_that_are_refused(cluster, database, tmp_path):
    for name, text, mode in (("open", "x-key: s3cr3t", 0o644), ("wrong", "x-key: fine\ns3cr3t", 0o600)):
        (tmp_path / name).write_text(text, encoding="ascii")
        (tmp_path / name).chmod(mode)
    cases = [(("--trace-endpoint", "127.0.0.1:4317", "--trace-tls-ca", "/nowhere.pem"), "/nowhere.pem"),
             (("--trace-endpoint", "127.0.0.1:4317", "--trace-headers-file", "/nowhere"), "/nowhere"),
             (("--trace-endpoint", "127.0.0.1:4317", "--trace-headers-file", str(tmp_path / "open")), "is open to everybody"),
             (("--trace-endpoint", "127.0.0.1:4317", "--trace-headers-file", str(tmp_path / "wrong")), "line 2 is no")]
    for flags, text in cases:
        done = subprocess.run([LEADROUTERD, "serve", "--database", cluster.service_url(database), "--listen", "127.0.0.1:0", *flags],
                              capture_output=True, text=True, timeout=PATIENCE_S, env=dict(os.environ))
        assert done.returncode == 1 and text in done.stderr and "s3cr3t" not in done.stderr, done.stderr
