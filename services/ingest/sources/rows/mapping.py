"""A mapping: TOML that says what the columns of a table mean. Checked whole when it is read, before any row is."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from contracts.events import BY_TYPE, ENVELOPE_FIELDS, Event
from contracts.events.order import OrderLine
from contracts.values import Currency, PartyRole
from services.ingest.domain.places import Region
from services.ingest.sources.rows.values import BadCell, Writing, cell

_SHIPPED = "services.ingest.sources.rows"
_PLACE = re.compile(r"\{([^{}]+)\}")
_PARTY = frozenset({"address", "phone", "domain", "person", "organisation", "name"})
_ENVELOPE = frozenset({"time", "updated", "title", "text", "currency", "parent"})
_REFERENCES = frozenset({"message", "thread", "ticket", "call"})
_ROLES = frozenset(get_args(PartyRole))


class BadMapping(ValueError):
    """The mapping is wrong; one plain sentence that names the field and the remedy."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Take(_Part):
    """Where a value comes from: a column, a template over columns, or a constant; then through a table of words."""

    column: str | None = None
    template: str | None = Field(default=None, alias="text")
    value: str | None = None
    words: Mapping[str, str] | None = Field(default=None, alias="map")
    """What stands in the file → what it means; compared without regard to case."""
    optional: bool = False
    """Whether the file may lack the column altogether."""
    default: str | None = None
    """For an empty cell, and for a word that `map` does not know; without one such a word is refused."""
    times: str | None = None
    """A column to multiply an amount by."""
    minus: str | None = None
    """A column to take from it afterwards."""

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> "Take":
        if sum(one is not None for one in (self.column, self.template, self.value)) != 1:
            raise ValueError("say exactly one of column, text, value")
        return self

    @cached_property
    def _by_word(self) -> Mapping[str, str]:
        return {word.casefold(): means for word, means in (self.words or {}).items()}

    @property
    def place(self) -> str:
        """What to name when the value is wrong."""
        return self.column or self.template or "the mapping"

    @property
    def columns(self) -> Iterator[str]:
        """Yield the columns that are read."""
        yield from filter(None, (self.column, self.times, self.minus))
        yield from _PLACE.findall(self.template or "")

    def text(self, row: Mapping[str, Any], constants: Mapping[str, str]) -> str | None:
        """Return what a row says; raise `BadCell` for a word that means nothing."""
        if self.column is not None:
            stands = row.get(self.column)
            # Nearly every cell is one: without two more calls for each.
            found = stands.strip() or None if type(stands) is str else cell(row, self.column)
        elif self.template is not None:
            found = filled(self.template, row, constants)
        else:
            found = self.value
        if found is None or self.words is None:
            return self.default if found is None else found
        meant = self._by_word.get(found.casefold(), self.default)
        if meant is None:
            known = ", ".join(self.words)
            raise BadCell(self.place, f"means nothing here: {found[:40]}", f"write one of {known}, or add it to map")
        return meant or None


@lru_cache(maxsize=1024)
def _places(template: str) -> tuple[str, ...]:
    return tuple(_PLACE.findall(template))


def filled(template: str, row: Mapping[str, Any], constants: Mapping[str, str]) -> str | None:
    """Return the template with columns and constants put in; None when one of them is empty."""
    parts: dict[str, str] = {}
    for name in _places(template):
        found = cell(row, name) or constants.get(name)
        if found is None:
            return None
        parts[name] = found
    return _PLACE.sub(lambda place: parts[place[1]], template)


def _take(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


def _constant(value: object) -> object:
    return {"value": value} if isinstance(value, str) else value


Taken = Annotated[Take, BeforeValidator(_take)]


class FileForm(_Part):
    """How the file is written."""

    format: Literal["csv", "ndjson", "asterisk"] | None = None
    """None: by the file's name."""
    encoding: str = "utf-8"
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None
    """None: whichever of , ; tab and | the heading has most of."""
    columns: tuple[str, ...] = ()
    """Names, for a file without a heading."""
    group: str | None = None
    """A template: neighbouring rows in which it is the same are one interaction, a line each."""
    lines: str | None = None
    """Where one object of NDJSON keeps its lines."""


class Values(_Part):
    """How values are written."""

    zone: str = "UTC"
    dates: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    currency: Currency | None = None
    region: Region | None = None
    """Whose national telephone numbers appear without a prefix."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> "Values":
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must differ")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"zone: {self.zone!r} is no time zone; write one such as Europe/Berlin") from None
        return self


class Asterisk(_Part):
    """What a telephone system's records do not say themselves."""

    extensions: str = r"\d{2,6}"
    """What our own extensions look like: a regular expression for the whole name."""
    own_numbers: tuple[str, ...] = ()
    """Our own outside numbers, or what they begin with, in E.164."""

    @field_validator("extensions")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as wrong:
            raise ValueError(f"is no regular expression: {wrong}") from None
        return pattern


class RowMapping(_Part):
    """One mapping file."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    """The data set. Part of every report's id: a later export of the same data set corrects the earlier one."""
    about: str = ""
    event: Annotated[Take, BeforeValidator(_constant), Field(alias="type")]
    """The CloudEvents type, or which it is by a column."""
    key: Annotated[str, StringConstraints(min_length=1)]
    """The source system's id of the interaction, as a template over columns: "{Order no}"."""
    report: str | None = None
    """A template that tells several reports about one interaction apart; without it a later row corrects an earlier."""
    system: str | None = None
    constants: Mapping[str, str] = {}
    """Names for templates; an empty one has to be given with --set."""
    domains: tuple[str, ...] = ()
    """Those of the constants that are domains: however they are given, they are the same in small letters."""
    file: FileForm = FileForm()
    values: Values = Values()
    asterisk: Asterisk = Asterisk()
    fields: Mapping[str, Taken] = {}

    @model_validator(mode="after")
    def _makes_sense(self) -> "RowMapping":
        if not _PLACE.search(self.key):
            raise ValueError('key: names no column; write it as "{Order no}"')
        known = known_fields(self.types)
        for target in self.fields:
            if target not in known and not _is_dotted(target, known):
                there = ", ".join(sorted(known))
                raise ValueError(f"fields.{target}: is nothing that a row can state; there are {there}")
        if self.file.format != "asterisk" and "time" not in self.fields:
            raise ValueError("fields.time: is missing; name the column that says when it happened")
        return self

    @property
    def types(self) -> Sequence[type[Event]]:
        """The events that a row can become."""
        named = {self.event.value, self.event.default, *(self.event.words or {}).values()} - {None, ""}
        for name in named:
            if name not in BY_TYPE:
                raise ValueError(f"type: {name} is no type that is read here; use one such as tenure.order.placed.v1")
        if not named:
            raise ValueError("type: says no event; write one such as tenure.order.placed.v1")
        return [BY_TYPE[str(name)] for name in sorted(map(str, named))]

    @property
    def writing(self) -> Writing:
        """How values are written."""
        return Writing(ZoneInfo(self.values.zone), self.values.dates, self.values.decimal, self.values.thousands)

    @property
    def columns(self) -> set[str]:
        """Every column that a table must have."""
        found = {*_PLACE.findall(self.key), *_PLACE.findall(self.file.group or ""), *self.event.columns}
        found.update(_PLACE.findall(self.report or ""))
        for target, take in self.fields.items():
            if not take.optional and not (self.file.lines and target.startswith("line.")):
                found.update(take.columns)
        return found - set(self.constants)

    @cached_property
    def tells_what_happened(self) -> bool:
        """Whether the reports about one thing are told apart by when it happened: each is of another moment."""
        time = self.fields.get("time")
        return time is not None and time.column is not None and time.column in _PLACE.findall(self.report or "")

    @property
    def read(self) -> set[str]:
        """Every column that is read where there is one."""
        return self.columns | {column for take in self.fields.values() for column in take.columns}

    def with_constants(self, given: Mapping[str, str]) -> "RowMapping":
        """Return the mapping with these values for its constants."""
        written = {name: value.strip().lower() if name in self.domains else value for name, value in given.items()}
        return self.model_copy(update={"constants": {**self.constants, **written}})

    def missing_constants(self) -> list[str]:
        """Return the constants that have no value yet."""
        return [name for name, value in self.constants.items() if not value]


def known_fields(types: Sequence[type[Event]]) -> frozenset[str]:
    """Return the plain names of what rows of these types can state."""
    own = {name for model in types for name in model.model_fields if name not in ENVELOPE_FIELDS}
    return _ENVELOPE | own


def _is_dotted(target: str, known: frozenset[str]) -> bool:
    head, dot, tail = target.partition(".")
    if not dot:
        return False
    if head == "line":
        return "lines" in known and tail in OrderLine.model_fields
    if head == "entry":
        return re.fullmatch("[a-z_]{1,32}", tail) is not None
    if head == "reference":
        return tail in _REFERENCES
    return head in _ROLES and tail in _PARTY


def read_mapping(text: str) -> RowMapping:
    """Return the mapping that a TOML text says; raise `BadMapping`."""
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise BadMapping(f"is not TOML: {wrong}") from None
    if "key" not in parsed:
        raise BadMapping('key: is missing; name the column with the source system\'s id, such as key = "{Order no}"')
    try:
        return RowMapping.model_validate(parsed)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise BadMapping(f"{place}: {said}" if place else said) from None


@dataclass(frozen=True, slots=True)
class Shipped:
    """A mapping that comes with Tenure."""

    name: str
    about: str


def shipped() -> list[Shipped]:
    """Return the mappings that come with Tenure, by name."""
    files = resources.files(_SHIPPED).joinpath("shipped").iterdir()
    names = sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
    return [Shipped(name, shipped_mapping(name).about) for name in names]


def shipped_mapping(name: str) -> RowMapping:
    """Return a mapping that comes with Tenure; raise `BadMapping` when there is none of that name."""
    file = resources.files(_SHIPPED).joinpath("shipped", f"{name}.toml")
    if re.fullmatch("[a-z0-9-]{1,40}", name) is None or not file.is_file():
        raise BadMapping(f"there is no mapping called {name}")
    return read_mapping(file.read_text(encoding="utf-8"))
