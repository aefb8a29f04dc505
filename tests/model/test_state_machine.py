"""Goal: whatever is done to leads, by whomever, in whatever order, they go only the ways that the specification allows, and the audit log
says which. The checker that shows it is shown to find faults."""
import os

import psycopg2
import pytest

from model.checker import Checker, Difference
from support.postgres import IS_LONG

SEED = int(os.environ.get("LEADROUTER_TEST_SEED", "1"))
STEPS = 1_000_000 if IS_LONG else 12_000
FAULT_STEPS = 20_000


@pytest.fixture
def checker(cluster, database):
    checkers = []

    def make(seed):
        checkers.append(Checker(cluster, database, seed))
        return checkers[-1]
    yield make
    for made in checkers:
        made.close()


def test_random_interleavings(checker):
    print(f"seed {SEED}, {STEPS} steps")
    checker(SEED).run(STEPS)


# Faults as they could be made: where, what stands there, and what would stand there.
FAULTS = {
    "fail_routing does not ask who holds the lead": (
        "leadrouter.held_source_workspace", "and l.routing_locked_by = p_lock_owner", ""),
    "a released lead has no queue row": (
        "leadrouter.release_leads", "from released r where r.queue_id is null", "from released r where false"),
    "a lead past its time to live is handed out": (
        "public.acquire_routing_lock", "if v_lead.is_expired then", "if false then"),
    "a closed row is opened again": (
        "leadrouter.decide", "if v_closes > 0 then", "if false then"),
    "a claim is not looked at": (
        "leadrouter.decide", "d.verdict = 1 and (c.lead_id is null or c.lead_id = d.lead_id",
        "d.verdict = 1 and (true or c.lead_id = d.lead_id"),
    "attempts count from one again without a change of rules": (
        "leadrouter.next_attempt", "and p_rules_version > p_queue_version", ""),
    "expiry takes leads that somebody holds": (
        "leadrouter.expire_leads", "l.routing_status in ('pending', 'failed')", "l.routing_status in ('pending', 'failed', 'routing')"),
    "what is cancelled comes back with a change of rules": (
        "leadrouter.decide", "l.routing_status = 'failed' and j.is_revived", "l.routing_status = 'failed'"),
    "a log row is missing": (
        "leadrouter.release_leads", "from released r\n    ), moved", "from released r where r.queue_id is not null\n    ), moved"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(checker, sql, name):
    function, before, after = FAULTS[name]
    text = sql("select pg_get_functiondef(%s::regproc)", [function])[0][0]
    assert before in text, "the fault no longer fits the function"
    sql(text.replace(before, after))
    with pytest.raises((Difference, psycopg2.Error)): # the model's word against it, or the guard's
        checker(SEED).run(FAULT_STEPS)
