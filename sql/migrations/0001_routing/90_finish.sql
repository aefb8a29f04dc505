-- step: transaction
--
-- What could not be said before the old leads were filled in.

alter table public.leads validate constraint leads_source_workspace_check;
alter table public.leads validate constraint leads_decided_outcome_check;
drop table leadrouter.backfill cascade;
drop function leadrouter.backfill_leads(integer);
