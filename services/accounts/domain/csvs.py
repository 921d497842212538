"""Tables that people import: from bytes to typed rows, with a reason and a remedy for every row that is wrong.

UTF-8 with or without a byte order mark; cells separated by commas or semicolons. Lines count from 1, the heading
included. A wrong heading refuses the file; a wrong row refuses the row.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import Literal, Protocol, get_args
from zoneinfo import ZoneInfo

from contracts.accounts import AccountClass, GroupRole, Stage
from contracts.currencies import CURRENCIES
from contracts.values import EARLIEST, LATEST

_LONGEST = 1000


class _Reader(Protocol):
    """What `csv.reader` returns."""

    line_num: int

    def __next__(self) -> list[str]: ...


class BadCell(ValueError):
    """A cell that cannot be taken: which column, what is wrong, what to write."""

    def __init__(self, column: str, reason: str, remedy: str) -> None:
        super().__init__(f"{column} {reason}; {remedy}")
        self.column = column
        self.reason = reason
        self.remedy = remedy


class BadFile(ValueError):
    """A file that cannot be read at all; `column` where a heading is to blame."""

    def __init__(self, column: str, reason: str, remedy: str) -> None:
        super().__init__(f"{column} {reason}; {remedy}")
        self.column = column
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not taken."""

    line: int
    column: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Cells:
    """One row: the cells by column, trimmed; what is empty is not stated."""

    line: int
    values: Mapping[str, str]

    def text(self, column: str) -> str | None:
        """Return a cell, or None."""
        return self.values.get(column) or None

    def required(self, column: str) -> str:
        """Return a cell that must be there."""
        value = self.text(column)
        if value is None:
            raise BadCell(column, "is empty", "fill it in")
        return value

    def several(self, column: str) -> tuple[str, ...]:
        """Return the parts of a cell that are separated by `|`."""
        return tuple(part for part in (part.strip() for part in (self.text(column) or "").split("|")) if part)

    def day(self, column: str) -> date | None:
        """Return a day."""
        value = self.text(column)
        if value is None:
            return None
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise BadCell(column, f"is no day: {value[:40]}", "write it like 2026-03-02") from None
        if not EARLIEST.year <= day.year < LATEST.year:
            raise BadCell(column, f"lies in the year {day.year}", "write a day between 1990 and 2199")
        return day

    def moment(self, column: str, zone: tzinfo) -> datetime | None:
        """Return a moment; a day alone begins at midnight of `zone`."""
        value = self.text(column)
        if value is None:
            return None
        if len(value) == len("2026-03-02"):
            day = self.day(column)
            return None if day is None else datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None or not EARLIEST.year <= moment.year < LATEST.year:
            raise BadCell(column, f"is no moment: {value[:40]}", "write 2026-03-02 or 2026-03-02T09:30:00Z")
        return moment

    def choice(self, column: str, choices: Sequence[str]) -> str | None:
        """Return one of `choices`."""
        value = self.text(column)
        if value is not None and value not in choices:
            raise BadCell(column, f"is none of the values known: {value[:40]}", f"write one of {', '.join(choices)}")
        return value

    def yes(self, column: str) -> bool:
        """Return whether a cell says yes; an empty one says no."""
        return self.choice(column, ("yes", "no")) == "yes"

    def number(self, column: str, low: int, high: int) -> int | None:
        """Return a whole number from `low` to `high`."""
        value = self.text(column)
        if value is None:
            return None
        sign, digits = (-1, value[1:]) if value.startswith("-") else (1, value)
        if not digits.isdecimal() or len(digits) > 6 or not low <= sign * int(digits) <= high:  # noqa: PLR2004 - int() of a million digits is slow
            raise BadCell(column, f"is no whole number from {low} to {high}", f"write {low} to {high}")
        return sign * int(digits)

    def span(self, since_column: str, until_column: str) -> tuple[date | None, date | None]:
        """Return two days, the second after the first."""
        since, until = self.day(since_column), self.day(until_column)
        if since is not None and until is not None and until <= since:
            raise BadCell(until_column, f"is not after {since_column}", "give a later day")
        return since, until


def read(content: bytes, columns: Mapping[str, bool]) -> Iterator[Cells | Rejected]:
    """Read a table whose `columns` are known (True: must be there); raises `BadFile` for a wrong heading at once."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content[: wrong.start].count(b"\n") + 1
        raise BadFile("file", f"is not UTF-8 (line {line})", "save it as CSV UTF-8") from None
    heading = text.partition("\n")[0]
    delimiter = ";" if heading.count(";") > heading.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    names = _heading(reader, columns)
    return _rows(reader, names)


def _heading(reader: _Reader, columns: Mapping[str, bool]) -> list[str]:
    try:
        names = [name.strip().casefold() for name in next(reader)]
    except (StopIteration, csv.Error):
        raise BadFile("file", "is empty", f"begin with the heading {','.join(columns)}") from None
    for name in names:
        if name not in columns:
            raise BadFile(name[:100] or "heading", "is no column of this table", f"use {', '.join(columns)}")
        if names.count(name) > 1:
            raise BadFile(name, "stands twice in the heading", "leave one of the columns out")
    for name, needed in columns.items():
        if needed and name not in names:
            raise BadFile(name, "is missing in the heading", f"add the column {name}")
    return names


def _rows(reader: _Reader, names: Sequence[str]) -> Iterator[Cells | Rejected]:
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as wrong:
            yield Rejected(line, "row", f"cannot be read ({wrong})", "check the quotation marks around it")
            continue
        if not any(cells):
            continue
        if len(cells) != len(names):
            yield Rejected(
                line,
                "row",
                f"has {len(cells)} cells where the heading has {len(names)}",
                "put cells that hold a separator in quotation marks",
            )
            continue
        values = dict(zip(names, cells, strict=True))
        bad = next((name for name, value in values.items() if "\x00" in value or len(value) > 20 * _LONGEST), None)
        if bad is not None:
            yield Rejected(line, bad, "holds a NUL character or is too long", "correct the cell")
            continue
        yield Cells(line, values)


@dataclass(frozen=True, slots=True)
class UserRow:
    """A row of users.csv."""

    email: str
    name: str
    role: str
    team: str | None
    issuer: str | None
    subject: str | None
    time_zone: str | None
    holidays: str | None
    mailboxes: tuple[str, ...]
    deputy: str | None
    deputy_since: date | None
    deputy_until: date | None


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A row of accounts.csv."""

    key: str
    name: str
    account_class: str | None
    key_since: date | None
    stage: str | None
    stage_since: date | None
    owner: str | None
    owner_since: date | None
    team: tuple[str, ...]
    parent: str | None
    parent_since: date | None
    currency: str | None
    created_at: datetime | None
    domains: tuple[str, ...]
    organisations: tuple[str, ...]
    history_complete: bool


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A row of contacts.csv."""

    key: str
    account: str
    name: str
    addresses: tuple[str, ...]
    phones: tuple[str, ...]
    persons: tuple[str, ...]
    buying_centre: str | None
    roles: tuple[str, ...]
    role_since: date | None
    influence: int | None
    attitude: int | None
    since: date | None
    until: date | None


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A row of domains.csv."""

    account: str
    domain: str
    since: date | None


def user_row(cells: Cells, zone: tzinfo) -> UserRow:  # noqa: ARG001 - every row reader takes the zone
    """Read a row of users.csv."""
    issuer, subject = cells.text("issuer"), cells.text("subject")
    if (issuer is None) != (subject is None):
        raise BadCell(
            "subject" if subject is None else "issuer",
            "is empty",
            "issuer and subject name one identity together: fill in both or neither",
        )
    time_zone = cells.text("time_zone")
    if time_zone is not None:
        try:
            ZoneInfo(time_zone)
        except (KeyError, ValueError, OSError):
            raise BadCell("time_zone", f"is no time zone: {time_zone[:40]}", "write one like Europe/Berlin") from None
    since, until = cells.span("deputy_since", "deputy_until")
    deputy = cells.text("deputy_email")
    if deputy is not None and since is None:
        raise BadCell("deputy_since", "is empty", "say from which day the deputy stands in")
    role = cells.choice("role", ("manager", "lead", "operator", "admin"))
    return UserRow(
        email=cells.required("email"),
        name=_short(cells, "name"),
        role=role or cells.required("role"),
        team=cells.text("team"),
        issuer=issuer,
        subject=subject,
        time_zone=time_zone,
        holidays=cells.text("holidays"),
        mailboxes=cells.several("mailboxes"),
        deputy=deputy,
        deputy_since=since,
        deputy_until=until,
    )


def account_row(cells: Cells, zone: tzinfo) -> AccountRow:
    """Read a row of accounts.csv."""
    currency = cells.text("currency")
    if currency is not None and currency not in CURRENCIES:
        raise BadCell("currency", f"is no ISO 4217 currency: {currency[:10]}", "write a code such as EUR")
    return AccountRow(
        key=cells.required("account"),
        name=_short(cells, "name", 256),
        account_class=cells.choice("class", get_args(AccountClass)),
        key_since=cells.day("key_since"),
        stage=cells.choice("stage", get_args(Stage)),
        stage_since=cells.day("stage_since"),
        owner=cells.text("owner_email"),
        owner_since=cells.day("owner_since"),
        team=cells.several("team_emails"),
        parent=cells.text("parent"),
        parent_since=cells.day("parent_since"),
        currency=currency,
        created_at=cells.moment("created_at", zone),
        domains=cells.several("domains"),
        organisations=cells.several("organisations"),
        history_complete=cells.yes("history_complete"),
    )


def contact_row(cells: Cells, zone: tzinfo) -> ContactRow:  # noqa: ARG001 - every row reader takes the zone
    """Read a row of contacts.csv."""
    roles = cells.several("roles")
    for role in roles:
        if role not in get_args(GroupRole):
            raise BadCell(
                "roles", f"holds no role: {role[:40]}", f"write of {', '.join(get_args(GroupRole))}, separated by |"
            )
    centre = cells.text("buying_centre")
    if centre is None and (roles or cells.text("influence") or cells.text("attitude")):
        raise BadCell(
            "buying_centre", "is empty although there are roles, influence or attitude", "name the buying centre"
        )
    since, until = cells.span("since", "until")
    return ContactRow(
        key=cells.required("contact"),
        account=cells.required("account"),
        name=_short(cells, "name"),
        addresses=cells.several("addresses"),
        phones=cells.several("phones"),
        persons=cells.several("persons"),
        buying_centre=centre,
        roles=roles,
        role_since=cells.day("role_since"),
        influence=cells.number("influence", 1, 5),
        attitude=cells.number("attitude", -2, 2),
        since=since,
        until=until,
    )


def domain_row(cells: Cells, zone: tzinfo) -> DomainRow:  # noqa: ARG001 - every row reader takes the zone
    """Read a row of domains.csv."""
    return DomainRow(cells.required("account"), cells.required("domain"), cells.day("since"))


def _short(cells: Cells, column: str, longest: int = _LONGEST) -> str:
    value = cells.required(column)
    if len(value) > longest:
        raise BadCell(column, f"has more than {longest} characters", "shorten it")
    return value


TableName = Literal["users", "accounts", "contacts", "domains"]
Row = UserRow | AccountRow | ContactRow | DomainRow

_NEEDED = {
    "users": {"email", "name", "role"},
    "accounts": {"account", "name"},
    "contacts": {"contact", "account", "name"},
    "domains": {"account", "domain"},
}
_HEADINGS = {
    "users": "email,name,role,team,issuer,subject,time_zone,holidays,mailboxes,deputy_email,deputy_since,deputy_until",
    "accounts": "account,name,class,key_since,stage,stage_since,owner_email,owner_since,team_emails,parent,"
    "parent_since,currency,created_at,domains,organisations,history_complete",
    "contacts": "contact,account,name,addresses,phones,persons,buying_centre,roles,role_since,influence,attitude,"
    "since,until",
    "domains": "account,domain,since",
}
COLUMNS: Mapping[str, Mapping[str, bool]] = {
    table: {name: name in _NEEDED[table] for name in heading.split(",")} for table, heading in _HEADINGS.items()
}
"""By table its columns, and whether they must be there."""

READERS: Mapping[str, Callable[[Cells, tzinfo], Row]] = {
    "users": user_row,
    "accounts": account_row,
    "contacts": contact_row,
    "domains": domain_row,
}
