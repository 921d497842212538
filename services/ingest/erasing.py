"""Forgets people in what calendars said about meetings that lie ahead, and for a while after.

Whoever erases a person asks ingest for it by its API: topics lead one way, away from here. The same again changes
nothing, so who is not sure asks again.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

import asyncpg

from contracts.codec import encode
from contracts.events import MeetingHeld
from contracts.identities import mailbox_of
from contracts.values import Party
from services.ingest import store_planned as store
from services.ingest.domain.meetings import Planned, Series, State
from services.ingest.sources.icalendar_lines import without_people
from services.runtime.postgres import acquire, transaction

_CHUNK = 200


class Eraser:
    """Works on ingest's database, UID by UID, under the same locks as the planner."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def erase(self, addresses: Collection[str]) -> int:
        """Forget those who are known by `addresses`, normalised; return in how many meetings or series they stood.

        Raises the database's faults; what is done by then stays done.
        """
        mailboxes = frozenset(mailbox_of(address) for address in addresses)
        touched, after = 0, ""
        while True:
            async with acquire(self._pool) as connection:
                uids = await store.uids_after(connection, after, _CHUNK)
            for uid in uids:
                async with transaction(self._pool) as connection:
                    touched += await self._erase(connection, uid, mailboxes)
            if len(uids) < _CHUNK:
                return touched
            after = uids[-1]

    async def _erase(self, connection: asyncpg.Connection, uid: str, mailboxes: Collection[str]) -> bool:
        stored = await store.lock_series(connection, uid)
        series = without(stored.series, mailboxes)
        rows = await store.load_meetings(connection, uid)
        changed, gone = [], []
        for instance, row in rows.items():
            left = _meeting_without(row, mailboxes)
            if left is None:
                gone.append(instance)
            elif left != row:
                changed.append(left)
        if series == stored.series and not changed and not gone:
            return False
        await store.save_words(connection, series)
        await store.save_meetings(connection, uid, changed)
        await store.delete_meetings(connection, uid, gone)
        return True


def without(series: Series, mailboxes: Collection[str]) -> Series:
    """Return what is known of a UID without those of `mailboxes`; equal where it names none of them."""
    words = {}
    for name, word in series.words.items():
        theirs = word.organiser is not None and mailbox_of(word.organiser) in mailboxes
        organiser = None if theirs else word.organiser
        words[name] = replace(word, body=without_people(word.body, mailboxes), organiser=organiser)
    answers: dict[str, Mapping[str, tuple[int, str]]] = {
        instance: {address: said for address, said in given.items() if mailbox_of(address) not in mailboxes}
        for instance, given in series.answers.items()
    }
    return replace(series, words=words, answers=answers)


def _meeting_without(row: Planned, mailboxes: Collection[str]) -> Planned | None:
    """Return a meeting without those people; None where nobody of theirs is left who could be met."""
    event = MeetingHeld.model_validate_json(row.report)
    parties = tuple(party for party in event.parties if not _is_one_of(party, mailboxes))
    if len(parties) == len(event.parties):
        return row
    if row.state is State.PLANNED and all(party.ours for party in parties):
        return None
    return replace(row, report=encode(event.model_copy(update={"parties": parties, "title": None, "text": None})))


def _is_one_of(party: Party, mailboxes: Collection[str]) -> bool:
    return any(one.kind == "address" and mailbox_of(one.value) in mailboxes for one in party.identities)
