-- migrate:up

-- The account that speaks for another: itself unless it was merged. With the owner's rights, because who may see the one
-- that stayed may not see what is left of the other; it tells nothing but an id.
create function surviving_account(start uuid) returns uuid
language sql stable strict security definer set search_path = public, pg_temp
as $$
    with recursive chain as (
        select start as id, 0 as depth
        union all
        select (known.account ->> 'merged_into')::uuid, chain.depth + 1
        from chain
        join watched_account as known on known.account_id = chain.id
        where known.account ->> 'merged_into' is not null and chain.depth < 20
    )
    select id from chain order by depth desc limit 1
$$;
revoke all on function surviving_account(uuid) from public;
grant execute on function surviving_account(uuid) to tenure_worker, tenure_api;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
