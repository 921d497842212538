"""From an account's state to the bytes that are published.

Written by hand where most of the time goes: nearly every record changes some account, and each state has 44 values.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import orjson

from contracts.envelope import format_instant
from services.metrics.domain.facts import ROLES
from services.metrics.domain.figures import Figure, currencies, hour_figures, repeat_rates, revenue_figures
from services.metrics.domain.numbers import EXACT, NOTHING, money
from services.metrics.domain.state import AccountState, Item, Touch, TouchKey
from services.metrics.domain.windows import ADDITIVE, LENGTHS, WINDOWS, Sums

_MONEY_PLACES = tuple((window, LENGTHS.index(window), LENGTHS.index(2 * window)) for window in WINDOWS)
_written = lru_cache(maxsize=64)(format_instant)
"""For moments that many states of a batch have in common."""


class _Cell(NamedTuple):
    """A count over one window: the text before its value, the text of nothing, the places of its sums."""

    head: str
    nothing: str
    now: int
    both: int
    kpi: str
    window_place: int


class _Row(NamedTuple):
    """A count over every window: its cells, the text of all of them where nothing was counted, its sums' places."""

    cells: tuple[_Cell, ...]
    nothing: str
    begin: int
    end: int


def evidence_query(account_id: str, kpi: str, window: int, as_of: date) -> str:
    """Return path and query on the metrics API that lists the interactions behind a value."""
    return f"/v1/accounts/{account_id}/evidence?kpi={kpi}&window={window}&as_of={as_of.isoformat()}"


def profile(state: AccountState) -> dict[str, object]:
    """Return what is known beside the values, as JSON values."""
    known: dict[str, object] = orjson.loads("{" + "".join(_profile(state)) + "}")
    return known


def content(state: AccountState) -> tuple[bytes, bytes]:
    """Return (the JSON members of AccountKpis that say something about the account, their digest).

    Left out are the version and the moments of computation: a state is published only when what it says differs.
    """
    parts = [f'"account_version":{state.account_version},"values":[{",".join(_values(state))}],', *_profile(state)]
    body = "".join(parts).encode()
    return body, blake2b(_undated(body, state), digest_size=16).digest()


def _profile(state: AccountState) -> Iterator[str]:
    yield f'"last_touches":[{",".join(_touches(state))}],'
    items = orjson.dumps([_item(item) for item in state.items]).decode() if state.items else "[]"
    yield f'"open_items":{items},"order_rhythm":{_rhythm(state)}'
    if (norm := state.tickets_norm) is not None:
        yield f',"tickets_norm_30d":"{norm}"'
    if (since := state.history_since) is not None:
        yield f',"history_since":"{since.isoformat()}"'


def envelope_of(state: AccountState, body: bytes, computed_at: datetime) -> bytes:
    """Return the value of a record of type AccountKpis: `body` of `content` with what it is about and when."""
    head = (
        f'{{"account_id":"{state.account_id}","version":{state.version},"as_of_day":"{state.sums.as_of.isoformat()}",'
        f'"computed_at":"{_written(computed_at)}",'
    )
    return head.encode() + body + b"}"


def _undated(body: bytes, state: AccountState) -> bytes:
    # The path to the evidence names the day; by itself that is no news.
    return body.replace(f"&as_of={state.sums.as_of.isoformat()}".encode(), b"")


def _values(state: AccountState) -> Iterator[str]:
    counts = state.sums.counts
    for row in _BEFORE_HOURS:
        yield _counts(row, counts, state)
    if any(state.hours):
        yield from map(text, hour_figures(state.hours))
    else:
        yield _NO_HOURS
    for row in _AFTER_HOURS:
        yield _counts(row, counts, state)
    if listed := currencies(state.sums) if state.sums.money else []:
        for currency in listed:
            yield from _revenue(currency, state.sums.money[currency])
    else:
        yield _no_revenue(state.currency)
    rates = repeat_rates(state.sums, state.rhythm.first_day)
    for place, window in enumerate(WINDOWS):
        yield _rate(window, rates[2 * place], rates[2 * place + 1])


def _counts(row: _Row, counts: list[int], state: AccountState) -> str:
    if not any(counts[row.begin : row.end]):
        return row.nothing
    return ",".join([_count(cell, counts, state) for cell in row.cells])


def _count(cell: _Cell, counts: list[int], state: AccountState) -> str:
    both = counts[cell.both]
    if not both:
        return cell.nothing
    now = counts[cell.now]
    shown = f'{cell.head}{now}","previous":"{both - now}","change":"{2 * now - both}"'
    if now and cell.kpi == "tickets_opened":
        ids = '","'.join(state.opened[cell.window_place])
        query = evidence_query(state.account_id, cell.kpi, WINDOWS[cell.window_place], state.sums.as_of)
        return f'{shown},"evidence":{{"count":{now},"interaction_ids":["{ids}"],"query":"{query}"}}}}'
    return shown + "}"


def _revenue(currency: str, amounts: Sequence[Decimal]) -> Iterator[str]:
    last: tuple[Decimal, Decimal] | None = None
    told = ""
    for window, now_place, both_place in _MONEY_PLACES:
        pair = amounts[now_place], amounts[both_place]
        if pair != last:  # mostly the same money lies in several windows
            told, last = _amounts(*pair), pair
        yield f'{{"kpi":"net_revenue","window":{window},"currency":"{currency}",{told}}}'


def _amounts(now: Decimal, both: Decimal) -> str:
    if now == both:
        shown = money(now)
        return f'"value":"{shown}","previous":"{NOTHING}","change":"{shown}"'
    before = EXACT.subtract(both, now)
    return f'"value":"{money(now)}","previous":"{money(before)}","change":"{money(EXACT.subtract(now, before))}"'


def text(figure: Figure) -> str:
    """Return a value as JSON, without evidence."""
    currency = "" if figure.currency is None else f',"currency":"{figure.currency}"'
    told = f'{{"kpi":"{figure.kpi}","window":{figure.window}{currency}'
    for name, value in (("value", figure.value), ("previous", figure.previous), ("change", figure.change)):
        if value is not None:
            told += f',"{name}":"{value}"'
    return told + "}"


@lru_cache(maxsize=64)
def _rate(window: int, now: Decimal | None, before: Decimal | None) -> str:
    return text(Figure("repeat_purchase_rate", window, None, now, before))


@lru_cache(maxsize=256)
def _no_revenue(currency: str) -> str:
    return ",".join(map(text, revenue_figures(Sums(date.min), currency)))


_NO_HOURS = ",".join(map(text, hour_figures([None] * (2 * len(WINDOWS)))))


def _row(name: str) -> _Row:
    begin = ADDITIVE.index(name) * len(LENGTHS)
    cells = tuple(
        _Cell(
            f'{{"kpi":"{name}","window":{window},"value":"',
            text(Figure(name, window, None, 0, 0)),
            begin + LENGTHS.index(window),
            begin + LENGTHS.index(2 * window),
            name,
            place,
        )
        for place, window in enumerate(WINDOWS)
    )
    return _Row(cells, ",".join(cell.nothing for cell in cells), begin, begin + len(LENGTHS))


_BEFORE_HOURS = tuple(map(_row, ("touches_out", "touches_in", "support_requests", "tickets_opened")))
_AFTER_HOURS = tuple(map(_row, ("tickets_resolved", "orders")))


def _touch_order(entry: tuple[TouchKey, Touch]) -> tuple[str, str, int]:
    sort, touch_class, bit = entry[0]
    return sort, touch_class, -1 if bit is None else bit


def _touches(state: AccountState) -> Iterator[str]:
    for (sort, touch_class, bit), touch in sorted(state.touches.items(), key=_touch_order):
        role = "" if bit is None else f',"role":"{ROLES[bit]}"'
        yield (
            f'{{"sort":"{sort}","touch_class":"{touch_class}"{role},"at":"{format_instant(touch.at)}",'
            f'"interaction_id":"{touch.interaction_id}"}}'
        )


def _item(item: Item) -> dict[str, object]:
    shown: dict[str, object] = item._asdict() | {"since": format_instant(item.since)}
    return {name: value for name, value in shown.items() if value is not None}


def _rhythm(state: AccountState) -> str:
    rhythm = state.rhythm
    text = f'{{"orders":{rhythm.orders},"gaps":{rhythm.gaps}'
    if rhythm.last_at is not None:
        text += f',"last_order_at":"{format_instant(rhythm.last_at)}","last_order_id":"{rhythm.last_id}"'
    if rhythm.p90_gap_days is not None:
        text += f',"p90_gap_days":"{rhythm.p90_gap_days}"'
    return text + "}"
