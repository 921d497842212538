-- migrate:up transaction:false

-- Alerts about sources are few among many.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently alert_of_source on alert (dedup_key) where source is not null;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
