-- step: transaction
--
-- Every lead is filled in by now, old ones by the backfill and new ones by their trigger. What that promises is demanded of all
-- that is written from now on; step 90 looks at what is there, under a lock that lets writers pass. A lead that had no workspace
-- before stays as it is.

alter table public.leads
    add constraint leads_decided_outcome_check check (decided_outcome in ('success', 'duplicate')) not valid,
    add constraint leads_source_workspace_check
        check (source_workspace_id is not null or (routing_status = 'routed' and decision_id is null)) not valid;
