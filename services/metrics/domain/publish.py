"""From an account's state to the bytes that are published.

Written by hand where most of the time goes: nearly every record changes some account, and each state has 44 values.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b

import orjson

from contracts.envelope import format_instant
from services.metrics.domain.facts import ROLES
from services.metrics.domain.figures import Figure, currencies, hour_figures, revenue_figures
from services.metrics.domain.numbers import EXACT, money
from services.metrics.domain.state import AccountState, Item, Touch, TouchKey
from services.metrics.domain.windows import ADDITIVE, LENGTHS, WINDOWS, Sums

_written = lru_cache(maxsize=64)(format_instant)
"""For moments that many states of a batch have in common."""


Shown = tuple[int, int, int, int, int, int, int, int, int, int, int, int]
"""For each window: how many, how many in the one before it, and how many more."""


def evidence_query(account_id: str, kpi: str, window: int, as_of: date) -> str:
    """Return path and query on the metrics API that lists the interactions behind a value."""
    return f"/v1/accounts/{account_id}/evidence?kpi={kpi}&window={window}&as_of={as_of.isoformat()}"


def profile(state: AccountState) -> dict[str, object]:
    """Return what is known beside the values, as JSON values."""
    known: dict[str, object] = orjson.loads("{" + _profile(state) + "}")
    return known


def content(state: AccountState) -> tuple[bytes, bytes]:
    """Return (the JSON members of AccountKpis that say something about the account, their digest).

    Left out are the version and the moments of computation: a state is published only when what it says differs.
    """
    body = f'"account_version":{state.account_version},"values":[{_values(state)}],{_profile(state)}'.encode()
    return body, blake2b(_undated(body, state), digest_size=16).digest()


def _profile(state: AccountState) -> str:
    touches = ",".join(_touches(state)) if state.touches else ""
    items = orjson.dumps([_item(item) for item in state.items]).decode() if state.items else "[]"
    told = f'"last_touches":[{touches}],"open_items":{items},"order_rhythm":{_rhythm(state)}'
    if (norm := state.tickets_norm) is not None:
        told += f',"tickets_norm_30d":"{norm}"'
    if (since := state.history_since) is not None:
        told += f',"history_since":"{since.isoformat()}"'
    return told


def envelope_of(state: AccountState, body: bytes, computed_at: datetime) -> bytes:
    """Return the value of a record of type AccountKpis: `body` of `content` with what it is about and when."""
    head = (
        f'{{"account_id":"{state.account_id}","version":{state.version},"as_of_day":"{state.sums.as_of.isoformat()}",'
        f'"computed_at":"{_written(computed_at)}",'
    )
    return head.encode() + body + b"}"


def _undated(body: bytes, state: AccountState) -> bytes:
    # The path to the evidence names the day; by itself that is no news.
    if not state.sums.counts[_TICKETS_BEGIN + _N - 1]:
        return body
    return body.replace(f"&as_of={state.sums.as_of.isoformat()}".encode(), b"")


def _values(state: AccountState) -> str:
    """Return all values with a comma after each but the last; what nothing happened to is text already."""
    counts, money_of = state.sums.counts, state.sums.money
    if not any(state.hours) and not any(counts[:_ORDERS_BEGIN]):
        service = _NO_SERVICE
    else:
        hours = "".join([text(one) + "," for one in hour_figures(state.hours)])
        before = "".join([row % _shown(counts, place) for row, place in _TOUCHED])
        opened = _tickets_opened(counts, state)
        service = f"{before}{opened}{hours}{_RESOLVED % _shown(counts, _RESOLVED_BEGIN)}"
    listed = currencies(state.sums) if money_of else ()
    revenue = "".join([_revenue(currency, money_of[currency]) for currency in listed]) or _no_revenue(state.currency)
    return f"{service}{_ORDERS % _shown(counts, _ORDERS_BEGIN)}{revenue}{_rates(state)}"


def _shown(counts: list[int], begin: int) -> Shown:
    """Return what is said of a metric whose sums begin at `begin`; they lie in the order of LENGTHS."""
    week, weeks, month, months, quarter, quarters, year, _, years = counts[begin : begin + _N]
    if not years:  # it holds all others
        return _NOTHING_SHOWN
    return (
        *(week, weeks - week, 2 * week - weeks, month, months - month, 2 * month - months),
        *(quarter, quarters - quarter, 2 * quarter - quarters, year, years - year, 2 * year - years),
    )


def _tickets_opened(counts: list[int], state: AccountState) -> str:
    """Return the tickets opened, each count with the interactions that it rests on."""
    shown = _shown(counts, _TICKETS_BEGIN)
    if shown is _NOTHING_SHOWN:
        return _TICKETS % shown
    told = ""
    for place, window in enumerate(WINDOWS):
        told += _COUNT % ("tickets_opened", window, *shown[3 * place : 3 * place + 3])
        if now := shown[3 * place]:
            ids = '","'.join(state.opened[place])
            query = evidence_query(state.account_id, "tickets_opened", window, state.sums.as_of)
            told += f',"evidence":{{"count":{now},"interaction_ids":["{ids}"],"query":"{query}"}}'
        told += "},"
    return told


def _revenue(currency: str, amounts: Sequence[Decimal]) -> str:
    week, weeks, month, months, quarter, quarters, year, _, years = amounts
    # mostly the same money lies in several windows
    last = _amounts(week, weeks)
    told = [last]
    for now, both, same in (
        (month, months, month is week and months is weeks),
        (quarter, quarters, quarter is month and quarters is months),
        (year, years, year is quarter and years is quarters),
    ):
        if not same:
            last = _amounts(now, both)
        told.append(last)
    return _REVENUE % (currency, told[0], currency, told[1], currency, told[2], currency, told[3])


def _amounts(now: Decimal, both: Decimal) -> str:
    if now is both or now == both:
        return _MONEY % (shown := _exact(now), "0.00", shown)
    if not now:
        return _MONEY % ("0.00", _exact(both), _exact(both.copy_negate()))
    before = EXACT.subtract(both, now)
    return _MONEY % (_exact(now), _exact(before), _exact(EXACT.subtract(now, before)))


def _exact(amount: Decimal) -> str:
    """Return what `money` says, as text."""
    told = str(amount)
    return told if told[-3:-2] == "." and amount else str(money(amount))


def text(figure: Figure) -> str:
    """Return a value as JSON, without evidence."""
    currency = "" if figure.currency is None else f',"currency":"{figure.currency}"'
    told = f'{{"kpi":"{figure.kpi}","window":{figure.window}{currency}'
    for name, value in (("value", figure.value), ("previous", figure.previous), ("change", figure.change)):
        if value is not None:
            told += f',"{name}":"{value}"'
    return told + "}"


@lru_cache(maxsize=256)
def _no_revenue(currency: str) -> str:
    return "".join([text(figure) + "," for figure in revenue_figures(Sums(date.min), currency)])


def _rates(state: AccountState) -> str:
    """Return what `repeat_rates` says: which of three things it says of each window, and of the one before it."""
    sums, first = state.sums.counts[_ORDERS_BEGIN : _ORDERS_BEGIN + _N], state.rhythm.first_day
    age = -1 if first is None else (state.sums.as_of - first).days
    told = []
    for window, now_place, both_place, texts in _RATES:
        both = sums[both_place]
        now = sums[now_place] if both else 0
        before = both - now
        told.append(
            texts[
                3 * (now and 1 + (now > (0 <= age < window))) + (before and 1 + (before > (window <= age < 2 * window)))
            ]
        )
    return ",".join(told)


_N = len(LENGTHS)
_NOTHING_SHOWN: Shown = (0,) * 12
_COUNT = '{"kpi":"%s","window":%d,"value":"%d","previous":"%d","change":"%d"'
_MONEY = '"value":"%s","previous":"%s","change":"%s"'
_REVENUE = "".join(f'{{"kpi":"net_revenue","window":{window},"currency":"%s",%s}},' for window in WINDOWS)


def _row(name: str) -> tuple[str, int]:
    """Return the text of a metric's counts over every window, with places for `_shown`, and where its sums begin."""
    cells = (f'{{"kpi":"{name}","window":{window},"value":"%d","previous":"%d","change":"%d"}},' for window in WINDOWS)
    return "".join(cells), ADDITIVE.index(name) * _N


_TOUCHED = tuple(map(_row, ("touches_out", "touches_in", "support_requests")))
_TICKETS, _TICKETS_BEGIN = _row("tickets_opened")
_RESOLVED, _RESOLVED_BEGIN = _row("tickets_resolved")
_ORDERS, _ORDERS_BEGIN = _row("orders")
_NO_SERVICE = "".join(
    [
        *(row % _NOTHING_SHOWN for row, _ in _TOUCHED),
        _TICKETS % _NOTHING_SHOWN,
        *(text(figure) + "," for figure in hour_figures([None] * (2 * len(WINDOWS)))),
        _RESOLVED % _NOTHING_SHOWN,
    ]
)
"""For whoever only orders."""
_THREE = (None, Decimal("0.0000"), Decimal("100.0000"))
"""A rate where nothing was ordered, only the first order, more than that."""
_RATES = tuple(
    (
        window,
        LENGTHS.index(window),
        LENGTHS.index(2 * window),
        tuple(text(Figure("repeat_purchase_rate", window, None, now, before)) for now in _THREE for before in _THREE),
    )
    for window in WINDOWS
)


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
        text += f',"p90_gap_days":"{rhythm.p90_gap_days!s}"'
    return text + "}"
