"""A database with servers on it and what watches them (support/monitoring.py): who is told what, and when it is over."""
import contextlib
import time

from support.admin import address_of
from support.certificates import Authority
from support.product_cluster import execute
from support.retries import WORKSPACES
from support.server import Server

PATIENCE_S = 90
TEXTS = {"summary", "value", "expected", "impact", "actions", "runbook_url", "dashboard_url"}


class Site:
    """A database, the servers on it, and what watches them."""

    def __init__(self, cluster, monitoring, directory):
        self.cluster, self.monitoring, self.patience_s = cluster, monitoring, PATIENCE_S
        self.name = cluster.database()
        # So that servers see everybody's transactions.
        self.sql("grant pg_read_all_stats to leadrouter_owner; alter role leadrouter_owner inherit")
        self.sql(WORKSPACES)
        self.ca = Authority(directory)
        self.ca.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth", days=1)

    def sql(self, statement, parameters=None):
        return execute(self.cluster, self.name, statement, parameters)

    def server(self, *flags):
        return Server(self.cluster.service_url(self.name), "--admin-listen", "127.0.0.1:0", *flags)

    def other(self):
        """A server with a certificate and without background work."""
        files = self.ca.directory
        return self.server("--no-jobs", "--tls-certificate", files / "server.pem", "--tls-key", files / "server.key",
                           "--no-client-certificates")

    def watch(self, *servers):
        self.monitoring.watch(":".join(map(str, address_of(server))) for server in servers)

    @contextlib.contextmanager
    def told(self, *names):
        """What is done inside makes these alerts fire; after it they have come to the receiver."""
        mark = self.monitoring.receiver.mark()
        yield
        self._wait("firing", names, lambda: self.monitoring.receiver.since(mark, "firing"))
        for name, (_, notes) in self.monitoring.receiver.since(mark, "firing").items():
            assert set(notes) == TEXTS and all(notes.values()) and "<no value>" not in str(notes) and "error" not in notes["value"], name

    @contextlib.contextmanager
    def cleared(self, *names):
        """What is done inside takes the cause away, where time does not; after it the receiver knows."""
        yield
        self._wait("resolved", names, self.monitoring.receiver.resolved)
        assert not set(names) & self.monitoring.firing()

    def _wait(self, status, names, told):
        deadline = time.monotonic() + self.patience_s
        while missing := set(names) - set(told()):
            if time.monotonic() > deadline:
                values = {name: self.monitoring.query(f'ALERTS{{alertname="{name}"}}') for name in missing}
                targets = self.monitoring.ask("/api/v1/targets")["data"]["activeTargets"]
                scrapes = [(target["scrapeUrl"], target["health"], target["lastError"]) for target in targets]
                raise AssertionError(f"not {status}: {values}\n{scrapes}\n{self.monitoring.log()}")
            time.sleep(0.1)
