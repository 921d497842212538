"""Takes one mail that we fetched ourselves to the broker, whatever it is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from msgspec import structs
from pydantic import ValidationError

from contracts.events import Event
from contracts.values import Authority, Kind
from services.ingest.domain.mail_mime import ReadMail
from services.ingest.domain.mapping import MapMail, Mapped, Origin, Unmapped
from services.ingest.domain.source import Source
from services.ingest.publisher import TooLarge
from services.ingest.reception import Reception

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MailTaker:
    """Takes the mails of one source."""

    reception: Reception
    source: Source
    mapping: MapMail
    content: bool
    """Whether what cannot be understood may be kept whole."""
    authority: int = Authority.LIVE

    async def take(self, raw: bytes | ReadMail, place: str, folder: str | None = None) -> str | None:
        """Take one mail; return its native id, "" where it has none, None when it is not with the broker.

        `place` says where it lies, without personal data: it goes into the log. Raises `Unavailable`.
        """
        reception, name = self.reception, self.source.name
        origin = structs.replace(reception.origin(self.source), folder=folder, authority=self.authority)
        at = origin.received_at
        with reception.telemetry.span("ingest mailbox", source=name) as trace:
            try:
                why, mapped = await asyncio.to_thread(self._map, raw, origin)
                if mapped is not None and mapped.ignored is None:
                    try:
                        await reception.accept(name, mapped.events, at, trace.traceparent)
                    except TooLarge:
                        # Understood, and more than an event may hold, such as thousands of recipients.
                        why, mapped = "too_large", None
                if mapped is not None:
                    if mapped.ignored is not None:
                        reception.ignored(name, at, mapped.ignored)
                    notices = [replace(notice, authority=self.authority) for notice in mapped.notices]
                    await reception.plan(name, notices)
                    return _native_id(mapped.events)
                if not self.content:
                    # It stays where it is: what must not be kept must not lie on a topic as raw bytes either.
                    reception.refused(name, why)
                    return None
                kept = raw if isinstance(raw, bytes) else raw.kept
                await reception.keep_raw(name, kept, why, at=at, traceparent=trace.traceparent)
            except TooLarge:
                # It stays where it is; the log says which it was.
                reception.refused(name, "too_large")
                _log.warning("a mail is too large to be kept", source=name, place=place)
                return None
            return ""

    def _map(self, raw: bytes | ReadMail, origin: Origin) -> tuple[str, Mapped | None]:
        try:
            return "", self.mapping(raw, origin)
        except Unmapped as unmapped:
            return unmapped.reason, None
        except ValidationError:
            return "not_valid", None
        except Exception as error:  # noqa: BLE001 - our own mistake about one mail must not keep those behind it waiting
            _log.error("a mail could not be mapped", source=self.source.name, error=type(error).__name__)
            return "mapping_failed", None


def _native_id(events: Sequence[Event]) -> str:
    mail = next((event for event in events if event.KIND is Kind.MAIL), None)
    return "" if mail is None else mail.interaction.native_id
