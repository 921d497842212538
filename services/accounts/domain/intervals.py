"""Edits of what is dated. Every function returns the new history, sorted; the old one is left as it was."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Generic, TypeVar

from services.accounts.domain.matching import Link, Serving

V = TypeVar("V")

FOREVER = date(1990, 1, 1)
"""The first day of what always was so."""


@dataclass(frozen=True, slots=True)
class Interval(Generic[V]):
    """`value` held from `since` until before `until` (None: still does)."""

    value: V
    since: date
    until: date | None = None

    def holds_on(self, day: date) -> bool:
        """Say whether it held on `day`."""
        return self.since <= day and (self.until is None or day < self.until)


def change(history: Sequence[Interval[V]], value: V | None, since: date) -> list[Interval[V]]:
    """Let `value` hold from `since` on, and nothing else from then (one value at a time); None: nothing holds.

    What the history says already is left alone, later entries included: the same statement twice changes nothing.
    """
    if value is not None and any(entry.value == value and entry.since == since for entry in history):
        return list(history)
    kept = [_ended(entry, since) for entry in sorted(history, key=lambda entry: entry.since) if entry.since < since]
    if value is None:
        return kept
    if kept and kept[-1].value == value and kept[-1].until == since:
        return [*kept[:-1], replace(kept[-1], until=None)]
    return [*kept, Interval(value, since)]


def correct(value: V | None, since: date) -> list[Interval[V]]:
    """Replace the whole history: it was never otherwise."""
    return [] if value is None else [Interval(value, since)]


def include(history: Sequence[Interval[V]], value: V, since: date, until: date | None = None) -> list[Interval[V]]:
    """Let `value` hold beside others (a team has many members); an interval that says so already is left alone.

    With an end, this is what is known of these days; without one, what holds on the first day goes on, and stays what
    it was before.
    """
    of_value = [entry for entry in history if entry.value == value]
    if any(entry.since == since and entry.until == until for entry in of_value):
        return list(history)
    if until is None:
        held = [entry for entry in of_value if entry.holds_on(since)]
        if any(entry.until is None for entry in held):
            return list(history)
        since = min([since, *(entry.since for entry in held)])
    others = [entry for entry in history if entry.value != value or not _meet(entry.since, entry.until, since, until)]
    return sorted([*others, Interval(value, since, until)], key=lambda entry: entry.since)


def exclude(history: Sequence[Interval[V]], value: V, until: date) -> list[Interval[V]]:
    """Let `value` no longer hold from `until` on; others are left alone."""
    kept = [entry if entry.value != value else _ended(entry, until) for entry in history]
    return [entry for entry in kept if entry.until is None or entry.since < entry.until]


def _ended(entry: Interval[V], day: date) -> Interval[V]:
    return replace(entry, until=day) if entry.until is None or entry.until > day else entry


def _meet(since: date, until: date | None, other_since: date, other_until: date | None) -> bool:
    return (other_until is None or since < other_until) and (until is None or other_since < until)


class Taken(ValueError):
    """The identity names somebody else; an edit must say whether that was wrong or has changed."""

    def __init__(self, holder: Link) -> None:
        super().__init__("names somebody else already")
        self.holder = holder


def assign(links: Sequence[Link], to: Link) -> list[Link]:
    """Let an identity name what `to` names during its days; raise `Taken` where it names somebody else then.

    An identity that names the same already, on those days or more, is left alone.
    """
    overlapping = [link for link in links if _overlap(link, to)]
    for link in overlapping:
        if _target(link) != _target(to):
            raise Taken(link)
    if any(_covers(link, to) for link in overlapping):
        return list(links)
    joined = to
    for link in overlapping:
        joined = Link(
            to.account_id, to.contact_id, _earlier(joined.since, link.since), _later(joined.until, link.until)
        )
    return _sorted([*(link for link in links if link not in overlapping), joined])


def correct_link(to: Link) -> list[Link]:
    """A correction: the identity never named anybody else, and the past moves with it."""
    return [to]


def move_link(links: Sequence[Link], to: Link, since: date) -> list[Link]:
    """A move: from `since` on the identity names what `to` names; what happened before stays where it is."""
    return _sorted([*end_link(links, since), Link(to.account_id, to.contact_id, since, None)])


def end_link(links: Sequence[Link], day: date) -> list[Link]:
    """Let an identity name nobody from `day` on."""
    kept = [link for link in links if link.since is None or link.since < day]
    return [
        Link(
            link.account_id, link.contact_id, link.since, day if link.until is None or link.until > day else link.until
        )
        for link in kept
    ]


def move_contact(servings: Sequence[Serving], account_id: str, since: date) -> list[Serving]:
    """A contact changes accounts on `since`: the primary one ends, what happened before stays there."""
    if any(serving.account_id == account_id and serving.since == since for serving in servings):
        return list(servings)
    kept = []
    for serving in servings:
        if serving.primary and serving.since >= since:
            continue
        ends = serving.primary and (serving.until is None or serving.until > since)
        kept.append(replace(serving, until=since) if ends else serving)
    kept = [serving for serving in kept if serving.account_id != account_id or serving.until is not None]
    return [*kept, Serving(account_id, since)]


def _target(link: Link) -> tuple[str | None, str | None]:
    return link.account_id, link.contact_id


def _overlap(one: Link, other: Link) -> bool:
    return _meet(one.since or date.min, one.until, other.since or date.min, other.until)


def _covers(one: Link, other: Link) -> bool:
    begins = one.since is None or (other.since is not None and one.since <= other.since)
    return begins and (one.until is None or (other.until is not None and other.until <= one.until))


def _earlier(one: date | None, other: date | None) -> date | None:
    return None if one is None or other is None else min(one, other)


def _later(one: date | None, other: date | None) -> date | None:
    return None if one is None or other is None else max(one, other)


def _sorted(links: Sequence[Link]) -> list[Link]:
    return sorted(links, key=lambda link: link.since or date.min)
