"""Where alerts go: a mail server and a web hook receiver on loopback that keep what comes and misbehave as told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from enum import Enum
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session


class Mood(Enum):
    """How a receiver behaves."""

    WELL = "well"
    FAILING = "failing"
    """Answers that it cannot now (503, 451)."""
    FORGETFUL = "forgetful"
    """Takes everything, and ends the connection instead of saying so."""
    SLOW = "slow"
    """Takes two seconds for each."""
    DEAD = "dead"
    """Takes the connection and says nothing at all."""


_SLOW = 2.0  # seconds
_DEAD = 600.0


@dataclass(frozen=True, slots=True)
class HookCall:
    """One POST that was read whole. `answered`: the sender was told that it arrived."""

    headers: dict[str, str]
    body: bytes
    answered: bool


@dataclass(frozen=True, slots=True)
class MailCall:
    """One mail whose DATA was read whole. `answered`: the sender was told that it arrived."""

    recipients: tuple[str, ...]
    message: EmailMessage
    answered: bool


@dataclass
class Sinks:
    """Both receivers in a thread of their own, until `close`."""

    mood: Mood = Mood.WELL
    hooks: list[HookCall] = field(default_factory=list)
    mails: list[MailCall] = field(default_factory=list)
    hook_port: int = field(init=False)
    mail_port: int = field(init=False)

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="sinks")
        self._thread.start()
        self._transports: set[asyncio.WriteTransport] = set()
        self._hook_server = self._do(asyncio.start_server(self._hook, "127.0.0.1", 0))
        self._mail_server = self._do(self._listen_for_mail())
        self.hook_port = self._hook_server.sockets[0].getsockname()[1]
        self.mail_port = self._mail_server.sockets[0].getsockname()[1]

    @property
    def hook_url(self) -> str:
        """Where the web hook receiver listens."""
        return f"http://127.0.0.1:{self.hook_port}/alerts"

    def close(self) -> None:
        """Stop listening, end what hangs."""

        async def end() -> None:
            self._hook_server.close()
            self._mail_server.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for transport in self._transports:
                transport.abort()

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(10)

    async def _listen_for_mail(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            lambda: _Mailroom(self, enable_SMTPUTF8=True, hostname="sink.invalid"), "127.0.0.1", 0
        )

    def opened(self, transport: asyncio.WriteTransport) -> None:
        """Remember a connection, so that none is left when the receivers close."""
        self._transports = {each for each in self._transports if not each.is_closing()} | {transport}

    async def _hook(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened(writer.transport)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")[1:]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                mood = self.mood
                answered = mood in {Mood.WELL, Mood.SLOW}
                if mood is Mood.DEAD:
                    await asyncio.sleep(_DEAD)
                if mood is Mood.SLOW:
                    await asyncio.sleep(_SLOW)
                if mood is not Mood.FAILING:
                    self.hooks.append(HookCall(headers, body, answered))
                if mood is Mood.FORGETFUL:
                    break
                status = b"204 No Content" if answered else b"503 Service Unavailable"
                writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        writer.close()


class _Mailroom(SMTP):
    """aiosmtpd's server with the mood of its sinks."""

    def __init__(self, sinks: Sinks, **options: Any) -> None:
        super().__init__(self, **options)
        self._sinks = sinks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called when somebody connects."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.WriteTransport):
            self._sinks.opened(transport)

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Called with a whole mail."""
        mood = self._sinks.mood
        if mood is Mood.DEAD:
            await asyncio.sleep(_DEAD)
        if mood is Mood.SLOW:
            await asyncio.sleep(_SLOW)
        if mood is Mood.FAILING:
            return "451 not now"
        content = envelope.content or b""
        message = message_from_bytes(content if isinstance(content, bytes) else content.encode(), policy=default)
        self._sinks.mails.append(MailCall(tuple(envelope.rcpt_tos), message, mood is not Mood.FORGETFUL))
        if mood is Mood.FORGETFUL and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return "250 kept"
