-- migrate:up

-- A rebuild fills tables of the same names in the schema `rebuild` and then gives the live ones their content. The two
-- functions below are all that the worker may do to tables; they run with the owner's rights.

-- One row per rebuild; see services/runtime/rebuild.py. positions: where reading begins, targets: where it has to come
-- to. Both [[topic, partition, offset], …]. report: what was found to differ, and how much there was.
create table rebuild_run (
    rebuild_id uuid primary key,
    phase text not null check (phase in ('filling', 'swapped', 'abandoned')),
    begun_at timestamptz not null,
    positions json not null,
    targets json,
    ended_at timestamptz,
    report json
);
create unique index rebuild_run_open on rebuild_run (phase) where phase = 'filling';
create index rebuild_run_begun on rebuild_run (begun_at);
grant select, insert, update on rebuild_run to tenure_worker;

-- Empty tables for everything that follows from activity, accounts and KPIs. Rules, alerts, deliveries and routes are no
-- part of it; of destinations only the people's own mailboxes are.
create function rebuild_begin() returns void
language plpgsql security definer
set search_path = pg_catalog
as $$
declare
    name text;
begin
    drop schema if exists rebuild cascade;
    create schema rebuild;
    grant usage on schema rebuild to tenure_worker;
    foreach name in array array[
        'watched_account', 'account_person', 'app_user', 'deputy', 'team', 'brief', 'source_delivery', 'signal',
        'destination'
    ] loop
        execute format('create table rebuild.%I (like public.%I including all)', name, name);
        execute format('grant select, insert, update, delete on rebuild.%I to tenure_worker', name);
    end loop;
    -- Whoever fills them finds nothing but these: without the schema they fail instead of meeting the live ones.
    create view rebuild.kafka_offset as
    select consumer_group, topic, partition_id, next_offset, recordedtime, updated_at from public.kafka_offset;
    grant select, insert, update, delete on rebuild.kafka_offset to tenure_worker;
    -- What cannot be read has its dead letter from the live consumer already.
    create table rebuild.dead_letter (like public.dead_letter including all);
    grant select, insert on rebuild.dead_letter to tenure_worker;
end $$;

create function rebuild_drop() returns void
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    drop schema if exists rebuild cascade;
end $$;

revoke all on function rebuild_begin(), rebuild_drop() from public;
grant execute on function rebuild_begin(), rebuild_drop() to tenure_worker;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
