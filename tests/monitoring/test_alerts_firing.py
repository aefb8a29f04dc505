"""Each alert for real: its condition is caused in a running leadrouterd and its PostgreSQL, Prometheus finds it by the rules of deploy/,
Alertmanager takes it and tells a receiver, with texts that are whole; then the cause is taken away, and the receiver is told that too.
Hours are seconds here (support/monitoring.py)."""
import contextlib
import http.client
import json
import os
import resource
import signal
import threading
import time

import grpc
import pytest
import yaml

from support.admin import address_of, get
from support.audit import log_row, seal, tamper
from support.monitoring import Monitoring
from support.postgres import ROOT
from support.process import descriptors, limit_descriptors
from support.product_cluster import ProductCluster, execute, wait_until
from support.retries import CALL_S, DESK, PARTNER, RULE, create, make_due, route
from support.standby import Standby
from support.stubs import leads_pb2, maintenance_pb2, routing_pb2
from support.watched_site import PATIENCE_S, Site

pytestmark = pytest.mark.xdist_group("alerts_firing") # the last tests are about what those before them have done
QUEUED = 600  # more than the page's 500
SHORT = {"transaction_age_seconds": 3, "unsealed_age_seconds": 5, "replication_lag_seconds": 2, "replication_lag_bytes": 4 << 20}
SESSIONS = 85 # of 100
FEW_DESCRIPTORS = 20 # all of them in use; with fewer poll() itself would fail


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with ProductCluster() as cluster, Monitoring(**SHORT) as monitoring:
        site = Site(cluster, monitoring, tmp_path_factory.mktemp("certificates"))
        with site.server() as first: # registers the jobs
            wait_until(lambda: site.sql("select count(*) from leadrouter.scheduled_jobs") != [(0,)], "no jobs")
            assert first.stop() == 0
        yield site


def job(server, method, **fields):
    return getattr(server.maintenance, method)(getattr(maintenance_pb2, f"{method}Request")(**fields), timeout=CALL_S)


def route_all(server, leads, **fields):
    """Answers of one stream."""
    requests = [routing_pb2.RouteLeadsRequest(index=n, lead=routing_pb2.RouteLeadRequest(
        lead_id=lead, source_workspace_id=PARTNER, **fields)) for n, lead in enumerate(leads)]
    return list(server.routing.RouteLeads(iter(requests), timeout=CALL_S))


def insert(site, count, prefix, **columns):
    """Ids of leads that nobody has asked for."""
    names = "".join(f", {name}" for name in columns)
    values = "".join(f", {value}" for value in columns.values())
    rows = site.sql(f"insert into leads (workspace_id, country, external_id{names}) select '{PARTNER}', 'FR', '{prefix}' || n{values}"
                    f" from generate_series(1, {count}) n returning id::text")
    return [lead for lead, in rows]


# --- What goes wrong ------------------------------------------------------------------------------------------------------------------


def fail_and_repeat(site, server):
    """The rule is removed: who has one attempt fails, who has three waits. Copies of one person come, and are duplicates."""
    copies = [leads_pb2.NewLead(external_id=f"copy-{n}", email="same@example.com", country="DE") for n in range(60)]
    server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=PARTNER, leads=copies, route=True), timeout=CALL_S)
    site.sql(f"delete from lead_routing_rules where id = '{RULE}'")
    assert {answer.result.outcome for answer in route_all(server, create(server, 60, "failing", country="DE"), max_attempts=1)} == {
        routing_pb2.ROUTING_OUTCOME_FAILED}
    job(server, "PauseJob", name="retries")
    create(server, QUEUED, "queued", route=True)
    make_due(site.sql)
    site.sql("update lead_routing_queue set next_retry_at = now() - interval '2 hours'"
             " where processed_at is null and next_retry_at <= now()")


def hold_locks(site, server):
    """A session that holds rows of leads while callers ask for them."""
    leads = insert(site, 300, "held")
    forgotten = site.cluster.connect(site.name)
    forgotten.autocommit = False
    forgotten.cursor().execute("select 1 from leads where external_id like 'held%' for update")
    answers = route_all(server, leads)
    assert {answer.code for answer in answers} == {grpc.StatusCode.ABORTED.value[0]}
    forgotten.rollback()
    return forgotten


def expire(site, server):
    """Leads pass their time to live; then one of which the database refuses every change, so that the job fails."""
    insert(site, 120, "old", lead_expires_at="now() - interval '1 hour'")
    assert job(server, "ExpireLeads").expired == 120
    site.sql("""create function refuse() returns trigger language plpgsql as $$ begin raise exception 'x' using errcode = '23514'; end $$;
                create trigger refuse before update on leads for each row when (old.external_id like 'broken%')
                    execute function refuse()""")
    insert(site, 1, "broken", lead_expires_at="now() - interval '1 hour'")
    with pytest.raises(grpc.RpcError):
        job(server, "RunJob", name="expiry")


def abandon_leads(site):
    """A worker that took leads and has stopped."""
    insert(site, 12, "stale")
    site.sql("update leads set routing_status = 'routing', routing_locked_by = gen_random_uuid(),"
             " routing_locked_at = now() - interval '6 minutes' where external_id like 'stale%'")


def drop_days(site):
    site.sql("""do $$ declare t text; begin
        for t in select c.oid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
            where i.inhparent = 'lead_routing_logs'::regclass
            and c.relname > 'lead_routing_logs_' || to_char((now() at time zone 'UTC')::date + 1, 'YYYYMMDD') loop
            execute 'drop table ' || t; end loop; end $$""")


ROUTING = ("LeadrouterRoutingFailures", "LeadrouterRoutingSuccessLow", "LeadrouterElevatedRetries", "LeadrouterRetriesDue",
           "LeadrouterRetryBacklog", "LeadrouterOldestDueRetry", "LeadrouterRetriesStopped", "LeadrouterDuplicates",
           "LeadrouterLeadsExpired", "LeadrouterLockTimeouts", "LeadrouterLockAcquisitionLow", "LeadrouterStaleLocks",
           "LeadrouterJobFailing", "LeadrouterJobPaused", "LeadrouterDatabaseSessions", "LeadrouterLongTransaction",
           "LeadrouterAuditUnsealed", "LeadrouterAuditPartitions")


@pytest.fixture(scope="module")
def servers(site):
    """One that does background work, begun when nobody did; and one with a certificate that ends tomorrow."""
    alerts = ("LeadrouterCertificateExpires", "LeadrouterCertificateExpiresSoon", "LeadrouterJobLate")
    with contextlib.ExitStack() as stack:
        with site.told(*alerts):
            site.sql("update leadrouter.scheduled_jobs set next_run_at = now() - interval '10 minutes' where next_run_at < 'infinity'")
            other = stack.enter_context(site.other())
            site.watch(other)
        with site.cleared(*alerts):
            site.ca.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth", days=90)
            first = stack.enter_context(site.server("--self-probe-ms", "3000"))
            site.watch(first, other)
        # What happens is seen only by who has looked before.
        wait_until(lambda: len(site.monitoring.query("count_over_time(up[10s]) > 4 and up == 1")) == 2, "not both are scraped")
        yield first, other


def test_certificates_and_background_work(servers):
    """A certificate that ends soon is told, and that it was renewed; no server does background work, then one does."""
    assert all(server.process.poll() is None for server in servers)


@pytest.mark.long
def test_routing(site, servers):
    """Everything that can be wrong with routing and its database at once; then all of it is put right."""
    server, _ = servers
    with contextlib.ExitStack() as stack:
        with site.told(*ROUTING):
            job(server, "PauseJob", name="seal")
            old = site.cluster.connect(site.name)
            stack.callback(old.close)
            old.autocommit = False
            old.cursor().execute("set transaction isolation level repeatable read; select count(*) from leads")
            fail_and_repeat(site, server)
            stack.callback(hold_locks(site, server).close)
            expire(site, server)
            abandon_leads(site)
            drop_days(site)
            used, = site.sql("select count(*) from pg_stat_activity")[0]
            sessions = [site.cluster.connect(site.name) for _ in range(SESSIONS - used)]
            for session in sessions:
                stack.callback(session.close)
        labels, _ = site.monitoring.receiver.since(0, "firing")["LeadrouterJobFailing"]
        assert (labels["name"], labels["severity"]) == ("expiry", "warning")
        with site.cleared(*ROUTING):
            stack.close()
            site.sql(f"""drop trigger refuse on leads; insert into lead_routing_rules (id, workspace_id, rule_name, conditions,
                destination_workspace_id) values ('{RULE}', '{PARTNER}', 'everybody', '{{}}', '{DESK}')""")
            for name in ("seal", "retries"):
                job(server, "ResumeJob", name=name)
            for name in ("expiry", "retention", "stale_locks"):
                job(server, "RunJob", name=name)
    # The rule brought everybody back, also those that had failed.
    wait_until(lambda: site.sql("select count(*) from leads where routing_status <> 'routed' and external_id ~ '^(queued|failing)'")
               == [(0,)], "leads wait though a rule takes them")


@pytest.mark.long
def test_latency(site, servers):
    """PostgreSQL's processes stand still for as long as callers wait."""
    server, _ = servers
    alerts = ("LeadrouterLatencyHigh", "LeadrouterLatencyBurnsFast", "LeadrouterLatencyBurnsSlowly")
    with site.cleared(*alerts), site.told(*alerts):
        leads = insert(site, 200, "slow")
        pids = [pid for pid, in site.sql("select pid from pg_stat_activity where usename = 'leadrouter_service'")]
        requests = (routing_pb2.RouteLeadsRequest(index=n, lead=routing_pb2.RouteLeadRequest(lead_id=lead, source_workspace_id=PARTNER))
                    for n, lead in enumerate(leads))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            stream = server.routing.RouteLeads(requests, timeout=CALL_S)
            time.sleep(2.5) # what is measured is time itself
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert {answer.code for answer in stream} == {0}


@pytest.mark.long
def test_servers(site, servers):
    """One is paused; one has few descriptors left, then for a moment none; nobody is watched."""
    server, other = servers
    with site.told("LeadrouterServerDown"):
        os.kill(other.process.pid, signal.SIGSTOP)
    with site.cleared("LeadrouterServerDown"):
        os.kill(other.process.pid, signal.SIGCONT)
    limit, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    with site.told("LeadrouterDescriptors"):
        limit_descriptors(server.process.pid, descriptors(server.process.pid) * 100 // 85, for_good=False)
    with site.cleared("LeadrouterDescriptors"):
        limit_descriptors(server.process.pid, limit, for_good=False)
    with site.told("LeadrouterSelfProbe"):
        lose_listener(server, limit)
    with site.told("LeadrouterAbsent"), site.cleared("LeadrouterSelfProbe"):
        site.watch()
    with site.cleared("LeadrouterAbsent"):
        site.watch(server, other)


def lose_listener(server, limit):
    """One probe fails: no descriptor is left for it. Connections made before are asked whether it has."""
    host, port = address_of(server)
    connections = [http.client.HTTPConnection(host, port, timeout=10) for _ in range(8)]
    for connection in connections:
        connection.connect()
    get(server, "/metrics") # they have been accepted: it came after them
    limit_descriptors(server.process.pid, FEW_DESCRIPTORS, for_good=False)
    try:
        for connection in connections:
            time.sleep(1) # each can be asked once
            connection.request("GET", "/metrics")
            if "leadrouter_self_probe_failures_total 0\n" not in connection.getresponse().read().decode():
                return
        raise AssertionError("no probe has failed")
    finally:
        limit_descriptors(server.process.pid, limit, for_good=False)
        for connection in connections:
            connection.close()


@contextlib.contextmanager
def asking(server, lead):
    """Somebody who asks again and again; the codes of the calls that failed."""
    codes, over = set(), threading.Event()

    def ask():
        while not over.wait(0.1): # a caller's own pause
            try:
                route(server, lead)
            except grpc.RpcError as failure:
                codes.add(failure.code())
    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield codes
    finally:
        over.set()
        caller.join()


def test_database(site, servers):
    """PostgreSQL is killed, and callers ask; then it is back."""
    server, _ = servers
    alerts = ("LeadrouterDatabaseDown", "LeadrouterAvailabilityBurnsFast", "LeadrouterAvailabilityBurnsSlowly")
    lead, = insert(site, 1, "asked")
    with contextlib.ExitStack() as callers:
        with site.told(*alerts):
            site.cluster.kill()
            codes = callers.enter_context(asking(server, lead))
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    with site.cleared(*alerts):
        site.cluster.restart()


@pytest.mark.long
def test_standby(site, servers):
    """Replay on a standby is paused; then it goes on. Servers look once in half a minute."""
    assert servers
    alerts = ("LeadrouterReplicationLag", "LeadrouterReplicationBehind")
    lag = "select coalesce(extract(epoch from max(replay_lag)), 0) from pg_stat_replication"
    site.patience_s = 4 * PATIENCE_S
    with Standby(site.cluster) as standby:
        with site.told(*alerts):
            execute(standby, "postgres", "select pg_wal_replay_pause()")
            site.sql("select pg_logical_emit_message(false, 'x', repeat('x', 5 * 1024 * 1024))")
            wait_until(lambda: site.sql("select pg_logical_emit_message(true, 'x', 'x')") and site.sql(lag)[0][0] > 3, "it is not behind")
        with site.cleared(*alerts):
            execute(standby, "postgres", "select pg_wal_replay_resume()")
    site.patience_s = PATIENCE_S


@pytest.mark.long
def test_audit_log(site, servers):
    """Somebody changes a sealed row, and later puts it back. Servers look once in half a minute, and believe the second good round."""
    server, _ = servers
    change = "update lead_routing_logs set routing_metadata = routing_metadata {} where id = %s"
    row = log_row(site.sql)
    seal(server)
    site.patience_s = 4 * PATIENCE_S
    with site.told("LeadrouterAuditChain"):
        tamper(site.cluster, site.name, change.format("""|| '{"bent": true}'"""), (row,))
    with site.cleared("LeadrouterAuditChain"):
        tamper(site.cluster, site.name, change.format("- 'bent'"), (row,))
    site.patience_s = PATIENCE_S


@pytest.mark.long
def test_daily_summary(site, servers):
    """Comes, goes, and comes again the next day."""
    assert servers
    told = site.monitoring.receiver.told
    wait_until(lambda: [state for state, labels, _ in told[:] if labels["alertname"] == "LeadrouterExpirySummary"][:3]
               == ["firing", "resolved", "firing"], "not daily", 3 * PATIENCE_S)


@pytest.mark.long
def test_dashboards_have_data(site, servers):
    """Every query of every dashboard was answered with data within the last minutes."""
    assert servers
    end = time.time()
    for path in sorted((ROOT / "deploy/grafana").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$job", "leadrouter").replace("$__rate_interval", "5s")
                answer = site.monitoring.ask("/api/v1/query_range", query=expression, start=end - 300, end=end, step=2)
                assert answer["status"] == "success" and answer["data"]["result"], f"{path.stem}: {panel['title']}: {expression}"


@pytest.mark.long
def test_each_alert_has_fired(site, servers):
    """None of the file is forgotten above, and none has stayed."""
    assert servers
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    names = {rule["alert"] for group in groups for rule in group["rules"]}
    assert names <= set(site.monitoring.receiver.since(0, "firing"))
    assert names <= set(site.monitoring.receiver.since(0, "resolved"))
