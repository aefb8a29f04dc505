"""Goal: a workspace's leads are listed whole and once, the newest first, by every filter, on either side, however many pages that takes and
whatever comes in meanwhile; no call looks at more than so many. leadctl shows them."""
import datetime
import json
import os
import subprocess
import uuid

import grpc
import pytest
from google.protobuf import timestamp_pb2

from support.postgres import LEADCTL
from support.stubs import leads_pb2

DEADLINE_S = 20
PATIENCE_S = 60
OURS, THEIRS = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
NONE = "00000000-0000-4000-8000-000000000009"
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture
def filled(server, sql):
    """2,500 leads of ours, a hundred in each moment, every fifth sold to them, and some of theirs."""
    sql("insert into workspaces (id, name, is_active) values (%s, 'ours', true), (%s, 'theirs', true) on conflict do nothing",
        (OURS, THEIRS))
    # Leads that were decided long ago cannot be inserted as such; the triggers that say so are off for a moment.
    sql("set session_replication_role = replica;"
        " insert into leads (workspace_id, source_workspace_id, email, source, external_id, created_at, lead_expires_at, routing_status,"
        " decided_outcome, decision_id, routing_completed_at)"
        " select case when mod(n, 5) = 0 then %s else %s end::uuid, %s, 'Lead' || n || '@Example.com',"
        " case when mod(n, 2) = 0 then 'csv' else 'web' end, n::text, %s + (n / 100) * interval '1 hour', 'infinity',"
        " case when mod(n, 5) = 0 then 'routed' else 'pending' end::lead_routing_status, case when mod(n, 5) = 0 then 'success' end,"
        " case when mod(n, 5) = 0 then gen_random_uuid() end, case when mod(n, 5) = 0 then now() end"
        " from generate_series(0, 2499) n; set session_replication_role = origin", (THEIRS, OURS, OURS, START))
    sql("insert into leads (workspace_id, source_workspace_id, email) select %s, %s, 'theirs' || n || '@example.com'"
        " from generate_series(1, 50) n", (THEIRS, THEIRS))
    return server


def hour(number):
    return timestamp_pb2.Timestamp(seconds=int(START.timestamp()) + 3600 * number)


def request(workspace=OURS, **fields):
    return leads_pb2.ListLeadsRequest(workspace_id=workspace, **fields)


def pages(server, wanted):
    """All leads, page by page; and how many pages it took."""
    leads, count = [], 0
    while True:
        page = server.leads.ListLeads(wanted, timeout=DEADLINE_S)
        leads += page.leads
        count += 1
        if not page.next_page_token:
            return leads, count
        wanted.page_token = page.next_page_token


def numbers(leads):
    return [int(lead.data.external_id) for lead in leads]


def test_all_of_them_once_newest_first(filled, sql):
    leads, count = pages(filled, request(page_size=300))
    assert (len(leads), count) == (2500, 9) and sorted(numbers(leads)) == list(range(2500))
    order = [(lead.created_at.ToNanoseconds(), lead.id) for lead in leads]
    assert order == sorted(order, reverse=True)
    assert pages(filled, request(page_size=250))[1] == 10, "a full page that is the last one says so"
    assert len(filled.leads.ListLeads(request(), timeout=DEADLINE_S).leads) == 100
    got = filled.leads.GetLead(leads_pb2.GetLeadRequest(lead_id=leads[0].id, workspace_id=OURS), timeout=DEADLINE_S).lead
    assert got == leads[0], "as GetLead gives it"


def test_what_comes_in_meanwhile_moves_nothing(filled, sql):
    wanted = request(page_size=1000)
    first = filled.leads.ListLeads(wanted, timeout=DEADLINE_S)
    sql("insert into leads (workspace_id, source_workspace_id, email) values (%s, %s, 'new@example.com')", (OURS, OURS))
    sql("delete from leads where id = %s", (first.leads[-1].id,))
    wanted.page_token = first.next_page_token
    assert len(first.leads) + len(pages(filled, wanted)[0]) == 2500


@pytest.mark.parametrize("fields, expected", [
    ({"status": leads_pb2.LEAD_STATUS_ROUTED}, lambda n: n % 5 == 0),
    ({"status": leads_pb2.LEAD_STATUS_PENDING, "source": "web"}, lambda n: n % 5 != 0 and n % 2 == 1),
    ({"status": leads_pb2.LEAD_STATUS_FAILED}, lambda n: False),
    ({"source": "csv"}, lambda n: n % 2 == 0),
    ({"external_id": "77"}, lambda n: n == 77),
    ({"email": "lead12@example.com"}, lambda n: n == 12),
    ({"side": leads_pb2.LEAD_SIDE_RECEIVED}, lambda n: False),
    ({"side": leads_pb2.LEAD_SIDE_RECEIVED, "workspace": THEIRS}, lambda n: n % 5 == 0),
    ({"side": leads_pb2.LEAD_SIDE_RECEIVED, "workspace": THEIRS, "source": "web"}, lambda n: n % 10 == 5),
    ({"created_from": hour(3), "created_before": hour(5)}, lambda n: 300 <= n < 500),
    ({"workspace": NONE}, lambda n: False),
], ids=lambda value: "" if callable(value) else ",".join(value))
def test_filters(filled, fields, expected):
    assert sorted(numbers(pages(filled, request(page_size=400, **fields))[0])) == [n for n in range(2500) if expected(n)]


def test_a_lead_past_its_time_is_expired(filled, sql):
    sql("update leads set lead_expires_at = now() where external_id = '1'")
    assert numbers(pages(filled, request(status=leads_pb2.LEAD_STATUS_EXPIRED))[0]) == [1]
    assert 1 not in numbers(pages(filled, request(status=leads_pb2.LEAD_STATUS_PENDING, page_size=1000))[0])


def test_a_page_looks_at_so_many_and_no_more(filled, sql):
    """What few leads meet comes on a page that has room, or none, with the way on."""
    sql("insert into leads (workspace_id, source_workspace_id, created_at) select %s, %s, %s from generate_series(1, 12000)",
        (OURS, OURS, START + datetime.timedelta(days=300)))
    first = filled.leads.ListLeads(request(source="csv"), timeout=DEADLINE_S)
    assert (len(first.leads), first.next_page_token != "") == (0, True)
    leads, count = pages(filled, request(source="csv", page_size=1000))
    assert (len(leads), count) == (1250, 3)


def refusal(server, wanted):
    with pytest.raises(grpc.RpcError) as caught:
        server.leads.ListLeads(wanted, timeout=DEADLINE_S)
    return caught.value.code().name, caught.value.details()


def test_what_is_refused(filled):
    token = filled.leads.ListLeads(request(page_size=10, source="csv"), timeout=DEADLINE_S).next_page_token
    for fields, text in (
            ({"workspace": ""}, "workspace_id: missing"), ({"workspace": "x"}, "workspace_id: not a UUID"),
            ({"side": 3}, "side: not one that is known"), ({"status": 9}, "status: not one that is known"),
            ({"page_size": -1}, "page_size: must be from 1 to 1000, or 0 for 100"),
            ({"page_size": 1001}, "page_size: must be from 1 to 1000, or 0 for 100"),
            ({"email": "x" * 1001}, "email: more than 1000 bytes"), ({"page_token": "x"}, "page_token: not one that was given for a page"),
            ({"page_token": token}, "page_token: not one that was given for this list and what it was asked for"),
            ({"page_token": token, "source": "web"}, "page_token: not one that was given for this list and what it was asked for"),
            ({"page_token": token, "source": "csv", "workspace": THEIRS},
             "page_token: not one that was given for this list and what it was asked for")):
        assert refusal(filled, request(**fields)) == ("INVALID_ARGUMENT", text)
    wrong = request()
    wrong.created_from.seconds = 1 << 50
    assert refusal(filled, wrong) == ("INVALID_ARGUMENT", "created_from: not a time of the years 1 to 9999")
    assert len(pages(filled, request(page_size=10, source="csv", page_token=token))[0]) == 1240


# --- leadctl ------------------------------------------------------------------------------------------------------------------


def leadctl(server, *words):
    return subprocess.run([LEADCTL, "leads", "list", "--target", server.address, *words], capture_output=True,
                          text=True, timeout=PATIENCE_S, env=os.environ)


def test_leadctl_lists(filled, sql):
    done = leadctl(filled, "--workspace", OURS, "--source", "csv", "--limit", "3", "--before", "2026-01-01T01:00:00")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 5, done
    assert lines[0].split() == ["LEAD", "CREATED", "STATUS", "SOURCE", "WHO"]
    for line in lines[1:4]:
        words = line.split()
        assert uuid.UUID(words[0]) and words[1:3] == ["2026-01-01", "00:00"]
        assert words[4] == "csv" and words[5].endswith("@Example.com")
    assert lines[4] == "3 leads, and there are more: --limit"
    everything = json.loads(leadctl(filled, "--workspace", OURS, "--limit", "5000", "--json").stdout)
    assert len(everything["leads"]) == 2500 and everything["more"] is False
    received = leadctl(filled, "--workspace", THEIRS, "--received", "--status", "routed", "--from", "2026-01-02", "--limit", "2000")
    assert received.stdout.splitlines()[-1] == "20 leads"
    assert leadctl(filled, "--workspace", OURS, "--external-id", "7").stdout.splitlines()[-1] == "1 lead"


@pytest.mark.parametrize("words, text", [
    ((), "leadctl: leads list needs --workspace W: whose leads"),
    (("--workspace", OURS, "--status", "lost"), 'leadctl: --status: "lost" is none of pending, routing, routed, failed, expired'),
    (("--workspace", OURS, "--from", "yesterday"),
     'leadctl: --from: "yesterday" is not a day as in 2026-11-28 or 2026-11-28T13:45:00'),
    (("--workspace", OURS, "--from", "2026-02-31"), 'leadctl: --from: "2026-02-31": there is no such day or time'),
    (("--workspace", OURS, "--before", "2026-11-31T24:00:00Z"),
     'leadctl: --before: "2026-11-31T24:00:00Z" is not a day as in 2026-11-28 or 2026-11-28T13:45:00'),
    (("--workspace", OURS, "--before", "2026-11-30T23:59:60Z"),
     'leadctl: --before: "2026-11-30T23:59:60Z": there is no such day or time'),
])
def test_what_leadctl_says(server, words, text):
    done = leadctl(server, *words)
    assert (done.returncode, done.stderr) == (2, text + "\n")
