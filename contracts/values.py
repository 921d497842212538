"""Small frozen values that every contract is made of."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from contracts.currencies import CURRENCIES
from contracts.ids import interaction_id

V = TypeVar("V")


class Model(BaseModel):
    """A frozen value. Readers ignore fields that they do not know, so that writers may add some within a version."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, ser_json_inf_nan="constants")


# PostgreSQL can store no NUL in text; what it cannot store is refused where it enters.
_NO_NUL = r"^[^\x00]*$"
_ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Id = Annotated[str, StringConstraints(pattern=_ID_PATTERN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_NO_NUL)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""A word of a vocabulary that grows within a version: readers pass over the words that they do not know."""
NativeId = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=_NO_NUL)]
Line = Annotated[str, StringConstraints(max_length=1000, pattern=_NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=20_000, pattern=_NO_NUL)]


EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


def _moment(value: object) -> datetime:
    """Read one moment in one step: a chain of constraints takes three times as long, and every report has some.

    Numbers are refused: seconds and milliseconds look alike, and a mistaken one is 1970.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime) or value.tzinfo is None:
        msg = "must be an RFC 3339 time with an offset, such as 2026-03-02T09:30:00Z"
        raise ValueError(msg)
    if not EARLIEST <= value < LATEST:
        msg = "must lie between 1990 and 2200; check the unit and the clock of the source"
        raise ValueError(msg)
    return value if value.tzinfo is UTC else value.astimezone(UTC)


Instant = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""An aware moment between 1990 and 2200, kept in UTC."""


def _known_currency(value: str) -> str:
    if value not in CURRENCIES:
        msg = f"{value!r} is no ISO 4217 currency; use a code such as EUR"
        raise ValueError(msg)
    return value


Currency = Annotated[str, StringConstraints(min_length=3, max_length=3), AfterValidator(_known_currency)]


_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,6})?")


def _exact(value: object) -> Decimal:
    """Read an exact decimal: at most 18 digits before the point and 6 after it, no exponent, no binary float."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = format(value, "f") if isinstance(value, Decimal) and value.is_finite() else str(value)
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        msg = (
            'must be a decimal in quotes with at most 18 digits and 6 places, such as "12.50": binary floats lose cents'
        )
        raise ValueError(msg)
    return Decimal(value)


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        msg = "must not be negative"
        raise ValueError(msg)
    return value


Amount = Annotated[Decimal, BeforeValidator(_exact)]
Quantity = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_not_negative)]


class Money(Model):
    """An exact amount in one currency. Net of discounts, without tax and shipping, unless a field says otherwise."""

    amount: Amount
    currency: Currency


class Kind(StrEnum):
    """What an interaction is."""

    # That of its text, as comparison is: an enumeration's own is a call of Python for each look into a table.
    __hash__ = str.__hash__

    MAIL = "mail"
    CALL = "call"
    MEETING = "meeting"
    NOTE = "note"
    CHAT = "chat"
    TICKET = "ticket"
    COMMENT = "comment"
    ORDER = "order"
    REFUND = "refund"
    DELIVERY = "delivery"
    CONTRACT = "contract"
    PROMISE = "promise"
    INVOICE = "invoice"
    SURVEY = "survey"
    USAGE = "usage"
    PROGRAMME = "programme"
    REFERRAL = "referral"
    PARTNERSHIP = "partnership"
    CONTACT = "contact"


class InteractionKey(Model):
    """What a source system calls an interaction."""

    kind: Kind
    system: Name
    native_id: NativeId

    @cached_property
    def id(self) -> str:
        """The derived interaction id."""
        return interaction_id(self.kind, self.system, self.native_id)


class Authority:
    """First part of a revision: how much a report may overrule."""

    IMPORT = 0
    LIVE = 1
    DELETION = 2
    """A deletion whose source gives no order: nothing that was reported about the interaction may undo it."""


class RevisionOrder(NamedTuple):
    """A revision as plain numbers, compared left to right."""

    authority: int
    order: int
    mapper: int
    digest: str


class Revision(Model):
    """Which of two reports wins: compared field by field from the left, never by order of arrival."""

    authority: Annotated[int, Field(ge=0, le=2)]
    order: Annotated[int, Field(ge=0, lt=1 << 63)]
    """The provider's own order: an audit id, a sequence, or its updated-at in microseconds since 1970."""
    mapper: Annotated[int, Field(ge=0, lt=1 << 31)] = 1
    """Version of our mapping; a mended mapping may simply fetch again."""
    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    """Digest of the source's bytes: breaks ties the same way everywhere."""

    @cached_property
    def sort_key(self) -> RevisionOrder:
        """The parts, comparable."""
        return RevisionOrder(self.authority, self.order, self.mapper, self.digest)


class Identity(Model):
    """One way in which a person or an organisation is known.

    `value` is normalised at the door: an address in lower case, a phone in E.164, a company domain as registered
    (public suffix + 1), a provider's id as "system:id".
    """

    kind: Literal["address", "phone", "domain", "person", "organisation"]
    value: NativeId


PartyRole = Literal[
    "from",
    "to",
    "cc",
    "bcc",
    "caller",
    "callee",
    "requester",
    "customer",
    "assignee",
    "organiser",
    "attendee",
    "subject",
]


class Party(Model):
    """Somebody who took part, as the source names them."""

    role: PartyRole
    identities: Annotated[tuple[Identity, ...], Field(min_length=1, max_length=8)]
    name: Line | None = None
    ours: bool = False
    """Whether this is somebody of ours (own domain, own number, an agent)."""


class Reference(Model):
    """Something that an interaction answers or belongs to. Conversations are found by these only.

    Kinds: `message` (a Message-ID of one of the three headers), `thread` (a provider's thread id), `ticket`, `call`.
    Values other than Message-IDs carry their system: "zendesk:acme:4711".
    """

    kind: Literal["message", "thread", "ticket", "call"]
    value: NativeId


class Entry(Model):
    """A dated entry in an interaction's life: opened, resolved, cancelled …, by the source's own clock."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
    at: Instant


class Dated(Model, Generic[V]):
    """A value that held from `since` until before `until` (None: still holds). Days of the company's time zone."""

    value: V
    since: date
    until: date | None = None

    def holds_on(self, day: date) -> bool:
        """Say whether the value held on `day`."""
        return self.since <= day and (self.until is None or day < self.until)


TouchClass = Literal["support", "billing", "strategic", "routine"]
Direction = Literal["in", "out", "internal"]
Automatic = Literal["auto_reply", "out_of_office", "newsletter", "bounce", "calendar", "notification"]


def json_safe(model: Model) -> dict[str, Any]:
    """Return the model as JSON types, without the fields that are not stated."""
    return model.model_dump(mode="json", exclude_none=True)
