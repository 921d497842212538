"""What the fold over interactions asks of its tables. `store` provides it; nothing else knows SQL.

Every method works inside the transaction that the tables were opened for, with one statement per call.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from contracts.envelope import Envelope
from contracts.events import Event
from contracts.values import RevisionOrder
from services.accounts.domain.conversations import Member
from services.accounts.domain.matching import Directory
from services.accounts.domain.reading import Hand, Reading, Rules


class StoredInteraction(Struct, frozen=True, gc=False):
    """An interaction as it was left; `known` False: only a place kept for a parent that nobody has reported yet."""

    id: str
    known: bool
    conversation_id: str | None
    references: tuple[str, ...]
    keys: tuple[str, ...]
    claimed: tuple[str, ...]
    hand: Hand
    occurred_at: datetime | None = None
    """None of a place."""
    ticket: bool = False
    """Whether it was a ticket that stands."""
    support_request: bool = False

    @property
    def member(self) -> Member:
        """What it meant to its conversation."""
        assert self.occurred_at is not None  # noqa: S101 - only what is known is in a conversation
        return Member(
            self.id, self.occurred_at, self.references, self.ticket, self.support_request, accounts=self.claimed
        )


class StoredReport(Struct, frozen=True, gc=False):
    """One event of the ledger; `body` is its JSON."""

    event_id: str
    interaction_id: str
    event_type: str
    revision: RevisionOrder
    body: bytes


class Report(Struct, frozen=True, gc=False):
    """An event as it came. `body` is its JSON, `recorded_at` the clock's time at which ingest accepted it."""

    event: Event
    body: bytes
    recorded_at: datetime
    traceparent: str | None
    interaction_id: str
    event_id: str


class InteractionRow(Struct, frozen=True, gc=False):
    """An interaction to be left as it is now; `state` is its JSON without text."""

    reading: Reading
    conversation_id: str | None
    state: str


class StoredAttribution(Struct, frozen=True, gc=False):
    """What was last said about an interaction to an account."""

    version: int
    digest: bytes
    present: bool
    reason: str


class AttributionRow(Struct, frozen=True, gc=False):
    """What is said now; `content` are the canonical bytes without versions."""

    interaction_id: str
    account_id: str
    version: int
    digest: bytes
    present: bool
    reason: str
    touch_class: str | None
    conversation_id: str
    contacts: tuple[str, ...]
    occurred_at: datetime


class Versions(Struct, frozen=True, gc=False):
    """The last version drawn for an account, and the one under which the account itself was last published."""

    last: int
    state: int


class Tables(Protocol):
    """The tables of one open transaction."""

    async def share_identities(self) -> None:
        """Lock identities against edits; other batches may share the lock."""
        ...

    async def keep_places(self, ids: Sequence[str]) -> None:
        """Make sure that each of `ids` (sorted) has a row, so that it can be locked."""
        ...

    async def lock_interactions(self, ids: Sequence[str]) -> dict[str, StoredInteraction]:
        """Lock and return those of `ids` (sorted) that exist."""
        ...

    async def load_reports(self, ids: Sequence[str]) -> list[StoredReport]:
        """Return everything reported about the interactions `ids`."""
        ...

    async def load_claimed(self, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return by interaction the accounts whose it is."""
        ...

    async def load_survivors(self, accounts: Collection[str]) -> dict[str, str]:
        """Return, for those of `accounts` that were merged into another, the account that stayed."""
        ...

    async def load_directory(self, keys: Collection[str]) -> Directory:
        """Return who is known under `keys`, and all users of ours."""
        ...

    async def load_rules(self, directory: Directory) -> Rules:
        """Return the rules in order, and the roles of the directory's contacts."""
        ...

    async def claim_references(self, proposed: Mapping[str, str]) -> dict[str, str]:
        """Return, and lock, the conversation of every reference; those without one get the proposed."""
        ...

    async def lock_conversations(self, ids: Sequence[str]) -> None:
        """Lock conversations (sorted), creating those that do not exist."""
        ...

    async def load_members(self, ids: Sequence[str]) -> list[tuple[str, Member]]:
        """Return (conversation, member) of everything in the conversations `ids`."""
        ...

    async def load_outlines(self, ids: Sequence[str], without: Sequence[str]) -> dict[str, list[Member]]:
        """Return, by conversation, its first and last member, and its tickets and calls for help, apart from some."""
        ...

    async def move_references(self, moved: Mapping[str, str]) -> None:
        """Set the conversation of references."""
        ...

    async def move_members(self, moved: Mapping[str, str]) -> None:
        """Set the conversation of interactions that are not being read now."""
        ...

    async def load_attributions(self, ids: Sequence[str]) -> dict[str, dict[str, StoredAttribution]]:
        """Return by interaction and account what was last said."""
        ...

    async def save_reports(self, rows: Sequence[Report], fresh: Collection[str]) -> None:
        """Keep events; of one event the greatest revision stays. `fresh`: interactions that have none yet."""
        ...

    async def insert_interactions(self, rows: Sequence[InteractionRow]) -> None:
        """Add interactions that were not there; a transient error when one has come meanwhile."""
        ...

    async def update_interactions(self, rows: Sequence[InteractionRow]) -> None:
        """Overwrite interactions that are locked."""
        ...

    async def change_parties(
        self, gone: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]], fresh: Sequence[tuple[str, str]]
    ) -> None:
        """Update the index of parties: pairs of (key, interaction id); `fresh`: of interactions that had none."""
        ...

    async def draw_versions(self, counts: Mapping[str, int]) -> dict[str, Versions]:
        """Lock accounts in order and draw so many versions of each."""
        ...

    async def save_attributions(self, rows: Sequence[AttributionRow], fresh: Collection[str]) -> None:
        """Remember what is said now. `fresh`: interactions of which nothing was said before."""
        ...

    async def add_job(self, selector: str, selected: Sequence[str], recorded_at: datetime) -> None:
        """Have interactions read again in transactions of their own."""
        ...

    async def publish(self, messages: Sequence[tuple[str, Envelope, bytes]]) -> None:
        """Say attributions: (account, envelope, value) in order, while the accounts are locked."""
        ...
