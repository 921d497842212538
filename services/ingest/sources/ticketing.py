"""What the mappings of service desks have in common: the words for statuses, how a report about a ticket is built.

Dated entries are kept to the second, in which most desks write them, so that what a webhook says and what history says
unite. The order of reports keeps all that a desk gives.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html import unescape
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Struct
from pydantic import BeforeValidator

from contracts.events import (
    Event,
    InteractionRestored,
    InteractionWithdrawn,
    TicketClosed,
    TicketCommented,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from contracts.values import Authority, Automatic, Direction, InteractionKey, Kind, Party, Reference
from services.ingest.domain.identities import one_line
from services.ingest.domain.mapping import LONGEST_TEXT, Mapped, Origin, Unmapped, digest_of, storable_text
from services.ingest.domain.provider import Options
from services.ingest.domain.reports import key_of, reference_to, reported
from services.ingest.sources.mail_message import text_of_html

Status = Literal["new", "open", "pending", "on_hold", "resolved", "closed"]
Priority = Literal["low", "normal", "high", "urgent"]
W = TypeVar("W")
FINISHED = frozenset({"resolved", "closed"})

_LONGEST_WORD = 200
_LONGEST_TITLE = 1000
_MOST_TAGS = 200
_EVENT_NAME = re.compile(r"[a-z][a-z0-9_.:]{0,63}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ADF_BLOCKS = frozenset(
    {"paragraph", "heading", "listItem", "codeBlock", "blockquote", "tableRow", "rule", "hardBreak", "taskItem"}
)
_MOST_NODES = 20_000
_LONGEST_SIMPLE = 20_000
# What is quoted, hidden or no text, or what a parser would move or mend …
_NOT_SIMPLE = (
    *("blockquote", "style", "script", "head", "title", "template", "noscript", "textarea", "select", "option", "svg"),
    *("math", "table", "tr", "td", "pre"),
)
# … and line breaks that are none in HTML.
_ODD_BREAK = re.compile("[\x00\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_WRITTEN_BREAK = re.compile(r"&#0*1?[0-3];|&#x0*[0-9a-d];", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+>")
_BLOCKS = frozenset({"p", "div", "br", "li", "h1", "h2", "h3", "h4", "h5", "h6", "section"})
_EMPTY_LINES = re.compile(r"\n{3,}")


def word(value: object) -> str:
    """Return a desk's own word, or the number of one, in the one way in which words are compared; "" for neither."""
    kind = type(value)
    if kind is not str and kind is not int:
        return ""
    return _compared(str(value)[:_LONGEST_WORD])


@lru_cache(maxsize=4096)
def _compared(text: str) -> str:
    # Desks have few words, and are asked for each of them again and again.
    return " ".join(text.lower().split())


def _by_word(table: object) -> object:
    return {word(name): value for name, value in table.items()} if isinstance(table, dict) else table


class DeskOptions(Options):
    """What a desk with statuses and priorities of its own may say about them, by name or number."""

    statuses: Annotated[Mapping[str, Status], BeforeValidator(_by_word)] = {}
    priorities: Annotated[Mapping[str, Priority], BeforeValidator(_by_word)] = {}

    def status(self, known: Mapping[str, Status], *spellings: object) -> Status | None:
        """Return the status that the first of `spellings` means which means one; what is configured comes first."""
        return _first((self.statuses, known), spellings)

    def priority(self, known: Mapping[str, Priority], *spellings: object) -> Priority | None:
        """Return the same of priorities."""
        return _first((self.priorities, known), spellings)


def _first(tables: Iterable[Mapping[str, W]], spellings: Sequence[object]) -> W | None:
    words = [word(spelling) for spelling in spellings if spelling is not None]
    for table in tables:
        for each in words if table else ():
            if each in table:
                return table[each]
    return None


def change_of_status(before: Status | None, now: Status | None) -> type[Event]:
    """Return the event that a change of status is."""
    if now == before:
        return TicketUpdated
    if now == "resolved":
        return TicketResolved
    if now == "closed":
        return TicketClosed
    return TicketReopened if now is not None and before in FINISHED else TicketUpdated


def entry(kind: str, at: datetime | None) -> tuple[dict[str, Any], ...]:
    """Return a dated entry to the second, or nothing where there is no date."""
    return () if at is None else ({"kind": kind, "at": to_second(at)},)


def to_second(moment: datetime) -> datetime:
    """Return the second in which `moment` lies."""
    return moment.replace(microsecond=0) if moment.microsecond else moment


def from_milliseconds(value: object, field: str) -> datetime:
    """Read milliseconds since 1970; raise `Unmapped` naming the field."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return _EPOCH + timedelta(milliseconds=value)
        except OverflowError:
            pass
    raise Unmapped(f"bad_time:{field}")


def written(text: object, *, html: bool = True) -> str | None:
    """Return free text as it may be kept: the words of HTML, without what a reply quotes."""
    if not isinstance(text, str) or not text.strip():
        return None
    if not html or not ("<" in text or "&" in text):
        return storable_text(text)
    plain = _words_of_simple_html(text)
    return storable_text(text_of_html(text) if plain is None else plain)


def _words_of_simple_html(html: str) -> str | None:
    """Return what the parser of mails would, for paragraphs and the like; None: ask it.

    Nearly all that desks send is a few paragraphs, and building a tree of them takes as long as all the rest.
    """
    if len(html) > _LONGEST_SIMPLE or _has_odd_break(html) or _has_quotation(html.lower()):
        return None
    lines = _TAG.sub(_line_or_nothing, html)
    if "<" in lines:
        return None
    plain = unescape(lines) if "&" in lines else lines
    words = "\n".join([" ".join(line.split()) for line in plain.splitlines()])
    return (_EMPTY_LINES.sub("\n\n", words) if "\n\n\n" in words else words).strip()


def _has_odd_break(html: str) -> bool:
    # An expression that looks for all at once tries each of them at every character.
    if not html.isprintable() and _ODD_BREAK.search(html):
        return True
    return "&#" in html and _WRITTEN_BREAK.search(html) is not None


def _has_quotation(lowered: str) -> bool:
    return (
        "gmail_" in lowered or "divrplyfwdmsg" in lowered or "moz-cite" in lowered or "yahoo_quoted" in lowered
    )  # fmt: skip


def _line_or_nothing(tag: re.Match[str]) -> str:
    name = tag[2].lower()
    if name.startswith(_NOT_SIMPLE):
        return "<" if not tag[1] else ""
    return "\n" if name in _BLOCKS and not tag[1] else ""


def words_of_document(document: object) -> str | None:
    """Return the words of a document in Atlassian's format (nested nodes), one line per block."""
    parts: list[str] = []
    left, nodes = LONGEST_TEXT, [document]
    for _ in range(_MOST_NODES):
        if not nodes or left <= 0:
            break
        node = nodes.pop()
        if isinstance(node, str):
            parts.append(node[:left])
            left -= len(node)
        elif isinstance(node, dict):
            nodes += reversed(list(_inside(node)))
    return storable_text(re.sub(r"\n{3,}", "\n\n", "".join(parts)))


def _inside(node: Mapping[str, Any]) -> Iterator[Any]:
    kind, attributes, children = node.get("type"), node.get("attrs"), node.get("content")
    yield node.get("text")
    if isinstance(attributes, dict):
        # Mentions and emoji carry their words here, cards their address.
        yield attributes.get("text") or attributes.get("shortName") or attributes.get("url")
    if isinstance(children, list):
        yield from children
    if isinstance(kind, str) and kind in _ADF_BLOCKS:
        yield "\n"


def tags_of(value: object) -> list[str] | None:
    """Return tags given as a list of names, a list of objects with a `name`, or one text with commas; else None."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return None
    names = (item.get("name") if isinstance(item, dict) else item for item in value[: 2 * _MOST_TAGS])
    return [tag for name in names if isinstance(name, str) and (tag := one_line(name))][:_MOST_TAGS]


def objects_in(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list; nothing of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def object_or_empty(payload: object, field: str, *path: str) -> Mapping[str, Any]:
    """Return the object at the end of the path, or an empty one."""
    found = payload.get(field) if isinstance(payload, dict) else None
    for each in path:
        found = found.get(each) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def rating_of(value: object, most: int = 5) -> int | None:
    """Return a rating of 1 to `most` that is written as a number, or as text of one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = word(value)
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 0  # noqa: PLR2004 - a rating is short
    return number if 1 <= number <= most else None


def unwanted(name: str) -> Mapped:
    """Return that an event of this name is none of ours: it is counted by its name, and not kept."""
    return Mapped(ignored=name if _EVENT_NAME.fullmatch(name) else "unwanted_event")


def present(*people: Party | None) -> tuple[Party, ...]:
    """Return those who are somebody."""
    return tuple([somebody for somebody in people if somebody is not None])


class TicketReport(Struct, frozen=True):
    """One delivery about one ticket."""

    origin: Origin
    ticket: str
    """The desk's id of it."""
    order: int
    """The desk's own order of reports about the ticket."""
    body: bytes
    native: str | None = None
    """The desk's own id of the report, where it gives one."""

    @property
    def key(self) -> InteractionKey:
        """The ticket."""
        return key_of(Kind.TICKET, self.origin.system, self.ticket)

    def reference(self, ticket: str | None = None) -> Reference:
        """The ticket, or another one of the same desk, as conversations know it."""
        return reference_to("ticket", self.origin.named(ticket or self.ticket))

    def event(
        self,
        model: type[Event],
        at: datetime,
        *,
        opened: datetime | None = None,
        entries: Sequence[Mapping[str, Any]] = (),
        title: str | None = None,
        references: Sequence[Reference] = (),
        **stated: Any,
    ) -> Event:
        """Return that something happened to the ticket at `at`.

        `opened` goes along with every report, so one about the opening that was missed or is late costs nothing.
        """
        own = {"kind": model.ENTRY, "at": to_second(at)}
        more: list[Mapping[str, Any]] = [*(() if model.ENTRY == "opened" else entry("opened", opened)), *entries]
        return reported(
            model,
            {
                **self._fields(self.key, at),
                "entries": [each for place, each in enumerate(more) if each != own and each not in more[:place]],
                "references": (self.reference(), *references),
                "title": one_line(title, _LONGEST_TITLE),
                **stated,
            },
        )

    def comment(
        self,
        native: str,
        at: datetime,
        direction: Direction,
        *,
        version: tuple[str, int] | None = None,
        parties: Sequence[Party] = (),
        title: str | None = None,
        text: str | None = None,
        automatic: Automatic | None = None,
    ) -> TicketCommented:
        """Return a public comment on the ticket.

        `version` is (report id, order) where a comment has them itself: desks repeat it with every other change.
        """
        fields = self._fields(self._comment_key(native), at)
        if version is not None:
            fields |= {"report": version[0], "revision": self.origin.revision(version[1], self.body)}
        return reported(
            TicketCommented,
            {
                **fields,
                "parent": self.key,
                "references": (self.reference(),),
                "parties": parties,
                "title": one_line(title, _LONGEST_TITLE),
                "text": text,
                "direction": direction,
                "automatic": automatic,
            },
        )

    def withdrawn(self, at: datetime, reason: str, *, final: bool = False, comment: str | None = None) -> Event:
        """Return that the ticket, or one comment on it, is gone; `final`: nothing brings it back."""
        key = self.key if comment is None else self._comment_key(comment)
        fields = self._fields(key, at, Authority.DELETION if final else None)
        return reported(InteractionWithdrawn, {**fields, "reason": reason})

    def restored(self, at: datetime, *, comment: str | None = None) -> Event:
        """Return that it is back."""
        key = self.key if comment is None else self._comment_key(comment)
        return reported(InteractionRestored, self._fields(key, at))

    def _comment_key(self, native: str) -> InteractionKey:
        return key_of(Kind.COMMENT, self.origin.system, native)

    def _fields(self, key: InteractionKey, at: datetime, authority: int | None = None) -> dict[str, Any]:
        return {
            "interaction": key,
            "report": self.native or digest_of(self.body),
            "revision": self.origin.revision(self.order, self.body, authority),
            "source": self.origin.source,
            "occurred_at": to_second(at),
        }
