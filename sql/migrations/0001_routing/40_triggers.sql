-- step: transaction
--
-- What the database itself insists on, whoever writes: what a new lead has, which changes of status there are, and that every change
-- which decisions read raises the workspace's rule version.

-- --- leads: what other writers leave out -------------------------------------------------------------------------------

-- When a lead expires that came in then, unless its writer says something else. Stable, and without a search_path, so that it is inlined.
create function leadrouter.lead_expiry(p_created_at timestamptz) returns timestamptz
    language sql stable parallel safe
as $function$
    select p_created_at + interval '90 days'
$function$;
select leadrouter.seal_functions('{lead_expiry}');

-- What a lead is given: its source and when it expires, unless its writer says; its identity, whatever its writer says, which follows what
-- it is made of until the lead is decided.
create function leadrouter.leads_fill() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    if tg_op = 'INSERT' then
        new.source_workspace_id := coalesce(new.source_workspace_id, new.workspace_id);
        new.lead_expires_at := coalesce(new.lead_expires_at, leadrouter.lead_expiry(now()));
        new.dedupe_hash := public.generate_dedupe_hash(new.email, new.phone, new.company_name, new.first_name, new.last_name);
    elsif new.routing_status in ('pending', 'routing', 'failed') then
        new.dedupe_hash := public.generate_dedupe_hash(new.email, new.phone, new.company_name, new.first_name, new.last_name);
    elsif new.erased_at is not null then
        new.dedupe_hash := null; -- it would tell who is right about whom the lead was; what needs it has it in the claims
    else
        new.dedupe_hash := coalesce(old.dedupe_hash, new.dedupe_hash); -- only the backfill gives one to a lead that has none
    end if;
    return new;
end
$function$;

-- Only a function of leadrouter_owner that gives all three itself is spared the call: import_rows(), to which the server hands the same
-- hash. Whatever anybody else gives as a hash is replaced.
create trigger leads_10_fill_new before insert on public.leads
    for each row when (current_user <> 'leadrouter_owner'
        or num_nulls(new.source_workspace_id, new.lead_expires_at, new.dedupe_hash) > 0)
    execute function leadrouter.leads_fill();
create trigger leads_10_fill_changed before update of email, phone, company_name, first_name, last_name, dedupe_hash
    on public.leads
    for each row execute function leadrouter.leads_fill();

-- --- leads: the guard ---------------------------------------------------------------------------------------------------

-- The transitions of the state table in the README, as the condition of a trigger: what is allowed costs an expression, whose
-- operators are bound when the trigger is made and which no search_path can bend; only what is not allowed calls the function,
-- which says why and refuses. Who is not a member of leadrouter_owner (the functions run as it) may not touch the routing columns
-- at all. The engine goes from pending or failed straight to a result, in an update that raises routing_attempts by one; a failed
-- lead that is due again by a change of rules, also when a worker holds it, starts counting at one.
create function leadrouter.leads_refuse() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    if tg_op = 'INSERT' then
        raise exception 'leads are inserted as pending, without anything of a decision' using errcode = '42501';
    elsif old.source_workspace_id is not null and new.source_workspace_id is distinct from old.source_workspace_id then
        raise exception 'source_workspace_id of a lead never changes' using errcode = '23514';
    elsif not pg_has_role(current_user, 'leadrouter_owner', 'member') then
        raise exception 'the routing columns of leads are written by the routing functions only' using errcode = '42501';
    elsif old.routing_status in ('routed', 'expired') then
        raise exception 'a lead that is % stays as it was decided', old.routing_status using errcode = '23514';
    elsif new.routing_status = 'routed' and num_nulls(new.decision_id, new.decided_outcome, new.routing_completed_at) > 0 then
        raise exception 'a routed lead needs decision_id, decided_outcome and routing_completed_at' using errcode = '23514';
    elsif new.routing_status <> 'routed'
          and num_nonnulls(new.decision_id, new.decided_outcome, new.duplicate_lead_id, new.routing_completed_at) > 0 then
        raise exception 'a lead that is % has no decision', new.routing_status using errcode = '23514';
    elsif num_nonnulls(new.routing_locked_by, new.routing_locked_at) <> (case when new.routing_status = 'routing' then 2 else 0 end) then
        raise exception 'a lead has a lock owner and a time of the lock when it is routing, and only then' using errcode = '23514';
    end if;
    raise exception 'a lead cannot go from % to % (attempts % to %)', old.routing_status, new.routing_status,
        old.routing_attempts, new.routing_attempts using errcode = '23514';
end
$function$;

create trigger leads_20_guard_new before insert on public.leads for each row
    when (new.routing_status <> 'pending' or new.routing_attempts <> 0
          or num_nonnulls(new.decision_id, new.decided_outcome, new.duplicate_lead_id, new.matched_rule_id, new.rules_version,
              new.routing_locked_by, new.routing_locked_at, new.routing_started_at, new.routing_completed_at, new.routing_failed_at,
              new.routing_error, new.erased_at) > 0)
    execute function leadrouter.leads_refuse();

create trigger leads_20_guard_changed before update on public.leads for each row
    when (not (
        (old.source_workspace_id is null or new.source_workspace_id is not distinct from old.source_workspace_id)
        and (
            -- nothing of routing changes, nor the owner of a lead that was decided here; what describes attempts is the functions' to write
            ((new.routing_status, new.routing_attempts, new.routing_locked_by, new.routing_locked_at, new.decision_id,
              new.decided_outcome, new.matched_rule_id, new.duplicate_lead_id, new.routing_completed_at)
             is not distinct from
             (old.routing_status, old.routing_attempts, old.routing_locked_by, old.routing_locked_at, old.decision_id,
              old.decided_outcome, old.matched_rule_id, old.duplicate_lead_id, old.routing_completed_at)
             and (new.workspace_id is not distinct from old.workspace_id or old.decision_id is null)
             and ((new.rules_version, new.routing_started_at, new.routing_failed_at, new.routing_error, new.erased_at)
                  is not distinct from (old.rules_version, old.routing_started_at, old.routing_failed_at, old.routing_error, old.erased_at)
                  or pg_has_role(current_user, 'leadrouter_owner', 'member')))
            or (
                pg_has_role(current_user, 'leadrouter_owner', 'member')
                and old.routing_status not in ('routed', 'expired')
                and case new.routing_status
                    when 'routed' then num_nulls(new.decision_id, new.decided_outcome, new.routing_completed_at) = 0
                    else num_nonnulls(new.decision_id, new.decided_outcome, new.duplicate_lead_id, new.routing_completed_at) = 0 end
                and num_nonnulls(new.routing_locked_by, new.routing_locked_at) = case new.routing_status when 'routing' then 2 else 0 end
                and case
                    when new.routing_status in ('routing', 'expired') then
                        old.routing_status in ('pending', 'failed') and new.routing_attempts = old.routing_attempts
                    else new.routing_attempts = old.routing_attempts + 1
                        or (old.routing_status <> 'pending' and new.routing_attempts = 1)
                end))))
    execute function leadrouter.leads_refuse();

-- --- rule versions ---------------------------------------------------------------------------------------------------

-- One row per workspace, raised by UPDATE: writers queue, so versions become visible in order. In order of the ids, so that two
-- writers do not meet crosswise. Once in a transaction: what it changes further belongs to the same version. Who listens hears of it at the
-- commit, and may look for leads that have become due sooner than he would have. Who changed them is who the caller of change_rules() says,
-- and of statements the person whose claims the session has; claims of another make than ours must not stop a host's statement.
create function leadrouter.raise_rule_versions(p_workspace_ids uuid[]) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_actor_id uuid := nullif(current_setting('leadrouter.actor_id', true), '')::uuid;
begin
    if v_actor_id is null then
        begin
            v_actor_id := leadrouter.caller_id();
        exception when invalid_text_representation then
            null;
        end;
    end if;
    insert into leadrouter.rule_versions as v (workspace_id, version)
    select distinct w, 1 from unnest(p_workspace_ids) w where w is not null order by w
    on conflict (workspace_id) do update set version = v.version + 1, changed_by = pg_current_xact_id(), changed_at = now()
        where v.changed_by <> pg_current_xact_id();
    perform pg_notify('leadrouter_rules', '');
    insert into leadrouter.rule_set_versions as s (workspace_id, version, routing_config, fallback_is_active, actor_id, note)
    select v.workspace_id, v.version, coalesce(w.routing_config - 'limits', '{}'),
        coalesce((select f.is_active from public.workspaces f
                  where f.id = (w.routing_config ->> 'fallback_workspace_id')::uuid), false),
        v_actor_id, nullif(current_setting('leadrouter.note', true), '')
    from leadrouter.rule_versions v left join public.workspaces w on w.id = v.workspace_id
    where v.workspace_id = any (p_workspace_ids)
    on conflict (workspace_id, version) do update
        set routing_config = excluded.routing_config, fallback_is_active = excluded.fallback_is_active;
end
$function$;

-- Ends the history of rules with the version that their workspace has now. What this version itself had begun was never seen.
create function leadrouter.close_rule_history(p_rule_ids uuid[]) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    delete from leadrouter.rule_history h using leadrouter.rule_versions v
    where h.rule_id = any (p_rule_ids) and h.to_version is null and v.workspace_id = h.workspace_id and h.from_version = v.version;
    update leadrouter.rule_history h set to_version = v.version from leadrouter.rule_versions v
    where h.rule_id = any (p_rule_ids) and h.to_version is null and v.workspace_id = h.workspace_id;
end
$function$;

-- Begins it, with what the rules are now.
create function leadrouter.open_rule_history(p_rule_ids uuid[]) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    insert into leadrouter.rule_history (workspace_id, rule_id, from_version, rule_name, priority, conditions, destination_workspace_id,
        destination_is_active, is_active, created_at)
    select r.workspace_id, r.id, v.version, r.rule_name, r.priority, r.conditions, r.destination_workspace_id,
        coalesce(d.is_active, false), r.is_active, r.created_at
    from public.lead_routing_rules r
    join leadrouter.rule_versions v on v.workspace_id = r.workspace_id
    left join public.workspaces d on d.id = r.destination_workspace_id
    where r.id = any (p_rule_ids);
end
$function$;

-- One of a workspace's limits; null: it says nothing. A row that was there before the check below may say anything.
create function leadrouter.limit_of(p_config jsonb, p_limit text) returns integer
    language sql immutable
as $function$
    select case when p_config #>> array['limits', p_limit] ~ '^([1-9][0-9]{0,5}|1000000)$'
        then (p_config #>> array['limits', p_limit])::integer end
$function$;

-- Raises LR429 when one of the workspaces has more rules than its limits.rules, or, if it says nothing, than the transaction's own
-- leadrouter.rules_max. Behind raise_rule_versions(), under whose row locks writers queue: what is counted stays so until the commit.
create function leadrouter.check_rules_limit(p_workspace_ids uuid[]) returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_most integer;
begin
    select l.most into v_most
    from public.workspaces w
    cross join lateral (
        select coalesce(leadrouter.limit_of(w.routing_config, 'rules'),
            nullif(current_setting('leadrouter.rules_max', true), '')::integer) as most) l
    where w.id = any (p_workspace_ids) and l.most is not null
      and (select count(*) from leadrouter.rule_history h where h.workspace_id = w.id and h.to_version is null) > l.most
    limit 1;
    if found then
        raise exception 'limits.rules: the workspace may have % rules', v_most using errcode = 'LR429';
    end if;
end
$function$;

-- Triggers of the rules, once a statement: versions are raised, history is kept, and the limit of rules is held.
create function leadrouter.rules_inserted() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    perform leadrouter.raise_rule_versions((select array_agg(workspace_id) from new_rules));
    perform leadrouter.open_rule_history((select array_agg(id) from new_rules));
    perform leadrouter.check_rules_limit((select array_agg(distinct workspace_id) from new_rules));
    return null;
end
$function$;

-- The same when rules go.
create function leadrouter.rules_deleted() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    perform leadrouter.raise_rule_versions((select array_agg(workspace_id) from old_rules));
    perform leadrouter.close_rule_history((select array_agg(id) from old_rules));
    return null;
end
$function$;

-- When they change, or come from another workspace or go to one.
create function leadrouter.rules_updated() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    perform leadrouter.raise_rule_versions((select array_agg(workspace_id) from
        (select workspace_id from new_rules union select workspace_id from old_rules) changed));
    perform leadrouter.close_rule_history((select array_agg(id) from old_rules));
    perform leadrouter.open_rule_history((select array_agg(id) from new_rules));
    -- Rules that come from elsewhere; a workspace that has too many since its limit was lowered may still change them.
    perform leadrouter.check_rules_limit((select array_agg(workspace_id) from (
        select workspace_id from new_rules n group by workspace_id
        having count(*) > (select count(*) from old_rules o where o.workspace_id = n.workspace_id)) grown));
    return null;
end
$function$;

-- When all of them go at once.
create function leadrouter.rules_truncated() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    perform leadrouter.raise_rule_versions((select array_agg(workspace_id) from leadrouter.rule_versions));
    perform leadrouter.close_rule_history((select array_agg(rule_id) from leadrouter.rule_history where to_version is null));
    return null;
end
$function$;

create trigger rules_inserted after insert on public.lead_routing_rules
    referencing new table as new_rules for each statement execute function leadrouter.rules_inserted();
create trigger rules_deleted after delete on public.lead_routing_rules
    referencing old table as old_rules for each statement execute function leadrouter.rules_deleted();
create trigger rules_updated after update on public.lead_routing_rules
    referencing old table as old_rules new table as new_rules for each statement execute function leadrouter.rules_updated();
create trigger rules_truncated after truncate on public.lead_routing_rules
    for each statement execute function leadrouter.rules_truncated();

-- Sets, row by row: they are few, and change seldom.
create function leadrouter.sets_changed() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    if tg_op <> 'INSERT' then
        perform leadrouter.raise_rule_versions(array[old.workspace_id]);
        delete from leadrouter.set_history h using leadrouter.rule_versions v
        where h.workspace_id = old.workspace_id and h.set_name = old.set_name and h.to_version is null
          and v.workspace_id = h.workspace_id and h.from_version = v.version;
        update leadrouter.set_history h set to_version = v.version from leadrouter.rule_versions v
        where h.workspace_id = old.workspace_id and h.set_name = old.set_name and h.to_version is null
          and v.workspace_id = h.workspace_id;
    end if;
    if tg_op <> 'DELETE' then
        perform leadrouter.raise_rule_versions(array[new.workspace_id]);
        insert into leadrouter.set_history (workspace_id, set_name, from_version, set_values)
        select new.workspace_id, new.set_name, v.version, new.set_values
        from leadrouter.rule_versions v where v.workspace_id = new.workspace_id;
    end if;
    return null;
end
$function$;

create trigger sets_changed after insert or delete or update on public.lead_routing_sets
    for each row execute function leadrouter.sets_changed();

-- Workspaces whose decisions look at this one: those with a rule that gives to it, or with it as their fallback.
create function leadrouter.workspaces_that_name(p_workspace_id uuid) returns uuid[]
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select array_agg(id) from (
        select workspace_id as id from public.lead_routing_rules where destination_workspace_id = p_workspace_id and is_active
        union
        select id from public.workspaces where routing_config ->> 'fallback_workspace_id' = p_workspace_id::text) named
$function$;

-- A workspace that appears, goes, or changes what decisions look at raises its version; one that begins or ends to be active, those of the
-- workspaces with rules that give to it as well.
create function leadrouter.workspaces_changed() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_id uuid := case when tg_op = 'DELETE' then old.id else new.id end;
    v_rule_ids uuid[];
begin
    if tg_op = 'UPDATE' and new.is_active = old.is_active then
        perform leadrouter.raise_rule_versions(array[v_id]);
        return null;
    end if;
    -- The rules that give to it are passed over from now on, or no more.
    v_rule_ids := array(select h.rule_id from leadrouter.rule_history h
                        where h.destination_workspace_id = v_id and h.to_version is null and h.is_active);
    perform leadrouter.raise_rule_versions(leadrouter.workspaces_that_name(v_id) || v_id
        || array(select r.workspace_id from public.lead_routing_rules r where r.id = any (v_rule_ids)));
    perform leadrouter.close_rule_history(v_rule_ids);
    perform leadrouter.open_rule_history(v_rule_ids);
    return null;
end
$function$;

create trigger workspaces_inserted_or_deleted after insert or delete on public.workspaces
    for each row execute function leadrouter.workspaces_changed();
create trigger workspaces_changed after update of is_active, routing_config on public.workspaces
    for each row when (old.is_active is distinct from new.is_active
        or old.routing_config - 'limits' is distinct from new.routing_config - 'limits') -- no decision reads limits
    execute function leadrouter.workspaces_changed();

-- --- routing_config ---------------------------------------------------------------------------------------------------

-- The limits of a workspace; the same.
create function leadrouter.check_limits(p_limits jsonb) returns void
    language plpgsql immutable
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_key text;
    v_value jsonb;
begin
    if jsonb_typeof(p_limits) <> 'object' then
        raise exception 'routing_config.limits: must be an object' using errcode = '22023';
    end if;
    for v_key, v_value in select * from jsonb_each(p_limits) loop
        if v_key not in ('calls_per_second', 'calls_burst', 'calls_in_flight', 'imports', 'leads_per_request', 'rules') then
            raise exception 'routing_config.limits.%: unknown key', v_key using errcode = '22023';
        end if;
        if jsonb_typeof(v_value) <> 'number' or (v_value #>> '{}') !~ '^([1-9][0-9]{0,5}|1000000)$' then
            raise exception 'routing_config.limits.%: must be a whole number between 1 and 1000000', v_key
                using errcode = '22023';
        end if;
    end loop;
    if p_limits ? 'calls_burst' and not p_limits ? 'calls_per_second' then
        raise exception 'routing_config.limits.calls_burst: of no use without calls_per_second' using errcode = '22023';
    end if;
end
$function$;

-- Raises on the first fault, naming the key and what it may be.
create function leadrouter.check_routing_config(p_config jsonb) returns void
    language plpgsql immutable
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_key text;
    v_value jsonb;
    v_text text;
    v_type text;
    v_allowed text;
    v_ok boolean;
begin
    if jsonb_typeof(p_config) <> 'object' then
        raise exception 'routing_config: must be an object' using errcode = '22023';
    end if;
    for v_key, v_value in select * from jsonb_each(p_config) loop
        v_text := coalesce(v_value #>> '{}', '');
        v_type := jsonb_typeof(v_value);
        case v_key
            when 'unmatched' then
                v_allowed := 'retry, keep or fallback';
                v_ok := v_type = 'string' and v_text in ('retry', 'keep', 'fallback');
            when 'fallback_workspace_id' then
                v_allowed := 'a UUID in lower case';
                v_ok := v_type = 'string' and v_text ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
            when 'dedupe_scope' then
                v_allowed := 'cross_partner or global';
                v_ok := v_type = 'string' and v_text in ('cross_partner', 'global');
            when 'dedupe_days' then
                v_allowed := 'a whole number between 1 and 3650';
                v_ok := v_type = 'number' and case when v_text ~ '^[0-9]{1,4}$' then v_text::integer between 1 and 3650 else false end;
            when 'auto_route' then
                v_allowed := 'true or false';
                v_ok := v_type = 'boolean';
            when 'default_country' then
                v_allowed := 'two capital letters';
                v_ok := v_type = 'string' and v_text ~ '^[A-Z]{2}$';
            when 'limits' then
                perform leadrouter.check_limits(v_value);
                v_ok := true;
            else
                raise exception 'routing_config.%: unknown key', v_key using errcode = '22023';
        end case;
        if not v_ok then
            raise exception 'routing_config.%: must be %', v_key, v_allowed using errcode = '22023';
        end if;
    end loop;
    if p_config ->> 'unmatched' = 'fallback' and not p_config ? 'fallback_workspace_id' then
        raise exception 'routing_config.fallback_workspace_id: needed when unmatched is fallback' using errcode = '22023';
    end if;
end
$function$;

-- No policy gets into the table that cannot be followed, whoever writes it.
create function leadrouter.workspaces_check() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    perform leadrouter.check_routing_config(new.routing_config);
    return new;
end
$function$;

create trigger workspaces_check before insert or update of routing_config on public.workspaces
    for each row execute function leadrouter.workspaces_check();

-- --- updated_at --------------------------------------------------------------------------------------------------------

-- updated_at says when a row was changed last.
create function leadrouter.touch() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    new.updated_at := now();
    return new;
end
$function$;

create trigger rules_touch before update on public.lead_routing_rules for each row execute function leadrouter.touch();
create trigger sets_touch before update on public.lead_routing_sets for each row execute function leadrouter.touch();

-- On tables that may be the host's only where the column is ours. The routing functions write it themselves, which costs no call.
do $body$
declare
    v_table text;
begin
    foreach v_table in array array['workspaces', 'leads'] loop
        continue when not exists (select from leadrouter.migration_objects
            where object_identity in (format('public.%s', v_table), format('public.%s.updated_at', v_table)));
        execute format('create trigger %1$s_30_touch before update on public.%1$s for each row'
            ' when (new.updated_at is not distinct from old.updated_at) execute function leadrouter.touch()', v_table);
    end loop;
end
$body$;

select leadrouter.seal_functions('{
    leads_fill, leads_refuse, raise_rule_versions, close_rule_history, open_rule_history, rules_inserted, rules_deleted, rules_updated,
    rules_truncated, sets_changed, workspaces_that_name, workspaces_changed, limit_of, check_rules_limit, check_limits,
    check_routing_config, workspaces_check, touch}');

-- Workspaces that were there before have a version too.
select leadrouter.raise_rule_versions((select array_agg(id) from public.workspaces));
