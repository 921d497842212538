"""What a delivery of a provider says: its proof, its body, its mapping. Nothing here waits for anybody."""

import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from pydantic import ValidationError

from services.ingest.domain.mapping import Mapped, Origin, Unmapped
from services.ingest.domain.provider import BoundProvider, Delivery
from services.ingest.domain.source import Source
from services.ingest.doors import bodies
from services.ingest.doors.hot import Knock
from services.ingest.doors.turns import Visit
from services.ingest.reception import Heads, Reception, written
from services.ingest.verify import SCHEMES, Request, verify

_log = structlog.get_logger(__name__)


class Call(Visit):
    """One request to a source, and how far it has been read.

    `delivery`: it is authentic. `mapped`: what it says as it came to `origin`, or a code for why that cannot be said.
    `events`: the ids of what was queued.
    """

    __slots__ = ("bound", "delivery", "events", "mapped", "media", "origin", "source")

    def __init__(self, knock: Knock, source: Source, bound: BoundProvider, media: str) -> None:
        """`media` is the media type without parameters."""
        super().__init__(knock)
        self.source = source
        self.bound = bound
        self.media = media
        self.delivery: Delivery | None = None
        self.origin: Origin | None = None
        self.mapped: Mapped | str | None = None
        self.events: Sequence[str] = ()

    def release(self) -> None:
        """Forget what was read: it may be ten times what came."""
        super().release()
        self.delivery = self.mapped = None


_Shared = tuple[Origin, Heads]
"""What the calls of one turn to one source have in common."""


class Proofs:
    """Tells whether calls are authentic."""

    def __init__(self, certificates: Mapping[str, bytes], public_url: str | None) -> None:
        """`certificates`: those that were fetched, by address. `public_url`: our address as providers see it."""
        self._certificates = certificates
        self._public_url = None if public_url is None else public_url.rstrip("/")

    def check(self, call: Call) -> tuple[Delivery, str | None]:
        """Return an authentic delivery, parsed, and a token that must not come again with something else.

        Where the proof rides in the body, that is parsed first. Raises `Unverified`, `strict_json.BadJson` or
        `bodies.UnreadableForm`.
        """
        knock, scheme = call.knock, call.bound.provider.scheme
        content_type = knock.headers.get("content-type", "")
        read = bodies.read(call.media, content_type, knock.body) if SCHEMES[scheme].in_payload else None
        payload: Any = None if read is None else read.payload
        request = Request(knock.address(self._public_url), knock.headers, knock.body, payload=payload)
        token = verify(scheme, call.source.keys, request, certificates=self._certificates)
        if read is None:
            read = bodies.read(call.media, content_type, knock.body)
        query = bodies.query(knock.query) if knock.query else {}
        return Delivery(read.payload, knock.body, knock.headers, query, read.files), token


def why_not(source: str, error: Exception) -> str:
    """Return a code for why a mapping of `source` said nothing about a delivery."""
    if isinstance(error, Unmapped):
        return error.reason
    if isinstance(error, ValidationError):
        return "not_valid"
    # A fault of ours must not cost what the provider sends once. Without the message: it may quote what was sent.
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log.error(
        "a mapping broke; its delivery is kept raw",
        source=source,
        error=type(error).__name__,
        place=f"{place.name}, line {place.lineno}",
    )
    return "mapping_broke"


class TogetherRead:
    """The steps by which calls of one turn are read (see `services.ingest.doors.turns`), to their events.

    All else goes on from what was found out: what is not authentic, handshakes, what says nothing, what is not
    understood, what needs more than its own bytes, and what somebody will look at the trace of.
    """

    def __init__(self, reception: Reception, proofs: Proofs) -> None:
        self._reception = reception
        self._proofs = proofs
        self.steps = (self._prove, self._map, self._write)

    def _prove(self, call: Call, _: dict[str, _Shared]) -> bool:
        delivery, token = self._proofs.check(call)
        if token is not None:
            # Whoever knows what came with it before has to be asked.
            return False
        call.delivery = delivery
        handshake = call.bound.provider.handshake
        return handshake is None or handshake(delivery, call.source.keys) is None

    def _map(self, call: Call, shared: dict[str, _Shared]) -> bool:
        name = call.source.name
        known = shared.get(name)
        if known is None:
            origin = self._reception.origin(call.source)
            known = shared[name] = (origin, Heads(name, origin.received_at))
        call.origin = known[0]
        if call.delivery is None:
            return False
        try:
            mapped = call.mapped = call.bound.read(call.delivery, known[0])
        except Exception as error:  # noqa: BLE001 - it is told under which code
            call.mapped = why_not(name, error)
            return False
        return bool(mapped.events) and mapped.ignored is None and not mapped.notices

    def _write(self, call: Call, shared: dict[str, _Shared]) -> bool:
        trace = self._reception.telemetry.unseen(None)
        if trace is None:
            call.seen = True
            return False
        head, mapped = shared[call.source.name][1], call.mapped
        records = [written(event) for event in mapped.events] if isinstance(mapped, Mapped) else []
        call.events = [one.event for one in records]
        call.records = [head(one, trace.traceparent) for one in records]
        return bool(records)
