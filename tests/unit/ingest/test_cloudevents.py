"""CloudEvents are read strictly, and what is wrong is said by field, with a remedy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from msgspec.structs import replace

from contracts.events import EmailReceived, InteractionWithdrawn, OrderPlaced
from contracts.standins import model_of
from contracts.values import Authority
from services.ingest.domain.mapping import Invalid
from services.ingest.sources.cloudevents import Reader
from services.ingest.sources.mail import map_mail
from services.ingest.sources.quick import quick_lines
from tests.unit.ingest.golden import MAILBOX, NOW, origin, told

PLACED: dict[str, Any] = {
    "specversion": "1.0",
    "id": "4711-1",
    "source": "/erp",
    "type": "tenure.order.placed.v1",
    "subject": "4711",
    "time": "2026-03-02T09:30:00Z",
    "data": {
        "net": {"amount": "120.00", "currency": "EUR"},
        "lines": [{"product": "P-1", "quantity": "2", "amount": "120.00"}],
        "parties": [{"role": "customer", "identities": [{"kind": "address", "value": "Bob@Mail.Acme.example"}]}],
    },
}
READER = Reader(origin("erp"))


def changed(**attributes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**PLACED, **attributes}.items() if value is not None}


def with_data(**fields: Any) -> dict[str, Any]:
    return changed(data={**PLACED["data"], **fields})


def test_attributes_become_interaction_report_order_and_moment() -> None:
    event = READER.read(changed(sequence="42"))
    assert event.TYPE == OrderPlaced.TYPE
    assert event.interaction.native_id == "4711"
    assert event.interaction.system == "erp:brightwell"
    assert event.report == "4711-1"
    assert event.revision.order == 42
    assert event.revision.authority == Authority.LIVE
    assert event.occurred_at == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    assert [identity.value for identity in event.parties[0].identities] == ["bob@mail.acme.example", "acme.example"]


def test_without_a_sequence_the_time_orders() -> None:
    assert READER.read(PLACED).revision.order == 1_772_443_800_000_000


def test_what_the_cloudevents_package_writes_is_read() -> None:
    theirs = CloudEvent(
        attributes={name: value for name, value in PLACED.items() if name != "data"}
        | {"time": datetime(2026, 3, 2, 9, 30, tzinfo=UTC), "datacontenttype": "application/json"},
        data=PLACED["data"],
    )
    written = to_structured_event(theirs, JSONFormat())
    assert READER.read(orjson.loads(written.body)).interaction == READER.read(PLACED).interaction


BAD = {
    "no object": ([], "", "send a CloudEvent"),
    "another specversion": (changed(specversion="0.3"), "specversion", None),
    "no id": (changed(id=None), "id", None),
    "no subject": (changed(subject=None), "subject", None),
    "an empty subject": (changed(subject=" "), "subject", None),
    "a number as id": (changed(id=7), "id", None),
    "an unknown type": (changed(type="tenure.order.exploded.v1"), "type", None),
    "an unknown version": (changed(type="tenure.order.placed.v2"), "type", "use tenure.order.placed.v1"),
    "a naive time": (changed(time="2026-03-02T09:30:00"), "time", None),
    "a number as time": (changed(time=1_772_443_800), "time", None),
    "seconds as time": (changed(time="1772443800"), "time", None),
    "no such day": (changed(time="2026-02-30T09:30:00Z"), "time", None),
    "1970": (changed(time="1970-01-01T00:00:00Z"), "time", None),
    "2100": (changed(time="2100-01-01T00:00:00Z"), "time", None),
    "a day and a second ahead": (changed(time="2026-03-11T12:00:01Z"), "time", None),
    "a negative sequence": (changed(sequence="-1"), "sequence", None),
    "a sequence of a hundred digits": (changed(sequence="9" * 100), "sequence", None),
    "no data": (changed(data=None), "data", None),
    "data as text": (changed(data="x"), "data", None),
    "data in base64": (changed(data=None, data_base64="e30="), "data_base64", None),
    "XML": (changed(datacontenttype="application/xml"), "datacontenttype", None),
    "an unknown field": (with_data(colour="red"), "data.colour", "leave the field out"),
    "an unknown field below": (with_data(net={"amount": "1", "currency": "EUR", "vat": "1"}), "data.net.vat", None),
    "a stated revision": (with_data(revision={"authority": 2}), "data.revision", None),
    "a wrong type": (with_data(lines={"product": "P"}), "data.lines", None),
    "a negative quantity": (
        with_data(lines=[{"product": "P", "quantity": "-1", "amount": "1"}]),
        "data.lines.0.quantity",
        None,
    ),
    "an unknown currency": (with_data(net={"amount": "1.00", "currency": "XQQ"}), "data.net.currency", None),
    "a binary float": (with_data(net={"amount": 1.5, "currency": "EUR"}), "data.net.amount", None),
    "a huge number": (with_data(net={"amount": "9" * 60, "currency": "EUR"}), "data.net.amount", None),
    "NaN as an amount": (with_data(net={"amount": "NaN", "currency": "EUR"}), "data.net.amount", None),
    "a bad address": (
        with_data(parties=[{"role": "customer", "identities": [{"kind": "address", "value": "bob"}]}]),
        "data.parties.0.identities.0.value",
        None,
    ),
    "a bad phone": (
        with_data(parties=[{"role": "caller", "identities": [{"kind": "phone", "value": "call me"}]}]),
        "data.parties.0.identities.0.value",
        None,
    ),
    "a party without identity": (
        with_data(parties=[{"role": "caller", "identities": []}]),
        "data.parties.0.identities",
        None,
    ),
    "another system": (changed(system="zendesk:other"), "system", None),
    "a withdrawal of nothing": (changed(type="tenure.interaction.withdrawn.v1", data={}), "data.kind", None),
    "a long subject": (changed(subject="x" * 1025), "subject", None),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_by_field_and_with_a_remedy(name: str) -> None:
    item, field, remedy = BAD[name]
    with pytest.raises(Invalid) as refused:
        READER.read(item)
    (error, *_) = refused.value.errors
    assert error.field == field
    assert error.message
    assert error.remedy
    assert remedy is None or error.remedy == remedy


def test_all_wrong_fields_are_said_at_once() -> None:
    with pytest.raises(Invalid) as refused:
        READER.read(with_data(net={"amount": "x", "currency": "XQQ"}, colour="red"))
    assert {error.field for error in refused.value.errors} == {"data.net.amount", "data.net.currency", "data.colour"}


@pytest.mark.parametrize("value", [None, 7, {}, ["bob@acme.example"]])
def test_an_address_that_is_no_text_is_named(value: object) -> None:
    with pytest.raises(Invalid) as refused:
        READER.read(with_data(parties=[{"role": "customer", "identities": [{"kind": "address", "value": value}]}]))
    assert "data.parties.0.identities.0.value" in {error.field for error in refused.value.errors}


@pytest.mark.parametrize("subject", ["<1@acme.example>", "1"])
@pytest.mark.parametrize(
    "parties",
    [
        None,
        5,
        {},
        [None, 5, []],
        [{"role": "from"}],
        [{"role": ["from"], "identities": [{"kind": ["address"], "value": "a@acme.example"}]}],
        [{"role": "from", "identities": None}],
        [{"role": "from", "identities": 5}],
        [{"role": "from", "identities": {"kind": "address"}}],
        [{"role": "from", "identities": [None, {"kind": "address"}]}],
        [{"role": "from", "identities": [{"kind": "address", "value": 5}]}],
    ],
)
def test_a_mail_whose_people_are_none_is_refused_and_breaks_nothing(subject: str, parties: Any) -> None:
    """A batch, or an import, would break on it each time it is sent."""
    data = {"mailbox": "anna@brightwell.example", "direction": "in", "parties": parties}
    with pytest.raises(Invalid) as refused:
        READER.read(changed(type="tenure.email.received.v1", subject=subject, data=data))
    assert all(error.field.startswith("data") for error in refused.value.errors)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:00"])
@pytest.mark.parametrize("name", ["time", "sent_at"])
def test_a_moment_beyond_all_calendars_is_refused_and_breaks_nothing(name: str, moment: str) -> None:
    item = changed(type="tenure.email.received.v1", subject="<1@acme.example>")
    sender = {"role": "from", "identities": [{"kind": "address", "value": "a@acme.example"}]}
    item["data"] = {"mailbox": "anna@brightwell.example", "direction": "in", "parties": [sender]}
    (item if name == "time" else item["data"])[name] = moment
    assert quick_lines(origin("erp"), frozenset())(orjson.dumps(item)) is None
    with pytest.raises(Invalid) as refused:
        READER.read(item)
    assert [error.field for error in refused.value.errors] == ["time" if name == "time" else "data.sent_at"]


def test_a_withdrawal_names_its_kind() -> None:
    event = READER.read(changed(type="tenure.interaction.withdrawn.v1", data={"kind": "order", "reason": "by mistake"}))
    withdrawn = model_of(event)
    assert isinstance(withdrawn, InteractionWithdrawn)
    assert event.interaction == READER.read(PLACED).interaction


def test_history_yields_to_what_is_live_and_may_name_the_system_that_it_is_of() -> None:
    reader = Reader(replace(origin("history"), authority=Authority.IMPORT), frozenset({"erp:brightwell"}))
    event = reader.read(changed(system="erp:brightwell"))
    assert event.imported
    assert event.interaction == READER.read(PLACED).interaction
    assert event.revision.sort_key < READER.read(PLACED).revision.sort_key


def test_a_parent_is_of_the_same_system_unless_it_says_another() -> None:
    data = {
        "refunded": {"amount": "5.00", "currency": "EUR"},
        "parent": {"kind": "order", "native_id": "4711"},
    }
    event = READER.read(changed(type="tenure.order.refunded.v1", subject="r-1", data=data))
    assert event.parent == READER.read(PLACED).interaction


def test_a_mail_of_history_is_the_one_that_the_mailbox_brings() -> None:
    raw = (
        b"From: Bob <bob@acme.example>\r\nTo: anna@brightwell.example\r\nDate: Mon, 2 Mar 2026 09:00:00 +0100\r\n"
        b"Message-ID: <1@acme.example>\r\n\r\nx"
    )
    (live,) = told(map_mail(raw, MAILBOX, origin("mail")))
    history = READER.read(
        changed(
            type="tenure.email.received.v1",
            subject="<1@acme.example>",
            time="2026-03-02T08:00:03Z",
            data={
                "mailbox": MAILBOX.address,
                "direction": "in",
                "sent_at": "2026-03-02T09:00:00+01:00",
                "parties": [{"role": "from", "identities": [{"kind": "address", "value": "BOB@acme.example"}]}],
            },
        )
    )
    assert history.TYPE == EmailReceived.TYPE
    history = model_of(history)
    assert isinstance(history, EmailReceived)
    assert history.interaction == live.interaction


def test_now_and_the_rest_of_the_day_are_not_the_future() -> None:
    assert READER.read(changed(time=NOW.isoformat())).occurred_at == NOW
