"""Each alert of deploy/prometheus by `promtool test rules`: it fires when it must, not at its edge, and not any more afterwards; too few
leads and old numbers of a server that has lost its database do not count. The table says what happens minute by minute."""
import json
import subprocess

import pytest
import yaml

from monitoring_rules import calls, decisions, locks, needed, rules, series_name, values, waits

DAY_S = 86400
UP = {"leadrouter_database_up": [(400, 1)]}


def gauge(name, *stages, **others):
    return {name: list(stages), **UP, **others}


# Name: series, and pairs of a minute and what must be firing then (labels of each; True: one, False: none).
CASES = [
    ("LeadrouterRoutingFailures", decisions((30, 9, 0, 1), (30, 8, 0, 2), (30, 9, 1, 0)), [(29, False), (59, True), (89, False)]),
    # Duplicates are no failures, and 19 leads that fail at night wake nobody.
    ("LeadrouterRoutingFailures", decisions((60, 1, 9, 0)), [(59, False)]),
    ("LeadrouterRoutingFailures", decisions((10, 0, 0, 0), (19, 0, 0, 1), (10, 0, 0, 0)), [(25, False), (28, False)]),
    ("LeadrouterRoutingSuccessLow", decisions((30, 950, 0, 50), (30, 900, 49, 51), (30, 94, 6, 0)), [(29, False), (59, True), (89, False)]),
    ("LeadrouterElevatedRetries", {'leadrouter_retries_opened_total{reason="attempt"}': [(10, 0), (40, 50), (20, 101), (40, 101)]},
     [(12, False), (49, False), (51, True), (109, False)]),
    ("LeadrouterRetriesDue", gauge("leadrouter_retries_due", (20, 100), (20, 101), (20, 3)),
     [(19, False), (22, False), (26, True), (41, False)]),
    ("LeadrouterRetriesDue", gauge('leadrouter_workspace_retries_due{workspace_id="1",workspace="Acme"}', (20, 50), (20, 51), (20, 50)),
     [(19, False), (22, False), (26, {"workspace": "Acme", "workspace_id": "1"}), (41, False)]),
    # What a server read before it lost the database is not what is there.
    ("LeadrouterRetriesDue", {"leadrouter_retries_due": [(60, 1000)], "leadrouter_database_up": [(20, 1), (40, 0)]},
     [(19, True), (21, False)]),
    ("LeadrouterRetryBacklog", gauge("leadrouter_retries_due", (20, 500), (20, 501), (20, 400)), [(19, False), (30, True), (41, False)]),
    # A peak of two minutes is none: the mean counts.
    ("LeadrouterRetryBacklog", gauge("leadrouter_retries_due", (20, 10), (2, 2000), (20, 10)), [(21, False), (22, False)]),
    ("LeadrouterOldestDueRetry", gauge("leadrouter_oldest_due_retry_age_seconds", (10, 300), (10, 301), (10, 1)),
     [(9, False), (10, False), (13, True), (20, False)]),
    ("LeadrouterRetriesStopped", gauge("leadrouter_oldest_due_retry_age_seconds", (10, 3600), (10, 3601), (10, 1)),
     [(9, False), (13, False), (16, True), (20, False)]),
    ("LeadrouterDuplicates", decisions((90, 80, 20, 0), (90, 79, 21, 0), (70, 80, 20, 0)), [(89, False), (179, True), (249, False)]),
    ("LeadrouterDuplicates", decisions((10, 0, 0, 0), (19, 0, 1, 0), (30, 0, 0, 0)), [(30, False), (50, False)]),
    ("LeadrouterLeadsExpired", {"leadrouter_leads_expired_total": [(10, 0), (20, 100), (20, 101), (1460, 101)]},
     [(29, False), (31, True), (1400, True), (1480, False)]),
    ("LeadrouterExpirySummary", {"leadrouter_leads_expired_total": [(600, 3)]}, [(539, False), (540, True), (549, True), (550, False)]),
    ("LeadrouterLockTimeouts", {'leadrouter_lock_attempts_total{result="timed_out"}': [(10, 0), (4, 10), (20, 11)],
                                'leadrouter_database_errors_total{sqlstate="55P03"}': [(40, 0)]}, [(11, False), (14, True), (20, False)]),
    # Rows and tables count together.
    ("LeadrouterLockTimeouts", {'leadrouter_lock_attempts_total{result="timed_out"}': [(10, 0), (20, 6)],
                                'leadrouter_database_errors_total{sqlstate="55P03"}': [(10, 0), (20, 5)]}, [(11, True), (20, False)]),
    ("LeadrouterLockAcquisitionLow", locks((30, 5400, 600), (30, 5399, 601), (30, 5999, 1)), [(29, False), (59, True), (89, False)]),
    ("LeadrouterLockAcquisitionLow", locks((30, 0, 6)), [(29, False)]),
    ("LeadrouterStaleLocks", gauge("leadrouter_stale_locks", (10, 10), (10, 11), (10, 0)),
     [(9, False), (13, False), (16, True), (20, False)]),
    # Six hours of 0.59 % and 0.61 %; then an hour whose failures begin late: 1.25 % of it, and 1.67 %.
    ("LeadrouterAvailabilityBurnsFast", calls((400, 59, 9941)), [(399, False)]),
    ("LeadrouterAvailabilityBurnsFast", calls((400, 61, 9939), (60, 0, 10000)), [(399, True), (459, False)]),
    ("LeadrouterAvailabilityBurnsFast", calls((380, 0, 10000), (25, 500, 9500), (30, 0, 10000)), [(394, False), (403, True), (420, False)]),
    ("LeadrouterAvailabilityBurnsFast", calls((70, 0, 0), (9, 1, 0), (10, 0, 0)), [(75, False), (78, False)]),
    ("LeadrouterAvailabilityBurnsFast", calls((70, 1000, 10), method="grpc.health.v1.Health/Check"), [(69, False)]),
    ("LeadrouterAvailabilityBurnsFast", calls((70, 1000, 10), code="ABORTED"), [(69, False)]),
    ("LeadrouterAvailabilityBurnsFast", calls((70, 1000, 10), code="DEADLINE_EXCEEDED"), [(69, True)]),
    ("LeadrouterAvailabilityBurnsSlowly", calls((400, 9, 9991)), [(399, False)]),
    ("LeadrouterAvailabilityBurnsSlowly", calls((400, 11, 9989), (400, 0, 10000)), [(399, True), (799, False)]),
    # Ten hours ago it was well: a day forgives two hours of it.
    ("LeadrouterAvailabilityBurnsSlowly", calls((600, 0, 10000), (100, 5, 9995)), [(699, False)]),
    ("LeadrouterLatencyBurnsFast", waits((400, 1000, 710, 960)), [(399, False)]),
    ("LeadrouterLatencyBurnsFast", waits((400, 1000, 690, 960), (60, 1000, 1000, 1000)), [(399, {"within": "2s"}), (459, False)]),
    ("LeadrouterLatencyBurnsFast", waits((400, 1000, 900, 930), (60, 1000, 1000, 1000)), [(399, {"within": "5s"}), (459, False)]),
    ("LeadrouterLatencyBurnsFast", waits((70, 0, 0, 0), (9, 1, 0, 0), (9, 0, 0, 0)), [(78, False)]),
    ("LeadrouterLatencyBurnsSlowly", waits((400, 1000, 951, 991)), [(399, False)]),
    ("LeadrouterLatencyBurnsSlowly", waits((400, 1000, 949, 991), (400, 1000, 1000, 1000)), [(399, {"within": "2s"}), (799, False)]),
    ("LeadrouterLatencyHigh", waits((20, 1000, 950, 1000), (20, 1000, 949, 1000), (20, 1000, 1000, 1000)),
     [(19, False), (24, False), (32, {"quantile": "0.95"}), (50, False)]),
    ("LeadrouterLatencyHigh", waits((20, 19, 0, 19)), [(19, False)]),
    ("LeadrouterServerDown", {"up": [(10, 1), (10, 0), (10, 1)]}, [(9, False), (10, False), (12, {"instance": "a"}), (21, False)]),
    ("LeadrouterAbsent", {"up": [(10, None), (10, 1)]}, [(4, False), (6, True), (11, False)]),
    ("LeadrouterSelfProbe", {"leadrouter_self_probe_age_seconds": [(10, 15), (10, 16), (10, 2)]},
     [(9, False), (11, {"instance": "a"}), (21, False)]),
    ("LeadrouterSelfProbe", {"leadrouter_self_probe_failures_total": [(20, 0), (20, 1)]},
     [(19, False), (21, {"instance": "a"}), (32, False)]),
    ("LeadrouterDescriptors", {"process_open_fds": [(10, 800), (10, 801), (10, 20)], "process_max_fds": [(30, 1000)]},
     [(9, False), (12, {"instance": "a"}), (21, False)]),
    ("LeadrouterCertificateExpiresSoon", {"leadrouter_certificate_expiry_timestamp_seconds": [(20, 14 * DAY_S + 600), (20, 90 * DAY_S)]},
     [(10, False), (11, {"instance": "a"}), (21, False)]),
    ("LeadrouterCertificateExpiresSoon", {"leadrouter_certificate_expiry_timestamp_seconds": [(20, 0)]}, [(11, False)]), # no TLS
    ("LeadrouterCertificateExpires", {"leadrouter_certificate_expiry_timestamp_seconds": [(20, 2 * DAY_S + 600), (20, 90 * DAY_S)]},
     [(10, False), (11, {"instance": "a"}), (21, False)]),
    ("LeadrouterJobFailing", gauge('leadrouter_job_failures{name="expiry"}', (10, 0), (20, 1), (10, 0)),
     [(9, False), (19, False), (21, {"name": "expiry"}), (31, False)]),
    ("LeadrouterJobLate", gauge('leadrouter_job_late_seconds{name="expiry"}', (10, 300), (10, 301), (10, 0)),
     [(9, False), (11, {"name": "expiry"}), (21, False)]),
    ("LeadrouterJobPaused", gauge('leadrouter_job_paused{name="retries"}', (10, 0), (80, 1), (10, 0)),
     [(65, False), (71, {"name": "retries"}), (91, False)]),
    ("LeadrouterDatabaseDown", {"leadrouter_database_up": [(10, 1), (10, 0), (10, 1)]},
     [(9, False), (10, False), (12, {"instance": "a"}), (21, False)]),
    ("LeadrouterDatabaseSessions", gauge("leadrouter_database_sessions", (10, 80), (10, 81), (10, 5),
                                         leadrouter_database_sessions_max=[(30, 100)]), [(9, False), (13, False), (16, True), (21, False)]),
    ("LeadrouterLongTransaction", gauge("leadrouter_database_oldest_snapshot_age_seconds", (10, 900), (10, 901), (10, 0)),
     [(9, False), (11, True), (21, False)]),
    ("LeadrouterReplicationLag", gauge("leadrouter_database_replication_lag_seconds", (10, 60), (10, 61), (10, 0)),
     [(9, False), (13, False), (16, True), (21, False)]),
    ("LeadrouterReplicationBehind", gauge("leadrouter_database_replication_lag_bytes", (10, 1 << 30), (10, (1 << 30) + 1), (10, 0)),
     [(9, False), (13, False), (16, True), (21, False)]),
    ("LeadrouterAuditChain", {"leadrouter_audit_problems": [(10, 0), (10, 1), (10, 0)]},
     [(9, False), (11, {"instance": "a"}), (21, False)]),
    ("LeadrouterAuditUnsealed", gauge("leadrouter_audit_unsealed_age_seconds", (10, 300), (10, 301), (10, 3)),
     [(9, False), (10, False), (13, True), (21, False)]),
    ("LeadrouterAuditPartitions", gauge("leadrouter_audit_partitions_ahead", (10, 2), (10, 1), (10, 30)),
     [(9, False), (12, True), (21, False)]),
    # Before its first look at the database a server knows nothing: no alarm.
    ("LeadrouterAuditPartitions", {"leadrouter_audit_partitions_ahead": [(10, 0)], "leadrouter_database_up": [(10, 0)]}, [(9, False)]),
]


def labels_of(expected):
    return "" if expected is True else "".join(f",{name}={json.dumps(value)}" for name, value in sorted(expected.items()))


def unit_test(alert, series, checks):
    """One test in promtool's format. Firing is read from ALERTS, so that texts need not be written twice."""
    tests = []
    for minute, expected in checks:
        # What a case says nothing about is not looked at: count() by the labels that it names.
        by = ", ".join(["alertname", *(sorted(expected) if isinstance(expected, dict) else [])])
        labels = f'{{alertname="{alert}"{labels_of(expected)}}}' if expected else None
        tests.append({"expr": f'count by ({by}) (ALERTS{{alertname="{alert}", alertstate="firing"}})', "eval_time": f"{minute}m",
                      "exp_samples": [{"labels": labels, "value": 1}] if expected else []})
    return {"interval": "1m", "name": alert, "promql_expr_test": tests,
            "input_series": [{"series": series_name(name), "values": values(stages)} for name, stages in series.items()]}


def alerts():
    return rules("alerts.yml")


def run_promtool(tmp_path, alert, tests):
    """With this alert and what it rests on: all rules for days of samples would take minutes."""
    rule, = [rule for rule in alerts() if rule["alert"] == alert]
    group = {"name": "all", "rules": [*needed(rule["expr"], rules("rules.yml")), rule]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}), encoding="utf-8")
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}),
                                        encoding="utf-8")
    return subprocess.run(["promtool", "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True)


@pytest.mark.parametrize("alert", sorted({case[0] for case in CASES}))
def test_alert_fires_and_clears(tmp_path, alert):
    done = run_promtool(tmp_path, alert, [unit_test(*case) for case in CASES if case[0] == alert])
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case():
    """With a minute at which it fires, one before at which it does not, and one after."""
    for rule in alerts():
        checks = [[bool(expected) for _, expected in case[2]] for case in CASES if case[0] == rule["alert"]]
        assert any(False in check and True in check for check in checks), rule["alert"]
        assert any(not check[-1] and True in check for check in checks), f"{rule['alert']} is not seen to clear"


@pytest.mark.parametrize("wrong", [("LeadrouterStaleLocks", gauge("leadrouter_stale_locks", (20, 11)), [(16, False)]),
                                   ("LeadrouterStaleLocks", gauge("leadrouter_stale_locks", (20, 10)), [(16, True)]),
                                   ("LeadrouterJobPaused", gauge('leadrouter_job_paused{name="x"}', (80, 1)), [(71, {"name": "y"})])])
def test_the_tests_can_fail(tmp_path, wrong):
    """An alert that fires when it must not, one that does not fire, and one for another thing."""
    assert run_promtool(tmp_path, wrong[0], [unit_test(*wrong)]).returncode != 0


def test_texts(tmp_path):
    """What people are told, in full, of one alert."""
    rule, = [rule for rule in alerts() if rule["alert"] == "LeadrouterRetriesDue"]
    annotations = dict(rule["annotations"], summary="51 retries are due in workspace Acme",
                       value="51 rows of the retry queue are due and wait, all of workspace 1")
    test = unit_test("LeadrouterRetriesDue", gauge('leadrouter_workspace_retries_due{workspace_id="1",workspace="Acme"}', (20, 51)), [])
    test["alert_rule_test"] = [{"eval_time": "16m", "alertname": "LeadrouterRetriesDue", "exp_alerts": [{
        "exp_labels": {"severity": "warning", "area": "routing", "job": "leadrouter", "workspace": "Acme", "workspace_id": "1"},
        "exp_annotations": annotations}]}]
    done = run_promtool(tmp_path, "LeadrouterRetriesDue", [test])
    assert done.returncode == 0, done.stdout + done.stderr
