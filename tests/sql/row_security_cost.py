#!/usr/bin/python3
"""What forced row security costs the hot path: lock_leads() and decide() for batches of 256 leads, with and without it in turns.

    LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/sql/row_security_cost.py
"""
import pathlib
import statistics
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.tenancy import A, DESK, Kept  # noqa: E402

BATCH, BATCHES, ROUNDS = 256, 12, 8
# Its bookkeeping apart, everything that is forced.
TABLES = "select c.oid::regclass::text from pg_class c where c.relkind in ('r', 'p') and c.relowner = 'leadrouter_owner'::regrole" \
         " and c.relname not like 'migration%' and c.relname not like 'adopted%'"


def batch(db, service):
    """Milliseconds for one batch; lock, decide and commit."""
    rows = db.rows("insert into leads (workspace_id, email) select %s, gen_random_uuid() || '@example.com' from generate_series(1, %s)"
                   " returning id, dedupe_hash, (extract(epoch from lead_expires_at) * 1000000)::bigint as expires_us", A, BATCH)
    decisions = [{"lead_id": row.id, "source": A, "hash": row.dedupe_hash, "lead_expires_us": row.expires_us, "destination": DESK,
                  "rule_id": uuid.uuid4(), "rule_name": "r"} for row in rows]
    begin = time.perf_counter()
    service.begin()
    locked = service.rows("select * from leadrouter.lock_leads(%s::uuid[], %s::uuid[])", [row.id for row in rows], [A] * BATCH)
    decided = service.decide(*decisions)
    service.commit()
    took = (time.perf_counter() - begin) * 1000
    assert all(row.is_locked for row in locked) and len(decided) == BATCH
    return took


def main():
    times = {"forced": [], "off": []}
    with Kept("plain") as db:
        tables = [row[0] for row in db.rows(TABLES)]
        service = db.service()
        for _ in range(ROUNDS):
            for mode, words in (("forced", ("enable", "force")), ("off", ("disable", "no force"))):
                for table in tables:
                    db.execute(f"alter table {table} {words[0]} row level security, {words[1]} row level security")
                batch(db, service) # makes the plans
                times[mode] += [batch(db, service) for _ in range(BATCHES)]
    for mode, values in times.items():
        print(f"row security {mode}: median {statistics.median(values):.2f} ms for {BATCH} leads, of {len(values)} batches")


if __name__ == "__main__":
    main()
