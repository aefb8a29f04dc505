-- step: concurrent

-- Serves: expiry, in order of the time to live; the counts of undecided leads.
create index concurrently if not exists leads_undecided_expiry on public.leads (lead_expires_at)
    where routing_status in ('pending', 'failed');
-- Serves: stale locks, in order of the time of the lock; the count of held leads.
create index concurrently if not exists leads_held on public.leads (routing_locked_at) where routing_status = 'routing';
-- Serves: the counts of one workspace; pending leads that nobody asked for, oldest first, from behind one of them on.
create index concurrently if not exists leads_undecided_workspace on public.leads (source_workspace_id, routing_status, created_at, id)
    where routing_status in ('pending', 'routing', 'failed');
-- Serves: list_leads(), of leads that came in through a workspace.
create index concurrently if not exists leads_of_source on public.leads (source_workspace_id, created_at, id);
-- Serves: list_leads(), of leads that a workspace got from others.
create index concurrently if not exists leads_received on public.leads (workspace_id, created_at, id)
    where workspace_id <> source_workspace_id;
-- Serves: create_leads(), which takes a lead of an external id once.
create unique index concurrently if not exists leads_external_id on public.leads (source_workspace_id, external_id)
    where external_id is not null;
-- Serves: import_rows(), which takes a row without an external id once.
create unique index concurrently if not exists leads_import_key on public.leads (source_workspace_id, import_key)
    where import_key is not null;
