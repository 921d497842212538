"""Several legs, transfers and repeated reports are one call, whatever the order in which they arrive."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.details import CallDetail
from contracts.events import Event
from contracts.interactions import Interaction, assemble
from services.ingest.domain.provider import Delivery
from services.ingest.sources.registry import WEBHOOKS
from services.ingest.sources.ringcentral import PROVIDER as RINGCENTRAL
from services.ingest.sources.ringcentral import challenge
from services.ingest.sources.twilio import TwilioOptions
from tests.unit.ingest.golden import FOLDER, delivery, origin, told

CALLS = {
    "a Twilio call that a browser answered and a mobile did not": (
        (
            "twilio/inbound_root_completed",
            "twilio/inbound_dialled_client_answered",
            "twilio/inbound_dialled_mobile_no_answer",
        ),
        ("in", "completed", 170),
    ),
    "a Twilio call that was passed on": (
        ("twilio/inbound_dialled_client_answered", "twilio/inbound_passed_on_to_ben", "twilio/inbound_root_completed"),
        ("in", "completed", 170),
    ),
    "an Aircall call that the exchange passed on and nobody took": (
        ("aircall/transferred_by_the_exchange", "aircall/ended_missed"),
        ("in", "missed", 0),
    ),
    "a Twilio call that Twilio alone answered": (
        ("twilio/inbound_root_completed", "twilio/inbound_dialled_mobile_no_answer"),
        ("in", "missed", 0),
    ),
    "a call of ours out of a browser": (
        ("twilio/outbound_from_browser_root", "twilio/outbound_from_browser_dialled"),
        ("out", "completed", 60),
    ),
    "a RingCentral call through a menu, passed on blindly": (
        (
            "ringcentral/in_answered_by_anna",
            "ringcentral/in_passed_on_blindly",
            "ringcentral/in_answered_by_ben",
            "ringcentral/in_caller_hung_up",
            "ringcentral/in_gone_after_attended_transfer",
            "ringcentral/in_menu_left",
        ),
        ("in", "completed", 119),
    ),
    "a RingCentral call that nobody took": (("ringcentral/in_missed", "ringcentral/in_voicemail"), ("in", "missed", 0)),
    "a RingCentral call of ours": (
        (
            "ringcentral/out_answered_by_the_customer",
            "ringcentral/out_our_leg_answered",
            "ringcentral/out_our_leg_ended",
        ),
        ("out", "completed", 16),
    ),
    "an Aircall call that was passed on": (
        ("aircall/answered", "aircall/transferred", "aircall/hungup", "aircall/ended_answered"),
        ("in", "completed", 300),
    ),
    "an Aircall call that was passed on to a voicemail": (
        ("aircall/transferred", "aircall/transfer_ended_in_voicemail"),
        ("in", "completed", 300),
    ),
}


def events_of(name: str) -> list[Event]:
    golden = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    provider = WEBHOOKS[name.partition("/")[0]]
    options = provider.options.model_validate(golden.get("options", {}))
    return told(provider.bind(options)(delivery(golden), origin(provider.name)))


def call_of(events: list[Event]) -> Interaction:
    whole = assemble(events)
    assert isinstance(whole.detail, CallDetail)
    return whole


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=10)
@given(random=st.randoms(use_true_random=False), times=st.integers(1, 3))
def test_the_legs_of_a_call_are_one_call_in_any_order(name: str, random: Any, times: int) -> None:
    files, (direction, outcome, seconds) = CALLS[name]
    events = [event for file in files for event in events_of(file)] * times
    whole = call_of(events)
    detail = whole.detail
    assert isinstance(detail, CallDetail)
    assert (detail.direction, detail.outcome, detail.talk_seconds) == (direction, outcome, seconds)
    random.shuffle(events)
    assert assemble(events) == whole


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_one_customer_however_many_of_ours_had_it(name: str) -> None:
    whole = call_of([event for file in CALLS[name][0] for event in events_of(file)])
    customers = {party.identities[0].value for party in whole.parties if not party.ours}
    assert customers == {"+49301234567"}


def test_the_same_change_by_two_subscriptions_is_one_report() -> None:
    golden = json.loads((FOLDER / "ringcentral" / "in_answered_by_anna.json").read_text(encoding="utf-8"))
    by_extension = events_of("ringcentral/in_answered_by_anna")
    golden["body"]["event"] = "/restapi/v1.0/account/809646016/telephony/sessions"
    golden["body"]["uuid"] = "1"
    by_account = told(RINGCENTRAL.bind(RINGCENTRAL.options())(delivery(golden), origin("ringcentral")))
    assert [event.id for event in by_account] == [event.id for event in by_extension]


def test_a_consultation_joins_the_conversation_of_the_call_that_it_belongs_to() -> None:
    gone = events_of("ringcentral/in_gone_after_attended_transfer")[0]
    assert {reference.value for reference in gone.references} == {
        "ringcentral:brightwell:s-718107795d564867a6f635fd81e89940",
        "ringcentral:brightwell:s-second",
    }


def test_a_fax_is_no_missed_call() -> None:
    golden = json.loads((FOLDER / "ringcentral" / "in_caller_hung_up.json").read_text(encoding="utf-8"))
    golden["body"]["body"]["telephonySessionId"] = "s-fax"
    ended = told(RINGCENTRAL.bind(RINGCENTRAL.options())(delivery(golden), origin("ringcentral")))
    assert assemble([*ended, *events_of("ringcentral/in_fax")]).present is False


@pytest.mark.parametrize(
    ("headers", "body", "given_back"),
    [
        ({"validation-token": "a1b2-c3"}, b"", {"Validation-Token": "a1b2-c3"}),
        ({"validation-token": "a1b2\r\nx: y"}, b"", None),
        ({"validation-token": "x" * 300}, b"", None),
        ({"validation-token": "a1b2"}, b'{"event": 1}', None),
        ({}, b"", None),
    ],
)
def test_ringcentrals_token_is_given_back_when_a_subscription_is_made(
    headers: dict[str, str], body: bytes, given_back: dict[str, str] | None
) -> None:
    reply = challenge(Delivery(None, body, headers), ())
    assert (None if reply is None else reply.headers) == given_back


@pytest.mark.parametrize("number", ["030 999000", "+49", "+4930*x", "", "+49301234567890123456"])
def test_our_numbers_must_be_written_so_that_they_can_be_told_apart(number: str) -> None:
    with pytest.raises(ValidationError):
        TwilioOptions(own_numbers=(number,))


def test_we_must_say_which_numbers_are_ours() -> None:
    with pytest.raises(ValidationError):
        TwilioOptions.model_validate({})


def test_a_national_number_is_read_where_the_site_is() -> None:
    golden = json.loads((FOLDER / "aircall" / "ended_answered.json").read_text(encoding="utf-8"))
    golden["body"]["data"]["raw_digits"] = "01 42 68 53 00"
    provider = WEBHOOKS["aircall"]
    read = provider.bind(provider.options.model_validate({"default_region": "FR"}))
    event = told(read(delivery(golden), origin("aircall")))[0]
    assert event.parties[0].identities[0].value == "+33142685300"


@pytest.mark.parametrize(
    ("caller", "identities"),
    [
        ("sip:anonymous@anonymous.invalid", None),
        ("sip:restricted@gw.example;transport=tls", None),
        ("Anonymous", None),
        ("+266696687", None),
        ("whatsapp:+4930123456", ["+4930123456"]),
        ("sip:bob@acme.example", ["sip:bob@acme.example"]),
    ],
)
def test_who_hides_the_number_is_nobody(caller: str, identities: list[str] | None) -> None:
    form = {
        "CallSid": "CA1",
        "CallStatus": "completed",
        "Direction": "inbound",
        "CallDuration": "30",
        "From": caller,
        "To": "+4930999100",
        "Timestamp": "Mon, 02 Mar 2026 09:00:30 +0000",
    }
    options = TwilioOptions(own_numbers=("+4930999*",))
    mapped = WEBHOOKS["twilio"].bind(options)(Delivery(payload=form, body=b"x", headers={}), origin("twilio"))
    theirs = [party for party in mapped.events[0].parties if not party.ours]
    assert [[one.value for one in party.identities] for party in theirs] == ([] if identities is None else [identities])
