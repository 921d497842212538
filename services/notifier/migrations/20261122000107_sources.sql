-- migrate:up

-- An alert may be about a source instead of an account. Its account_id is then derived from the source's name and belongs
-- to no account: the row in watched_account that gives it its lock and its versions never has content.
alter table alert add column source text;
comment on column alert.source is 'the configured source that it is about; null: it is about the account';

-- Who answers for a source about which there ever was an alert: they may see it.
create table watched_source (
    account_id uuid primary key references watched_account (account_id),
    source text not null,
    told uuid [] not null
) with (fillfactor = 70);
grant select, insert, update, delete on watched_source to tenure_worker;

-- As before, and: alerts about sources are seen by those who answer for them, their deputies and leads, and by operators.
create or replace function visible_accounts() returns setof uuid
language sql stable security definer set search_path = public, pg_temp
as $$
    with today as (
        select coalesce(nullif(current_setting('tenure.today', true), '')::date, current_date) as day
    ), me as (
        select u.user_id, u.team_id, u.role
        from app_user u
        where u.issuer = nullif(current_setting('tenure.issuer', true), '')
            and u.subject = nullif(current_setting('tenure.subject', true), '')
            and u.active
    ), mine as (
        select me.user_id from me
        union
        select d.for_user_id
        from deputy d join me on d.user_id = me.user_id cross join today
        where d.since <= today.day and (d.until is null or today.day < d.until)
        union
        select u.user_id
        from me join app_user u on u.team_id is not null
        where (me.role = 'lead' and u.team_id = me.team_id)
            or u.team_id in (select t.team_id from team t where t.lead_id = me.user_id)
    )
    select p.account_id
    from account_person p join mine on p.user_id = mine.user_id cross join today
    where p.since <= today.day and (p.until is null or today.day < p.until)
    union
    select s.account_id
    from watched_source s join mine on mine.user_id = any(s.told)
    union
    select s.account_id
    from watched_source s cross join me
    where me.role = 'operator'
    union
    select w.account_id
    from watched_account w
    where current_setting('tenure.admin', true) = 'true'
$$;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
