"""What a transaction changes about one account, collected fact by fact before anything is written."""

from dataclasses import dataclass, field
from datetime import date, datetime

from services.metrics.domain.days import CompanyDays
from services.metrics.domain.facts import TICKET_OPENED, Fact, roles_on
from services.metrics.domain.rhythm import OrderChange
from services.metrics.domain.state import AccountState, TouchKey
from services.metrics.domain.touches import include, withdraw
from services.metrics.domain.windows import Bucket, contribute, next_change


@dataclass(slots=True)
class AccountChange:
    """Changes of one account; the flags say what must be read again from the slim rows once they are written."""

    state: AccountState
    facts: dict[str, Fact] = field(default_factory=dict)
    """To be written, by interaction."""
    buckets: dict[date, Bucket] = field(default_factory=dict)
    """What is added to the days' buckets."""
    paired_since: datetime | None = None
    """From when on answers must be derived again; None: not at all."""
    lost_touches: set[TouchKey] = field(default_factory=set)
    touches_again: bool = False
    items_again: bool = False
    tickets_again: bool = False
    since_again: bool = False
    slid: bool = False
    ordered: list[tuple[Fact | None, Fact]] = field(default_factory=list)
    """Orders that were met, as they were and as they are."""
    order_days: dict[date, bool] = field(default_factory=dict)
    """Days up to that of the sums that got their first order (True) or lost their last (False)."""
    orders_added: int = 0
    rhythm_again: bool = False
    """The rhythm of orders must be computed from scratch."""

    def meet(self, old: Fact | None, new: Fact, days: CompanyDays) -> None:
        """Take note of a newer version of an interaction; what derives from its neighbours follows in `settle`."""
        self.facts[new.interaction_id] = new
        for fact in (new,) if old is None else (old, new):
            if fact.side is not None and (self.paired_since is None or fact.at < self.paired_since):
                self.paired_since = fact.at
        first = days.day(new.at)
        if old is not None and old.present and self.state.since == days.day(old.at):
            self.since_again = self.since_again or not new.present or first > self.state.since
        if new.present and (self.state.since is None or first < self.state.since):
            self.state.since = first
        if new.present and first > self.state.sums.as_of:
            self.state.future = True
            self.wake(first)

    def settle(self, old: Fact | None, new: Fact) -> None:
        """Move the figures from `old` to `new`, both complete."""
        self.facts[new.interaction_id] = new
        if old is None or _counted(old) != _counted(new):
            if old is not None:
                contribute(self.buckets, old, -1)
            contribute(self.buckets, new, 1)
        if new.kind == "order" or (old is not None and old.kind == "order"):
            self.ordered.append((old, new))
        if old is not None:
            self.lost_touches |= withdraw(self.state.touches, old)
        include(self.state.touches, new, self.state.sums.as_of)
        for fact in (new,) if old is None else (old, new):
            self.items_again = self.items_again or fact.question or bool(fact.effects & TICKET_OPENED)
            self.tickets_again = self.tickets_again or fact.kind == "ticket"
            for day in (fact.day, fact.resolved_on):
                if day is not None and day > self.state.sums.as_of:
                    self.state.future = True
                    self.wake(day)

    def note_orders(self, day: date, had: int, has: int) -> None:
        """Take note of how many orders a day had and has."""
        if day <= self.state.sums.as_of:
            self.orders_added += has - had
            if (had > 0) != (has > 0):
                self.order_days[day] = has > 0

    def order_change(self) -> OrderChange:
        """Return what became of the orders."""
        return OrderChange(self.orders_added, self.order_days, self.ordered)

    def slide(self, *, moved: bool) -> None:
        """Take note that the state's sums were moved to a later day; `moved`: some bucket entered or left a sum."""
        self.slid = True
        again = self.state.future
        self.tickets_again = self.tickets_again or moved or again
        self.touches_again = self.touches_again or again
        self.items_again = self.items_again or again
        self.rhythm_again = self.rhythm_again or again

    def include_sums(self) -> None:
        """Bring the running sums and the due day up to date with the collected buckets."""
        for day, bucket in self.buckets.items():
            self.state.sums.include(day, bucket)
            self.wake(next_change(day, self.state.sums.as_of))

    def wake(self, day: date | None) -> None:
        """See to it that the account is looked at again on `day` at the latest."""
        if day is not None and (self.state.due is None or day < self.state.due):
            self.state.due = day


def _counted(fact: Fact) -> tuple[object, ...]:
    return fact.day, fact.effects, fact.resolved_on, fact.amount, fact.currency, fact.voided


def with_roles(fact: Fact, state: AccountState) -> Fact:
    """Return `fact` with the roles that its contacts had on its day."""
    if not fact.contacts or not state.roles:
        return fact if not fact.roles else fact._replace(roles=0)
    return fact._replace(roles=roles_on(state.roles, fact.contacts, fact.day))
