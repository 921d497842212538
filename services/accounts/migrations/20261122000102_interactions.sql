-- migrate:up

-- The history, and the lasting guard against doubles: per event id the body of the greatest revision.
create table ledger (
    event_id uuid primary key,
    interaction_id uuid not null,
    event_type text not null,
    occurred_at timestamptz not null,
    authority smallint not null,
    revision_order bigint not null,
    mapper integer not null,
    digest text not null,
    source text not null,
    imported boolean not null,
    recordedtime timestamptz not null,
    body bytea not null
) with (fillfactor = 90);
create index ledger_interaction on ledger (interaction_id);
comment on column ledger.body is 'the record''s value as it came: JSON of the event';

-- One row per interaction. A row without state is a place kept for a parent that has not been reported yet.
create table interaction (
    id uuid primary key,
    kind text,
    occurred_at timestamptz,
    present boolean,
    parent_id uuid,
    conversation_id uuid,
    refs text [] not null default '{}',
    identities text [] not null default '{}',
    users uuid [] not null default '{}',
    claimed uuid [] not null default '{}',
    support_request boolean not null default false,
    unmatched boolean not null default false,
    hand_accounts uuid [],
    hand_class text check (hand_class in ('support', 'billing', 'strategic', 'routine')),
    hand_reply_expected boolean,
    state json
) with (fillfactor = 70);
create index interaction_parent on interaction (parent_id) where parent_id is not null;
create index interaction_conversation on interaction (conversation_id) where conversation_id is not null;
create index interaction_unmatched on interaction (occurred_at desc, id) where unmatched;
comment on column interaction.identities is 'kind:value of every party of theirs, company domains of addresses included';
comment on column interaction.claimed is 'the accounts whose it is, withdrawn or not';
comment on column interaction.support_request is 'whether it asks for help by itself: answers to it are support';
comment on column interaction.state is 'the assembled interaction without its text';

-- Every party, findable by identity: an edit of an identity finds what it concerns.
create table interaction_party (
    identity_key text not null,
    interaction_id uuid not null,
    primary key (identity_key, interaction_id)
);

-- Conversations are found by references only. The row of a conversation is what a batch locks.
create table conversation (id uuid primary key);
create table conversation_ref (
    reference text primary key,
    conversation_id uuid not null
) with (fillfactor = 70);
create index conversation_ref_conversation on conversation_ref (conversation_id);

-- What was last published of each interaction for each account.
create table attribution (
    interaction_id uuid not null,
    account_id uuid not null,
    version bigint not null,
    digest bytea not null,
    present boolean not null,
    reason text not null,
    touch_class text,
    conversation_id uuid not null,
    contacts uuid [] not null default '{}',
    occurred_at timestamptz not null,
    primary key (interaction_id, account_id)
) with (fillfactor = 70);
create index attribution_account on attribution (account_id, occurred_at desc, interaction_id);

-- What remains to be read again after an edit: written in the transaction of the edit, run in chunks.
create table job (
    id bigint generated always as identity primary key,
    selector text not null check (selector in ('identities', 'conversations', 'parents', 'interactions', 'everything')),
    selected text [] not null default '{}',
    position uuid,
    processed bigint not null default 0,
    recordedtime timestamptz not null,
    created_at timestamptz not null default now(),
    failures integer not null default 0,
    not_before timestamptz not null default now(),
    last_error text
) with (fillfactor = 70);
comment on column job.position is 'every selected interaction up to this id has been read again';

-- Which calls and mails are support, billing or strategic: data that people change.
create table touch_class_rule (
    id uuid primary key,
    name text not null unique,
    touch_class text not null check (touch_class in ('support', 'billing', 'strategic')),
    position integer not null,
    field text not null check (field in ('words', 'label', 'mailbox', 'address', 'call_tag', 'sender_role')),
    patterns text [] not null check (cardinality(patterns) > 0),
    active boolean not null default true
);
comment on column touch_class_rule.field is 'words: of title or text; label: of a mail; mailbox: a source''s name; address: of ours; '
'call_tag: of a call; sender_role: of the contact who wrote or called';

insert into touch_class_rule (id, name, touch_class, position, field, patterns) values
('0197a000-0000-7000-8000-000000000001', 'support mailbox', 'support', 10, 'address',
    '{support@, help@, helpdesk@, service@, soporte@, suporte@}'),
('0197a000-0000-7000-8000-000000000002', 'support label or tag', 'support', 20, 'label', '{support, helpdesk}'),
('0197a000-0000-7000-8000-000000000003', 'support call tag', 'support', 30, 'call_tag', '{support, helpdesk, technical}'),
('0197a000-0000-7000-8000-000000000004', 'billing mailbox', 'billing', 40, 'address',
    '{billing@, invoices@, accounting@, buchhaltung@, rechnungen@}'),
('0197a000-0000-7000-8000-000000000005', 'strategic label', 'strategic', 50, 'label', '{strategy, strategic, qbr, consulting}'),
('0197a000-0000-7000-8000-000000000006', 'strategic call tag', 'strategic', 60, 'call_tag', '{strategy, strategic, qbr, consulting}'),
('0197a000-0000-7000-8000-000000000007', 'request for help in words', 'support', 70, 'words',
    '{"not working", "does not work", "doesn''t work", "is broken", "error message", malfunction, "need help with",
    "funktioniert nicht", fehlermeldung, störung, "no funciona", "não funciona"}'),
('0197a000-0000-7000-8000-000000000008', 'billing in words', 'billing', 80, 'words',
    '{invoice, invoices, "payment reminder", "credit note", "bank transfer", "purchase order number", rechnung, mahnung, gutschrift, factura, fatura}'),
('0197a000-0000-7000-8000-000000000009', 'strategic in words', 'strategic', 90, 'words',
    '{roadmap, "business review", "best practice", "best practices", "success plan", "growth plan", "strategy workshop", "expansion plan", strategie,
    "hoja de ruta", estratégia}');

grant select, insert, update, delete on
ledger, interaction, interaction_party, conversation, conversation_ref, attribution, job, touch_class_rule to tenure_worker;
grant usage on sequence job_id_seq to tenure_worker;
grant select on ledger, interaction, interaction_party, attribution, job, touch_class_rule to tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
