"""Additive figures: day buckets, and running sums over windows that end with `as_of`.

Sums are kept for each length in LENGTHS, all ending on the same day, so that a window and the one before it are
differences of two of them, and a new event costs the same whatever the history.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import zip_longest

from services.metrics.domain.facts import ORDER, SUPPORT_REQUEST, TICKET_OPENED, TOUCH_IN, TOUCH_OUT, Fact
from services.metrics.domain.numbers import add

ADDITIVE = ("touches_out", "touches_in", "support_requests", "tickets_opened", "tickets_resolved", "orders")
"""Places in a bucket's counts."""

WINDOWS = (7, 30, 90, 365)
NORM_DAYS = 365
"""The year before the 30-day window, over which an account's own norm of tickets is taken."""
LENGTHS = (7, 14, 30, 60, 90, 180, 365, 395, 730)
"""Each window, each window with the one before it, and the 30 days with the year before them."""

_N = len(LENGTHS)
_SPANS = tuple(timedelta(days=length) for length in LENGTHS)
_PLACE = {length: place for place, length in enumerate(LENGTHS)}
_BITS = ((TOUCH_OUT, 0), (TOUCH_IN, 1), (SUPPORT_REQUEST, 2), (TICKET_OPENED, 3), (ORDER, 5))
_RESOLVED = 4
TICKETS, ORDERS = 3, 5


@dataclass(slots=True)
class Bucket:
    """One account's (or roll-up's) day: counts in the order of ADDITIVE, money by currency."""

    counts: list[int] = field(default_factory=lambda: [0] * len(ADDITIVE))
    money: dict[str, Decimal] = field(default_factory=dict)

    def add(self, other: "Bucket") -> None:
        """Add what another bucket holds."""
        self.counts = [mine + theirs for mine, theirs in zip_longest(self.counts, other.counts, fillvalue=0)]
        for currency, amount in other.money.items():
            self.money[currency] = add(self.money.get(currency, Decimal(0)), amount)

    @property
    def empty(self) -> bool:
        """Whether it changes nothing."""
        return not any(self.counts) and not any(self.money.values())


def padded(counts: list[int], size: int) -> list[int]:
    """Return counts with zeros for the figures that were added since they were written; a later version has more."""
    return counts if len(counts) >= size else [*counts, *[0] * (size - len(counts))]


def contribute(buckets: dict[date, Bucket], fact: Fact, sign: int) -> None:
    """Add `fact` (sign 1) to the buckets of its days, or take it away (sign -1)."""
    if fact.day is not None and (fact.effects or fact.amount is not None):
        if (bucket := buckets.get(fact.day)) is None:
            bucket = buckets[fact.day] = Bucket()
        for bit, place in _BITS if (effects := fact.effects) else ():
            if effects & bit:
                bucket.counts[place] += sign
        if fact.amount is not None and fact.currency is not None and not fact.voided:
            bucket.money[fact.currency] = add(bucket.money.get(fact.currency, Decimal(0)), _signed(fact.amount, sign))
    if fact.resolved_on is not None:
        buckets.setdefault(fact.resolved_on, Bucket()).counts[_RESOLVED] += sign


def _signed(amount: Decimal, sign: int) -> Decimal:
    # Not `sign * amount`: arithmetic of Decimal rounds to the context's precision.
    return amount if sign > 0 else amount.copy_negate()


class Sums:
    """Running sums of one account: `counts[place · len(LENGTHS) + length's place]`, money by currency and length."""

    __slots__ = ("as_of", "counts", "money")

    def __init__(
        self, as_of: date, counts: list[int] | None = None, money: dict[str, list[Decimal]] | None = None
    ) -> None:
        self.as_of = as_of
        self.counts = padded(counts or [], len(ADDITIVE) * _N)
        self.money = money if money is not None else {}

    def include(self, day: date, bucket: Bucket) -> None:
        """Add a change of one day's bucket to every sum whose window holds the day."""
        age = (self.as_of - day).days
        first = 0 if age < 0 else bisect_right(LENGTHS, age)
        if age < 0 or first == _N:
            return
        counts = self.counts
        for metric, count in enumerate(bucket.counts):
            if count:
                begin, end = metric * _N + first, (metric + 1) * _N
                counts[begin:end] = [one + count for one in counts[begin:end]]
        for currency, amount in bucket.money.items():
            if amount:
                if (sums := self.money.get(currency)) is None:
                    sums = self.money[currency] = [Decimal(0)] * _N
                before, after = None, amount
                for place in range(first, _N):
                    if sums[place] is not before:  # mostly the same money lies in several windows
                        before = sums[place]
                        after = add(before, amount)
                    sums[place] = after

    def _change(self, place: int, bucket: Bucket, sign: int) -> None:
        for metric, count in enumerate(bucket.counts):
            if count:
                self.counts[metric * _N + place] += sign * count
        for currency, amount in bucket.money.items():
            if amount:
                sums = self.money.setdefault(currency, [Decimal(0)] * _N)
                sums[place] = add(sums[place], _signed(amount, sign))

    def slide(self, day: date, buckets: Mapping[date, Bucket]) -> None:
        """Move the end forward to `day`; `buckets` holds those of `edges(as_of, day)` that exist."""
        for entered in _days(self.as_of, day):
            bucket = buckets.get(entered)
            if bucket is not None:
                for place in range(_N):
                    self._change(place, bucket, 1)
        for place, length in enumerate(LENGTHS):
            span = timedelta(days=length)
            for left in _days(self.as_of - span, day - span):
                bucket = buckets.get(left)
                if bucket is not None:
                    self._change(place, bucket, -1)
        self.as_of = day

    def count(self, metric: int, length: int) -> int:
        """Return the count of the days of the last `length` days."""
        return self.counts[metric * _N + _PLACE[length]]

    def amount(self, currency: str, length: int) -> Decimal:
        """Return the money of the last `length` days."""
        sums = self.money.get(currency)
        return Decimal(0) if sums is None else sums[_PLACE[length]]


def _days(after: date, until: date) -> Iterator[date]:
    for offset in range(1, (until - after).days + 1):
        yield after + timedelta(days=offset)


def edges(as_of: date, day: date) -> set[date]:
    """Return the days whose buckets enter or leave some sum when the end moves from `as_of` to `day`."""
    moved = set(_days(as_of, day))
    for length in LENGTHS:
        span = timedelta(days=length)
        moved.update(_days(as_of - span, day - span))
    return moved


def next_change(day: date, as_of: date) -> date | None:
    """Return the first day after `as_of` on which a bucket of `day` enters or leaves some sum; None: never again."""
    age = (as_of - day).days
    if age < 0:
        return day
    place = bisect_right(LENGTHS, age)
    return None if place == _N else day + _SPANS[place]


def summed(buckets: Iterable[tuple[date, Bucket]], as_of: date) -> Sums:
    """Return the sums of all `buckets`, from scratch."""
    sums = Sums(as_of)
    for day, bucket in buckets:
        sums.include(day, bucket)
    return sums
