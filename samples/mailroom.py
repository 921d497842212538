"""A mail server for the demo and the tests: takes everything and keeps each mail as a file.

`python -m samples.mailroom PORT FOLDER` listens on 127.0.0.1. Nothing is passed on.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class _Keep:
    """Writes each mail under the next number; a file appears whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = len(list(folder.glob("*.eml")))

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Called by aiosmtpd with a whole mail."""
        self._count += 1
        content = envelope.content or b""
        recipients = ", ".join(envelope.rcpt_tos)
        draft = self._folder / f"{self._count:04}.draft"
        draft.write_bytes(
            f"X-Delivered-To: {recipients}\r\n".encode() + (content if isinstance(content, bytes) else b"")
        )
        draft.rename(draft.with_suffix(".eml"))
        return "250 kept"


@dataclass(frozen=True, slots=True)
class KeptMail:
    """One mail that came in. `recipient` is where it was really delivered."""

    recipient: str
    subject: str
    text: str
    html: str
    message: EmailMessage


def kept(folder: Path) -> list[KeptMail]:
    """Everything that came in so far, in order."""
    return [_read(path) for path in sorted(folder.glob("*.eml"))]


def _read(path: Path) -> KeptMail:
    message = message_from_bytes(path.read_bytes(), policy=default)
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    return KeptMail(
        recipient=str(message["X-Delivered-To"]),
        subject=str(message["Subject"]),
        text="" if plain is None else str(plain.get_content()),
        html="" if html is None else str(html.get_content()),
        message=message,
    )


async def serve(port: int, folder: Path) -> None:
    """Listen until SIGTERM or SIGINT."""
    keep, loop, ended = _Keep(folder), asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, ended.set)
    # 8BITMIME and SMTPUTF8 as any server of today; the name is no machine's
    server = await loop.create_server(
        lambda: SMTP(keep, enable_SMTPUTF8=True, hostname="mailroom.invalid"), "127.0.0.1", port
    )
    async with server:
        await ended.wait()


if __name__ == "__main__":
    chosen = Path(sys.argv[2])
    chosen.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(int(sys.argv[1]), chosen))
