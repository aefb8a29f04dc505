"""Leads that wait for another attempt, for tests of a server: a partner whose rules take Germans only, and what can befall a lead.

`queue(server, sql, 3)` takes three French leads in, has them refused, and makes their retries due.
"""
from support.stubs import leads_pb2, routing_pb2

PARTNER = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
DESK = "00000000-0000-4000-8000-000000000003"
RULE = "00000000-0000-4000-9000-000000000001"
NOBODY = "00000000-0000-4000-8000-0000000000ff"
CALL_S = 25

WORKSPACES = f"""
insert into workspaces (id, name, workspace_type) values
    ('{PARTNER}', 'Partner', 'partner'), ('{OTHER}', 'Other partner', 'partner'), ('{DESK}', 'Desk', 'standard');
insert into lead_routing_rules (id, workspace_id, rule_name, conditions, destination_workspace_id) values
    ('{RULE}', '{PARTNER}', 'Germans', '{{"countries": ["DE"]}}', '{DESK}');
"""


def route(server, lead_id, workspace=PARTNER, **fields):
    return server.routing.RouteLead(routing_pb2.RouteLeadRequest(lead_id=lead_id, source_workspace_id=workspace, **fields), timeout=CALL_S)


def create(server, count, prefix="x", workspace=PARTNER, country="FR", **fields):
    """Ids of new leads."""
    leads = [leads_pb2.NewLead(external_id=f"{prefix}-{n}", email=f"{prefix}{n}@example.com", country=country) for n in range(count)]
    answer = server.leads.CreateLeads(leads_pb2.CreateLeadsRequest(workspace_id=workspace, leads=leads, **fields), timeout=CALL_S)
    return [result.lead_id for result in answer.results]


def make_due(sql, leads=None):
    """The open rows of these leads (None: all) are due since a minute."""
    sql("update lead_routing_queue set next_retry_at = now() - interval '1 minute'"
        " where processed_at is null and (%s::uuid[] is null or lead_id = any (%s::uuid[]))", (leads, leads))


def queue(server, sql, count, prefix="x", workspace=PARTNER):
    """Ids of leads that no rule took and whose retries are due."""
    leads = create(server, count, prefix, workspace, route=True)
    make_due(sql, leads)
    return leads


def mend(sql, leads=None):
    """These leads (None: all) are Germans after all. No rule changes, so that time alone makes them due."""
    sql("update leads set country = 'DE' where routing_status <> 'routed' and (%s::uuid[] is null or id = any (%s::uuid[]))",
        (leads, leads))


def process(server, limit=0, workspace=""):
    return server.routing.ProcessRetries(routing_pb2.ProcessRetriesRequest(limit=limit, workspace_id=workspace), timeout=CALL_S)


def counts(answer):
    """What an answer of ProcessRetries has that is not zero, the errors left out."""
    names = ("processed", "routed", "duplicates", "requeued", "failed", "expired", "held")
    return {name: getattr(answer, name) for name in names if getattr(answer, name) != 0}


def status_of(sql, lead):
    (status,), = sql("select routing_status::text from leads where id = %s", (lead,))
    return status


def open_row(sql, lead):
    """(attempt, maximum, class, is due) of a lead's open row, or None."""
    rows = sql("select attempt_number, max_attempts, error_class, next_retry_at <= now() from lead_routing_queue"
               " where lead_id = %s and processed_at is null", (lead,))
    return rows[0] if rows else None
