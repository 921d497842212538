-- migrate:up

alter table watch add column epoch integer;
comment on column watch.epoch is 'the epoch of versions that was known last; a greater one: restored from a backup since';

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
