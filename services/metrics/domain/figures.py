"""From an account's state to the values that are published and shown."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple, get_args

import orjson

from contracts.accounts import GroupRole
from contracts.envelope import format_instant
from services.metrics.domain.numbers import EXACT, money
from services.metrics.domain.state import AccountState, Hours
from services.metrics.domain.windows import ADDITIVE, ORDERS, WINDOWS, Sums

ROLES: tuple[str, ...] = get_args(GroupRole)
"""Bit number ↔ role."""
_BEFORE_HOURS, _AFTER_HOURS = (
    ("touches_out", "touches_in", "support_requests", "tickets_opened"),
    ("tickets_resolved", "orders"),
)
_HOURS = ("resolution_hours_mean", "resolution_hours_median", "resolution_hours_p90")
_ALL = Decimal("100.0000")
_NONE = Decimal("0.0000")


class Figure(NamedTuple):
    """One KPI over one window and over the one before it. Values are canonical (see `numbers`)."""

    kpi: str
    window: int
    currency: str | None
    value: int | Decimal | None
    previous: int | Decimal | None

    @property
    def change(self) -> int | Decimal | None:
        """The value minus the previous one."""
        if self.value is None or self.previous is None:
            return None
        if isinstance(self.value, int) and isinstance(self.previous, int):
            return self.value - self.previous
        difference = EXACT.subtract(Decimal(self.value), Decimal(self.previous))
        return money(difference) if self.kpi == "net_revenue" else difference


def figures(
    sums: Sums, hours: Sequence[Hours | None], rates: Sequence[Decimal | None], currency: str
) -> Iterator[Figure]:
    """Yield every KPI and window in a fixed order; `currency` is that of a revenue of nothing."""
    for name in _BEFORE_HOURS:
        yield from _counts(sums, name)
    for place, name in enumerate(_HOURS):
        for window_place, window in enumerate(WINDOWS):
            now, before = hours[2 * window_place], hours[2 * window_place + 1]
            yield Figure(name, window, None, now and now[place], before and before[place])
    for name in _AFTER_HOURS:
        yield from _counts(sums, name)
    yield from _revenue(sums, currency)
    for window_place, window in enumerate(WINDOWS):
        yield Figure("repeat_purchase_rate", window, None, rates[2 * window_place], rates[2 * window_place + 1])


def _counts(sums: Sums, name: str) -> Iterator[Figure]:
    metric = ADDITIVE.index(name)
    for window in WINDOWS:
        now = sums.count(metric, window)
        yield Figure(name, window, None, now, sums.count(metric, 2 * window) - now)


def _revenue(sums: Sums, default: str) -> Iterator[Figure]:
    listed = sorted(currency for currency, amounts in sums.money.items() if any(amounts))
    for currency in listed or [default]:
        for window in WINDOWS:
            now = sums.amount(currency, window)
            before = EXACT.subtract(sums.amount(currency, 2 * window), now)
            yield Figure("net_revenue", window, currency, money(now), money(before))


def repeat_rates(sums: Sums, first_order: date | None) -> list[Decimal | None]:
    """Return, per window and the one before it, 100 when the account placed an order that is not its first, else 0.

    None: it placed no order.
    """
    rates: list[Decimal | None] = []
    for window in WINDOWS:
        now = sums.count(ORDERS, window)
        for orders, end in (
            (now, sums.as_of),
            (sums.count(ORDERS, 2 * window) - now, sums.as_of - timedelta(days=window)),
        ):
            first = first_order is not None and end - timedelta(days=window) < first_order <= end
            rates.append(None if not orders else _ALL if orders > first else _NONE)
    return rates


def of_account(state: AccountState) -> Iterator[Figure]:
    """Yield the figures of one account."""
    return figures(state.sums, state.hours, repeat_rates(state.sums, state.rhythm.first_day), state.currency)


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
    values = ",".join(_value(figure, state) for figure in of_account(state))
    parts = [f'"account_version":{state.account_version},"values":[{values}],', *_profile(state)]
    body = "".join(parts).encode()
    return body, blake2b(_undated(body, state), digest_size=16).digest()


def _profile(state: AccountState) -> Iterator[str]:
    yield f'"last_touches":[{",".join(_touches(state))}],'
    yield f'"open_items":{orjson.dumps([_item(item) for item in state.items]).decode()},"order_rhythm":{_rhythm(state)}'
    if (norm := state.tickets_norm) is not None:
        yield f',"tickets_norm_30d":"{norm}"'
    if (since := state.history_since) is not None:
        yield f',"history_since":"{since.isoformat()}"'


def envelope_of(state: AccountState, body: bytes, computed_at: datetime) -> bytes:
    """Return the value of a record of type AccountKpis: `body` of `content` with what it is about and when."""
    head = (
        f'{{"account_id":"{state.account_id}","version":{state.version},"as_of_day":"{state.sums.as_of.isoformat()}",'
        f'"computed_at":"{format_instant(computed_at)}",'
    )
    return head.encode() + body + b"}"


def _undated(body: bytes, state: AccountState) -> bytes:
    # The path to the evidence names the day; by itself that is no news.
    return body.replace(f"&as_of={state.sums.as_of.isoformat()}".encode(), b"")


def _value(figure: Figure, state: AccountState) -> str:
    kpi, window, currency, value, previous = figure
    text = f'{{"kpi":"{kpi}","window":{window}'
    if currency is not None:
        text += f',"currency":"{currency}"'
    if value is not None:
        text += f',"value":"{value}"'
    else:
        text += ',"value":null'
    text += ',"previous":null' if previous is None else f',"previous":"{previous}"'
    change = figure.change
    text += ',"change":null' if change is None else f',"change":"{change}"'
    if kpi == "tickets_opened" and value:
        ids = '","'.join(state.opened[WINDOWS.index(window)])
        query = evidence_query(state.account_id, kpi, window, state.sums.as_of)
        text += f',"evidence":{{"count":{value},"interaction_ids":["{ids}"],"query":"{query}"}}'
    return text + "}"


def _touches(state: AccountState) -> Iterable[str]:
    for (sort, touch_class, bit), touch in sorted(
        state.touches.items(), key=lambda entry: (entry[0][0], entry[0][1], -1 if entry[0][2] is None else entry[0][2])
    ):
        role = "" if bit is None else f',"role":"{ROLES[bit]}"'
        yield (
            f'{{"sort":"{sort}","touch_class":"{touch_class}"{role},"at":"{format_instant(touch.at)}",'
            f'"interaction_id":"{touch.interaction_id}"}}'
        )


def _item(item: tuple[object, ...]) -> dict[str, object]:
    names = ("kind", "interaction_id", "source_kind", "since", "contact_id", "priority")
    shown = {name: value for name, value in zip(names, item, strict=True) if value is not None}
    if isinstance(since := shown["since"], datetime):
        shown["since"] = format_instant(since)
    return shown


def _rhythm(state: AccountState) -> str:
    rhythm = state.rhythm
    text = f'{{"orders":{rhythm.orders},"gaps":{rhythm.gaps}'
    if rhythm.last_at is not None:
        text += f',"last_order_at":"{format_instant(rhythm.last_at)}","last_order_id":"{rhythm.last_id}"'
    if rhythm.p90_gap_days is not None:
        text += f',"p90_gap_days":"{rhythm.p90_gap_days}"'
    return text + "}"
