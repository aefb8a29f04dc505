"""Goal: what is no longer needed goes, range by range, without a step in the way of those who decide; what is needed stays."""
import datetime

import psycopg2
import pytest

from support.database import FAIL, RETRY
from support.imports import Import
from support.product_cluster import PATIENCE_S

CLAIMS = "select * from leadrouter.sweep_claims(p_from_page => %s, p_page_count => %s)"
QUEUE = "select * from leadrouter.sweep_queue(p_keep_days => %s, p_from_page => %s, p_page_count => %s)"
PRUNE = "select leadrouter.prune_rule_versions(p_keep_days => %s, p_limit => %s)"
EXPIRE = "select leadrouter.expire_leads(p_workspace_id => %s, p_limit => %s)"


@pytest.fixture
def service(db):
    session = db.service()
    session.execute("set lock_timeout = '5s'") # nothing here may wait
    return session


@pytest.fixture
def source(db):
    return db.workspace()


def walk(session, statement, *first, pages=1):
    """A sweep from the first page to the end; how many rows of it."""
    page, removed, calls = 0, 0, 0
    while page is not None:
        row = session.row(statement, *first, page, pages)
        removed, page, calls = removed + row.removed, row.next_page, calls + 1
    return removed, calls


def claimed(db, workspace, email):
    """A lead that was decided and holds its identity."""
    lead = db.lead(workspace, email=email)
    assert db.decide(db.decision(lead, destination=workspace))[1].result == "success"
    return lead


# --- expire_leads -----------------------------------------------------------------------------------------------------------


def test_expiry_of_one_workspace(db, service, source):
    other = db.workspace()
    mine, theirs = (db.lead(workspace, lead_expires_at="2001-01-01") for workspace in (source, other))
    assert service.value(EXPIRE, source, 100) == 1
    assert [db.state(lead).routing_status for lead in (mine, theirs)] == ["expired", "pending"]
    assert service.value(EXPIRE, None, 100) == 1


def test_expiry_takes_the_oldest_first(db, service, source):
    leads = [db.lead(source, lead_expires_at=day) for day in ("2003-01-01", "2001-01-01", "2002-01-01")]
    assert [service.value(EXPIRE, None, 2) for _ in range(3)] == [2, 1, 0]
    assert [log.lead_id for log in db.rows("select lead_id from lead_routing_logs order by created_at, id")[2:]] == leads[:1]


def test_expiry_closes_the_row(db, service, source):
    lead = db.lead(source)
    db.decide(db.decision(lead, verdict=RETRY))
    db.execute("update leads set lead_expires_at = now()")
    assert service.value(EXPIRE, None, 100) == 1
    assert db.open_rows(lead) == []
    assert [log.routing_result for log in db.logs(lead)] == ["retry", "expired"]
    assert (db.logs(lead)[1].attempt_number, db.state(lead).routing_attempts) == (1, 1)


def test_expiry_passes_over_what_is_held(db, service, source):
    """By a worker, by the engine, by a lane of the retry queue."""
    worker, engine, lane = (db.lead(source) for _ in range(3))
    db.decide(db.decision(lane, verdict=RETRY))
    db.execute("update lead_routing_queue set next_retry_at = now()")
    assert db.value("select acquire_routing_lock(%s, gen_random_uuid())", worker)
    db.execute("update leads set lead_expires_at = now()")
    one, two = db.service(), db.service()
    one.begin()
    one.rows("select * from leadrouter.lock_leads(array[%s]::uuid[], array[%s]::uuid[])", engine, source)
    two.begin()
    assert two.row("select * from leadrouter.lock_due_leads(9, null, true, false, null, null, null, null, false)").lead_id == lane
    assert service.value(EXPIRE, None, 100) == 0
    one.rollback()
    two.rollback()
    assert service.value(EXPIRE, None, 100) == 2
    assert db.state(worker).routing_status == "routing"


def test_two_expiries_share(db, source):
    db.execute("insert into leads (workspace_id, lead_expires_at) select %s, '2001-01-01' from generate_series(1, 300)", source)

    def work(session):
        return sum(session.value(EXPIRE, None, 7) for _ in range(50))

    futures = [db.in_background(work, db.service()) for _ in range(4)]
    assert sum(future.result(PATIENCE_S) for future in futures) == 300
    assert db.value("select count(*) from lead_routing_logs") == 300


@pytest.fixture
def unwritable(own_db):
    """A database that lets nobody change some leads; the first of them is the oldest."""
    source = own_db.workspace()
    own_db.execute("insert into leads (workspace_id, external_id, lead_expires_at) select %s, 'bad' || n, '2001-01-01'"
                   " from generate_series(1, 25) n", source)
    own_db.execute("insert into leads (workspace_id, lead_expires_at) select %s, '2002-01-01' from generate_series(1, 5) n", source)
    own_db.execute("""create function refuse() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$;
        create trigger refuse before update on leads for each row when (old.external_id like 'bad%') execute function refuse()""")
    return own_db


def test_leads_that_cannot_be_changed_do_not_stop_expiry(unwritable):
    """More of them than a batch has, all before the others; and it is said that they are left."""
    service = unwritable.service()
    expired = 0
    while (count := service.value(EXPIRE, None, 10)) > 0:
        expired += count
    assert expired == 5
    assert unwritable.value("select count(*) from leads where routing_status = 'expired'") == 5
    with pytest.raises(psycopg2.Error, match="25 leads past their time to live cannot be changed") as caught:
        service.execute("select leadrouter.check_expired_leads()")
    assert caught.value.pgcode == "LR423"
    holder = unwritable.session()
    holder.begin()
    holder.execute("select from leads where external_id like 'bad%' for update")
    assert service.value("select leadrouter.check_expired_leads()") == 0, "somebody holds them"


def test_a_failure_that_is_no_leads_own_ends_the_step(unwritable):
    unwritable.execute("create or replace function refuse() returns trigger language plpgsql as"
                       " $$ begin raise exception 'full' using errcode = '53100'; end $$")
    with pytest.raises(psycopg2.errors.DiskFull):
        unwritable.service().execute(EXPIRE, None, 10)


def test_leads_that_cannot_be_changed_do_not_stop_the_release(unwritable):
    unwritable.execute("alter table leads disable trigger refuse; update leads set lead_expires_at = now() + interval '1 day';"
                       " select acquire_routing_lock(id, gen_random_uuid()) from leads;"
                       " alter table leads enable trigger refuse")
    assert unwritable.service().value("select leadrouter.release_stale_locks(-1, 100)") == 5
    assert unwritable.value("select count(*) from leads where routing_status = 'routing'") == 25
    assert unwritable.value("select count(*) from lead_routing_logs where routing_result = 'released'") == 5


# --- sweep_claims -----------------------------------------------------------------------------------------------------------


def test_claims_past_their_time_go(db, service, source):
    old, live = claimed(db, source, "old@example.com"), claimed(db, source, "live@example.com")
    db.execute("update lead_dedupe_claims set expires_at = now() where lead_id = %s", old)
    assert walk(service, CLAIMS)[0] == 1
    assert db.claim(db.state(old).dedupe_hash) is None
    assert db.claim(db.state(live).dedupe_hash).lead_id == live
    assert walk(service, CLAIMS)[0] == 0


def test_a_sweep_goes_through_the_whole_table(own_db):
    """Range by range, none twice, none left out; it ends, however many pages a range has. In a table that nothing was in before: its
    first pages are full."""
    db, service = own_db, own_db.service()
    db.execute("insert into lead_dedupe_claims (dedupe_hash, lead_id, workspace_id, expires_at)"
               " select md5(n::text), gen_random_uuid(), gen_random_uuid(), now() + (n % 3 - 1.5) * interval '1 day'"
               " from generate_series(1, 3000) n")
    pages = db.value("select pg_relation_size('lead_dedupe_claims') / current_setting('block_size')::int")
    assert pages > 20
    first = service.row(CLAIMS, 0, 5)
    assert 0 < first.removed < 400 and first.next_page == 5
    removed, calls = walk(service, CLAIMS, pages=5)
    assert (first.removed + removed, calls) == (2000, -(-pages // 5))
    assert db.value("select count(*) from lead_dedupe_claims where expires_at > now()") == 1000
    assert tuple(service.row(CLAIMS, 0, 1_000_000)) == (0, None)
    assert tuple(service.row(CLAIMS, 4_000_000_000, 5)) == (0, None), "behind the end"


def test_a_sweep_of_nothing(own_db):
    assert tuple(own_db.service().row(CLAIMS, 0, 10)) == (0, None)
    assert tuple(own_db.service().row(QUEUE, 7, 0, 10)) == (0, None)


def test_a_sweep_passes_over_a_claim_that_is_taken(db, service, source):
    """The claim was past its time; the decision under way has it, and keeps it."""
    old = claimed(db, source, "a@example.com")
    db.execute("update lead_dedupe_claims set expires_at = now()")
    new = db.lead(db.workspace(), email="a@example.com")
    engine = db.service()
    engine.begin()
    assert engine.decide(db.decision(new, destination=source))[1].result == "success"
    assert walk(service, CLAIMS)[0] == 0
    engine.commit()
    assert walk(service, CLAIMS)[0] == 0
    assert db.claim(db.state(old).dedupe_hash).lead_id == new


def test_a_sweep_passes_over_a_claim_that_a_decision_goes_by(db, service, source):
    """A duplicate is being written: the claim it is one of must not vanish under it, even if its time passes."""
    first = claimed(db, source, "a@example.com")
    copy = db.lead(db.workspace(), email="a@example.com")
    engine = db.service()
    engine.begin()
    assert engine.decide(db.decision(copy, destination=db.state(copy).source_workspace_id))[1].duplicate_lead_id == first
    assert walk(service, CLAIMS)[0] == 0
    engine.commit()


def test_decisions_pass_a_sweep(db, service, source):
    """While a range is being swept others decide; only who takes a claim of that very range waits for its end, and then has it."""
    gone = claimed(db, source, "gone@example.com")
    db.execute("update lead_dedupe_claims set expires_at = now()")
    service.begin()
    assert walk(service, CLAIMS)[0] == 1
    engine, copier = db.service(), db.service()
    engine.execute("set lock_timeout = '5s'")
    other, copy = db.lead(source, email="other@example.com"), db.lead(source, email="gone@example.com")
    assert engine.decide(db.decision(other, destination=source))[1].result == "success"
    answer = db.in_background(copier.decide, db.decision(copy, destination=source))
    db.wait_until_blocked(copier, by=service)
    service.commit()
    assert answer.result(PATIENCE_S)[1].result == "success"
    assert db.claim(db.state(gone).dedupe_hash).lead_id == copy


def test_sweeps_and_decisions_by_volume(db, source):
    """Four sweepers, four deciders over the same identities, whose claims are all past their time: each identity ends with one holder."""
    db.execute("insert into leads (workspace_id, email) select %s, (n %% 50) || '@example.com' from generate_series(1, 400) n", source)
    db.execute("insert into lead_dedupe_claims (dedupe_hash, lead_id, workspace_id, expires_at)"
               " select distinct on (dedupe_hash) dedupe_hash, gen_random_uuid(), gen_random_uuid(), now() from leads")
    decisions = [db.decision(row.id, destination=source, global_scope=True) for row in db.rows("select id from leads order by random()")]

    def decide(session, mine):
        return sum(row.result == "success" for decision in mine for row in session.decide(decision).values())

    def sweep(session):
        return sum(walk(session, CLAIMS)[0] for _ in range(30))

    sweepers = [db.in_background(sweep, db.service()) for _ in range(4)]
    deciders = [db.in_background(decide, db.service(), decisions[n::4]) for n in range(4)]
    assert sum(future.result(PATIENCE_S) for future in deciders) == 50
    assert sum(future.result(PATIENCE_S) for future in sweepers) <= 50
    walk(db, CLAIMS)
    assert db.value("select count(*) from lead_dedupe_claims c join leads l on l.id = c.lead_id and l.decided_outcome = 'success'") == 50
    assert db.value("select count(*) from lead_dedupe_claims") == 50


# --- sweep_queue ------------------------------------------------------------------------------------------------------------


def test_processed_rows_go_after_their_days(db, service, source):
    leads = [db.lead(source) for _ in range(4)]
    for lead in leads:
        db.decide(db.decision(lead, verdict=RETRY))
    for lead, days in zip(leads, (8, 7, 6.9)):
        db.execute("update lead_routing_queue set processed_at = now() - %s * interval '1 day' where lead_id = %s", days, lead)
    db.execute("update lead_routing_queue set created_at = now() - interval '1 year', next_retry_at = now() - interval '1 year'")
    assert walk(service, QUEUE, 7)[0] == 2
    assert {row.lead_id for row in db.rows("select lead_id from lead_routing_queue")} == set(leads[2:]), "an open row stays, however old"
    assert walk(service, QUEUE, 7)[0] == 0


def test_a_sweep_of_the_queue_passes_over_locked_rows(db, service, source):
    leads = [db.lead(source) for _ in range(2)]
    for lead in leads:
        db.decide(db.decision(lead, verdict=RETRY))
    db.execute("update lead_routing_queue set processed_at = '2001-01-01'")
    reader = db.session()
    reader.begin()
    reader.execute("select from lead_routing_queue where lead_id = %s for share", leads[0])
    assert walk(service, QUEUE, 7)[0] == 1
    reader.rollback()
    assert walk(service, QUEUE, 7)[0] == 1


def test_open_rows_of_leads_that_have_gone_are_closed(db, service, source):
    """Whatever they wait for. A lead that waits keeps its row; who has one is not disturbed."""
    leads = [db.lead(source) for _ in range(5)]
    for lead in leads[:4]:
        db.decide(db.decision(lead, verdict=RETRY))
    db.decide(db.decision(leads[4], verdict=FAIL))
    gone, expired, locked, kept, failed_and_gone = leads
    db.execute("set session_replication_role = replica; update leads set routing_status = 'expired' where id = %s;"
               " set session_replication_role = origin", expired)
    db.execute("delete from leads where id = any (%s)", [gone, locked, failed_and_gone])
    reader = db.session()
    reader.begin()
    reader.execute("select from lead_routing_queue where lead_id = %s for share", locked)
    assert walk(service, QUEUE, 7)[0] == 0
    open_leads = "select lead_id from lead_routing_queue where processed_at is null"
    assert {row.lead_id for row in db.rows(open_leads)} == {locked, kept}
    reader.rollback()
    walk(service, QUEUE, 7)
    assert [row.lead_id for row in db.rows(open_leads)] == [kept]


# --- prune_rule_versions ----------------------------------------------------------------------------------------------------


def changed(db, workspace, days):
    """A workspace whose versions 1, 2, … began that many days ago each; a rule with a priority that is the version, and a set with it."""
    db.execute("insert into lead_routing_sets values (%s, 's', '{}')", workspace)
    rule = db.rule(workspace, workspace, priority=3)
    for version in range(4, len(days) + 1):
        db.begin()
        db.execute("update lead_routing_rules set priority = %s where id = %s", version, rule)
        db.execute("update lead_routing_sets set set_values = array[%s::text] where workspace_id = %s", version, workspace)
        db.commit()
    for version, age in enumerate(days, 1):
        db.execute("update leadrouter.rule_set_versions set created_at = now() - %s * interval '1 day'"
                   " where workspace_id = %s and version = %s", age, workspace, version)
    return workspace


def versions(db, workspace):
    return [row[0] for row in db.rows("select version from leadrouter.rule_set_versions where workspace_id = %s order by 1", workspace)]


def test_old_versions_go(db, service):
    """A version stays as long as it was in force within those days; the current one always; what only old ones had goes with them."""
    workspace = changed(db, db.workspace(), [400, 300, 200, 95, 91, 80, 1])
    idle = changed(db, db.workspace(), [400, 300, 200])
    assert service.value(PRUNE, 90, 100) == 4 + 2
    assert versions(db, workspace) == [5, 6, 7], "5 was in force until 80 days ago"
    assert versions(db, idle) == [3]
    for version in (5, 6, 7):
        rows = service.rows("select * from leadrouter.rule_set_at(%s, %s)", workspace, version)
        assert [row.priority for row in rows if row.rule_id] == [version]
        assert [row.set_value for row in rows if row.set_name] == [str(version)]
    assert service.rows("select * from leadrouter.rule_set_at(%s, 4)", workspace) == []
    for table in ("rule_history", "set_history"):
        assert [tuple(row) for row in db.rows(f"select from_version, to_version from leadrouter.{table} where workspace_id = %s order by 1",
                                              workspace)] == [(5, 6), (6, 7), (7, None)]
        assert db.value(f"select count(*) from leadrouter.{table} where workspace_id = %s", idle) == 1
    assert service.value(PRUNE, 90, 100) == 0


def test_pruning_comes_in_batches(db, service):
    workspace = changed(db, db.workspace(), [400, 300, 200, 150, 140, 130, 120])
    assert [service.value(PRUNE, 90, 4) for _ in range(3)] == [4, 2, 0]
    assert versions(db, workspace) == [7]


def test_pruning_and_changes_meet(db, service):
    """A change under way makes a version; that there is a next one is not known before its commit, and nobody waits."""
    workspace = changed(db, db.workspace(), [400, 300, 200, 150])
    writer = db.session()
    writer.begin()
    writer.execute("update lead_routing_rules set priority = 9 where workspace_id = %s", workspace)
    assert service.value(PRUNE, 90, 100) == 3
    writer.commit()
    assert versions(db, workspace) == [4, 5]
    assert service.value(PRUNE, 90, 100) == 0, "it was in force a moment ago"
    reader = db.session()
    reader.begin()
    db.execute("update leadrouter.rule_set_versions set created_at = now() - interval '100 days' where workspace_id = %s", workspace)
    reader.execute("select from leadrouter.rule_set_versions where workspace_id = %s for share", workspace)
    assert service.value(PRUNE, 90, 100) == 0
    reader.rollback()
    assert service.value(PRUNE, 90, 100) == 1


def test_what_is_kept_of_the_log_can_be_explained(own_db):
    """The log is dropped by whole days, and a day that somebody reads stays longer: a version that a row of it may name stays too."""
    db, service = own_db, own_db.service()
    workspace = changed(db, db.workspace(), [100, 95, 92, 90.5, 1])
    day = db.value("select (now() at time zone 'UTC')::date - 93")
    name = f"leadrouter.lead_routing_logs_{day:%Y%m%d}"
    db.execute(f"create table {name} (like lead_routing_logs including defaults including constraints);"
               f" alter table {name} owner to leadrouter_owner; alter table lead_routing_logs attach partition {name}"
               f" for values from ('{day} 00:00+00') to ('{day + datetime.timedelta(days=1)} 00:00+00')")
    assert service.value(PRUNE, 90, 100) == 1
    assert versions(db, workspace) == [2, 3, 4, 5], "2 was in force 93 days ago"
    db.execute(f"drop table {name}")
    service.value(PRUNE, 90, 100)
    assert versions(db, workspace) == [3, 4, 5], "a change that took a day is dated at its beginning"
    db.execute("update leadrouter.rule_set_versions set created_at = created_at - interval '3 days' where version < 5")
    lead = db.lead(workspace)
    db.decide(db.decision(lead, verdict=RETRY, rules_version=3))
    service.value(PRUNE, 90, 100)
    assert versions(db, workspace) == [3, 4, 5], "an open row names 3"
    db.execute("delete from lead_routing_queue")
    service.value(PRUNE, 90, 100)
    assert versions(db, workspace) == [4, 5]


@pytest.mark.parametrize("statement, rest", [(QUEUE, (0, 10)), (PRUNE, (100,))])
@pytest.mark.parametrize("days", [0, -1, None])
def test_something_is_always_kept(db, service, statement, rest, days):
    with pytest.raises(psycopg2.errors.InvalidParameterValue, match="p_keep_days: must be at least 1"):
        service.execute(statement, days, *rest)


# --- prune_imports ----------------------------------------------------------------------------------------------------------


def test_old_imports_go(db, service, source):
    """A week after an import ended it is no longer known which leads it made, after a year not even that it was; the leads stay. One that
    somebody may continue stays for a year after its last rows."""
    prune = "select leadrouter.prune_imports(%s, %s, %s)"
    ages = {"new": (1, True), "week": (8, True), "year": (366, True), "broken off": (8, False), "given up": (366, False)}
    made = {}
    for name, (days, has_ended) in ages.items():
        going = Import(service, source)
        for n in range(3):
            going.take_in({"external_id": f"{name}-{n}"}, {}, reasons=[None, "is none"])
        if has_ended:
            service.execute("select leadrouter.end_import(%s, %s)", going.id, going.owner)
        db.execute("update bulk_upload_jobs set updated_at = now() - %s * interval '1 day', completed_at = completed_at - %s * interval"
                   " '1 day' where id = %s", days, days, going.id)
        made[going.id] = name
    counts = []
    while not counts or counts[-1]:
        counts.append(service.value(prune, 7, 365, 2))
    # The two imports, the three batches of the one that stays, and those of the year-old one that went before their import took them along.
    assert max(counts) <= 4 and 5 <= sum(counts) <= 7, "batches go by themselves, or with their import"
    assert {made[row.id] for row in db.rows("select id from bulk_upload_jobs")} == {"new", "week", "broken off"}
    batches = db.rows("select import_id, count(*) as n from leadrouter.import_batches group by 1")
    assert {made[row.import_id]: row.n for row in batches} == {"new": 3, "broken off": 3}
    rejected = {name: len(service.rows("select * from leadrouter.read_rejected_rows(%s, %s, 0, 9)", source, one))
                for one, name in made.items()}
    assert rejected == {"new": 3, "week": 0, "year": 0, "broken off": 3, "given up": 0}
    assert db.value("select jsonb_array_length(error_log) from bulk_upload_jobs where id = %s",
                    next(one for one, name in made.items() if name == "week")) == 3, "the first hundred stay with it"
    assert db.value("select count(*) from leads where import_id is not null") == 15
    for wrong in ((0, 365, 10), (None, 365, 10), (7, None, 10), (7, 6, 10)):
        with pytest.raises(psycopg2.errors.InvalidParameterValue):
            service.value(prune, *wrong)
