#!/usr/bin/python3
"""The plans of the hot functions' own statements, as docs/performance.md has them: of a database with some thousand leads of each kind, by
auto_explain with nested statements, what is of no interest left out.

    LEADROUTER_BUILD_DIR=$PWD/build/release /usr/bin/python3 tests/sql/plans.py

prints that part of the page. `test_plans.py` holds the page to it.
"""
import pathlib
import re
import sys
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.database import Database  # noqa: E402
from support.plans import explain, nodes, plans_of  # noqa: E402
from support.product_cluster import ProductCluster  # noqa: E402

A, DESK, IMPORT = (str(uuid.UUID(int=0x40008000000000000000 + n)) for n in (1, 2, 3))
LEADS, WORKSPACES = 20_000, 500 # of the leads a tenth is undecided, and half of these wait in the queue

# What a function does, and a call of it; %(leads)s and the like are filled in.
CALLS = [
    ("Taking leads, `lock_leads()`: by key, locked ones passed over (the first statement); then, with a newer snapshot,"
     " what deciding needs.",
     "leadrouter.lock_leads(%(leads)s, %(sources)s)"),
    ("Writing what was decided, `decide()`: claims of identities by their unique key; then leads, the log's rows and the queue in"
     " one statement.",
     "leadrouter.decide(%(leads)s, %(sources)s, %(owners)s, '{1,1}', %(desks)s, '{null,null}', '{r,r}', '{1,1}', '{null,null}',"
     " '{because,because}', '{null,null}', '{3,3}', '{null,null}', '{f,f}', '{90,90}', %(hashes)s, '{0,0}', null,"
     " %(places)s, '{null,null}')"),
    ("Due retries, `lock_due_leads()`: whether the job is paused; then rows in order of their time, so that the first ones that are free"
     " end it; then as `lock_leads()`, with rows and leads at their places.",
     "leadrouter.lock_due_leads(256, null, false, false, 0, null, 0, null, false)"),
    ("Leads that nobody asked for, `queue_lost_leads()`: workspace by workspace, oldest first.",
     "leadrouter.queue_lost_leads(60, null, 256, null)"),
    ("Leads past their time to live, `expire_leads()`.", "leadrouter.expire_leads(null, 256)"),
    ("Taking leads in, `create_leads()`, by a call that can be repeated: the workspace's limit; whether the call was made before; then the"
     " leads, of which an index says which are there; those that are; requests of more than a day ago, which go; the request.",
     f"leadrouter.create_leads('{A}', %(new)s, '{A}', 'digest')"),
    ("A page of a workspace's leads, the newest first, `list_leads()`: of those that came in through it, or of those that it got, the half"
     " that was asked for; then what is told of them.",
     f"leadrouter.list_leads('{A}', false, null, null, null, null, null, null, null, null, 100, 10000)"),
    ("A batch of an import, `import_rows()`: the import, held; leads by their external ids or their contents, of which two indexes say"
     " which are there; those that are, and what they lacked; the batch, and how far the import is.",
     f"leadrouter.import_rows('{IMPORT}', '{A}', 0, 100, '{{1,2,3}}', '{{null,null,null}}', '{{null,null,null}}', '{{{A},{DESK},null}}',"
     " '{\"\",x2,x3}', '{e,e,e}', '{p,p,p}', '{f,f,f}', '{l,l,l}', '{c,c,c}', '{i,i,i}', '{s,s,s}', '{r,r,r}', '{c,c,c}', '{s,s,s}',"
     " '{c,c,c}', '{p,p,p}', '{s,s,s}', array['{}','{}','{}'], '{\"\",\"\",\"\"}')"),
]

FILL = f"""
set session_replication_role = replica;
insert into workspaces (id, name, workspace_type) values ('{A}', 'a', 'partner'), ('{DESK}', 'desk', 'standard');
insert into workspaces (name, workspace_type) select 'w' || n, 'partner' from generate_series(1, {WORKSPACES}) n;
insert into leadrouter.rule_versions (workspace_id, version) select id, 1 from workspaces on conflict do nothing;
insert into bulk_upload_jobs (id, workspace_id, fingerprint, owner) values ('{IMPORT}', '{A}', 'f', '{A}');
insert into bulk_upload_jobs (workspace_id, fingerprint, owner) select id, 'f', id from workspaces where name like 'w%';
insert into leadrouter.create_requests (workspace_id, request_id, content_hash, lead_ids, created, created_at)
    select '{A}', gen_random_uuid(), 'digest', '{{}}', '{{}}', now() - n * interval '1 minute' from generate_series(1, {LEADS} / 10) n;
insert into leads (workspace_id, source_workspace_id, external_id, import_key, email, dedupe_hash, routing_status, routing_attempts,
        lead_expires_at, created_at)
    select case when n % 4 = 0 then '{DESK}'::uuid else '{A}' end, '{A}', case when n % 2 = 0 then 'x' || n end,
        case when n % 2 = 1 then gen_random_uuid() end, n || '@example.com', encode(sha256(n::text::bytea), 'hex'),
        (case when n % 10 > 0 then 'routed' else 'pending' end)::lead_routing_status, 1,
        now() + n * interval '1 minute', now() - n * interval '1 second'
    from generate_series(1, {LEADS}) n;
insert into lead_dedupe_claims (dedupe_hash, lead_id, workspace_id, claimed_at, expires_at)
    select dedupe_hash, id, '{A}', now(), now() + interval '90 days' from leads where routing_status = 'routed';
insert into lead_routing_queue (lead_id, workspace_id, attempt_number, max_attempts, next_retry_at, error_class, last_error)
    select id, '{A}', 1, 3, now() - n * interval '1 minute', 'unmatched', 'no rule matched'
    from (select id, row_number() over (order by created_at) as n from leads where routing_status = 'pending' limit {LEADS} / 20) l;
set session_replication_role = origin;
analyze;
"""


def brief(text):
    """A condition without casts, schemas and the brackets around it."""
    text = re.sub(r"::[a-z_.]+( with time zone)?(\[\])?", "", text)
    text = re.sub(r"\bpublic\.|\bleadrouter\.", "", text)
    return text[1:-1] if text.startswith("(") and text.endswith(")") and text.count("(") == 1 else text


def lines(node, depth=0):
    """As EXPLAIN writes them, without costs: nodes, and keys of indexes."""
    name = node["Operation"] if node["Node Type"] == "ModifyTable" else node["Node Type"]
    if node.get("Join Type") == "Left":
        name += " Left Join"
    if "Index Name" in node:
        name += f" using {node['Index Name']}"
    if "Relation Name" in node:
        name += f" on {node['Relation Name']}"
    elif "CTE Name" in node:
        name += f" on {node['CTE Name']}"
    elif "Function Name" in node or node["Node Type"] == "Function Scan":
        name += f" on {node['Alias']}"
    if "Subplan Name" in node:
        yield "      " * (depth - 1) + f"  {node['Subplan Name']}"
    yield ("      " * (depth - 1) + "  ->  " if depth else "") + name
    for condition in ("Index Cond", "TID Cond"):
        if condition in node:
            yield "      " * depth + f"  {condition}: {brief(node[condition])}"
    for child in node.get("Plans", ()):
        yield from lines(child, depth + 1)


def uses_tables(node):
    return any(not one.get("Relation Name", "pg_").startswith("pg_") for one in nodes(node))


def plans(session, call):
    """The plans of the statements inside the call's function that touch a table, in order."""
    found = plans_of(session, lambda: session.execute("select * from " + call))
    return ["\n".join(lines(plan)) for plan in found if uses_tables(plan)]


def page(cluster):
    """The part of docs/performance.md."""
    name = cluster.database()
    db = Database(cluster, name)
    db.execute(FILL)
    rows = db.rows("select id, dedupe_hash, ctid from leads where routing_status = 'pending' order by created_at desc limit 2")
    values = {name: "'{" + ",".join(map(str, texts)) + "}'" for name, texts in {
        "leads": [row.id for row in rows], "hashes": [row.dedupe_hash for row in rows], "sources": [A, A], "desks": [DESK, DESK],
        "owners": [uuid.uuid4(), uuid.uuid4()]}.items()}
    values["new"] = "(select jsonb_agg(jsonb_build_object('external_id', 'x' || n)) from generate_series(1, 20, 2) n)"
    values["places"] = "array['%s', '%s']::tid[]" % tuple(row.ctid for row in rows)
    session = db.session()
    explain(session)
    text, shown = "", set()
    for what, call in CALLS:
        session.begin()
        blocks = [block for block in plans(session, call % values) if block not in shown]
        session.rollback()
        shown.update(blocks)
        text += what + "\n\n" + "".join(f"```text\n{block}\n```\n\n" for block in blocks)
    db.close_others()
    db.close()
    cluster.drop_database(name)
    return text


if __name__ == "__main__":
    with ProductCluster() as own:
        print(page(own), end="")
