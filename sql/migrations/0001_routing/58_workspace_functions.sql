-- step: transaction
--
-- Workspaces and their members. What is said of a fault goes to whoever caused it, so messages hold no value of another row.

-- One workspace (p_id), or a page of them, the oldest first, from behind (p_after_us, p_after_id) on when it is given; those that
-- p_member_id belongs to, or, without one, all.
create function leadrouter.read_workspaces(p_id uuid, p_member_id uuid, p_after_us bigint, p_after_id uuid, p_limit integer)
    returns table (id uuid, name text, workspace_type text, is_active boolean, routing_config text, version bigint, created_us bigint,
        updated_us bigint)
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
    select w.id, w.name::text, w.workspace_type::text, w.is_active, w.routing_config::text, coalesce(v.version, 0),
        leadrouter.to_us(w.created_at), leadrouter.to_us(w.updated_at)
    from public.workspaces w
    left join leadrouter.rule_versions v on v.workspace_id = w.id
    where (p_id is null or w.id = p_id)
      and (p_member_id is null or exists (
            select from public.user_workspaces m where m.workspace_id = w.id and m.user_id = p_member_id))
      and (p_after_us is null or (w.created_at, w.id) > (leadrouter.from_us(p_after_us), p_after_id))
    order by w.created_at, w.id
    limit p_limit
$function$;

-- The fallback is looked at when the policy is saved, as destinations of rules are. It is locked against being switched off meanwhile.
create function leadrouter.check_fallback(p_config jsonb) returns void
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $function$
begin
    if p_config ->> 'unmatched' = 'fallback' then
        perform from public.workspaces w where w.id = (p_config ->> 'fallback_workspace_id')::uuid and w.is_active for share;
        if not found then
            raise exception '$.fallback_workspace_id: no active workspace' using errcode = 'LR422';
        end if;
    end if;
end
$function$;

-- Makes a workspace. One that has the id already is left as it is: false when it is the one that was asked for, LR409 otherwise. LR422:
-- its fallback is no active workspace.
create function leadrouter.create_workspace(p_id uuid, p_name text, p_type text, p_is_active boolean, p_config jsonb, p_actor_id uuid)
    returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
begin
    perform set_config('leadrouter.actor_id', coalesce(p_actor_id::text, ''), true);
    perform set_config('leadrouter.note', '', true);
    perform leadrouter.check_fallback(p_config);
    insert into public.workspaces (id, name, workspace_type, is_active, routing_config)
    values (p_id, p_name, p_type, p_is_active, p_config)
    on conflict (id) do nothing;
    if found then
        return true;
    end if;
    if not exists (select from public.workspaces w
                   where w.id = p_id and (w.name, w.workspace_type, w.is_active, w.routing_config)
                       is not distinct from (p_name, p_type, p_is_active, p_config)) then
        raise exception 'another workspace has this id' using errcode = 'LR409';
    end if;
    return false;
end
$function$;

-- Replaces what can be changed of a workspace. A person (p_by_person) changes neither type nor activity nor limits: LR403. LR404: no such
-- workspace; LR412: another version by now (p_expected_version 0: any); LR422: its fallback is no active workspace.
-- Workspaces are locked in order of their ids, then versions in the order in which they are raised: two callers do not meet crosswise.
create function leadrouter.update_workspace(p_id uuid, p_name text, p_type text, p_is_active boolean, p_config jsonb,
        p_expected_version bigint, p_by_person boolean, p_actor_id uuid, p_note text)
    returns void
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_version bigint;
    v_old record;
begin
    if p_config ->> 'unmatched' = 'fallback' then
        perform from public.workspaces w where w.id = (p_config ->> 'fallback_workspace_id')::uuid and w.id < p_id for share;
    end if;
    select w.workspace_type::text, w.is_active, w.routing_config into v_old from public.workspaces w where w.id = p_id for no key update;
    if not found then
        raise exception 'no such workspace' using errcode = 'LR404';
    end if;
    if p_expected_version <> 0 then
        perform from leadrouter.rule_versions v
        where v.workspace_id = any (
            case when p_is_active is distinct from v_old.is_active then leadrouter.workspaces_that_name(p_id) end || p_id)
        order by v.workspace_id for update;
        select v.version into v_version from leadrouter.rule_versions v where v.workspace_id = p_id;
        if v_version is distinct from p_expected_version then
            raise exception 'the workspace is at version % by now', v_version using errcode = 'LR412';
        end if;
    end if;
    if p_by_person and (v_old.workspace_type, v_old.is_active) is distinct from (p_type, p_is_active) then
        raise exception 'workspace: only services change type and activity' using errcode = 'LR403';
    end if;
    if p_by_person and v_old.routing_config -> 'limits' is distinct from p_config -> 'limits' then
        raise exception 'workspace.policy_json: $.limits: only services change limits' using errcode = 'LR403';
    end if;
    perform set_config('leadrouter.actor_id', coalesce(p_actor_id::text, ''), true);
    perform set_config('leadrouter.note', coalesce(p_note, ''), true);
    perform leadrouter.check_fallback(p_config);
    update public.workspaces w
    set name = p_name, workspace_type = p_type, is_active = p_is_active, routing_config = p_config, updated_at = now()
    where w.id = p_id;
end
$function$;

-- Members behind p_after_id, in order of their ids. LR404: no such workspace.
create function leadrouter.list_members(p_workspace_id uuid, p_after_id uuid, p_limit integer)
    returns table (user_id uuid, is_admin boolean)
    language plpgsql stable security definer
    set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    if not exists (select from public.workspaces w where w.id = p_workspace_id) then
        raise exception 'no such workspace' using errcode = 'LR404';
    end if;
    return query
    select m.user_id, m.role in ('admin', 'owner') from public.user_workspaces m
    where m.workspace_id = p_workspace_id and (p_after_id is null or m.user_id > p_after_id)
    order by m.user_id
    limit p_limit;
end
$function$;

-- Changes of members queue at the workspace, so that two administrators cannot take each other's rights away in the same instant. A table
-- of members that a host brought may have no unique index. A role of the host's own that means the same is left as it is.
create function leadrouter.change_member(p_workspace_id uuid, p_user_id uuid, p_role text, p_by_person boolean) returns boolean
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp
as $function$
declare
    v_was_admin boolean;
begin
    perform from public.workspaces w where w.id = p_workspace_id for no key update;
    if not found then
        raise exception 'no such workspace' using errcode = 'LR404';
    end if;
    select bool_or(m.role in ('admin', 'owner')) into v_was_admin from public.user_workspaces m
    where m.workspace_id = p_workspace_id and m.user_id = p_user_id;
    if p_by_person and v_was_admin and p_role is distinct from 'admin' and not exists (
            select from public.user_workspaces m
            where m.workspace_id = p_workspace_id and m.user_id <> p_user_id and m.role in ('admin', 'owner')) then
        raise exception 'the workspace would have no administrator; name another one first' using errcode = 'LR423';
    end if;
    if p_role is null then
        delete from public.user_workspaces m where m.workspace_id = p_workspace_id and m.user_id = p_user_id;
    elsif v_was_admin is null then
        insert into public.user_workspaces (user_id, workspace_id, role) values (p_user_id, p_workspace_id, p_role);
    elsif v_was_admin <> (p_role = 'admin') then
        update public.user_workspaces m set role = p_role where m.workspace_id = p_workspace_id and m.user_id = p_user_id;
    end if;
    return v_was_admin is null;
end
$function$;

-- Lets somebody belong to a workspace as 'member' or 'admin'; true when they did not before. LR404: no such workspace; LR423: a person
-- takes the last administrator's rights away.
create function leadrouter.set_member(p_workspace_id uuid, p_user_id uuid, p_role text, p_by_person boolean) returns boolean
    language sql security definer
    set search_path = pg_catalog, pg_temp
as $function$ select leadrouter.change_member(p_workspace_id, p_user_id, p_role, p_by_person) $function$;

-- Ends it; true when they did belong to it. As set_member().
create function leadrouter.remove_member(p_workspace_id uuid, p_user_id uuid, p_by_person boolean) returns boolean
    language sql security definer
    set search_path = pg_catalog, pg_temp
as $function$ select not leadrouter.change_member(p_workspace_id, p_user_id, null, p_by_person) $function$;

select leadrouter.seal_functions('{check_fallback, change_member}');
select leadrouter.seal_functions('{
    read_workspaces, create_workspace, update_workspace, list_members, set_member, remove_member}', 'leadrouter_service');
