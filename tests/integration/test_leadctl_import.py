"""Goal: an import that somebody breaks off, or that breaks, goes on where it was; what was rejected is in a file that can be corrected and
imported; a person is told how far it is and how to go on; and whatever the file is, the answer is one clear sentence and the right exit
code."""
import concurrent.futures
import contextlib
import csv
import json
import os
import pathlib
import pty
import random
import re
import resource
import signal
import subprocess
import time

import grpc
import pytest

from support.guides import run_script, scripts
from support.imports import not_beyond
from support.ports import free_address
from support.postgres import LEADCTL
from support.process import memory_bytes
from support.product_cluster import execute, wait_until
from support.server import Server
from support.stubs import leads_pb2

PARTNER, DESK, NOBODY = (f"00000000-0000-4000-8000-0000000000{n}" for n in ("01", "02", "ff"))
PATIENCE_S = 60
LONG = "LEADROUTER_LONG" in os.environ

WORKSPACES = f"""
insert into workspaces (id, name, workspace_type) values ('{PARTNER}', 'Partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)
values ('{PARTNER}', 'Germans', '{{"countries": ["DE"]}}', '{DESK}')"""


@pytest.fixture(autouse=True)
def workspace(sql):
    sql(WORKSPACES)


class Path:
    def __init__(self, tmp_path):
        self.leads, self.errors = tmp_path / "leads.csv", tmp_path / "errors.csv"


@pytest.fixture
def path(tmp_path):
    return Path(tmp_path)


def words(path, address, *flags):
    return [str(LEADCTL), "import", str(path), "--workspace", PARTNER, "--target", address, *flags]


def run(path, server, *flags, **options):
    return subprocess.run(words(path, server.address, *flags), capture_output=True, text=True, timeout=PATIENCE_S, **options)


@contextlib.contextmanager
def going(path, address, *flags, **options):
    """leadctl in the background."""
    with subprocess.Popen(words(path, address, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def people(count, every_bad=0):
    """A file of leads; each `every_bad`-th row is none."""
    return "id,email,country\n" + "".join(
        f"x{n},{'nonsense' if every_bad and n % every_bad == 0 else f'p{n}@example.com'},DE\n" for n in range(1, count + 1))


MAP = ("--map", "external_id=id")


def wait_for_rows(sql, count):
    return wait_until(lambda: [row for row in sql("select last_row from bulk_upload_jobs") if row[0] >= count], "rows to come in")[0][0]


def rejected(path):
    """The file of rejected rows."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- Going on -----------------------------------------------------------------------------------------------------------------


def test_a_killed_import_goes_on_by_itself(server, sql, path):
    path.leads.write_text(people(1500, 50), encoding="utf-8")
    flags = (*MAP, "--route", "--batch", "20", "--errors", str(path.errors))
    with not_beyond(sql, 1000), going(path.leads, server.address, *flags) as process:
        wait_for_rows(sql, 100)
        process.kill()
    at = sql("select last_row from bulk_upload_jobs")[0][0]
    assert at < 1500, "killed in the middle"
    done = run(path.leads, server, *flags, "--json")
    assert done.returncode == 1, "there are rejected rows"
    assert re.search(r"leads.csv: goes on behind row \d+\n", done.stderr), done.stderr
    summary = json.loads(done.stdout)
    assert (summary["processed"], summary["created"], summary["rejected"], summary["is_continued"], summary["state"]) == (
        1500, 1470, 30, True, "completed_with_errors")
    assert summary["read"] < 1500 and summary["destinations"] == {DESK: 1470}
    assert sql("select count(*), count(distinct external_id) from leads where routing_status = 'routed'") == [(1470, 1470)]
    assert [int(row["rejected_row"]) for row in rejected(path.errors)] == list(range(50, 1501, 50)), "those of the first run too"
    again = run(path.leads, server, *flags, "--json")
    assert again.returncode == 1 and "this import has ended before; --again takes the file in once more" in again.stderr
    assert {**json.loads(again.stdout), "seconds": 0, "read": 0, "outcomes": 0} == {**summary, "seconds": 0, "read": 0, "outcomes": 0}
    assert "\n\n\n" not in run(path.leads, server, *flags).stdout, "nothing was routed in this run, and so nothing is said of it"
    assert len(rejected(path.errors)) == 30


def test_resume_insists(server, sql, path):
    path.leads.write_text(people(1000), encoding="utf-8")
    done = run(path.leads, server, *MAP, "--resume")
    assert done.returncode == 1 and "there is nothing to resume: no unfinished import of this file" in done.stderr
    assert sql("select count(*) from bulk_upload_jobs") == [(0,)], "nothing was begun"
    with not_beyond(sql, 800), going(path.leads, server.address, *MAP, "--batch", "10") as process:
        wait_for_rows(sql, 50)
        process.kill()
    for other in (("--route",), ("--blank", "x"), ("--map", "city=country")): # another import: it has nothing to go on with
        assert run(path.leads, server, *MAP, "--resume", *other).returncode == 1
    done = run(path.leads, server, *MAP, "--resume", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["processed"] == 1000
    done = run(path.leads, server, *MAP, "--resume")
    assert done.returncode == 1 and "there is nothing to resume" in done.stderr
    assert sql("select count(*) from bulk_upload_jobs") == [(1,)]


def test_a_changed_file_is_another_import(server, sql, path):
    path.leads.write_text(people(10), encoding="utf-8")
    run(path.leads, server, *MAP)
    path.leads.write_text(people(12), encoding="utf-8")
    summary = json.loads(run(path.leads, server, *MAP, "--json").stdout)
    assert (summary["processed"], summary["created"], summary["existing"]) == (12, 2, 10)


def test_again(server, sql, path):
    path.leads.write_text(people(10), encoding="utf-8")
    assert run(path.leads, server, *MAP, "--again").returncode == 0
    for _ in range(2):
        summary = json.loads(run(path.leads, server, *MAP, "--again", "--json").stdout)
        assert (summary["existing"], summary["created"], summary["is_continued"]) == (10, 0, False)
    assert sql("select count(*) from bulk_upload_jobs where status = 'completed'") == [(3,)]
    for wrong in (("--again", "--resume"), ("--dry-run", "--again"), ("--dry-run", "--resume")):
        assert run(path.leads, server, *MAP, *wrong).returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_ctrl_c(server, sql, path, number):
    path.leads.write_text(people(1200), encoding="utf-8")
    with not_beyond(sql, 1000), going(path.leads, server.address, *MAP, "--batch", "10", "--json") as process:
        wait_for_rows(sql, 40)
        process.send_signal(number)
        output, text = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    match = re.search(r"leadctl: interrupted\nleadctl: rows up to (\d+) are in for good \(import [0-9a-f-]+\); "
                      r"the same command goes on behind them\n", text)
    assert match, text
    at = int(match[1])
    assert sql("select last_row, (select count(*) from leads) from bulk_upload_jobs") == [(at, at)] and at < 1200
    wait_until(lambda: sql("select status from bulk_upload_jobs") == [("pending",)], "the import to be left")
    summary = json.loads(output)
    assert (summary["created"], summary["read"] - summary["unsent"]) == (at, at)
    assert json.loads(run(path.leads, server, *MAP, "--json").stdout)["created"] == 1200


def test_ctrl_c_before_anything(path):
    """While it waits for a server, and while it waits for a file."""
    path.leads.write_text(people(10), encoding="utf-8")
    os.mkfifo(path.errors)
    for name in (path.leads, path.errors):
        with going(name, "127.0.0.1:1", "--quiet") as process:
            if name == path.errors:
                writer = os.open(path.errors, os.O_WRONLY)
            wait_until(lambda: signal_is_caught(process.pid), "leadctl to be ready")
            process.send_signal(signal.SIGINT)
            _, text = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1 and "interrupted" in text, text
    os.close(writer)


def signal_is_caught(pid):
    """Whether it waits for SIGINT by itself."""
    blocked = re.search(r"^SigBlk:\s+(\w+)", pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.M)[1]
    return int(blocked, 16) >> (signal.SIGINT - 1) & 1


def test_a_second_ctrl_c_ends_it_at_once(cluster, database, sql, path):
    """Also when the server does not say a word."""
    path.leads.write_text(people(1200), encoding="utf-8")
    with Server(cluster.service_url(database)) as server:
        with not_beyond(sql, 1000), going(path.leads, server.address, *MAP, "--batch", "10") as process:
            wait_for_rows(sql, 40)
            server.process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
            wait_until(lambda: not pathlib.Path(f"/proc/{process.pid}/stat").exists() or pending(process.pid) == 0, "the first to be taken")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)
        server.process.send_signal(signal.SIGCONT)
    assert process.returncode == -signal.SIGINT


def pending(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"^ShdPnd:\s+(\w+)", status, re.M)[1], 16)


def test_the_server_goes_away_and_comes_back(cluster, database, sql, path):
    path.leads.write_text(people(1200, 200), encoding="utf-8")
    first = Server(cluster.service_url(database), listen=free_address()).__enter__()
    with going(path.leads, first.address, *MAP, "--route", "--batch", "16", "--json", "--errors", str(path.errors)) as process:
        with not_beyond(sql, 1000):
            for n in range(3):
                wait_for_rows(sql, 120 * (n + 1))
                first.kill()
                first.__exit__()
                first = Server(cluster.service_url(database), listen=first.address).__enter__()
        output, text = process.communicate(timeout=PATIENCE_S)
    first.__exit__()
    assert process.returncode == 1 and "waiting for at most 120 s" in text, text
    summary = json.loads(output)
    assert (summary["processed"], summary["created"], summary["rejected"], summary["unsent"], summary["is_continued"]) == (
        1200, 1194, 6, 0, False)
    assert sql("select count(*), count(distinct external_id) from leads") == [(1194, 1194)]
    assert [int(row["rejected_row"]) for row in rejected(path.errors)] == list(range(200, 1201, 200))


def test_the_server_goes_away_for_good(cluster, database, sql, path):
    path.leads.write_text(people(2000), encoding="utf-8")
    with Server(cluster.service_url(database)) as server:
        with not_beyond(sql, 1500, PATIENCE_S), going(path.leads, server.address, *MAP, "--batch", "10", "--wait", "1") as process:
            wait_for_rows(sql, 50)
            server.kill()
            _, text = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    at = sql("select last_row from bulk_upload_jobs")[0][0]
    assert "nobody answers at" in text and re.search(rf"rows up to \d+ are in for good .*the same command goes on behind them", text), text
    assert int(re.search(r"rows up to (\d+)", text)[1]) <= at


def test_too_many_imports_at_once_wait_for_their_turn(server, sql, path):
    """A server works at four; the others are told to come later, and do."""
    processes = []
    with contextlib.ExitStack() as stack:
        for n in range(6):
            name = path.leads.with_name(f"{n}.csv")
            name.write_text(people(400).replace("x", f"x{n}-").replace("p", f"p{n}-"), encoding="utf-8")
            processes.append(stack.enter_context(going(name, server.address, *MAP, "--batch", "8")))
        results = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, results
    assert sql("select count(*) from leads") == [(2400,)]


def test_a_workspace_with_little_messages(server, sql, path):
    """More rows in a message than the workspace may send: they are sent in smaller ones."""
    sql("update workspaces set routing_config = '{\"limits\": {\"leads_per_request\": 70}}' where id = %s", (PARTNER,))
    path.leads.write_text(people(500), encoding="utf-8")
    done = run(path.leads, server, *MAP, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["created"] == 500, done.stderr


def test_a_pipe_is_read_once(server, sql, path):
    done = run("-", server, *MAP, "--json", input=people(100))
    assert done.returncode == 0 and json.loads(done.stdout)["created"] == 100, done.stderr
    assert sql("select source from bulk_upload_jobs") == [("standard input",)]
    done = run("-", server, *MAP, "--resume", input=people(100))
    assert done.returncode == 1 and "what can be read only once cannot be resumed" in done.stderr


DECIDED = """
select l.email, l.country, l.decided_outcome, l.workspace_id::text, coalesce(r.rule_name, ''), d.external_id
from leads l left join lead_routing_rules r on r.id = l.matched_rule_id left join leads d on d.id = l.duplicate_lead_id
order by substr(l.external_id, 2)::integer"""


@pytest.mark.long
def test_as_if_one_by_one(cluster, database, server, sql, path):
    """10,000 rows of fewer people, some of whom go elsewhere, stay, or find no rule: decided as if each had come by itself, in order."""
    chance = random.Random(7)
    people = [(n, f"p{chance.randrange(5000)}@example.com", chance.choice(["DE", "FR", "IT"])) for n in range(1, 10_001)]
    path.leads.write_text("id,email,country\n" + "".join(f"x{n},{email},{country}\n" for n, email, country in people), encoding="utf-8")
    france = (f"insert into lead_routing_rules (workspace_id, destination_workspace_id, rule_name, conditions)"
              f" values ('{PARTNER}', '{PARTNER}', 'France', '{{\"countries\": [\"FR\"]}}')")
    sql(france)
    done = subprocess.run(words(path.leads, server.address, *MAP, "--route"), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    imported = sql(DECIDED)
    other = cluster.database()
    execute(cluster, other, WORKSPACES + ";" + france)
    with Server(cluster.service_url(other), "--no-jobs") as slow:
        for n, email, country in people:
            lead = leads_pb2.NewLead(external_id=f"x{n}", email=email, country=country)
            slow.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=[lead], route=True), timeout=PATIENCE_S)
    single = execute(cluster, other, DECIDED)
    cluster.drop_database(other)
    assert imported == single and {row[2] for row in single} == {"success", "duplicate", None}


# --- Rejected rows ------------------------------------------------------------------------------------------------------------


def test_rejected_rows_are_corrected_and_imported(server, sql, path):
    """Quotes, line ends and commas come back as they were; what is rejected again is rejected again until it is right."""
    path.leads.write_text('id,email,city\n1,a@example.com,Ulm\n2,nobody,"Berlin, ""Mitte"""\n3,c@example.com,Bonn,extra\n'
                          '4,"no\nbody",Köln\n5,e@example.com,"a"b\n', encoding="utf-8")
    done = run(path.leads, server, *MAP, "--errors", str(path.errors), "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["rejected"] == 4
    content = path.errors.read_bytes()
    assert content.startswith(b"id,email,city,rejected_row,rejected_field,rejected_reason\r\n") and content.endswith(b"\r\n")
    rows = rejected(path.errors)
    assert [(row["id"], row["rejected_row"], row["rejected_field"]) for row in rows] == [
        ("2", "2", "email"), ("3", "3", ""), ("4", "4", "email"), ("5", "5", "")]
    assert rows[0]["city"] == 'Berlin, "Mitte"' and rows[2]["email"] == "no\nbody" and rows[1][None] == ["extra"]
    assert rows[1]["rejected_reason"] == "has 4 fields where the header has 3"
    second = path.errors.with_name("second.csv")
    done = run(path.errors, server, *MAP, "--errors", str(second), "--json")
    assert json.loads(done.stdout)["rejected"] == 4, "nothing was corrected: nothing slips through"
    assert [row["id"] for row in rejected(second)] == ["2", "3", "4", "5"] and second.read_bytes().count(b"rejected_row") == 1
    text = content.decode("utf-8").replace("nobody", "b@example.com").replace(",extra", "").replace('"no\nbody"', "d@example.com")
    path.errors.write_bytes(re.sub(r",\(not all of .*\)", "", text).replace("\r\n5,e@example.com,,", "\r\n5,e@example.com,Bad,").encode())
    done = run(path.errors, server, *MAP, "--json")
    assert done.returncode == 0, done.stderr
    assert sql("select external_id, email, city from leads order by 1")[1] == ("2", "b@example.com", 'Berlin, "Mitte"')
    assert sql("select count(*), count(*) filter (where attributes ? 'rejected_row') from leads") == [(5, 0)]


def test_columns_about_the_rejection_are_no_attributes(server, sql, path):
    """A mapping that keeps what it does not know does not keep those."""
    path.leads.write_text("email,shoe size,rejected_row,rejected_field,rejected_reason\na@example.com,43,7,email,is none\n",
                          encoding="utf-8")
    mapping = path.leads.with_name("m.yaml")
    mapping.write_text("fields:\n  email: email\nrest: true\n", encoding="utf-8")
    done = run(path.leads, server, "--mapping", str(mapping))
    assert done.returncode == 0, done.stderr
    assert sql("select attributes from leads") == [({"shoe size": "43"},)]


def test_rejected_rows_without_a_header_and_of_json(server, sql, path):
    path.leads.write_text("1,a@example.com\n2,nobody\n", encoding="utf-8")
    flags = ("--map", "external_id=1", "--map", "email=2")
    assert run(path.leads, server, "--no-header", *flags, "--errors", str(path.errors)).returncode == 1
    path.errors.write_bytes(path.errors.read_bytes().replace(b"nobody", b"b@example.com"))
    done = run(path.errors, server, *flags)
    assert done.returncode == 0 and sql("select count(*) from leads") == [(2,)], done.stderr
    path.leads.write_text('{"email": "c@example.com"}\n{"email": 7, "city": "a,\\"b\\""}\n{"email"\n', encoding="utf-8")
    assert run(path.leads, server, "--errors", str(path.errors)).returncode == 1
    assert [(row["record"], row["rejected_row"]) for row in rejected(path.errors)] == [('{"email": 7, "city": "a,\\"b\\""}', "2"),
                                                                                      ('{"email"', "3")]


def test_rejected_rows_of_a_document_are_written_one_by_one(server, sql, path):
    """Of a page with hundreds of people, each that is rejected is a record by itself; corrected and made JSON lines, as the guide says,
    they are imported by the same mapping."""
    page = [{"id": n, "firstName": "Ann", "lastName": "No", "about": "y" * 5000,
             "emails": [{"email": "x" if n % 10 == 0 else f"p{n}@example.com"}]} for n in range(1, 401)]
    page[14] = "no person"
    path.leads.write_text(json.dumps({"success": True, "data": {"identities": page}}, indent=1), encoding="utf-8")
    done = run(path.leads, server, "--mapping", "datashopper", "--errors", str(path.errors), "--json")
    assert (json.loads(done.stdout)["created"], json.loads(done.stdout)["rejected"]) == (359, 41), done.stderr
    assert [json.loads(row["record"]) for row in rejected(path.errors)] == [one for n, one in enumerate(page, 1) if n == 15 or n % 10 == 0]
    assert path.errors.stat().st_size < 41 * 6000
    command, = scripts("docs/imports.md")
    corrected = re.sub(r'""email"": *""x""', '""email"":""z@example.com""', path.errors.read_text(encoding="utf-8"))
    path.errors.with_name("rejected.csv").write_text(corrected, encoding="utf-8")
    run_script(command, cwd=path.errors.parent)
    done = run(path.errors.with_name("again.jsonl"), server, "--mapping", "datashopper", "--json")
    assert (json.loads(done.stdout)["created"], json.loads(done.stdout)["rejected"]) == (40, 1), done.stderr


def test_what_the_server_rejects_is_written_too(server, sql, path):
    sql("alter table leads add constraint known check (city <> 'Nowhere')")
    path.leads.write_text("id,email,city\n" + "".join(f"{n},p{n}@example.com,{'Nowhere' if n % 7 == 0 else 'Ulm'}\n"
                                                      for n in range(1, 101)), encoding="utf-8")
    assert run(path.leads, server, *MAP, "--errors", str(path.errors)).returncode == 1
    assert [int(row["id"]) for row in rejected(path.errors)] == list(range(7, 101, 7))
    assert {row["rejected_reason"] for row in rejected(path.errors)} == {REFUSED}


def test_a_line_that_was_cut_off_is_written_again(server, sql, path):
    """Who writes rejected rows is killed in the middle of one, and what he had not written is in the import all the same."""
    path.leads.write_text(people(1000, 10), encoding="utf-8")
    flags = (*MAP, "--batch", "10", "--errors", str(path.errors))
    with going(path.leads, server.address, *flags) as process:
        wait_for_rows(sql, 100)
        process.kill()
    content = path.errors.read_bytes()
    path.errors.write_bytes(content[:-9])
    run(path.leads, server, *flags)
    assert [int(row["rejected_row"]) for row in rejected(path.errors)] == list(range(10, 1001, 10))


REFUSED = "a value does not fit the database's own types or constraints (SQLSTATE 23514)"


def some_refused(sql, count, every):
    """A file of which the database refuses every such row, and leadctl itself every 50th; the rejected rows as they are to be told."""
    sql("alter table leads add constraint known check (city <> 'Nowhere')")
    content, told = "id,email,city\n", []
    for n in range(1, count + 1):
        content += f"x{n},{'nonsense' if n % 50 == 0 else f'p{n}@example.com'},{'Nowhere' if n % every == 0 else 'Ulm'}\n"
        if n % 50 == 0:
            told.append((str(n), "email", "is not an e-mail address"))
        elif n % every == 0:
            told.append((str(n), "", REFUSED))
    return content, told


def told_of(path):
    return [(row["rejected_row"], row["rejected_field"], row["rejected_reason"]) for row in rejected(path)]


@pytest.mark.parametrize("victim", ["leadctl", "the server"])
def test_every_rejected_row_is_told_of(cluster, database, sql, path, victim):
    """Also those that the server rejected, more than the hundred that an import shows, whose results nobody was left to write down: rows
    are in, and before their results are sent, for which routing is made to wait, somebody is killed."""
    content, told = some_refused(sql, 1200, 4)
    path.leads.write_text(content, encoding="utf-8")
    flags = (*MAP, "--route", "--batch", "400", "--errors", str(path.errors), "--json")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(cluster.service_url(database), listen=free_address()))
        holder = stack.enter_context(contextlib.closing(cluster.connect(database)))
        holder.autocommit = False
        holder.cursor().execute("lock table lead_dedupe_claims in access exclusive mode")
        first = stack.enter_context(going(path.leads, server.address, *flags))
        wait_for_rows(sql, 800)
        assert not rejected(path.errors), "nothing is written down yet"
        (first if victim == "leadctl" else server).kill()
        holder.rollback()
        if victim == "leadctl":
            first.communicate()
            output = run(path.leads, server, *flags).stdout
        else:
            stack.enter_context(Server(cluster.service_url(database), listen=server.address))
            output, _ = first.communicate(timeout=PATIENCE_S)
    assert json.loads(output)["rejected"] == len(told) > 300
    assert told_of(path.errors) == told


def test_rejected_rows_are_told_of_after_the_end(server, sql, path, leadctl):
    """Somebody who did not ask for a file while it ran gets one within a week; later he is told that some are missing."""
    content, told = some_refused(sql, 500, 4)
    path.leads.write_text(content, encoding="utf-8")
    done = run(path.leads, server, *MAP, "--json")
    assert done.returncode == 1
    shown = ("imports", "rejected", json.loads(done.stdout)["import_id"], "--workspace", PARTNER)
    listed = json.loads(leadctl(*shown, "--json", "--limit", "1000").stdout)
    assert [(str(row["row"]), row["field"], row["reason"]) for row in listed["rows"]] == told and not listed["more"]
    table = leadctl(*shown, "--limit", "2").stdout.splitlines()
    assert table[0].split() == ["ROW", "FIELD", "REASON"] and table[-1] == "2 rows, and there are more: --limit", table
    done = run(path.leads, server, *MAP, "--errors", str(path.errors))
    assert done.returncode == 1 and "this import has ended before" in done.stderr and "missing" not in done.stderr
    assert told_of(path.errors) == told
    path.errors.unlink()
    sql("update bulk_upload_jobs set completed_at = now() - interval '8 days'")
    leadctl("jobs", "run", "retention")
    done = run(path.leads, server, *MAP, "--errors", str(path.errors))
    assert f"{path.errors}: {len(told)} rejected rows are missing: which they were is known for a week" in done.stderr
    assert not rejected(path.errors)


class Front(grpc.GenericRpcHandler):
    """Hands calls on to a server; the first of one method ends with `code`, and `pushback` if that is not None."""

    def __init__(self, address, method, code, pushback):
        self.channel, self.method, self.code, self.pushback = grpc.insecure_channel(address), method, code, pushback
        self.came_s, self.requests = [], [] # of that method

    def service(self, details):
        call = self.channel.stream_stream(details.method)

        def hand_on(requests, context):
            if details.method == self.method:
                self.came_s.append(time.monotonic())
                self.requests.append(next(requests))
                requests = iter(self.requests[-1:])
                if len(self.requests) == 1:
                    context.set_trailing_metadata([("grpc-retry-pushback-ms", self.pushback)] if self.pushback else [])
                    context.abort(self.code, "not now")
            try:
                yield from call(requests)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
        return grpc.stream_stream_rpc_method_handler(hand_on)


@contextlib.contextmanager
def served(handler):
    front = grpc.server(concurrent.futures.ThreadPoolExecutor(4), handlers=[handler])
    port = front.add_insecure_port("127.0.0.1:0")
    front.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        front.stop(None).wait()


@pytest.mark.parametrize("code, pushback, least_s, rows", [
    pytest.param(grpc.StatusCode.UNAVAILABLE, None, 0.1, 1000, id="away"),
    pytest.param(grpc.StatusCode.RESOURCE_EXHAUSTED, "700", 0.7, 1000, id="busy"),
    pytest.param(grpc.StatusCode.RESOURCE_EXHAUSTED, "-1", 0, 500, id="too much"),
])
def test_a_server_that_does_not_tell_of_rejected_rows_at_once(server, sql, path, code, pushback, least_s, rows):
    """Asked again, when it wants to be, and for no more than it can say at once, it answers, and nothing was the matter."""
    content, told = some_refused(sql, 500, 4)
    path.leads.write_text(content, encoding="utf-8")
    assert run(path.leads, server, *MAP, "--json").returncode == 1
    front = Front(server.address, "/leadrouter.v1.LeadService/ListRejectedRows", code, pushback)
    with served(front) as address:
        done = subprocess.run(words(path.leads, address, *MAP, "--errors", str(path.errors)), capture_output=True, text=True,
                              timeout=PATIENCE_S)
    assert "this import has ended before" in done.stderr and "not now" not in done.stderr, done.stderr
    assert told_of(path.errors) == told
    first, second = front.came_s
    assert second - first >= least_s
    assert [leads_pb2.ListRejectedRowsRequest.FromString(one).page_size for one in front.requests] == [1000, rows]


def test_no_room_for_rejected_rows(server, sql, path):
    """One clear sentence; what is in stays in, and with room it goes on and has all of them."""
    path.leads.write_text(people(3000, 3), encoding="utf-8")
    done = run(path.leads, server, *MAP, "--errors", "/dev/full")
    assert done.returncode == 1 and "could not write to /dev/full: No space left on device" in done.stderr
    assert sql("select count(*) from leads") == [(0,)], "nothing was sent"
    flags = (*MAP, "--batch", "100", "--errors", str(path.errors))
    done = run(path.leads, server, *flags, "--json", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
    assert done.returncode == 1 and done.stderr.count(f"could not write to {path.errors}: File too large") == 1, done.stderr
    assert "the same command goes on behind them" in done.stderr
    (at, leads), = sql("select last_row, (select count(*) from leads) from bulk_upload_jobs")
    assert 0 < at < 3000 and leads == at - at // 3
    done = run(path.leads, server, *flags, "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["processed"] == 3000
    assert [int(row["rejected_row"]) for row in rejected(path.errors)] == list(range(3, 3001, 3))


def test_rejected_rows_into_a_file_that_cannot_be(server, sql, path):
    path.leads.write_text(people(3), encoding="utf-8")
    done = run(path.leads, server, *MAP, "--errors", str(path.leads))
    assert done.returncode == 1 and f"--errors {path.leads}: is the file that is imported" in done.stderr
    done = run(path.leads, server, *MAP, "--errors", str(path.errors.parent))
    assert done.returncode == 1 and f"could not open {path.errors.parent}: Is a directory" in done.stderr
    assert sql("select count(*) from leads") == [(0,)] and path.leads.read_text(encoding="utf-8") == people(3)


# --- Without writing ----------------------------------------------------------------------------------------------------------


def test_dry_run(server, sql, path):
    path.leads.write_text(people(40, 10).replace("p3@example.com,DE", "p3@example.com,FR"), encoding="utf-8")
    done = run(path.leads, server, *MAP, "--dry-run", "--errors", str(path.errors), "--json")
    assert done.returncode == 1, "some rows would be rejected"
    tried = json.loads(done.stdout)
    assert (tried["dry_run"], tried["read"], tried["leads"], tried["rejected"], tried["asked"]) == (True, 40, 36, 4, 36)
    assert tried["rules"] == [{"destination_workspace_id": DESK, "summary": 'rule "Germans" takes it', "leads": 35},
                              {"destination_workspace_id": "", "summary": "no rule takes it; it is tried again later", "leads": 1}]
    assert len(rejected(path.errors)) == 4
    assert sql("select (select count(*) from leads), (select count(*) from bulk_upload_jobs)") == [(0, 0)]
    done = run(path.leads, server, *MAP, "--dry-run")
    assert "Nothing was written." in done.stdout and 'rule "Germans" takes it' in done.stdout and "drawn" not in done.stdout


def test_dry_run_of_a_large_file_asks_about_some(server, sql, path):
    rows = "".join(f"x{n},p{n}@example.com,{'DE' if n % 2 else 'FR'}\n" for n in range(1, 4001))
    path.leads.write_text("id,email,country\n" + rows, encoding="utf-8")
    done = run(path.leads, server, *MAP, "--dry-run")
    assert done.returncode == 0 and "The rules were asked about 1000 leads, drawn evenly from all of them" in done.stdout
    tried = json.loads(run(path.leads, server, *MAP, "--dry-run", "--json").stdout)
    assert (tried["leads"], tried["asked"]) == (4000, 1000)
    assert 400 < tried["rules"][0]["leads"] < 600, "even and odd rows alike"
    assert sql("select count(*) from leads") == [(0,)]


# --- What one sees ------------------------------------------------------------------------------------------------------------


def test_a_bar_on_a_terminal(cluster, database, sql, path):
    """Percent, rows, rate and time left in one line, which is gone at the end."""
    path.leads.write_text(people(30000), encoding="utf-8")
    with Server(cluster.service_url(database)) as server:
        master, slave = pty.openpty()
        with subprocess.Popen(words(path.leads, server.address, *MAP, "--batch", "20"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=slave) as process:
            os.close(slave)
            shown, is_interrupted = b"", False
            with contextlib.suppress(OSError):
                while chunk := os.read(master, 4096):
                    shown += chunk
                    if b" left" in shown and not is_interrupted: # a second one would end it at once
                        process.send_signal(signal.SIGINT)
                        is_interrupted = True
        os.close(master)
    lines = shown.decode("utf-8").split("\r\033[K")
    assert any(re.fullmatch(r"\[#*\.*\] \d+ %, \d+ rows, \d+ a second, \d+:\d\d left", line) for line in lines), lines
    assert all(len(line) < 80 for line in lines[1:-1] if "leadctl" not in line) and "interrupted" in lines[-1]


def test_imports_list_and_show(server, sql, path, leadctl):
    path.leads.write_text(people(50, 10), encoding="utf-8")
    summary = json.loads(run(path.leads, server, *MAP, "--route", "--json").stdout)
    listed = json.loads(leadctl("imports", "list", "--workspace", PARTNER, "--json").stdout)
    shown = json.loads(leadctl("imports", "show", summary["import_id"], "--workspace", PARTNER, "--json").stdout)
    assert listed == {"imports": [shown], "more": False}
    assert (shown["source"], shown["state"], shown["created"], shown["rejected"], shown["destinations"]) == (
        "leads.csv", "completed_with_errors", 45, 5, {DESK: 45})
    assert [one["row"] for one in shown["errors"]] == [10, 20, 30, 40, 50]
    table = leadctl("imports", "list", "--workspace", PARTNER).stdout.splitlines()
    assert table[0].split() == ["IMPORT", "BEGUN", "STATE", "ROWS", "CREATED", "REJECTED", "SOURCE"], table
    assert table[1].split()[0] == summary["import_id"] and table[1].endswith("leads.csv")
    text = leadctl("imports", "show", summary["import_id"], "--workspace", PARTNER).stdout
    assert "completed_with_errors" in text and re.search(r"10  email: is not an e-mail address", text) and DESK in text
    for limit in (1, 2):
        path.leads.write_text(people(limit), encoding="utf-8")
        run(path.leads, server, *MAP)
    limited = json.loads(leadctl("imports", "list", "--workspace", PARTNER, "--limit", "2", "--json").stdout)
    assert len(limited["imports"]) == 2 and limited["more"]
    assert leadctl("imports", "list", "--workspace", DESK).stdout.splitlines()[-1] == "0 imports"
    done = leadctl("imports", "show", NOBODY, "--workspace", PARTNER)
    assert done.returncode == 1 and "NOT_FOUND: no such import in that workspace" in done.stderr
    for wrong in (("imports",), ("imports", "list"), ("imports", "show"), ("imports", "show", NOBODY)):
        assert leadctl(*wrong).returncode == 2


# --- Bad input ----------------------------------------------------------------------------------------------------------------

BAD = {
    "empty": (b"", 1, "leads.csv: the file is empty", 0),
    "blank": (b"\n \r\n\n", 1, "leads.csv: the file is empty", 0),
    "header only": (b"id,email\n", 0, None, 0),
    "no header": (b"1,a@example.com\n2,b@example.com\n", 1,
                  "line 1: names of columns are expected, but column 2 is an e-mail address", 0),
    "NUL bytes": (b"id,email\n1,a\0@example.com\n2,b@example.com\n", 1, "line 2: rejected: contains a NUL byte", 1),
    "nothing but NUL bytes": (bytes(100_000), 1, "leads.csv: ", 0),
    "a program": (None, 1, "leads.csv: ", 0),
    "a workbook": (b"PK\x03\x04\x14\0\x06\0\x08\0" + bytes(range(256)) * 40, 1, "leads.csv: ", 0),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40, 1, "leads.csv: ", 0),
    "duplicate columns": (b"id,email,email\n1,a@example.com,b@example.com\n", 1, 'columns 2 and 3 are both called "email"', 0),
    "5000 columns": (b"id,email\n1,a@example.com" + b",x" * 4998 + b"\n2,b@example.com\n", 1,
                     "line 2: rejected: has 5000 fields where the header has 2", 1),
    "5000 columns in the header": (b",".join(b"c%d" % n for n in range(5000)) + b"\n", 1,
                                   "line 1: 5000 columns, at most 1000 are taken", 0),
    "JSON 10000 deep": (b'{"id": "1", "email": "a@example.com", "x": ' + b"[" * 10000 + b"]" * 10000 + b'}\n{"id": "2"}\n', 1,
                        "line 1: rejected: ", 1),
    "JSON 10000 deep and never closed": (b'{"x": ' + b"[" * 10000, 1, "line 1: the JSON that begins here is", 0),
    "a quote that is never closed": (b'id,email\n1,"a@example.com\n2,b@example.com\n', 1, "line 2: a quoted field begins here", 0),
}


def test_bad_files(server, sql, path):
    """Each is answered in a few sentences; the good rows among them are in."""
    for name, (content, code, message, leads) in BAD.items():
        path.leads.write_bytes(LEADCTL.read_bytes()[:200_000] if content is None else content)
        done = run(path.leads, server, *MAP, "--errors", str(path.errors), "--json")
        assert done.returncode == code, (name, done.stderr)
        assert message is None or message in done.stderr, (name, done.stderr)
        assert len(done.stderr) < 4000 and all(line.startswith("leadctl: ") for line in done.stderr.splitlines()), (name, done.stderr)
        summary = json.loads(done.stdout or "{}")
        assert summary.get("created", 0) + summary.get("existing", 0) + summary.get("updated", 0) == leads, (name, summary)
        assert (summary.get("rejected", 0) > 0) == ("rejected: " in done.stderr), name


def test_a_mapping_to_a_field_that_is_none(server, sql, path):
    path.leads.write_text(people(3), encoding="utf-8")
    done = run(path.leads, server, "--map", "shoe_size=id")
    assert done.returncode == 2 and '"shoe_size" is not a field of a lead; there are external_id' in done.stderr
    mapping = path.leads.with_name("m.yaml")
    mapping.write_text("fields:\n  shoe_size: id\n", encoding="utf-8")
    done = run(path.leads, server, "--mapping", str(mapping))
    assert done.returncode == 1 and "m.yaml: line 2: fields.shoe_size: is not a field of a lead" in done.stderr
    mapping.write_text("fields:\n  email: mail\n", encoding="utf-8")
    done = run(path.leads, server, "--mapping", str(mapping))
    assert done.returncode == 1 and 'the file has no column "mail"; it has id, email, country' in done.stderr
    path.leads.write_text(people(3).replace("country", "\u202ecountry", 1), encoding="utf-8")
    assert r"it has id, email, \u202ecountry" in run(path.leads, server, "--mapping", str(mapping)).stderr
    assert sql("select (select count(*) from leads), (select count(*) from bulk_upload_jobs)") == [(0, 0)]


def test_one_line_of_many_gigabytes(server, sql, path):
    """A line is passed over, whatever its size, in memory that does not grow with it."""
    os.mkfifo(path.leads)
    size = (10 if LONG else 1 / 16) * 1024 ** 3
    with going(path.leads, server.address, *MAP, "--json") as process:
        with open(path.leads, "wb", buffering=0) as pipe:
            pipe.write(b"id,email\n1,a@example.com\n2,")
            block, written, most = b"x" * (1 << 20), 0, 0
            while written < size:
                written += pipe.write(block)
                most = max(most, memory_bytes(process.pid)) if written % (16 << 20) == 0 else most
            pipe.write(b"\n3,c@example.com\n")
        output, text = process.communicate(timeout=300)
    assert process.returncode == 1 and "line 3: rejected: longer than 1 MiB" in text, text
    assert json.loads(output)["created"] == 2 and 0 < most < 60 << 20, most
