"""A CalDAV server that answers as some real ones do and Radicale cannot be brought to: others' quirks."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

PATH = "/dav/anna/customers/"
_CALENDAR = "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>"


@dataclass
class ScriptedCaldav:
    """One calendar, kept in memory: iCalendar objects by name. What differs from a plain server is set."""

    entries: dict[str, str] = field(default_factory=dict)
    state: str = "1"
    """The ctag."""
    etags: bool = True
    listed: Callable[[str], bool] = lambda _: True
    """Which entries the list names."""
    in_list: str = ""
    """Said in the list beside the entries."""
    given: Callable[[str], str] = lambda _: "200 OK"
    """How asking for an entry ends; "" where nothing is said of it."""
    given_as: Callable[[str], str] = lambda name: PATH + quote(name)
    """How an entry's path is written when it is given."""
    path: str = PATH
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Entries of other calendars, given and not listed."""
    asked: list[str] = field(default_factory=list)
    """The entries that were asked for."""
    port: int = 0

    @property
    def url(self) -> str:
        """The calendar's address."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def put(self, name: str, calendar: str) -> None:
        """Puts an entry in, or changes it."""
        self.entries[name] = calendar
        self.state += "'"

    def answer(self, body: str, depth: str) -> str:
        """Return what a PROPFIND or REPORT is answered with."""
        if "calendar-multiget" in body:
            names = [unquote(each).rpartition("/")[2] for each in re.findall("<d:href>(.*?)</d:href>", body)]
            self.asked += names
            return "".join(self._entry(name) for name in names)
        if depth == "0":
            state = f'<cs:getctag xmlns:cs="http://calendarserver.org/ns/">{self.state}</cs:getctag>'
            return _response(self.path, f"{_CALENDAR}{state}")
        listed = [
            _response(self.path + quote(name), self._etag(name) + "<d:resourcetype/>")
            for name in self.entries
            if self.listed(name)
        ]
        return _response(self.path, _CALENDAR) + "".join(listed) + self.in_list

    def _etag(self, name: str) -> str:
        return f"<d:getetag>&quot;{hash(self.entries.get(name))}&quot;</d:getetag>" if self.etags else ""

    def _entry(self, name: str) -> str:
        entry = self.entries.get(name) or self.elsewhere.get(name)
        status = self.given(name) if entry else "404 Not Found"
        if not status.startswith("200"):
            return status and status_of(PATH + quote(name), status)
        data = f"<c:calendar-data>{escape(entry or '')}</c:calendar-data>"
        return _response(self.given_as(name), self._etag(name) + data)


def _response(path: str, properties: str) -> str:
    found = f"<d:propstat><d:prop>{properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>"
    return f"<d:response><d:href>{path}</d:href>{found}</d:response>"


def status_of(path: str, status: str) -> str:
    """Return what says that something went wrong with one path."""
    return f"<d:response><d:href>{path}</d:href><d:status>HTTP/1.1 {status}</d:status></d:response>"


@contextmanager
def serving(server: ScriptedCaldav) -> Iterator[ScriptedCaldav]:
    """Answers on a free port of 127.0.0.1 until the block ends."""

    class Request(BaseHTTPRequestHandler):
        def _multistatus(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            said = server.answer(body, self.headers["depth"])
            names = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"'
            content = f'<?xml version="1.0"?><d:multistatus {names}>{said}</d:multistatus>'.encode()
            self.send_response(207)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PROPFIND = do_REPORT = _multistatus  # noqa: N815 - as the library looks for them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library calls it
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", server.port), Request) as running:
        server.port = running.server_port
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()
