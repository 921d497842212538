-- migrate:up

-- What each configured source has sent since the beginning. Added to every few seconds, never on the hot path.
create table source_statistic (
    source text primary key,
    accepted bigint not null default 0,
    unmapped bigint not null default 0,
    ignored bigint not null default 0,
    rejected jsonb not null default '{}',
    last_delivery timestamptz
) with (fillfactor = 50);
comment on column source_statistic.rejected is 'number by reason code';
comment on column source_statistic.last_delivery is 'the system''s clock at the last authentic delivery';

-- How far each folder of a polled mailbox has been read. Moves only after the broker has acknowledged.
create table mailbox_cursor (
    source text not null,
    folder text not null,
    uid_validity bigint not null,
    last_uid bigint not null,
    primary key (source, folder)
) with (fillfactor = 50);

-- The last pass over a polled mailbox, for its horizon.
create table mailbox_pass (
    source text primary key,
    horizon timestamptz,
    status text not null
) with (fillfactor = 50);
comment on column mailbox_pass.horizon is 'the system''s clock before the last good pass began';

grant select, insert, update, delete on source_statistic, mailbox_cursor, mailbox_pass to tenure_worker;
grant select on source_statistic, mailbox_cursor, mailbox_pass to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
