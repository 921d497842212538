-- migrate:up

-- What is sent again under one idempotency key says the same to the last byte, also when an account was renamed or its
-- reader moved between two attempts. Null: queued before this migration, or by an older replica beside ours.
alter table delivery_step add column account_name text;
comment on column delivery_step.account_name is 'as it was when the step was queued; empty: not known then';
alter table delivery add column time_zone text;
comment on column delivery.time_zone is 'the reader''s when it was queued; empty: the company''s';

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
