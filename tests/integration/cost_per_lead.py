#!/usr/bin/python3
"""What a lead costs in the database: bytes of tables with their indexes, and of the write-ahead log, when it is taken in, when it is
routed through a server (RouteLeads) and when the log is sealed.

    LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/integration/cost_per_lead.py
"""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.product_cluster import ProductCluster, execute  # noqa: E402
from support.retries import DESK, PARTNER, WORKSPACES  # noqa: E402
from support.server import Server, wait_ready  # noqa: E402
from support.stubs import routing_pb2  # noqa: E402

LEADS = 100_000
SIZES = "select t, (select coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint from pg_class c where c.relkind = 'r' and" \
        " (c.oid = to_regclass(t) or c.oid in (select inhrelid from pg_inherits where inhparent = to_regclass(t))))" \
        " from unnest(array['leads', 'lead_routing_logs', 'lead_dedupe_claims', 'leadrouter.log_seal_rows']) t"


def main():
    with ProductCluster() as cluster:
        name = cluster.database()

        def sql(statement, parameters=None):
            return execute(cluster, name, statement, parameters)

        def place():
            return sql("select pg_current_wal_lsn() - '0/0'")[0][0], dict(sql(SIZES))

        def show(what, before, after):
            parts = ", ".join(f"{table} {(after[1][table] - before[1][table]) / LEADS:.0f}" for table in after[1])
            print(f"{what}: write-ahead log {(after[0] - before[0]) / LEADS:.0f}; {parts} bytes a lead")

        sql(WORKSPACES + "insert into lead_routing_rules (workspace_id, rule_name, conditions, destination_workspace_id)"
            f" values ('{PARTNER}', 'all', '{{}}', '{DESK}'); ")
        sql("checkpoint")
        start = place()
        sql("insert into leads (workspace_id, email, first_name, last_name, company_name, country, city, company_industry)"
            f" select '{PARTNER}', 'person' || n || '@example' || n || '.com', 'First' || n, 'Last' || n, 'Company ' || n, 'DE', 'Berlin',"
            " 'software' from generate_series(1, %s) n", [LEADS])
        show("taken in", start, place())
        sql("vacuum analyze")
        sql("checkpoint")
        start = place()
        with Server(cluster.service_url(name), "--no-jobs") as server:
            wait_ready(server)
            requests = (routing_pb2.RouteLeadsRequest(lead=routing_pb2.RouteLeadRequest(lead_id=row[0], source_workspace_id=PARTNER))
                        for row in sql("select id::text from leads"))
            assert all(answer.code == 0 for answer in server.routing.RouteLeads(requests))
            fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            used_us = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1e6
            show(f"routed ({used_us / LEADS:.0f} µs of the server's CPU)", start, place())
        start = place()
        while sql("select leadrouter.seal_log(10000)")[0][0] > 0:
            pass
        show("sealed", start, place())


if __name__ == "__main__":
    main()
