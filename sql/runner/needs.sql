-- What must be there before the first step and is not: how it is recorded, the statement that makes it, and whether servers need it later
-- as well, so that it is made again when it has gone. A superuser needs to be no member of anything. The owner of our objects must be
-- allowed to own something in public; the time limits of the service role are its last resort: the server sets shorter ones by itself. Its
-- plans look dear, since ways that are switched off count as ten thousand million, and compiling one (jit) takes longer than running it. It
-- reads for people as authenticated, and by putting that role on only: it inherits nothing.
with known as (
    select to_regrole('leadrouter_owner') as owner, to_regrole('leadrouter_service') as service, to_regrole('authenticated') as people,
        (select rolsuper from pg_roles where rolname = current_user) as is_super,
        current_setting('server_version_num')::integer >= 160000 as has_set_option
), need as (
    select 1 as place, 'role' as object_type, 'leadrouter_owner' as object_identity,
        'create role leadrouter_owner nologin noinherit' as statement
    from known where owner is null
    union all
    select 2, 'role', 'leadrouter_service', 'create role leadrouter_service login noinherit' from known where service is null
    union all
    select 2, 'role', 'authenticated', 'create role authenticated nologin noinherit' from known where people is null
    union all
    select 3, 'membership', format('leadrouter_owner from %I', current_user),
        format('grant leadrouter_owner to %I', current_user) || case when has_set_option then ' with inherit true, set true' else '' end
    from known where not is_super
        and case when owner is null then true
            else not pg_has_role(current_user, owner, case when has_set_option then 'set' else 'member' end) end
    union all
    -- Not recorded: it goes when the role goes, which servers on another database of the cluster may need.
    select 4, null, null,
        'grant authenticated to leadrouter_service' || case when has_set_option then ' with inherit false, set true' else '' end
    from known
    where service is null or people is null
        or not pg_has_role(service, people, case when has_set_option then 'set' else 'member' end)
    union all
    select 5, null, null, 'grant usage, create on schema public to leadrouter_owner'
    from known where not is_super
        and case when owner is null then true else not has_schema_privilege(owner, 'public', 'create') end
    union all
    select 5, null, null, format('grant create on database %I to %I', current_database(), current_user)
    from known where not is_super and to_regnamespace('leadrouter') is null
        and not has_database_privilege(current_user, current_database(), 'create')
    union all
    select 5, null, null, format('grant usage, create on schema auth to %I', current_user)
    from known where not is_super and to_regnamespace('auth') is not null
        and (to_regprocedure('auth.uid()') is null or to_regprocedure('auth.role()') is null)
        and not has_schema_privilege(current_user, 'auth', 'create')
    union all
    select 6, null, null, format('alter role leadrouter_service in database %I set %s = %L', current_database(), name, value)
    from known, (values ('statement_timeout', '10s'), ('lock_timeout', '2s'), ('idle_in_transaction_session_timeout', '5s'),
        ('jit', 'off')) settings (name, value)
    where not exists (
        select from pg_db_role_setting r join pg_database d on d.oid = r.setdatabase, lateral unnest(r.setconfig) setting
        where d.datname = current_database() and r.setrole = service and split_part(setting, '=', 1) = name)
)
select object_type, object_identity, statement, place in (1, 2, 4, 6) as servers_need_it from need order by place, statement
