"""Goal: leadrouterd with mutual TLS serves those it should and nobody else; certificates change on SIGHUP and when files
change, and broken ones change nothing; settings that do not fit together are refused in one line; leadctl speaks TLS too."""
import json
import os
import signal
import socket
import ssl
import subprocess

import grpc
import pytest

from support.certificates import Authority
from support.postgres import LEADCTL, LEADROUTERD
from support.process import close_all, connect_many, descriptors, limit_descriptors
from support.product_cluster import wait_until
from support.server import Server
from support.stubs import routing_pb2, routing_pb2_grpc

PATIENCE_S = 60
PROBED_CALLS = 50
ROOM = 20 # descriptors
NAMES = "DNS:localhost,IP:127.0.0.1"


@pytest.fixture
def ca(tmp_path):
    authority = Authority(tmp_path)
    authority.issue("server", NAMES, "serverAuth")
    authority.issue("client", "URI:spiffe://example.com/router", "clientAuth")
    return authority


def tls_flags(ca, client_ca=True):
    who = ["--tls-client-ca", str(ca.file)] if client_ca else ["--no-client-certificates"]
    return ["--tls-certificate", str(ca.directory / "server.pem"), "--tls-key", str(ca.directory / "server.key"), *who]


@pytest.fixture
def server(cluster, database, ca):
    """leadrouterd with mutual TLS, on every address of the machine."""
    with Server(cluster.service_url(database), *tls_flags(ca), "--service-names", "*", listen="0.0.0.0:0") as running:
        running.port = int(running.address.rsplit(":", 1)[1])
        yield running
        assert running.stop() == 0, running.text()
        running.check_log()
        assert "PRIVATE KEY" not in running.text()


def health(server, ca, name="client", authority=None):
    """One call of Health on a connection of its own; how it ended."""
    key, chain = (None, None) if name is None else ((ca.directory / f"{name}.{ending}").read_bytes() for ending in ("key", "pem"))
    credentials = grpc.ssl_channel_credentials((authority or ca).file.read_bytes(), key, chain)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"localhost:{server.port}", credentials, options) as channel:
        return code_of(channel)


def code_of(channel):
    try:
        routing_pb2_grpc.RoutingServiceStub(channel).Health(routing_pb2.HealthRequest(), timeout=PATIENCE_S)
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def shown_serial(server, ca):
    """The number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=ca.file)
    context.load_cert_chain(ca.directory / "client.pem", ca.directory / "client.key")
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("localhost", server.port), PATIENCE_S) as connection:
        with context.wrap_socket(connection, server_hostname="localhost") as secure:
            return int(secure.getpeercert()["serialNumber"], 16)


def test_who_is_served(server, ca, tmp_path):
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    assert server.events("server.started")[0]["security"] == "mutual TLS"
    assert health(server, ca) == grpc.StatusCode.OK
    assert health(server, ca, None) == grpc.StatusCode.UNAVAILABLE
    assert health(server, ca, authority=other) == grpc.StatusCode.UNAVAILABLE, "the client does not know the server"
    ca.issue("expired", "DNS:x.example.com", "clientAuth", days=-1)
    ca.issue("usage", "DNS:x.example.com", "serverAuth")
    assert health(server, ca, "expired") == grpc.StatusCode.UNAVAILABLE
    assert health(server, ca, "usage") == grpc.StatusCode.UNAVAILABLE
    key, chain = other.issue("client", "DNS:x.example.com", "clientAuth")[::-1]
    foreign = grpc.ssl_channel_credentials(ca.file.read_bytes(), key.read_bytes(), chain.read_bytes())
    with grpc.secure_channel(f"localhost:{server.port}", foreign, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert code_of(channel) == grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(f"localhost:{server.port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert code_of(channel) == grpc.StatusCode.UNAVAILABLE
    assert health(server, ca) == grpc.StatusCode.OK


def test_no_client_certificates(cluster, database, ca):
    with Server(cluster.service_url(database), *tls_flags(ca, client_ca=False)) as server:
        server.port = int(server.address.rsplit(":", 1)[1])
        assert server.events("server.started")[0]["security"] == "TLS"
        assert health(server, ca, None) == grpc.StatusCode.OK
        assert server.stop() == 0


def test_reload_on_signal(server, ca):
    """A good certificate is shown from the signal on; a broken one is refused, with file and reason, and changes nothing."""
    first = shown_serial(server, ca)
    ca.issue("server", NAMES, "serverAuth")
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_for("tls.reloaded")
    assert shown_serial(server, ca) == ca.serial != first
    good = ca.serial
    (ca.directory / "server.pem").write_text("broken\n")
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_for("tls.refused")
    line = server.events("tls.refused")[0]
    assert line["error"] == f"{ca.directory}/server.pem holds no certificate in PEM form" and line["level"] == "error"
    assert shown_serial(server, ca) == good and health(server, ca) == grpc.StatusCode.OK


def test_reload_by_change(server, ca):
    """Files that change are read again without a signal, once they have kept still; a connection that there is lives on."""
    key, chain = ((ca.directory / f"client.{ending}").read_bytes() for ending in ("key", "pem"))
    with grpc.secure_channel(f"localhost:{server.port}", grpc.ssl_channel_credentials(ca.file.read_bytes(), key, chain)) as channel:
        assert code_of(channel) == grpc.StatusCode.OK
        ca.issue("server", NAMES, "serverAuth")
        server.wait_for("tls.reloaded")
        assert shown_serial(server, ca) == ca.serial
        assert code_of(channel) == grpc.StatusCode.OK
    ca.issue("server", NAMES, "serverAuth", days=-1)
    server.wait_for("tls.refused")
    assert server.events("tls.refused")[0]["error"].endswith("server.pem: certificate 1 has expired")
    ca.issue("server", NAMES, "serverAuth")
    wait_until(lambda: len(server.events("tls.reloaded")) == 2, "the repaired certificate is not taken")
    assert shown_serial(server, ca) == ca.serial and len(server.events("tls.refused")) == 1


def test_self_probe(cluster, database, ca):
    """The server's probe of itself goes over TLS, without a certificate: two failures in a row would end a server that is
    well, within milliseconds; and one that has lost its listener does end."""
    probing = ("--service-names", "*", "--self-probe-ms", "5")
    with Server(cluster.service_url(database), *tls_flags(ca), *probing, listen="0.0.0.0:0") as server:
        server.port = int(server.address.rsplit(":", 1)[1])
        for _ in range(PROBED_CALLS):
            assert health(server, ca) == grpc.StatusCode.OK
        assert not server.events("listener.lost") and server.process.poll() is None, server.text()
        limit_descriptors(server.process.pid, descriptors(server.process.pid) + ROOM)
        connections = connect_many(f"127.0.0.1:{server.port}", 4 * ROOM)
        assert server.wait() == 1
        close_all(connections)
        assert [line["error"] != "" for line in server.events("listener.lost")] == [True], server.text()


@pytest.mark.parametrize("flags, message", [
    (("--tls-certificate", "x"), "--tls-certificate and --tls-key go together"),
    (("--tls-key", "x"), "--tls-certificate and --tls-key go together"),
    (("--tls-certificate", "x", "--tls-key", "y"), "TLS needs --tls-client-ca FILE, or --no-client-certificates"),
    (("--tls-certificate", "x", "--tls-key", "y", "--tls-client-ca", "z", "--no-client-certificates"), "exclude each other"),
    (("--tls-client-ca", "z"), "--tls-client-ca is of no use without --tls-certificate"),
    (("--no-client-certificates",), "--no-client-certificates is of no use without --tls-certificate"),
    (("--trace-headers-file", "x"), "--trace-headers-file is of no use without --trace-endpoint"),
    (("--trace-tls-ca", "x"), "--trace-tls-ca is of no use without --trace-endpoint"),
    (("--trace-endpoint", "192.0.2.1:4317"), '--trace-endpoint: "192.0.2.1:4317" is not a loopback address'),
    (("--trace-endpoint", "collector"), '--trace-endpoint: "collector" is not an address of the form host:port'),
    (("--trace-endpoint", "collector", "--trace-tls-ca", "x"), '--trace-endpoint: "collector" is not an address of the form host:port'),
    *((("--trace-endpoint", "127.0.0.1:4317", *flags), "--trace-tls-certificate and --trace-tls-key are for each other")
      for flags in (("--trace-tls-key", "x"), ("--trace-tls-ca", "x", "--trace-tls-key", "x"),
                    ("--trace-tls-certificate", "x", "--trace-tls-key", "x"))),
])
def test_settings_refused(flags, message):
    done = subprocess.run([LEADROUTERD, "serve", "--database", "x", *flags], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_files_refused(cluster, database, ca):
    (ca.directory / "server.key").write_text("broken\n")
    done = subprocess.run([LEADROUTERD, "serve", "--database", cluster.service_url(database), "--listen", "127.0.0.1:0", *tls_flags(ca)],
                          capture_output=True, text=True, timeout=PATIENCE_S)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1 and [line["event"] for line in lines] == ["server.failed"], done.stderr
    assert lines[0]["error"].startswith(f"{ca.directory}/server.key holds no private key in PEM form")


def test_leadctl(server, ca):
    def leadctl(*flags, **environment):
        return subprocess.run([LEADCTL, "health", "--target", f"127.0.0.1:{server.port}", *map(str, flags)], capture_output=True, text=True,
                              timeout=PATIENCE_S, env={**os.environ, **environment})
    certificate = ("--tls-certificate", ca.directory / "client.pem", "--tls-key", ca.directory / "client.key")
    done = leadctl("--tls-ca", ca.file, *certificate)
    assert done.returncode == 0, done.stderr
    done = leadctl(LEADROUTER_TLS_CA=str(ca.file), LEADROUTER_TLS_CLIENT_CERTIFICATE=str(ca.directory / "client.pem"),
                   LEADROUTER_TLS_CLIENT_KEY=str(ca.directory / "client.key"), LEADROUTER_TLS_SERVER_NAME="localhost")
    assert done.returncode == 0, done.stderr
    for flags in ((), ("--tls-ca", ca.file)): # plain text; without a certificate
        done = leadctl(*flags)
        assert done.returncode == 1 and f"leadctl: 127.0.0.1:{server.port} hung up at once: it wants TLS" in done.stderr, done.stderr
    done = leadctl("--tls-ca", ca.file, *certificate[:2])
    assert done.returncode == 2 and done.stderr == "leadctl: --tls-certificate and --tls-key go together\n"
    done = leadctl("--tls-ca", ca.file, *certificate, "--tls-server-name", "elsewhere.example.com")
    assert done.returncode == 1 and "no agreement on TLS with 127.0.0.1" in done.stderr
    done = leadctl("--tls-ca", "/nonexistent.pem", *certificate)
    assert done.returncode == 2 and "could not open /nonexistent.pem: No such file or directory" in done.stderr
    done = leadctl(*certificate)
    assert done.returncode == 2 and "TLS needs the CA of the server's certificate" in done.stderr
