"""Two interactions that look like one: reported by systems that know nothing of each other, so under different ids.

The rules are cheap and say why. Nothing is ever merged by them: a person decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from contracts.interactions import Interaction
from contracts.values import Kind

WINDOWS: Mapping[Kind, timedelta] = {
    Kind.MAIL: timedelta(minutes=10),
    Kind.CALL: timedelta(minutes=2),
    Kind.MEETING: timedelta(minutes=5),
    Kind.CHAT: timedelta(minutes=2),
    Kind.TICKET: timedelta(hours=12),
    Kind.ORDER: timedelta(days=2),
    Kind.REFUND: timedelta(days=2),
    Kind.INVOICE: timedelta(days=2),
    Kind.CONTRACT: timedelta(days=2),
    Kind.SURVEY: timedelta(days=1),
    Kind.USAGE: timedelta(days=1),
    Kind.PROGRAMME: timedelta(days=1),
}
"""By kind, how far apart two may lie; kinds that are not named are never suspected."""
_SAME_MOMENT = timedelta(seconds=2)
_PEOPLE = frozenset({"address", "phone", "person"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One of the two, with what it is compared by."""

    interaction: Interaction

    @property
    def system(self) -> str:
        """Who knows it under its id."""
        return self.interaction.key.system

    @property
    def at(self) -> datetime:
        """When it happened."""
        return self.interaction.occurred_at

    @property
    def detail(self) -> Any:
        """What it is, by its kind."""
        return self.interaction.detail

    @property
    def people(self) -> frozenset[tuple[str, str]]:
        """Whom of theirs it names, by what every system would know them."""
        return frozenset(
            (identity.kind, identity.value)
            for party in self.interaction.parties
            if not party.ours
            for identity in party.identities
            if identity.kind in _PEOPLE
        )

    @property
    def title(self) -> str:
        """Its title without regard to case and blanks; "" where it has none or it may not be shown."""
        return " ".join((self.interaction.title or "").casefold().split())


def suspicion(one: Seen, other: Seen) -> Sequence[str]:
    """Return why two interactions of one account look like one; nothing when they do not."""
    kind = one.interaction.kind
    apart = abs(one.at - other.at)
    if kind is not other.interaction.kind or kind not in WINDOWS or apart > WINDOWS[kind]:
        return ()
    if one.interaction.id == other.interaction.id or (one.system == other.system and kind not in _ONE_SYSTEM):
        return ()
    reasons = _RULES[kind](one, other)
    if not reasons:
        return ()
    systems = () if one.system == other.system else (f"known to {one.system} and to {other.system}",)
    return (*reasons, _apart(apart), *systems)


_ONE_SYSTEM = frozenset({Kind.MAIL, Kind.MEETING})
"""Mail and meetings have no system of their own: whoever reports them speaks of the same one."""


def _mail(one: Seen, other: Seen) -> Sequence[str]:
    """A copy that a mailing service wrote anew has another id, and the same subject and people."""
    if one.detail.direction != other.detail.direction or not one.people or one.people != other.people:
        return ()
    if one.title and one.title == other.title:
        return ("the same subject", "the same people")
    hidden = not one.title or not other.title
    return ("the same people",) if hidden and abs(one.at - other.at) <= _SAME_MOMENT else ()


def _call(one: Seen, other: Seen) -> Sequence[str]:
    same_way = one.detail.direction == other.detail.direction
    return ("the same number", "the same direction") if same_way and one.people & other.people else ()


def _meeting(one: Seen, other: Seen) -> Sequence[str]:
    if not one.people & other.people:
        return ()
    return ("a participant in common", *(["the same title"] if one.title and one.title == other.title else []))


def _titled(one: Seen, other: Seen) -> Sequence[str]:
    same = one.title and one.title == other.title and one.people & other.people
    return ("the same title", "the same person") if same else ()


def _chat(one: Seen, other: Seen) -> Sequence[str]:
    same = one.detail.direction == other.detail.direction and one.people and one.people == other.people
    return ("the same people", "the same direction") if same else ()


def _money(*fields: str) -> Callable[[Seen, Seen], Sequence[str]]:
    """Return the rule for what is known by its amount; the first of `fields` that both state counts."""

    def rule(one: Seen, other: Seen) -> Sequence[str]:
        for field in fields:
            first, second = getattr(one.detail, field, None), getattr(other.detail, field, None)
            if first is None or second is None:
                continue
            amount = _amount(first)
            if amount and amount == _amount(second) and first.currency == second.currency:
                return (f"the same amount, {amount.normalize():f} {first.currency}",)
            return ()
        return ()

    return rule


def _amount(money: Any) -> Decimal | None:
    try:
        return Decimal(money.amount)
    except (InvalidOperation, TypeError):
        return None


def _equal(*fields: str, someone: bool) -> Callable[[Seen, Seen], Sequence[str]]:
    """Return the rule for what is known by its fields, and, with `someone`, by a person in common."""

    def rule(one: Seen, other: Seen) -> Sequence[str]:
        if any(getattr(one.detail, field, None) != getattr(other.detail, field, None) for field in fields):
            return ()
        if someone and not one.people & other.people:
            return ()
        same = tuple(f"the same {field.replace('_', ' ')}" for field in fields)
        return (*same, "the same person") if someone else same

    return rule


_RULES: Mapping[Kind, Callable[[Seen, Seen], Sequence[str]]] = {
    Kind.MAIL: _mail,
    Kind.CALL: _call,
    Kind.MEETING: _meeting,
    Kind.CHAT: _chat,
    Kind.TICKET: _titled,
    Kind.ORDER: _money("net"),
    Kind.REFUND: _money("refunded"),
    Kind.INVOICE: _money("owed"),
    Kind.CONTRACT: _money("recurring", "value"),
    Kind.SURVEY: _equal("survey", "score", someone=True),
    Kind.USAGE: _equal("product", "on", someone=False),
    Kind.PROGRAMME: _equal("programme", someone=True),
}


def _apart(apart: timedelta) -> str:
    seconds = int(apart.total_seconds())
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} apart"
    return f"{seconds} seconds apart" if seconds else "at the same moment"
