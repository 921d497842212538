"""What edits mean for the oracle: dated statements about who is who."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal


@dataclass(frozen=True, slots=True)
class LinkSaid:
    """From `since` (None: always) until before `until`, an identity names what `account` or `contact` says.

    `how` is `assign` (free days only), `correction` (nobody else ever), `move` (from `since` on), `end` (from `since`
    on nobody) or `erase` (never was the holder's).
    """

    kind: str
    value: str
    account: str | None
    contact: str | None
    how: Literal["assign", "correction", "move", "end", "erase"]
    since: date | None = None


@dataclass(frozen=True, slots=True)
class ServingSaid:
    """A contact is at an account: at first, from a day on (`move`), or always (`correction`)."""

    contact: str
    account: str
    how: Literal["new", "move", "correction"]
    since: date | None = None


@dataclass(frozen=True, slots=True)
class OwnerSaid:
    """An account's owner from a day on."""

    account: str
    owner: str
    since: date


@dataclass(frozen=True, slots=True)
class KeySaid:
    """An account is named key, or no longer, from a day on."""

    account: str
    named: bool
    since: date


@dataclass(frozen=True, slots=True)
class ClassSaid:
    """An account's class."""

    account: str
    account_class: Literal["A", "B", "C"]


@dataclass(frozen=True, slots=True)
class AttributionSaid:
    """By hand: the interaction concerns these accounts (empty: nobody's); None: as the rules say."""

    interaction: str
    accounts: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class TouchClassSaid:
    """By hand: a touch is of this class."""

    interaction: str
    touch_class: str


@dataclass(frozen=True, slots=True)
class Merged:
    """Two accounts are one from now on, in all of their past; `undone`: they are two again."""

    account: str
    into: str
    undone: bool = False


Statement = LinkSaid | ServingSaid | OwnerSaid | KeySaid | ClassSaid | AttributionSaid | TouchClassSaid | Merged
