-- migrate:up transaction:false

-- What the other members of a conversation are read by: its tickets and calls for help, few among many.
-- squawk-ignore ban-concurrent-index-creation-in-transaction
create index concurrently interaction_conversation_weights on interaction (conversation_id)
where kind = 'ticket' and present or support_request;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
