-- migrate:up transaction:false

-- interaction_conversation_ends begins with the same column, for the version before too.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
drop index concurrently if exists interaction_conversation;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
