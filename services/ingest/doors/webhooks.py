"""`POST /v1/webhooks/{source}`: what providers send. What is authentic is taken; what we cannot map goes on raw."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from services.ingest import strict_json
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.provider import BoundProvider, Delivery, Provider, Reply
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source
from services.ingest.doors import bodies
from services.ingest.doors.hot import Answer, Knock, RawAnswer
from services.ingest.doors.requests import (
    bad_form,
    bad_json,
    check_media,
    refusal,
    unknown_source,
    unsigned,
)
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.ingest.verify import Unverified, verify, verify_token


class Webhooks:
    """The door. `mappings`: by the names of the sources that it serves."""

    def __init__(
        self, reception: Reception, sources: Mapping[str, Source], mappings: Mapping[str, BoundProvider]
    ) -> None:
        self._reception = reception
        self._sources = {name: sources[name] for name in mappings}
        self._mappings = mappings

    async def take(self, name: str, knock: Knock) -> Answer | RawAnswer:
        """Take one delivery to the source called `name`."""
        source = self._sources.get(name)
        if source is None:
            raise unknown_source()
        provider = self._mappings[name].provider
        media = check_media(knock.headers, provider.media)
        delivery, reply = self._authenticate(source, provider, media, knock)
        if reply is not None:
            return RawAnswer(reply.body, reply.status, reply.media, reply.headers)
        with self._reception.telemetry.span("ingest webhook", source=source.name) as trace:
            return await self._take(source, provider, delivery, trace.traceparent)

    def _authenticate(
        self, source: Source, provider: Provider[Any], media: str, knock: Knock
    ) -> tuple[Delivery, Reply | None]:
        """Return an authentic delivery, parsed, and the answer to its handshake when it is one.

        Where the proof rides in the body, a body that cannot be read has none.
        """
        headers, body = knock.headers, knock.body
        in_body = provider.scheme is SchemeName.AIRCALL
        try:
            if provider.challenge is not None:
                unproven = Delivery(None, body, headers, bodies.query(knock.query))
                if (reply := provider.challenge(unproven, source.keys)) is not None:
                    return unproven, reply
            if not in_body:
                verify(provider.scheme, source.keys, headers, body)
            read = bodies.read(media, headers.get("content-type", ""), body)
            if in_body:
                verify_token(source.keys, read.payload.get("token") if isinstance(read.payload, dict) else None)
        except Unverified as unverified:
            self._reception.refused(source.name, unverified.reason, outcome="unsigned")
            raise unsigned() from None
        except (strict_json.BadJson, bodies.UnreadableForm) as bad:
            reason = "bad_json" if isinstance(bad, strict_json.BadJson) else "bad_form"
            self._reception.refused(source.name, reason, outcome="unsigned" if in_body else "refused")
            if in_body:
                raise unsigned() from None
            raise (bad_json(bad) if isinstance(bad, strict_json.BadJson) else bad_form()) from None
        query = bodies.query(knock.query) if knock.query else {}
        delivery = Delivery(read.payload, body, headers, query, read.files)
        return delivery, None if provider.handshake is None else provider.handshake(delivery)

    async def _take(
        self, source: Source, provider: Provider[Any], delivery: Delivery, traceparent: str | None
    ) -> Answer:
        origin = self._reception.origin(source)
        at = origin.received_at
        try:
            try:
                mapped = self._mappings[source.name].read(delivery, origin)
            except (Unmapped, ValidationError) as unmapped:
                why = unmapped.reason if isinstance(unmapped, Unmapped) else "not_valid"
                kept = [(name, delivery.headers[name]) for name in provider.kept if name in delivery.headers]
                body = delivery.body if provider.without_secrets is None else provider.without_secrets(delivery)
                await self._reception.keep_raw(source.name, body, why, at=at, traceparent=traceparent, kept=kept)
                return Answer({"accepted": 0, "unmapped": why})
            if mapped.ignored is not None:
                self._reception.ignored(source.name, at)
                return Answer({"accepted": 0, "ignored": mapped.ignored})
            await self._reception.accept(source.name, mapped.events, at, traceparent)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(source.name, error)
            raise refusal(error) from None
        return Answer({"accepted": len(mapped.events)})
