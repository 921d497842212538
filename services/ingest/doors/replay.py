"""`POST /v1/replay/{source}`: an operator sends again what was kept raw, once the mapping understands it.

The operator's token stands in for the signature, whose age is past. The body is the dead letter's value; headers that a
provider's meaning hangs on (`x-shopify-topic` …) are sent as they were kept.
"""

import asyncio
from collections.abc import Mapping

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from services.ingest.domain.mapping import MapMail, Mapped, Unmapped
from services.ingest.domain.provider import JSON, BoundProvider, Delivery
from services.ingest.domain.source import Source
from services.ingest.doors import bodies
from services.ingest.doors.bearer import operator
from services.ingest.doors.requests import answer, bad_form, media_of, parse, read_body, refusal, unknown_source
from services.ingest.doors.trimming import MOST_HELD
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.runtime.auth import TokenVerifier
from services.runtime.problems import Problem

LARGEST_KEPT = MOST_HELD + 1024 * 1024
"""Bytes of what may come again: as much as is held of a body that is cut down as it comes, and was kept in parts."""


class Replay:
    """The door. The same payload has the same ids as the first time, so a replay too many changes nothing."""

    def __init__(
        self,
        reception: Reception,
        sources: Mapping[str, Source],
        webhooks: Mapping[str, BoundProvider],
        mails: Mapping[str, MapMail],
        verifier: TokenVerifier | None,
    ) -> None:
        self._reception = reception
        self._sources = {name: sources[name] for name in (*webhooks, *mails)}
        self._webhooks = webhooks
        self._mails = mails
        self._verifier = verifier

    async def post(self, request: Request) -> Response:
        """Take one payload again."""
        operator(request, self._verifier)
        source = self._sources.get(request.path_params["source"])
        if source is None:
            raise unknown_source()
        body = await read_body(request)
        origin = self._reception.origin(source)
        with self._reception.telemetry.span("ingest replay", source=source.name) as trace:
            try:
                mapped = await self._map(source, request.headers, body)
                if mapped.ignored is not None:
                    return answer({"accepted": 0, "ignored": mapped.ignored})
                await self._reception.accept(source.name, mapped.events, origin.received_at, trace.traceparent)
                await self._reception.plan(source.name, mapped.notices)
            except (Unavailable, TooLarge) as error:
                raise refusal(error) from None
        return answer({"accepted": len(mapped.events)})

    async def _map(self, source: Source, headers: Mapping[str, str], body: bytes) -> Mapped:
        origin = self._reception.origin(source)
        try:
            if source.name in self._mails:
                return await asyncio.to_thread(self._mails[source.name], body, origin)
            webhook = self._webhooks[source.name]
            # A form comes with the Content-Type that it was kept with; everything else is JSON.
            media = media_of(headers.get("content-type", ""))
            if media not in webhook.provider.media - JSON:
                return await asyncio.to_thread(webhook.read, Delivery(parse(body), body, headers), origin)
            read = bodies.read(media, headers["content-type"], body)
            delivery = Delivery(read.payload, body, headers, files=read.files)
            return await asyncio.to_thread(webhook.read, delivery, origin)
        except bodies.UnreadableForm:
            raise bad_form() from None
        except (Unmapped, ValidationError) as unmapped:
            why = unmapped.reason if isinstance(unmapped, Unmapped) else "not_valid"
            detail = f"The mapping does not understand it ({why}); it stays the dead letter that it is."
            raise Problem(422, "Still not understood", detail, "unmapped") from None
