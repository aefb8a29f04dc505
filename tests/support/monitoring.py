"""Prometheus and Alertmanager of Debian on free ports, in directories of their own, and a receiver of their messages.

`shortened(directory)` makes rules in which an hour is a minute: what `generate` writes, with every duration of a `for:` and of a range
divided by 60 and kept between bounds, so that what happens in seconds is seen and forgotten in seconds. Thresholds stay as they are but
for those that are durations themselves, which the test's settings shorten.
"""
import ctypes
import http.server
import json
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.parse
import urllib.request

import yaml

from support.ports import free_port
from support.postgres import ROOT
from support.product_cluster import PATIENCE_S, wait_until

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
RANGE_S = (6, 10)    # what a range becomes at least, so that it has samples enough, and at most, so that it clears
FOR_S = (1, 3)
POLL_S = 0.02        # how soon a server of ours sees that it is to end; Python's default is half a second
PR_SET_PDEATHSIG = 1
DAY_S = 60           # the daily summary comes in the first third of each minute
GENERATE = ROOT / "deploy" / "monitoring" / "generate"


def _shorter(duration, bounds):
    seconds = int(duration[:-1]) * UNITS_S[duration[-1]] / 60
    return f"{round(min(max(seconds, bounds[0]), bounds[1]))}s"


def shortened(directory, **thresholds):
    """rules.yml and alerts.yml in the directory."""
    settings = yaml.safe_load((GENERATE.parent / "settings.yml").read_text(encoding="utf-8"))
    assert set(thresholds) <= set(settings["thresholds"])
    settings["thresholds"].update(thresholds)
    (directory / "settings.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    subprocess.run([GENERATE, "--settings", directory / "settings.yml", "--output", directory / "made"], check=True)
    for name in ("rules.yml", "alerts.yml"):
        text = (directory / "made/prometheus" / name).read_text(encoding="utf-8")
        text = re.sub(r"\[(\d+[smhd])\]", lambda match: f"[{_shorter(match[1], RANGE_S)}]", text)
        text = re.sub(r"^( +for: )(\d+[smhd])$", lambda match: match[1] + _shorter(match[2], FOR_S), text, flags=re.MULTILINE)
        day = "hour() == 9 and minute() < 10"
        assert (day in text) == (name == "alerts.yml")
        (directory / name).write_text(text.replace(day, f"vector(time() % {DAY_S}) < {DAY_S // 3}"), encoding="utf-8")


def _end_with_the_test():
    """In the child: nothing stays behind when the test is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Receiver:
    """What Alertmanager's webhook was told, as {alert: [(status, labels, annotations)]}."""

    def __init__(self):
        self.told = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self): # pylint: disable=invalid-name
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.told += [(alert["status"], alert["labels"], alert["annotations"]) for alert in message["alerts"]]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(POLL_S,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def mark(self):
        return len(self.told)

    def resolved(self):
        """Alerts that fired, of which the last word about each instance is that it does not any more."""
        last = {}
        for state, labels, _ in self.told[:]:
            last[json.dumps(labels, sort_keys=True)] = (labels["alertname"], state)
        return {name for name, _ in last.values()} - {name for name, state in last.values() if state == "firing"}

    def since(self, mark, status):
        """{alert: (labels, annotations)} of what was told since then."""
        return {labels["alertname"]: (labels, annotations) for state, labels, annotations in self.told[mark:] if state == status}


class Monitoring:
    """`with Monitoring(**thresholds) as monitoring:`; watch(servers) says whom Prometheus scrapes."""

    def __init__(self, **thresholds):
        self.thresholds = thresholds

    def __enter__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="leadrouter-monitoring-"))
        shortened(self.directory, **self.thresholds)
        self.receiver = Receiver()
        self.alertmanager_port, self.port = free_port(), free_port()
        self.watch([])
        self.processes = []
        self._start("alertmanager.yml", {
            "route": {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"},
            "receivers": [{"name": "test", "webhook_configs": [{"url": self.receiver.url, "send_resolved": True}]}]},
                    "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alertmanager-data",
                    f"--web.listen-address=127.0.0.1:{self.alertmanager_port}", "--cluster.listen-address=")
        self._start("prometheus.yml", {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml", "alerts.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self.alertmanager_port}"]}]}]},
            "scrape_configs": [{"job_name": "leadrouter",
                                "file_sd_configs": [{"files": ["servers.json"], "refresh_interval": "1s"}]}]},
                    "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--rules.alert.resend-delay=1s",
                    "--scrape.discovery-reload-interval=100ms", # new targets, which it otherwise takes up every 5 s
                    f"--web.listen-address=127.0.0.1:{self.port}")
        wait_until(lambda: self._answers(self.port, "/-/ready") and self._answers(self.alertmanager_port, "/-/ready"), "not ready")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=PATIENCE_S)
        self.receiver.close()
        shutil.rmtree(self.directory)

    def _start(self, name, configuration, *words):
        (self.directory / name).write_text(yaml.safe_dump(configuration), encoding="utf-8")
        with open(self.directory / f"{name}.log", "wb") as log:
            self.processes.append(subprocess.Popen(words, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                   preexec_fn=_end_with_the_test))

    def _answers(self, port, path):
        assert all(process.poll() is None for process in self.processes), self.log()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def log(self):
        return "".join(path.read_text(errors="replace")[-3000:] for path in self.directory.glob("*.log"))

    def watch(self, addresses):
        """Admin listeners, "host:port"; replaces those before."""
        new = self.directory / "servers.new"
        new.write_text(json.dumps([{"targets": list(addresses)}]), encoding="utf-8")
        new.rename(self.directory / "servers.json")

    def ask(self, path, port=None, **parameters):
        url = f"http://127.0.0.1:{port or self.port}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def query(self, expression):
        """[(labels, value)] of a PromQL expression now."""
        answer = self.ask("/api/v1/query", query=expression)
        assert answer["status"] == "success", answer
        return [(result["metric"], float(result["value"][1])) for result in answer["data"]["result"]]

    def firing(self):
        """Names of the alerts that Alertmanager knows to be active."""
        return {alert["labels"]["alertname"] for alert in self.ask("/api/v2/alerts", self.alertmanager_port)}
