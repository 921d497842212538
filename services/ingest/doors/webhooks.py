"""`POST /v1/webhooks/{source}`: what providers send. What is authentic is taken; what we cannot map goes on raw."""

import asyncio
import time
import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError

from contracts.ids import digest
from services.ingest import strict_json
from services.ingest.domain.mapping import Mapped, Origin, Unmapped
from services.ingest.domain.provider import JSON, BoundProvider, Delivery, Provider, Reply
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source
from services.ingest.doors import bodies
from services.ingest.doors.amazon import Amazon, Unreachable
from services.ingest.doors.hot import Answer, Knock, RawAnswer
from services.ingest.doors.requests import (
    bad_form,
    bad_json,
    check_media,
    foreign_address,
    media_of,
    refusal,
    unavailable,
    unknown_source,
    unsigned,
    without_content,
)
from services.ingest.doors.trimming import Trimmer, trimmer_of
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.ingest.verify import SCHEMES, CertificateNeeded, Request, Unverified, verify
from services.ingest.verify.replays import Once, OnceOnly
from services.ingest.verify.tokens import without_signature

_ANSWER_SECONDS = 1.9
"""Providers give up after two or three seconds, and some then switch the webhook off."""
_PROVEN_BY_HEADERS = frozenset({SchemeName.BASIC, SchemeName.TOKEN})
_READING_SECONDS = 1.0
_READING_AT_ONCE = 4
_log = structlog.get_logger(__name__)


class Webhooks:
    """The door. `mappings`: by the names of the sources that it serves; `public_url`: our address as providers see it.

    Without one, what the request itself says about its address is believed.
    """

    def __init__(
        self,
        reception: Reception,
        sources: Mapping[str, Source],
        mappings: Mapping[str, BoundProvider],
        amazon: Amazon,
        public_url: str | None,
        *,
        once: Once | None = None,
    ) -> None:
        """`once`: what remembers tokens that must come once, beyond this door."""
        self._reception = reception
        self._sources = {name: sources[name] for name in mappings}
        self._mappings = mappings
        self._amazon = amazon
        self._public_url = None if public_url is None else public_url.rstrip("/")
        self._once: Once = OnceOnly() if once is None else once
        self._reading = asyncio.Semaphore(_READING_AT_ONCE)

    def trimmer(self, name: str, headers: Mapping[str, str]) -> Trimmer | None:
        """Return what cuts a body down that carries a whole mail; None for other sources.

        Where headers alone are the proof, they are looked at first: nobody else's megabytes are read.
        """
        bound = self._mappings.get(name)
        if bound is None or not bound.provider.large:
            return None
        if bound.provider.scheme in _PROVEN_BY_HEADERS:
            try:
                verify(bound.provider.scheme, self._sources[name].keys, Request("", headers, b""))
            except Unverified as unverified:
                self._reception.refused(name, unverified.reason, outcome="unsigned")
                raise unsigned() from None
        return trimmer_of(headers)

    async def take(self, name: str, knock: Knock) -> Answer | RawAnswer:
        """Take one delivery to the source called `name`."""
        source = self._sources.get(name)
        if source is None:
            raise unknown_source()
        provider = self._mappings[name].provider
        if provider.challenge is not None:
            unproven = Delivery(None, knock.body, knock.headers, bodies.query(knock.query))
            if (reply := provider.challenge(unproven, source.keys)) is not None:
                return _raw(reply)
        if not provider.large:
            return await self._serve(source, provider, knock)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._serve(source, provider, knock)
        except TimeoutError:
            self._reception.undelivered(source.name, Unavailable())
            raise unavailable() from None

    async def _serve(self, source: Source, provider: Provider[Any], knock: Knock) -> Answer | RawAnswer:
        media = check_media(knock.headers, provider.media)
        delivery = await self._authenticate(source, provider, media, knock)
        if provider.handshake is not None and (reply := provider.handshake(delivery, source.keys)) is not None:
            return self._shake(source, reply)
        with self._reception.telemetry.span("ingest webhook", source=source.name) as trace:
            return await self._take(source, provider, delivery, trace.traceparent)

    def _shake(self, source: Source, reply: Reply) -> RawAnswer:
        self._reception.ignored(source.name, self._reception.clock.now(), "handshake")
        try:
            if reply.confirm is not None and not self._amazon.confirm(reply.confirm, source.name):
                raise foreign_address()
        except Unreachable:
            raise unavailable() from None
        return _raw(reply)

    async def _authenticate(self, source: Source, provider: Provider[Any], media: str, knock: Knock) -> Delivery:
        """Return an authentic delivery, parsed.

        Where the proof rides in the body, a body that cannot be read has none.
        """
        in_payload = SCHEMES[provider.scheme].in_payload
        content_type = knock.headers.get("content-type", "")
        try:
            read = bodies.read(media, content_type, knock.body) if in_payload else None
            await self._verify(source, provider, knock, read)
            if read is None:
                read = bodies.read(media, content_type, knock.body)
        except Unverified as unverified:
            self._reception.refused(source.name, unverified.reason, outcome="unsigned")
            raise unsigned() from None
        except (strict_json.BadJson, bodies.UnreadableForm) as bad:
            reason = "bad_json" if isinstance(bad, strict_json.BadJson) else "bad_form"
            self._reception.refused(source.name, reason, outcome="unsigned" if in_payload else "refused")
            if in_payload:
                raise unsigned() from None
            raise (bad_json(bad) if isinstance(bad, strict_json.BadJson) else bad_form()) from None
        query = bodies.query(knock.query) if knock.query else {}
        return Delivery(read.payload, knock.body, knock.headers, query, read.files)

    async def _verify(self, source: Source, provider: Provider[Any], knock: Knock, read: bodies.Body | None) -> None:
        payload = None if read is None else read.payload
        request = Request(knock.address(self._public_url), knock.headers, knock.body, payload=payload)
        try:
            token = verify(provider.scheme, source.keys, request, certificates=self._amazon.certificates)
        except CertificateNeeded as needed:
            try:
                await self._amazon.learn(needed.url)
            except Unreachable:
                self._reception.refused(source.name, needed.reason, outcome="unavailable")
                raise unavailable() from None
            token = verify(provider.scheme, source.keys, request, certificates=self._amazon.certificates)
        if token is not None and read is not None:
            await self._once.check(source.name, token, _content(read), time.time())

    async def _take(
        self, source: Source, provider: Provider[Any], delivery: Delivery, traceparent: str | None
    ) -> Answer:
        origin = self._reception.origin(source)
        at = origin.received_at
        mapped = await self._map(source, provider, delivery, origin)
        try:
            if isinstance(mapped, str):
                return await self._keep(source, provider, delivery, mapped, at=at, traceparent=traceparent)
            await self._reception.plan(source.name, mapped.notices)
            if mapped.ignored is not None:
                self._reception.ignored(source.name, at, mapped.ignored)
                return Answer({"accepted": 0, "ignored": mapped.ignored})
            try:
                await self._reception.accept(source.name, mapped.events, at, traceparent)
            except TooLarge:
                # Understood, and more than an event may hold: it is not the provider's fault, and is not lost.
                return await self._keep(source, provider, delivery, "too_large", at=at, traceparent=traceparent)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(source.name, error)
            raise refusal(error) from None
        return Answer({"accepted": len(mapped.events)})

    async def _keep(
        self,
        source: Source,
        provider: Provider[Any],
        delivery: Delivery,
        why: str,
        *,
        at: datetime,
        traceparent: str | None,
    ) -> Answer:
        """Pass on what is not understood, with the headers that reading it again needs and without any secret."""
        if source.mail is not None and not source.mail.content:
            # What must not be kept must not lie on a topic as raw bytes either.
            self._reception.refused(source.name, why)
            raise without_content(why)
        kept = [(name, delivery.headers[name]) for name in provider.kept if name in delivery.headers]
        media = delivery.headers.get("content-type", "")
        if delivery.payload is not None and media_of(media) not in JSON:
            kept.append(("content-type", media))
        body = delivery.body if provider.without_secrets is None else provider.without_secrets(delivery)
        if provider.scheme is SchemeName.MAILGUN:
            body = without_signature(delivery.payload, body)
        await self._reception.keep_raw(source.name, body, why, at=at, traceparent=traceparent, kept=kept)
        return Answer({"accepted": 0, "unmapped": why})

    async def _map(self, source: Source, provider: Provider[Any], delivery: Delivery, origin: Origin) -> Mapped | str:
        """Return what a delivery says, or a code for why that cannot be said."""
        try:
            if provider.large:
                return await self._map_in_thread(source, delivery, origin)
            return self._mappings[source.name].read(delivery, origin)
        except Unmapped as unmapped:
            return unmapped.reason
        except ValidationError:
            return "not_valid"
        except Exception as error:  # noqa: BLE001 - a fault of ours must not cost what the provider sends once
            # Without the message: it may quote what was sent.
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error(
                "a mapping broke; its delivery is kept raw",
                source=source.name,
                error=type(error).__name__,
                place=f"{place.name}, line {place.lineno}",
            )
            return "mapping_broke"

    async def _map_in_thread(self, source: Source, delivery: Delivery, origin: Origin) -> Mapped:
        """Map what takes a while beside the event loop. What takes too long is kept raw: it must not come for ever."""
        await self._reading.acquire()
        try:
            job = asyncio.get_running_loop().run_in_executor(None, self._mappings[source.name].read, delivery, origin)
        except BaseException:
            self._reading.release()
            raise
        # A thread cannot be stopped: its place is free only when it has ended.
        job.add_done_callback(self._read_done)
        done, _ = await asyncio.wait([job], timeout=_READING_SECONDS)
        if not done:
            raise Unmapped("too_slow")
        return job.result()

    def _read_done(self, job: asyncio.Future[Mapped]) -> None:
        self._reading.release()
        if not job.cancelled():
            job.exception()  # heard here, where nobody waits any more


def _raw(reply: Reply) -> RawAnswer:
    return RawAnswer(reply.body, reply.status, reply.media, reply.headers)


def _content(read: bodies.Body) -> str:
    """Return a digest of everything that a body says, however it is written."""
    files = sorted((name, digest(content)) for name, content in read.files.items())
    return digest(repr((read.payload, files)).encode("utf-8", "surrogatepass"))
