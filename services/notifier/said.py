"""What we have said on `tenure.alerts`: after a restore from a backup the topic remembers what the database forgot."""

from contracts.alerts import AlertEvent
from contracts.codec import decode
from contracts.envelope import Envelope, Unreadable
from contracts.topics import ALERTS
from services.notifier.domain.life import StepKind
from services.notifier.domain.look import EVENTS
from services.notifier.domain.recall import Recalled, recall
from services.runtime.records import Record
from services.runtime.rereading import Rereader
from services.runtime.settings import RuntimeSettings
from services.runtime.watermarks import Watermarks

_TYPES: dict[str, type[AlertEvent]] = {event.TYPE: event for event in EVENTS.values()}
_KINDS: dict[str, StepKind] = {event.TYPE: kind for kind, event in EVENTS.items()}
_RECORDS = 5000


class Said:
    """Reads the topic from its beginning, outside of any consumer group."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings

    async def alerts(self) -> list[Recalled]:
        """Return every alert that the topic still tells of; raises `KafkaError` without a broker."""
        watermarks = Watermarks(self._settings)
        try:
            bounds = await watermarks.ends({self._settings.physical(ALERTS.name): ALERTS.name})
        finally:
            await watermarks.close()
        ends = {partition: end for partition, (_, end) in bounds.items()}
        found: list[tuple[StepKind, AlertEvent]] = []
        begins = {partition: first for partition, (first, _) in bounds.items()}
        async with Rereader(self._settings, (ALERTS,), begins) as reader:
            while reader.behind(ends):
                records, _ = await reader.fetch(_RECORDS, ends)
                found += [step for step in map(_step, records) if step is not None]
        return recall(found)


def _step(record: Record) -> tuple[StepKind, AlertEvent] | None:
    try:
        envelope = Envelope.from_headers(record.headers)
        event = decode(envelope, record.value, _TYPES)
    except Unreadable:
        # A later version of ourselves may have said more than we can read.
        return None
    assert isinstance(event, AlertEvent)  # noqa: S101 - one of _TYPES
    return _KINDS[envelope.type], event
