-- Whether the place is taken: names that the schema needs and that something else has. The old system's tables, columns and functions
-- have the names of ours; what tells them apart is that our bookkeeping does not know them.
select string_agg(what, ', ' order by what) from (
    select 'schema leadrouter' as what where to_regnamespace('leadrouter') is not null
    union all
    select 'table ' || name from unnest(array['lead_routing_queue', 'lead_routing_logs', 'lead_routing_rules', 'lead_routing_sets',
        'lead_dedupe_claims', 'bulk_upload_jobs']) name
    where to_regclass('public.' || name) is not null
    union all
    select 'type lead_routing_status' where to_regtype('public.lead_routing_status') is not null
    union all
    select 'column leads.' || attname from pg_attribute
    where attrelid = to_regclass('public.leads') and not attisdropped
      and attname in ('routing_status', 'routing_locked_by', 'routing_locked_at', 'routing_started_at', 'routing_completed_at',
          'routing_failed_at', 'routing_attempts', 'routing_error', 'matched_rule_id', 'rules_version', 'decision_id',
          'decided_outcome', 'duplicate_lead_id', 'dedupe_hash', 'lead_expires_at', 'import_id', 'import_row', 'import_key', 'erased_at')
    union all
    select distinct 'function ' || proname from pg_proc
    where pronamespace = to_regnamespace('public')
      and proname in ('acquire_routing_lock', 'complete_routing', 'fail_routing', 'release_stale_routing_locks',
          'check_cross_partner_duplicate', 'generate_dedupe_hash', 'mark_expired_leads')
) taken
