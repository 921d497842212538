"""`POST /v1/mail/{mailbox}`: raw mail (RFC 5322) from a mail server's hook, signed as Standard Webhooks say.

Read while it comes in: of fifty megabytes of attachments nothing is ever held.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.ingest.domain.mail_mime import MimeReader, ReadMail
from services.ingest.domain.mapping import MapMail
from services.ingest.domain.source import Source
from services.ingest.doors.deliveries import why_not
from services.ingest.doors.requests import (
    answer,
    check_media,
    refusal,
    unknown_source,
    unsigned,
    without_content,
)
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.ingest.verify import Unverified
from services.ingest.verify.streamed import StreamedProof
from services.runtime.problems import Problem

_MEDIA = frozenset({"message/rfc822"})


class MailDoor:
    """The door."""

    def __init__(self, reception: Reception, sources: Mapping[str, Source], mappings: Mapping[str, MapMail]) -> None:
        self._reception = reception
        self._sources = {name: source for name, source in sources.items() if source.configuration.provider == "mail"}
        self._mappings = mappings

    async def post(self, request: Request) -> Response:
        """Take one mail."""
        source = self._sources.get(request.path_params["mailbox"])
        if source is None:
            raise unknown_source()
        check_media(request.headers, _MEDIA)
        mail = await self._read(source, request)
        if not mail.kept.strip():
            self._reception.refused(source.name, "empty")
            raise Problem(400, "Empty mail", "The body is empty; send the mail as it came, headers first.", "empty")
        with self._reception.telemetry.span("ingest mail", source=source.name) as trace:
            try:
                return await self._take(source, mail, trace.traceparent)
            except (Unavailable, TooLarge) as error:
                self._reception.undelivered(source.name, error)
                raise refusal(error) from None

    async def _read(self, source: Source, request: Request) -> ReadMail:
        """Return an authentic mail; of what it encloses nothing is held."""
        reader = MimeReader()
        try:
            proof = StreamedProof(source.keys, request.headers)
            async for chunk in request.stream():
                proof.feed(chunk)
                reader.feed(chunk)
            proof.check()
        except Unverified as unverified:
            self._reception.refused(source.name, unverified.reason, outcome="unsigned")
            raise unsigned() from None
        except ClientDisconnect:
            raise Problem(400, "Incomplete body", "The connection ended before the body did.", "incomplete") from None
        return reader.close()

    async def _take(self, source: Source, mail: ReadMail, traceparent: str | None) -> Response:
        origin = self._reception.origin(source)
        try:
            mapped = await asyncio.to_thread(self._mappings[source.name], mail, origin)
        except Exception as error:  # noqa: BLE001 - it is told under which code
            why = why_not(source.name, error)
            return await self._keep(source, mail, why, origin.received_at, traceparent)
        if mapped.ignored is not None:
            await self._reception.plan(source.name, mapped.notices)
            self._reception.ignored(source.name, origin.received_at, mapped.ignored)
            return answer({"accepted": 0, "ignored": mapped.ignored})
        try:
            await self._reception.accept(source.name, mapped.events, origin.received_at, traceparent)
        except TooLarge:
            # Understood, and more than an event may hold, such as thousands of recipients.
            return await self._keep(source, mail, "too_large", origin.received_at, traceparent)
        await self._reception.plan(source.name, mapped.notices)
        return answer({"accepted": len(mapped.events)}, 202)

    async def _keep(self, source: Source, mail: ReadMail, why: str, at: datetime, traceparent: str | None) -> Response:
        if source.mail is not None and not source.mail.content:
            # What must not be kept must not lie on a topic as raw bytes either.
            self._reception.refused(source.name, why)
            raise without_content(why)
        await self._reception.keep_raw(source.name, mail.kept, why, at=at, traceparent=traceparent)
        return answer({"accepted": 0, "unmapped": why})
