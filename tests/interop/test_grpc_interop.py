"""Goal: code that our generator makes talks to gRPC's other implementations, in both directions, in every case of gRPC's own
interoperability test (tests/interop/grpc/README.md has the table)."""
import pathlib
import re
import socket
import subprocess
import tempfile

import grpc
import pytest
from google.protobuf import descriptor_pb2, message_factory

from support.fetched_program import go_program
from support.ports import free_port
from support.postgres import BUILD
from support.product_cluster import wait_until

PROGRAMS = BUILD / "tests/interop/grpc"
PROTOS = "/usr/share/grpc-proto"
SERVICE = "/grpc.testing.TestService"
TIMEOUT_S = 60
COMPRESSED = ["client_compressed_unary", "server_compressed_unary", "client_compressed_streaming", "server_compressed_streaming"]
CASES = ["empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "custom_metadata",
         "status_code_and_message", "special_status_message", "unimplemented_method", "unimplemented_service", "cancel_after_begin",
         "cancel_after_first_response", "timeout_on_sleeping_server"]


@pytest.fixture(scope="module")
def our_server():
    process = subprocess.Popen([PROGRAMS / "interop_server"], stdout=subprocess.PIPE, text=True)
    yield int(process.stdout.readline())
    process.terminate()
    assert process.wait(TIMEOUT_S) == 0
    process.stdout.close()


@pytest.fixture(scope="module")
def go_server():
    program = go_program("interop-server")
    port = free_port()
    process = subprocess.Popen([program, "-port", str(port)], stderr=subprocess.DEVNULL)

    def answers():
        assert process.poll() is None, "Go's server has ended"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0
    wait_until(answers, "Go's server listens")
    yield port
    process.kill()
    process.wait()


def ours(port, case):
    done = subprocess.run([PROGRAMS / "interop_client", str(port), case], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("case", CASES + COMPRESSED)
def test_our_client_and_our_server(our_server, case):
    ours(our_server, case)


@pytest.mark.parametrize("case", CASES)
def test_our_client_and_go_s_server(go_server, case):
    ours(go_server, case)


@pytest.mark.parametrize("case", CASES)
def test_go_s_client_and_our_server(our_server, case):
    done = subprocess.run([go_program("interop-client"), "-server_host", "127.0.0.1", "-server_port", str(our_server), "-test_case", case],
                          capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr


# --- python3-grpcio: the compressed cases, which Go's client does not know --------------------------------------------------


@pytest.fixture(scope="module")
def messages():
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory, "set")
        subprocess.run(["protoc", f"-I{PROTOS}", f"--descriptor_set_out={out}", "grpc/testing/empty.proto", "grpc/testing/messages.proto"],
                       check=True)
        return message_factory.GetMessages(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


@pytest.fixture
def python(our_server, messages):
    """call(kind, method, request type, response type) on a channel to our server; and the messages."""
    with grpc.insecure_channel(f"127.0.0.1:{our_server}") as channel:
        def call(kind, method, request, response):
            return getattr(channel, kind)(f"{SERVICE}/{method}", messages[f"grpc.testing.{request}"].SerializeToString,
                                          messages[f"grpc.testing.{response}"].FromString)
        call.message = lambda name, **fields: messages[f"grpc.testing.{name}"](**fields)
        yield call


def test_python_compresses_unary_requests(python):
    unary = python("unary_unary", "UnaryCall", "SimpleRequest", "SimpleResponse")
    for compression, expected in ((grpc.Compression.Gzip, True), (grpc.Compression.Deflate, True), (None, False)):
        request = python.message("SimpleRequest", response_size=314159, payload={"body": bytes(271828)},
                                 expect_compressed={"value": expected})
        assert unary(request, compression=compression, timeout=TIMEOUT_S).payload.body == bytes(314159)
    with pytest.raises(grpc.RpcError) as caught: # the probe
        unary(python.message("SimpleRequest", expect_compressed={"value": True}), timeout=TIMEOUT_S)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_python_takes_compressed_responses(python):
    unary = python("unary_unary", "UnaryCall", "SimpleRequest", "SimpleResponse")
    request = python.message("SimpleRequest", response_size=314159, response_compressed={"value": True})
    assert unary(request, timeout=TIMEOUT_S).payload.body == bytes(314159)
    output = python("unary_stream", "StreamingOutputCall", "StreamingOutputCallRequest", "StreamingOutputCallResponse")
    parameters = [{"size": 31415, "compressed": {"value": True}}, {"size": 92653, "compressed": {"value": False}}]
    request = python.message("StreamingOutputCallRequest", response_parameters=parameters)
    assert [len(response.payload.body) for response in output(request, timeout=TIMEOUT_S)] == [31415, 92653]


def test_python_compresses_streamed_requests(python):
    summed = python("stream_unary", "StreamingInputCall", "StreamingInputCallRequest", "StreamingInputCallResponse")
    requests = [python.message("StreamingInputCallRequest", payload={"body": bytes(size)}, expect_compressed={"value": True})
                for size in (27182, 45904)]
    assert summed(iter(requests), compression=grpc.Compression.Gzip, timeout=TIMEOUT_S).aggregated_payload_size == 73086


def test_the_table_names_every_case():
    text = pathlib.Path(__file__).with_name("grpc").joinpath("README.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(CASES + COMPRESSED)
