-- migrate:up

-- A rebuild fills tables of the same names in the schema `rebuild` and then puts them in the place of those here, which
-- are kept in the schema `retired` until the next rebuild begins. The three functions below are all that the worker may
-- do to tables; they run with the owner's rights.

-- One row per rebuild. positions: where reading begins, noted before the republish does; targets: where it has to come
-- to, noted after it. Both [[topic, partition, offset], …]. report: what was found to differ, and how much there was.
create table rebuild_run (
    rebuild_id uuid primary key,
    phase text not null check (phase in ('filling', 'swapped', 'abandoned')),
    begun_at timestamptz not null,
    positions json not null,
    targets json,
    ended_at timestamptz,
    report json
);
create unique index rebuild_run_open on rebuild_run (phase) where phase = 'filling';
create index rebuild_run_begun on rebuild_run (begun_at);
grant select, insert, update on rebuild_run to tenure_worker;

-- Everything that follows from activity and accounts. Rates are what people entered and stay; so do the outbox, offsets,
-- dead letters and the epoch.
create function rebuild_tables() returns text []
language sql immutable
set search_path = pg_catalog
return array[
    'fact', 'bucket', 'account_state', 'account', 'account_owner', 'account_member', 'app_user', 'user_deputy', 'team',
    'rollup_dirty', 'rollup'
];

-- The shape of a table without its schema's name: columns and indexes.
create function rebuild_shape(place text, name text) returns text
language sql stable
set search_path = pg_catalog
return (
    select string_agg(format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull), ', ' order by a.attname)
    from pg_attribute as a
    where a.attrelid = format('%I.%I', place, name)::regclass and a.attnum > 0 and not a.attisdropped
) || ' / ' || (
    select string_agg(
        replace(pg_get_indexdef(i.indexrelid), format(' ON %I.', place), ' ON '), ', '
        order by i.indexrelid::regclass::text
    )
    from pg_index as i
    where i.indrelid = format('%I.%I', place, name)::regclass
);

-- Empty tables with the columns, names of indexes, storage, rights and policies of those in use.
create function rebuild_begin() returns void
language plpgsql security definer
set search_path = pg_catalog
as $$
declare
    name text;
    command text;
begin
    drop schema if exists rebuild cascade;
    drop schema if exists retired cascade;
    create schema rebuild;
    grant usage on schema rebuild to tenure_worker;
    foreach name in array public.rebuild_tables() loop
        execute format('create table rebuild.%I (like public.%I including all excluding indexes)', name, name);
        for command in
            select format('alter table rebuild.%I set (%s)', name, array_to_string(c.reloptions, ', '))
            from pg_class as c where c.oid = format('public.%I', name)::regclass and c.reloptions is not null
            union all
            select replace(pg_get_indexdef(i.indexrelid), ' ON public.', ' ON rebuild.')
            from pg_index as i where i.indrelid = format('public.%I', name)::regclass
            union all
            select format('alter table rebuild.%I add constraint %I primary key using index %I', name, k.conname, c.relname)
            from pg_constraint as k join pg_class as c on k.conindid = c.oid
            where k.conrelid = format('public.%I', name)::regclass and k.contype = 'p'
            union all
            select format('grant %s on rebuild.%I to %s', g.privilege_type, name, g.grantee::regrole)
            from pg_class as c cross join aclexplode(c.relacl) as g
            where c.oid = format('public.%I', name)::regclass and g.grantee <> c.relowner and g.grantee <> 0
            union all
            select format('alter table rebuild.%I enable row level security', name)
            from pg_class as c where c.oid = format('public.%I', name)::regclass and c.relrowsecurity
            union all
            select format('create policy %I on rebuild.%I as %s for %s to %s', p.policyname, name, p.permissive, p.cmd,
                array_to_string(p.roles, ', '))
                || coalesce(' using (' || p.qual || ')', '') || coalesce(' with check (' || p.with_check || ')', '')
            from pg_policies as p where p.schemaname = 'public' and p.tablename = name
        loop
            execute command;
        end loop;
    end loop;
    -- The one who fills them finds nothing but these: without the schema he fails instead of meeting those in use.
    create view rebuild.kafka_offset as
    select consumer_group, topic, partition_id, next_offset, recordedtime, updated_at from public.kafka_offset;
    create view rebuild.dead_letter as
    select id, topic, partition_id, record_offset, record_key, value, header_names, header_values, reason, detail, handler,
        source, traceparent, recordedtime, created_at
    from public.dead_letter;
    grant select, insert, update, delete on rebuild.kafka_offset, rebuild.dead_letter to tenure_worker;
end $$;

-- The new tables take the place of the old ones. What is published from now on is greater than all that was before,
-- because the new states have not drawn a version yet: the epoch is raised.
create function rebuild_swap() returns void
language plpgsql security definer
set search_path = pg_catalog
as $$
declare
    name text;
begin
    drop schema if exists retired cascade;
    create schema retired;
    foreach name in array public.rebuild_tables() loop
        if public.rebuild_shape('rebuild', name) is distinct from public.rebuild_shape('public', name) then
            raise exception 'table % was changed since the rebuild began: abandon it and begin anew', name
                using errcode = 'object_not_in_prerequisite_state';
        end if;
        execute format('alter table public.%I set schema retired', name);
        execute format('alter table rebuild.%I set schema public', name);
    end loop;
    drop schema rebuild cascade;
    update public.version_epoch set epoch = epoch + 1;
end $$;

-- Gives back the room of a rebuild that was abandoned, and of the tables that the last one replaced.
create function rebuild_drop() returns void
language plpgsql security definer
set search_path = pg_catalog
as $$
begin
    drop schema if exists rebuild cascade;
    drop schema if exists retired cascade;
end $$;

revoke all on function rebuild_begin(), rebuild_swap(), rebuild_drop() from public;
grant execute on function rebuild_begin(), rebuild_swap(), rebuild_drop() to tenure_worker;

-- The functions of scope name their tables when they run, not when they were made: a rebuild puts others in their place.

create or replace function caller_id() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
as $$
select u.user_id
from public.app_user as u
where
    u.issuer = current_setting('tenure.issuer', true)
    and u.subject = current_setting('tenure.subject', true)
    and u.active;
$$;

create or replace function led_teams() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
as $$
select t.team_id
from public.team as t
where t.lead_id in (select public.caller_id())
union
select u.team_id
from public.app_user as u
where u.user_id in (select public.caller_id()) and u.role = 'lead' and u.team_id is not null;
$$;

create or replace function visible_users() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
as $$
select public.caller_id()
union
select u.user_id
from public.app_user as u
where u.team_id in (select public.led_teams());
$$;

create or replace function visible_accounts() returns setof uuid
language sql stable security definer
set search_path = pg_catalog, public
as $$
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
$$;

create or replace function scope_exists(scope text, scope_id uuid) returns boolean
language sql stable security definer
set search_path = pg_catalog, public
as $$
select case scope
    when 'manager' then exists (select from public.app_user as u where u.user_id = scope_id)
    when 'team' then exists (select from public.team as t where t.team_id = scope_id)
    else true
end;
$$;

create or replace function credited(wanted text, wanted_id uuid) returns table (account_id uuid, since date, until date)
language sql stable security definer
set search_path = pg_catalog, public
as $$
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
$$;

create or replace function scope_resolutions(wanted text, wanted_id uuid, after_day date, last_day date)
returns table (resolved_on date, microseconds bigint)
language sql stable security definer
set search_path = pg_catalog, public
as $$
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
$$;

create or replace function scope_orders(wanted text, wanted_id uuid, after_day date, last_day date)
returns table (account_id uuid, day date, orders bigint, has_first boolean)
language sql stable security definer
set search_path = pg_catalog, public
as $$
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
$$;

-- migrate:down

do $$ begin raise exception 'migrations only go forward: write a new one'; end $$;
