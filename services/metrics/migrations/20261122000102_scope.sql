-- migrate:up

-- Scope: what the caller of an API transaction may see (settings tenure.issuer, tenure.subject, tenure.admin; and
-- tenure.today, the company's day by the system's clock). Without these settings: nothing.

create function is_admin() returns boolean
language sql stable
set search_path = pg_catalog
return coalesce(current_setting('tenure.admin', true), '') = 'true';

create function company_today() returns date
language sql stable
set search_path = pg_catalog
return coalesce(nullif(current_setting('tenure.today', true), '')::date, current_date);

-- The user that the caller is; no row when nobody is.
create function caller_id() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
begin atomic
select u.user_id
from public.app_user as u
where
    u.issuer = current_setting('tenure.issuer', true)
    and u.subject = current_setting('tenure.subject', true)
    and u.active;
end;

-- Teams that the caller leads.
create function led_teams() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
begin atomic
select t.team_id
from public.team as t
where t.lead_id in (select public.caller_id())
union
select u.team_id
from public.app_user as u
where u.user_id in (select public.caller_id()) and u.role = 'lead' and u.team_id is not null;
end;

-- Users whose figures the caller may see: their own, and those of the teams they lead.
create function visible_users() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
begin atomic
select public.caller_id()
union
select u.user_id
from public.app_user as u
where u.team_id in (select public.led_teams());
end;

-- Accounts that are given to the caller now: owned, on the account's team, as deputy, or through the team they lead.
create function visible_accounts() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
begin atomic
with people as (
    select public.visible_users() as user_id
    union
    select d.for_user_id
    from public.user_deputy as d
    where
        d.user_id in (select public.caller_id())
        and d.since <= public.company_today()
        and (d.until is null or public.company_today() < d.until)
)

select o.account_id
from public.account_owner as o
where
    o.user_id in (select p.user_id from people as p)
    and o.since <= public.company_today()
    and (o.until is null or public.company_today() < o.until)
union
select m.account_id
from public.account_member as m
where
    m.user_id in (select p.user_id from people as p)
    and m.since <= public.company_today()
    and (m.until is null or public.company_today() < m.until);
end;

-- Whether the caller may see the figures of a manager, a team or the portfolio.
create function may_see(scope text, scope_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, public
return public.is_admin()
or case scope
    when 'manager' then scope_id in (select public.visible_users())
    when 'team' then scope_id in (select public.led_teams())
    else false
end;

-- Whether there is such a manager or team.
create function scope_exists(scope text, scope_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, public
return case scope
    when 'manager' then exists (select from public.app_user as u where u.user_id = scope_id)
    when 'team' then exists (select from public.team as t where t.team_id = scope_id)
    else true
end;

-- Accounts that count for a scope on a day: credited to who owned them on that day.
create function credited(wanted text, wanted_id uuid) returns table (account_id uuid, since date, until date)
language sql stable security definer
set search_path = pg_catalog, public
begin atomic
select o.account_id, o.since, o.until
from public.account_owner as o
where
    public.may_see(wanted, wanted_id)
    and (
        (wanted = 'manager' and o.user_id = wanted_id)
        or (wanted = 'team' and o.user_id in (select u.user_id from public.app_user as u where u.team_id = wanted_id))
    )
union all
select s.account_id, date '-infinity', null
from public.account_state as s
where wanted = 'portfolio' and public.may_see(wanted, wanted_id);
end;

-- Resolutions credited to a scope, each ticket once; days from (excluded) to (included).
create function scope_resolutions(wanted text, wanted_id uuid, after_day date, last_day date)
returns table (resolved_on date, microseconds bigint)
language sql stable security definer
set search_path = pg_catalog, public
begin atomic
select distinct on (f.interaction_id)
    f.resolved_on,
    greatest((extract(epoch from f.resolved_at - f.began_at) * 1000000)::bigint, 0)
from public.credited(wanted, wanted_id) as c
inner join public.fact as f on c.account_id = f.account_id
where
    f.resolved_on > after_day and f.resolved_on <= last_day
    and f.began_at is not null
    and f.resolved_on >= c.since and (c.until is null or f.resolved_on < c.until)
order by f.interaction_id;
end;

-- Orders credited to a scope by account and day, and whether the account's first order ever is among them.
create function scope_orders(wanted text, wanted_id uuid, after_day date, last_day date)
returns table (account_id uuid, day date, orders bigint, has_first boolean)
language sql stable security definer
set search_path = pg_catalog, public
begin atomic
select f.account_id, f.day, count(distinct f.interaction_id), bool_or(not exists (
    select from public.fact as earlier
    where
        earlier.account_id = f.account_id and earlier.effects & 16 <> 0
        and (earlier.began_at, earlier.interaction_id) < (f.began_at, f.interaction_id)
))
from public.credited(wanted, wanted_id) as c
inner join public.fact as f on c.account_id = f.account_id
where
    f.effects & 16 <> 0
    and f.day > after_day and f.day <= last_day
    and f.day >= c.since and (c.until is null or f.day < c.until)
group by f.account_id, f.day;
end;

grant select, insert, update, delete on
fact, bucket, account_state, account, account_owner, account_member, app_user, user_deputy, team, rate, rollup_dirty,
rollup to tenure_worker;
grant select on version_epoch to tenure_worker;
grant select on fact, bucket, account_state, account, rate, rollup to tenure_api;

alter table fact enable row level security;
alter table bucket enable row level security;
alter table account_state enable row level security;
alter table account enable row level security;
alter table rollup enable row level security;

create policy worker_all on fact to tenure_worker using (true) with check (true);
create policy worker_all on bucket to tenure_worker using (true) with check (true);
create policy worker_all on account_state to tenure_worker using (true) with check (true);
create policy worker_all on account to tenure_worker using (true) with check (true);
create policy worker_all on rollup to tenure_worker using (true) with check (true);

create policy api_scope on fact for select to tenure_api
using ((select is_admin()) or account_id in (select visible_accounts()));
create policy api_scope on bucket for select to tenure_api
using ((select is_admin()) or account_id in (select visible_accounts()));
create policy api_scope on account_state for select to tenure_api
using ((select is_admin()) or account_id in (select visible_accounts()));
create policy api_scope on account for select to tenure_api
using ((select is_admin()) or account_id in (select visible_accounts()));
create policy api_scope on rollup for select to tenure_api using (may_see(scope, scope_id));

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
