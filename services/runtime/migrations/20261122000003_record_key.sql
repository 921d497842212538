-- migrate:up

-- A replayed record whose key is no text keeps it all the same. A relay of the version before publishes it without a key.
alter table outbox add column record_key bytea;
comment on column outbox.record_key is 'the record''s key where that is no text; aggregateid is null then';

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
