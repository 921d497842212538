"""A made-up company of many accounts, and its orders: every one distinct, so that each has an effect.

Account and conversation numbers run from 0. What an account is known by and what its orders cost follow from the
numbers, so that a check can say what must come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import orjson

from contracts.accounts import Account
from contracts.activity import Attribution
from contracts.codec import encode, event_envelope
from contracts.details import OrderDetail
from contracts.envelope import Envelope
from contracts.events import OrderPlaced
from contracts.events.order import OrderLine
from contracts.ids import derive_id, digest
from contracts.standins import encode_sorted, stand_in
from contracts.values import (
    Authority,
    Dated,
    Entry,
    Identity,
    InteractionKey,
    Kind,
    Money,
    Party,
    Reference,
    Revision,
)
from tests.bench.stream import Outgoing

SYSTEM = "shop:bench"
SOURCE = "bench"
CURRENCY = "EUR"
HOT = 0
"""The account that half of the orders of a hot workload belong to."""
LAST_MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORDED = datetime(2026, 3, 1, 18, tzinfo=UTC)
FIRST_VERSION = 1 << 40
NOTHING = Decimal("0.00")
_DAYS = 60
_LATE_EVERY = 20
_LATE_BY_AT_MOST = 250  # days


@dataclass(frozen=True, slots=True)
class Order:
    """One order: whose, in which conversation, when, how much."""

    number: int
    account: int
    conversation: int  # of the account
    placed_at: datetime

    @property
    def net(self) -> Decimal:
        """In CURRENCY."""
        return Decimal(1000 + self.number * 37 % 9000) / 100


def orders(count: int, *, accounts: int, conversations: int, hot: bool = False, late: bool = False) -> Iterator[Order]:
    """Orders spread evenly, in the order in which they were placed.

    `hot` gives every second one to account HOT; of a `late` workload 5 % come weeks or months after they were placed.
    """
    step = timedelta(days=_DAYS) / count
    for number in range(count):
        if hot and number % 2:
            account, conversation = HOT, number // 2 % (conversations // 2)
        else:
            account, conversation = number * 7919 % accounts, number // accounts % (conversations // accounts)
        placed_at = LAST_MOMENT - step * (count - number)
        if late and number % _LATE_EVERY == 0:
            placed_at -= timedelta(days=20 + number // _LATE_EVERY % _LATE_BY_AT_MOST)
        yield Order(number, account, conversation, placed_at.replace(microsecond=0))


def organisation(account: int) -> str:
    """The customer id by which the shop knows an account."""
    return f"{SYSTEM}:customer-{account}"


def event_of(order: Order) -> OrderPlaced:
    """The report of an order, about as large as a shop's."""
    native_id = f"order-{order.number}"
    placed = order.placed_at
    return OrderPlaced(
        interaction=InteractionKey(kind=Kind.ORDER, system=SYSTEM, native_id=native_id),
        report=f"placed-{order.number}",
        revision=Revision(
            authority=Authority.LIVE, order=int(placed.timestamp() * 1_000_000), digest=digest(native_id.encode())
        ),
        source=SOURCE,
        occurred_at=placed,
        parties=(
            Party(
                role="customer",
                identities=(Identity(kind="organisation", value=organisation(order.account)),),
                name=f"Customer {order.account}",
            ),
        ),
        references=(Reference(kind="thread", value=f"{SYSTEM}:{order.account}-{order.conversation}"),),
        net=Money(amount=order.net, currency=CURRENCY),
        lines=(OrderLine(product="sensor-40", quantity=Decimal(2), amount=order.net),),
    )


def record_of(order: Order) -> Outgoing:
    """The record on `tenure.interactions`, keyed by the interaction."""
    event = event_of(order)
    return Outgoing(event.interaction.id.encode(), encode(event), event_envelope(event, RECORDED).headers())


def account_id(account: int) -> str:
    """The id of an account where a bench may choose it."""
    return derive_id("bench", "account", str(account))


def account_record(account: int) -> Outgoing:
    """The record on `tenure.accounts`: as it is before any order."""
    state = Account(
        account_id=account_id(account),
        version=FIRST_VERSION,
        name=f"Customer {account}",
        created_at=LAST_MOMENT - timedelta(days=400),
        account_class="B",
        currency=CURRENCY,
        history_complete_at=LAST_MOMENT - timedelta(days=399),
        owners=(Dated(value=derive_id("bench", "user", str(account % 50)), since=date(2025, 1, 1)),),
    )
    envelope = Envelope(
        id=derive_id("bench", "account-state", str(account)),
        source="/accounts",
        type=Account.TYPE,
        subject=state.account_id,
        time=state.created_at,
        recordedtime=RECORDED,
    )
    return Outgoing(f"account:{state.account_id}".encode(), encode(state), envelope.headers())


def attribution_of(order: Order) -> Attribution:
    """What accounts says about an order. Versions of one account rise with the order's number."""
    event = event_of(order)
    return Attribution(
        account_id=account_id(order.account),
        interaction_id=event.interaction.id,
        version=FIRST_VERSION + 1 + order.number,
        present=True,
        kind=Kind.ORDER,
        occurred_at=order.placed_at,
        imported=False,
        sources=(SOURCE,),
        reason="organisation",
        conversation_id=derive_id("bench", "conversation", str(order.account), str(order.conversation)),
        entries=(Entry(kind="placed", at=order.placed_at),),
        account_version=FIRST_VERSION,
        detail=OrderDetail(placed_at=order.placed_at, net=event.net, lines=event.lines or ()),
    )


def attribution_envelope(order: Order, attribution: Attribution) -> Envelope:
    """The attributes under which accounts publishes it."""
    return Envelope(
        id=derive_id("bench", "attribution", str(order.number)),
        source="/accounts",
        type=Attribution.TYPE,
        subject=attribution.interaction_id,
        time=order.placed_at,
        recordedtime=RECORDED,
    )


def attribution_record(order: Order) -> Outgoing:
    """The record on `tenure.activity`, keyed by the account."""
    attribution = attribution_of(order)
    envelope = attribution_envelope(order, attribution)
    # as accounts writes it: members in the order of their names
    return Outgoing(attribution.account_id.encode(), encode_sorted(stand_in(attribution)), envelope.headers())


def money_in(value: bytes) -> Decimal:
    """The net amount of an order's report."""
    return Decimal(orjson.loads(value)["net"]["amount"])
