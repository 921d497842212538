"""A report as it goes to the broker, and who can make one straight from what somebody sent."""

from collections.abc import Callable

import msgspec

from services.ingest.domain.mapping import Origin


class Written(msgspec.Struct, frozen=True, gc=False):
    """A report as it goes to the broker. `time` is RFC 3339 in UTC."""

    event: str
    interaction: str
    type: str
    time: bytes
    value: bytes
    publisher: str = ""
    """What the sender of a CloudEvent calls itself, where that is known."""


ReadLine = Callable[[bytes], Written | None]
"""A line's record, or None where another reader has to judge."""
OpenLines = Callable[[Origin, frozenset[str]], ReadLine]
"""(origin, systems that a line may name) → reader of its lines."""
