-- migrate:up transaction:false

-- The first and the last member of a conversation are found without its other members. It takes the place of
-- interaction_conversation.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently interaction_conversation_ends on interaction (conversation_id, occurred_at, id)
where conversation_id is not null;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
