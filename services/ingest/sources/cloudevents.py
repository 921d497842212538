"""CloudEvents 1.0 whose data is one of our reports: the language of `/v1/events`, of imports and of `tenure.inbound`.

`subject` is what the source system calls the interaction, `id` names the report, `time` is when it happened, the
extension `sequence` is its order (without one: `time` in microseconds). For mail, `subject` is the Message-ID.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pydantic import ValidationError

from contracts import standins
from contracts.events import BY_TYPE, Event
from contracts.values import EARLIEST, LATEST, Kind
from services.ingest.domain.identities import Directory, normalise_address
from services.ingest.domain.mail_identity import MAIL_SYSTEM, mail_native_id
from services.ingest.domain.mapping import Invalid, Origin, WrongField, micros
from services.runtime.problems import field_errors


def read_cloudevent(item: Any, origin: Origin, systems: frozenset[str] = frozenset()) -> Event:
    """Return the event of one structured CloudEvent (already parsed); raise `Invalid` naming every wrong field."""
    return Reader(origin, systems).read(item)


FUTURE = timedelta(days=1)
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
SEQUENCE = re.compile(r"\d{1,18}")
_OURS = frozenset({"interaction", "report", "revision", "source", "occurred_at"})
LONGEST_ATTRIBUTE = 1024


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads CloudEvents of one origin. `now` is the system's clock; what lies more than a day beyond it is refused."""

    origin: Origin
    systems: frozenset[str] = frozenset()
    """Systems that the extension `system` may name; empty: the extension is refused."""

    def read(self, item: Any) -> Event:
        """Return the event of one structured CloudEvent (already parsed); raise `Invalid` naming every wrong field."""
        if not isinstance(item, dict):
            raise _one("", "is no JSON object", "send a CloudEvent")
        attributes = _Attributes(item)
        model = _model(attributes)
        moment = self._time(attributes)
        data = _data(item)
        report = attributes.text("id")
        subject = attributes.text("subject")
        attributes.text("source")
        kind = model.KIND or _kind(data)
        data = {name: value for name, value in data.items() if not (name == "kind" and model.KIND is None)}
        system = self._system(attributes)
        data["parties"] = parties_of(data.get("parties", ()), self.origin.directory)
        if "parent" in data:
            data["parent"] = parent_of(data["parent"], system)
        if kind is Kind.MAIL:
            subject, system = mail_key(subject, data, moment), MAIL_SYSTEM
        order = attributes.sequence()
        # The same report says the same whether it came alone or in a batch, so its digest is over one canonical form.
        content = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        return _validate(
            model,
            {
                **data,
                "interaction": {"kind": kind, "system": system, "native_id": subject},
                "report": report,
                "revision": self.origin.revision_fields(micros(moment) if order is None else order, content),
                "source": self.origin.source,
                "occurred_at": moment,
            },
        )

    def _time(self, attributes: "_Attributes") -> datetime:
        moment = attributes.time()
        if moment > self.origin.received_at + FUTURE:
            raise _one("time", "lies more than a day in the future", "send when it happened, by a clock that is right")
        return moment

    def _system(self, attributes: "_Attributes") -> str:
        named = attributes.optional("system")
        if named is None:
            return self.origin.system
        if named not in self.systems:
            known = ", ".join(sorted(self.systems)) or "none here"
            raise _one("system", "is no configured system", f"leave it out, or use one of: {known}")
        return named


class _Attributes:
    """The context attributes of one CloudEvent, read one by one."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self._item = item
        if item.get("specversion") != "1.0":
            raise _one("specversion", "is not 1.0", 'write "specversion": "1.0"')

    def text(self, name: str) -> str:
        value = self.optional(name)
        if value is None:
            raise _one(name, "is missing", _WHAT[name])
        return value

    def optional(self, name: str) -> str | None:
        value = self._item.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_ATTRIBUTE:
            raise _one(name, f"must be a string of 1 to {LONGEST_ATTRIBUTE} characters", _WHAT.get(name, "correct it"))
        return value

    def time(self) -> datetime:
        value = self.text("time")
        remedy = "write an RFC 3339 time with an offset, such as 2026-03-02T09:30:00Z"
        if not TIME.fullmatch(value):
            raise _one("time", "is no RFC 3339 time with an offset", remedy)
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise _one("time", "is no moment of the calendar", remedy) from None
        if not EARLIEST <= moment < LATEST:
            raise _one("time", "must lie between 1990 and 2200", "check the unit and the clock of the source")
        return moment

    def sequence(self) -> int | None:
        value = self._item.get("sequence")
        if value is None:
            return None
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not SEQUENCE.fullmatch(text):
            raise _one(
                "sequence",
                "must be a whole number of at most 18 digits",
                "send the source's own order, or leave it out",
            )
        return int(text)


_WHAT = {
    "id": "name the report: what the source calls this change, the same each time it is sent",
    "source": "name the publisher as a URI reference, such as /erp",
    "subject": "name the interaction: what the source system calls the order, ticket, call …",
    "time": "say when it happened, such as 2026-03-02T09:30:00Z",
    "type": "name the event, such as tenure.order.placed.v1",
}


def _one(field: str, message: str, remedy: str) -> Invalid:
    return Invalid([WrongField(field, message, remedy)])


def _model(attributes: _Attributes) -> type[Event]:
    name = attributes.text("type")
    model = BY_TYPE.get(name)
    if model is not None:
        return model
    family = name.rpartition(".")[0]
    versions = sorted(known for known in BY_TYPE if known.rpartition(".")[0] == family)
    if versions:
        raise _one("type", "has a version that is not read here", f"use {', '.join(versions)}")
    raise _one("type", "is no type that is read here", "use a type of the contracts, such as tenure.order.placed.v1")


def _data(item: Mapping[str, Any]) -> dict[str, Any]:
    content_type = item.get("datacontenttype", "application/json")
    if content_type != "application/json":
        raise _one("datacontenttype", "is not application/json", "send the data as a JSON object")
    if "data_base64" in item:
        raise _one("data_base64", "is not read here", "send the data as a JSON object in `data`")
    data = item.get("data")
    if not isinstance(data, dict):
        raise _one("data", "is missing or no object", "send the event's fields as a JSON object")
    for name in sorted(_OURS & data.keys()):
        raise _one(f"data.{name}", "is not yours to state", "leave the field out: it follows from the attributes")
    return data


def _kind(data: Mapping[str, Any]) -> Kind:
    try:
        return Kind(str(data.get("kind")))
    except ValueError:
        known = ", ".join(kind.value for kind in Kind)
        raise _one("data.kind", "is missing or unknown", f"say what is withdrawn or restored: {known}") from None


def parent_of(parent: Any, system: str) -> Any:
    """Return a parent with its system: the one that reports it, unless it says another."""
    if isinstance(parent, dict) and "system" not in parent:
        return {**parent, "system": system}
    return parent


def parties_of(parties: Any, directory: Directory) -> Any:
    """Write identities as we write them, and state the company's domain and whether somebody is ours."""
    if not isinstance(parties, list | tuple):
        return parties
    return [_party(party, f"data.parties.{position}", directory) for position, party in enumerate(parties)]


def _party(party: Any, path: str, directory: Directory) -> Any:
    if not isinstance(party, dict) or not isinstance(party.get("identities"), list):
        return party
    identities: list[Any] = []
    own = False
    for position, identity in enumerate(party["identities"]):
        normal = _identity(identity, f"{path}.identities.{position}", directory)
        identities.append(normal)
        # What is no text is the model's to refuse.
        if isinstance(normal, dict) and normal.get("kind") == "address" and isinstance(normal.get("value"), str):
            own = own or directory.is_own(normal["value"])
            domain = {"kind": "domain", "value": directory.company_of(normal["value"])}
            if domain["value"] and domain not in party["identities"]:
                identities.append(domain)
    return {**party, "identities": identities, "ours": True} if own else {**party, "identities": identities}


def _identity(identity: Any, path: str, directory: Directory) -> Any:
    if not isinstance(identity, dict) or not isinstance(identity.get("value"), str):
        return identity
    value, kind = identity["value"], identity.get("kind")
    if kind == "address":
        address = normalise_address(value)
        if address is None:
            raise _one(f"{path}.value", "is no mail address", "send it as name@example.com")
        return {**identity, "value": address}
    if kind == "phone":
        number = directory.phone(value)
        if number is None:
            raise _one(f"{path}.value", "is no telephone number", "send it in E.164, such as +493012345678")
        return {**identity, "value": number}
    return identity


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list; what else it holds, or is, is the model's to refuse."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []


def mail_key(subject: str, data: Mapping[str, Any], moment: datetime) -> str:
    """Return the native id that the mail doors derive, when `subject` is a Message-ID; else `subject` is the id."""
    if not (subject.startswith("<") and subject.endswith(">")):
        return subject
    address = next(
        (
            identity["value"]
            for party in _objects(data.get("parties"))
            if party.get("role") == "from"
            for identity in _objects(party.get("identities"))
            if identity.get("kind") == "address" and isinstance(identity.get("value"), str)
        ),
        None,
    )
    if address is None:
        raise _one(
            "data.parties",
            "has no address with the role from",
            "name the sender: mail is known by Message-ID, sender and date",
        )
    sent = data.get("sent_at")
    try:
        dated = moment if sent is None else datetime.fromisoformat(sent)
    except (TypeError, ValueError):
        raise _one(
            "data.sent_at", "is no RFC 3339 time", "write the Date header, such as 2026-03-02T09:30:00Z"
        ) from None
    if dated.tzinfo is None:
        raise _one("data.sent_at", "has no offset", "write an offset, such as 2026-03-02T09:30:00Z")
    try:
        return mail_native_id(subject, address, dated)
    except OverflowError:
        raise _one("data.sent_at", "is no moment of the calendar", "write when it was sent") from None


def _validate(model: type[Event], fields: dict[str, Any]) -> Event:
    quick = standins.made(model, fields)
    if quick is not None:
        return quick
    try:
        return model.model_validate(fields, extra="forbid")
    except ValidationError as error:
        found = field_errors(error.errors(include_url=False, include_input=False, include_context=False))
        raise Invalid([WrongField(_place(each.field), each.message, each.remedy) for each in found[:20]]) from None


def _place(path: str) -> str:
    """Say where the sender wrote it: the interaction comes from the attributes, everything else from `data`."""
    if path.startswith("interaction.native_id"):
        return "subject"
    if path.startswith("report"):
        return "id"
    if path == "body":
        # What is wrong with several fields together.
        return "data"
    return f"data.{path}"
