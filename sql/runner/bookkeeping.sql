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
alter table leadrouter.migrations owner to leadrouter_owner;
alter table leadrouter.migration_steps owner to leadrouter_owner;
alter table leadrouter.migration_objects owner to leadrouter_owner;
