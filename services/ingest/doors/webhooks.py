"""`POST /v1/webhooks/{source}`: what providers send. What is authentic is taken; what we cannot map goes on raw."""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime

from contracts.ids import digest
from services.ingest import strict_json
from services.ingest.domain.mapping import Mapped, Origin, Unmapped
from services.ingest.domain.provider import JSON, BoundProvider, Delivery, MapWebhook, Reply
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source
from services.ingest.doors import bodies
from services.ingest.doors.amazon import Amazon, Unreachable
from services.ingest.doors.deliveries import Call, Proofs, TogetherRead, why_not
from services.ingest.doors.hot import Answer, Knock, RawAnswer
from services.ingest.doors.requests import (
    foreign_address,
    media_of,
    refusal,
    unavailable,
    uncompressed,
    unknown_source,
    unsigned,
    without_content,
)
from services.ingest.doors.trimming import PlainTrimmer, Trimmer, trimmer_of
from services.ingest.doors.turns import Turns
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.ingest.verify import SCHEMES, CertificateNeeded, Request, Unverified, verify
from services.ingest.verify.replays import Once, OnceOnly
from services.ingest.verify.tokens import without_signature
from services.runtime.limits import BODY_LIMIT

_ANSWER_SECONDS = 1.9
"""Providers give up after two or three seconds, and some then switch the webhook off."""
_PROVEN_BY_HEADERS = frozenset({SchemeName.BASIC, SchemeName.TOKEN})
_READING_SECONDS = 1.0
_READING_AT_ONCE = 4
_TOO_LARGE = "too_large"
_DIGITS = 19


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
        together: bool = False,
    ) -> None:
        """`once`: what remembers tokens that must come once, beyond this door. `together`: see `turns`."""
        self._reception = reception
        self._sources = {name: sources[name] for name in mappings}
        self._mappings = mappings
        self._amazon = amazon
        self._proofs = Proofs(amazon.certificates, public_url)
        self._together = Turns(reception.publisher, TogetherRead(reception, self._proofs).steps) if together else None
        self._once: Once = OnceOnly() if once is None else once
        self._reading = asyncio.Semaphore(_READING_AT_ONCE)

    def trimmer(self, name: str, headers: Mapping[str, str]) -> Trimmer | None:
        """Return what takes in a large body, cut down where it carries a whole mail; None where it must be small.

        Where headers alone are the proof, they are looked at first: nobody else's megabytes are read. Where the proof
        rides in the body, a large one would have to be read before it is known whose it is.
        """
        bound = self._mappings.get(name)
        if bound is None or not (bound.provider.large or _may_be_large(bound.provider.scheme, headers)):
            return None
        if bound.provider.scheme in _PROVEN_BY_HEADERS:
            try:
                verify(bound.provider.scheme, self._sources[name].keys, Request("", headers, b""))
            except Unverified as unverified:
                self._reception.refused(name, unverified.reason, outcome="unsigned")
                raise unsigned() from None
        return trimmer_of(headers) if bound.provider.large else PlainTrimmer()

    def too_large(self, name: str) -> None:
        """Count a body that nobody has read to its end."""
        if name in self._sources:
            self._reception.refused(name, "body_too_large")

    async def take(self, name: str, knock: Knock) -> Answer | RawAnswer:
        """Take one delivery to the source called `name`."""
        source = self._sources.get(name)
        if source is None:
            raise unknown_source()
        bound = self._mappings[name]
        provider = bound.provider
        if provider.challenge is not None:
            unproven = Delivery(None, knock.body, knock.headers, bodies.query(knock.query))
            if (reply := provider.challenge(unproven, source.keys)) is not None:
                return _raw(reply)
        call = Call(knock, source, bound, uncompressed(knock.headers))
        if not provider.large:
            return await self._take_together(call)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._serve(call)
        except TimeoutError:
            self._reception.undelivered(source.name, Unavailable())
            raise unavailable() from None

    async def _take_together(self, call: Call) -> Answer | RawAnswer:
        """Read it with all others that came in the same turn; where that is not all, go on step by step."""
        if self._together is not None:
            try:
                if await self._together.read(call) and call.origin is not None:
                    self._reception.count(call.source.name, call.events, call.origin.received_at)
                    return Answer({"accepted": len(call.events)})
            except Unavailable as error:
                self._reception.undelivered(call.source.name, error)
                raise refusal(error) from None
            except TooLarge:
                call.mapped = _TOO_LARGE
        return await self._serve(call)

    async def _serve(self, call: Call) -> Answer | RawAnswer:
        provider, source = call.bound.provider, call.source
        delivery = await self._authenticate(call) if call.delivery is None else call.delivery
        if (
            call.mapped is None
            and provider.handshake is not None
            and (reply := provider.handshake(delivery, source.keys)) is not None
        ):
            return self._shake(source, reply)
        with self._reception.telemetry.span("ingest webhook", seen=call.seen, source=source.name) as trace:
            return await self._take(call, delivery, trace.traceparent)

    def _shake(self, source: Source, reply: Reply) -> RawAnswer:
        self._reception.ignored(source.name, self._reception.clock.now(), "handshake")
        try:
            if reply.confirm is not None and not self._amazon.confirm(reply.confirm, source.name):
                raise foreign_address()
        except Unreachable:
            raise unavailable() from None
        return _raw(reply)

    async def _authenticate(self, call: Call) -> Delivery:
        """Return an authentic delivery, parsed.

        Where the proof rides in the body, a body that cannot be read has none.
        """
        name = call.source.name
        try:
            delivery, token = await self._check(call)
            if token is not None:
                await self._once.check(name, token, _content(delivery), time.time())
        except Unverified as unverified:
            self._reception.refused(name, unverified.reason, outcome="unsigned")
            raise unsigned() from None
        except (strict_json.BadJson, bodies.UnreadableForm) as bad:
            reason = "bad_json" if isinstance(bad, strict_json.BadJson) else "bad_form"
            if SCHEMES[call.bound.provider.scheme].in_payload:
                self._reception.refused(name, reason, outcome="unsigned")
                raise unsigned() from None
            # It is authentic, so it is kept: the provider would send the same again for a while, and then no more.
            call.mapped = reason
            return Delivery(None, call.knock.body, call.knock.headers)
        return delivery

    async def _check(self, call: Call) -> tuple[Delivery, str | None]:
        try:
            return self._proofs.check(call)
        except CertificateNeeded as needed:
            try:
                await self._amazon.learn(needed.url)
            except Unreachable:
                self._reception.refused(call.source.name, needed.reason, outcome="unavailable")
                raise unavailable() from None
        return self._proofs.check(call)

    async def _take(self, call: Call, delivery: Delivery, traceparent: str | None) -> Answer:
        source = call.source
        origin = self._reception.origin(source) if call.origin is None else call.origin
        at = origin.received_at
        mapped = await self._map(call, delivery, origin) if call.mapped is None else call.mapped
        try:
            if isinstance(mapped, str):
                return await self._keep(call, delivery, mapped, at=at, traceparent=traceparent)
            await self._reception.plan(source.name, mapped.notices)
            if mapped.ignored is not None:
                self._reception.ignored(source.name, at, mapped.ignored)
                return Answer({"accepted": 0, "ignored": mapped.ignored})
            try:
                await self._reception.accept(source.name, mapped.events, at, traceparent)
            except TooLarge:
                # Understood, and more than an event may hold: it is not the provider's fault, and is not lost.
                return await self._keep(call, delivery, _TOO_LARGE, at=at, traceparent=traceparent)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(source.name, error)
            raise refusal(error) from None
        return Answer({"accepted": len(mapped.events)})

    async def _keep(self, call: Call, delivery: Delivery, why: str, *, at: datetime, traceparent: str | None) -> Answer:
        """Pass on what is not understood, with the headers that reading it again needs and without any secret."""
        source, provider = call.source, call.bound.provider
        if source.mail is not None and not source.mail.content:
            # What must not be kept must not lie on a topic as raw bytes either.
            self._reception.refused(source.name, why)
            raise without_content(why)
        kept = [(name, delivery.headers[name]) for name in provider.kept if name in delivery.headers]
        media = delivery.headers.get("content-type", "")
        if media_of(media) not in JSON:
            kept.append(("content-type", media))
        body = delivery.body if provider.without_secrets is None else provider.without_secrets(delivery)
        if provider.scheme is SchemeName.MAILGUN:
            body = without_signature(delivery.payload, body)
        await self._reception.keep_raw(source.name, body, why, at=at, traceparent=traceparent, kept=kept)
        return Answer({"accepted": 0, "unmapped": why})

    async def _map(self, call: Call, delivery: Delivery, origin: Origin) -> Mapped | str:
        """Return what a delivery says, or a code for why that cannot be said."""
        try:
            if call.bound.provider.large:
                return await self._map_in_thread(call.bound.read, delivery, origin)
            return call.bound.read(delivery, origin)
        except Exception as error:  # noqa: BLE001 - it is told under which code
            return why_not(call.source.name, error)

    async def _map_in_thread(self, read: MapWebhook, delivery: Delivery, origin: Origin) -> Mapped:
        """Map what takes a while beside the event loop. What takes too long is kept raw: it must not come for ever."""
        await self._reading.acquire()
        try:
            job = asyncio.get_running_loop().run_in_executor(None, read, delivery, origin)
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


def _may_be_large(scheme: SchemeName, headers: Mapping[str, str]) -> bool:
    declared = headers.get("content-length", "")
    announced_small = declared.isdigit() and len(declared) <= _DIGITS and int(declared) <= BODY_LIMIT
    return not announced_small and not SCHEMES[scheme].in_payload


def _raw(reply: Reply) -> RawAnswer:
    return RawAnswer(reply.body, reply.status, reply.media, reply.headers)


def _content(delivery: Delivery) -> str:
    """Return a digest of everything that a body says, however it is written."""
    files = sorted((name, digest(content)) for name, content in delivery.files.items())
    return digest(repr((delivery.payload, files)).encode("utf-8", "surrogatepass"))
