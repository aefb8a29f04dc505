-- step: transaction
--
-- Imports of many leads. One call at a time works at an import: it puts its own random id into the row as the owner, and whatever it does
-- later names that id, so that a call that was thought lost changes nothing any more. How far an import is stands in the row and is
-- written by the transaction that takes the rows in: after any crash every row is in once or not at all, and the import says which.

-- Begins an import, or takes over the unfinished one of the same fingerprint; one that has ended is given as it is. With
-- p_only_continue an unfinished one must be there. LR404: no such workspace; LR405: no import to continue.
create function leadrouter.begin_import(p_workspace_id uuid, p_fingerprint text, p_source text, p_user_id uuid, p_is_routed boolean,
        p_total bigint, p_owner uuid, p_only_continue boolean)
    returns table (import_id uuid, is_continued boolean, status text, last_row bigint, end_offset bigint)
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    perform from public.workspaces w where w.id = p_workspace_id for key share;
    if not found then
        raise exception 'no such workspace' using errcode = 'LR404';
    end if;
    if p_only_continue and not exists (select from public.bulk_upload_jobs j
            where j.workspace_id = p_workspace_id and j.fingerprint = p_fingerprint and j.completed_at is null) then
        raise exception 'no import to continue' using errcode = 'LR405';
    end if;
    return query
    insert into public.bulk_upload_jobs as j (workspace_id, fingerprint, source, user_id, is_routed, total_records, owner)
    values (p_workspace_id, p_fingerprint, p_source, p_user_id, p_is_routed, p_total, p_owner)
    on conflict (workspace_id, fingerprint) where fingerprint is not null do update
        set owner = case when j.completed_at is null then excluded.owner else j.owner end,
            status = case when j.completed_at is null then 'processing' else j.status end,
            is_routed = case when j.completed_at is null then excluded.is_routed else j.is_routed end,
            total_records = greatest(j.total_records, excluded.total_records),
            updated_at = case when j.completed_at is null then now() else j.updated_at end
    returning j.id, j.created_at <> now(), j.status, j.last_row, j.end_offset;
end
$function$;

-- Takes one batch of rows in, in the order of their numbers, which go on where the import is. p_reasons: why a row is rejected, null for
-- one that is taken; p_fields: for which field. p_hashes: what generate_dedupe_hash() makes of each lead, null or '' to have it computed.
-- Gives for each row: created; updated, an earlier lead of the same external id whose empty fields it fills; existing; duplicate, of an
-- earlier row of this import; rejected. dedupe_hash is '' for a lead of a blank identity and null for a row whose lead needs no decision.
-- LR412: another call has taken the import over, or the rows are in already. LR429: more rows than limits.leads_per_request of the
-- workspace.
create function leadrouter.import_rows(p_import_id uuid, p_owner uuid, p_after_row bigint, p_end_offset bigint, p_rows bigint[],
        p_fields text[], p_reasons text[], p_keys uuid[], p_external_ids text[], p_emails text[], p_phones text[], p_first_names text[],
        p_last_names text[], p_company_names text[], p_company_industries text[], p_company_sizes text[], p_company_revenues text[],
        p_countries text[], p_states text[], p_cities text[], p_postal_codes text[], p_sources text[], p_attributes text[],
        p_hashes text[])
    returns table (ord integer, result text, lead_id uuid, dedupe_hash text)
    language plpgsql security definer rows 1000
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
    set plan_cache_mode = force_generic_plan
    set enable_hashjoin = off
    set enable_mergejoin = off
as $function$
#variable_conflict use_column
declare
    v_import record;
    v_last_row bigint := p_rows[cardinality(p_rows)];
    v_new_ids uuid[];
    v_lead_ids uuid[];
    v_hashes text[];
    v_results text[];
    v_updated bigint[];
    v_is_changed boolean;
begin
    select j.workspace_id, j.owner, j.last_row, j.completed_at, leadrouter.limit_of(w.routing_config, 'leads_per_request') as most
    into v_import
    from public.bulk_upload_jobs j join public.workspaces w on w.id = j.workspace_id where j.id = p_import_id for no key update of j;
    if not found or v_import.owner <> p_owner or v_import.last_row <> p_after_row or v_import.completed_at is not null then
        raise exception 'the import goes on elsewhere' using errcode = 'LR412';
    end if;
    if cardinality(p_rows) > v_import.most then
        raise exception 'limits.leads_per_request: the workspace may send % leads in a request', v_import.most using errcode = 'LR429';
    end if;

    -- A host's trigger that comes before the one that hashes may change what is hashed: then only that trigger can tell.
    v_is_changed := exists (select from pg_trigger t where t.tgrelid = 'public.leads'::regclass and not t.tgisinternal
        and t.tgtype & 7 = 7 and t.tgenabled <> 'D' and t.tgname < 'leads_10_fill_new'); -- before, insert, each row
    v_new_ids := array(select gen_random_uuid() from generate_series(1, cardinality(p_rows)));
    -- In order of the external ids, as everybody does who inserts leads.
    insert into public.leads (id, workspace_id, source_workspace_id, import_id, import_row, import_key, external_id, email, phone,
            first_name, last_name, company_name, company_industry, company_size, company_revenue, country, state, city, postal_code,
            source, attributes, lead_expires_at, dedupe_hash)
        select g.id, v_import.workspace_id, v_import.workspace_id, p_import_id, g.row_number, case when g.external_id = '' then g.key end,
            nullif(g.external_id, ''), nullif(g.email, ''), nullif(g.phone, ''), nullif(g.first_name, ''), nullif(g.last_name, ''),
            nullif(g.company_name, ''), nullif(g.company_industry, ''), nullif(g.company_size, ''), nullif(g.company_revenue, ''),
            nullif(g.country, ''), nullif(g.state, ''), nullif(g.city, ''), nullif(g.postal_code, ''), nullif(g.source, ''),
            g.attributes::jsonb, leadrouter.lead_expiry(now()), case when not v_is_changed then nullif(g.hash, '') end
        from unnest(v_new_ids, p_rows, p_reasons, p_keys, p_external_ids, p_emails, p_phones, p_first_names, p_last_names,
                p_company_names, p_company_industries, p_company_sizes, p_company_revenues, p_countries, p_states, p_cities,
                p_postal_codes, p_sources, p_attributes, p_hashes)
            as g (id, row_number, reason, key, external_id, email, phone, first_name, last_name, company_name, company_industry,
                company_size, company_revenue, country, state, city, postal_code, source, attributes, hash)
        where g.reason is null
        order by g.external_id, g.key, g.row_number
        on conflict do nothing;

    -- With a newer snapshot: who was there before, or came in meanwhile. An index by external id, or by the content where there is none.
    select array_agg(case when g.reason is null then l.id end order by g.n),
        array_agg(case when l.routing_status in ('pending', 'failed') then coalesce(l.dedupe_hash, '') end order by g.n),
        array_agg(case
            when g.reason is not null then 'rejected'
            when l.id = g.new_id then 'created'
            when l.import_id is not distinct from p_import_id then 'duplicate'
            else 'existing' end order by g.n)
    into v_lead_ids, v_hashes, v_results
    from unnest(v_new_ids, p_reasons, p_keys, p_external_ids) with ordinality as g (new_id, reason, key, external_id, n)
    left join lateral (
        select x.id, x.import_id, x.routing_status, x.dedupe_hash from public.leads x
        where g.reason is null and g.external_id <> '' and x.source_workspace_id = v_import.workspace_id and x.external_id = g.external_id
        union all
        select x.id, x.import_id, x.routing_status, x.dedupe_hash from public.leads x
        where g.reason is null and g.external_id = '' and x.source_workspace_id = v_import.workspace_id and x.import_key = g.key) l on true;
    if exists (select from unnest(v_lead_ids, v_results) as g (lead_id, result) where g.lead_id is null and g.result <> 'rejected') then
        raise exception 'a lead with the same key was removed meanwhile' using errcode = '40001';
    end if;

    -- Of several rows of one lead the first fills it in. Only what is empty, and nothing of a decision.
    if 'existing' = any (v_results) then
        with given as materialized (
            select distinct on (g.lead_id) g.* from unnest(v_lead_ids, v_results, p_emails, p_phones, p_first_names, p_last_names,
                    p_company_names, p_company_industries, p_company_sizes, p_company_revenues, p_countries, p_states, p_cities,
                    p_postal_codes, p_sources, p_attributes) with ordinality
                as g (lead_id, result, email, phone, first_name, last_name, company_name, company_industry, company_size,
                    company_revenue, country, state, city, postal_code, source, attributes, n)
            where g.result = 'existing'
            order by g.lead_id, g.n
        ), filled as (
            update public.leads l set
                email = coalesce(nullif(l.email, ''), nullif(g.email, '')), phone = coalesce(nullif(l.phone, ''), nullif(g.phone, '')),
                first_name = coalesce(nullif(l.first_name, ''), nullif(g.first_name, '')),
                last_name = coalesce(nullif(l.last_name, ''), nullif(g.last_name, '')),
                company_name = coalesce(nullif(l.company_name, ''), nullif(g.company_name, '')),
                company_industry = coalesce(nullif(l.company_industry, ''), nullif(g.company_industry, '')),
                company_size = coalesce(nullif(l.company_size, ''), nullif(g.company_size, '')),
                company_revenue = coalesce(nullif(l.company_revenue, ''), nullif(g.company_revenue, '')),
                country = coalesce(nullif(l.country, ''), nullif(g.country, '')),
                state = coalesce(nullif(l.state, ''), nullif(g.state, '')),
                city = coalesce(nullif(l.city, ''), nullif(g.city, '')),
                postal_code = coalesce(nullif(l.postal_code, ''), nullif(g.postal_code, '')),
                source = coalesce(nullif(l.source, ''), nullif(g.source, '')),
                attributes = g.attributes::jsonb || l.attributes
            from given g
            where l.id = any (array[g.lead_id]) and (
                (coalesce(l.email, '') = '' and g.email <> '') or (coalesce(l.phone, '') = '' and g.phone <> '')
                or (coalesce(l.first_name, '') = '' and g.first_name <> '') or (coalesce(l.last_name, '') = '' and g.last_name <> '')
                or (coalesce(l.company_name, '') = '' and g.company_name <> '')
                or (coalesce(l.company_industry, '') = '' and g.company_industry <> '')
                or (coalesce(l.company_size, '') = '' and g.company_size <> '')
                or (coalesce(l.company_revenue, '') = '' and g.company_revenue <> '')
                or (coalesce(l.country, '') = '' and g.country <> '') or (coalesce(l.state, '') = '' and g.state <> '')
                or (coalesce(l.city, '') = '' and g.city <> '') or (coalesce(l.postal_code, '') = '' and g.postal_code <> '')
                or (coalesce(l.source, '') = '' and g.source <> '')
                or l.attributes is distinct from g.attributes::jsonb || l.attributes)
            returning g.n
        )
        select coalesce(array_agg(f.n), '{}') into v_updated from filled f;
        v_results := array(
            select case when g.n = any (v_updated) then 'updated' else g.result end
            from unnest(v_results) with ordinality as g (result, n) order by g.n);
    end if;

    insert into leadrouter.import_batches (import_id, first_row, lead_ids, rejected_rows, rejected_fields, rejected_reasons)
    select p_import_id, p_rows[1], coalesce(array_agg(g.lead_id order by g.n) filter (where g.result = 'created'), '{}'),
        coalesce(array_agg(g.row_number order by g.n) filter (where g.result = 'rejected'), '{}'),
        coalesce(array_agg(g.field order by g.n) filter (where g.result = 'rejected'), '{}'),
        coalesce(array_agg(g.reason order by g.n) filter (where g.result = 'rejected'), '{}')
    from unnest(v_lead_ids, v_results, p_rows, p_fields, p_reasons) with ordinality as g (lead_id, result, row_number, field, reason, n);
    update public.bulk_upload_jobs j set
        last_row = v_last_row,
        end_offset = greatest(j.end_offset, p_end_offset),
        processed_records = j.processed_records + cardinality(p_rows),
        successful_records = j.successful_records + c.taken,
        failed_records = j.failed_records + c.rejected,
        created_records = j.created_records + c.created,
        updated_records = j.updated_records + c.updated,
        existing_records = j.existing_records + c.existing,
        duplicate_records = j.duplicate_records + c.duplicate,
        error_log = case when c.rejected = 0 or jsonb_array_length(j.error_log) >= 100 then j.error_log
            else jsonb_path_query_array(j.error_log || c.errors, '$[0 to 99]') end,
        updated_at = now()
    from (
        select count(*) filter (where g.result <> 'rejected') as taken, count(*) filter (where g.result = 'rejected') as rejected,
            count(*) filter (where g.result = 'created') as created, count(*) filter (where g.result = 'updated') as updated,
            count(*) filter (where g.result = 'existing') as existing, count(*) filter (where g.result = 'duplicate') as duplicate,
            coalesce(jsonb_agg(jsonb_build_object('row', g.row_number, 'error', concat_ws(': ', nullif(g.field, ''), g.reason))
                order by g.row_number) filter (where g.result = 'rejected'), '[]') as errors
        from unnest(v_results, p_rows, p_fields, p_reasons) as g (result, row_number, field, reason)) c
    where j.id = p_import_id;
    return query
    select g.n::integer, g.result, g.lead_id, g.hash
    from unnest(v_results, v_lead_ids, v_hashes) with ordinality as g (result, lead_id, hash, n) order by g.n;
end
$function$;

-- Leads of the last p_batches batches that nobody has asked for yet, in the order of their rows: a crash came between taking them in and
-- routing them.
create function leadrouter.import_unrouted(p_import_id uuid, p_batches integer)
    returns table (lead_id uuid, dedupe_hash text)
    language plpgsql stable security definer rows 100
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    return query
    select l.id, coalesce(l.dedupe_hash, '')
    from (select x.first_row, x.lead_ids from leadrouter.import_batches x where x.import_id = p_import_id
          order by x.first_row desc limit p_batches) b
    cross join lateral unnest(b.lead_ids) with ordinality as r (lead_id, n)
    cross join lateral (
        select x.id, x.dedupe_hash from public.leads x
        where x.id = r.lead_id and x.import_id = p_import_id and x.routing_status = 'pending' and x.routing_attempts = 0
        offset 0) l
    where not exists (select from public.lead_routing_queue q where q.lead_id = l.id and q.processed_at is null offset 0)
    order by b.first_row, r.n;
end
$function$;

-- The call that works at it ends without the import: it can be continued. Nothing when another one has it by now.
create function leadrouter.leave_import(p_import_id uuid, p_owner uuid) returns void
    language sql security definer
    set search_path = pg_catalog, pg_temp
as $function$
    update public.bulk_upload_jobs set status = 'pending', updated_at = now()
    where id = p_import_id and owner = p_owner and completed_at is null
$function$;

-- All rows are in. What became of the leads that it brought is counted now. LR412: another call has taken the import over.
create function leadrouter.end_import(p_import_id uuid, p_owner uuid) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_summary jsonb;
begin
    perform from public.bulk_upload_jobs j where j.id = p_import_id and j.owner = p_owner and j.completed_at is null for no key update;
    if not found then
        raise exception 'the import goes on elsewhere' using errcode = 'LR412';
    end if;
    select jsonb_build_object(
        'routed_workspaces', coalesce(jsonb_object_agg(c.workspace_id, c.leads) filter (where c.is_routed), '{}'),
        'unrouted_count', coalesce(sum(c.leads) filter (where not c.is_routed), 0),
        'duplicate_count', coalesce(sum(c.duplicates), 0))
    into v_summary
    from (
        select l.decided_outcome is not distinct from 'success' as is_routed,
            case when l.decided_outcome = 'success' then l.workspace_id end as workspace_id, count(*) as leads,
            count(*) filter (where l.decided_outcome = 'duplicate') as duplicates
        from leadrouter.import_batches b cross join lateral unnest(b.lead_ids) as r (lead_id)
        cross join lateral (
            select x.decided_outcome, x.workspace_id from public.leads x where x.id = r.lead_id and x.import_id = b.import_id offset 0) l
        where b.import_id = p_import_id
        group by 1, 2) c;
    update public.bulk_upload_jobs j set
        status = case when j.failed_records = 0 then 'completed' else 'completed_with_errors' end,
        total_records = j.processed_records, routing_summary = v_summary, completed_at = now(), updated_at = now()
    where j.id = p_import_id;
end
$function$;

-- Forgets what nobody asks for any more, at most p_limit rows of each kind; returns how many. Which leads an import made, and which rows
-- were rejected but the first 100: p_batches_days after it ended (by then leads are decided, and counted). Imports: p_keep_days after they
-- ended, or after rows came in last. The same file again is then an import of its own; its leads are known all the same.
create function leadrouter.prune_imports(p_batches_days integer, p_keep_days integer, p_limit integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_batches integer;
    v_imports integer;
begin
    if p_batches_days is null or p_batches_days < 1 or p_keep_days is null or p_keep_days < p_batches_days then
        raise exception 'p_batches_days, p_keep_days: must be at least 1, and the second no less than the first' using errcode = '22023';
    end if;
    delete from leadrouter.import_batches b using (
        select x.import_id, x.first_row
        from public.bulk_upload_jobs j join leadrouter.import_batches x on x.import_id = j.id
        where j.completed_at <= now() - p_batches_days * interval '1 day'
        limit p_limit for update of x skip locked) old
    where b.import_id = old.import_id and b.first_row = old.first_row;
    get diagnostics v_batches = row_count;
    delete from public.bulk_upload_jobs j using (
        select x.id from public.bulk_upload_jobs x
        where coalesce(x.completed_at, x.updated_at) <= now() - p_keep_days * interval '1 day'
        limit p_limit for update skip locked) old
    where j.id = old.id;
    get diagnostics v_imports = row_count;
    return v_batches + v_imports;
end
$function$;

-- One import of a workspace (p_import_id), or a page of them, the newest first, from behind (p_before_us, p_before_id) on when it is given.
create function leadrouter.read_imports(p_workspace_id uuid, p_import_id uuid, p_before_us bigint, p_before_id uuid, p_limit integer)
    returns table (id uuid, workspace_id uuid, user_id uuid, source text, status text, is_routed boolean, total bigint, processed bigint,
        created bigint, updated bigint, existing bigint, duplicates bigint, rejected bigint, last_row bigint, end_offset bigint,
        errors text, routing_summary text, created_us bigint, updated_us bigint, completed_us bigint, now_us bigint)
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select j.id, j.workspace_id, j.user_id, j.source, j.status, j.is_routed, j.total_records, j.processed_records, j.created_records,
        j.updated_records, j.existing_records, j.duplicate_records, j.failed_records, j.last_row, j.end_offset, j.error_log::text,
        j.routing_summary::text, leadrouter.to_us(j.created_at), leadrouter.to_us(j.updated_at), leadrouter.to_us(j.completed_at),
        leadrouter.to_us(now())
    from public.bulk_upload_jobs j
    where j.workspace_id = p_workspace_id and (p_import_id is null or j.id = p_import_id)
      and (p_before_us is null or (j.created_at, j.id) < (leadrouter.from_us(p_before_us), p_before_id))
    order by j.created_at desc, j.id desc
    limit p_limit
$function$;

-- Rows of an import that were rejected, in their order, behind row p_after_row. None once they are forgotten.
create function leadrouter.read_rejected_rows(p_workspace_id uuid, p_import_id uuid, p_after_row bigint, p_limit integer)
    returns table (row_number bigint, field text, reason text)
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select r.row_number, r.field, r.reason
    from public.bulk_upload_jobs j
    join leadrouter.import_batches b on b.import_id = j.id and b.first_row >= coalesce((
        select max(x.first_row) from leadrouter.import_batches x where x.import_id = p_import_id and x.first_row <= p_after_row), 0)
    cross join lateral unnest(b.rejected_rows, b.rejected_fields, b.rejected_reasons) as r (row_number, field, reason)
    where j.id = p_import_id and j.workspace_id = p_workspace_id and r.row_number > p_after_row
    order by b.first_row, r.row_number
    limit p_limit
$function$;

select leadrouter.seal_functions('{
    begin_import, import_rows, import_unrouted, leave_import, end_import, read_imports, read_rejected_rows,
    prune_imports}', 'leadrouter_service');
