"""Goal: the standard services do for any client what their protos promise: health (Check, Watch) follows the database and the end of the
server; reflection, v1 and v1alpha, tells everything that is needed to call, with no .proto at hand."""
import os
import pathlib
import signal
import subprocess
import tempfile
import threading

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from support.fetched_program import npm_program
from support.product_cluster import wait_until

ROUTING = "leadrouter.v1.RoutingService"
SERVICES = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
            "leadrouter.v1.LeadService", "leadrouter.v1.MaintenanceService", "leadrouter.v1.RuleService", "leadrouter.v1.WorkspaceService",
            ROUTING}
PROTOS = pathlib.Path("/usr/share/grpc-proto")
DEADLINE_S = 30


@pytest.fixture(scope="module")
def stubs():
    """Messages of Debian's own protos, by full name."""
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory, "set")
        subprocess.run(["protoc", f"-I{PROTOS}", f"--descriptor_set_out={out}", "grpc/health/v1/health.proto",
                        "grpc/reflection/v1/reflection.proto", "grpc/reflection/v1alpha/reflection.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return message_factory.GetMessages(files.file)


class Health:
    def __init__(self, stubs, channel):
        self.request, response = (stubs[f"grpc.health.v1.HealthCheck{kind}"] for kind in ("Request", "Response"))
        self.status = {number: name for name, number in response.ServingStatus.items()}
        self.check_rpc = channel.unary_unary("/grpc.health.v1.Health/Check", self.request.SerializeToString, response.FromString)
        self.watch_rpc = channel.unary_stream("/grpc.health.v1.Health/Watch", self.request.SerializeToString, response.FromString)

    def check(self, service=""):
        return self.status[self.check_rpc(self.request(service=service), timeout=DEADLINE_S).status]

    def watch(self, service=""):
        """The call, and a list that fills with what it tells."""
        call = self.watch_rpc(self.request(service=service), timeout=DEADLINE_S)
        told = []

        def read():
            try:
                for response in call:
                    told.append(self.status[response.status])
            except grpc.RpcError as error:
                told.append(error.code().name)
        threading.Thread(target=read, daemon=True).start()
        return call, told


def test_check(server, stubs):
    health = Health(stubs, server.channel())
    for service in ("", ROUTING, "leadrouter.v1.LeadService", "leadrouter.v1.MaintenanceService", "leadrouter.v1.RuleService",
                    "leadrouter.v1.WorkspaceService"):
        wait_until(lambda: health.check(service) == "SERVING", f"{service} serves")
    with pytest.raises(grpc.RpcError) as caught:
        health.check("nobody.Knows")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_watch_of_an_unknown_service_stays_open(server, stubs):
    call, told = Health(stubs, server.channel()).watch("nobody.Knows")
    wait_until(lambda: told, "the first message")
    assert told == ["SERVICE_UNKNOWN"] and call.is_active()
    call.cancel()
    wait_until(lambda: told[1:], "the end")
    assert told == ["SERVICE_UNKNOWN", "CANCELLED"]


def test_watch_follows_the_end_of_the_server(server, stubs):
    _, told = Health(stubs, server.channel()).watch(ROUTING)
    wait_until(lambda: "SERVING" in told, "serving")
    os.kill(server.process.pid, signal.SIGTERM)
    wait_until(lambda: told[-1] == "UNAVAILABLE", "the watch ends")
    assert told[-2:] == ["NOT_SERVING", "UNAVAILABLE"]
    assert server.process.wait(DEADLINE_S) == 0


class Reflection:
    def __init__(self, stubs, channel, version):
        self.request, response = (stubs[f"grpc.reflection.{version}.ServerReflection{kind}"] for kind in ("Request", "Response"))
        self.rpc = channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                                         self.request.SerializeToString, response.FromString)

    def ask(self, *questions):
        return list(self.rpc((self.request(**question) for question in questions), timeout=DEADLINE_S))

    def files(self, **question):
        answer, = self.ask(question)
        return [descriptor_pb2.FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto]

    def error(self, **question):
        answer, = self.ask(question)
        return answer.error_response.error_code, answer.error_response.error_message


@pytest.fixture(params=["v1", "v1alpha"])
def reflection(request, server, stubs):
    return Reflection(stubs, server.channel(), request.param)


def test_reflection_lists_services(reflection):
    answer, = reflection.ask({"list_services": "*", "host": "here"})
    assert {service.name for service in answer.list_services_response.service} == SERVICES
    assert answer.valid_host == "here" and answer.original_request.list_services == "*"


@pytest.mark.parametrize("question", [
    {"file_by_filename": "leadrouter/v1/routing.proto"},
    {"file_containing_symbol": ROUTING},
    {"file_containing_symbol": f"{ROUTING}.RouteLeads"},
    {"file_containing_symbol": "leadrouter.v1.RouteLeadResponse"},
    {"file_containing_symbol": "leadrouter.v1.RouteLeadResponse.decision_id"},
    {"file_containing_symbol": "leadrouter.v1.ROUTING_OUTCOME_ROUTED"},
], ids=lambda question: next(iter(question.values())))
def test_reflection_gives_a_file_with_all_that_it_imports(reflection, question):
    files = reflection.files(**question)
    assert [file.name for file in files] == ["leadrouter/v1/routing.proto", "google/protobuf/timestamp.proto",
                                             "leadrouter/v1/privacy.proto", "google/protobuf/descriptor.proto"]


def test_reflection_refuses_by_name(reflection):
    not_found = grpc.StatusCode.NOT_FOUND.value[0]
    assert reflection.error(file_by_filename="x.proto") == (not_found, "no file x.proto here")
    assert reflection.error(file_containing_symbol="a.B") == (not_found, "no symbol a.B here")
    assert reflection.error(all_extension_numbers_of_type="a.B") == (not_found, "no message a.B here")
    extension = {"containing_type": "a.B", "extension_number": 7}
    assert reflection.error(file_containing_extension=extension) == (not_found, "no extension 7 of a.B here")
    assert reflection.error()[0] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    answer, = reflection.ask({"all_extension_numbers_of_type": "leadrouter.v1.RouteLeadRequest"})
    assert list(answer.all_extension_numbers_response.extension_number) == []


def test_a_call_can_be_made_from_what_reflection_tells(reflection, server):
    """Several questions on one stream; then a pool of its own, and a real call with messages that nobody generated."""
    pool = descriptor_pool.DescriptorPool()
    answers = reflection.ask({"file_containing_symbol": ROUTING}, {"file_by_filename": "leadrouter/v1/leads.proto"})
    files = {}
    for answer in answers:
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = descriptor_pb2.FileDescriptorProto.FromString(data)
            files[file.name] = file
    for name in ("google/protobuf/descriptor.proto", "google/protobuf/timestamp.proto", "leadrouter/v1/privacy.proto",
                 "leadrouter/v1/routing.proto", "leadrouter/v1/leads.proto"):
        if name in files:
            pool.Add(files[name])
    method = pool.FindServiceByName(ROUTING).FindMethodByName("Health")
    request, response = (message_factory.MessageFactory(pool).GetPrototype(kind) for kind in (method.input_type, method.output_type))
    rpc = server.channel().unary_unary(f"/{ROUTING}/Health", request.SerializeToString, response.FromString)
    assert rpc(request(), timeout=DEADLINE_S).schema_version == 1


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
def test_buf_curl(server, protocol):
    """The other client that asks the server what it serves: lists, and calls, unary and with streams."""
    buf = npm_program("buf")
    base = [buf, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", protocol]

    def curl(*words):
        done = subprocess.run([*base, *words], capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = curl("--list-services", f"http://{server.address}").split()
    assert SERVICES >= set(listed) >= {
        ROUTING, "leadrouter.v1.LeadService", "leadrouter.v1.MaintenanceService", "leadrouter.v1.RuleService",
        "leadrouter.v1.WorkspaceService"}
    methods = curl("--list-methods", f"http://{server.address}").split()
    assert f"{ROUTING}/RouteLead" in methods and "leadrouter.v1.RuleService/TestRules" in methods
    assert '"schemaVersion"' in curl("-d", "{}", f"http://{server.address}/{ROUTING}/Health")
    streamed = curl("-d", '{"index": 7, "lead": {"leadId": "x"}} {"index": 8}', f"http://{server.address}/{ROUTING}/RouteLeads")
    assert '"index": "7"' in streamed.replace('":"', '": "') or '"index":"7"' in streamed
