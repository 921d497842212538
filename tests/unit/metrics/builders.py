"""Attributions and accounts with as little said as possible."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from contracts import details
from contracts.accounts import Account, AccountContact, RoleInGroup, User, WorkingHours
from contracts.activity import AttributedContact, Attribution
from contracts.values import Dated, Kind, Money
from services.metrics.domain.days import CompanyDays

BERLIN = CompanyDays(ZoneInfo("Europe/Berlin"))
EPOCH_DAY = date(2020, 1, 1)


def uid(number: int) -> str:
    """A readable id: the number, in the last places."""
    return str(UUID(int=(7 << 76) | (2 << 62) | number))


ACCOUNT = uid(1)
OTHER = uid(2)
MARIA = uid(101)
TOM = uid(102)


def at(text: str) -> datetime:
    """`2026-03-02 09:30`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def attribution(number: int, detail: Any, moment: datetime, **said: Any) -> Attribution:
    """An attribution of interaction `number`; what is not said is ordinary."""
    people = said.pop("people", ())
    direction = said.pop("direction", getattr(detail, "direction", None))
    fields = {
        "account_id": ACCOUNT,
        "interaction_id": uid(number),
        "version": 1,
        "present": True,
        "kind": Kind(detail.kind) if detail.kind != "unknown" else Kind.MAIL,
        "occurred_at": moment,
        "imported": False,
        "sources": ("test",),
        "reason": "address",
        "direction": direction,
        "conversation_id": uid(number),
        "account_version": 1,
        "contacts": tuple(AttributedContact(contact_id=person, role=role) for person, role in people),
        "detail": detail,
    }
    return Attribution.model_validate(fields | said)


def mail(number: int, moment: datetime, direction: str = "in", **said: Any) -> Attribution:
    """A routine mail; `people` default to nobody known."""
    said.setdefault("touch_class", "routine")
    return attribution(number, details.MailDetail.model_validate({"direction": direction}), moment, **said)


def call(number: int, moment: datetime, direction: str = "in", outcome: str = "completed", **said: Any) -> Attribution:
    """A call."""
    said.setdefault("touch_class", "routine")
    return attribution(
        number, details.CallDetail.model_validate({"direction": direction, "outcome": outcome}), moment, **said
    )


def meeting(number: int, moment: datetime, **said: Any) -> Attribution:
    """A meeting."""
    said.setdefault("touch_class", "routine")
    return attribution(number, details.MeetingDetail(form="remote"), moment, **said)


def ticket(number: int, opened: datetime, resolved: datetime | None = None, **said: Any) -> Attribution:
    """A ticket."""
    detail = details.TicketDetail(opened_at=opened, resolved_at=resolved, priority=said.pop("priority", None))
    return attribution(number, detail, opened, **said)


def order(number: int, placed: datetime, net: str = "100", currency: str = "EUR", **said: Any) -> Attribution:
    """An order; `cancelled` gives the moment of its cancellation."""
    detail = details.OrderDetail(
        placed_at=placed, net=Money(amount=Decimal(net), currency=currency), cancelled_at=said.pop("cancelled", None)
    )
    return attribution(number, detail, placed, **said)


def refund(
    number: int, moment: datetime, amount: str, parent: int | None = None, currency: str = "EUR", **said: Any
) -> Attribution:
    """A refund of order `parent`."""
    detail = details.RefundDetail(refunded=Money(amount=Decimal(amount), currency=currency))
    return attribution(number, detail, moment, parent_id=None if parent is None else uid(parent), **said)


def withdrawn(state: Attribution, version: int) -> Attribution:
    """The same interaction, gone."""
    return state.model_copy(update={"present": False, "version": version})


def contact(contact_id: str, *roles: str | tuple[str, date, date | None], since: date = EPOCH_DAY) -> AccountContact:
    """A contact with roles, held for ever or from a day to a day."""
    held = [(role, EPOCH_DAY, None) if isinstance(role, str) else role for role in roles]
    return AccountContact(
        contact_id=contact_id,
        name="somebody",
        since=since,
        roles=tuple(
            Dated[RoleInGroup](value=RoleInGroup(buying_centre="HQ", role=role), since=begin, until=end)  # type: ignore[arg-type]
            for role, begin, end in held
        ),
    )


def account(
    account_id: str = ACCOUNT, version: int = 1, owners: tuple[tuple[str, date, date | None], ...] = (), **said: Any
) -> Account:
    """An account with owners as (user, since, until)."""
    return Account(
        account_id=account_id,
        version=version,
        name="Acme",
        created_at=at("2020-01-01 00:00"),
        owners=tuple(Dated[str](value=user, since=since, until=until) for user, since, until in owners),
        **said,
    )


def user(user_id: str, subject: str, role: str = "manager", team_id: str | None = None, **said: Any) -> User:
    """Somebody of ours whom the issuer `test` knows as `subject`."""
    fields = {
        "user_id": user_id,
        "version": 1,
        "name": subject,
        "email": f"{subject}@brightwell.example",
        "role": role,
        "team_id": team_id,
        "issuer": "test",
        "subject": subject,
        "working_hours": WorkingHours(time_zone="Europe/Berlin"),
    }
    return User.model_validate(fields | said)
