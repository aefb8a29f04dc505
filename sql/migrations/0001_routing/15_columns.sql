-- step: transaction
--
-- What routing needs on tables that may have been there before. Catalogue changes only: constant defaults are not written into rows, and
-- every lead that is there counts as routed from the moment it has a status. The host application goes on writing meanwhile, so nothing is
-- demanded here of leads that nothing fills in yet: the constraints come in steps 72 and 90.

alter table public.workspaces
    add column if not exists name text not null default '',
    add column if not exists workspace_type text not null default 'standard',
    add column if not exists is_active boolean not null default true,
    add column if not exists routing_config jsonb not null default '{}',
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();

alter table public.user_workspaces
    add column if not exists role text not null default 'member';

alter table public.leads
    add column if not exists source_workspace_id uuid,
    add column if not exists email text,
    add column if not exists phone text,
    add column if not exists first_name text,
    add column if not exists last_name text,
    add column if not exists company_name text,
    add column if not exists company_industry text,
    add column if not exists company_size text,
    add column if not exists company_revenue text,
    add column if not exists country text,
    add column if not exists state text,
    add column if not exists city text,
    add column if not exists postal_code text,
    add column if not exists source text,
    add column if not exists external_id text,
    add column if not exists attributes jsonb not null default '{}',
    add column routing_status public.lead_routing_status not null default 'routed',
    add column routing_locked_by uuid,
    add column routing_locked_at timestamptz,
    add column routing_started_at timestamptz,
    add column routing_completed_at timestamptz,
    add column routing_failed_at timestamptz,
    add column routing_attempts integer not null default 0,
    add column routing_error text,
    add column matched_rule_id uuid,
    add column rules_version bigint,
    add column decision_id uuid,
    add column decided_outcome text,
    add column duplicate_lead_id uuid,
    add column dedupe_hash text,
    add column lead_expires_at timestamptz,
    add column import_id uuid, -- of bulk_upload_jobs
    add column import_row bigint,
    add column import_key uuid, -- of the content of a row that has no external_id: the same row again is the same lead
    add column erased_at timestamptz, -- when its person was erased, the last time
    add column if not exists created_at timestamptz not null default now(),
    add column if not exists updated_at timestamptz not null default now();

alter table public.leads alter column routing_status set default 'pending';

-- Tables that we made are ours; those of the host stay the host's and are opened to the functions. If their owner has row security on,
-- or turns it on later, the functions, which run as leadrouter_owner, see all rows by a policy of their own; without it they would see
-- none and say nothing. A restrictive policy binds them all the same, so none may be there that concerns them.
do $body$
declare
    v_table text;
    v_policy text;
begin
    foreach v_table in array array['workspaces', 'user_workspaces', 'leads'] loop
        if exists (select from leadrouter.migration_objects
                   where object_type = 'table' and object_identity = format('public.%s', v_table)) then
            execute format('alter table public.%I owner to leadrouter_owner', v_table);
            perform leadrouter.seal_table(format('public.%I', v_table)::regclass);
            continue;
        end if;
        select string_agg(quote_ident(p.polname), ', ' order by p.polname) into v_policy
        from pg_policy p
        where p.polrelid = format('public.%I', v_table)::regclass and not p.polpermissive
          and exists (select from unnest(p.polroles) r
              where case when r = 0 then true else pg_has_role('leadrouter_owner', r, 'usage') end);
        if v_policy is not null then
            raise exception 'the restrictive policy % on public.% applies to leadrouter_owner: name the roles that it is for',
                v_policy, v_table using errcode = 'LR422';
        end if;
        execute format('grant select, insert, update, delete on table public.%I to leadrouter_owner', v_table);
        execute format('create policy leadrouter_owner on public.%I to leadrouter_owner using (true) with check (true)', v_table);
    end loop;
end
$body$;
