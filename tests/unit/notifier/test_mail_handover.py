"""Handing a mail in: what the server has taken is delivered, however it behaves afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from services.notifier.channels import mail
from services.notifier.channels.mail import MailChannel
from services.notifier.domain.delivery import SmtpServer
from tests.unit.notifier.test_channels import ANNA, job


@dataclass
class Server:
    """Takes mail without any extension, and keeps silent after a word of the client (`mute_after`)."""

    mute_after: str = ""
    mails: int = 0
    recipients: list[str] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak SMTP with one client, until it is gone."""
        try:
            await self.speak(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()
            self.left.set()

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what the client says."""
        writer.write(b"220 mail\r\n")
        while line := (await reader.readline()).decode():
            verb = line.split()[0].upper()
            if verb == self.mute_after:
                await reader.read()
                break
            if verb == "RCPT":
                self.recipients.append(line.partition(":")[2].strip())
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                self.mails += 1
            writer.write(b"250 OK\r\n")


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[MailChannel]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield MailChannel(SmtpServer("127.0.0.1", port, starttls=False), sender="t@a.example", console_url="https://t")
        await server.left.wait()


async def test_what_was_taken_is_delivered_although_the_server_never_says_good_bye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mail, "_SECONDS_IN_ALL", 1.0)
    server = Server(mute_after="QUIT")
    async with serving(server) as channel:
        attempt = await channel.deliver(job())
    assert (server.mails, attempt.delivered, attempt.outcome) == (1, True, "accepted by the mail server")


async def test_what_was_not_taken_in_time_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "_SECONDS_IN_ALL", 1.0)
    server = Server(mute_after="DATA")
    async with serving(server) as channel:
        attempt = await channel.deliver(job())
    assert (server.mails, attempt.delivered) == (0, False)


async def test_a_mailbox_of_a_domain_with_umlauts_is_reached_through_any_server() -> None:
    server = Server()
    async with serving(server) as channel:
        attempt = await channel.deliver(job(to=replace(ANNA, address="anna@bücher.example")))
    assert (attempt.delivered, server.recipients) == (True, ["<anna@xn--bcher-kva.example>"]), attempt.outcome
