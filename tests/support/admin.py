"""Requests to the admin listener, well made and not."""
import http.client
import json
import re
import socket

SAMPLE = re.compile(r'([a-z_]+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def address_of(server):
    """Host and port of a server's admin listener."""
    host, _, port = server.wait_for("server.started")["admin"].rpartition(":")
    return host.strip("[]").replace("0.0.0.0", "127.0.0.1"), int(port)


def get(server, path, method="GET", context=None, timeout=10, **headers):
    """The answer, with its body as `text`."""
    host, port = address_of(server)
    connection = (http.client.HTTPSConnection(host, port, timeout=timeout, context=context) if context
                  else http.client.HTTPConnection(host, port, timeout=timeout))
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        return answer
    finally:
        connection.close()


def health(server):
    answer = get(server, "/api/health")
    return answer.status, json.loads(answer.text)


def raw(server, *parts, patience_s=30):
    """Sends the parts, as far as they are taken, and returns all that comes back until the connection's end."""
    with socket.create_connection(address_of(server), timeout=patience_s) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except OSError:
            pass
        got = b""
        try:
            while chunk := connection.recv(65536):
                got += chunk
        except ConnectionResetError:
            pass
        return got


def parse(text):
    """{(name, (labels as sorted pairs)): value} of Prometheus' text format; fails on a line that is none."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.match(r"# (HELP|TYPE) [a-z_]+ ", line), line
            continue
        match = SAMPLE.match(line)
        assert match, line
        labels = LABEL.findall(match[2] or "")
        assert ",".join(f'{name}="{value}"' for name, value in labels) == (match[2] or ""), line
        key = (match[1], tuple(sorted(labels)))
        assert key not in found, f"twice: {line}"
        found[key] = float(match[3])
    return found


def scrape(server):
    answer = get(server, "/metrics")
    assert answer.status == 200 and answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


def value(samples, metric, /, **labels):
    return samples[metric, tuple(sorted(labels.items()))]
