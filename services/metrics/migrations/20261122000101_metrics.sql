-- migrate:up

-- One slim row per (account, interaction): the last version, what it counts as, and what is derived from its neighbours.
-- A withdrawn interaction stays as a tombstone, so that a lower version that comes later is recognised.
create table fact (
    account_id uuid not null,
    interaction_id uuid not null,
    version bigint not null,
    present boolean not null,
    kind text not null,
    at timestamptz not null,
    day date,
    effects smallint not null,
    began_at timestamptz,
    resolved_at timestamptz,
    resolved_on date,
    cancelled boolean not null,
    amount numeric,
    currency text,
    parent_id uuid,
    priority text,
    side text,
    sort text,
    touch_class text,
    contacts uuid [] not null,
    question boolean not null,
    answered_at timestamptz,
    counted_class text,
    two_way boolean not null,
    roles integer not null,
    voided boolean not null,
    primary key (account_id, interaction_id)
) with (fillfactor = 70);
comment on column fact.day is 'the company''s day on which effects and amount count';
comment on column fact.effects is 'bits: 1 touch out, 2 touch in, 4 support request, 8 ticket opened, 16 order';
comment on column fact.answered_at is 'of a question: its answer, or the year 9999 while there is none; null: no question';
comment on column fact.roles is 'bits of the roles that the contacts had on that day, in the order of contracts.accounts.GroupRole';

-- An account's interactions in time: pairing and last touches read touches again, history its first one.
create index fact_at on fact (account_id, at);
-- Questions by their answer: those that a change may touch, and those that wait.
create index fact_question on fact (account_id, answered_at) where answered_at is not null;
-- Tickets by resolution and by opening: percentiles, evidence, what is open.
create index fact_resolved on fact (account_id, resolved_on) where resolved_on is not null;
create index fact_ticket on fact (account_id, day) where effects & 8 <> 0;
create index fact_open_ticket on fact (account_id) where effects & 8 <> 0 and resolved_at is null;
-- Orders: the last one.
create index fact_order on fact (account_id, began_at) where effects & 16 <> 0;
-- Refunds of an order that is cancelled afterwards.
create index fact_refund on fact (account_id, parent_id) where parent_id is not null;
-- All accounts' facts of a day: roll-ups.
create index fact_day on fact (day) where effects <> 0 or amount is not null;
create index fact_resolved_day on fact (resolved_on) where resolved_on is not null;

-- Additive figures per account and day; counts in the order of domain.windows.ADDITIVE, money by currency.
create table bucket (
    account_id uuid not null,
    day date not null,
    counts bigint [] not null,
    money json,
    primary key (account_id, day)
) with (fillfactor = 70);

-- Running sums of the windows that end with as_of, and what was last read from the slim rows. Its row is the account's
-- lock: whoever holds it slides the sums to the present day first, and as_of never runs backwards.
create table account_state (
    account_id uuid primary key,
    version bigint not null,
    account_version bigint not null,
    as_of date not null,
    due date,
    future boolean not null,
    since date,
    counts bigint [] not null,
    money json,
    derived json not null,
    digest bytea
) with (fillfactor = 70);
-- Dormant accounts whose figures change by themselves.
create index account_state_due on account_state (due) where due is not null;

-- The account as accounts publishes it: what scope, credit and roles need.
create table account (
    account_id uuid primary key,
    version bigint not null,
    currency text,
    roles json not null,
    merged_into uuid
) with (fillfactor = 70);

create table account_owner (
    account_id uuid not null,
    user_id uuid not null,
    since date not null,
    until date,
    primary key (account_id, user_id, since)
);
create index account_owner_user on account_owner (user_id);

create table account_member (
    account_id uuid not null,
    user_id uuid not null,
    since date not null,
    until date
);
create index account_member_account on account_member (account_id);
create index account_member_user on account_member (user_id);

create table app_user (
    user_id uuid primary key,
    version bigint not null,
    role text not null,
    team_id uuid,
    issuer text,
    subject text,
    active boolean not null
) with (fillfactor = 70);
create index app_user_identity on app_user (issuer, subject);
create index app_user_team on app_user (team_id);

create table user_deputy (
    published_by uuid not null,
    user_id uuid not null,
    for_user_id uuid not null,
    since date not null,
    until date
);
create index user_deputy_user on user_deputy (user_id);
create index user_deputy_published on user_deputy (published_by);

create table team (
    team_id uuid primary key,
    version bigint not null,
    lead_id uuid
);

-- Units of the reporting currency for one unit of currency, from since until the next row.
create table rate (
    currency text not null,
    since date not null,
    rate numeric not null check (rate > 0),
    primary key (currency, since)
);

-- Days whose roll-ups must be computed again; one row per transaction that changed some, never updated.
create table rollup_dirty (
    id bigint generated always as identity primary key,
    days date [] not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- Additive figures per manager, team and portfolio and day; an interaction that concerns several accounts counts once.
create table rollup (
    scope text not null check (scope in ('manager', 'team', 'portfolio')),
    scope_id uuid not null,
    day date not null,
    counts bigint [] not null,
    money json,
    primary key (scope, scope_id, day)
) with (fillfactor = 70);
create index rollup_day on rollup (day);

-- A restore from backup raises the epoch: every version drawn afterwards is greater than any drawn before it.
create table version_epoch (
    singleton boolean primary key default true check (singleton),
    epoch integer not null default 0 check (epoch >= 0)
);
insert into version_epoch default values;

-- A state of an account has some kilobytes and lives for less than a second: compressing it would cost more than the
-- insert itself, and so would putting it aside in pieces and fetching it from there.
alter table outbox alter column payload set storage external;
alter table outbox set (toast_tuple_target = 8160);

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
