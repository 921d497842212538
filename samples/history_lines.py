"""History as NDJSON: what `tenure import` takes, one CloudEvent a line.

`system` and `subject` are those that the live doors give to the same mail, call, ticket or order, so that what history
began the live day goes on with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from functools import singledispatch
from typing import Any

from contracts.envelope import format_instant
from samples.company import CRM, CURRENCY, DESK, OWN_DOMAIN, PHONES, SHOP, Company, Person
from samples.facts import (
    Call,
    Comment,
    ContractStep,
    Departure,
    Fact,
    Mail,
    Meeting,
    OrderStep,
    Refund,
    TicketStep,
)

Json = dict[str, Any]
SHOP_DOMAIN = "brightwell.myshopify.com"
CALENDAR = "calendar:brightwell"


def mailbox_address(company: Company, source: str) -> str:
    """Whose mailbox the source mail-<first name> is."""
    name = source.removeprefix("mail-")
    return f"{name}@{OWN_DOMAIN}" if name == "support" else company.colleague(name).address


def history_lines(company: Company, facts: Iterable[Fact]) -> list[bytes]:
    """One line for each report about each fact, in order of time; a mail in two mailboxes is two reports."""
    ordered = sorted(facts, key=lambda fact: fact.at)
    return [json.dumps(event, ensure_ascii=False).encode() for fact in ordered for event in events_of(fact, company)]


@singledispatch
def events_of(fact: Fact, company: Company) -> Iterator[Json]:
    """The structured CloudEvents that report a fact about somebody of the company."""
    raise TypeError(f"nothing reports a {type(fact).__name__} of {len(company.customers)} customers")


@events_of.register
def _(fact: Mail, company: Company) -> Iterator[Json]:
    for mailbox in fact.mailboxes:
        yield _event(
            f"tenure.email.{'received' if fact.inbound else 'sent'}.v1",
            f"{fact.message_id}#{mailbox}",
            fact.message_id,
            fact.at,
            "mail",
            mailbox=mailbox_address(company, mailbox),
            direction="in" if fact.inbound else "out",
            sent_at=format_instant(fact.at),
            automatic=fact.automatic,
            parties=[_by_address("from", fact.sender), *(_by_address("to", person) for person in fact.to),
                     *(_by_address("cc", person) for person in fact.cc)],
            references=[{"kind": "message", "value": value} for value in (*fact.thread, fact.message_id)],
            title=fact.subject,
            text=fact.body,
        )  # fmt: skip


@events_of.register
def _(fact: Call, _: Company) -> Iterator[Json]:
    theirs: Json = {
        "role": "caller" if fact.inbound else "callee",
        "identities": [{"kind": "phone", "value": fact.other.phone}],
    }
    parties = [theirs]
    if fact.colleague:
        parties.append(_by_address("assignee", fact.colleague))
    yield _event(
        "tenure.call.leg-ended.v1",
        f"call-{fact.number}",
        fact.number,
        fact.at,
        PHONES,
        leg=fact.number,
        root=True,
        direction="in" if fact.inbound else "out",
        answered_by_person=fact.talked_seconds is not None,
        talk_seconds=fact.talked_seconds or 0,
        tags=list(fact.tags),
        parties=parties,
        references=[{"kind": "call", "value": f"{PHONES}:{fact.number}"}],
    )


_STATUS = {"opened": "new", "updated": "open", "resolved": "resolved", "reopened": "open", "closed": "closed"}


@events_of.register
def _(fact: TicketStep, company: Company) -> Iterator[Json]:
    yield _event(
        f"tenure.ticket.{fact.step}.v1",
        f"audit-{fact.audit}",
        fact.ticket,
        fact.at,
        DESK,
        priority=fact.priority,
        status=_STATUS[fact.step],
        entries=[] if fact.step == "opened" else [{"kind": "opened", "at": format_instant(fact.opened_at)}],
        parties=[_requester(fact.requester), _organisation(company, fact.requester)],
        references=[{"kind": "ticket", "value": f"{DESK}:{fact.ticket}"}],
        title=fact.subject,
    )


@events_of.register
def _(fact: Comment, _: Company) -> Iterator[Json]:
    writer = _by_address("from", fact.author) if fact.author.ours else _requester(fact.author)
    yield _event(
        "tenure.ticket.commented.v1",
        f"comment-{fact.number}",
        fact.number,
        fact.at,
        DESK,
        direction="out" if fact.author.ours else "in",
        parties=[writer],
        parent={"kind": "ticket", "native_id": fact.ticket},
        references=[{"kind": "ticket", "value": f"{DESK}:{fact.ticket}"}],
        text=fact.text,
    )


@events_of.register
def _(fact: OrderStep, _: Company) -> Iterator[Json]:
    yield _event(
        f"tenure.order.{fact.step}.v1",
        f"{fact.order}-{fact.step}-{format_instant(fact.at)}",
        f"{SHOP_DOMAIN}/{fact.order}",
        fact.at,
        SHOP,
        net=money(fact.net),
        lines=[
            {"product": line.product, "quantity": str(line.quantity), "amount": str(line.amount)} for line in fact.lines
        ],
        entries=[] if fact.step == "placed" else [{"kind": "placed", "at": format_instant(fact.placed_at)}],
        parties=[_buyer(fact.buyer)],
    )


@events_of.register
def _(fact: Refund, _: Company) -> Iterator[Json]:
    yield _event(
        "tenure.order.refunded.v1",
        f"refund-{fact.refund}",
        f"{SHOP_DOMAIN}/{fact.refund}",
        fact.at,
        SHOP,
        refunded=money(fact.amount),
        parent={"kind": "order", "native_id": f"{SHOP_DOMAIN}/{fact.order}"},
    )


@events_of.register
def _(fact: Meeting, _: Company) -> Iterator[Json]:
    yield _event(
        "tenure.meeting.held.v1",
        f"meeting-{fact.number}",
        fact.number,
        fact.at,
        CALENDAR,
        form=fact.form,
        minutes=fact.minutes,
        parties=[_by_address("organiser", fact.colleague), *(_by_address("attendee", guest) for guest in fact.guests)],
        title=fact.subject,
    )


@events_of.register
def _(fact: ContractStep, _: Company) -> Iterator[Json]:
    yield _event(
        f"tenure.contract.{fact.step}.v1",
        f"{fact.contract}-{fact.step}",
        fact.contract,
        fact.at,
        CRM,
        recurring=money(fact.recurring),
        starts_on=fact.starts_on.isoformat(),
        due_on=fact.due_on.isoformat(),
        notice_on=fact.notice_on.isoformat(),
        parties=[_by_address("customer", fact.signatory)],
    )


@events_of.register
def _(fact: Departure, _: Company) -> Iterator[Json]:
    yield _event(
        "tenure.contact.left.v1",
        f"{fact.number}-left",
        fact.number,
        fact.at,
        None,
        parties=[_by_address("subject", fact.person)],
        reason=fact.reason,
    )


def money(amount: Decimal) -> Json:
    """An amount in the company's currency."""
    return {"amount": str(amount), "currency": CURRENCY}


def _event(kind: str, report: str, subject: str, at: datetime, system: str | None, **data: Any) -> Json:
    stated = {name: value for name, value in data.items() if value is not None}
    event = {
        "specversion": "1.0",
        "id": report,
        "source": "/brightwell/history" if system else "/brightwell/crm",
        "type": kind,
        "subject": subject,
        "time": format_instant(at),
        "datacontenttype": "application/json",
        "data": stated,
    }
    return event | {"system": system} if system and system != "mail" else event


def _by_address(role: str, person: Person) -> Json:
    return {"role": role, "identities": [{"kind": "address", "value": person.address}], "name": person.name}


def _requester(person: Person) -> Json:
    return {
        "role": "requester",
        "identities": [
            {"kind": "address", "value": person.address},
            {"kind": "person", "value": f"{DESK}:{person.desk_id}"},
        ],
        "name": person.name,
    }


def _organisation(company: Company, person: Person) -> Json:
    number = company.customer(person.account or "").organisation
    return {"role": "customer", "identities": [{"kind": "organisation", "value": f"{DESK}:{number}"}]}


def _buyer(person: Person) -> Json:
    return {
        "role": "customer",
        "identities": [
            {"kind": "address", "value": person.address},
            {"kind": "person", "value": f"{SHOP}:{person.shop_id}"},
        ],
        "name": person.name,
    }
