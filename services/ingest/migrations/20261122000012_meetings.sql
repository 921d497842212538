-- migrate:up

-- What calendars say about meetings that are known ahead: for each UID the last word about the series and about each
-- instance. Kept until some weeks after its last meeting.
create table planned_series (
    uid text primary key,
    words jsonb not null default '{}',
    answers jsonb not null default '{}',
    since timestamptz,
    planned_until timestamptz,
    forget_at timestamptz
) with (fillfactor = 70);
comment on column planned_series.words is 'the last word by instance; under the empty name that about the whole';
comment on column planned_series.answers is 'who comes, by instance and address';
comment on column planned_series.planned_until is 'meetings are written down up to then; null: there are no more';

create index planned_series_planned_until on planned_series (planned_until) where planned_until is not null;
create index planned_series_forget_at on planned_series (forget_at) where forget_at is not null;

-- Each meeting of a series. Published when its start has passed.
create table planned_meeting (
    uid text not null references planned_series (uid) on delete cascade,
    instance text not null,
    starts_at timestamptz not null,
    state text not null check (state in ('planned', 'held', 'called_off')),
    revision_order bigint not null,
    flips integer not null,
    withdrawn boolean not null,
    source text not null,
    report jsonb not null,
    primary key (uid, instance)
) with (fillfactor = 70);
comment on column planned_meeting.report is 'the event to publish';
comment on column planned_meeting.flips is 'how often it was withdrawn and restored';

create index planned_meeting_due on planned_meeting (starts_at) where state = 'planned';

grant select, insert, update, delete on planned_series, planned_meeting to tenure_worker;
grant select on planned_series, planned_meeting to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
