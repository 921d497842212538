-- migrate:up

-- Two accounts that turned out to be one: the merged id lives on as an alias of the one that stayed. What came with it
-- remembers from where (origin_id), so that it can go back; rows that are an account's own have none.
-- The constraints need no validation: in every row that is there the new columns are null.
alter table account add column merged_into uuid;
alter table account add constraint account_merged_into foreign key (merged_into) references account (id) not valid;
alter table account add constraint account_merged_elsewhere check (merged_into <> id) not valid;
comment on column account.merged_into is 'the account that stayed; its own dated intervals stay here untouched while it is merged';

alter table account_interval add column origin_id uuid;
alter table identity add column origin_id uuid;
alter table contact_account add column origin_id uuid;
alter table buying_centre add column origin_id uuid;
alter table buying_centre add column name_before text;
comment on column account_interval.origin_id is 'the merged account of whose interval this is a copy, where the one that stayed had none';
comment on column identity.origin_id is 'the merged account from which it came; null: its own';
comment on column contact_account.origin_id is 'the merged account at which the contact was; null: at this one';
comment on column buying_centre.origin_id is 'the merged account from which it came; null: its own';
comment on column buying_centre.name_before is 'its name before a merge brought it to an account that had one of that name';

-- Somebody who was at both accounts from the same day on is there twice, once by each. Contacts are few: the index is made
-- in no time, and nothing but inserts relied on the key.
-- squawk-ignore require-concurrent-index-creation
create unique index contact_account_once on contact_account (contact_id, account_id, since, origin_id) nulls not distinct;
-- squawk-ignore ban-drop-constraint
alter table contact_account drop constraint contact_account_pkey;

-- The account that speaks for another: itself unless it was merged.
create function surviving_account(start uuid) returns uuid
language sql stable strict security definer set search_path = public, pg_temp
as $$
    with recursive chain as (
        select id, merged_into from account where id = start
        union all
        select account.id, account.merged_into from chain join account on account.id = chain.merged_into
    )
    select id from chain where merged_into is null
$$;
create function account_of_key(key text) returns uuid
language sql stable strict security definer set search_path = public, pg_temp
as $$ select id from account where external_key = key $$;
revoke all on function surviving_account(uuid), account_of_key(text) from public;
grant execute on function surviving_account(uuid), account_of_key(text) to tenure_worker, tenure_api;

-- One selector more: what was said to these accounts or given to them by hand. Every row fulfils the new condition.
-- squawk-ignore ban-drop-constraint
alter table job drop constraint job_selector_check;
alter table job add constraint job_selector_check
check (selector in ('identities', 'conversations', 'parents', 'interactions', 'accounts', 'everything')) not valid;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
