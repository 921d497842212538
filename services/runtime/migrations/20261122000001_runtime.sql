-- migrate:up

-- How far each consumer group of this service has come. Written in the transaction of the batch, so that a restored
-- database simply reads again. `next_offset` is the first offset not yet processed; `recordedtime` the one of the last record.
create table kafka_offset (
    consumer_group text not null,
    topic text not null,
    partition_id integer not null,
    next_offset bigint not null,
    recordedtime timestamptz,
    updated_at timestamptz not null default now(),
    primary key (consumer_group, topic, partition_id)
) with (fillfactor = 50);

-- What this service has committed and not yet published. The columns are those of Debezium's EventRouter.
-- The id is drawn while the account is locked, so that for one account ids follow the order of commits.
create table outbox (
    id bigint generated always as identity primary key,
    aggregatetype text not null,
    aggregateid text,
    type text not null,
    payload bytea,
    headers json not null,
    recordedtime timestamptz not null,
    created_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000);
comment on column outbox.aggregatetype is 'the topic, without the deployment''s prefix';
comment on column outbox.aggregateid is 'the record''s key; null only for replayed records that had none';
comment on column outbox.payload is 'the record''s value; null is a tombstone';
comment on column outbox.headers is 'the record''s headers in order: [[name, value], ...]; a value that is no text is {"base64": ...}';

-- Records that could not be processed, with the bytes as they came.
create table dead_letter (
    id uuid primary key,
    topic text not null,
    partition_id integer not null,
    record_offset bigint not null,
    record_key bytea,
    value bytea,
    header_names bytea [] not null,
    header_values bytea [] not null,
    reason text not null,
    detail text not null,
    handler text not null,
    source text,
    traceparent text,
    recordedtime timestamptz,
    created_at timestamptz not null,
    state text not null default 'waiting' check (state in ('waiting', 'replayed', 'dropped')),
    settled_at timestamptz,
    settled_by text,
    settled_why text
);
-- The digest keeps letters apart when a topic was created anew and its offsets began again.
create unique index dead_letter_once on dead_letter (topic, partition_id, record_offset, handler, md5(coalesce(value, '')));
create index dead_letter_created on dead_letter (created_at desc, id desc);
create index dead_letter_waiting on dead_letter (source, created_at) where state = 'waiting';

grant select, insert, update, delete on kafka_offset, outbox, dead_letter to tenure_worker;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
