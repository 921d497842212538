-- migrate:up

-- A restore from backup raises the epoch: every version drawn afterwards is greater than any drawn before it.
create table version_epoch (
    only_row boolean primary key default true check (only_row),
    epoch integer not null default 0 check (epoch >= 0)
);
insert into version_epoch default values;

create table team (
    id uuid primary key,
    name text not null unique,
    lead_id uuid,
    version bigint not null default 0,
    state_digest bytea
);

create table app_user (
    id uuid primary key,
    email text not null unique check (email = lower(email)),
    name text not null,
    user_role text not null check (user_role in ('manager', 'lead', 'operator', 'admin')),
    team_id uuid references team (id),
    issuer text,
    subject text,
    time_zone text not null,
    holidays text,
    mailboxes text [] not null default '{}',
    active boolean not null default true,
    version bigint not null default 0,
    state_digest bytea,
    unique (issuer, subject)
);
alter table team add constraint team_lead foreign key (lead_id) references app_user (id);
create index app_user_team on app_user (team_id);

create table deputy (
    user_id uuid not null references app_user (id),
    for_user_id uuid not null references app_user (id),
    since date not null,
    until date check (until > since),
    primary key (for_user_id, user_id, since),
    check (user_id <> for_user_id)
);
create index deputy_user on deputy (user_id);
comment on table deputy is 'user_id stands in for for_user_id from since until before until';

create table account (
    id uuid primary key,
    external_key text unique,
    name text not null,
    account_class text not null default 'C' check (account_class in ('A', 'B', 'C')),
    currency text,
    created_at timestamptz not null,
    history_complete_at timestamptz,
    version bigint not null default 0,
    state_version bigint not null default 0,
    state_digest bytea
) with (fillfactor = 70);
comment on column account.version is 'the last version drawn: of the account itself or of an attribution';
comment on column account.state_version is 'the version under which the account itself was last published';

-- What holds of an account from one day until before another: owner, team member, stage, key decision, parent.
create table account_interval (
    id bigint generated always as identity primary key,
    account_id uuid not null references account (id),
    sort text not null check (sort in ('owner', 'team', 'stage', 'key', 'parent')),
    user_id uuid references app_user (id),
    team_role text,
    stage text check (stage in ('prospect', 'onboarding', 'active', 'at_risk', 'renewing', 'lost', 'won_back')),
    is_key boolean,
    parent_id uuid references account (id),
    since date not null,
    until date check (until > since),
    check ((user_id is not null) = (sort in ('owner', 'team'))),
    check ((team_role is not null) = (sort = 'team')),
    check ((stage is not null) = (sort = 'stage')),
    check ((is_key is not null) = (sort = 'key')),
    check ((parent_id is not null) = (sort = 'parent')),
    check (parent_id is null or parent_id <> account_id)
);
create index account_interval_account on account_interval (account_id);
create index account_interval_user on account_interval (user_id) where user_id is not null;
create index account_interval_parent on account_interval (parent_id) where parent_id is not null;

create table contact (
    id uuid primary key,
    external_key text unique,
    name text not null,
    created_at timestamptz not null
);

-- A contact may serve several accounts; the primary one settles ties.
create table contact_account (
    contact_id uuid not null references contact (id),
    account_id uuid not null references account (id),
    since date not null,
    until date check (until > since),
    is_primary boolean not null default true,
    primary key (contact_id, account_id, since)
);
create index contact_account_account on contact_account (account_id);

-- How people and organisations are known. An address, phone or person names a contact; a domain or organisation an account.
-- since null: always was; until null: still is. One owner per identity and day (checked under the identity lock).
create table identity (
    id bigint generated always as identity primary key,
    kind text not null check (kind in ('address', 'phone', 'domain', 'person', 'organisation')),
    identity_key text not null,
    account_id uuid references account (id),
    contact_id uuid references contact (id),
    since date,
    until date,
    check (num_nonnulls(account_id, contact_id) = 1),
    check (since is null or until is null or until > since)
);
comment on column identity.identity_key is 'kind:value, the value normalised as contracts.values.Identity says';
create index identity_by_key on identity (identity_key);
create index identity_account on identity (account_id) where account_id is not null;
create index identity_contact on identity (contact_id) where contact_id is not null;

create table buying_centre (
    id uuid primary key,
    account_id uuid not null references account (id),
    name text not null,
    unique (account_id, name)
);

create table group_member (
    buying_centre_id uuid not null references buying_centre (id),
    contact_id uuid not null references contact (id),
    influence smallint check (influence between 1 and 5),
    attitude smallint check (attitude between -2 and 2),
    reports_to uuid references contact (id),
    primary key (buying_centre_id, contact_id)
);
create index group_member_contact on group_member (contact_id);

create table contact_role (
    buying_centre_id uuid not null,
    contact_id uuid not null,
    group_role text not null check (group_role in (
        'decision_maker', 'economic_buyer', 'executive_sponsor', 'champion', 'influencer', 'recommender',
        'technical_evaluator', 'user', 'procurement', 'legal', 'blocker', 'point_of_contact'
    )),
    since date not null,
    until date check (until > since),
    primary key (buying_centre_id, contact_id, group_role, since),
    foreign key (buying_centre_id, contact_id) references group_member (buying_centre_id, contact_id)
);
create index contact_role_contact on contact_role (contact_id);

-- Who changed what: every edit by a person, in the transaction of the edit.
create table edit (
    id bigint generated always as identity primary key,
    edited_at timestamptz not null,
    issuer text not null,
    subject text not null,
    user_id uuid references app_user (id),
    what text not null,
    entity_id text not null,
    account_id uuid,
    detail json not null
);
create index edit_account on edit (account_id, id desc) where account_id is not null;

grant select on version_epoch to tenure_worker;
grant select, insert, update, delete on
team, app_user, deputy, account, account_interval, contact, contact_account, identity,
buying_centre, group_member, contact_role to tenure_worker;
grant select, insert on edit to tenure_worker;
grant select on
team, app_user, deputy, account, account_interval, contact, contact_account, identity,
buying_centre, group_member, contact_role, edit to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
