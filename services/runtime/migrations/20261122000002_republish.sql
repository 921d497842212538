-- migrate:up

-- Current states that are to be said again: one row per run and kind of state, worked off in chunks.
create table republish (
    run_id uuid not null,
    part text not null,
    place integer not null,
    fresh_versions boolean not null,
    said_up_to text,
    said bigint not null default 0,
    state text not null default 'open' check (state in ('open', 'finished', 'stopped')),
    recordedtime timestamptz not null,
    requested_by text not null,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    last_outbox_id bigint,
    failures integer not null default 0,
    not_before timestamptz not null default now(),
    last_error text,
    primary key (run_id, part)
) with (fillfactor = 70);
create index republish_open on republish (created_at, place) where state = 'open';
comment on column republish.fresh_versions is 'after a restore: every state gets a version greater than any that was published before';
comment on column republish.said_up_to is 'key of the last state that was said again; null: none was';
comment on column republish.last_outbox_id is 'when it was finished: whatever it said has no greater id in the outbox';

grant select, insert, update, delete on republish to tenure_worker;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
