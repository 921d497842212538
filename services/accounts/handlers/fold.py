"""One transaction over interactions: lock, load by one query per table, decide purely, save by one statement per table.

The same fold serves fresh events and jobs that read again, so both give the same result. Locks, always in this order:
identities, interactions (sorted), conversations (sorted), accounts (sorted).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

import asyncpg
import orjson
from uuid6 import uuid7

from contracts.activity import Attribution
from contracts.envelope import Envelope
from contracts.events import BY_TYPE, Event
from contracts.interactions import Interaction, assemble
from services.accounts.domain.conversations import Summary
from services.accounts.domain.decide import Regrouping, Report, Saying, collapse, news, regroup, sayings
from services.accounts.domain.identities import with_keys
from services.accounts.domain.matching import ROOTS
from services.accounts.domain.ports import (
    AttributionRow,
    InteractionRow,
    LedgerRow,
    StoredInteraction,
    StoredReport,
    Tables,
)
from services.accounts.domain.reading import NOBODY_DECIDED, Reading, parent_of, read, with_versions

_CONTENT = frozenset({"title", "text"})


@dataclass(frozen=True, slots=True)
class Repetition:
    """What was said is said again, marked with the run that asked for it; `fresh_versions`: under new versions."""

    run_id: str
    fresh_versions: bool


@dataclass(slots=True)
class _Work:
    """What a transaction knows so far."""

    stored: Mapping[str, StoredInteraction]
    interactions: dict[str, Interaction] = field(default_factory=dict)
    new_reports: list[Report] = field(default_factory=list)
    causes: dict[str, tuple[datetime, str | None]] = field(default_factory=dict)
    """By interaction: recordedtime and trace of what made it be read."""


class Fold:
    """Applies events, and reads interactions again. `tables` opens those of a transaction; `zone` is the company's."""

    def __init__(self, tables: Callable[[asyncpg.Connection], Tables], zone: tzinfo) -> None:
        self._tables = tables
        self._zone = zone

    async def apply(self, connection: asyncpg.Connection, reports: Sequence[Report]) -> None:
        """Apply fresh reports inside the caller's transaction."""
        await self._run(connection, collapse(reports), {})

    async def read_again(self, connection: asyncpg.Connection, ids: Sequence[str], recorded_at: datetime) -> None:
        """Read stored interactions again inside the caller's transaction; what differs is said anew."""
        await self._run(connection, {}, dict.fromkeys(ids, recorded_at))

    async def say_again(
        self, connection: asyncpg.Connection, ids: Sequence[str], recorded_at: datetime, repetition: Repetition
    ) -> int:
        """Say again what was said of stored interactions, tombstones included; return how many attributions that is."""
        return await self._run(connection, {}, dict.fromkeys(ids, recorded_at), repetition)

    async def _run(
        self,
        connection: asyncpg.Connection,
        fresh: Mapping[str, Mapping[str, Report]],
        again: Mapping[str, datetime],
        repetition: Repetition | None = None,
    ) -> int:
        tables = self._tables(connection)
        await tables.share_identities()
        work = await self._assemble(tables, fresh, again)
        if not work.interactions:
            return 0
        readings = await self._read(tables, work)
        grouping = await self._converse(tables, work, readings)
        states = {id_: _state(interaction) for id_, interaction in work.interactions.items()}
        known = [id_ for id_ in readings if _known(work, id_)]
        last = await tables.load_attributions(known) if known else {}
        said = [
            saying
            for id_, reading in readings.items()
            for saying in sayings(
                reading,
                states[id_],
                grouping.summaries.get(id_) or Summary(id_),
                last.get(id_, {}),
                again=repetition is not None,
            )
        ]
        await self._save(tables, work, readings, states, grouping)
        await self._read_others_again(tables, work, readings, grouping)
        await self._publish(tables, work, said, repetition)
        return len(said)

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
            kept = ledger.get(id_, [])
            new = news(fresh.get(id_, {}), kept)
            if not new and not (kept and id_ in again):
                continue
            work.new_reports.extend(new.values())
            if new:
                work.causes[id_] = min((report.recorded_at, report.traceparent) for report in new.values())
            else:
                work.causes[id_] = (again[id_], None)
            earlier = [_event(report) for report in kept if report.event_id not in new]
            work.interactions[id_] = assemble([*earlier, *(report.event for report in new.values())])
        return work

    async def _read(self, tables: Tables, work: _Work) -> dict[str, Reading]:
        """Say of each interaction what it is by itself: what others depend on first."""
        parties = {id_: with_keys(interaction.parties) for id_, interaction in work.interactions.items()}
        keys = {key for keyed in parties.values() for party, known_as in keyed if not party.ours for _, key in known_as}
        directory = await tables.load_directory(keys)
        rules = await tables.load_rules(directory)
        claimed = {id_: row.claimed for id_, row in work.stored.items()}
        missing = {
            parent
            for interaction in work.interactions.values()
            if (parent := parent_of(interaction)) and parent not in claimed
        }
        if missing:
            claimed |= await tables.load_claimed(missing)
        named = {account for id_ in parties for account in _by_hand(work, id_)}
        survivors = await tables.load_survivors(named) if named else {}
        readings: dict[str, Reading] = {}
        for id_, interaction in sorted(work.interactions.items(), key=lambda item: item[1].kind not in ROOTS):
            row = work.stored.get(id_)
            hand = row.hand.through(survivors) if row is not None else NOBODY_DECIDED
            parent = parent_of(interaction)
            readings[id_] = read(
                interaction, parties[id_], hand, directory, rules, claimed.get(parent) if parent else None, self._zone
            )
            claimed[id_] = readings[id_].accounts
        return readings

    async def _converse(self, tables: Tables, work: _Work, readings: Mapping[str, Reading]) -> Regrouping:
        """Put interactions that refer to something, or did, into their conversations."""
        touched = {id_: reading for id_, reading in readings.items() if reading.references or _conversation(work, id_)}
        if not touched:
            return Regrouping({}, {}, {}, {})
        new_id = {id_: _conversation(work, id_) or str(uuid7()) for id_ in touched}
        proposed = {name: new_id[id_] for id_, reading in touched.items() for name in reading.references}
        of_reference = await tables.claim_references(proposed) if proposed else {}
        # What was made just now has no members and is known to nobody: only conversations of others need their lock.
        made = {conversation for id_, conversation in new_id.items() if conversation != _conversation(work, id_)}
        concerned = sorted({*of_reference.values(), *new_id.values()} - made)
        members = []
        if concerned:
            await tables.lock_conversations(concerned)
            members = await tables.load_members(concerned)
        return regroup({id_: reading.member for id_, reading in touched.items()}, members, of_reference, new_id)

    async def _save(
        self,
        tables: Tables,
        work: _Work,
        readings: Mapping[str, Reading],
        states: Mapping[str, Mapping[str, object]],
        grouping: Regrouping,
    ) -> None:
        if work.new_reports:
            await tables.save_reports([_ledger_row(report) for report in work.new_reports])
        rows = [
            InteractionRow(reading, grouping.conversation_of.get(id_), _without_content(states[id_]))
            for id_, reading in readings.items()
        ]
        added = [row for row in rows if row.reading.interaction.id not in work.stored]
        if added:
            await tables.insert_interactions(added)
        if len(added) < len(rows):
            await tables.update_interactions([row for row in rows if row.reading.interaction.id in work.stored])
        if grouping.moved_references:
            await tables.move_references(grouping.moved_references)
        if grouping.moved_members:
            await tables.move_members(grouping.moved_members)
        gone, new = _party_changes(work, readings)
        if gone or new:
            await tables.change_parties(gone, new)

    async def _read_others_again(
        self, tables: Tables, work: _Work, readings: Mapping[str, Reading], grouping: Regrouping
    ) -> None:
        """Leave a job for what now reads differently but is not locked: siblings, children."""
        earliest = min(recorded_at for recorded_at, _ in work.causes.values())
        if grouping.to_read_again:
            await tables.add_job("conversations", grouping.to_read_again, earliest)
        moved = [
            id_
            for id_, reading in readings.items()
            if reading.interaction.kind in ROOTS and id_ in work.stored and work.stored[id_].claimed != reading.accounts
        ]
        if moved:
            await tables.add_job("parents", moved, earliest)

    async def _publish(
        self, tables: Tables, work: _Work, said: Sequence[Saying], repetition: Repetition | None
    ) -> None:
        """Draw versions under the accounts' locks, remember and publish what is said."""
        if not said:
            return
        kept: Mapping[tuple[str, str], int] = {}
        if repetition is not None and not repetition.fresh_versions:
            known = {saying.reading.interaction.id for saying in said if saying.known}
            kept = await tables.load_versions(sorted(known))
        counts: dict[str, int] = {}
        for saying in said:
            # What is said again as it was needs the account's lock too: its record must not overtake a newer one.
            counts[saying.account_id] = counts.get(saying.account_id, 0) + (0 if saying.known and kept else 1)
        versions = await tables.draw_versions(counts)
        nexts = {account: drawn.last - counts[account] for account, drawn in versions.items()}
        run_id = None if repetition is None else repetition.run_id
        rows, messages = [], []
        for saying in said:
            account = saying.account_id
            if saying.known and kept:
                version = kept[saying.reading.interaction.id, account]
            else:
                nexts[account] += 1
                version = nexts[account]
                rows.append(_attribution_row(saying, version))
            cause = work.causes[saying.reading.interaction.id]
            messages.append(_message(saying, version, versions[account].state, cause, run_id))
        if rows:
            await tables.save_attributions(rows)
        await tables.publish(messages)


def _known(work: _Work, id_: str) -> bool:
    row = work.stored.get(id_)
    return row is not None and row.known


def _by_hand(work: _Work, id_: str) -> tuple[str, ...]:
    row = work.stored.get(id_)
    return row.hand.accounts or () if row is not None else ()


def _conversation(work: _Work, id_: str) -> str | None:
    row = work.stored.get(id_)
    return row.conversation_id if row is not None else None


def _parents(fresh: Mapping[str, Mapping[str, Report]]) -> set[str]:
    """Return the roots that fresh reports name as parents."""
    return {
        report.event.parent.id
        for reports in fresh.values()
        for report in reports.values()
        if report.event.parent is not None
        and report.event.parent.kind in ROOTS
        and report.event.interaction.kind not in ROOTS
    }


def _event(report: StoredReport) -> Event:
    """The ledger holds what was decoded once, so it decodes again."""
    return BY_TYPE[report.event_type].model_validate_json(report.body)


def _state(interaction: Interaction) -> dict[str, Any]:
    """JSON types by way of JSON: faster than asking pydantic for them."""
    state: dict[str, Any] = orjson.loads(interaction.model_dump_json(exclude_none=True))
    return state


def _without_content(state: Mapping[str, object]) -> str:
    return orjson.dumps({name: value for name, value in state.items() if name not in _CONTENT}).decode()


def _party_changes(work: _Work, readings: Mapping[str, Reading]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    gone: list[tuple[str, str]] = []
    new: list[tuple[str, str]] = []
    for id_, reading in readings.items():
        row = work.stored.get(id_)
        if row is None or not row.keys:
            new.extend((key, id_) for key in reading.keys)
        elif row.keys != reading.keys:
            before, after = set(row.keys), set(reading.keys)
            gone.extend((key, id_) for key in before - after)
            new.extend((key, id_) for key in after - before)
    return gone, new


def _ledger_row(report: Report) -> LedgerRow:
    event = report.event
    return LedgerRow(
        event_id=event.id,
        interaction_id=event.interaction.id,
        event_type=event.TYPE,
        occurred_at=event.occurred_at,
        revision=event.revision.sort_key,
        source=event.source,
        imported=event.imported,
        recorded_at=report.recorded_at,
        body=report.body,
    )


def _attribution_row(saying: Saying, version: int) -> AttributionRow:
    body = saying.body
    return AttributionRow(
        interaction_id=saying.reading.interaction.id,
        account_id=saying.account_id,
        version=version,
        digest=saying.digest,
        present=body["present"],
        reason=body["reason"],
        touch_class=body.get("touch_class"),
        conversation_id=body["conversation_id"],
        contacts=tuple(sorted({contact["contact_id"] for contact in body["contacts"]})),
        occurred_at=saying.reading.interaction.occurred_at,
    )


def _message(
    saying: Saying, version: int, state_version: int, cause: tuple[datetime, str | None], run_id: str | None
) -> tuple[str, Envelope, bytes]:
    recorded_at, traceparent = cause
    interaction = saying.reading.interaction
    envelope = Envelope(
        id=f"{saying.account_id}.{version}",
        source="/accounts",
        type=Attribution.TYPE,
        subject=interaction.id,
        time=interaction.occurred_at,
        recordedtime=recorded_at,
        traceparent=traceparent,
        republished=run_id,
    )
    return saying.account_id, envelope, with_versions(saying.content, version, state_version)
