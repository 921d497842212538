-- migrate:up transaction:false

-- No statement asks by it, and every new reference wrote it.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
drop index concurrently if exists conversation_ref_conversation;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
