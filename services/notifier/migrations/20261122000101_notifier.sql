-- migrate:up

-- The first half of every alert version: epoch · 2⁴⁰ + n. A restore from backup raises it.
create table version_epoch (
    only_row boolean primary key default true check (only_row),
    epoch integer not null default 1 check (epoch > 0 and epoch < 4194304)
);
insert into version_epoch default values;

-- One row per account: what accounts and metrics last said of it. Whoever changes anything of an account locks this row.
create table watched_account (
    account_id uuid primary key,
    account jsonb,
    account_version bigint not null default -1,
    kpis jsonb,
    kpis_version bigint not null default -1,
    next_version bigint not null default 1,
    recordedtime timestamptz,
    traceparent text
) with (fillfactor = 70);
comment on column watched_account.account is 'contracts.accounts.Account; null until it has come';
comment on column watched_account.kpis is 'contracts.kpis.AccountKpis; null until they have come';
comment on column watched_account.next_version is 'n of the next alert version of this account';
comment on column watched_account.traceparent is 'of the last record that changed something: an alert continues its trace';

-- Who works on which account, from the accounts' own records: for scope and for what a changed user concerns.
create table account_person (
    account_id uuid not null references watched_account (account_id),
    user_id uuid not null,
    since date not null,
    until date,
    primary key (account_id, user_id, since)
);
create index account_person_user on account_person (user_id);

create table app_user (
    user_id uuid primary key,
    version bigint not null,
    issuer text,
    subject text,
    team_id uuid,
    role text not null,
    active boolean not null,
    document jsonb not null
);
create index app_user_identity on app_user (issuer, subject);
create index app_user_team on app_user (team_id);

create table deputy (
    for_user_id uuid not null references app_user (user_id),
    user_id uuid not null,
    since date not null,
    until date,
    primary key (for_user_id, user_id, since)
);
create index deputy_user on deputy (user_id);

create table team (
    team_id uuid primary key,
    version bigint not null,
    lead_id uuid,
    document jsonb not null
);

-- A line about each interaction of an account, for evidence, and which live sources delivered for it.
create table brief (
    account_id uuid not null,
    interaction_id uuid not null,
    version bigint not null,
    present boolean not null,
    kind text not null,
    occurred_at timestamptz not null,
    direction text,
    contact_id uuid,
    primary key (account_id, interaction_id)
) with (fillfactor = 70);
create index brief_old on brief (occurred_at);

create table source_delivery (
    account_id uuid not null,
    source text not null,
    last_at timestamptz not null,
    primary key (account_id, source)
) with (fillfactor = 70);

-- Live reports that somebody left or cannot be reached: the one-shot signals.
create table signal (
    account_id uuid not null,
    interaction_id uuid not null,
    version bigint not null,
    present boolean not null,
    state text not null check (state in ('left', 'bounced')),
    contact_ids uuid [] not null,
    occurred_at timestamptz not null,
    account_version bigint not null,
    primary key (account_id, interaction_id)
);

create table rule_version (
    rule text not null,
    version integer not null check (version > 0),
    thresholds jsonb not null,
    note text not null,
    created_at timestamptz not null,
    created_by text,
    primary key (rule, version)
);
comment on column rule_version.created_by is 'subject of the token; null: shipped with Tenure';

-- Version 1 of every rule: no field is stated, so the defaults of domain/thresholds.py hold.
insert into rule_version (rule, version, thresholds, note, created_at)
select
    rule_name,
    1,
    '{}'::jsonb,
    'as shipped',
    now()
from unnest(array['stale_touch', 'ticket_volume', 'order_gap', 'champion_left', 'unanswered_mail']) as shipped (rule_name);

-- When a rule must be looked at again for an account. A look is due once the clock is past due_at.
create table due (
    account_id uuid not null references watched_account (account_id),
    rule text not null,
    due_at timestamptz,
    held_by text check (held_by in ('service', 'source', 'broken')),
    held_why text,
    ask_again_at timestamptz,
    primary key (account_id, rule)
) with (fillfactor = 70);
create index due_next on due (due_at) where due_at is not null;
create index due_held on due (held_by) where held_by is not null;
comment on column due.held_why is 'what a silence alert waits for: the horizon does not reach its deadline';
comment on column due.ask_again_at is 'real time: horizons move with the machines, not with a simulated clock';

create table alert (
    alert_id uuid primary key,
    account_id uuid not null references watched_account (account_id),
    version bigint not null,
    rule text not null,
    rule_version integer not null,
    severity text not null check (severity in ('info', 'warn', 'alert')),
    state text not null check (state in ('open', 'acknowledged', 'snoozed', 'resolved')),
    dedup_key text not null,
    title text not null,
    explanation text not null,
    evidence jsonb not null,
    opened_at timestamptz not null,
    changed_at timestamptz not null,
    open_since timestamptz not null,
    owner_id uuid,
    changed_by uuid,
    snoozed_until timestamptz,
    resolution text check (resolution in ('by_person', 'cause_gone')),
    lead_steps integer not null,
    cause_present boolean not null
) with (fillfactor = 70);
create unique index alert_open_once on alert (dedup_key) where state <> 'resolved';
create index alert_of_account on alert (account_id, rule, changed_at desc);
create index alert_listed on alert (changed_at desc, alert_id desc);

create table alert_step (
    alert_id uuid not null references alert (alert_id),
    version bigint not null,
    account_id uuid not null,
    kind text not null,
    taken_at timestamptz not null,
    document jsonb not null,
    primary key (alert_id, version)
);
comment on column alert_step.document is 'contracts.alerts.AlertEvent, as published';

create table destination (
    destination_id uuid primary key,
    kind text not null check (kind in ('mail', 'webhook')),
    name text not null,
    address text not null,
    user_id uuid unique,
    secret_file text,
    active boolean not null default true,
    paused boolean not null default false,
    check (kind = 'mail' or secret_file is not null)
);
comment on column destination.user_id is 'the user whose own mailbox this is; kept in step with tenure.accounts';

create table route (
    route_id uuid primary key,
    destination_id uuid not null references destination (destination_id),
    rule text,
    least_severity text not null default 'info' check (least_severity in ('info', 'warn', 'alert')),
    account_id uuid,
    owner_id uuid,
    spoken_only boolean not null default false
);

-- The durable queue. Times are real: leases and other people's servers do not follow a simulated clock.
create table delivery (
    delivery_id uuid primary key,
    destination_id uuid not null references destination (destination_id),
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'dead')),
    folded boolean not null default false,
    attempts integer not null default 0,
    created_at timestamptz not null default now(),
    next_attempt_at timestamptz not null default now(),
    lease_until timestamptz,
    settled_at timestamptz,
    last_outcome text
) with (fillfactor = 50);
create index delivery_next on delivery (next_attempt_at) where state = 'waiting';
create index delivery_of_destination on delivery (destination_id, created_at desc);
comment on column delivery.delivery_id is 'derived from what is delivered where: the idempotency key of every attempt';

-- What a delivery carries: one step, or the steps that were folded into one message.
create table delivery_step (
    delivery_id uuid not null references delivery (delivery_id),
    alert_id uuid not null,
    version bigint not null,
    primary key (delivery_id, alert_id, version),
    foreign key (alert_id, version) references alert_step (alert_id, version)
);

create table delivery_attempt (
    delivery_id uuid not null references delivery (delivery_id),
    attempt integer not null,
    at timestamptz not null default now(),
    outcome text not null,
    delivered boolean not null,
    primary key (delivery_id, attempt)
);

-- The accounts that the caller of this transaction may see: their own (owner, team, deputy), for a lead the team's.
-- No context, no rows. The caller's day is the company's day, set with the rest of the context.
create function visible_accounts() returns setof uuid
language sql stable security definer set search_path = public, pg_temp
as $$
    with today as (
        select coalesce(nullif(current_setting('tenure.today', true), '')::date, current_date) as day
    ), me as (
        select u.user_id, u.team_id, u.role
        from app_user u
        where u.issuer = nullif(current_setting('tenure.issuer', true), '')
            and u.subject = nullif(current_setting('tenure.subject', true), '')
            and u.active
    ), mine as (
        select me.user_id from me
        union
        select d.for_user_id
        from deputy d join me on d.user_id = me.user_id cross join today
        where d.since <= today.day and (d.until is null or today.day < d.until)
        union
        select u.user_id
        from me join app_user u on u.team_id is not null
        where (me.role = 'lead' and u.team_id = me.team_id)
            or u.team_id in (select t.team_id from team t where t.lead_id = me.user_id)
    )
    select p.account_id
    from account_person p join mine on p.user_id = mine.user_id cross join today
    where p.since <= today.day and (p.until is null or today.day < p.until)
    union
    select w.account_id
    from watched_account w
    where current_setting('tenure.admin', true) = 'true'
$$;
revoke execute on function visible_accounts() from public;
grant execute on function visible_accounts() to tenure_api, tenure_worker;

grant select, insert, update, delete on
    watched_account, account_person, app_user, deputy, team, brief, source_delivery, signal, rule_version, due,
    alert, alert_step, destination, route, delivery, delivery_step, delivery_attempt
    to tenure_worker;
grant select on version_epoch to tenure_worker;
grant select on watched_account, app_user, rule_version, alert, alert_step to tenure_api;

alter table watched_account enable row level security;
alter table alert enable row level security;
alter table alert_step enable row level security;
alter table app_user enable row level security;

create policy worker_all on watched_account to tenure_worker using (true) with check (true);
create policy worker_all on alert to tenure_worker using (true) with check (true);
create policy worker_all on alert_step to tenure_worker using (true) with check (true);
create policy worker_all on app_user to tenure_worker using (true) with check (true);

create policy api_scope on watched_account to tenure_api using (account_id in (select visible_accounts()));
create policy api_scope on alert to tenure_api using (account_id in (select visible_accounts()));
create policy api_scope on alert_step to tenure_api using (account_id in (select visible_accounts()));
-- A caller finds themselves, to sign what they do.
create policy api_self on app_user to tenure_api using (
    issuer = nullif(current_setting('tenure.issuer', true), '')
    and subject = nullif(current_setting('tenure.subject', true), '')
);

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
