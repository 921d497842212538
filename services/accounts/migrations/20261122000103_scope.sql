-- migrate:up

-- Who is calling, by the settings that each transaction of the API carries. No setting, no user, no rows.
create function calling_user() returns uuid
language sql stable security definer set search_path = public, pg_temp
as $$
    select id from app_user
    where active
        and issuer = nullif(current_setting('tenure.issuer', true), '')
        and subject = nullif(current_setting('tenure.subject', true), '')
$$;

create function sees_every_account() returns boolean
language sql stable security definer set search_path = public, pg_temp
as $$
    select coalesce(nullif(current_setting('tenure.subject', true), '') is not null
            and current_setting('tenure.admin', true) = 'true', false)
        or exists (select from app_user where id = calling_user() and user_role = 'admin')
$$;

-- The caller, and those for whom the caller stands in today (the company's day, set by the API), and, for a lead, the team.
create function users_seen() returns setof uuid
language sql stable security definer set search_path = public, pg_temp
as $$
    with stands_for as (
        select calling_user() as id
        union
        select for_user_id from deputy
        where user_id = calling_user()
            and since <= nullif(current_setting('tenure.today', true), '')::date
            and (until is null or nullif(current_setting('tenure.today', true), '')::date < until)
    )
    select id from stands_for where id is not null
    union
    select member.id
    from stands_for
    join app_user as lead on lead.id = stands_for.id and lead.active
    join app_user as member on member.team_id = lead.team_id
    where lead.user_role = 'lead'
    union
    select member.id
    from stands_for
    join team on team.lead_id = stands_for.id
    join app_user as member on member.team_id = team.id
$$;

-- The accounts that the caller may see now: owner, account team, deputy of either; a lead the team's; an admin all.
create function visible_accounts() returns setof uuid
language sql stable security definer set search_path = public, pg_temp
as $$
    select id from account where sees_every_account()
    union
    select account_id from account_interval
    where sort in ('owner', 'team')
        and user_id in (select users_seen())
        and since <= nullif(current_setting('tenure.today', true), '')::date
        and (until is null or nullif(current_setting('tenure.today', true), '')::date < until)
$$;

-- Whether the caller may look at what matches no account: admins and leads at all of it.
create function sees_unmatched() returns boolean
language sql stable security definer set search_path = public, pg_temp
as $$
    select sees_every_account()
        or exists (select from app_user where id = calling_user() and user_role in ('lead', 'operator'))
$$;

revoke all on function calling_user(), sees_every_account(), users_seen(), visible_accounts(), sees_unmatched() from public;
grant execute on function calling_user(), sees_every_account(), users_seen(), visible_accounts(), sees_unmatched()
to tenure_worker, tenure_api;

do $$
declare
    guarded text;
begin
    foreach guarded in array array[
        'team', 'app_user', 'deputy', 'account', 'account_interval', 'contact', 'contact_account', 'identity', 'buying_centre',
        'group_member', 'contact_role', 'edit', 'ledger', 'interaction', 'interaction_party', 'attribution', 'job', 'touch_class_rule'
    ] loop
        execute format('alter table %I enable row level security', guarded);
        execute format('create policy worker_all on %I to tenure_worker using (true) with check (true)', guarded);
    end loop;
end $$;

create policy api_scope on account to tenure_api using (id in (select visible_accounts()));
create policy api_scope on account_interval to tenure_api using (account_id in (select visible_accounts()));
create policy api_scope on contact_account to tenure_api using (account_id in (select visible_accounts()));
create policy api_scope on contact to tenure_api
using (id in (select contact_id from contact_account where account_id in (select visible_accounts())));
create policy api_scope on identity to tenure_api using (
    account_id in (select visible_accounts())
    or contact_id in (select contact_id from contact_account where account_id in (select visible_accounts()))
);
create policy api_scope on buying_centre to tenure_api using (account_id in (select visible_accounts()));
create policy api_scope on group_member to tenure_api
using (buying_centre_id in (select id from buying_centre where account_id in (select visible_accounts())));
create policy api_scope on contact_role to tenure_api
using (buying_centre_id in (select id from buying_centre where account_id in (select visible_accounts())));
create policy api_scope on edit to tenure_api using (account_id in (select visible_accounts()) or (select sees_every_account()));
create policy api_scope on attribution to tenure_api using (account_id in (select visible_accounts()));
-- An interaction shows in full to whoever sees one of its accounts; one of nobody to leads, and to ours who took part.
create policy api_scope on interaction to tenure_api using (
    claimed && array(select visible_accounts())
    or (claimed = '{}' and ((select sees_unmatched()) or users && array(select users_seen())))
);
create policy api_scope on ledger to tenure_api using (exists (select from interaction where interaction.id = ledger.interaction_id));
create policy api_scope on interaction_party to tenure_api
using (exists (select from interaction where interaction.id = interaction_party.interaction_id));
-- Colleagues' names, teams, deputies and rules are for every user; a token without a user sees none.
create policy api_scope on app_user to tenure_api using ((select calling_user()) is not null or (select sees_every_account()));
create policy api_scope on team to tenure_api using ((select calling_user()) is not null or (select sees_every_account()));
create policy api_scope on deputy to tenure_api using ((select calling_user()) is not null or (select sees_every_account()));
create policy api_scope on touch_class_rule to tenure_api
using ((select calling_user()) is not null or (select sees_every_account()));
create policy api_scope on job to tenure_api using ((select sees_every_account()));

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
