-- step: transaction
--
-- What could not be said before the old leads were filled in, and the service role's limits.

alter table public.leads validate constraint leads_source_workspace_check;
alter table public.leads validate constraint leads_decided_outcome_check;
drop table leadrouter.backfill cascade;
drop function leadrouter.backfill_leads(integer);

do $body$
begin
    execute format('alter role leadrouter_service in database %I set statement_timeout = %L', current_database(), '10s');
    execute format('alter role leadrouter_service in database %I set lock_timeout = %L', current_database(), '2s');
    execute format('alter role leadrouter_service in database %I set idle_in_transaction_session_timeout = %L', current_database(), '5s');
end
$body$;
