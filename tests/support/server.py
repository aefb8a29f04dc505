"""One leadrouterd: started on a free port, its log lines kept, ended by signal.

`with Server(url) as server:` gives `address`, `routing`, `leads`, `rules` and `maintenance` (stubs), and `lines()` (the log so far, as
objects). stop() returns the exit code.
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import threading

import grpc

from support.product_cluster import PATIENCE_S, wait_until
from support.postgres import BUILD, LEADROUTERD
from support.stubs import leads_pb2_grpc, maintenance_pb2_grpc, routing_pb2_grpc, rules_pb2_grpc

# What must never be in a log: an e-mail address, a connection string.
PRIVATE = re.compile(r"[\w.+-]+@[\w-]+\.\w+|postgres(ql)?://|password|host=/|dbname=")


class Server:
    def __init__(self, url=None, *flags, listen="127.0.0.1:0", **environment):
        source = ["--database", url] if url else []
        self.output = []
        self.changed = threading.Condition()
        self.channels = []
        self.process = subprocess.Popen([LEADROUTERD, "serve", *source, "--listen", listen, *flags], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="surrogateescape",
                                        env={**os.environ, **environment})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        started = self.wait_for("server.started")
        self.address = started["listen"]
        channel = self.channel()
        self.routing = routing_pb2_grpc.RoutingServiceStub(channel)
        self.leads = leads_pb2_grpc.LeadServiceStub(channel)
        self.rules = rules_pb2_grpc.RuleServiceStub(channel)
        self.maintenance = maintenance_pb2_grpc.MaintenanceServiceStub(channel)
        return self

    def __exit__(self, *_):
        for channel in self.channels:
            channel.close()
        if self.process.poll() is None:
            self._end()
        self.reader.join(PATIENCE_S)
        self.process.stderr.close()

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.output.append(line)
                self.changed.notify_all()
        with self.changed:
            self.output.append(None)
            self.changed.notify_all()

    def channel(self, **options):
        """A channel of its own connection, closed with the server."""
        # min_reconnect_backoff_ms is how long one attempt to connect may take.
        settings = {"grpc.use_local_subchannel_pool": 1, "grpc.initial_reconnect_backoff_ms": 50, "grpc.min_reconnect_backoff_ms": 5000,
                    "grpc.max_reconnect_backoff_ms": 200, "grpc.enable_retries": 0, **options}
        channel = grpc.insecure_channel(self.address, options=list(settings.items()))
        self.channels.append(channel)
        return channel

    def text(self):
        """Standard error so far."""
        return "".join(line for line in self.output if line is not None)

    def lines(self):
        """The log so far; fails on a line that is no JSON object."""
        return [json.loads(line) for line in self.output if line is not None]

    def events(self, name):
        return [line for line in self.lines() if line["event"] == name]

    def wait_for(self, event):
        """The first log line of this kind."""
        def found():
            assert None not in self.output or self.events(event), f"no {event}: {self.text()}"
            return self.events(event)
        with self.changed:
            assert self.changed.wait_for(lambda: self.output[-1:] == [None] or self._has(event), PATIENCE_S), self.text()
        return found()[0]

    def _has(self, event):
        return any(line is not None and f'"{event}"' in line for line in self.output)

    def wait(self, patience_s=PATIENCE_S):
        """Waits for the end; the exit code."""
        code = self.process.wait(timeout=patience_s)
        self.reader.join(PATIENCE_S)
        return code

    def stop(self, patience_s=PATIENCE_S):
        """SIGTERM; the exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        return self.wait(patience_s)

    def kill(self):
        self.process.kill()
        return self.wait()

    def _end(self):
        """Of no test's interest any more. What ran is written down by a program that ends, in a build that counts it."""
        if BUILD.name == "coverage":
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
                return
        self.kill()

    def check_log(self):
        """Every line is JSON, and nothing in it is private."""
        self.lines()
        assert not PRIVATE.search(self.text()), PRIVATE.search(self.text())


def wait_ready(server):
    """Waits until calls are answered."""
    grpc.channel_ready_future(server.channels[0]).result(timeout=PATIENCE_S)
    return wait_until(lambda: server.process.poll() is None, "the server has ended")
