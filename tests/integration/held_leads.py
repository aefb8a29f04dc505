#!/usr/bin/python3
"""RouteLead for leads that background work is at: 100,000 undecided leads that nobody has asked for, in a database that was analysed
while it was empty. The job lost_leads queues them, the retry lanes decide them, and meanwhile callers ask for the same leads 1,000 times
a second.

    LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/integration/held_leads.py

prints what the callers were told and how long that took, and how many leads were queued and decided besides. With a number, for so many
leads; seconds may follow.
"""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.postgres import BUILD  # noqa: E402
from support.product_cluster import ProductCluster, execute, wait_until  # noqa: E402
from support.server import Server, wait_ready  # noqa: E402

RATE = 1_000
FILL = """
insert into workspaces (name, workspace_type) select case n when 0 then 'desk' else 'w' || n end, 'partner' from generate_series(0, 50) n;
insert into lead_routing_rules (workspace_id, rule_name, destination_workspace_id)
    select w.id, 'all', d.id from workspaces w, workspaces d where d.name = 'desk' and w.name <> 'desk';
insert into leads (workspace_id, email, created_at)
    select w.id, n || '@example.com', now() - interval '5 minutes' from generate_series(1, {leads}) n
    join workspaces w on w.name = 'w' || n % 50 + 1;
update leadrouter.scheduled_jobs set next_run_at = now() where name = 'lost_leads'
"""


def main(leads=100_000, seconds=20):
    with ProductCluster() as cluster:
        name = cluster.database()

        def sql(statement):
            return execute(cluster, name, statement)

        sql("analyze")
        with Server(cluster.service_url(name)) as server:
            wait_ready(server)
            wait_until(lambda: sql("select 1 from leadrouter.scheduled_jobs where name = 'lost_leads' and last_done_at is not null"),
                       "the jobs do not run") # the lanes have looked at the queue, too
            sql(FILL.format(leads=leads))
            done = subprocess.run(
                [BUILD / "tools/bench/leadrouter-bench", "load", "--target", server.address, "--database", cluster.url(name), "--pending",
                 "--rate", str(RATE), "--duration", str(seconds), "--leads", str(leads), "--in-flight", "512", "--json"],
                stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + 120)
            run = json.loads(done.stdout)["runs"][0]
            queued, decided = sql("select (select count(*) from lead_routing_queue),"
                                  " (select count(*) from lead_routing_queue q join leads l on l.id = q.lead_id"
                                  "  where l.routing_status = 'routed' and q.processed_at is not null)")[0]
            print(f"{run['answered']} of {seconds * RATE} calls answered, {run['errors']} not decided ({run['first_error'] or 'none'});"
                  f" p50 {run['p50_ms']:.1f}, p95 {run['p95_ms']:.1f}, p99 {run['p99_ms']:.1f} ms")
            print(f"{run['outcomes']['already_routed']} had been decided before; {queued} leads were queued, {decided} of them decided")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
