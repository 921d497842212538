"""The tables of accounts in memory, for properties over thousands of histories."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from contracts.envelope import Envelope
from contracts.events import Event
from services.accounts.domain.conversations import Member
from services.accounts.domain.matching import Directory
from services.accounts.domain.ports import (
    AttributionRow,
    InteractionRow,
    Report,
    StoredAttribution,
    StoredInteraction,
    StoredReport,
    Versions,
)
from services.accounts.domain.reading import NOBODY_DECIDED, Hand, Rules
from services.accounts.handlers.fold import Fold, Repetition
from tests.unit.accounts.events import MONDAY, report


@dataclass
class MemoryTables:
    """`domain.ports.Tables` over dictionaries; one transaction at a time, so there is nothing to lock."""

    directory: Directory = field(default_factory=Directory)
    rules: Rules = field(default_factory=Rules)
    ledger: dict[str, Report] = field(default_factory=dict)
    interactions: dict[str, InteractionRow | None] = field(default_factory=dict)
    conversations: dict[str, str] = field(default_factory=dict)
    hands: dict[str, Hand] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    attributions: dict[tuple[str, str], AttributionRow] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    jobs: list[tuple[str, list[str], datetime]] = field(default_factory=list)
    said: list[tuple[str, Envelope, bytes]] = field(default_factory=list)

    async def share_identities(self) -> None:
        """Nobody edits meanwhile."""

    async def keep_places(self, ids: Sequence[str]) -> None:
        """Adds what is missing."""
        for id_ in ids:
            self.interactions.setdefault(id_, None)

    async def lock_interactions(self, ids: Sequence[str]) -> dict[str, StoredInteraction]:
        """Returns what is there."""
        return {id_: self._stored(id_) for id_ in ids if id_ in self.interactions}

    def _stored(self, id_: str) -> StoredInteraction:
        row = self.interactions[id_]
        hand = self.hands.get(id_, NOBODY_DECIDED)
        if row is None:
            return StoredInteraction(
                id_, known=False, conversation_id=None, references=(), keys=(), claimed=(), hand=hand
            )
        reading = row.reading
        return StoredInteraction(
            id_,
            known=True,
            conversation_id=self.conversations.get(id_),
            references=reading.references,
            keys=reading.keys,
            claimed=reading.accounts,
            hand=hand,
            occurred_at=reading.interaction.occurred_at,
            ticket=reading.member.ticket,
            support_request=reading.support_request,
        )

    async def load_reports(self, ids: Sequence[str]) -> list[StoredReport]:
        """Scans the ledger."""
        wanted = set(ids)
        return [
            StoredReport(row.event_id, row.interaction_id, row.event.TYPE, row.event.revision.sort_key, row.body)
            for row in self.ledger.values()
            if row.interaction_id in wanted
        ]

    async def load_claimed(self, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Reads claims."""
        return {id_: row.reading.accounts for id_ in ids if (row := self.interactions.get(id_)) is not None}

    async def load_survivors(self, accounts: Collection[str]) -> dict[str, str]:  # noqa: ARG002 - nobody merges here
        """Every account stands for itself."""
        return {}

    async def load_directory(self, keys: Collection[str]) -> Directory:
        """The directory, as far as it was asked for: what is not asked for must not be needed."""
        return replace(
            self.directory, links={key: self.directory.links[key] for key in keys if key in self.directory.links}
        )

    async def load_rules(self, directory: Directory) -> Rules:  # noqa: ARG002 - the rules of a test know no roles
        """The rules."""
        return self.rules

    async def claim_references(self, proposed: Mapping[str, str]) -> dict[str, str]:
        """Takes the proposals where there is nothing."""
        return {name: self.references.setdefault(name, conversation) for name, conversation in proposed.items()}

    async def lock_conversations(self, ids: Sequence[str]) -> None:
        """Nothing to lock."""

    async def load_members(self, ids: Sequence[str]) -> list[tuple[str, Member]]:
        """Scans the interactions."""
        rows = [
            (id_, row)
            for id_, row in self.interactions.items()
            if row is not None and self.conversations.get(id_) in set(ids)
        ]
        return [(self.conversations[id_], row.reading.member) for id_, row in rows]

    async def load_outlines(self, ids: Sequence[str], without: Sequence[str]) -> dict[str, list[Member]]:
        """Sorts the members."""
        outlines: dict[str, list[Member]] = {}
        for conversation, member in await self.load_members(ids):
            if member.id not in set(without):
                outlines.setdefault(conversation, []).append(member)
        for members in outlines.values():
            members.sort(key=lambda member: (member.occurred_at, member.id))
            members[:] = [
                member
                for place, member in enumerate(members)
                if place in {0, len(members) - 1} or member.ticket or member.support_request
            ]
        return outlines

    async def move_references(self, moved: Mapping[str, str]) -> None:
        """Sets them."""
        self.references.update(moved)

    async def move_members(self, moved: Mapping[str, str]) -> None:
        """Sets them."""
        self.conversations.update(moved)

    async def load_attributions(self, ids: Sequence[str]) -> dict[str, dict[str, StoredAttribution]]:
        """Scans what was said."""
        loaded: dict[str, dict[str, StoredAttribution]] = {}
        for (interaction, account), row in self.attributions.items():
            if interaction in set(ids):
                loaded.setdefault(interaction, {})[account] = StoredAttribution(
                    row.version, row.digest, row.present, row.reason
                )
        return loaded

    async def save_reports(self, rows: Sequence[Report], fresh: Collection[str]) -> None:
        """The greatest revision stays."""
        for row in rows:
            known = self.ledger.get(row.event_id)
            assert known is None or row.interaction_id not in fresh
            assert known is None or known.event.revision.sort_key < row.event.revision.sort_key
            self.ledger[row.event_id] = row

    async def insert_interactions(self, rows: Sequence[InteractionRow]) -> None:
        """Adds them."""
        assert not any(row.reading.interaction.id in self.interactions for row in rows)
        await self.update_interactions(rows)

    async def update_interactions(self, rows: Sequence[InteractionRow]) -> None:
        """Overwrites them."""
        for row in rows:
            id_ = row.reading.interaction.id
            self.interactions[id_] = row
            self.conversations.pop(id_, None)
            if row.conversation_id is not None:
                self.conversations[id_] = row.conversation_id

    async def change_parties(
        self, gone: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]], fresh: Sequence[tuple[str, str]]
    ) -> None:
        """Found by scanning."""

    async def draw_versions(self, counts: Mapping[str, int]) -> dict[str, Versions]:
        """Counts up."""
        for account, count in counts.items():
            self.versions[account] = self.versions.get(account, 0) + count
        return {account: Versions(self.versions[account], 0) for account in counts}

    async def save_attributions(self, rows: Sequence[AttributionRow], fresh: Collection[str]) -> None:
        """Versions only grow."""
        for row in rows:
            known = self.attributions.get((row.interaction_id, row.account_id))
            assert known is None or row.interaction_id not in fresh
            assert known is None or known.version < row.version
            self.attributions[row.interaction_id, row.account_id] = row

    async def add_job(self, selector: str, selected: Sequence[str], recorded_at: datetime) -> None:
        """To be run by `MemoryOffice`."""
        self.jobs.append((selector, list(selected), recorded_at))

    async def publish(self, messages: Sequence[tuple[str, Envelope, bytes]]) -> None:
        """What readers see."""
        self.said.extend(messages)

    def selected(self, selector: str, selected: Sequence[str]) -> list[str]:
        """What a job reads again."""
        known = {id_: row for id_, row in self.interactions.items() if row is not None}
        match selector:
            case "conversations":
                return sorted(id_ for id_ in known if self.conversations.get(id_) in selected)
            case "parents":
                return sorted(id_ for id_, row in known.items() if row.reading.parent_id in selected)
            case "identities":
                return sorted(id_ for id_, row in known.items() if set(row.reading.keys) & set(selected))
            case _:
                return sorted(known)


class MemoryOffice:
    """Delivers batches in memory and folds what is said as a reader would."""

    def __init__(self, zone: ZoneInfo, directory: Directory, rules: Rules | None = None) -> None:
        self.tables = MemoryTables(directory, rules or Rules())
        self._fold = Fold(lambda _: self.tables, zone)
        self.jobs_run = 0

    async def receive(self, *events: Event, jobs: bool = True) -> None:
        """One batch, then the jobs that it left."""
        await self._fold.apply(None, [report(one) for one in events])  # type: ignore[arg-type]
        if jobs:
            await self.run_jobs()

    async def edit(self, directory: Directory, keys: Sequence[str]) -> None:
        """Identities change."""
        self.tables.directory = directory
        await self.tables.add_job("identities", keys, MONDAY)

    async def repeat(self) -> None:
        """Everything that was said, again."""
        ids = sorted({interaction for interaction, _ in self.tables.attributions})
        await self._fold.say_again(None, ids, MONDAY, Repetition("run", fresh_versions=False))  # type: ignore[arg-type]

    async def run_jobs(self) -> None:
        """Everything that is left, a few interactions at a time."""
        while self.tables.jobs:
            selector, selected, recorded_at = self.tables.jobs.pop(0)
            ids = self.tables.selected(selector, selected)
            for start in range(0, len(ids), 2):
                await self._fold.read_again(None, ids[start : start + 2], recorded_at)  # type: ignore[arg-type]
            self.jobs_run += 1
            assert self.jobs_run < 1000, "jobs cause one another without an end"

    def standing(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What stands, versions apart."""
        known: dict[tuple[str, str], dict[str, Any]] = {}
        for account, _, value in self.tables.said:
            body = orjson.loads(value)
            key = (account, body["interaction_id"])
            assert key not in known or known[key]["version"] < body["version"]
            known[key] = body
        stands = copy.deepcopy({key: body for key, body in known.items() if body["present"]})
        for body in stands.values():
            del body["version"], body["account_version"]
        return stands
