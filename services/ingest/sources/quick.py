"""Lines of history, read in one go: straight from the bytes of a CloudEvent to those of the record.

`cloudevents.read_cloudevent` explains what is wrong and builds the whole report first; that is worth its time where a
line is wrong or unusual, and only there. So a line is taken here where there is no doubt about it, and left to the
other reader everywhere else: a property test demands that both say the same to the byte.

No doubt means: written compactly as most programs write JSON (then it is what was understood, written anew, to the
byte: no name stood twice, no number was rounded), nothing beside the attributes that we know, every constraint of the
event's model fulfilled, and a kind of interaction that the event's type says.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
import orjson

from contracts.events import BY_TYPE
from contracts.standins import stated_form
from contracts.values import EARLIEST, LATEST, Kind
from services.ingest.domain.mail_identity import MAIL_SYSTEM
from services.ingest.domain.mapping import MAPPER, Invalid, Origin
from services.ingest.domain.written import ReadLine, Written
from services.ingest.sources import cloudevents

_ATTRIBUTES = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "data", "sequence", "system", "datacontenttype"}
)
_LONGEST_ATTRIBUTE = cloudevents.LONGEST_ATTRIBUTE
_LONGEST_ID = 1024
_REWRITTEN = frozenset({"address", "phone"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_SORTED = orjson.OPT_SORT_KEYS
_MAPPER = b',"mapper":%d,"digest":"' % MAPPER
_encode = msgspec.json.Encoder().encode


class _Form(NamedTuple):
    """What all reports of one type from one system have in common."""

    stated: type[msgspec.Struct]
    kind: Kind
    system: str
    head: bytes
    """The record up to the native id."""
    interaction: bytes
    """What the id of the interaction is derived from, up to the native id."""
    event: bytes
    """What the id of the event is derived from, between the interaction and the report."""


def quick_lines(origin: Origin, systems: frozenset[str]) -> ReadLine:
    """Return the reader of an origin's lines; `services.ingest.domain.written.OpenLines`."""
    return QuickReader(origin, systems).read


class QuickReader:
    """Reads lines of one origin. `systems`: those that the extension `system` may name."""

    def __init__(self, origin: Origin, systems: frozenset[str]) -> None:
        self._origin = origin
        self._systems = systems
        self._directory = origin.directory
        self._latest = min(origin.received_at + cloudevents.FUTURE, LATEST)
        self._forms: dict[tuple[str, str], _Form | None] = {}
        self._head = b',"revision":{"authority":%d,"order":' % origin.authority
        self._source = b'"},"source":' + _encode(origin.source) + b',"occurred_at":'

    def read(self, line: bytes) -> Written | None:
        """Return the record of a line, or None where the other reader has to judge."""
        item = _parsed(line)
        if item is None:
            return None
        canonical = orjson.dumps(item, option=_SORTED)
        try:
            name, subject, report, data = item["type"], item["subject"], item["id"], item["data"]
            if not (_is_text(subject) and _is_text(report) and _is_text(item["source"])):
                return None
            form = self._form(name, item.get("system"))
            moment = self._moment(item["time"])
            if form is None or moment is None or type(data) is not dict:
                return None
            order = _order(item.get("sequence"), moment)
            if order is None:
                return None
            self._complete(data, form)
            system_id = cloudevents.mail_key(subject, data, moment) if form.kind is Kind.MAIL else subject
            tail = _encode(msgspec.convert(data, form.stated))
        except (KeyError, Invalid, msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
            return None
        named = system_id.encode()
        interaction = _uuid8(form.interaction + len(named).to_bytes(4, "big") + named)
        reported = report.encode()
        event = _uuid8(
            b"".join(
                (_EVENT, interaction.encode(), form.event, len(reported).to_bytes(4, "big"), reported),
            )
        )
        # Between quotation marks, as it stands in the record.
        time = _encode(moment)
        value = b"".join(
            (
                form.head,
                _encode(system_id),
                b'},"report":',
                _encode(report),
                self._revision(order, canonical),
                time,
                b"}" if tail == b"{}" else b"," + tail[1:],
            )
        )
        return Written(event, interaction, name, time[1:-1], value, item["source"])

    def _revision(self, order: int, canonical: bytes) -> bytes:
        mark = blake2b(canonical, digest_size=16).hexdigest()
        return b"%b%d%b%b%b" % (self._head, order, _MAPPER, mark.encode(), self._source)

    def _form(self, name: str, system: Any) -> _Form | None:
        try:
            return self._forms[name, system]
        except KeyError:
            pass
        except TypeError:
            return None
        found = self._forms[name, system] = self._new_form(name, system)
        return found

    def _new_form(self, name: str, named: str | None) -> _Form | None:
        model = BY_TYPE.get(name)
        if model is None or model.KIND is None or (named is not None and named not in self._systems):
            return None
        kind = model.KIND
        # A child's parent is of the system that reports it, even where the mail itself is of none.
        spoken = self._origin.system if named is None else named
        system = MAIL_SYSTEM if kind is Kind.MAIL else spoken
        head = b'{"interaction":{"kind":%b,"system":%b,"native_id":' % (_encode(kind.value), _encode(system))
        interaction = b"".join(map(_part, ("interaction", kind.value, system)))
        return _Form(stated_form(model), kind, spoken, head, interaction, _part(name))

    def _moment(self, text: Any) -> datetime | None:
        if type(text) is not str or cloudevents.TIME.fullmatch(text) is None:
            return None
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)
        return moment if EARLIEST <= moment <= self._latest and moment < LATEST else None

    def _complete(self, data: dict[str, Any], form: _Form) -> None:
        """Write identities and the parent as the other reader does, in place."""
        parties = data.get("parties")
        if parties is not None and not _are_written(parties):
            data["parties"] = cloudevents.parties_of(parties, self._directory)
        if "parent" in data:
            data["parent"] = cloudevents.parent_of(data["parent"], form.system)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return what a line says where it is plain beyond doubt, and no more than attributes that we know."""
    # An escaped code point may be one that cannot be stored. Depth needs no look: no model nests deep.
    if b"\\" in line and b"\\u" in line:
        return None
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if type(item) is not dict or not item.keys() <= _ATTRIBUTES or orjson.dumps(item) != line:
        return None
    if item.get("specversion") != "1.0" or item.get("datacontenttype", "application/json") != "application/json":
        return None
    return item


def _is_text(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= _LONGEST_ATTRIBUTE and not value.isspace()


def _order(sequence: Any, moment: datetime) -> int | None:
    """Return the order that a report states, else its moment in microseconds; None: the other reader has to judge."""
    if sequence is None:
        since = moment - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if type(sequence) is str and cloudevents.SEQUENCE.fullmatch(sequence) is not None:
        return int(sequence)
    return None


def _are_written(parties: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether identities need no writing: none is an address or a telephone number."""
    for party in parties:
        for identity in party["identities"]:
            if identity["kind"] in _REWRITTEN:
                return False
    return True


def _part(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


_EVENT = _part("event") + (36).to_bytes(4, "big")


def _uuid8(content: bytes) -> str:
    name = blake2b(content, digest_size=16).hexdigest()
    return f"{name[:8]}-{name[8:12]}-8{name[13:16]}-{_VARIANT[name[16]]}{name[17:20]}-{name[20:]}"
