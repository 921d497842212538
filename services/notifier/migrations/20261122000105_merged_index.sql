-- migrate:up transaction:false

-- Accounts that were merged into another are found by that one, when it is asked who has been told of what already.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently watched_account_merged on watched_account ((account ->> 'merged_into'))
where account ->> 'merged_into' is not null;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
