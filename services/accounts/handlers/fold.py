"""One transaction over interactions: lock, load by one query per table, decide purely, save by one statement per table.

The same fold serves fresh events and jobs that read again, so both give the same result. Locks, always in this order:
identities, interactions (sorted), conversations (sorted), accounts (sorted).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import asyncpg
from msgspec import Struct

from contracts.events import BY_TYPE, Event
from contracts.interactions import Interaction, assemble
from contracts.standins import is_stand_in, model_of, stand_in
from contracts.standins import read as read_report
from services.accounts.domain.conversations import Summary
from services.accounts.domain.decide import Regrouping, Saying, collapse, news, sayings
from services.accounts.domain.identities import Keyed, with_keys
from services.accounts.domain.matching import ROOTS, Directory
from services.accounts.domain.ports import (
    Report,
    StoredAttribution,
    StoredInteraction,
    StoredReport,
    Tables,
)
from services.accounts.domain.reading import NOBODY_DECIDED, Reading, Rules, parent_of, read
from services.accounts.handlers.conversing import converse
from services.accounts.handlers.rows import attribution_row, interaction_row, message_of, party_changes
from services.runtime.overlap import Ahead, in_turns, meanwhile

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Repetition:
    """What was said is said again, marked with the run that asked for it; `fresh_versions`: under new versions.

    `of`: what of it and in which order, as (account, interaction), before what is news; None: everything about them.
    """

    run_id: str
    fresh_versions: bool
    of: Sequence[tuple[str, str]] | None = None


@dataclass(slots=True)
class _Work:
    """What a transaction knows so far."""

    stored: Mapping[str, StoredInteraction]
    interactions: dict[str, Interaction] = field(default_factory=dict)
    new_reports: list[Report] = field(default_factory=list)
    causes: dict[str, tuple[datetime, str | None]] = field(default_factory=dict)
    """By interaction: recordedtime and trace of what made it be read."""

    def add(self, report: Report) -> None:
        """Know the first and only report about an interaction."""
        id_ = report.interaction_id
        self.new_reports.append(report)
        self.causes[id_] = (report.recorded_at, report.traceparent)
        self.interactions[id_] = _assembled(id_, [report.event])

    @property
    def fresh(self) -> Collection[str]:
        """Interactions that were not there: nothing of them was."""
        return self.interactions.keys() - self.stored.keys()


class _Known(Struct, frozen=True):
    """What a transaction reads interactions by: their parties with keys, who is known, rules, accounts of parents."""

    parties: Mapping[str, Sequence[Keyed]]
    directory: Directory
    rules: Rules
    claimed: Mapping[str, tuple[str, ...]]
    survivors: Mapping[str, str]


class Fold:
    """Applies events, and reads interactions again. `tables` opens those of a transaction; `zone` is the company's."""

    def __init__(self, tables: Callable[[asyncpg.Connection], Tables], zone: tzinfo) -> None:
        self._tables = tables
        self._zone = zone
        self._left = False

    def left(self) -> bool:
        """Say, once, whether since it was last asked a job was left for what reads differently now.

        Asked after a commit; of a batch that was tried again it may say so although there is none.
        """
        left, self._left = self._left, False
        return left

    async def apply(self, connection: asyncpg.Connection, reports: Sequence[Report]) -> Collection[str]:
        """Apply fresh reports inside the caller's transaction; return the ids of those that the ledger did not have."""
        kept, _ = await self._run(connection, collapse(reports), {})
        return kept

    async def read_again(self, connection: asyncpg.Connection, ids: Sequence[str], recorded_at: datetime) -> None:
        """Read stored interactions again inside the caller's transaction; what differs is said anew."""
        await self._run(connection, {}, dict.fromkeys(ids, recorded_at))

    async def say_again(
        self, connection: asyncpg.Connection, ids: Sequence[str], recorded_at: datetime, repetition: Repetition
    ) -> int:
        """Say again what was said of stored interactions, tombstones included; return how many attributions that is."""
        _, said = await self._run(connection, {}, dict.fromkeys(ids, recorded_at), repetition)
        return said

    async def _run(
        self,
        connection: asyncpg.Connection,
        fresh: Mapping[str, Mapping[str, Report]],
        again: Mapping[str, datetime],
        repetition: Repetition | None = None,
    ) -> tuple[Collection[str], int]:
        tables = self._tables(connection)
        await tables.share_identities()
        work = await self._assemble(tables, fresh, again)
        if not work.interactions:
            return (), 0
        known = await self._load(tables, work)
        async with meanwhile(tables.save_reports(work.new_reports, work.fresh)):
            readings = await self._read(work, known)
        grouping = await converse(tables, work.stored, readings)
        stored = [id_ for id_ in readings if _known(work, id_)]
        last = await tables.load_attributions(stored) if stored else {}
        if repetition is None:
            changed: Mapping[str, Reading] = readings
            async with meanwhile(self._save(tables, work, changed, grouping)):
                said = await self._say(readings, grouping, last, again=False)
        else:
            said = _asked_for(await self._say(readings, grouping, last, again=True), repetition)
            changed = _changed(work, readings, grouping, said)
            await self._save(tables, work, changed, grouping)
        await self._read_others_again(tables, work, readings, grouping)
        await self._publish(tables, work, changed, said, repetition)
        return {report.event_id for report in work.new_reports}, len(said)

    async def _assemble(
        self, tables: Tables, fresh: Mapping[str, Mapping[str, Report]], again: Mapping[str, datetime]
    ) -> _Work:
        """Lock what is touched, leave out duplicates, assemble the rest."""
        parents = _parents(fresh)
        if parents:
            await tables.keep_places(sorted(parents))
        stored = await tables.lock_interactions(sorted({*fresh, *again, *parents}))
        known = [id_ for id_, row in stored.items() if row.known and (id_ in fresh or id_ in again)]
        ledger: dict[str, list[StoredReport]] = {}
        for report in await tables.load_reports(known) if known else []:
            ledger.setdefault(report.interaction_id, []).append(report)
        work = _Work(stored)
        for id_ in {**fresh, **again}:
            reports = fresh.get(id_, {})
            if len(reports) == 1 and id_ not in stored:
                # One report about something new, as nearly always.
                work.add(next(iter(reports.values())))
                continue
            kept = ledger.get(id_, [])
            new = news(reports, kept)
            if not new and not (kept and id_ in again):
                continue
            work.new_reports.extend(new.values())
            if new:
                first = min(new.values(), key=lambda report: (report.recorded_at, report.traceparent or ""))
                work.causes[id_] = (first.recorded_at, first.traceparent)
            else:
                work.causes[id_] = (again[id_], None)
            earlier = [_event(report) for report in kept if report.event_id not in new]
            work.interactions[id_] = _assembled(id_, [*earlier, *[report.event for report in new.values()]])
        return work

    async def _load(self, tables: Tables, work: _Work) -> _Known:
        """Load what interactions are read by."""
        parties = {id_: with_keys(interaction.parties) for id_, interaction in work.interactions.items()}
        keys = {key for keyed in parties.values() for party, known_as in keyed if not party.ours for _, key in known_as}
        directory = await tables.load_directory(keys)
        rules = await tables.load_rules(directory)
        claimed = {id_: row.claimed for id_, row in work.stored.items()}
        missing = {
            parent
            for interaction in work.interactions.values()
            if interaction.parent is not None and (parent := parent_of(interaction)) and parent not in claimed
        }
        if missing:
            claimed |= await tables.load_claimed(missing)
        named = {account for id_, row in work.stored.items() if id_ in parties for account in row.hand.accounts or ()}
        survivors = await tables.load_survivors(named) if named else {}
        return _Known(parties, directory, rules, claimed, survivors)

    async def _read(self, work: _Work, known: _Known) -> dict[str, Reading]:
        """Say of each interaction what it is by itself: what others depend on first."""
        claimed = dict(known.claimed)
        readings: dict[str, Reading] = {}
        async for some in in_turns(sorted(work.interactions.values(), key=lambda one: one.key.kind not in ROOTS)):
            for interaction in some:
                id_ = interaction.id
                row = work.stored.get(id_)
                hand = row.hand.through(known.survivors) if row is not None else NOBODY_DECIDED
                parent = None if interaction.parent is None else parent_of(interaction)
                parents = claimed.get(parent) if parent else None
                reading = read(interaction, known.parties[id_], hand, known.directory, known.rules, parents, self._zone)
                readings[id_] = reading
                claimed[id_] = reading.accounts
        return readings

    async def _say(
        self,
        readings: Mapping[str, Reading],
        grouping: Regrouping,
        last: Mapping[str, Mapping[str, StoredAttribution]],
        *,
        again: bool,
    ) -> list[Saying]:
        """Return what differs from what was said last; `again`: everything."""
        said: list[Saying] = []
        async for some in in_turns(list(readings.items())):
            for id_, reading in some:
                summary = grouping.summaries.get(id_) or Summary(id_)
                said += sayings(reading, summary, last.get(id_, _NOTHING), again=again)
        return said

    async def _save(
        self,
        tables: Tables,
        work: _Work,
        readings: Mapping[str, Reading],
        grouping: Regrouping,
    ) -> None:
        rows = [interaction_row(reading, grouping.conversation_of.get(id_)) for id_, reading in readings.items()]
        added = [row for row in rows if row.reading.interaction.id not in work.stored]
        if added:
            await tables.insert_interactions(added)
        if len(added) < len(rows):
            await tables.update_interactions([row for row in rows if row.reading.interaction.id in work.stored])
        if grouping.moved_references:
            await tables.move_references(grouping.moved_references)
        if grouping.moved_members:
            await tables.move_members(grouping.moved_members)

    async def _read_others_again(
        self, tables: Tables, work: _Work, readings: Mapping[str, Reading], grouping: Regrouping
    ) -> None:
        """Leave a job for what now reads differently but is not locked: siblings, children."""
        earliest = min(recorded_at for recorded_at, _ in work.causes.values())
        if grouping.to_read_again:
            self._left = True
            await tables.add_job("conversations", grouping.to_read_again, earliest)
        moved = [
            id_
            for id_, reading in readings.items()
            if reading.interaction.kind in ROOTS and id_ in work.stored and work.stored[id_].claimed != reading.accounts
        ]
        if moved:
            self._left = True
            await tables.add_job("parents", moved, earliest)

    async def _publish(
        self,
        tables: Tables,
        work: _Work,
        readings: Mapping[str, Reading],
        said: Sequence[Saying],
        repetition: Repetition | None,
    ) -> None:
        """Draw versions under the accounts' locks, remember and publish what is said; keep the parties' index.

        `readings`: those that were saved.
        """
        parties = party_changes(work.stored, readings)
        if not said:
            await tables.change_parties(*parties)
            return
        keep = repetition is not None and not repetition.fresh_versions
        counts: dict[str, int] = {}
        for saying in said:
            # What is said again as it was needs the account's lock too: its record must not overtake a newer one.
            counts[saying.account_id] = counts.get(saying.account_id, 0) + (
                0 if keep and saying.known is not None else 1
            )
        drawn = await tables.draw_versions(counts)
        nexts = {account: versions.last - counts[account] for account, versions in drawn.items()}
        run_id = None if repetition is None else repetition.run_id
        rows, versions, messages = [], [], []
        async with Ahead() as ahead:
            await ahead.send(tables.change_parties(*parties))
            async for part in in_turns(said):
                for saying in part:
                    if keep and saying.known is not None:
                        versions.append(saying.known)
                        continue
                    nexts[saying.account_id] += 1
                    versions.append(nexts[saying.account_id])
                    rows.append(attribution_row(saying, versions[-1]))
            if rows:
                await ahead.send(tables.save_attributions(rows, work.fresh))
            async for some in in_turns(list(zip(said, versions, strict=True))):
                for saying, version in some:
                    cause = work.causes[saying.reading.interaction.id]
                    messages.append(message_of(saying, version, drawn[saying.account_id].state, cause, run_id))
        await tables.publish(messages)


def _asked_for(said: list[Saying], repetition: Repetition) -> list[Saying]:
    if repetition.of is None:
        return said
    places = {one: place for place, one in enumerate(repetition.of)}
    placed = [(places.get((one.account_id, one.reading.interaction.id)), one) for one in said]
    kept = [
        (len(places) if place is None else place, one)
        for place, one in placed
        if place is not None or one.known is None
    ]
    return [one for _, one in sorted(kept, key=itemgetter(0))]


def _changed(
    work: _Work, readings: Mapping[str, Reading], grouping: Regrouping, said: Sequence[Saying]
) -> Mapping[str, Reading]:
    """Return those of stored interactions that are to be saved: of the others everything is said as it was."""
    differing = {saying.reading.interaction.id for saying in said if saying.known is None}
    for id_, conversation in grouping.conversation_of.items():
        if work.stored[id_].conversation_id != conversation:
            differing.add(id_)
    return {id_: reading for id_, reading in readings.items() if id_ in differing}


def _known(work: _Work, id_: str) -> bool:
    row = work.stored.get(id_)
    return row is not None and row.known


def _parents(fresh: Mapping[str, Mapping[str, Report]]) -> set[str]:
    """Return the roots that fresh reports name as parents."""
    return {
        parent.id
        for reports in fresh.values()
        for report in reports.values()
        if (parent := report.event.parent) is not None
        and parent.kind in ROOTS
        and report.event.interaction.kind not in ROOTS
    }


def _event(report: StoredReport) -> Event:
    """The ledger holds what was decoded once, so it decodes again."""
    model = BY_TYPE[report.event_type]
    return read_report(model, report.body) or model.model_validate_json(report.body)


def _assembled(id_: str, reports: Sequence[Event]) -> Interaction:
    """Assemble stand-ins, or, where one of the reports was unusual, models; the result is a stand-in."""
    if all(map(is_stand_in, reports)):
        return assemble(reports, id_)
    return stand_in(assemble([model_of(report) for report in reports]))
