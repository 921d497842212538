"""A calendar over CalDAV (RFC 4791), read only: which entries there are, in which state, and what they say."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import httpx2

from services.ingest.domain.options import CaldavOptions
from services.ingest.polling import Broken, LoginRefused

_TIMEOUT_SECONDS = 30
_LARGEST_ANSWER = 64 * 1024 * 1024
_CHUNK = 50
"""Entries that are asked for at once."""
_DAV = "{DAV:}"
_CALDAV = "{urn:ietf:params:xml:ns:caldav}"
_XML = {"content-type": "application/xml; charset=utf-8"}
_STATE = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<d:propfind xmlns:d="DAV:" xmlns:cs="http://calendarserver.org/ns/"><d:prop>'
    "<d:resourcetype/><cs:getctag/><d:sync-token/></d:prop></d:propfind>"
)
_LIST = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<d:propfind xmlns:d="DAV:"><d:prop><d:getetag/><d:resourcetype/></d:prop></d:propfind>'
)


_GONE = frozenset({"404", "410"})
_INSUFFICIENT_STORAGE = "507"


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as the server lists it."""

    href: str
    """Its path as the server writes it."""
    etag: str
    """Its state; "" where the server does not say it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a calendar: a meeting, or a series with its exceptions."""

    path: str
    etag: str
    calendar: bytes | None
    """None: the server says that it is gone."""


class CalendarFolder:
    """One calendar on a server. Raises `LoginRefused` and `Broken`; nothing of what the server says is passed on."""

    def __init__(self, options: CaldavOptions, password: str) -> None:
        self._options = options
        url = options.url if options.url.endswith("/") else options.url + "/"
        self._url = url
        self._path = unquote(urlsplit(url).path)
        self._client = httpx2.AsyncClient(
            auth=(options.username, password), timeout=_TIMEOUT_SECONDS, follow_redirects=False
        )

    async def close(self) -> None:
        """Let connections go."""
        await self._client.aclose()

    async def state(self) -> str | None:
        """Return a word that changes whenever an entry does; None where the server has none."""
        for response in _responses(await self._ask("PROPFIND", _STATE, depth=0)):
            kinds = response.find(f".//{_DAV}resourcetype")
            if kinds is not None and kinds.find(f"{_CALDAV}calendar") is None:
                raise Broken("url is no calendar; give the address of one calendar, not of the account")
            for name in ("{http://calendarserver.org/ns/}getctag", f"{_DAV}sync-token"):
                found = response.findtext(f".//{name}")
                if found:
                    return found
        return None

    def holds(self, path: str) -> bool:
        """Say whether an entry's path lies in this calendar: the source may have read another one before."""
        return path.startswith(self._path)

    async def listed(self) -> Mapping[str, Listed]:
        """Return the entries by path, without the encoding of URLs: a server may write it now so, now otherwise."""
        found = {}
        for response in _responses(await self._ask("PROPFIND", _LIST, depth=1)):
            href, status = self._href_of(response), _status_of(response)
            if status == _INSUFFICIENT_STORAGE:
                raise Broken("the server lists only a part of the calendar; name one with fewer entries in url")
            collection = response.find(f".//{_DAV}collection") is not None
            if href and not collection and status not in _GONE and unquote(href) != self._path:
                # What the server can say nothing of at the moment is there all the same.
                found[unquote(href)] = Listed(href, response.findtext(f".//{_DAV}getetag") or "")
        return found

    async def entries(self, hrefs: Sequence[str]) -> AsyncIterator[Sequence[Entry]]:
        """Yield entries in chunks; those that the server does not give are left out."""
        for start in range(0, len(hrefs), _CHUNK):
            named = "".join(f"<d:href>{escape(href)}</d:href>" for href in hrefs[start : start + _CHUNK])
            body = (
                '<?xml version="1.0" encoding="utf-8"?><c:calendar-multiget xmlns:d="DAV:"'
                ' xmlns:c="urn:ietf:params:xml:ns:caldav"><d:prop><d:getetag/><c:calendar-data/></d:prop>'
                f"{named}</c:calendar-multiget>"
            )
            found = []
            for response in _responses(await self._ask("REPORT", body, depth=1)):
                href, etag = self._href_of(response), response.findtext(f".//{_DAV}getetag") or ""
                calendar = response.findtext(f".//{_CALDAV}calendar-data")
                if href and calendar:
                    found.append(Entry(unquote(href), etag, calendar.encode()))
                elif href and _status_of(response) in _GONE:
                    found.append(Entry(unquote(href), etag, None))
            yield found

    def _href_of(self, response: ET.Element) -> str | None:
        """Return the path of an entry as it is written: with its host or without, or from the calendar's path on."""
        href = response.findtext(f"{_DAV}href")
        return urlsplit(urljoin(self._url, href.strip())).path if href else None

    async def _ask(self, method: str, body: str, *, depth: int) -> bytes:
        try:
            async with self._client.stream(
                method, self._url, content=body.encode(), headers={**_XML, "depth": str(depth)}
            ) as answer:
                content = b""
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > _LARGEST_ANSWER:
                        raise Broken("the server's answer is too large; name a calendar with fewer entries in url")
        except (httpx2.HTTPError, httpx2.InvalidURL) as fault:
            host = urlsplit(self._url).hostname
            raise Broken(f"{host} cannot be reached ({type(fault).__name__}); check url and the network") from fault
        return self._checked(answer.status_code, answer.headers.get("location"), content)

    def _checked(self, status: int, location: str | None, content: bytes) -> bytes:
        if status in {401, 403}:
            raise LoginRefused(
                "the server refuses the login; write a valid password or app password into"
                f" {self._options.password_file} and reload; until then it is tried rarely, so that the account is"
                " not locked"
            )
        if 300 <= status < 400:  # noqa: PLR2004 - redirections
            # Not followed: it could lead the password to another host.
            place = urljoin(self._url, location or "")
            raise Broken(f"the calendar lies elsewhere; write {place} in url if you trust that host")
        if status in {404, 405}:
            raise Broken("there is no calendar at url; copy the calendar's own address from its server")
        if status != 207:  # noqa: PLR2004 - Multi-Status
            raise Broken(f"the server answered with {status}; if that lasts, look at the server")
        return content


def _responses(content: bytes) -> Sequence[ET.Element]:
    # Without a document type there are no entities, and so nothing that grows while it is read.
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise Broken("the server's answer has a document type, which no CalDAV server sends; check url")
    try:
        return ET.fromstring(content).findall(f"{_DAV}response")  # noqa: S314 - see above
    except ET.ParseError as wrong:
        raise Broken("the server's answer is no XML; check url") from wrong


def _status_of(response: ET.Element) -> str:
    """Return the status of a whole entry, such as "404"; "" where only its properties have one."""
    words = (response.findtext(f"{_DAV}status") or "").split()
    return words[1] if len(words) > 1 else ""
