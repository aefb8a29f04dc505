"""Goal: a body that is not one whole gRPC message gets the answer that src/grpc_c/README.md promises, on a connection that
goes on; a message that never comes whole ends with its call; and nobody else notices."""
import gzip

import pytest

from support.http2 import DATA, HEALTH, Peer, message, status_of
from support.process import memory_bytes
from support.product_cluster import PATIENCE_S
from support.stubs import routing_pb2, routing_pb2_grpc

ROUTE_LEADS = "/leadrouter.v1.RoutingService/RouteLeads"
CALLS = 1000
GROWTH_MAX = 64 * 1024 * 1024
EMPTY = message()
ZIPPED = gzip.compress(b"\x0a\x01x", mtime=0)

OK = ("OK", "")
NO_MESSAGE = ("INVALID_ARGUMENT", "the call carries no whole request message")
NO_FIELD = ("INVALID_ARGUMENT", "ends in the middle of a field")
NO_TYPE = ("INVALID_ARGUMENT", "has a field of an unknown wire type") # how gzip begins
UNPACKABLE = ("INVALID_ARGUMENT", "the request cannot be decompressed")

# What it is, the body, grpc-encoding, how a unary call ends, and a stream, which gives an answer to each message that is one.
BODIES = [
    ("whole", EMPTY, None, OK, OK, 1),
    ("none", b"", None, NO_MESSAGE, OK, 0),
    ("a prefix cut short", EMPTY[:3], None, NO_MESSAGE, OK, 0),
    ("cut short", message(b"abc", size=9), None, NO_MESSAGE, OK, 0),
    ("a length beyond any body", message(b"abc", size=0xFFFFFFFF), None, NO_MESSAGE, OK, 0),
    ("no protobuf", message(b"\xff\xff\xff"), None, NO_FIELD, NO_FIELD, 0),
    ("two", EMPTY * 2, None, OK, OK, 2),
    ("garbage behind", EMPTY + b"\xff\xff", None, OK, OK, 1),
    ("a flag that is none", message(flag=2), None, OK, OK, 1),
    ("compressed, without an encoding", message(ZIPPED, flag=1), None, NO_TYPE, NO_TYPE, 0),
    ("compressed, identity", message(ZIPPED, flag=1), "identity", NO_TYPE, NO_TYPE, 0),
    ("compressed, an unknown encoding", message(ZIPPED, flag=1), "snappy", NO_TYPE, NO_TYPE, 0),
    ("compressed, and is not", message(b"abc", flag=1), "gzip", UNPACKABLE, UNPACKABLE, 0),
    ("compressed, cut short", message(ZIPPED[:-1], flag=1), "gzip", UNPACKABLE, UNPACKABLE, 0),
    ("compressed, with garbage behind", message(ZIPPED + b"x", flag=1), "gzip", UNPACKABLE, UNPACKABLE, 0),
]


def is_well(server):
    stub = routing_pb2_grpc.RoutingServiceStub(server.channels[0])
    return stub.Health(routing_pb2.HealthRequest(), timeout=PATIENCE_S).schema_version == 1


def end_of(server, path, body, encoding):
    """How a call with this body ended, and how many messages it was answered; the same connection then serves a decent call."""
    headers = {} if encoding is None else {"grpc_encoding": encoding}
    with Peer(server.address) as peer:
        peer.call_with(1, path, body, **headers)
        frames = peer.frames_of(1)
        peer.call(3, HEALTH)
        assert DATA in [kind for kind, _, _, _ in peer.frames_of(3)], "the connection goes on"
    return status_of(frames), [kind for kind, _, _, _ in frames].count(DATA)


@pytest.mark.asan
def test_bodies(server):
    for what, body, encoding, unary, stream, answers in BODIES:
        for path, (name, text), count in ((HEALTH, unary, int(unary == OK)), (ROUTE_LEADS, stream, answers)):
            status, answered = end_of(server, path, body, encoding)
            assert status is not None and status[0] == name and status[1].endswith(text), (what, path, status)
            assert answered == count, (what, path)
        assert is_well(server), what


def test_a_message_that_never_comes_whole(server):
    """It holds back its own call only, which its timeout ends; and goes with its connection."""
    before = memory_bytes(server.process.pid)
    with Peer(server.address) as peer:
        peer.call_with(1, HEALTH, EMPTY[:3], flags=0, grpc_timeout="100m")
        assert DATA not in [kind for kind, _, _, _ in peer.frames_of(1)]
        for number in range(1, CALLS):
            peer.call_with(1 + 2 * number, HEALTH, message(b"abc", size=1000000), flags=0)
        peer.call(1 + 2 * CALLS, HEALTH)
        assert DATA in [kind for kind, _, _, _ in peer.frames_of(1 + 2 * CALLS)], "calls of the same connection are served"
        assert is_well(server), "others are served"
        assert memory_bytes(server.process.pid) - before < GROWTH_MAX
    assert is_well(server)
    assert server.stop() == 0, "nothing of it is waited for"
