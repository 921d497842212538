-- migrate:up transaction:false

-- What was given to an account by hand is found by the account: few interactions ever are, but the table is large.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently interaction_hand on interaction using gin (hand_accounts) where hand_accounts is not null;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
