-- migrate:up

alter table source_statistic add column redelivered bigint not null default 0;
alter table source_statistic add column ignored_by jsonb not null default '{}';
comment on column source_statistic.redelivered is 'of the accepted: came before, shortly before, to the same process';
comment on column source_statistic.ignored_by is 'number by the name under which it is not wanted; at most 50 names and "other"';

-- In which hours of the company's clock something came, one row a week: what a source's rhythm is learned from.
create table source_hours (
    source text not null,
    week date not null,
    hours bit(168) not null,
    primary key (source, week)
) with (fillfactor = 50);
comment on column source_hours.week is 'its Monday';
comment on column source_hours.hours is 'bit h, counted from the right, is hour h of that week';

-- While nobody of us was there to open, no source was silent.
create table attendance (
    only_row boolean primary key default true check (only_row),
    alive_at timestamptz,
    open_since timestamptz
);
insert into attendance default values;
comment on column attendance.alive_at is 'the system''s clock when a process last said that it is there';
comment on column attendance.open_since is 'since when somebody has always been there; null: since the beginning';

grant select, insert, update, delete on source_hours to tenure_worker;
grant select, update on attendance to tenure_worker;
grant select on source_hours, attendance to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
