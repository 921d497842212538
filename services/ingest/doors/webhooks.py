"""`POST /v1/webhooks/{source}`: what providers send. What is authentic is taken; what we cannot map goes on raw."""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from services.ingest import strict_json
from services.ingest.domain.mapping import MapWebhook, Unmapped
from services.ingest.doors.hot import Answer
from services.ingest.doors.requests import (
    bad_json,
    check_media,
    refusal,
    unknown_source,
    unsigned,
)
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.ingest.settings import Source
from services.ingest.verify import Unverified, verify, verify_token

# Headers that carry meaning and no secret; a replay of what was kept raw needs them.
_KEPT = ("x-shopify-topic", "x-shopify-shop-domain", "x-shopify-triggered-at")


class Webhooks:
    """The door. `mappings`: by the names of the sources that it serves."""

    def __init__(self, reception: Reception, sources: Mapping[str, Source], mappings: Mapping[str, MapWebhook]) -> None:
        self._reception = reception
        self._sources = {name: sources[name] for name in mappings}
        self._mappings = mappings

    async def take(self, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Take one delivery to the source called `name`."""
        source = self._sources.get(name)
        if source is None:
            raise unknown_source()
        check_media(headers)
        payload = self._authenticate(source, headers, body)
        with self._reception.telemetry.span("ingest webhook", source=source.name) as trace:
            return await self._take(source, payload, body, headers, trace.traceparent)

    def _authenticate(self, source: Source, headers: Mapping[str, str], body: bytes) -> Any:
        """Return the parsed body of an authentic delivery.

        Where a token rides in the body, a body that cannot be read has none.
        """
        scheme = source.configuration.scheme
        try:
            if scheme is not None:
                verify(scheme, source.keys, headers, body)
            # Providers' texts may hold what cannot be stored; the mapping mends or refuses it.
            payload = strict_json.loads(body, storable=False)
            if scheme is None:
                verify_token(source.keys, payload.get("token") if isinstance(payload, dict) else None)
        except Unverified as unverified:
            self._reception.refused(source.name, unverified.reason, outcome="unsigned")
            raise unsigned() from None
        except strict_json.BadJson as bad:
            self._reception.refused(source.name, "bad_json", outcome="unsigned" if scheme is None else "refused")
            raise (unsigned() if scheme is None else bad_json(bad)) from None
        return payload

    async def _take(
        self, source: Source, payload: Any, body: bytes, headers: Mapping[str, str], traceparent: str | None
    ) -> Answer:
        origin = self._reception.origin(source)
        at = origin.received_at
        try:
            try:
                mapped = self._mappings[source.name](payload, body, headers, origin)
            except (Unmapped, ValidationError) as unmapped:
                why = unmapped.reason if isinstance(unmapped, Unmapped) else "not_valid"
                kept = [(name, headers[name]) for name in _KEPT if name in headers]
                await self._reception.keep_raw(
                    source.name, _without_token(source, payload, body), why, at=at, traceparent=traceparent, kept=kept
                )
                return Answer({"accepted": 0, "unmapped": why})
            if mapped.ignored is not None:
                self._reception.ignored(source.name, at)
                return Answer({"accepted": 0, "ignored": mapped.ignored})
            await self._reception.accept(source.name, mapped.events, at, traceparent)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(source.name, error)
            raise refusal(error) from None
        return Answer({"accepted": len(mapped.events)})


def _without_token(source: Source, payload: Any, body: bytes) -> bytes:
    """A token in the body is a secret: it must not lie on topics and in dead letters."""
    if source.configuration.scheme is not None or not isinstance(payload, dict):
        return body
    return orjson.dumps({name: value for name, value in payload.items() if name != "token"})
