-- What the runner knows of its own work. Idempotent: run at the beginning of every `up`.
create schema if not exists leadrouter authorization leadrouter_owner;
create table if not exists leadrouter.migrations (
    number integer primary key,
    name text not null,
    started_at timestamptz not null default now(),
    applied_at timestamptz -- null: under way
);
create table if not exists leadrouter.migration_steps (
    number integer not null,
    step text not null,
    done_at timestamptz not null default now(),
    primary key (number, step)
);
-- What the migrations made outside this schema, and `down` removes. Number 0: what was needed before the first.
create table if not exists leadrouter.migration_objects (
    id bigint generated always as identity primary key,
    number integer not null,
    object_type text not null,
    object_identity text not null,
    parent text,
    unique (object_type, object_identity)
);
-- What the tables were that were there before and were taken over; `down` puts it back.
create table if not exists leadrouter.adopted_tables (
    table_name text primary key,
    owner regrole not null,
    has_row_security boolean not null,
    is_forced boolean not null,
    adopted_at timestamptz not null default now()
);
-- The rights on them, on their columns and on their sequences, in the order of the catalogue.
create table if not exists leadrouter.adopted_grants (
    place bigint generated always as identity primary key,
    table_name text not null,
    relation_name text not null,
    relation_kind text not null, -- table, sequence
    column_name text, -- null: the whole
    grantor regrole not null,
    grantee regrole not null, -- 0: everybody
    privilege text not null,
    is_grantable boolean not null
);
alter table leadrouter.adopted_tables owner to leadrouter_owner;
alter table leadrouter.adopted_grants owner to leadrouter_owner;
alter table leadrouter.migrations owner to leadrouter_owner;
alter table leadrouter.migration_steps owner to leadrouter_owner;
alter table leadrouter.migration_objects owner to leadrouter_owner;
