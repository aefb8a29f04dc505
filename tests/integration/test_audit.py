"""Goal: whoever tampers with the audit log behind the server's back is found out by `leadctl audit verify`, which names the row; and who
keeps the last seal elsewhere finds out even those who make all seals anew. The forms of tampering: tests/sql/test_seals.py."""
import json
import re
import uuid

import grpc
import pytest

from support.audit import log_row, make_old_day, seal, tamper
from support.product_cluster import wait_until
from support.retries import CALL_S, create
from support.server import Server
from support.stubs import maintenance_pb2

pytestmark = pytest.mark.usefixtures("workspaces")


@pytest.fixture
def rows(quiet, sql):
    """Ids of the sealed rows of four leads that the server decided."""
    create(quiet, 4, country="DE", route=True)
    seal(quiet)
    return [str(row[0]) for row in sql("select id from lead_routing_logs order by id")]


def call(server, **fields):
    return server.maintenance.VerifyAudit(maintenance_pb2.VerifyAuditRequest(**fields), timeout=CALL_S)


def refusal(server, **fields):
    with pytest.raises(grpc.RpcError) as caught:
        call(server, **fields)
    return caught.value.code(), caught.value.details()


@pytest.mark.asan
def test_nothing_is_wrong(ctl, rows, sql):
    code, text, errors = ctl("audit", "verify")
    assert (code, errors) == (0, "")
    lines = text.splitlines()
    assert lines[0] == "nothing is wrong with 4 rows under 2 seals"
    assert re.fullmatch(r"last seal 1:[0-9a-f]{64} of \d{4}-.*Z", lines[1]) and len(lines) == 2
    log_row(sql)
    assert re.fullmatch(r"not sealed yet: rows since \d{4}-.*Z", ctl("audit", "verify")[1].splitlines()[2])


@pytest.mark.asan
@pytest.mark.parametrize("statement, says", [
    ("update lead_routing_logs set destination_workspace_id = gen_random_uuid() where id = %(one)s",
     ["row {one} is not as it was sealed"]),
    ("delete from lead_routing_logs where id = %(one)s", ["row {one} was removed"]),
    ("insert into lead_routing_logs (id, lead_id, source_workspace_id, routing_result, transaction_id) select %(new)s, lead_id,"
     " source_workspace_id, 'failed', transaction_id from lead_routing_logs where id = %(one)s",
     ["row {new} was put in among sealed ones"]),
    ("with o as materialized (select * from lead_routing_logs where id in (%(one)s, %(two)s)) update lead_routing_logs g"
     " set (lead_id, lock_owner) = (select o.lead_id, o.lock_owner from o where o.id <> g.id) where g.id in (%(one)s, %(two)s)",
     ["row {one} is not as it was sealed", "row {two} is not as it was sealed"]),
], ids=["changed", "deleted", "inserted", "swapped"])
def test_tampering_is_found_and_named(ctl, rows, sql, cluster, database, statement, says):
    names = {"one": rows[0], "two": rows[2], "new": str(uuid.uuid4())}
    tamper(cluster, database, statement, names)
    code, text, errors = ctl("audit", "verify")
    assert (code, errors) == (1, "")
    lines = text.splitlines()
    assert [line.split(";")[0] for line in lines[:len(says)]] == [what.format(**names) for what in says]
    assert lines[len(says)].startswith(f"{len(says)} thing{' is' if len(says) == 1 else 's are'} wrong in 4 rows under 2 seals")
    code, text, errors = ctl("audit", "verify", "--json")
    answer = json.loads(text)
    assert (code, errors) == (1, "")
    assert [finding["text"] for finding in answer["findings"]] == [what.format(**names) for what in says]
    assert {finding["seal"] for finding in answer["findings"]} == {1}
    assert (answer["seals"], answer["rows"], answer["head"]["number"]) == (2, 4, 1)


def test_seals_and_days(ctl, rows, sql, quiet, cluster, database):
    """What is wrong with no row has a sentence too."""
    make_old_day(sql)
    log_row(sql, "2020-01-01")
    seal(quiet)
    log_row(sql)
    seal(quiet)
    sql("drop table leadrouter.lead_routing_logs_20200101")
    tamper(cluster, database, "update leadrouter.log_seals set sealed_at = now() where number = 1")
    tamper(cluster, database, "delete from leadrouter.log_seals where number = 2")
    tamper(cluster, database, "delete from leadrouter.log_seal_rows where number = 3")
    tamper(cluster, database, "update lead_routing_logs set attempt_number = 9 where transaction_id in"
           " (select max(transaction_id) from lead_routing_logs)")
    code, text, _ = ctl("audit", "verify", "--json")
    assert code == 1
    found = [(finding["kind"], finding["seal"]) for finding in json.loads(text)["findings"]]
    assert found[:2] == [("seal_changed", 1), ("seal_missing", 2)]
    assert ("list_changed", 3) in found and len(found) == 4


def test_a_day_that_is_gone(ctl, rows, sql, quiet):
    make_old_day(sql)
    log_row(sql, "2020-01-01")
    seal(quiet)
    sql("drop table leadrouter.lead_routing_logs_20200101")
    code, text, _ = ctl("audit", "verify")
    assert (code, text.splitlines()[0]) == (1, "a day that begins with seal 2 is gone, and retention did not drop it; day 2020-01-01")


def test_what_retention_drops_is_fine(ctl, rows, sql, quiet):
    make_old_day(sql)
    log_row(sql, "2020-01-01")
    seal(quiet)
    quiet.maintenance.RunJob(maintenance_pb2.RunJobRequest(name="retention"), timeout=CALL_S)
    assert sql("select to_regclass('leadrouter.lead_routing_logs_20200101') is null") == [(True,)]
    code, text, _ = ctl("audit", "verify")
    assert (code, text.splitlines()[0]) == (0, "nothing is wrong with 5 rows under 4 seals")


def test_the_head_kept_elsewhere(ctl, rows, sql, quiet, cluster, database):
    """Whoever makes seals anew is found by who has kept one."""
    head = ctl("audit", "verify")[1].splitlines()[1].split()[2]
    log_row(sql)
    seal(quiet)
    assert ctl("audit", "verify", "--expect", head)[0] == 0
    assert ctl("audit", "verify", "--expect", head.upper())[0] == 0
    tamper(cluster, database, "delete from leadrouter.log_seals where number > 0; delete from leadrouter.log_seal_rows;"
           " update lead_routing_logs set attempt_number = 9")
    seal(quiet)
    assert ctl("audit", "verify")[0] == 0
    code, text, _ = ctl("audit", "verify", "--expect", head)
    assert (code, text.splitlines()[0]) == (1, "seal 1 is not the one that was expected, or is gone")
    code, text, errors = ctl("audit", "verify", "--expect", "99" + head[1:])
    assert errors == ""
    assert (code, text.splitlines()[0]) == (1, "seal 99 is not the one that was expected, or is gone")


def test_words(ctl):
    for expected in ("1", "1:abc", "x:" + "0" * 64, "-1:" + "0" * 64, "1:" + "g" * 64, "1:" + "0" * 65):
        code, text, errors = ctl("audit", "verify", "--expect", expected)
        assert (code, text) == (2, "") and "NUMBER:HASH" in errors
    code, text, _ = ctl("audit", "verify", "--help")
    assert code == 0 and "Example: leadctl audit verify" in text


def test_requests_that_are_refused(quiet):
    wrong = grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(quiet, from_seal=-1) == (wrong, "from_seal: below zero")
    assert refusal(quiet, expected_seal=3) == (wrong, "expected_hash: missing")
    assert refusal(quiet, expected_hash="x" * 64) == (wrong, "expected_hash: not 64 hexadecimal digits")
    assert refusal(quiet, expected_seal=-3, expected_hash="0" * 64) == (wrong, "expected_seal: below zero")


def test_page_by_page(quiet, rows, sql, cluster, database):
    """A call that finds much ends, and the next one goes on: together they name every row once."""
    for _ in range(4):
        sql("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, lock_owner)"
            " select gen_random_uuid(), gen_random_uuid(), 'failed', gen_random_uuid() from generate_series(1, 4000)")
        seal(quiet)
    assert call(quiet).rows == 16_004
    tamper(cluster, database, "update lead_routing_logs set attempt_number = 9")
    tamper(cluster, database, "update leadrouter.log_seals set sealed_at = now() where number = 4")
    found, answer = [], call(quiet)
    while answer.next_seal:
        found += answer.findings
        answer = call(quiet, from_seal=answer.next_seal)
    found += answer.findings
    assert sorted(finding.log_id for finding in found if finding.kind == 1) == [
        row[0] for row in sql("select id::text from lead_routing_logs order by id::text")]
    assert [(finding.kind, finding.seal) for finding in found if finding.kind != 1] == [(6, 4)]
    assert call(quiet, from_seal=2).findings[0].seal == 2
    assert call(quiet, from_seal=6) == call(quiet, from_seal=99)


def test_the_seal_job_seals_by_itself(cluster, database, sql):
    """On a server with jobs, within a minute of being due."""
    with Server(cluster.service_url(database)) as server:
        create(server, 3, country="DE", route=True)
        wait_until(lambda: sql("update leadrouter.scheduled_jobs set next_run_at = now() where name = 'seal' returning 1"), "no such job")
        wait_until(lambda: sql("select coalesce(sum(c), 0) from leadrouter.log_seals, unnest(row_counts) c") == [(3,)], "not sealed")
        assert not call(server).findings
        server.check_log()
