"""Goal: a plan that a session made while the tables were empty, and keeps, goes by key when there are thousands of rows: what a call
touches does not depend on what statistics said, nor on whether there were any."""
import uuid

import pytest

from support.database import Database
from support.imports import Import
from support.plans import explain, nodes, plans_of

A, DESK, NOBODY, DECIDED = (str(uuid.UUID(int=0x40008000000000000000 + n)) for n in range(1, 5))
ROWS = 3_000 # undecided leads, open queue rows, claims, log rows, workspaces: of each that many
TABLES = ("leads", "workspaces", "lead_routing_queue", "lead_dedupe_claims", "lead_routing_rules", "leadrouter.rule_versions",
          "leadrouter.rule_history")
TIMES = 6 # after five calls a session may keep a plan for good

FILL = f"""
set session_replication_role = replica;
insert into workspaces (name, workspace_type) select n, 'partner' from generate_series(1, {ROWS}) n;
insert into leadrouter.rule_versions (workspace_id, version) select id, 1 from workspaces on conflict do nothing;
insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id) select id, 'all', '{DESK}' from workspaces;
insert into leads (workspace_id, source_workspace_id, external_id, email, dedupe_hash, routing_status, lead_expires_at, created_at)
    select '{A}', '{A}', n, n || '@example.com', encode(sha256(n::text::bytea), 'hex'), 'pending',
        now() + n * interval '1 minute', now() - interval '1 hour' from generate_series(1, {ROWS}) n;
insert into lead_dedupe_claims (dedupe_hash, lead_id, workspace_id, expires_at)
    select encode(sha256(('other' || n)::bytea), 'hex'), gen_random_uuid(), '{A}', now() + interval '90 days'
    from generate_series(1, {ROWS}) n;
insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, rules_version)
    select id, '{A}', 0, 3, now() - interval '1 second', 1 from leads order by id offset 20;
insert into leads (id, workspace_id, source_workspace_id, routing_status, decision_id, routing_completed_at)
    select '{DECIDED}', '{DESK}', '{A}', 'routed', '{DECIDED}', now();
insert into lead_routing_logs (id, lead_id, source_workspace_id, routing_result, lock_owner, created_at)
    select case when id = '{DECIDED}' then id else gen_random_uuid() end, id, '{A}', 'success', gen_random_uuid(), now() from leads;
set session_replication_role = origin;
"""

# What was there and is gone when the plans are made: decided leads, and rows of the queue that were done with.
PAST = f"""
set session_replication_role = replica;
insert into leads (workspace_id, source_workspace_id, routing_status)
    select '{DESK}', '{A}', 'routed' from generate_series(1, {ROWS});
insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, processed_at)
    select id, '{A}', 1, 3, now(), now() from leads;
set session_replication_role = origin;
"""

# Calls in order, each of the next lead, and how many rows their statements may touch: those of a lead, with what hangs on it.
LEADS = "array['%(lead)s']::uuid[], array['" + A + "']::uuid[]"
CALLS = [
    ("acquire_routing_lock('%(held)s', '%(owner)s')", 20),
    (f"complete_routing('%(held)s', '{DESK}', null, '%(owner)s')", 40),
    ("acquire_routing_lock('%(failed)s', '%(owner)s')", 20),
    ("fail_routing('%(failed)s', 'no', '%(owner)s', 3)", 40),
    (f"leadrouter.lock_leads({LEADS})", 20),
    (f"leadrouter.lock_leads(array['{DECIDED}']::uuid[], array['{A}']::uuid[])", 20),
    (f"leadrouter.decide({LEADS}, array['%(owner)s']::uuid[], '{{1}}', array['{DESK}']::uuid[],"
     " '{null}', '{null}', '{1}', '{null}', '{x}', '{null}', '{3}', '{null}', '{f}', '{90}', '{abc}', '{0}')", 40),
    ("leadrouter.lock_due_leads(9, null, false, false, 0, null, 0, null, false)", 150),
    ("leadrouter.lock_due_leads(9, null, false, true, 0, null, 0, null, true)", ROWS + 150), # a row a workspace, and none of the queue
    ("leadrouter.next_due(null)", 2_100), # the 500 earliest
    ("leadrouter.queue_lost_leads(60, null, 9, null)", 150),
    ("leadrouter.release_stale_locks(300, 9)", 60),
    ("leadrouter.expire_leads(null, 9)", 60),
    (f"leadrouter.postpone_retries(array['%(lead)s']::uuid[], array['x'])", 20),
    (f"leadrouter.cancel_retries({LEADS}, null, '')", 60),
    (f"leadrouter.lead_facts(array['%(lead)s']::uuid[])", 20),
    ("leadrouter.load_rule_sets(array['" + A + "']::uuid[])", 20),
    (f"leadrouter.get_lead('%(lead)s', '{A}')", 20),
    (f"leadrouter.lead_history('%(lead)s', '{A}')", 20),
    (f"leadrouter.leads_for_test(array['%(lead)s']::uuid[], '{A}')", 20),
    (f"leadrouter.erase_lead('%(erased)s', '{A}', null)", 150), # with the columns that there are
    ("leadrouter.find_attempts(array['%(lead)s']::uuid[], array['%(owner)s']::uuid[])", 20),
    (f"check_cross_partner_duplicate(repeat('0', 64), '{A}')", 20),
    ("leadrouter.create_leads('" + A + "', '[{\"external_id\": \"5\"}]', null, null)", 20),
    (f"leadrouter.list_leads('{A}', false, null, null, null, null, null, null, null, null, 9, 99)", 60),
    ("leadrouter.health_counts(null)", 12 * ROWS), # counts them: each some times, and its workspace's version
    ("leadrouter.workspaces_due(0, 9)", 4 * ROWS),
]


IMPORTED = {"external_id": "7", "city": "Bonn"}, {"external_id": "new"}, {"email": "new@example.com"}


@pytest.fixture(scope="module", params=["never analysed", "analysed while empty", "empty but for what is past"])
def stale(request, cluster):
    """A session whose plans were made in a database without undecided leads, and a function that gives values of leads that came since."""
    name = cluster.database()
    database = Database(cluster, name)
    database.execute(f"insert into workspaces (id, name, workspace_type) values ('{A}', 'a', 'partner'), ('{DESK}', 'desk', 'partner')")
    for table in TABLES:
        database.execute(f"alter table {table} set (autovacuum_enabled = off)") # new statistics would make new plans
    if request.param != "never analysed":
        if "past" in request.param:
            database.execute(PAST)
        database.execute("vacuum (analyze)")
    session = database.session()
    nothing = dict.fromkeys(("lead", "held", "failed", "erased", "owner"), NOBODY)
    for call, _ in CALLS:
        for _ in range(TIMES):
            session.begin()
            try:
                session.execute("select * from " + call % nothing)
            except Exception as error: # pylint: disable=broad-except
                assert error.pgcode == "LR404", call
            session.rollback()
    started = Import(session, A)
    for _ in range(TIMES):
        session.begin()
        started.take_in(*IMPORTED)
        session.rollback()
        started.at = 0
    explain(session, analyze=True)
    database.execute(FILL)
    leads = [row.id for row in database.rows("select id from leads where routing_status = 'pending' order by id desc limit 4")]
    yield session, dict(zip(("lead", "held", "failed", "erased"), leads)) | {"owner": uuid.uuid4()}, started
    database.close_others()
    database.close()
    cluster.drop_database(name)


def touched(node):
    """Rows of a table that a node of a plan looked at; those that a filter took away too."""
    if "Scan" not in node["Node Type"] or not node.keys() & {"Relation Name", "Index Name"}:
        return 0
    return node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                                   + node.get("Rows Removed by Index Recheck", 0))


def check(session, do, most):
    """What is done touches at most so many rows."""
    plans = plans_of(session, do)
    seen = [(touched(node), node["Node Type"], node.get("Index Name"), node.get("Index Cond")) for plan in plans for node in nodes(plan)]
    assert plans and sum(one[0] for one in seen) <= most, [one for one in seen if one[0] > 10]


@pytest.mark.parametrize("call,most", CALLS, ids=[call.split("(")[0].split(".")[-1] + f"-{n}" for n, (call, _) in enumerate(CALLS)])
def test_a_call_touches_what_it_asks_for(stale, call, most):
    session, values, _ = stale
    keeps = call.startswith(("acquire", "complete", "fail"))
    if not keeps:
        session.begin()
    check(session, lambda: session.execute("select * from " + call % values), most)
    if not keeps:
        session.rollback()


def test_an_import_touches_what_it_brings(stale):
    session, _, started = stale
    session.begin()
    check(session, lambda: started.take_in(*IMPORTED), 60)
    session.rollback()
    started.at = 0
