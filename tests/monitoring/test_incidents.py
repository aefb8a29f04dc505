"""Goal: who has never seen the product finds a cause by the runbooks alone. Three incidents are planted in a running server that a real
Prometheus and Alertmanager watch; from there on only what is there is used: the message that comes, the page that it names, the commands
of that page, the pages that it links to, and numbers and ids that were printed before. What was typed and printed is docs/incidents.md.

LEADROUTER_WRITE_TRANSCRIPTS=1 writes that page anew: read the difference before you commit it."""
import contextlib
import os
import re
import subprocess

import grpc
import pytest

from support.admin import address_of
from support.guides import BLOCK, PATH, text_of
from support.monitoring import Monitoring
from support.postgres import ROOT
from support.product_cluster import ProductCluster, wait_until
from support.retries import CALL_S, DESK, PARTNER, create, mend, route
from support.server import wait_ready
from support.stubs import maintenance_pb2
from support.watched_site import Site

PAGE = "incidents.md"
TIMEOUT_S = 60

# What a run of another day prints otherwise: compared are the words.
DIFFERS = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"\b[0-9a-f]{8}[0-9a-f-]*…", "ID"),
    (r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d[\d:.]*(Z|\+00)?", "TIME"),
    (r"\b1/3 +(due|\d+ \w+)", "1/3 SOON"),
    (r"^ *\d+ \| leadrouter_service .*\n|^\(\d+ rows?\)\n", ""), # the server's own transactions come and go
    # Counts, shares and jobs of that moment; what tells the cause is looked for besides.
    (r"^(status|pending|retries queued|retries due|oldest|attempts|success|locks|expired|wait|job|problems|counted| {18}) .*\n", ""),
    (r"^(expiry|health_check|lost_leads|retention|retries|seal|stale_locks) +(waiting|paused|running|failing) .*\n", ""),
    (r"\b\d+(\.\d+)?( ?(days?|h|min|m|s|ms)\b)+", "WHILE"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?", "WHILE"),
    (r"\d+(\.\d+)?", "N"),
    (r"-{2,}", "--"),
    (r" +", " "),
]


class Operator:
    """Types what pages say, and nothing else."""

    def __init__(self, title, planted, environment, log_of):
        self.environment, self.log_of = environment, log_of
        self.written = [f"## {title}\n", f"*Planted:* {planted}\n"]
        self.printed = ""
        self.page = None

    def write(self, text):
        self.written.append(text)

    @contextlib.contextmanager
    def told_by(self, ward, alert):
        """What is done inside makes the alert fire; then the message as a receiver got it, and the page that it names."""
        mark = ward.monitoring.receiver.mark()
        with ward.told(alert):
            yield
        labels, notes = ward.monitoring.receiver.since(mark, "firing")[alert]
        self.printed += "".join(labels.values())
        rows = "".join(f"{name}: {notes[name]}\n" for name in ("value", "expected", "impact", "actions", "runbook_url"))
        rows = rows.replace("\n\n", "\n").rstrip()
        self.write(f"The message:\n\n```text\n{labels['alertname']} ({labels['severity']}): {notes['summary']}\n{rows}\n```\n")
        self.open(notes["runbook_url"].rpartition("/")[2])

    def open(self, page):
        """The first page, or one that this page links to."""
        assert self.page is None or f"]({page}" in text_of(f"runbooks/{self.page}"), f"{self.page} does not lead to {page}"
        self.page = page
        title = text_of(f"runbooks/{page}").partition("\n")[0].removeprefix("# ")
        self.write(f"The page [{page}](runbooks/{page}), *{title}*:\n")

    def know(self, **names):
        """What a variable of the commands stands for: something that was printed."""
        for name, value in names.items():
            assert value in self.printed, f"nobody has told {name}"
            self.environment[name] = value
        self.write("So " + " and ".join(f"`{name}={value}`" for name, value in names.items()) + ".\n")

    def type(self, start, code=0, **words):
        """The block of the page that begins so, its words in capitals replaced by what was printed; what it prints."""
        found = [match[2] for match in BLOCK.finditer(text_of(f"runbooks/{self.page}")) if match[2].startswith(start)]
        assert len(found) == 1, f"{self.page} has {len(found)} blocks that begin with: {start}"
        text, = found
        for word, value in words.items():
            assert value in self.printed and word in text, f"nobody has told {word}"
            text = text.replace(word, value)
        with open(self.environment["LOG"], "w", encoding="utf-8") as log:
            log.write(self.log_of())
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == code, done.stdout
        self.printed += done.stdout
        printed = re.sub(r" +$", "", done.stdout, flags=re.MULTILINE).rstrip("\n")
        self.write(f"```console\n$ {text}{printed}\n```\n")
        return done.stdout

    def sees(self, output, pattern, words):
        """What tells the cause, in the output; the match. The words are the reader's."""
        match = re.search(pattern, output, re.MULTILINE)
        assert match, f"not printed: {pattern}\n{output}"
        self.write(f"{words}\n")
        return match


class Ward(Site):
    """A site with a server for each incident: what one says of its last hour is about that alone."""

    @contextlib.contextmanager
    def serving(self, count):
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(self.server()) for _ in range(count)]
            for server in servers:
                wait_ready(server)
            self.watch(*servers)
            # What happens is seen only by who has looked before.
            wait_until(lambda: len(self.monitoring.query("count_over_time(up[10s]) > 2")) == count, "not scraped")
            yield servers

    def operator(self, title, planted, server, directory):
        host, port = address_of(server)
        return Operator(title, planted, {
            **os.environ, "PATH": PATH, "PAGER": "", "COLUMNS": "160",
            "DATABASE": self.cluster.url(self.name), "LEADROUTER_TARGET": server.address, "ADMIN": f"http://{host}:{port}",
            "LOG": str(directory / "leadrouter.log")}, server.text)

    def undecided(self, leads):
        return self.sql("select count(*) from leads where routing_status <> 'routed' and id = any (%s::uuid[])", (leads,))[0][0]


# --- The incidents ------------------------------------------------------------------------------------------------------------


def forgotten_session(ward, server, directory):
    """A report has locked rows of leads in a transaction, and its session stands still; callers ask for these leads."""
    operator = ward.operator("A session that was forgotten", forgotten_session.__doc__, server, directory)
    leads = create(server, 24, "held", country="DE")
    session = ward.cluster.connect(ward.name)
    session.autocommit = False
    session.cursor().execute("set application_name = 'month-end-report'")
    session.cursor().execute("select id, email from leads order by created_at for update")
    with operator.told_by(ward, "LeadrouterLockTimeouts"):
        for lead in leads:
            with pytest.raises(grpc.RpcError) as caught:
                route(server, lead)
            assert caught.value.code() == grpc.StatusCode.ABORTED
    holders = operator.type('psql "$DATABASE" -c "select pid')
    pid = operator.sees(holders, r"^ *(\d+) \| \w+ +\| month-end-report +\| idle in transaction \|.*RowShareLock on leads",
                        "**The cause:** the session of `month-end-report` holds rows of `leads`. It is `idle in transaction`: nothing"
                        " runs in it any more. The page says to tell its owner or to end it.")[1]
    operator.type('psql "$DATABASE" -c "select pg_terminate', PID=pid)
    with ward.cleared("LeadrouterLockTimeouts"):
        assert "month-end-report" not in operator.type('psql "$DATABASE" -c "select pid')
    operator.write("**Over:** nobody is in the list, and the message is taken back. The same leads are routed when they are asked for"
                   " again.\n")
    session.close()
    for lead in leads:
        route(server, lead)
    assert ward.undecided(leads) == 0
    return operator


def rule_that_takes_nobody(ward, server, directory):
    """Somebody has narrowed a rule to an industry, which the leads that come do not have."""
    operator = ward.operator("A rule that matches nothing", rule_that_takes_nobody.__doc__, server, directory)
    rules = directory / "rules.yaml"
    rules.write_text(f"rules:\n  - {{name: Germans, destination: {DESK}, conditions: {{countries: [DE], industries: [Software]}}}}\n")
    subprocess.run(["leadctl", "rules", "apply", rules, "--workspace", PARTNER, "--note", "software only, as sales asked for"],
                   env=operator.environment, capture_output=True, check=True, timeout=TIMEOUT_S)
    with operator.told_by(ward, "LeadrouterElevatedRetries"):
        leads = create(server, 60, "new", country="DE", route=True)
    listed = operator.type("leadctl health\n")
    lead, workspace = operator.sees(listed, r"^([0-9a-f-]{36}) .* ([0-9a-f-]{36}) +unmatched$",
                                    "All of them are of one workspace, and `unmatched`: rules, says the page, and where to go"
                                    " on.").groups()
    operator.know(W=workspace, LEAD=lead)
    operator.open("routing-failures.md")
    operator.type("leadctl retries list")
    said = operator.type("leadctl history")
    assert "$.industries: company_industry in" in said
    version, = operator.sees(said, r"^ +(\d+)  [\d -]+:\d+ +1 +0  software only, as sales asked for$",
                             "**The cause:** the rule `Germans` asks for an industry, which the lead does not have, since a change of rules"
                             " that was made just before. Its note says who wanted it. What it did:").groups()
    before = str(int(version) - 1)
    operator.sees(operator.type("leadctl rules diff", FROM=before), 'rule "Germans"',
                  "Before it the rule took these leads. So back to the version before:")
    operator.type("leadctl rules revert", FROM=before)
    wait_until(lambda: ward.undecided(leads) == 0, "the leads that were refused are not routed")
    with ward.cleared("LeadrouterElevatedRetries"):
        assert "0 retries" in operator.type("leadctl retries list")
    operator.write("**Over:** the leads that were refused are routed, and the message is taken back.\n")
    return operator


def paused_retries(ward, server, directory):
    """Somebody has paused retries, and gone home."""
    operator = ward.operator("Retries that were paused", paused_retries.__doc__, server, directory)
    with operator.told_by(ward, "LeadrouterOldestDueRetry"):
        server.maintenance.PauseJob(maintenance_pb2.PauseJobRequest(name="retries", note="the CRM is being moved, back at nine"),
                                    timeout=CALL_S)
        leads = create(server, 3, "late", country="FR", route=True)
        mend(ward.sql, leads)
        ward.sql("update lead_routing_queue set next_retry_at = now() - interval '10 minutes'"
                 " where processed_at is null and lead_id = any (%s::uuid[])", (leads,))
    operator.sees(operator.type("leadctl health\n"), r"^retries is paused since .*: the CRM is being moved, back at nine$",
                  "**The cause:** `retries` is paused, since when and why says the line under the list of jobs. The CRM is back, says its"
                  " owner; so the page's next command:")
    operator.type("leadctl jobs resume")
    wait_until(lambda: ward.undecided(leads) == 0, "the leads are not routed")
    with ward.cleared("LeadrouterOldestDueRetry"):
        pass
    again = operator.type("leadctl health\n")
    assert "0 retries" in again and "is paused" not in again
    operator.write("**Over:** nothing is due, and the message is taken back.\n")
    return operator


BEGINNING = """# Three incidents

What somebody who has never seen leadrouter finds by the [runbooks](runbooks/README.md) alone. Three causes were planted in a running
server that Prometheus and Alertmanager watched. From the message on, only this was typed: the commands of the page that the message
names and of the pages that it links to, with numbers and ids that had been printed before. `tests/monitoring/test_incidents.py` does
it anew with each run of `tools/check --long`, by commands that it takes from the pages, and fails when what is printed does not name
the cause any more, or is not what is here (numbers, times and ids apart). Hours are seconds there, so that messages come at once.

"""


def same(text):
    """The page without what is different on another day."""
    for pattern, instead in DIFFERS:
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


@pytest.mark.long
def test_incidents(tmp_path):
    text = BEGINNING
    with ProductCluster() as cluster, Monitoring() as monitoring:
        ward = Ward(cluster, monitoring, tmp_path)
        incidents = (forgotten_session, rule_that_takes_nobody, paused_retries)
        with ward.serving(len(incidents)) as servers:
            for incident, server in zip(incidents, servers):
                text += "\n".join(incident(ward, server, tmp_path).written) + "\n"
    page = ROOT / "docs" / PAGE
    if os.environ.get("LEADROUTER_WRITE_TRANSCRIPTS"):
        page.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    assert same(text).strip().splitlines() == same(page.read_text(encoding="utf-8")).strip().splitlines()
