"""One transaction's work on accounts: lock, load, decide with the pure domain, save, publish what differs."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import Enum

import asyncpg

from contracts.envelope import Envelope
from contracts.ids import derive_id
from contracts.kpis import EVIDENCE_LIMIT, AccountKpis
from contracts.topics import KPIS
from services.metrics.domain.change import AccountChange, with_roles
from services.metrics.domain.days import CompanyDays
from services.metrics.domain.facts import Fact, RoleSpans
from services.metrics.domain.pairing import TWO_WAY_WITHIN, pair
from services.metrics.domain.publish import content, envelope_of
from services.metrics.domain.state import AccountState, opened_tickets, resolution_hours
from services.metrics.domain.touches import latest
from services.metrics.domain.windows import LENGTHS, ORDERS, Bucket, edges, summed
from services.metrics.handlers import rhythms
from services.metrics.handlers.tables import Buckets, Tables
from services.runtime.outbox import OutboxMessage, append
from services.runtime.overlap import Ahead, in_turns

_EPOCH_SHIFT = 40
_LONG_SLEEP = 30
"""Days from which on sums are computed anew instead of slid."""
_LONGEST = timedelta(days=LENGTHS[-1])
_TOLD_AT_ONCE = 500
"""States in one statement: enough to be cheap, few enough for the server to begin early."""
_YIELD_EVERY = 25
"""States after which the loop may pass on what is on its way to the server."""


_DayBucket = tuple[str, date, Bucket]
"""Of an account."""


class Outlet(Enum):
    """What becomes of the figures of an account that was restated."""

    PUBLISH = "publish"
    """They are published when they differ from what was published last."""
    NOTE = "note"
    """Their digest is noted, so that they can be compared; nothing is published."""
    NONE = "none"
    """Nothing: they will be looked at later."""


class Restatement:
    """Restates accounts inside the caller's transaction: `begin`, then `meet` what is new, then `finish`."""

    def __init__(  # noqa: PLR0917 - what every transaction of metrics rests on
        self,
        connection: asyncpg.Connection,
        tables: Tables,
        days: CompanyDays,
        currency: str,
        now: datetime,
        outlet: Outlet = Outlet.PUBLISH,
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._facts = tables.facts
        self._states = tables.states
        self._days = days
        self._currency = currency
        self._now = now
        self._outlet = outlet
        self._today = days.day(now)
        self._changes: dict[str, AccountChange] = {}
        self._old: dict[tuple[str, str], Fact] = {}

    async def begin(self, accounts: Collection[str]) -> None:
        """Lock the accounts and bring their sums forward to the present day."""
        states = await self._states.lock(self._connection, list(accounts), self._today, self._currency)
        await self._adopt(states)

    async def begin_due(self, limit: int) -> int:
        """Lock accounts whose figures change by themselves by now, and slide them; return how many."""
        states = await self._states.lock_due(self._connection, self._today, limit, self._currency)
        await self._adopt(states)
        return len(states)

    async def begin_after(self, account: str, limit: int) -> str | None:
        """Lock the accounts that follow `account` by id and bring them to the present day; return the last one."""
        states = await self._states.lock_after(self._connection, account, limit, self._currency)
        await self._adopt(states)
        return max(states, default=None)

    async def _adopt(self, states: Mapping[str, AccountState]) -> None:
        self._changes = {account: AccountChange(state) for account, state in states.items()}
        await self._slide()

    async def _slide(self) -> None:
        """Whoever holds an account's lock slides it first; the present day never runs backwards."""
        behind = [change for change in self._changes.values() if change.state.sums.as_of < self._today]
        if not behind:
            return
        near = [change for change in behind if _near(change.state, self._today)]
        far = {
            change.state.account_id: self._today - _LONGEST for change in behind if not _near(change.state, self._today)
        }
        wanted = [
            (change.state.account_id, day) for change in near for day in edges(change.state.sums.as_of, self._today)
        ]
        buckets = await self._states.load_buckets(self._connection, wanted) if wanted else {}
        ranges = await self._states.load_bucket_ranges(self._connection, far) if far else {}
        for change in behind:
            state = change.state
            if state.account_id in far:
                state.sums = summed(ranges.get(state.account_id, {}).items(), self._today)
                moved = True
            else:
                state.sums.slide(self._today, found := buckets.get(state.account_id, {}))
                moved = bool(found)
            change.slide(moved=moved)
        due = await self._states.next_changes(
            self._connection, {change.state.account_id: self._today for change in behind}
        )
        for change in behind:
            change.state.due = None
            change.wake(due.get(change.state.account_id))

    def account_changed(self, account: str, version: int, currency: str | None, roles: RoleSpans | None) -> None:
        """Take note of a newer copy of an account; `roles` None: they are as before."""
        change = self._changes[account]
        change.state.account_version = version
        change.state.currency = currency or self._currency
        if roles is not None:
            change.state.roles = roles
            change.touches_again = True

    async def meet(self, facts: Sequence[Fact]) -> None:
        """Apply what is newer than the stored version; one fact per (account, interaction)."""
        if not facts:
            return
        self._old = await self._facts.load(self._connection, [(fact.account_id, fact.interaction_id) for fact in facts])
        for fact in facts:
            old = self._old.get((fact.account_id, fact.interaction_id))
            if old is None or fact.version > old.version:
                change = self._changes[fact.account_id]
                change.meet(old, with_roles(fact, change.state), self._days)
        await self._void_refunds()
        await self._pair()

    async def _void_refunds(self) -> None:
        """A refund counts nowhere while its order is cancelled or withdrawn."""
        met = [fact for change in self._changes.values() for fact in change.facts.values()]
        orders = [
            fact
            for fact in met
            if fact.kind == "order" and (_void(fact) or self._old) and _void(fact) != _void(self._stored(fact))
        ]
        refunds = [fact for fact in met if fact.parent_id is not None]
        if orders:
            for refund in await self._facts.load_refunds(
                self._connection, [(order.account_id, order.interaction_id) for order in orders]
            ):
                self._old.setdefault((refund.account_id, refund.interaction_id), refund)
                if refund.interaction_id not in self._changes[refund.account_id].facts:
                    refunds.append(refund)
        if not refunds:
            return
        parents = await self._facts.load(
            self._connection, [(refund.account_id, refund.parent_id or "") for refund in refunds]
        )
        for refund in refunds:
            facts = self._changes[refund.account_id].facts
            order = facts.get(refund.parent_id or "") or parents.get((refund.account_id, refund.parent_id or ""))
            if refund.voided != _void(order):
                facts[refund.interaction_id] = refund._replace(voided=_void(order))

    def _stored(self, fact: Fact) -> Fact | None:
        return self._old.get((fact.account_id, fact.interaction_id))

    async def _pair(self) -> None:
        """Derive answers again from the earliest change on, then settle everything that differs."""
        windows = [
            (account, change.paired_since - TWO_WAY_WITHIN, change.paired_since)
            for account, change in self._changes.items()
            if change.paired_since is not None
        ]
        loaded = await self._facts.load_touches(self._connection, windows) if windows else {}
        for account, change in self._changes.items():
            met = change.facts.copy()
            if change.paired_since is not None:
                neighbours = {fact.interaction_id: fact for fact in loaded.get(account, ())}
                current = neighbours | met
                for derived in pair(current.values(), change.paired_since):
                    if derived.interaction_id not in met:
                        self._old[account, derived.interaction_id] = neighbours[derived.interaction_id]
                    met[derived.interaction_id] = derived
            for fact in met.values():
                change.settle(self._stored(fact), fact)

    async def finish(self, recordedtime: datetime, traces: Mapping[str, str | None]) -> set[date]:
        """Save everything and publish the accounts whose figures differ; return the days whose roll-ups do.

        `recordedtime`: the earliest of what caused this; `traces`: trace context by account.
        """
        if not self._changes:
            return set()
        await self._read_touches_again()
        stored = await self._load_buckets()
        epoch = await self._states.epoch(self._connection) if self._outlet is Outlet.PUBLISH else 0
        async with Ahead() as ahead:
            facts = [fact for change in self._changes.values() for fact in change.facts.values()]
            new = [fact for fact in facts if self._stored(fact) is None] if self._old else facts
            known = [] if len(new) == len(facts) else [fact for fact in facts if self._stored(fact) is not None]
            await ahead.send(self._facts.save(self._connection, new, known))
            await ahead.send(self._states.save_buckets(self._connection, *await self._add_up(stored)))
            await self._read_again(ahead)
            await self._tell(ahead, epoch, recordedtime, traces)
        return {day for change in self._changes.values() for day in change.buckets}

    async def _read_touches_again(self) -> None:
        """Where contacts changed, or days to come have come, take all touches of the account."""
        accounts = [account for account, change in self._changes.items() if change.touches_again]
        if not accounts:
            return
        stored = {
            (fact.account_id, fact.interaction_id): fact
            for fact in await self._facts.touches_of(self._connection, accounts)
        }
        for account in accounts:
            change = self._changes[account]
            touches = {fact.interaction_id: fact for key, fact in stored.items() if key[0] == account} | change.facts
            for fact in list(touches.values()):
                current = with_roles(fact, change.state)
                if current != fact:
                    touches[fact.interaction_id] = change.facts[fact.interaction_id] = current
                    if (key := (account, fact.interaction_id)) in stored:
                        self._old.setdefault(key, stored[key])
            change.state.touches = latest(touches.values(), change.state.sums.as_of)
            change.lost_touches.clear()

    async def _load_buckets(self) -> Buckets:
        wanted = [(account, day) for account, change in self._changes.items() for day in change.buckets]
        return await self._states.load_buckets(self._connection, wanted) if wanted else {}

    async def _add_up(self, stored: Buckets) -> tuple[list[_DayBucket], list[_DayBucket]]:
        """Add what was collected to the sums and to the `stored` buckets; return those that are new and that differ."""
        new, known = [], []
        async for changes in in_turns(list(self._changes.items()), _YIELD_EVERY):
            for account, change in changes:
                change.include_sums()
                kept = stored.get(account, {})
                for day, added in change.buckets.items():
                    if added.empty:
                        continue
                    if (bucket := kept.get(day)) is None:
                        change.note_orders(day, 0, added.counts[ORDERS])
                        new.append((account, day, added))
                    else:
                        orders = bucket.counts[ORDERS]
                        bucket.add(added)
                        change.note_orders(day, orders, bucket.counts[ORDERS])
                        known.append((account, day, bucket))
        return new, known

    async def _read_again(self, ahead: Ahead) -> None:
        """Read from the slim rows what cannot be subtracted; every query only for the accounts that need it."""
        changes = self._changes
        lost = [
            (account, key, change.state.sums.as_of)
            for account, change in changes.items()
            for key in change.lost_touches
        ]
        for account, key, _ in lost:
            changes[account].state.touches.pop(key, None)
        for account, key, touch in await ahead.ask(self._facts.last_touches(self._connection, lost)) if lost else ():
            changes[account].state.touches[key] = touch
        if items := {account: self._end(change) for account, change in changes.items() if change.items_again}:
            for account, found in (await ahead.ask(self._facts.open_items(self._connection, items))).items():
                changes[account].state.items = found
        if tickets := {
            account: change.state.sums.as_of - _LONGEST for account, change in changes.items() if change.tickets_again
        }:
            for account, of_account in (await ahead.ask(self._facts.tickets(self._connection, tickets))).items():
                state = changes[account].state
                state.hours = resolution_hours(of_account, state.sums.as_of)
                state.opened = opened_tickets(of_account, state.sums.as_of, EVIDENCE_LIMIT)
        await rhythms.renew(self._connection, self._tables, changes, self._days, ahead)
        await self._read_history_again(ahead)

    async def _read_history_again(self, ahead: Ahead) -> None:
        if since := [account for account, change in self._changes.items() if change.since_again]:
            first = await ahead.ask(self._facts.first_moments(self._connection, since))
            for account in since:
                self._changes[account].state.since = self._days.day(first[account]) if account in first else None
        asked = {
            account: (change.state.sums.as_of, self._end(change))
            for account, change in self._changes.items()
            if change.slid and change.state.future
        }
        if asked:
            future = await ahead.ask(self._facts.have_future(self._connection, asked))
            for account, (as_of, _) in asked.items():
                change = self._changes[account]
                change.state.future = account in future
                if change.state.future:
                    change.wake(as_of + timedelta(days=1))

    def _end(self, change: AccountChange) -> datetime:
        return self._days.end(change.state.sums.as_of)

    async def _tell(self, ahead: Ahead, epoch: int, recordedtime: datetime, traces: Mapping[str, str | None]) -> None:
        """Publish what differs and save the states: while the server writes some, those that come next are told."""
        changes = sorted(self._changes.items())
        for place in range(0, len(changes), _TOLD_AT_ONCE):
            told = changes[place : place + _TOLD_AT_ONCE]
            messages: list[OutboxMessage] = []
            async for some in in_turns(told, _YIELD_EVERY):
                for _, change in some:
                    change.wake(change.state.norm_due())
                    if self._outlet is Outlet.PUBLISH:
                        self._publish(change.state, epoch, recordedtime, traces, messages)
                    else:
                        change.state.digest = content(change.state)[1] if self._outlet is Outlet.NOTE else None
            await ahead.send(self._write(messages, [change.state for _, change in told]))

    async def _write(self, messages: Sequence[OutboxMessage], states: Sequence[AccountState]) -> None:
        await append(self._connection, messages)
        await self._states.save(self._connection, states)

    def _publish(
        self,
        state: AccountState,
        epoch: int,
        recordedtime: datetime,
        traces: Mapping[str, str | None],
        messages: list[OutboxMessage],
    ) -> None:
        body, digest = content(state)
        if digest == state.digest:
            return
        state.digest = digest
        state.version = max(state.version, epoch << _EPOCH_SHIFT) + 1
        account = state.account_id
        envelope = Envelope(
            id=derive_id("kpis", account, str(state.version)),
            source="/metrics",
            type=AccountKpis.TYPE,
            subject=account,
            time=self._now,
            recordedtime=recordedtime,
            traceparent=traces.get(account),
        )
        messages.append(OutboxMessage(KPIS, account, envelope, envelope_of(state, body, self._now)))


def _near(state: AccountState, today: date) -> bool:
    return (today - state.sums.as_of).days <= _LONG_SLEEP


def _void(order: Fact | None) -> bool:
    return order is not None and (order.cancelled or not order.present)
