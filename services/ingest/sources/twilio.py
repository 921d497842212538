"""Twilio: calls, from the status callbacks of Programmable Voice (forms).

A call is known by the id of its first leg; a leg that `<Dial>` opens names its parent. Twilio itself answers every call
that comes in, so only a dialled leg shows that a person did. It says nowhere which numbers are ours: sources.toml does.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from contracts.events import CallLegEnded
from contracts.values import Party
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Mapped, Origin, Unmapped, digest_of
from services.ingest.domain.provider import FORM, Delivery, Provider
from services.ingest.domain.reports import reported
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.calls import (
    LONGEST_CALL,
    TERMINAL,
    NumberOrBlock,
    SiteOptions,
    endpoint,
    is_among,
    leg_report,
)

_ENDED = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_UNDER_WAY = frozenset({"queued", "initiated", "ringing", "in-progress", "answered"})
_OTHER_CALLBACKS = {"ConferenceSid": "conference", "RecordingSid": "recording", "TranscriptionSid": "transcription"}
_MACHINES = ("machine", "fax")
_OWN_SIP = ".sip.twilio.com"
_MOST_DIGITS = 10


class TwilioOptions(SiteOptions):
    """What Twilio does not say."""

    own_numbers: Annotated[tuple[NumberOrBlock, ...], Field(min_length=1)]
    """Our numbers at Twilio, and telephones of ours that calls are passed on to; +4930123* for a block."""
    answered: Literal["dial", "call"] = "dial"
    """What shows that a person answered an inbound call: a dialled leg, or (agents in conferences) the call itself."""


class _Leg(NamedTuple):
    """One leg as the form tells it."""

    form: Mapping[str, str]
    directory: Directory
    options: TwilioOptions

    @property
    def sid(self) -> str:
        return self.form["CallSid"]

    @property
    def parent(self) -> str | None:
        return self.form.get("ParentCallSid") or None

    def is_ours(self, end: str) -> bool:
        """Say whether the "From" or "To" of this leg is one of ours."""
        uri = self.form.get(end, "")
        number = self.directory.phone(uri)
        if number is not None:
            return is_among(number, self.options.own_numbers)
        if uri.startswith("client:"):
            return True
        host = uri.partition("@")[2].partition(";")[0].partition(":")[0].lower()
        return host.endswith(_OWN_SIP) or (bool(host) and self.directory.is_own(f"@{host}"))

    @property
    def direction(self) -> Literal["in", "out"]:
        """Return the direction of the call as this leg shows it; the first leg's word counts in the end."""
        told = self.form.get("Direction", "")
        if told in {"inbound", "trunking-originating"}:
            return "out" if self.is_ours("From") else "in"
        if told == "outbound-dial":
            return "out" if self.is_ours("From") and not self.is_ours("To") else "in"
        if told.startswith("outbound") or told == "trunking-terminating":
            return "out"
        raise Unmapped("unknown_direction")

    @property
    def answered_by_person(self) -> bool:
        """Say whether somebody spoke: not Twilio itself, not our own device before the customer is on the line."""
        if self.form["CallStatus"] != "completed" or self.form.get("AnsweredBy", "").startswith(_MACHINES):
            return False
        if self.parent is not None:
            return True
        if self.form.get("Direction", "").startswith("outbound"):
            return not self.is_ours("To")
        return not self.is_ours("From") and self.options.answered == "call"


def read(delivery: Delivery, origin: Origin, options: TwilioOptions) -> Mapped:
    """Map a verified status callback. Raises `Unmapped` for what it does not understand."""
    form = delivery.payload
    if not isinstance(form, dict):
        raise Unmapped("not_a_form")
    for name, word in _OTHER_CALLBACKS.items():
        if form.get(name):
            return Mapped(ignored=word)
    status = form.get("CallStatus", "")
    if not form.get("CallSid"):
        if form.get("MessageSid") or form.get("SmsSid"):
            return Mapped(ignored="not_about_a_call")
        raise Unmapped("missing:CallSid")
    if status in _UNDER_WAY:
        return Mapped(ignored="call_under_way")
    if status not in _ENDED:
        raise Unmapped("unknown_status")
    # A call over WhatsApp has a telephone number at its other end.
    ends = {end: form[end].removeprefix("whatsapp:") for end in ("From", "To") if end in form}
    leg = _Leg({**form, **ends}, origin.directory.in_region(options.default_region), options)
    return Mapped([_ended(leg, delivery.body, origin)])


def _ended(leg: _Leg, body: bytes, origin: Origin) -> CallLegEnded:
    form = leg.form
    ended = _moment(form.get("Timestamp"), origin)
    lasted = _number(form.get("CallDuration")) or 0
    sequence = _number(form.get("SequenceNumber"))
    answered = leg.answered_by_person
    report = digest_of(body) if sequence is None else f"{leg.sid}:{sequence}:{form['CallStatus']}"
    return reported(
        CallLegEnded,
        {
            **leg_report(
                origin,
                leg.parent or leg.sid,
                leg=leg.sid,
                report=report,
                order=TERMINAL + (sequence or 0),
                body=body,
                # A leg that this one opens in turn names this one, not the first.
                linked=[leg.sid],
            ),
            "occurred_at": ended - timedelta(seconds=lasted),
            "parties": _people(leg, origin),
            "root": leg.parent is None,
            "direction": leg.direction,
            "answered_by_person": answered,
            "talk_seconds": min(lasted, LONGEST_CALL) if answered else 0,
        },
    )


def _people(leg: _Leg, origin: Origin) -> tuple[Party, ...]:
    """Return the customer as caller or callee, our line opposite, and of a call passed on inside who took it."""
    caller, callee = leg.form.get("From", ""), leg.form.get("To", "")
    inbound, dialled = leg.direction == "in", leg.parent is not None
    # Whom an inbound call is passed on to is one of ours, wherever that telephone is.
    callee_ours = inbound or leg.is_ours("To")
    parties = (
        endpoint(leg.directory, "caller", caller, origin, ours=not inbound or leg.is_ours("From")),
        endpoint(leg.directory, "assignee" if inbound and dialled else "callee", callee, origin, ours=callee_ours),
    )
    return tuple(party for party in parties if party is not None)


def _moment(text: str | None, origin: Origin) -> datetime:
    """Read RFC 2822; callbacks of old applications carry no time and happened just now."""
    if not text:
        return origin.received_at
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        raise Unmapped("bad_time:Timestamp") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _number(text: str | None) -> int | None:
    if not text or not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return None
    return int(text)


PROVIDER = Provider(name="twilio", scheme=SchemeName.TWILIO, read=read, options=TwilioOptions, media=FORM)
