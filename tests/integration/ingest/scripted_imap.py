"""An IMAP server that answers as real ones do and the one of the other tests cannot be brought to: others' quirks."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CUT = b"<cut>"
"""In an answer: the connection ends here."""
_SET = re.compile(r"UID (\d+):\*")
_PIECE = re.compile(r"BODY\.PEEK\[\]<(\d+)\.(\d+)>")


@dataclass
class ScriptedImap:
    """One folder, INBOX, kept in memory. `quirk` may answer in place of the server: without the tag, or None."""

    mails: dict[int, bytes]
    validity: int = 7
    said_sizes: dict[int, int] = field(default_factory=dict)
    """What RFC822.SIZE is said to be, where that is not true."""
    quirk: Callable[[str], bytes | None] = lambda _: None
    commands: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, command: str) -> bytes:
        """Return everything up to and with the tagged line, whose tag is written as `TAG`."""
        said = self.quirk(command)
        if said is not None:
            return said
        named = command.upper().removeprefix("UID ").split(" ", 1)[0]
        answers: dict[str, Callable[[], bytes]] = {
            "CAPABILITY": lambda: b"* CAPABILITY IMAP4rev1 IDLE\r\n",
            "EXAMINE": self.opened,
            "STATUS": self.status,
            "SEARCH": lambda: b"* SEARCH %s\r\n" % " ".join(map(str, self.searched(command))).encode(),
            "FETCH": lambda: b"".join(self.given(uid, command) for uid in self.named(command)),
        }
        if named == "LOGOUT":
            return b"* BYE done\r\nTAG OK done\r\n" + CUT
        if named == "IDLE":
            # Until the client has enough.
            return b"+ idling\r\n"
        return answers.get(named, bytes)() + b"TAG OK done\r\n"

    def opened(self) -> bytes:
        """What is told of a folder that is opened."""
        told = f"* {len(self.mails)} EXISTS\r\n* OK [UIDVALIDITY {self.validity}] \r\n* OK [UIDNEXT {self.next}] \r\n"
        return told.encode()

    def status(self) -> bytes:
        """What STATUS says."""
        return f'* STATUS "INBOX" (UIDVALIDITY {self.validity} UIDNEXT {self.next})\r\n'.encode()

    @property
    def next(self) -> int:
        """The UID of the next mail."""
        return max(self.mails, default=0) + 1

    def searched(self, command: str) -> list[int]:
        """What a search finds; days are not looked at."""
        found = sorted(self.mails)
        above = _SET.search(command)
        if above is None:
            named = re.search(r"UID ([\d,]+)", command)
            return [uid for uid in found if named and str(uid) in named[1].split(",")]
        return [uid for uid in found if uid >= int(above[1])] or found[-1:]

    def named(self, command: str) -> list[int]:
        """The mails that a FETCH names and that are there."""
        return [int(uid) for uid in command.split(" ")[2].split(",") if int(uid) in self.mails]

    def given(self, uid: int, command: str) -> bytes:
        """What a FETCH says of one mail."""
        mail = self.mails[uid]
        place = sorted(self.mails).index(uid) + 1
        head = f"* {place} FETCH (UID {uid} FLAGS () RFC822.SIZE {self.said_sizes.get(uid, len(mail))} ".encode()
        piece = _PIECE.search(command)
        if piece is not None:
            start, most = int(piece[1]), int(piece[2])
            return _literal(f"* {place} FETCH (UID {uid} BODY[]<{start}> ".encode(), mail[start : start + most])
        if "HEADER" in command:
            return _literal(head + b"BODY[HEADER] ", mail.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        return _literal(head + b"BODY[] ", mail)

    def count(self, word: str) -> int:
        """How many commands began with `word`."""
        return sum(command.upper().startswith(word) for command in self.commands)


def _literal(head: bytes, content: bytes) -> bytes:
    return b"%s{%d}\r\n%s)\r\n" % (head, len(content), content)


@contextmanager
def serving(server: ScriptedImap) -> Iterator[ScriptedImap]:
    """Answers on a free port of 127.0.0.1, a thread for each connection, until the block ends."""

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say(b"* OK ready\r\n")
            tag = ""
            while line := self.rfile.readline().decode().strip():
                if line == "DONE":
                    self._say(tag.encode() + b" OK done\r\n")
                    continue
                tag, _, command = line.partition(" ")
                server.commands.append(command)
                if not self._say(server.answer(command).replace(b"TAG ", tag.encode() + b" ")):
                    return

        def _say(self, said: bytes) -> bool:
            whole, cut, _ = said.partition(CUT)
            self.wfile.write(whole)
            return not cut

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    with Server(("127.0.0.1", server.port), Connection) as running:
        server.port = running.server_address[1]
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()
