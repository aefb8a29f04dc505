"""The audit log, for tests of a server: rows of it, a day of long ago, seals, and those who tamper with it."""
from support.jobs import run_job


def make_old_day(sql):
    """A partition that retention should have dropped."""
    sql("create table leadrouter.lead_routing_logs_20200101 (like lead_routing_logs including all)")
    sql("alter table lead_routing_logs attach partition leadrouter.lead_routing_logs_20200101"
        " for values from ('2020-01-01') to ('2020-01-02')")
    sql("alter table leadrouter.lead_routing_logs_20200101 owner to leadrouter_owner")


def log_row(sql, day=None):
    """Puts a row into the log, of now or of that day; its id."""
    return str(sql("insert into lead_routing_logs (lead_id, source_workspace_id, routing_result, lock_owner, routing_metadata, created_at)"
                   " values (gen_random_uuid(), gen_random_uuid(), 'success', gen_random_uuid(), '{\"reason\": \"because\"}',"
                   " coalesce(%s, now())) returning id", (day,))[0][0])


def seal(server):
    """Has the server seal what there is."""
    job = run_job(server.maintenance, "seal")
    assert job.last_result == "done", job


def tamper(cluster, database, statement, parameters=None):
    """As only a superuser can: with the triggers off."""
    connection = cluster.connect(database)
    try:
        cursor = connection.cursor()
        cursor.execute("set session_replication_role = replica")
        cursor.execute(statement, parameters)
    finally:
        connection.close()
