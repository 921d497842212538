-- migrate:up

-- Up to when the whole way to us was known to be complete, and since when it was not while it is being caught up.
create table watch (
    only_row boolean primary key default true check (only_row),
    complete_at timestamptz,
    absent_since timestamptz,
    absent_why text
);
insert into watch default values;
comment on column watch.complete_at is 'by the system''s clock; null: never yet';
comment on column watch.absent_since is 'what happened since then is being caught up; null: nothing is';

-- What an alert and its steps are the same by, also after a restore that forgot them: their deliveries keep their keys.
alter table alert add column cause text not null default '';
alter table alert_step add column occasion text;
comment on column alert.cause is 'which occurrence of the cause opened it: the last touch, the last order; part of the id';
comment on column alert_step.occasion is 'kind, severity and steps to the lead; with its number part of deliveries'' keys';

-- Held: not tried before what was missed is caught up. Withdrawn: never sent, last_outcome says why.
alter table delivery add column held boolean not null default false;
alter table delivery add column leased_by uuid;
alter table delivery add column first_tried_at timestamptz;
-- A wider list takes its place: whoever writes the old states may go on doing so.
-- squawk-ignore ban-drop-constraint
alter table delivery drop constraint delivery_state_check;
alter table delivery add constraint delivery_state_check
check (state in ('waiting', 'delivered', 'dead', 'withdrawn')) not valid;
comment on column delivery.first_tried_at is 'the 72 hours count from here: what waits for a paused destination loses none';

alter table destination add column not_before timestamptz;
comment on column destination.not_before is 'it asked to be left alone until then (Retry-After); real time';

grant select, update on watch to tenure_worker;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
