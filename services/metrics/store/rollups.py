"""Roll-ups per manager, team and portfolio: marked dirty by day, computed again from the slim rows of all accounts."""

from collections.abc import Collection
from datetime import date

import asyncpg

# Transactions that compute take turns: of two, the later one has seen what the earlier one saw.
_TURN = 0x524F4C4C5550


async def mark(connection: asyncpg.Connection, days: Collection[date]) -> None:
    """Note days whose roll-ups must be computed again. Appends only: batches do not wait for one another."""
    if days:
        # one row per transaction
        await connection.execute("insert into rollup_dirty (days) values ($1::date[])", sorted(days))


async def dirty(connection: asyncpg.Connection) -> int:
    """Return how many notes wait."""
    # the table is nearly empty
    return int(await connection.fetchval("select count(*) from rollup_dirty"))


async def hold_off(connection: asyncpg.Connection) -> None:
    """Let nobody compute until the transaction ends: it changes to which team days count, and looks which those are.

    Call it first: who computes may wait for what else the transaction has locked.
    """
    # what a pass has not committed yet could not be seen, and it would not see the new team
    await connection.execute("select pg_advisory_xact_lock($1)", _TURN)


async def take_dirty(connection: asyncpg.Connection) -> list[date]:
    """Take notes away and return their days; wait for other replicas that compute. Ends with the transaction."""
    # one replica computes at a time
    await connection.execute("select pg_advisory_xact_lock($1)", _TURN)
    # exactly the notes that were read; what commits meanwhile is left for the next pass
    rows = await connection.fetch(
        "with taken as (delete from rollup_dirty returning days)"
        " select distinct day from taken cross join unnest(days) as d (day)"
    )
    return [row[0] for row in rows]


async def recompute(connection: asyncpg.Connection, days: Collection[date]) -> None:
    """Compute the roll-ups of days from the slim rows, each interaction once per scope, credited to the day's owner."""
    wanted = sorted(days)
    # replaced as a whole: what is no longer credited disappears
    await connection.execute("delete from rollup where day = any($1::date[])", wanted)
    await connection.execute(_RECOMPUTE, wanted)


_RECOMPUTE = """
with entry as (
    select f.account_id, f.interaction_id, f.day, f.effects, false as resolved,
        case when f.voided then null else f.amount end as amount, f.currency
    from fact as f
    where f.day = any($1::date[]) and (f.effects <> 0 or f.amount is not null)
    union all
    select f.account_id, f.interaction_id, f.resolved_on, 0, true, null, null
    from fact as f
    where f.resolved_on = any($1::date[])
),
credited as (
    select e.account_id, e.interaction_id, e.day, e.effects, e.resolved, e.amount, e.currency, o.user_id, u.team_id
    from entry as e
    left join account_owner as o
        on e.account_id = o.account_id and o.since <= e.day and (o.until is null or e.day < o.until)
    left join app_user as u on o.user_id = u.user_id
),
scoped as (
    select 'manager' as scope, user_id as scope_id, interaction_id, day, effects, resolved, amount, currency
    from credited where user_id is not null
    union all
    select 'team', team_id, interaction_id, day, effects, resolved, amount, currency
    from credited where team_id is not null
    union all
    select 'portfolio', '00000000-0000-0000-0000-000000000000', interaction_id, day, effects, resolved, amount, currency
    from credited
),
once as (
    select scope, scope_id, day, interaction_id, bit_or(effects) as effects, bool_or(resolved) as resolved,
        max(amount) as amount, max(currency) as currency
    from scoped
    group by scope, scope_id, day, interaction_id
),
counted as (
    select scope, scope_id, day, array[
        count(*) filter (where effects & 1 <> 0), count(*) filter (where effects & 2 <> 0),
        count(*) filter (where effects & 4 <> 0), count(*) filter (where effects & 8 <> 0),
        count(*) filter (where resolved), count(*) filter (where effects & 16 <> 0)
    ] as counts
    from once
    group by scope, scope_id, day
),
paid as (
    select scope, scope_id, day, json_object_agg(currency, amount::text) as money
    from (
        select scope, scope_id, day, currency, sum(amount) as amount
        from once where amount is not null
        group by scope, scope_id, day, currency
    ) as per_currency
    where amount <> 0
    group by scope, scope_id, day
)
insert into rollup (scope, scope_id, day, counts, money)
select c.scope, c.scope_id, c.day, c.counts, p.money
from counted as c
left join paid as p using (scope, scope_id, day)
"""
