"""Rows into structured CloudEvents, as `sources.cloudevents` reads them: one way in for all that is not a webhook."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from contracts.events import BY_TYPE, ENVELOPE_FIELDS, Event
from contracts.events.order import OrderLine
from contracts.values import Kind, Money
from services.ingest.domain.identities import Directory, normalise_address, normalise_domain, one_line
from services.ingest.domain.mapping import micros, storable_text
from services.ingest.sources.rows import asterisk
from services.ingest.sources.rows.mapping import RowMapping, Take, filled
from services.ingest.sources.rows.reading import MARK, Rejected, Row, groups, refused
from services.ingest.sources.rows.values import BadCell, Writing, cell, exact, truth

_PARENTS = {Kind.REFUND: Kind.ORDER, Kind.DELIVERY: Kind.ORDER, Kind.COMMENT: Kind.TICKET}
_OWN_WAY = frozenset({"time", "updated", "currency", "line"})
_NEEDED_OF_LINES = tuple(name for name, field in OrderLine.model_fields.items() if field.is_required())
_STOOD = f"{MARK}line"
"""The column in which a report of rejected rows keeps where a row stood."""
_LINE = re.compile("[0-9]{1,9}", re.ASCII)
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_SECONDS_BITS = 33
"""Of seconds since 1970, until 2200."""
_LONGEST_LINE = 1000
_LONGEST_KEY = 1000


@dataclass(frozen=True, slots=True)
class Made:
    """One interaction's report: the structured CloudEvent, and the rows that it was made of."""

    event: Mapping[str, Any]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that are understood and no business of ours. `why` is a stable code."""

    why: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Export:
    """What is said of rows as a whole: whose ids they carry, when they were exported (aware; None: each says it)."""

    system: str
    exported_at: datetime | None
    by_moment: bool = False
    """Whether a row that does not say when it was so counts as of when it happened. Never as of when it came."""


def events(rows: Iterable[Row | Rejected], mapping: RowMapping, export: Export) -> Iterator[Made | LeftOut | Rejected]:
    """Yield what the rows of a file say, in their order."""
    return written_events(rows, Writer(mapping, export))


def written_events(rows: Iterable[Row | Rejected], writer: "Writer") -> Iterator[Made | LeftOut | Rejected]:
    """Yield the same from a writer that was made before."""
    for group in groups(rows, writer.mapping):
        if isinstance(group, Rejected):
            yield group
            continue
        try:
            event = writer.event(group)
        except BadCell as bad:
            yield refused(group, bad)
        except asterisk.Internal:
            yield LeftOut("internal_call", group)
        else:
            yield Made(event, group)


class Writer:
    """Writes the events of rows of one mapping, of one file or of many requests."""

    def __init__(self, mapping: RowMapping, export: Export) -> None:
        self.mapping = self._mapping = mapping
        self._export = export
        self._writing = mapping.writing
        self._phones = Directory(default_region=mapping.values.region)
        targets = [(target, target.partition("."), take) for target, take in mapping.fields.items()]
        self._fields = [
            (target, head, tail if dot else None, take)
            for target, (head, dot, tail), take in targets
            if head not in _OWN_WAY
        ]
        self._of_lines = [(tail, take) for _, (head, dot, tail), take in targets if head == "line" and dot]

    def event(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the event of the rows of one interaction; raise `BadCell`."""
        mapping, first = self._mapping, self._first(rows)
        if mapping.file.format == "asterisk":
            moment, key, data = self._leg(first)
            model, report = BY_TYPE["tenure.call.leg-ended.v1"], data["leg"]
        else:
            key = self._key(first)
            model = BY_TYPE[self._needed("type", mapping.event, first)]
            moment = self._moment_of("time", first)
            data, report = self._data(model, rows, first), self._report(first)
        return {
            "specversion": "1.0",
            "type": model.TYPE,
            "id": report,
            "source": f"/rows/{mapping.name}",
            "subject": key,
            "time": _written(moment),
            "sequence": str(self._order(first, moment, rows[0].line)),
            "data": data,
        }

    def _first(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        """What stands once for all lines may stand in the first of them only, or in every one."""
        if len(rows) == 1:
            return rows[0].cells
        united: dict[str, Any] = {}
        for row in reversed(rows):
            united.update({column: value for column, value in row.cells.items() if value not in (None, "")})
        return united

    def _key(self, row: Mapping[str, Any]) -> str:
        key = filled(self._mapping.key, row, self._mapping.constants)
        if key is None:
            raise BadCell("key", f"is empty: {self._mapping.key}", "fill in the source system's own id")
        if len(key) > _LONGEST_KEY:
            raise BadCell("key", "is too long", f"write at most {_LONGEST_KEY} characters")
        return key

    def _report(self, row: Mapping[str, Any]) -> str:
        """The same for every export of a data set: a later one corrects what an earlier one said."""
        told_apart = self._mapping.report
        if told_apart is None:
            return f"rows:{self._mapping.name}"
        part = filled(told_apart, row, self._mapping.constants)
        if part is None:
            raise BadCell("report", f"is empty: {told_apart}", "fill it in: it tells the reports of one key apart")
        return f"rows:{self._mapping.name}:{part}"[:_LONGEST_KEY]

    def _order(self, row: Mapping[str, Any], moment: datetime, line: int) -> int:
        """Return which of two rows about one thing counts: the one that was so later.

        Where rows tell one after the other what happened to it, what happened later stands above, whenever it was said.
        """
        said = self._said_at(row, moment, line)
        if not self._mapping.tells_what_happened:
            return micros(said)
        return (micros(moment) // _MINUTE << _SECONDS_BITS) + micros(said) // _SECOND

    def _said_at(self, row: Mapping[str, Any], moment: datetime, line: int) -> datetime:
        """When what the row says was so: by its own column, else when the file was exported, a later row later."""
        if "updated" in self._mapping.fields:
            take = self._mapping.fields["updated"]
            found = take.text(row, self._mapping.constants)
            if found is not None:
                return self._writing.moment(take.place, found)
        if self._export.by_moment:
            return moment
        if self._export.exported_at is None:
            raise BadCell(
                "updated", "does not say when the row was so", "fill it in, or say when the file was exported"
            )
        stood = cell(row, _STOOD) or ""
        return self._export.exported_at + timedelta(microseconds=int(stood) if _LINE.fullmatch(stood) else line)

    def _moment_of(self, target: str, row: Mapping[str, Any]) -> datetime:
        take = self._mapping.fields[target]
        return self._writing.moment(take.place, self._needed(target, take, row))

    def _needed(self, target: str, take: Take, row: Mapping[str, Any]) -> str:
        found = take.text(row, self._mapping.constants)
        if found is None:
            raise BadCell(take.place, "is empty", f"fill it in: it says the {target}")
        return found

    def _data(self, model: type[Event], rows: Sequence[Row], first: Mapping[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        parties: dict[str, dict[str, tuple[Take, str]]] = {}
        currency = self._currency(first)
        for target, head, tail, take in self._fields:
            text = take.text(first, self._mapping.constants)
            if text is None:
                continue
            if tail is None:
                value = self._field(model, target, take, text, currency, first)
                if value is not None:
                    data[target] = value
            elif head == "entry":
                entry = {"kind": tail, "at": _written(self._writing.moment(take.place, text))}
                data.setdefault("entries", []).append(entry)
            elif head == "reference":
                value = text if tail == "message" else f"{self._export.system}:{text}"
                data.setdefault("references", []).append({"kind": tail, "value": value})
            else:
                parties.setdefault(head, {})[tail] = (take, text)
        people = [self._party(role, known) for role, known in parties.items()]
        if any(people):
            data["parties"] = [party for party in people if party is not None]
        if self._of_lines and "lines" in model.model_fields:
            data["lines"] = [line for row in rows for line in self._lines(row.cells)]
        return data

    def _field(  # noqa: PLR0917 - what a field may need
        self, model: type[Event], target: str, take: Take, text: str, currency: str | None, row: Mapping[str, Any]
    ) -> Any:
        """Return what a plain field states; None: this event cannot state it."""
        if target == "title":
            return one_line(text, _LONGEST_LINE)
        if target == "text":
            return storable_text(text)
        if target == "parent":
            return self._parent(model, take, text)
        read = _reader(model, target)
        return None if read is None else read(self, take, text, row, currency)

    def _currency(self, row: Mapping[str, Any]) -> str | None:
        take = self._mapping.fields.get("currency")
        found = take.text(row, self._mapping.constants) if take is not None else None
        return (found or self._mapping.values.currency or "").upper() or None

    def _parent(self, model: type[Event], take: Take, text: str) -> dict[str, Any]:
        kind = _PARENTS.get(model.KIND) if model.KIND is not None else None
        if kind is None:
            raise BadCell(take.place, f"is no parent of a {model.TYPE}", "take it out of the mapping")
        return {"kind": kind.value, "system": self._export.system, "native_id": text}

    def _party(self, role: str, known: Mapping[str, tuple[Take, str]]) -> dict[str, Any] | None:
        identities: list[dict[str, str]] = []
        name: str | None = None
        for what, (take, text) in known.items():
            if what == "name":
                name = one_line(text)
            else:
                value = self._identity(what, take, text)
                if value is not None:
                    identities.append({"kind": what, "value": value})
        if not identities:
            return None
        return {"role": role, "identities": identities} | ({"name": name} if name else {})

    def _identity(self, what: str, take: Take, text: str) -> str | None:
        if what == "address":
            if normalise_address(text) is None:
                remedy = "write it as name@example.com, or leave it empty"
                raise BadCell(take.place, f"is no mail address: {text[:40]}", remedy)
            return text
        if what == "phone":
            # A withheld or internal number names nobody; that is no mistake of the row.
            return self._phones.phone(text)
        if what == "domain":
            domain = normalise_domain(text)
            if domain is None:
                raise BadCell(take.place, f"is no domain: {text[:40]}", "write it as example.com, or leave it empty")
            return domain
        return f"{self._export.system}:{text}"

    def _lines(self, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        inner = self._mapping.file.lines
        if inner is None:
            line = self._line(row)
            if line is not None:
                yield line
            return
        items = row.get(inner)
        if not isinstance(items, list):
            raise BadCell(inner, "is no list", "write the lines of the order as a list of objects")
        for item in items:
            line = self._line(item) if isinstance(item, dict) else None
            if line is None:
                raise BadCell(inner, "holds something that is no line", "write each line as an object with its product")
            yield line

    def _line(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        line: dict[str, Any] = {}
        for name, take in self._of_lines:
            text = take.text(row, self._mapping.constants)
            if text is None:
                continue
            line[name] = one_line(text, 256) if name == "product" else str(self.amount(take, text, row))
        # A row that states no line is one of the order alone: exports end with such rows, or have them for shipping.
        if not line:
            return None
        for name in _NEEDED_OF_LINES:
            if name not in line:
                known = self._mapping.fields.get(f"line.{name}")
                place = f"line.{name}" if known is None else known.place
                raise BadCell(place, "is empty", f"fill in the {name} of the line")
        return line

    def amount(self, take: Take, text: str, row: Mapping[str, Any]) -> Decimal:
        """Return an amount, multiplied and lessened as the mapping says."""
        number = self._writing.number(take.place, text)
        if take.times is not None:
            number *= self._writing.number(take.times, cell(row, take.times) or "1")
        if take.minus is not None:
            number -= self._writing.number(take.minus, cell(row, take.minus) or "0")
        return exact(take.place, number) if take.times or take.minus else number

    @property
    def writing(self) -> Writing:
        """How values are written."""
        return self._writing

    def _leg(self, row: Mapping[str, Any]) -> tuple[datetime, str, dict[str, Any]]:
        return asterisk.leg(row, self._mapping, self._export.system, self._phones)


_Read = Callable[[Writer, Take, str, Mapping[str, Any], str | None], Any]


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _money(writer: Writer, take: Take, text: str, row: Mapping[str, Any], currency: str | None) -> Any:
    if currency is None:
        raise BadCell(take.place, "has no currency", "name its column under fields.currency, or say values.currency")
    return {"amount": str(writer.amount(take, text, row)), "currency": currency}


def _day(writer: Writer, take: Take, text: str, row: Mapping[str, Any], currency: str | None) -> Any:  # noqa: ARG001 - one signature for all
    return writer.writing.day(take.place, text).isoformat()


def _instant(writer: Writer, take: Take, text: str, row: Mapping[str, Any], currency: str | None) -> Any:  # noqa: ARG001 - see above
    return _written(writer.writing.moment(take.place, text))


def _whole(writer: Writer, take: Take, text: str, row: Mapping[str, Any], currency: str | None) -> Any:  # noqa: ARG001 - see above
    return writer.writing.whole(take.place, text)


def _truth(writer: Writer, take: Take, text: str, row: Mapping[str, Any], currency: str | None) -> Any:  # noqa: ARG001 - see above
    return truth(take.place, text)


def _words(writer: Writer, take: Take, text: str, row: Mapping[str, Any], currency: str | None) -> Any:  # noqa: ARG001 - see above
    return [part for part in (one_line(each) for each in text.replace("|", ",").split(",")) if part]


def _plain(writer: Writer, take: Take, text: str, row: Mapping[str, Any], currency: str | None) -> Any:  # noqa: ARG001 - see above
    return one_line(text, _LONGEST_LINE)


_READERS: Mapping[Any, _Read] = {
    Money: _money,
    date: _day,
    datetime: _instant,
    int: _whole,
    bool: _truth,
    tuple: _words,
}


@lru_cache(maxsize=512)
def _reader(model: type[Event], field: str) -> _Read | None:
    """Return how a field's text is read, by its type; None for a field that this event does not have."""
    if field in ENVELOPE_FIELDS or field not in model.model_fields:
        return None
    read: _Read = _READERS.get(_kind_of(get_type_hints(model, include_extras=True)[field]), _plain)
    return read


def _kind_of(hint: Any) -> Any:
    """Return what a field holds without its constraints and without None."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _kind_of(get_args(hint)[0])
    if origin in (Union, UnionType):
        return _kind_of(next(one for one in get_args(hint) if one is not type(None)))
    return tuple if origin is tuple else hint
