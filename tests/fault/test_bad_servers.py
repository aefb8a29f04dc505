"""Goal: whatever a server says, a call of our client ends, with a status and a text that can be shown; and what the core
makes of some answers stays known."""
import signal
import subprocess

import pytest

from support.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Answerer, frame, headers_of, message
from support.postgres import LEADCTL

PATIENCE_S = 60
HEALTHY = message(b"\x08\x01")
BEGIN = headers_of(status="200", content_type="application/grpc")
GZIP = headers_of(status="200", content_type="application/grpc", grpc_encoding="gzip")
HTML = {"content_type": "text/html"}
OK = headers_of(grpc_status="0")
NO_MESSAGE = "INTERNAL: the server sent no response message"


def headers(fields, is_last=False):
    return lambda stream: frame(HEADERS, END_HEADERS | (END_STREAM if is_last else 0), stream, fields)


def data(body, is_last=False):
    return lambda stream: frame(DATA, END_STREAM if is_last else 0, stream, body)


def answer(body, begin=BEGIN, end=OK):
    return [headers(begin), *([] if body is None else [data(body)]), headers(end, True)]


def failed(**fields):
    return answer(None, end=headers_of(**fields))


def ask(parts):
    """leadctl asks a server that answers with these frames for its health."""
    with Answerer(lambda stream: b"".join(part(stream) for part in parts)) as server:
        return subprocess.run(["prlimit", "--core=0", LEADCTL, "health", "--target", server.address],
                              capture_output=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("parts", [
    pytest.param(answer(HEALTHY), id="whole"),
    # The core does not say that a message came flagged: it is looked at as it is, and this one is whole.
    pytest.param(answer(message(b"\x08\x01", flag=1)), id="compressed, without an encoding"),
])
def test_taken(parts):
    done = ask(parts)
    assert done.returncode == 0 and b"healthy" in done.stdout, done.stderr


@pytest.mark.parametrize("parts, text", [
    pytest.param(answer(None), NO_MESSAGE, id="no message"),
    pytest.param(answer(b""), NO_MESSAGE, id="no bytes"),
    pytest.param(answer(HEALTHY[:3]), NO_MESSAGE, id="a prefix cut short"),
    pytest.param(answer(message(b"\x08\x01", size=9)), NO_MESSAGE, id="cut short"),
    pytest.param(answer(message(b"\x08\x01", size=0xFFFFFFFF)), NO_MESSAGE, id="a length beyond any body"),
    pytest.param(answer(message(b"\x08\x01", flag=2)), NO_MESSAGE, id="a flag that is none"),
    pytest.param(answer(message(b"\xff\xff")), "INTERNAL: the server's response: HealthResponse: ", id="no protobuf"),
    pytest.param(answer(message(b"\x08\x01", flag=1), begin=GZIP), "INTERNAL: the server's response cannot be decompressed",
                 id="compressed, and is not"),
    # The core waits until somebody reads the second message; nobody does.
    pytest.param(answer(HEALTHY * 2), "DEADLINE_EXCEEDED: ", id="two messages"),
    pytest.param([headers(BEGIN), data(HEALTHY, True)], "UNKNOWN: ", id="no trailers"),
    pytest.param([headers(BEGIN), lambda stream: frame(RST_STREAM, 0, stream, b"\0\0\0\2")], "INTERNAL: ", id="reset"),
    pytest.param([headers(headers_of(status="404"), True)], "UNIMPLEMENTED: ", id="404"),
    pytest.param([headers(headers_of(status="503", **HTML)), data(b"<html>", True)], "UNAVAILABLE: ", id="503"),
    pytest.param([headers(headers_of(status="200", **HTML)), data(b"<html>", True)], "UNKNOWN: ", id="a web page"),
    pytest.param(failed(grpc_status="99"), "UNKNOWN: ", id="a status that is none"),
    pytest.param(failed(grpc_status="x"), "UNKNOWN: ", id="a status that is no number"),
    pytest.param(failed(grpc_status="5", grpc_message="gr%C3%BC%FFn%00!"), "NOT_FOUND: gr\u00fc\ufffdn\ufffd!", id="a text that is none"),
    pytest.param(failed(grpc_status="5", grpc_message="%zz%"), "NOT_FOUND: %zz%", id="a text that is not encoded"),
    pytest.param(failed(grpc_status="5", grpc_status_details_bin="!!!"), "", id="details that are no base64"),
    pytest.param(failed(grpc_status="14", grpc_retry_pushback_ms="x"), "UNAVAILABLE: ", id="a push-back that is no number"),
])
def test_refused(parts, text):
    done = ask(parts)
    errors = done.stderr.decode("utf-8") # which it is
    assert done.returncode == 1 and errors.startswith(f"leadctl: {text}") and len(errors.splitlines()) == 1, (done.returncode, errors)
    assert not done.stdout


@pytest.mark.parametrize("parts", [
    pytest.param(answer(HEALTHY, end=headers_of(x="y")), id="trailers"),
    pytest.param([headers(headers_of(status="200"), True)], id="nothing but a header"),
])
def test_no_status_ends_the_client(parts):
    """SECURITY.md: the core's retries look at the status without asking whether there is one."""
    done = ask(parts)
    assert done.returncode == -signal.SIGABRT, "the core has learnt to survive this: SECURITY.md can change"


# Parts of an answer of ImportLeads.
IMPORT_ID = b"0b9e0b9e-0000-4000-8000-000000000001"
STARTED = message(b"\x0a\x26\x0a\x24" + IMPORT_ID)
RESULTS = message(b"\x12\x06\x0a\x04\x08\x01\x10\x01")
IMPORT = message(b"\x1a\x26\x0a\x24" + IMPORT_ID)
UNKNOWN_PART = message(b"\x7a\x00")


@pytest.mark.parametrize("parts, text", [
    pytest.param(RESULTS, "the server answered before it had begun the import", id="results first"),
    pytest.param(IMPORT, "the server answered before it had begun the import", id="the end first"),
    pytest.param(STARTED + STARTED, "the server began the import twice", id="begun twice"),
    pytest.param(STARTED + IMPORT, "the server ended the import before it was asked to", id="ended early"),
    pytest.param(UNKNOWN_PART, "the server's answer has a part that this leadctl does not know", id="an unknown part first"),
    pytest.param(STARTED + UNKNOWN_PART, "the server's answer has a part that this leadctl does not know", id="an unknown part"),
    pytest.param(STARTED + message(), "the server's answer has a part that this leadctl does not know", id="no part"),
])
def test_import(parts, text, tmp_path):
    """The stream stays open: leadctl does not wait for its end, nor begins another. Other calls are refused."""
    def frames(stream):
        asked.append(stream)
        return b"".join(part(stream) for part in ([headers(BEGIN), data(parts)] if stream == 1 else failed(grpc_status="12")))

    asked = []
    leads = tmp_path / "leads.csv"
    leads.write_text("email\na@example.com\n")
    with Answerer(frames, is_early=True) as server:
        done = subprocess.run([LEADCTL, "import", leads, "--workspace", IMPORT_ID, "--map", "email=email", "--quiet",
                               "--target", server.address], capture_output=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr.decode()) == (1, f"leadctl: {text}\n")
    assert len(asked) <= 2, "the import, and how far it came"
