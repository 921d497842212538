"""States that other services say of an account, for the notifier's tests: a key account of Anna's with a champion."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from contracts.accounts import Account, AccountContact, RoleInGroup, Team, User, WorkingHours
from contracts.activity import AttributedContact, Attribution
from contracts.details import ContactDetail
from contracts.envelope import format_instant
from contracts.ids import derive_id
from contracts.kpis import AccountKpis, Evidence, KpiValue, LastTouch, OpenItem, OrderRhythm
from contracts.values import Dated, Kind
from services.notifier.domain.view import AccountView

NOON = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)
ACCOUNT, ANNA, LENA, TEAM, MARIA = (derive_id("test", name) for name in ("account", "anna", "lena", "team", "maria"))
LONG_AGO = date(2025, 1, 1)


def anna(**changed: Any) -> User:
    """The account's owner."""
    stated: dict[str, Any] = {
        "user_id": ANNA,
        "version": 1,
        "name": "Anna Berg",
        "email": "anna@brightwell.example",
        "role": "manager",
        "team_id": TEAM,
        "issuer": "https://issuer.example",
        "subject": "anna",
        "working_hours": WorkingHours(time_zone="Europe/Berlin", holidays="DE-BE"),
    }
    return User(**{**stated, **changed})


def lena(**changed: Any) -> User:
    """The lead of Anna's team."""
    stated: dict[str, Any] = {"user_id": LENA, "name": "Lena Voss", "email": "lena@brightwell.example"}
    return anna(**{**stated, "role": "lead", "subject": "lena", **changed})


def team() -> Team:
    """Anna's team."""
    return Team(team_id=TEAM, version=1, name="South", lead_id=LENA)


def account(**changed: Any) -> Account:
    """A key account of Anna's with a champion."""
    champion = RoleInGroup(buying_centre="Berlin / Lab", role="champion")
    stated: dict[str, Any] = {
        "account_id": ACCOUNT,
        "version": 1,
        "name": "Northwind Labs",
        "created_at": NOON - timedelta(days=400),
        "account_class": "A",
        "history_complete_at": NOON - timedelta(days=60),
        "key": (Dated[bool](value=True, since=LONG_AGO),),
        "owners": (Dated[str](value=ANNA, since=LONG_AGO),),
        "contacts": (
            AccountContact(
                contact_id=MARIA,
                name="Maria Keller",
                roles=(Dated[RoleInGroup](value=champion, since=LONG_AGO),),
                since=LONG_AGO,
            ),
        ),
    }
    return Account(**{**stated, **changed})


def touched(days_ago: float, version: int = 1, **changed: Any) -> AccountKpis:
    """KPIs of an account that was last met so many days before noon."""
    meeting = LastTouch(
        sort="meeting",
        touch_class="routine",
        at=NOON - timedelta(days=days_ago),
        interaction_id=derive_id("test", "meeting", str(days_ago)),
    )
    stated: dict[str, Any] = {
        "account_id": ACCOUNT,
        "version": version,
        "account_version": 1,
        "as_of_day": NOON.date(),
        "computed_at": NOON,
        "last_touches": (meeting,),
        "order_rhythm": OrderRhythm(orders=0),
    }
    return AccountKpis(**{**stated, **changed})


def tickets(number: int, version: int, ids: tuple[str, ...] = ()) -> AccountKpis:
    """KPIs of an account with so many tickets in 30 days."""
    value = KpiValue(
        kpi="tickets_opened",
        window=30,
        value=Decimal(number),
        previous=None,
        change=None,
        evidence=Evidence(count=number, interaction_ids=ids, query="/v1/accounts"),
    )
    return touched(1, version, values=(value,))


def waiting_mail(since: datetime, version: int = 1) -> AccountKpis:
    """KPIs of an account with one mail that waits for an answer."""
    item = OpenItem(
        kind="unanswered_mail",
        interaction_id=derive_id("test", "mail", format_instant(since)),
        source_kind=Kind.MAIL,
        since=since,
        contact_id=MARIA,
    )
    return touched(1, version, open_items=(item,))


def left(**changed: Any) -> Attribution:
    """A live report that Maria left."""
    stated: dict[str, Any] = {
        "account_id": ACCOUNT,
        "interaction_id": derive_id("test", "left"),
        "version": 1,
        "present": True,
        "kind": Kind.CONTACT,
        "occurred_at": NOON - timedelta(hours=2),
        "imported": False,
        "sources": ("desk",),
        "reason": "by_hand",
        "contacts": (AttributedContact(contact_id=MARIA, role="subject"),),
        "conversation_id": derive_id("test", "conversation"),
        "account_version": 1,
        "detail": ContactDetail(state="left"),
    }
    return Attribution(**{**stated, **changed})


def view(one: Account, kpis: AccountKpis | None = None, **changed: Any) -> AccountView:
    """What rules read of an account that Anna owns."""
    stated: dict[str, Any] = {"zone": ZoneInfo("Europe/Berlin"), "kpis": kpis, "users": {ANNA: anna(), LENA: lena()}}
    return AccountView(one, **{**stated, **changed})
