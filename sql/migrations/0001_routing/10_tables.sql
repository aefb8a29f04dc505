-- step: transaction
--
-- Tables that hold the product's data. On a database that has workspaces, leads and user_workspaces already these three are left as they
-- are, and step 15 adds to leads what routing needs.

do $body$
begin
    if to_regclass('public.leads') is not null and not exists (
        select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
        where i.indrelid = to_regclass('public.leads') and i.indisunique and i.indisvalid and i.indpred is null
          and i.indnkeyatts = 1 and a.attname = 'id') then
        raise exception 'public.leads has no unique index on id' using errcode = 'LR422';
    end if;
end
$body$;

-- --- Sealing ---------------------------------------------------------------------------------------------------------

-- What is made is sealed by the step that makes it: rows come in while later steps run, and an installation may give its roles rights on
-- all that is new, as a hosted Supabase does.

-- Takes every right on a table, view or sequence from everybody but its owner.
create function leadrouter.revoke_all(p_relation regclass) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_grantee text;
begin
    for v_grantee in
        select distinct case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end
        from pg_class c, lateral aclexplode(c.relacl) a
        where c.oid = p_relation and a.grantee <> c.relowner
    loop
        execute format('revoke all on %s from %s', p_relation, v_grantee);
    end loop;
end
$function$;

-- Forces row security on a table, with a policy for the functions.
create function leadrouter.force_row_security(p_table regclass) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    execute format('alter table %s enable row level security', p_table);
    execute format('alter table %s force row level security', p_table);
    if not exists (select from pg_policy p where p.polrelid = p_table and p.polname = 'leadrouter_owner') then
        execute format('create policy leadrouter_owner on %s to leadrouter_owner using (true) with check (true)', p_table);
    end if;
end
$function$;

-- Both: nobody but the functions gets at the table's rows.
create function leadrouter.seal_table(p_table regclass) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    perform leadrouter.revoke_all(p_table);
    perform leadrouter.force_row_security(p_table);
end
$function$;

-- Gives functions of schema leadrouter (or "public.name") to leadrouter_owner, and takes the right to call them from everybody but the role
-- that is named.
create function leadrouter.seal_functions(p_names text[], p_caller text default null) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_name text;
    v_function regprocedure;
    v_grantee text;
begin
    foreach v_name in array p_names loop
        for v_function in
            select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
            where format('%I.%I', n.nspname, p.proname) = case when v_name like 'public.%' then v_name else 'leadrouter.' || v_name end
        loop
            execute format('alter function %s owner to leadrouter_owner', v_function);
            execute format('revoke all on function %s from public', v_function); -- when it has no list of rights yet
            for v_grantee in
                select distinct quote_ident(pg_get_userbyid(a.grantee)) from pg_proc p, lateral aclexplode(p.proacl) a
                where p.oid = v_function and a.grantee not in (0, p.proowner)
            loop
                execute format('revoke all on function %s from %s', v_function, v_grantee);
            end loop;
            if p_caller is not null then
                execute format('grant execute on function %s to %I', v_function, p_caller);
            end if;
        end loop;
        if not found then
            raise exception 'there is no function %', v_name;
        end if;
    end loop;
end
$function$;
select leadrouter.seal_functions('{revoke_all, force_row_security, seal_table, seal_functions}');

do $body$
declare
    v_grantee text;
begin
    for v_grantee in
        select distinct case a.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end
        from pg_namespace n, lateral aclexplode(n.nspacl) a where n.nspname = 'leadrouter' and a.grantee <> n.nspowner
    loop
        execute format('revoke all on schema leadrouter from %s', v_grantee);
    end loop;
end
$body$;

-- --- Tables ----------------------------------------------------------------------------------------------------------

create type public.lead_routing_status as enum ('pending', 'routing', 'routed', 'failed', 'expired');

create table if not exists public.workspaces (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    workspace_type text not null default 'standard' check (workspace_type in ('standard', 'partner')),
    is_active boolean not null default true,
    routing_config jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table if not exists public.user_workspaces (
    user_id uuid not null,
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    role text not null default 'member' check (role in ('member', 'admin')),
    primary key (user_id, workspace_id)
);

-- Only new leads tables have room in their pages for updates in place: a host's table keeps its settings.
create table if not exists public.leads (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

create table public.lead_routing_rules (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    rule_name text not null check (rule_name <> '' and length(rule_name) <= 200),
    priority integer not null default 0,
    conditions jsonb not null default '{}' check (jsonb_typeof(conditions) = 'object'),
    destination_workspace_id uuid not null, -- no foreign key: a rule outlives its destination and is then passed over
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table public.lead_routing_rules is 'Which workspace gets the leads of workspace_id that meet the conditions';

create table public.lead_routing_sets (
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    set_name text not null check (set_name <> '' and octet_length(set_name) <= 200),
    set_values text[] not null default '{}' check (cardinality(set_values) <= 100000 and array_position(set_values, null) is null),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (workspace_id, set_name)
);
comment on table public.lead_routing_sets is 'Named sets of values that the rules of a workspace share';

-- Why an attempt can fail, and what follows: the one place that says what is tried again, and when.
create table leadrouter.error_classes (
    class text primary key,
    is_retried boolean not null,
    delays interval[] not null, -- after failed attempt n the n-th, the last one after all later ones; none: only new rules make it due
    jitter double precision not null default 0.1 check (jitter between 0 and 1), -- a delay is longer or shorter by up to this share
    is_revived boolean not null default true, -- failed for good, a change of rules makes the lead due again
    description text not null
);
insert into leadrouter.error_classes (class, is_retried, delays, is_revived, description) values
    ('unmatched', true, '{1 min, 5 min, 15 min, 1 hour}', true, 'no rule took the lead'),
    ('fallback_inactive', true, '{1 min, 5 min, 15 min, 1 hour}', true, 'no rule took it, and the fallback workspace is not active'),
    ('rules_unusable', true, '{1 min, 5 min, 15 min, 1 hour}', true, 'the rules of its workspace do not compile'),
    ('database', true, '{1 min, 5 min, 15 min, 1 hour}', true, 'the database had an error that may pass'),
    ('worker', true, '{1 min, 5 min, 15 min, 1 hour}', true, 'a worker that held it said so'),
    ('stale_lock', true, '{0}', true, 'a worker held it for too long, and its lock was released'),
    ('lost', true, '{0}', true, 'nobody had asked for it; no attempt is counted'),
    ('held', true, '{}', true, 'its workspace is not active, or routes only when it is asked to; no attempt is counted'),
    ('invalid_data', false, '{}', true, 'its data cannot be processed'),
    ('cancelled', false, '{}', false, 'given up by hand');

-- An id that is higher than those made milliseconds earlier (RFC 9562, version 7): rows that are written, or closed, one after the
-- other then lie side by side in the index of the primary key. Its body is bound when it is made, and put in place of its call.
create function leadrouter.new_id() returns uuid
    language sql volatile parallel safe
    return (overlay(lpad(to_hex((date_part('epoch', clock_timestamp()) * 1000)::bigint), 12, '0') placing '-' from 9 for 0)
        || '-7' || substr(gen_random_uuid()::text, 16))::uuid;

create table public.lead_routing_queue (
    id uuid primary key default leadrouter.new_id(),
    lead_id uuid not null,
    workspace_id uuid not null,
    attempt_number integer not null,
    max_attempts integer not null check (max_attempts between 1 and 20),
    next_retry_at timestamptz not null, -- infinity: only a change of rules makes it due
    last_error text,
    error_count integer not null default 0,
    error_class text not null default 'unmatched', -- of leadrouter.error_classes
    rules_version bigint not null default 0, -- the version that refused the lead
    routing_context jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    processed_at timestamptz,
    postponed_until timestamptz -- lanes leave it alone until then, though it is due: its lead could not be looked at
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
comment on table public.lead_routing_queue is 'When a lead is tried again; at most one open row (processed_at is null) per lead';

create table public.lead_routing_logs (
    id uuid not null default leadrouter.new_id(),
    lead_id uuid not null,
    source_workspace_id uuid not null,
    destination_workspace_id uuid,
    matched_rule_id uuid,
    routing_result text not null check (routing_result in
        ('success', 'duplicate', 'retry', 'failed', 'expired', 'released', 'requeued', 'erased')),
    error_message text,
    lock_owner uuid,
    attempt_number integer not null default 0,
    actor_id uuid,
    routing_metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    transaction_id xid8 not null default pg_current_xact_id(), -- what a seal covers is told by it
    primary key (id, created_at)
) partition by range (created_at);
comment on table public.lead_routing_logs is 'Append only: what was decided about each lead, when, by which rule, for whom';

-- Serves: find_attempts(), the history of a lead.
create index lead_routing_logs_lead on public.lead_routing_logs (lead_id, created_at);
-- Serves: what a workspace's leads became, newest first.
create index lead_routing_logs_workspace on public.lead_routing_logs (source_workspace_id, created_at);
-- Serves: seal_log(), verify_log(): the rows that no seal covers yet, and those that a seal covers.
create index lead_routing_logs_transaction on public.lead_routing_logs (transaction_id);
-- Serves: sample_duplicates(), those of the last hour.
create index lead_routing_logs_duplicates on public.lead_routing_logs (created_at, source_workspace_id)
    where routing_result = 'duplicate' and created_at is not null;

-- The chain of seals over the audit log: only added to, and kept for good. A seal covers the log rows from a place up to before another; a
-- place is a transaction and, within it, an id. What it says of the rows it says day by day, since a day may be dropped.
create table leadrouter.log_seals (
    number bigint primary key, -- from 0, without gaps
    kind text not null check (kind in ('first', 'rows', 'drop')), -- drop: the day that it names was dropped as old
    previous_hash bytea not null,
    sealed_at timestamptz not null,
    from_transaction xid8 not null,
    from_id uuid not null,
    to_transaction xid8 not null,
    to_id uuid not null,
    days date[] not null,
    row_counts integer[] not null, -- one for each day, as the next two
    row_digests bytea[] not null,  -- SHA-256 over the digests of the rows, in order of their places
    list_digests bytea[] not null, -- SHA-256 of the list in log_seal_rows
    hash bytea not null -- of all the above
);
-- Serves: a seal is followed by one other.
create unique index log_seals_previous on leadrouter.log_seals (previous_hash);

-- Which rows a seal covers, so that the one that was tampered with can be named; dropped with the day.
create table leadrouter.log_seal_rows (
    number bigint not null,
    day date not null,
    list bytea not null, -- for each row 24 bytes: its id, and the first eight of its digest
    primary key (number, day)
);
alter table leadrouter.log_seal_rows alter column list set storage external; -- nothing in it can be compressed

create table public.lead_dedupe_claims (
    dedupe_hash text primary key,
    lead_id uuid not null,
    workspace_id uuid not null, -- the destination that won the identity
    claimed_at timestamptz not null default now(),
    expires_at timestamptz not null
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02);
comment on table public.lead_dedupe_claims is 'Which lead owns an identity, until when';

-- The version of everything a workspace's decisions read; no row counts as version 0.
create table leadrouter.rule_versions (
    workspace_id uuid primary key,
    version bigint not null,
    changed_by xid8 not null default pg_current_xact_id(), -- a transaction makes one version, however often it changes something
    changed_at timestamptz not null default now()
) with (fillfactor = 50);

-- Each version that there ever was, with the workspace's policy then.
create table leadrouter.rule_set_versions (
    workspace_id uuid not null,
    version bigint not null,
    routing_config jsonb not null default '{}',
    fallback_is_active boolean not null default false,
    actor_id uuid, -- who made it, when a service call did
    note text,
    created_at timestamptz not null default now(),
    primary key (workspace_id, version)
);

-- What each rule and each set was, from one version on and up to before another; to_version null: still.
create table leadrouter.rule_history (
    workspace_id uuid not null,
    rule_id uuid not null,
    from_version bigint not null,
    to_version bigint,
    rule_name text not null,
    priority integer not null,
    conditions jsonb not null,
    destination_workspace_id uuid not null,
    destination_is_active boolean not null,
    is_active boolean not null,
    created_at timestamptz not null, -- of the rule: part of the match order
    primary key (workspace_id, rule_id, from_version)
);
create table leadrouter.set_history (
    workspace_id uuid not null,
    set_name text not null,
    from_version bigint not null,
    to_version bigint,
    set_values text[] not null,
    primary key (workspace_id, set_name, from_version)
);

-- Repeats of CreateLeads: what the first call with a request id answered.
create table leadrouter.create_requests (
    workspace_id uuid not null,
    request_id uuid not null,
    content_hash bytea not null,
    lead_ids uuid[] not null,
    created boolean[] not null,
    created_at timestamptz not null default now(),
    primary key (workspace_id, request_id)
);

-- Imports of many leads, one row each. The columns up to completed_at have the names that readers of such tables know.
create table public.bulk_upload_jobs (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    user_id uuid, -- who asked; null: a service
    source text not null default '', -- what was imported: the name of a file
    status text not null default 'processing' check (status in
        ('pending', 'processing', 'completed', 'completed_with_errors', 'failed')), -- pending: broken off, and can be continued
    total_records bigint not null default 0, -- 0: not known yet
    processed_records bigint not null default 0,
    successful_records bigint not null default 0,
    failed_records bigint not null default 0,
    file_url text,
    raw_data jsonb, -- always null: leads are kept once
    error_log jsonb not null default '[]', -- [{"row", "error"}], the first 100
    routing_summary jsonb not null default '{}', -- {"routed_workspaces": {id: count}, "unrouted_count": n}
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    completed_at timestamptz,
    -- ours
    fingerprint text, -- of the file and of how it is read: the same one again is continued
    is_routed boolean not null default false, -- whether its leads are routed as they come
    owner uuid not null, -- of the call that imports: a later one takes the import from it
    last_row bigint not null default 0, -- rows up to this one are in
    end_offset bigint not null default 0, -- bytes up to this one have been read
    created_records bigint not null default 0,
    updated_records bigint not null default 0,
    existing_records bigint not null default 0,
    duplicate_records bigint not null default 0
) with (fillfactor = 50);
comment on table public.bulk_upload_jobs is 'Imports of many leads: how far they are, and what became of them';

-- What the batches of an import came to: the leads that it made, in the order of their rows, and the rows that were rejected, with the
-- field at fault ('': none in particular) and why.
create table leadrouter.import_batches (
    import_id uuid not null references public.bulk_upload_jobs (id) on delete cascade,
    first_row bigint not null,
    lead_ids uuid[] not null,
    rejected_rows bigint[] not null default '{}',
    rejected_fields text[] not null default '{}',
    rejected_reasons text[] not null default '{}',
    primary key (import_id, first_row)
);

-- What runs from time to time, one row each, shared by all servers.
create table leadrouter.scheduled_jobs (
    name text primary key,
    is_paused boolean not null default false,
    paused_at timestamptz,
    paused_by uuid,
    pause_note text,
    next_run_at timestamptz not null,
    run_id uuid, -- of the run under way
    grace_ms integer not null default 30000, -- that run was left, when it has not been touched for so long
    last_started_at timestamptz,
    last_touched_at timestamptz, -- when the run under way last showed that it goes on
    last_ended_at timestamptz,
    last_done_at timestamptz, -- when it last ended well
    last_result text check (last_result in ('done', 'failed', 'interrupted')),
    last_detail jsonb not null default '{}',
    last_error text,
    failures integer not null default 0, -- in a row
    runs bigint not null default 0
) with (fillfactor = 50);

-- A partial index names its first column in its condition, though the column is never null: so it serves only who asks for that column.
-- Otherwise a plan that was made while it was empty may take it for any question about such rows, and walk through all (sql/README.md).

-- Serves: the one open row of a lead (unique), closing and reading it.
create unique index lead_routing_queue_open on public.lead_routing_queue (lead_id) where processed_at is null and lead_id is not null;
-- Serves: erase_lead().
create index lead_routing_queue_processed on public.lead_routing_queue (lead_id) where processed_at is not null and lead_id is not null;
-- Serves: lock_due_leads(), by time; the count of due rows.
create index lead_routing_queue_due on public.lead_routing_queue (next_retry_at) where processed_at is null and next_retry_at is not null;
-- Serves: lock_due_leads(), by rule version; depth per workspace.
create index lead_routing_queue_workspace on public.lead_routing_queue (workspace_id, rules_version, id)
    where processed_at is null and workspace_id is not null;
-- Serves: the count of leads that wait for their workspace.
create index lead_routing_queue_held on public.lead_routing_queue (workspace_id, rules_version)
    where processed_at is null and error_class = 'held' and workspace_id is not null;
-- Serves: lock_due_leads(), the workspaces whose rules have changed of late.
create index rule_versions_changed on leadrouter.rule_versions (changed_at);
-- Serves: load_rule_sets().
create index lead_routing_rules_workspace on public.lead_routing_rules (workspace_id) where is_active and workspace_id is not null;
-- Serves: which rule sets a workspace's activity matters to.
create index lead_routing_rules_destination on public.lead_routing_rules (destination_workspace_id)
    where is_active and destination_workspace_id is not null;
-- Serves: closing the history of a rule; a rule has one open row.
create unique index rule_history_open on leadrouter.rule_history (rule_id) where to_version is null and rule_id is not null;
-- Serves: the rules that a change of a workspace's activity matters to.
create index rule_history_destination on leadrouter.rule_history (destination_workspace_id)
    where to_version is null and destination_workspace_id is not null;
-- Serves: the rule set of a version.
create index rule_history_versions on leadrouter.rule_history (workspace_id, to_version);
-- Serves: begin_import(), the import of the same file; it is there once.
create unique index bulk_upload_jobs_fingerprint on public.bulk_upload_jobs (workspace_id, fingerprint) where fingerprint is not null;
-- Serves: read_imports(), the newest first.
create index bulk_upload_jobs_workspace on public.bulk_upload_jobs (workspace_id, created_at, id);
-- Serves: forgetting old requests.
create index create_requests_age on leadrouter.create_requests (created_at);

do $body$
declare
    v_table regclass;
    v_role text;
begin
    foreach v_table in array array['public.lead_routing_rules', 'public.lead_routing_queue', 'public.lead_routing_logs',
        'public.lead_dedupe_claims', 'public.lead_routing_sets', 'leadrouter.rule_versions', 'leadrouter.rule_set_versions',
        'leadrouter.rule_history', 'leadrouter.set_history', 'leadrouter.create_requests', 'leadrouter.error_classes',
        'leadrouter.scheduled_jobs', 'leadrouter.log_seals', 'leadrouter.log_seal_rows', 'public.bulk_upload_jobs',
        'leadrouter.import_batches']::regclass[] loop
        execute format('alter table %s owner to leadrouter_owner', v_table);
        perform leadrouter.seal_table(v_table);
    end loop;
    perform leadrouter.seal_functions('{new_id}');
    alter type public.lead_routing_status owner to leadrouter_owner;
    alter schema leadrouter owner to leadrouter_owner;
    grant usage on schema leadrouter to leadrouter_service;
    foreach v_role in array array['leadrouter_owner', 'leadrouter_service', 'authenticated'] loop
        continue when has_schema_privilege(v_role, 'public', 'usage'); -- most often through PUBLIC; the schema may be somebody else's
        execute format('grant usage on schema public to %s', v_role);
    end loop;
end
$body$;
