"""Goal: what happened to the audit log behind everybody's back is found, and named: a row that was changed, removed, put in, or swapped
with another; a seal, too. Two sealers make one chain, and nobody waits for them."""
import hashlib
import json
import uuid

import psycopg2
import pytest

from support.product_cluster import PATIENCE_S
from test_audit_log import make_old_partition

SEAL = "select leadrouter.seal_log(p_rows => %s)"
PAGE = "select * from leadrouter.verify_page(p_after => %s, p_rows => %s)"
VERIFY = "select * from leadrouter.verify_log(p_after => %s, p_to => %s, p_limit => %s)"


def seal(session, rows=10_000):
    """Seals all there is; how many rows."""
    total = 0
    while count := session.value(SEAL, rows):
        total += count
    return total


def verify(session, rows=20_000, limit=1000):
    """Walks over the whole chain; what was found, in order, and how many rows were looked at."""
    found, after, looked_at = [], -1, 0
    while (page := session.row(PAGE, after, rows)).last_number is not None:
        found += session.rows(VERIFY, after, page.last_number, limit)
        after, looked_at = page.last_number, looked_at + page.row_count
    found += session.rows("select * from leadrouter.verify_days()")
    return found, looked_at


def findings(session, **keywords):
    """What was found, as pairs of the kind and the id of the row, or the number of the seal."""
    return sorted((row.finding, str(row.log_id or row.number)) for row in verify(session, **keywords)[0])


def tamper(db, *statements):
    """As only a superuser can: with the triggers off."""
    db.execute("set session_replication_role = replica")
    for statement in statements:
        db.execute(*statement)
    db.execute("set session_replication_role = origin")


@pytest.fixture
def service(db):
    return db.service()


def log(db, count, **columns):
    """That many log rows, in one transaction; their ids in order of the text."""
    columns = {"routing_result": "success", "routing_metadata": '{"reason": "because", "facts": {"city": "Ulm"}}', **columns}
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    return sorted(str(row[0]) for row in db.rows(
        f"insert into lead_routing_logs (lead_id, source_workspace_id, lock_owner, {names})"
        f" select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), {marks} from generate_series(1, {count}) returning id",
        *columns.values()))


@pytest.fixture
def sealed(db, service):
    """Ten rows under two seals."""
    ids = log(db, 4) + log(db, 6)
    assert seal(service, rows=5) == 10
    assert findings(service) == []
    return ids


# --- Tampering ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [
    "destination_workspace_id = gen_random_uuid()", "lead_id = gen_random_uuid()", "source_workspace_id = gen_random_uuid()",
    "matched_rule_id = gen_random_uuid()", "routing_result = 'duplicate'", "error_message = 'x'", "lock_owner = gen_random_uuid()",
    "lock_owner = null", "attempt_number = 7", "actor_id = gen_random_uuid()", "created_at = created_at + interval '1 microsecond'",
    "created_at = created_at + interval '1 day'", "routing_metadata = routing_metadata || '{\"reason\": \"Because\"}'",
    "routing_metadata = routing_metadata - 'facts'", "routing_metadata = routing_metadata || '{\"rules_version\": 1}'",
    "routing_metadata = '{}', lock_owner = null"])
def test_a_changed_row_is_named(db, service, sealed, change):
    """Every column of it."""
    tamper(db, (f"update lead_routing_logs set {change} where id = %s", sealed[3]))
    assert findings(service) == [("changed", sealed[3])]


def test_a_row_given_to_another_transaction_is_named(db, service, sealed):
    later = log(db, 3)
    seal(service)
    tamper(db, ("update lead_routing_logs set transaction_id = (select transaction_id from lead_routing_logs where id = %s) where id = %s",
                later[0], sealed[0]))
    assert set(findings(service)) == {("changed", sealed[0]), ("inserted", sealed[0])}


def test_a_removed_row_is_named(db, service, sealed):
    tamper(db, ("delete from lead_routing_logs where id = %s", sealed[9]))
    assert findings(service) == [("removed", sealed[9])]


def test_all_rows_removed(db, service, sealed):
    tamper(db, ("delete from lead_routing_logs",))
    assert findings(service) == [("removed", row) for row in sorted(sealed)]


def test_an_inserted_row_is_named(db, service, sealed):
    """With a transaction of before; one that says when it was really written is sealed like any other."""
    row = uuid.uuid4()
    db.execute("insert into lead_routing_logs (id, lead_id, source_workspace_id, routing_result, transaction_id, created_at)"
               " select %s, lead_id, source_workspace_id, routing_result, transaction_id, created_at from lead_routing_logs where id = %s",
               row, sealed[2])
    assert findings(service) == [("inserted", str(row))]


@pytest.mark.parametrize("day", [0, 5])
def test_a_row_inserted_between_transactions(db, service, sealed, day):
    """One where no transaction of the log has been, and in a day that none of them wrote to."""
    row = uuid.uuid4()
    log(db, 1)
    seal(service)
    db.execute("insert into lead_routing_logs (id, lead_id, source_workspace_id, routing_result, transaction_id, created_at)"
               " select %s, lead_id, source_workspace_id, routing_result, ((transaction_id::text)::bigint + 1)::text::xid8,"
               " created_at + %s * interval '1 day' from lead_routing_logs where id = %s", row, day, sealed[9])
    assert findings(service) == [("inserted", str(row))]


@pytest.mark.parametrize("columns", ["lead_id, destination_workspace_id, routing_metadata, lock_owner", "created_at", "id"])
def test_swapped_rows_are_both_named(db, service, columns):
    """Contents, times, or ids, within a seal and across two of them."""
    rows = [log(db, 1, destination_workspace_id=str(uuid.uuid4()))[0] for _ in range(3)]
    seal(service, rows=2)
    for one, two in ((rows[0], rows[1]), (rows[1], rows[2])):
        names = ", ".join(f"o.{name.strip()}" for name in columns.split(","))
        swap = (f"with o as materialized (select * from lead_routing_logs where id in (%s, %s)) update lead_routing_logs g"
                f" set ({columns}) = (select {names} from o where o.id <> g.id) where g.id in (%s, %s)", one, two, one, two)
        tamper(db, swap)
        found = findings(service)
        assert {row for kind, row in found if kind == "changed"} == {one, two}
        assert {kind for kind, _ in found} <= {"changed", "inserted"}
        tamper(db, swap)
        assert findings(service) == []


def test_a_day_of_rows_under_another_id(db, service, sealed):
    """Removed and inserted: each has its word."""
    tamper(db, ("update lead_routing_logs set id = %s where id = %s", str(uuid.UUID(int=7)), sealed[0]))
    assert findings(service) == [("inserted", str(uuid.UUID(int=7))), ("removed", sealed[0])]


def test_no_more_findings_than_asked_for(db, service, sealed):
    """But those of a seal together."""
    tamper(db, ("update lead_routing_logs set attempt_number = 7",))
    assert len(findings(service, limit=3)) == 5
    assert len(findings(service)) == 10


# --- Seals --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [
    "row_counts = array[4]", "row_digests = array['\\x00'::bytea]", "list_digests = array['\\x00'::bytea]",
    "days = array[date '2020-01-01']", "sealed_at = sealed_at - interval '1 hour'", "kind = 'drop'", "to_id = gen_random_uuid()",
    "from_transaction = '0'", "previous_hash = '\\x00'"])
def test_a_changed_seal_is_named(db, service, sealed, change):
    tamper(db, (f"update leadrouter.log_seals set {change} where number = 2",))
    assert ("seal_changed", "2") in findings(service)


def test_a_seal_made_anew_does_not_fit(db, service, sealed):
    """Its hash is right, and so the one behind it says another one: whoever changes one has to make all later ones anew."""
    tamper(db, ("update leadrouter.log_seals set sealed_at = now() where number = 1",),
           ("update leadrouter.log_seals s set hash = leadrouter.log_seal_hash(s) where number = 1",))
    assert findings(service) == [("seal_unlinked", "2")]


def test_a_removed_seal_is_named(db, service, sealed):
    """One from the end is what nobody can see who has not kept the head."""
    log(db, 1)
    seal(service)
    tamper(db, ("delete from leadrouter.log_seals where number = 2",))
    assert findings(service) == [("seal_missing", "2")]


def test_the_first_seal(own_db):
    """Without it nothing is sealed any more, and everybody is told."""
    service = own_db.service()
    log(own_db, 1)
    seal(service)
    tamper(own_db, ("delete from leadrouter.log_seals where number = 0",))
    assert findings(service) == [("seal_missing", "0")]
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="the first seal is gone"):
        service.value(SEAL, 10)


def test_the_list_of_a_seal(db, service, sealed):
    """It only helps to name: without it what was changed is still found."""
    tamper(db, ("update leadrouter.log_seal_rows set list = list || '\\x00' where number = 1",))
    assert findings(service) == [], "nothing of the log was touched"
    tamper(db, ("update lead_routing_logs set attempt_number = 7",))
    assert ("list_changed", "1") in findings(service)
    tamper(db, ("delete from leadrouter.log_seal_rows",))
    assert {kind for kind, _ in findings(service)} == {"list_changed", "inserted"}


def test_the_head_is_for_keeping_elsewhere(db, service, sealed):
    head = service.row("select * from leadrouter.log_seal(null)")
    assert (head.number, len(head.hash)) == (2, 64)
    assert service.row("select * from leadrouter.log_seal(%s)", 2) == head
    assert service.row("select * from leadrouter.log_seal(%s)", 9).hash is None
    tamper(db, ("delete from leadrouter.log_seals where number = 2",), ("delete from leadrouter.log_seal_rows where number = 2",))
    seal(service)
    assert findings(service) == []
    assert service.row("select * from leadrouter.log_seal(%s)", 2).hash != head.hash


def test_who_forgets_the_list_of_the_last_seal_is_found(db, service, sealed):
    tamper(db, ("delete from leadrouter.log_seals where number = 2",))
    assert seal(service) == 5
    assert findings(service) == [("seal_missing", "2")]


@pytest.mark.parametrize("role", [None, "leadrouter_owner"])
@pytest.mark.parametrize("table", ["log_seals", "log_seal_rows"])
@pytest.mark.parametrize("statement", ["update leadrouter.{} set number = 9", "delete from leadrouter.{}", "truncate leadrouter.{}"])
def test_nobody_changes_seals(db, service, sealed, role, table, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.session(role).execute(statement.format(table))


def test_the_service_only_calls(db, service, sealed):
    for statement in ("select * from leadrouter.log_row_digests", *(f"{what} leadrouter.{table}{rest}"
                      for table in ("log_seals", "log_seal_rows")
                      for what, rest in (("select * from", ""), ("insert into", " default values"), ("delete from", "")))):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="permission denied"):
            service.execute(statement)


# --- What a digest is ------------------------------------------------------------------------------------------------------------


def digest_of(row):
    """Written from sql/README.md: the JSON arrays as jsonb writes them."""
    def text(*values):
        return json.dumps(values, ensure_ascii=False, default=str).encode()
    def us(time):
        return int(time.timestamp()) * 1_000_000 + time.microsecond
    metadata = dict(row.routing_metadata)
    erasable = [row.error_message, row.lock_owner, metadata.pop("reason", None), metadata.pop("facts", None)]
    return hashlib.sha256(text("leadrouter log row 1", row.id, row.lead_id, row.source_workspace_id, row.destination_workspace_id,
                               row.matched_rule_id, row.routing_result, row.attempt_number, row.actor_id, metadata, us(row.created_at),
                               str(row.transaction_id), hashlib.sha256(text(*erasable)).hexdigest())).digest()


@pytest.mark.parametrize("setting", ["datestyle = 'sql, dmy'", "timezone = 'Asia/Kolkata'", "extra_float_digits = -15",
                                     "bytea_output = escape", "client_encoding = latin1", "intervalstyle = iso_8601"])
def test_the_digest_is_the_documented_one_whatever_the_session(db, service, setting):
    db.execute("insert into lead_routing_logs (lead_id, source_workspace_id, destination_workspace_id, matched_rule_id, routing_result,"
               " error_message, lock_owner, attempt_number, actor_id, routing_metadata) values (gen_random_uuid(), gen_random_uuid(),"
               " gen_random_uuid(), gen_random_uuid(), 'failed', 'Grüße \"x\" \\ \t', gen_random_uuid(), 3, gen_random_uuid(),"
               " '{\"reason\": \"r\", \"facts\": {\"a\": \"ö\"}, \"rules_version\": 12}')")
    log(db, 2)
    row = db.row("select * from lead_routing_logs where attempt_number = 3")
    assert bytes(db.value("select digest from leadrouter.log_row_digests where id = %s", row.id)) == digest_of(row)
    service.execute(f"set {setting}")
    seal(service)
    assert findings(service) == findings(db) == []
    db.execute(f"set {setting}")
    assert findings(db) == []


# --- Sealing --------------------------------------------------------------------------------------------------------------------


def test_seals_follow_one_another(db, service, sealed):
    seals = db.rows("select * from leadrouter.log_seals order by number")
    assert [row.number for row in seals] == [0, 1, 2]
    for before, after in zip(seals, seals[1:]):
        assert bytes(after.previous_hash) == bytes(before.hash)
        assert (after.from_transaction, after.from_id) == (before.to_transaction, before.to_id)
        assert after.row_counts == [5]
    assert bytes(seals[0].previous_hash) != b"\0" * 32


def test_nothing_to_seal_makes_no_seal(db, service, sealed):
    assert service.value(SEAL, 10) == 0
    assert db.value("select max(number) from leadrouter.log_seals") == 2


@pytest.mark.parametrize("rows", [0, -1, 100_001, None])
def test_absurd_sizes(service, rows):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="p_rows"):
        service.value(SEAL, rows)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_a_transaction_larger_than_a_seal(db, service, rows):
    """Is divided, by ids."""
    log(db, 7)
    log(db, 1)
    assert seal(service, rows) == 8
    assert db.value("select max(c) from leadrouter.log_seals, unnest(row_counts) c") <= rows
    found, looked_at = verify(service, rows=3)
    assert (found, looked_at) == ([], 8)


def test_what_is_under_way_waits_and_holds_up_what_is_younger(db, service):
    """A transaction that is open across a seal: its rows are covered by the next one, and none is lost."""
    early = log(db, 2)
    slow = db.session()
    slow.begin()
    log(slow, 1)
    late = log(db, 3)
    assert seal(service) == 2
    assert service.row("select * from leadrouter.log_unsealed()").is_held
    slow.commit()
    row = service.row("select * from leadrouter.log_unsealed()")
    assert not row.is_held and row.since_us is not None
    assert seal(service) == 4
    assert tuple(service.row("select * from leadrouter.log_unsealed()")) == (None, False)
    assert verify(service) == ([], 6) and early and late


def test_a_transaction_that_goes_nowhere(db, service):
    slow = db.session()
    slow.begin()
    log(slow, 3)
    slow.rollback()
    log(db, 1)
    assert seal(service) == 1
    assert findings(service) == []


def test_two_sealers_make_one_chain(db, service):
    """The second finds the first at work and goes away; it neither waits nor forks the chain."""
    log(db, 3)
    other = db.service()
    service.begin()
    assert service.value(SEAL, 10) == 3
    other.execute("set lock_timeout = '5s'")
    assert other.value(SEAL, 10) == 0
    service.commit()
    assert other.value(SEAL, 10) == 0
    assert findings(service) == []


def test_a_killed_sealer_leaves_nothing(db, service):
    log(db, 3)
    service.begin()
    assert service.value(SEAL, 10) == 3
    db.execute("select pg_terminate_backend(%s)", service.pid)
    other = db.service()
    other.execute("set lock_timeout = '5s'")
    db.wait_until_gone(service)
    assert seal(other) == 3
    assert findings(other) == []


def test_a_chain_is_never_forked(db, service, sealed):
    """Behind the lock stands a unique index."""
    with pytest.raises(psycopg2.errors.UniqueViolation, match="log_seals_previous"):
        db.execute("insert into leadrouter.log_seals select 99, kind, previous_hash, sealed_at, from_transaction, from_id, to_transaction,"
                   " to_id, days, row_counts, row_digests, list_digests, hash from leadrouter.log_seals where number = 2")


def test_sealers_and_writers_at_once(db):
    """Everything that was committed ends under a seal, exactly once, and the log is as it was sealed."""
    def write(session):
        for n in range(30):
            session.begin()
            log(session, 1 + n % 3)
            session.rollback() if n % 7 == 0 else session.commit()

    def work(session):
        return sum(session.value(SEAL, 7) for _ in range(60))

    writers = [db.in_background(write, db.session()) for _ in range(3)]
    sealers = [db.in_background(work, db.service()) for _ in range(3)]
    for writer in writers:
        writer.result(PATIENCE_S)
    count = sum(sealer.result(PATIENCE_S) for sealer in sealers) + seal(db)
    assert count == db.value("select count(*) from lead_routing_logs") == verify(db)[1]
    assert findings(db) == []


def test_many_rows_are_sealed_step_by_step(db, service):
    """100,000 rows after an outage: no step covers more than it may, and none takes long."""
    log(db, 100_000)
    steps = []
    while True:
        before = db.value("select clock_timestamp()")
        if service.value(SEAL, 10_000) == 0:
            break
        steps.append((db.value("select clock_timestamp()") - before).total_seconds())
    assert len(steps) == 10
    assert max(steps) < 8, steps # of the 10 s that a statement of the service may take
    assert verify(service) == ([], 100_000)


def test_a_log_from_another_cluster(db, service, sealed):
    """Whose transactions had larger numbers: rather than seal what cannot be told from what was, it says so."""
    tamper(db, ("update leadrouter.log_seals set to_transaction = '1000000000000' where number = 2",))
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="restored from another"):
        service.value(SEAL, 10)


# --- Days -----------------------------------------------------------------------------------------------------------------------


def test_seals_outlive_the_days_that_they_cover(own_db):
    """A seal over a day that is dropped and one that stays is still checked for the one that stays."""
    db, service = own_db, own_db.service()
    make_old_partition(db, 91)
    db.begin()
    log(db, 3, created_at=str(db.value("select now() - interval '91 days'")))
    young = log(db, 2)
    db.commit()
    assert seal(service) == 5
    assert db.value("select days from leadrouter.log_seals where number = 1")[1] is not None
    assert db.value("select count(*) from leadrouter.log_seal_rows") == 2
    assert service.value("select leadrouter.drop_log_partitions(90)") == 1
    assert [row.kind for row in db.rows("select kind from leadrouter.log_seals order by number")] == ["first", "rows", "drop"]
    assert db.value("select count(*) from leadrouter.log_seal_rows") == 1
    log(db, 1)
    assert seal(service) == 1
    assert findings(service) == []
    tamper(db, ("update lead_routing_logs set attempt_number = 9 where id = %s", young[0]))
    assert findings(service) == [("changed", young[0])]


def test_a_day_that_went_otherwise_is_named(own_db):
    db, service = own_db, own_db.service()
    name = make_old_partition(db, 91)
    log(db, 3, created_at=str(db.value("select now() - interval '91 days'")))
    seal(service)
    db.execute(f"drop table leadrouter.{name}")
    assert findings(service) == [("day_missing", "1")]
    assert [str(row.day).replace("-", "") for row in verify(service)[0]] == [name[-8:]]


def test_a_day_with_rows_that_no_seal_covers_stays(own_db):
    db, service = own_db, own_db.service()
    make_old_partition(db, 91)
    log(db, 3, created_at=str(db.value("select now() - interval '91 days'")))
    assert service.value("select leadrouter.drop_log_partitions(90)") == 0
    with pytest.raises(psycopg2.Error, match="1 days"):
        service.value("select leadrouter.check_log_partitions(90)")
    seal(service)
    assert service.value("select leadrouter.drop_log_partitions(90)") == 1


def test_a_drop_waits_for_no_sealer(own_db):
    db, service, sealer = own_db, own_db.service(), own_db.service()
    make_old_partition(db, 91)
    log(db, 1)
    sealer.begin()
    assert sealer.value(SEAL, 10) == 1
    assert service.value("select leadrouter.drop_log_partitions(90)") == 0
    sealer.commit()
    assert service.value("select leadrouter.drop_log_partitions(90)") == 1
    assert findings(service) == []


def test_the_list_of_a_day_goes_only_with_the_day(own_db):
    db, service = own_db, own_db.service()
    log(db, 2)
    seal(service)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="append-only"):
        db.execute("delete from leadrouter.log_seal_rows")
