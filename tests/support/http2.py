"""HTTP/2 by hand: what no decent client sends. Frames (RFC 9113) with headers in HPACK literals (RFC 7541, section 6.2.2), so
that nothing of one call is needed to read the next.
"""
import contextlib
import socket
import struct
import threading

import grpc

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CANCEL = 8
STATUS_NAMES = {status.value[0]: status.name for status in grpc.StatusCode}
FRAME_MAX = 16384
PATIENCE_S = 60
ROUTE_LEAD = "/leadrouter.v1.RoutingService/RouteLead"
HEALTH = "/leadrouter.v1.RoutingService/Health"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def text(value):
    """An HPACK string, not Huffman-coded."""
    raw = value if isinstance(value, bytes) else value.encode()
    if len(raw) < 127:
        return bytes([len(raw)]) + raw
    left, size = len(raw) - 127, b"\x7f"
    while left >= 128:
        size, left = size + bytes([left % 128 | 128]), left // 128
    return size + bytes([left]) + raw


def headers_of(**fields):
    """Headers as literals; `fields` with _ for -, and a : before `status`."""
    named = ((":status" if name == "status" else name.replace("_", "-"), value) for name, value in fields.items())
    return b"".join(b"\x00" + text(name) + text(value) for name, value in named)


def block(path, authority="localhost", content_type="application/grpc", **more):
    """The headers of a gRPC call; `more` with _ for -."""
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": authority, "te": "trailers",
              "content-type": content_type, **{name.replace("_", "-"): value for name, value in more.items()}}
    return b"".join(b"\x00" + text(name) + text(value) for name, value in fields.items())


def long_call(stream, path=HEALTH, **more):
    """A call without a message whose headers may be longer than a frame."""
    headers = block(path, **more)
    parts = [headers[i:i + FRAME_MAX] for i in range(0, len(headers), FRAME_MAX)]
    return b"".join(frame(HEADERS if i == 0 else CONTINUATION, END_HEADERS if i == len(parts) - 1 else 0, stream, part)
                    for i, part in enumerate(parts)) + frame(DATA, END_STREAM, stream, message())


def message(payload=b"", flag=0, size=None):
    """A gRPC message: uncompressed, and as long as it says, unless told otherwise."""
    return struct.pack(">BI", flag, len(payload) if size is None else size) + payload


def literal(headers, name):
    """The value of a header that the core wrote as a literal, as it does the first time on a connection; None: not there."""
    _, found, rest = headers.partition(bytes([len(name)]) + name.encode())
    return rest[1:1 + rest[0]].decode() if found else None


def status_of(frames):
    """How a connection's first call ended: the name of its status and the message; None when it was cut off without one."""
    trailers = b"".join(payload for kind, _, _, payload in frames[-1:] if kind == HEADERS)
    code = literal(trailers, "grpc-status")
    return code and (STATUS_NAMES[int(code)], literal(trailers, "grpc-message") or "")


class Peer:
    """A connection that has said its preface."""

    def __init__(self, address, **socket_options):
        host, port = address.rsplit(":", 1)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if "receive_size" in socket_options:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, socket_options["receive_size"])
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((host, int(port)))
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.left = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, frames):
        self.socket.sendall(frames)

    def call(self, stream, path, payload=b"", **headers):
        self.call_with(stream, path, message(payload), **headers)

    def call_with(self, stream, path, body, flags=END_STREAM, **headers):
        """A call whose body is these bytes, whatever they are."""
        self.send(frame(HEADERS, END_HEADERS, stream, block(path, **headers)) + frame(DATA, flags, stream, body))

    def _take(self, size):
        while len(self.left) < size:
            got = self.socket.recv(65536)
            if not got:
                return None
            self.left += got
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def read(self):
        """The next frame as (kind, flags, stream, payload), SETTINGS and PINGs answered; None at the end."""
        while True:
            head = self._take(9)
            if head is None:
                return None
            size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = self._take(size)
            if kind in (SETTINGS, PING):
                if not flags & ACK:
                    self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
                continue
            return kind, flags, stream, payload

    def frames_of(self, stream):
        """The frames of a stream up to its end, or to the connection's."""
        frames = []
        while True:
            got = self.read()
            if got is None or got[0] == GOAWAY:
                return frames
            if got[2] == stream:
                frames.append(got)
                if got[1] & END_STREAM and got[0] in (DATA, HEADERS) or got[0] == RST_STREAM:
                    return frames


def resets(count, first=1, path=ROUTE_LEAD):
    """Frames that begin `count` calls and take each back at once."""
    headers = block(path)
    cancel = struct.pack(">I", CANCEL)
    return b"".join(frame(HEADERS, END_HEADERS, stream, headers) + frame(RST_STREAM, 0, stream, cancel)
                    for stream in range(first, first + 2 * count, 2))


class Answerer:
    """A server that answers each call with these frames, whatever it is asked; `frames` is told the stream's number. It answers at
    the end of the request, or with `is_early` at its first message."""

    def __init__(self, frames, is_early=False):
        self.frames = frames
        self.is_early = is_early
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR) # wakes accept()
        self.socket.close()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def _serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream, contextlib.suppress(ConnectionError): # clients may go
                self._answer(connection, stream)

    def _answer(self, connection, stream):
        stream.read(len(PREFACE))
        connection.sendall(frame(SETTINGS, 0, 0))
        answered = set()
        while len(head := stream.read(9)) == 9:
            size, kind, flags, number = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = stream.read(size)
            if kind in (SETTINGS, PING) and not flags & ACK:
                connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            if kind == DATA and (self.is_early or flags & END_STREAM) and number not in answered:
                answered.add(number)
                connection.sendall(self.frames(number))
