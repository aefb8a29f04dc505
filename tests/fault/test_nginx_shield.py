"""Goal: deploy/nginx/leadrouter.conf does what deploy/README.md says: calls pass, what is no gRPC is refused, and a burst of stream resets
costs leadrouterd little, where without the shield it costs much."""
import re
import socket
import subprocess
import time

import grpc
import pytest

from support.http2 import CONTINUATION, END_HEADERS, HEADERS, HEALTH, Peer, block, frame, resets, text
from support.ports import free_address
from support.postgres import ROOT
from support.process import memory_bytes
from support.product_cluster import PATIENCE_S, wait_until
from support.server import Server
from support.stubs import routing_pb2, routing_pb2_grpc

RESETS = 100000
AT_ONCE = 1000
GROWTH_MAX_KIB = 64 * 1024


def memory_kib(server, field="VmHWM"):
    """The most that the server ever held: what a burst took may be given back before it is looked at."""
    return memory_bytes(server.process.pid, field) // 1024


class Nginx:
    """nginx with the shipped file: on a free port, without TLS, before the given server."""

    def __init__(self, directory, upstream):
        self.address = free_address()
        shipped = (ROOT / "deploy/nginx/leadrouter.conf").read_text()
        text = re.sub(r"listen 443 ssl http2;", f"listen {self.address} http2;", shipped)
        text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.MULTILINE).replace("127.0.0.1:7450", upstream)
        assert "ssl" not in re.sub(r"#.*", "", text) and upstream in text and self.address in text
        (directory / "leadrouter.conf").write_text(text)
        (directory / "nginx.conf").write_text(
            f"error_log {directory}/error.log;\npid {directory}/pid;\nworker_processes 1;\nevents {{ worker_connections 4096; }}\n"
            f"http {{ access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;\n"
            f"fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;\n"
            f"include {directory}/leadrouter.conf; }}\n")
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-p", directory, "-c", directory / "nginx.conf", "-g", "daemon off;"],
                                        stderr=subprocess.DEVNULL)

    def __enter__(self):
        host, port = self.address.split(":")

        def answers():
            assert self.process.poll() is None, "nginx has ended"
            with socket.socket() as client:
                return client.connect_ex((host, int(port))) == 0
        wait_until(answers, "nginx listens")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def nginx(server, tmp_path):
    with Nginx(tmp_path, server.address) as nginx:
        yield nginx


def burst(address):
    """RESETS calls begun and taken back, on one connection, or until it is closed on us; how many were sent."""
    sent = 0
    with Peer(address) as peer:
        try:
            while sent < RESETS:
                peer.send(resets(AT_ONCE, first=1 + 2 * sent))
                sent += AT_ONCE
            while peer.read() is not None:
                break
        except OSError:
            pass # closed on us: what a shield does
    return sent


def health(channel):
    return routing_pb2_grpc.RoutingServiceStub(channel).Health(routing_pb2.HealthRequest(), timeout=PATIENCE_S).schema_version


def through(nginx, server):
    """A channel to nginx, closed with the server's."""
    address, server.address = server.address, nginx.address
    try:
        return server.channel()
    finally:
        server.address = address


def test_calls_pass(nginx, server):
    assert health(through(nginx, server)) == 1


def test_another_content_type_is_refused(nginx):
    for content_type, status in (("application/json", b"415"), ("text/html", b"415"), ("application/grpcx", b"415")):
        with Peer(nginx.address) as peer:
            peer.call(1, HEALTH, content_type=content_type)
            assert any(status in payload for _, _, _, payload in peer.frames_of(1)), content_type


def test_another_path_is_refused(nginx):
    with Peer(nginx.address) as peer:
        peer.call(1, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        assert peer.frames_of(1)


def test_a_burst_of_resets_stays_outside(nginx, server):
    channel = through(nginx, server)
    assert health(channel) == 1
    before = memory_kib(server)
    sent = burst(nginx.address)
    assert health(server.channel()) == 1 and health(through(nginx, server)) == 1, "others are served as before"
    after = memory_kib(server)
    print(f"through nginx: {sent} resets sent, leadrouterd {before} KiB before, {after} KiB after")
    assert after - before < GROWTH_MAX_KIB


def wait_until_served(server):
    def serves():
        assert server.process.poll() is None, "the server has ended"
        try:
            return health(server.channel()) == 1
        except grpc.RpcError:
            return False
    wait_until(serves, "others are not served again", 2 * PATIENCE_S)


def without_shield(cluster, database):
    """A server that does not end when it is too busy to answer its own probe in time (server/README.md), as it may be on a machine that
    is slow: what is looked for here is whether it goes on by itself."""
    return Server(cluster.service_url(database), "--self-probe-ms", "0")


def test_a_burst_without_the_shield_is_survived(cluster, database):
    """What remains without a proxy is memory: the server goes on serving others, and SECURITY.md has the figure."""
    with without_shield(cluster, database) as server:
        assert health(server.channel()) == 1
        before = memory_kib(server)
        sent = burst(server.address)
        burst_end = time.monotonic()
        wait_until_served(server)
        print(f"served again after {time.monotonic() - burst_end:.1f} s")
        print(f"without: {sent} resets sent, leadrouterd {before} KiB before, {memory_kib(server)} KiB after")


def test_the_other_files_are_well_formed():
    unit = ROOT / "deploy/systemd/leadrouterd.service"
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    known = re.compile(r"leadrouterd is not executable|Failed to (?:open|connect)|User leadrouter|bus")
    assert not [line for line in done.stderr.splitlines() if "leadrouterd.service" in line and not known.search(line)], done.stderr
    check = subprocess.run(["/usr/sbin/nft", "-c", "-f", ROOT / "deploy/nftables/leadrouter.nft"], capture_output=True, text=True)
    # The check asks the kernel, which may lack the modules or not let this user: what it understood it has parsed.
    assert check.returncode == 0 or re.search(r"Operation not (permitted|supported)", check.stderr), check.stderr
    assert "syntax error" not in check.stderr


def endless_headers(address, mebibytes):
    """A call whose headers never end: one header, and then a byte for each time that it is said again. How many bytes were sent."""
    some = b"\xbe" * 1800 # the newest entry of the connection's table
    sent = 0
    with Peer(address) as peer:
        try:
            peer.send(frame(HEADERS, 0, 1, block(HEALTH) + b"\x40" + text("a") + text("b")))
            while sent < mebibytes << 20:
                peer.send(frame(CONTINUATION, 0, 1, some))
                sent += len(some)
            peer.send(frame(CONTINUATION, END_HEADERS, 1))
            while peer.read() is not None:
                break
        except OSError:
            pass # closed on us
    return sent


def test_endless_headers_stay_outside(nginx, server):
    assert health(through(nginx, server)) == 1
    before = memory_kib(server)
    sent = endless_headers(nginx.address, 8)
    assert health(server.channel()) == 1 and health(through(nginx, server)) == 1, "others are served as before"
    after = memory_kib(server)
    print(f"through nginx: {sent} bytes of headers sent, leadrouterd {before} KiB before, {after} KiB after")
    assert after - before < GROWTH_MAX_KIB


def test_endless_headers_without_the_shield(cluster, database):
    """What one connection costs that no proxy looks at: SECURITY.md has the figure. The server goes on."""
    with without_shield(cluster, database) as server:
        assert health(server.channel()) == 1
        before = memory_kib(server)
        sent = endless_headers(server.address, 2)
        wait_until_served(server)
        print(f"without: {sent} bytes of headers sent, leadrouterd {before} KiB before, {memory_kib(server)} KiB after")
