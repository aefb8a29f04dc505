"""Goal: what a peer says on the wire that no decent client says harms nobody else, and is answered where it can be."""
import grpc
import pytest

from support.http2 import DATA, END_HEADERS, END_STREAM, HEALTH, HEADERS, Peer, block, frame, message, text
from support.process import memory_bytes
from support.product_cluster import PATIENCE_S
from support.stubs import routing_pb2, routing_pb2_grpc

CALLS = 1000
GROWTH_MAX = 128 * 1024 * 1024


def health(server, **fields):
    return routing_pb2_grpc.RoutingServiceStub(server.channel()).Health(routing_pb2.HealthRequest(), timeout=PATIENCE_S, **fields)


@pytest.mark.parametrize("timeout", ["", "x", "-1S", "1", "S", "99999999999999999999S", "1.5S", "0S"])
def test_an_odd_timeout_gets_an_answer(server, timeout):
    """The core takes what it cannot read for "for ever"; the call has our default then. 0S is over before it begins."""
    with Peer(server.address) as peer:
        peer.call(1, HEALTH, grpc_timeout=timeout)
        kinds = [kind for kind, _, _, _ in peer.frames_of(1)]
    if timeout == "0S":
        assert DATA not in kinds, "nothing is answered after its deadline"
    else:
        assert kinds == [HEADERS, DATA, HEADERS], kinds
    assert health(server).schema_version == 1


def test_too_much_metadata(server):
    for size in (9000, 64 * 1024):
        with pytest.raises(grpc.RpcError) as caught:
            health(server, metadata=[("x-large", "v" * size)])
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, size
        assert health(server).schema_version == 1, "others are served"


def new_in_table(name, value):
    """A header that is also put into the connection's table, where one byte stands for it."""
    return b"\x40" + text(name) + text(value)


ODD_HEADERS = {"te": "x", ":scheme": "x", ":method": "x", ":status": "x", "grpclb_client_stats": "x", "grpc-timeout": "x",
               "grpc-status": "x", "grpc-encoding": "x", "grpc-previous-rpc-attempts": "x", "grpc-retry-pushback-ms": "x",
               "lb-cost-bin": "x", "grpc-tags-bin": "!", "content-type": "x"}


@pytest.mark.parametrize("is_known", [False, True], ids=["settings not acknowledged", "acknowledged"])
def test_odd_headers_with_many_others(server, is_known):
    """Headers with values that they cannot have, before and behind more than fits: other releases of the core ended the process over
    some (CVE-2023-1428). Every one is answered, or ends its connection."""
    much = new_in_table("a", "z" * 3500) + b"\xbe" * 400 # 1.4 MB as HTTP/2 counts
    for name, value in ODD_HEADERS.items():
        odd = b"\x00" + text(name) + text(value)
        for headers in (block(HEALTH) + odd + much, block(HEALTH) + much + odd):
            with Peer(server.address) as peer:
                if is_known:
                    peer.call(1, HEALTH)
                    peer.frames_of(1)
                peer.send(frame(HEADERS, END_HEADERS, 3, headers) + frame(DATA, END_STREAM, 3, message()))
                assert DATA not in [kind for kind, _, _, _ in peer.frames_of(3)], name
        assert server.process.poll() is None, name
    assert health(server).schema_version == 1


def test_invalid_base64(server):
    """A "-bin" header that is no base64 ends its call or its connection, nobody else's."""
    with Peer(server.address) as peer:
        peer.call(1, HEALTH, x_data_bin="!!!")
        assert DATA not in [kind for kind, _, _, _ in peer.frames_of(1)]
    assert health(server).schema_version == 1


def test_a_peer_that_never_reads(server):
    before = memory_bytes(server.process.pid)
    with Peer(server.address, receive_size=1024) as peer:
        for number in range(CALLS):
            peer.call(1 + 2 * number, HEALTH)
        assert health(server).schema_version == 1, "others are served"
        assert memory_bytes(server.process.pid) - before < GROWTH_MAX
    assert health(server).schema_version == 1


def test_half_a_greeting(server):
    """Connections that say nothing, or stop in the middle, cost a descriptor until their handshake is over, and no more."""
    peers = []
    for _ in range(50):
        peer = Peer(server.address)
        peer.socket.sendall(b"\x00\x00")
        peers.append(peer)
    assert health(server).schema_version == 1
    for peer in peers:
        peer.socket.close()
