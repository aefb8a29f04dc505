-- step: concurrent

-- Partial indexes name their first column, as in step 10: they serve only who asks for it.

-- Serves: expiry, in order of the time to live.
create index concurrently if not exists leads_undecided_expiry on public.leads (lead_expires_at)
    where routing_status in ('pending', 'failed') and lead_expires_at is not null;
-- Serves: stale locks, in order of the time of the lock.
create index concurrently if not exists leads_held on public.leads (routing_locked_at)
    where routing_status = 'routing' and routing_locked_at is not null;
-- Serves: the counts of undecided and held leads; pending leads that nobody asked for, oldest first, from behind one of them on.
-- The status comes last: its operator is not leakproof, so that where row security is forced the planner does not see that it is constant,
-- and would not take the order of what stands behind it.
create index concurrently if not exists leads_undecided_workspace on public.leads (source_workspace_id, created_at, id, routing_status)
    where routing_status in ('pending', 'routing', 'failed') and source_workspace_id is not null;
-- Serves: list_leads(), of leads that came in through a workspace.
-- Partial, though it has them all: or who looks for a lead of the workspace by something else might be given it.
create index concurrently if not exists leads_of_source on public.leads (source_workspace_id, created_at, id) where created_at is not null;
-- Serves: list_leads(), of leads that a workspace got from others.
create index concurrently if not exists leads_received on public.leads (workspace_id, created_at, id)
    where workspace_id <> source_workspace_id;
-- Serves: create_leads(), which takes a lead of an external id once.
create unique index concurrently if not exists leads_external_id on public.leads (source_workspace_id, external_id)
    where external_id is not null;
-- Serves: import_rows(), which takes a row without an external id once.
create unique index concurrently if not exists leads_import_key on public.leads (source_workspace_id, import_key)
    where import_key is not null;
