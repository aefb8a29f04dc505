"""Goal: what an operator types about jobs, retries and health reads as tests show it here, line by line, says one clear thing when it is
wrong, and ends with the exit code that scripts expect."""
import contextlib
import json
import os
import pty
import re
import subprocess

import pytest

from support.jobs import when_nobody_is_at_it
from support.postgres import LEADCTL
from support.retries import NOBODY, OTHER, PARTNER, create, mend, queue, status_of

pytestmark = pytest.mark.usefixtures("workspaces")

PATIENCE_S = 60


def offline(*words):
    return subprocess.run([LEADCTL, *words, "--target", "127.0.0.1:1"], capture_output=True, text=True, timeout=PATIENCE_S)


def same(text):
    """What differs from run to run, made equal; and no trailing blanks."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r" +", " ", text)
    return [line.rstrip() for line in text.splitlines()]


# --- Words ------------------------------------------------------------------------------------------------------------------------------

COMMANDS = [("jobs", "list"), ("jobs", "run"), ("jobs", "pause"), ("jobs", "resume"), ("retries", "list"), ("retries", "process"),
            ("retries", "cancel")]


@pytest.mark.parametrize("words", COMMANDS)
def test_help_of_a_command(words):
    done = offline(*words, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"Usage: leadctl {' '.join(words)}") and not done.stderr
    assert f"\nExample: leadctl {' '.join(words)}" in done.stdout and max(map(len, done.stdout.splitlines())) <= 100
    assert f"  {' '.join(words)} " in offline("--help").stdout


@pytest.mark.parametrize("words, message", [
    (("jobs",), "leadctl: jobs needs a second word: list, run, pause, resume\n"),
    (("retries", "lst"), 'leadctl: "retries lst" is not a command; did you mean retries list?\n'),
    (("job", "list"), 'leadctl: "job" is not a command; did you mean jobs?\n'),
    (("jobs", "run"), "leadctl: jobs run needs JOB: name of the job; leadctl jobs list shows them\n"),
    (("jobs", "pause", "--note", "x"), "leadctl: jobs pause needs JOB: name of the job"),
    (("jobs", "resume", "expiry", "retries"), 'leadctl: "retries": not expected here'),
    (("retries", "process", "--limit", "0"), 'leadctl: --limit: "0" is not a number from 1 to 10000\n'),
    (("retries", "process", "--limit", "-1"), 'leadctl: --limit: "-1" is not a number from 1 to 10000\n'),
    (("retries", "process", "--limit", "10001"), 'leadctl: --limit: "10001" is not a number from 1 to 10000\n'),
    (("retries", "process", "--limit", "many"), 'leadctl: --limit: "many" is not a number from 1 to 10000\n'),
    (("retries", "list", "--limit", "0"), 'leadctl: --limit: "0" is not a number from 1 to 100000\n'),
    (("retries", "list", "--du"), None), # an unambiguous beginning is a flag
    (("retries", "list", "--deu"), "leadctl: --deu: no such flag; did you mean --due?\n"),
    (("retries", "cancel", NOBODY), "leadctl: retries cancel needs --workspace W: the workspace they came in through\n"),
    (("retries", "cancel", "--workspace", PARTNER), "leadctl: retries cancel needs LEAD: ids of the leads\n"),
    (("retries", "cancel", NOBODY, "you", "--workspace", PARTNER), 'leadctl: LEAD: "you" is not a UUID\n'),
    (("retries", "cancel", NOBODY, "--workspace", "me"), 'leadctl: --workspace: "me" is not a UUID\n'),
])
def test_wrong_words(words, message):
    done = offline(*words)
    if message is None:
        assert done.returncode == 1
    else:
        assert done.returncode == 2 and done.stderr.startswith(message) and not done.stdout


@pytest.mark.parametrize("words", [("jobs", "list"), ("jobs", "run", "expiry"), ("jobs", "pause", "expiry"), ("jobs", "resume", "expiry"),
    ("retries", "list", "--json"), ("retries", "process"), ("retries", "cancel", NOBODY, "--workspace", PARTNER)])
def test_nobody_answers(words):
    done = offline(*words)
    assert done.returncode == 1 and done.stderr == (
        "leadctl: nobody answers at 127.0.0.1:1 (is leadrouterd running? --target says where)\n")
    assert not done.stdout or done.stdout.startswith("LEAD")


# --- Jobs -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.asan
def test_jobs(ctl, sql):
    """A day of an operator."""
    code, text, errors = ctl("jobs", "list")
    assert code == 0 and not errors and max(map(len, text.splitlines())) <= 100
    assert [line.split()[:2] for line in text.splitlines()] == [["JOB", "STATE"]] + [
        [name, "waiting"] for name in ("expiry", "health_check", "lost_leads", "retention", "retries", "seal", "stale_locks")]

    code, text, errors = ctl("jobs", "run", "lost_leads")
    assert code == 0 and not errors
    assert re.sub(r"\d+ ms", "N ms", "\n".join(same(text))).splitlines() == [
        "job lost_leads", "result done", "took N ms", "did all, queued 0"]

    assert ctl("jobs", "pause", "retries", "--note", "the CRM is down") == (
        0, "retries is paused on all servers; leadctl jobs resume retries ends that\n", "")
    code, text, errors = ctl("jobs", "list")
    assert code == 0 and same(text)[-1] == "retries is paused since TIME: the CRM is down"
    assert "retries paused when due - - -" in same(text)

    sql("update leadrouter.scheduled_jobs set next_run_at = now() - interval '1 hour' where name = 'expiry'")
    assert "expiry waiting daily at 02:00 UTC 60 min late - -" in same(ctl("jobs", "list")[1])

    sql("update leadrouter.scheduled_jobs set failures = 2, last_result = 'failed', last_error = 'the reason' where name = 'retention'")
    assert "retention has failed 2 times in a row: the reason" in ctl("jobs", "list")[1]
    assert ctl("jobs", "resume", "retries") == (0, "retries runs again, when due\n", "")
    assert same(ctl("jobs", "resume", "expiry")[1]) == ["expiry runs again, next at TIME"]


def test_jobs_as_json(ctl):
    ctl("jobs", "pause", "expiry", "--note", "why", "--user", NOBODY)
    answer = json.loads(ctl("jobs", "list", "--json")[1])
    assert answer["now"].endswith("Z") and len(answer["jobs"]) == 7
    expiry = answer["jobs"][0]
    assert (expiry["name"], expiry["state"], expiry["pause_note"], expiry["paused_by"]) == ("expiry", "paused", "why", NOBODY)
    assert expiry["next_run_at"] and expiry["description"] and expiry["schedule"] and expiry["last_detail"] == {}
    ran = json.loads(ctl("jobs", "run", "expiry", "--json")[1])
    assert (ran["last_result"], ran["runs"], ran["last_detail"]) == ("done", 1, {"claims_removed": 0, "expired": 0, "leads_left": 0})


def test_names_of_jobs(ctl):
    for command in ("run", "pause", "resume"):
        assert ctl("jobs", command, "expiri") == (1, "", 'leadctl: "expiri" is not a job; did you mean expiry?\n')
        assert ctl("jobs", command, "stale-locks") == (1, "", 'leadctl: "stale-locks" is not a job; did you mean stale_locks?\n')
        assert ctl("jobs", command, "everything") == (1, "", 'leadctl: "everything" is not a job; there are expiry, health_check,'
                                                             ' lost_leads, retention, retries, seal, stale_locks\n')


def test_what_the_server_says(ctl, sql):
    sql("select leadrouter.begin_job('expiry', null, 30000, true)")
    assert ctl("jobs", "run", "expiry") == (1, "", "leadctl: ABORTED: a server runs the job at this moment\n")
    assert ctl("jobs", "pause", "expiry", "--user", "me") == (2, "", 'leadctl: --user: "me" is not a UUID\n')
    assert ctl("retries", "list", "--workspace", "me")[2] == 'leadctl: --workspace: "me" is not a UUID\n'


def test_a_long_run_shows_that_it_goes_on(cluster, database, quiet):
    """On a terminal only, after a second, and the line is taken away."""
    master, slave = pty.openpty()
    with cluster.connect(database) as holder:
        holder.autocommit = False
        holder.cursor().execute("lock table leadrouter.scheduled_jobs in access exclusive mode")
        with subprocess.Popen([LEADCTL, "jobs", "run", "expiry", "--target", quiet.address], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=slave, text=True) as process:
            os.close(slave)
            shown = b""
            while b"expiry runs (1 s)" not in shown:
                shown += os.read(master, 4096)
            holder.rollback()
            out = process.communicate(timeout=PATIENCE_S)[0]
            with contextlib.suppress(OSError): # the other end is closed
                while chunk := os.read(master, 4096):
                    shown += chunk
    os.close(master)
    assert process.returncode in (0, 1) and shown.startswith(b"\r\033[Kexpiry runs (1 s)") and b"\r\033[K" in shown[3:]
    assert process.returncode == 1 or "result             done" in out


# --- Retries ----------------------------------------------------------------------------------------------------------------------------


def test_retries(ctl, quiet, sql):
    """What waits, what is due, tried, and given up."""
    leads = queue(quiet, sql, 3)
    create(quiet, 1, "y", OTHER, route=True)
    code, text, errors = ctl("retries", "list")
    assert code == 0 and not errors and max(map(len, text.splitlines())) <= 100
    assert same(text) == ["LEAD TRIED IN WORKSPACE CLASS"] + ["ID 1/3 due ID unmatched"] * 3 + [same(text)[4], "4 retries"]
    assert re.fullmatch(r"ID 1/3 \d+ s ID unmatched", same(text)[4])
    code, text, errors = ctl("retries", "list", "--due", "--workspace", PARTNER, "--limit", "2")
    assert same(text) == ["LEAD TRIED IN CLASS WHY"] + ["ID 1/3 due unmatched no rule matched"] * 2 + [
        "2 retries, and there are more: --limit"]
    assert same(ctl("retries", "list", "--due", "--workspace", OTHER)[1]) == ["LEAD TRIED IN CLASS WHY", "0 retries"]

    mend(sql, leads[:1])
    code, text, errors = ctl("retries", "process", "--limit", "2")
    assert (code, errors) == (0, "") and same(text)[:2] == ["processed 2", f"routed {[status_of(sql, l) for l in leads].count('routed')}"]
    assert same(text)[-1] == "more may be due: --limit, or once more"
    code, text, errors = ctl("retries", "process")
    assert code == 0 and same(text) == [
        "processed 1", same(text)[1], "duplicates 0", same(text)[3], "failed 0", "expired 0", "held 0", "errors 0"]

    waiting = [lead for lead in leads if status_of(sql, lead) == "pending"]
    code, text, errors = ctl("retries", "cancel", *waiting, NOBODY, "--workspace", PARTNER, "--reason", "test data")
    assert (code, errors) == (1, "")
    assert text.splitlines() == [f"{lead}  cancelled" for lead in waiting] + [f"{NOBODY}  not found, or nothing to cancel"]
    assert {status_of(sql, lead) for lead in waiting} == {"failed"}


def test_retries_as_json(ctl, quiet, sql):
    leads = queue(quiet, sql, 5)
    answer = json.loads(ctl("retries", "list", "--json", "--limit", "4")[1])
    assert len(answer["retries"]) == 4 and answer["more"] is True
    first = answer["retries"][0]
    assert first["lead_id"] in leads and (first["source_workspace_id"], first["attempt"], first["is_due"]) == (PARTNER, 1, True)
    assert first["error_class"] == "unmatched" and first["last_error"] == "no rule matched" and first["next_retry_at"].endswith("Z")
    answer = json.loads(ctl("retries", "process", "--json", "--workspace", PARTNER)[1])
    assert (answer["processed"], answer["requeued"], answer["more"], answer["errors"]) == (5, 5, False, [])
    code, text, _ = ctl("retries", "cancel", leads[0], "--workspace", PARTNER, "--json")
    assert code == 0 and json.loads(text) == {"results": [{"lead_id": leads[0], "result": "cancelled"}]}


def test_more_than_one_call(ctl, quiet, sql):
    """leadctl pages and repeats by itself."""
    for part in range(2):
        queue(quiet, sql, 600, f"x{part}")
    assert same(ctl("retries", "list", "--limit", "1100")[1])[-1] == "1100 retries, and there are more: --limit"
    assert same(ctl("retries", "list", "--limit", "5000")[1])[-1] == "1200 retries"
    mend(sql)
    answer = json.loads(ctl("retries", "process", "--limit", "1150", "--json")[1])
    assert (answer["processed"], answer["routed"], answer["more"]) == (1150, 1150, True)
    assert json.loads(ctl("retries", "process", "--limit", "10000", "--json")[1])["processed"] == 50


def test_retries_that_cannot_be_looked_at(ctl, quiet, sql):
    bad, _ = queue(quiet, sql, 2)
    sql(f"alter table leads add constraint broken check (id <> '{bad}' or routing_attempts < 2) not valid")
    code, text, errors = ctl("retries", "process")
    assert code == 1 and "errors 1" in same(text)
    assert errors.startswith(f"leadctl: {bad}: could not be routed now (SQLSTATE 23514)") and errors.count("\n") == 1


# --- Health -----------------------------------------------------------------------------------------------------------------------------


def test_health(ctl, quiet, sql):
    code, text, errors = ctl("health")
    assert code == 0 and not errors and max(map(len, text.splitlines())) <= 100
    lines = same(re.sub(r"within the last \d+ s", "within the last N s", text))
    assert lines == [
        "status healthy", "pending 0", " of them held 0", "routing 0", "failed 0", "retries queued 0", "retries due 0", "stale locks 0",
        "oldest pending -", "oldest due -", "attempts 0 within the last N s, by this server",
        "job expiry waiting", "job health_check waiting", "job lost_leads waiting", "job retention waiting", "job retries waiting",
        "job seal waiting", "job stale_locks waiting", "counted TIME by server 0.1.0, schema version 1"]
    queue(quiet, sql, 3)
    sql("update lead_routing_queue set next_retry_at = now() - interval '2 hours'")
    ctl("jobs", "pause", "retries")
    code, text, errors = ctl("health", "--workspace", PARTNER)
    assert code == 1 and "problems a retry has been due for 2 h" in same(text) and "attempts" not in text and "job " not in text
    assert "oldest due 2 h" in same(text)


def test_health_as_json(ctl, quiet):
    create(quiet, 4, country="DE", route=True)
    answer = json.loads(ctl("health", "--json")[1])
    assert (answer["status"], answer["held"], answer["oldest_due_age_seconds"]) == ("healthy", 0, 0)
    assert answer["rates"]["decisions"] == 4 and answer["rates"]["success_share"] == 1 and answer["rates"]["p99_us"] > 0
    assert answer["jobs"][0] == {"name": "expiry", "state": "waiting", "failures": 0, "last_ended_at": ""}
    one = json.loads(ctl("health", "--json", "--workspace", PARTNER)[1])
    assert one["rates"] is None and one["jobs"] == []


@pytest.mark.parametrize("job", ["retries", "lost_leads", "seal", "stale_locks", "expiry", "retention", "health_check"])
def test_every_job_runs_to_its_end(server, leadctl, job):
    """Each step of each, as the server calls it: a count of another type than it reads would end the server."""
    assert sorted(line.split()[0] for line in leadctl("jobs", "list").stdout.splitlines()[1:] if line[:1] != " ") == sorted(
        ["retries", "lost_leads", "seal", "stale_locks", "expiry", "retention", "health_check"])
    done = when_nobody_is_at_it(lambda: leadctl("jobs", "run", job))
    assert done.returncode == 0, done.stderr
    assert server.process.poll() is None
