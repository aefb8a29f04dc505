"""Goal: a batch of an import is in once or not at all, whoever sends it; the owner that is thought lost changes nothing; two imports of the
same leads wait for each other and make each lead once."""
import uuid
from datetime import timedelta

import psycopg2
import pytest

from support.imports import BEGIN, Import

@pytest.fixture
def service(db):
    return db.service()


@pytest.fixture
def home(db):
    return db.workspace()


def refused(call, *arguments):
    with pytest.raises(psycopg2.Error) as caught:
        call(*arguments)
    return caught.value.pgcode


def test_results(db, service, home):
    db.lead(home, external_id="old", email="old@example.com")
    first = Import(service, home)
    assert first.results({"external_id": "a"}, {"external_id": "a"}, {"email": "b"}, {"email": "b"}, {"external_id": "old"},
                         {"external_id": "old", "city": "Bonn"}, {"external_id": "bad"}, reasons=[None] * 6 + ["no"]) == [
        "created", "duplicate", "created", "duplicate", "existing", "existing", "rejected"]
    assert first.results({"external_id": "a"}, {"external_id": "old", "city": "Bonn"}) == ["duplicate", "updated"]
    job = db.row("select * from bulk_upload_jobs")
    assert (job.processed_records, job.successful_records, job.failed_records, job.created_records, job.updated_records,
            job.existing_records, job.duplicate_records, job.last_row) == (9, 8, 1, 2, 1, 2, 3, 9)
    assert job.error_log == [{"row": 7, "error": "no"}]
    assert Import(service, home).results({"external_id": "a"}, {"email": "b"}) == ["existing", "existing"]


def test_a_hash_says_what_is_to_be_decided(db, service, home):
    done, blank, new = Import(service, home).take_in({"external_id": "1", "email": "x@example.com"}, {"external_id": "2"},
                                                     {"external_id": "3", "email": "X@example.com "})
    assert done.dedupe_hash == new.dedupe_hash and len(new.dedupe_hash) == 64 and blank.dedupe_hash == ""
    db.decide(db.decision(done.lead_id, destination=home))
    assert [row.dedupe_hash is None for row in Import(service, home).take_in({"external_id": "1"}, {"external_id": "2"})] == [True, False]


def test_a_hash_is_handed_in(db, service, home):
    """The server's is taken as it is, which spares the trigger's work; where there is none the trigger computes it."""
    given, computed = Import(service, home).take_in({"email": "a@example.com"}, {"email": "b@example.com"}, hashes=["f" * 64, ""])
    assert (given.dedupe_hash, db.state(given.lead_id).dedupe_hash) == ("f" * 64, "f" * 64)
    assert computed.dedupe_hash == db.value("select public.generate_dedupe_hash('b@example.com', '', '', '', '')")
    for row in given, computed:
        lead = db.state(row.lead_id)
        assert lead.source_workspace_id == home and lead.lead_expires_at == lead.created_at + timedelta(days=90)


@pytest.mark.parametrize("name, is_hashed", [("a_host", True), ("z_host", False)])
def test_a_hosts_trigger_changes_what_is_hashed(db, service, home, name, is_hashed):
    """As for every other insert: what a trigger before ours makes of the lead counts, what a later one makes does not."""
    db.execute("create function public.host_changes() returns trigger language plpgsql as"
               " $$ begin new.email := 'host@example.com'; return new; end $$;"
               f" create trigger {name} before insert on leads for each row execute function public.host_changes()")
    try:
        row, = Import(service, home).take_in({"email": "a@example.com"}, hashes=["f" * 64])
    finally:
        db.execute("drop function public.host_changes() cascade")
    assert db.state(row.lead_id).email == "host@example.com"
    made = db.value("select public.generate_dedupe_hash('host@example.com', '', '', '', '')")
    assert row.dedupe_hash == (made if is_hashed else "f" * 64)


def test_fenced_off(service, home):
    first = Import(service, home, "f")
    first.take_in({"external_id": "1"})
    second = Import(service, home, "f")
    assert second.started.is_continued and second.at == 1 and second.id == first.id
    assert refused(first.take_in, {"external_id": "2"}) == "LR412"
    assert refused(service.execute, "select leadrouter.end_import(%s, %s)", first.id, first.owner) == "LR412"
    service.execute("select leadrouter.leave_import(%s, %s)", first.id, first.owner)
    second.take_in({"external_id": "2"})
    second.at = 0
    assert refused(second.take_in, {"external_id": "1"}) == "LR412", "rows that are in already"


def test_rows_of_a_batch(db, service):
    """As for leads of a request; at once, since it is looked up where they are written."""
    going = Import(service, db.workspace(routing_config={"limits": {"leads_per_request": 2}}))
    going.take_in({"external_id": "1"}, {"external_id": "2"})
    with pytest.raises(psycopg2.Error, match="limits.leads_per_request: the workspace may send 2 leads in a request") as caught:
        going.take_in({"external_id": "3"}, {"external_id": "4"}, {"external_id": "5"})
    assert caught.value.pgcode == "LR429" and db.value("select count(*) from leads") == 2


def test_whoever_comes_second_waits_for_the_import(db, home):
    """Two owners' batches of one import are one after the other, and the second finds that it is none any more."""
    one, two = db.service(), db.service()
    first = Import(one, home, "f")
    one.begin()
    first.take_in({"external_id": "1"})
    waiting = db.in_background(lambda: Import(two, home, "f"))
    db.wait_until_blocked(two, by=one)
    one.commit()
    second = waiting.result(30)
    assert second.at == 1 and refused(first.take_in, {"external_id": "2"}) == "LR412"


def test_two_imports_of_the_same_leads(db, home):
    one, two = db.service(), db.service()
    first, second = Import(one, home), Import(two, home)
    one.begin()
    assert first.results({"external_id": "1"}, {"email": "e"}) == ["created"] * 2
    waiting = db.in_background(second.results, {"external_id": "1"}, {"email": "e"}, {"external_id": "3"})
    db.wait_until_blocked(two, by=one)
    one.commit()
    assert waiting.result(30) == ["existing", "existing", "created"]
    assert db.value("select count(*) from leads") == 3


def test_the_end(db, service, home):
    desk = db.workspace()
    going = Import(service, home, "f")
    rows = going.take_in(*({"external_id": str(n), "email": f"{n}@example.com"} for n in range(4)))
    for row, place in zip(rows, (desk, desk, home)):
        db.decide(db.decision(row.lead_id, destination=place))
    assert [row.lead_id for row in service.rows("select * from leadrouter.import_unrouted(%s, 16)", going.id)] == [rows[3].lead_id]
    service.execute("select leadrouter.end_import(%s, %s)", going.id, going.owner)
    job = db.row("select * from bulk_upload_jobs")
    assert (job.status, job.total_records, job.completed_at is not None) == ("completed", 4, True)
    assert job.routing_summary == {"routed_workspaces": {str(desk): 2, str(home): 1}, "unrouted_count": 1, "duplicate_count": 0}
    assert refused(going.take_in, {"external_id": "9"}) == "LR412"
    again = Import(service, home, "f")
    assert again.started.status == "completed" and refused(again.take_in, {"external_id": "9"}) == "LR412"
    assert db.row("select * from bulk_upload_jobs") == job, "one that has ended stays as it is"


def test_leaving(db, service, home):
    going = Import(service, home, "f")
    service.execute("select leadrouter.leave_import(%s, %s)", going.id, uuid.uuid4())
    assert db.value("select status from bulk_upload_jobs") == "processing"
    service.execute("select leadrouter.leave_import(%s, %s)", going.id, going.owner)
    assert db.value("select status from bulk_upload_jobs") == "pending"
    Import(service, home, "f")
    assert db.value("select status from bulk_upload_jobs") == "processing"


def test_no_such_workspace(service):
    assert refused(service.execute, BEGIN, uuid.uuid4(), None, uuid.uuid4()) == "LR404"


def test_pages(db, service, home):
    made = [Import(service, home).id for _ in range(5)]
    db.execute("update bulk_upload_jobs set created_at = '2026-01-01'")
    seen, after = [], (None, None)
    while True:
        rows = service.rows("select id, created_us from leadrouter.read_imports(%s, null, %s, %s, 2)", home, *after)
        seen += [row.id for row in rows]
        if len(rows) < 2:
            break
        after = rows[-1].created_us, rows[-1].id
    assert seen == sorted(made, reverse=True)
    assert service.rows("select id from leadrouter.read_imports(%s, %s, null, null, 1)", db.workspace(), made[0]) == []
