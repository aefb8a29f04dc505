"""rules_peer as a conversation: one JSON object in, one out."""
import json
import subprocess

from support.postgres import BUILD


class Peer:
    def __init__(self):
        self.process = subprocess.Popen([BUILD / "tests/rules/rules_peer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0
        self.process.stdout.close()

    def ask(self, request):
        """The answer to a request; the attributes of its leads go as texts."""
        if "leads" in request:
            request = {**request, "leads": [{name: value for name, value in lead.items() if name != "attributes"} | (
                {"attributes_json": json.dumps(lead["attributes"])} if "attributes" in lead else {}) for lead in request["leads"]]}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())
