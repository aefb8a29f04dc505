-- step: transaction
--
-- Leads that were there before: in batches by id, each in a transaction of its own, so that no row is locked for long.

create table leadrouter.backfill (
    done_to uuid not null,
    done boolean not null default false
);
insert into leadrouter.backfill (done_to) values ('00000000-0000-0000-0000-000000000000');
alter table leadrouter.backfill owner to leadrouter_owner;
select leadrouter.seal_table('leadrouter.backfill');

-- Fills the columns of the next p_leads leads and claims their identities: the oldest lead of an identity holds it, none past its time to
-- live. Returns how many leads it looked at, 0 at the end.
create function leadrouter.backfill_leads(p_leads integer) returns integer
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
    set enable_seqscan = off
as $function$
declare
    v_from uuid := (select done_to from leadrouter.backfill);
    v_ids uuid[];
begin
    v_ids := array(select l.id from public.leads l where l.id > v_from order by l.id limit p_leads);
    if cardinality(v_ids) = 0 then
        return 0;
    end if;
    update public.leads l set
        source_workspace_id = l.workspace_id,
        lead_expires_at = coalesce(l.lead_expires_at, leadrouter.lead_expiry(coalesce(l.created_at, now()))),
        dedupe_hash = public.generate_dedupe_hash(l.email, l.phone, l.company_name, l.first_name, l.last_name)
    where l.id = any (v_ids) and l.source_workspace_id is null;
    insert into public.lead_dedupe_claims as c (dedupe_hash, lead_id, workspace_id, claimed_at, expires_at)
    select distinct on (l.dedupe_hash) l.dedupe_hash, l.id, l.workspace_id, coalesce(l.created_at, now()), l.lead_expires_at
    from public.leads l
    where l.id = any (v_ids) and l.routing_status = 'routed' and l.decision_id is null and l.dedupe_hash is not null
      and l.lead_expires_at > now() and l.workspace_id is not null
    order by l.dedupe_hash, l.created_at, l.id
    on conflict (dedupe_hash) do update
        set lead_id = excluded.lead_id, workspace_id = excluded.workspace_id, claimed_at = excluded.claimed_at,
            expires_at = excluded.expires_at
        where (excluded.claimed_at, excluded.lead_id) < (c.claimed_at, c.lead_id);
    update leadrouter.backfill set done_to = v_ids[cardinality(v_ids)];
    return cardinality(v_ids);
end
$function$;

select leadrouter.seal_functions('{backfill_leads}');
