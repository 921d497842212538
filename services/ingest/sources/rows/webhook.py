"""The documented rows, sent live as JSON: an object, or a list of them, each a row of one of the mappings.

All rows of a request go in, or none: what cannot be read is kept whole and can be replayed.
"""

from functools import lru_cache
from typing import Annotated
from zoneinfo import ZoneInfo

import orjson
from pydantic import AfterValidator

from contracts.events import Event
from services.ingest.domain.mapping import Invalid, Mapped, Origin, Unmapped
from services.ingest.domain.places import Region
from services.ingest.domain.provider import Delivery, Options, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.cloudevents import read_cloudevent
from services.ingest.sources.rows.events import Export, LeftOut, Writer, written_events
from services.ingest.sources.rows.mapping import BadMapping, RowMapping, shipped_mapping
from services.ingest.sources.rows.reading import Rejected, Row

MOST_ROWS = 500


def _known(name: str) -> str:
    try:
        mapping = shipped_mapping(name)
    except BadMapping as bad:
        raise ValueError(str(bad)) from None
    if mapping.missing_constants() or mapping.file.format == "asterisk":
        raise ValueError(f"{name} is for files only")
    return name


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write one such as Europe/Berlin") from None
    return name


class RowsOptions(Options):
    """What the rows are."""

    mapping: Annotated[str, AfterValidator(_known)]
    """One of `tenure import --mappings`: surveys, usage, orders-nested …"""
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Of moments without an offset."""
    region: Region | None = None
    """Whose national telephone numbers appear without a prefix (ISO 3166)."""


def read(delivery: Delivery, origin: Origin, options: RowsOptions) -> Mapped:
    """Map a verified request. Raises `Unmapped` with the number and the column of a row that cannot be read."""
    payload = delivery.payload
    objects = payload if isinstance(payload, list) else [payload]
    if len(objects) > MOST_ROWS:
        raise Unmapped("too_many_rows")
    if not all(isinstance(one, dict) for one in objects):
        raise Unmapped("no_rows")
    try:
        orjson.dumps(objects)
    except TypeError:
        # Half a character, or a number beyond 64 bits: nobody could write the row down again.
        raise Unmapped("not_storable") from None
    rows = [Row(number, one) for number, one in enumerate(objects, start=1)]
    found: list[Event] = []
    for one in written_events(rows, _writer(options, origin.system)):
        if isinstance(one, Rejected):
            raise Unmapped(f"row_{one.line}:{one.field}")
        if isinstance(one, LeftOut):
            continue
        try:
            found.append(read_cloudevent(dict(one.event), origin))
        except Invalid as bad:
            raise Unmapped(f"row_{one.rows[0].line}:{bad.errors[0].field}") from None
    return Mapped(found) if found else Mapped(ignored="no_rows")


@lru_cache(maxsize=64)
def _writer(options: RowsOptions, system: str) -> Writer:
    return Writer(_mapping(options), Export(system, None, by_moment=True))


def _mapping(options: RowsOptions) -> RowMapping:
    mapping = shipped_mapping(options.mapping)
    values = mapping.values.model_copy(update={"zone": options.zone, "region": options.region})
    return mapping.model_copy(update={"values": values})


PROVIDER = Provider(name="rows", scheme=SchemeName.STANDARD_WEBHOOKS, read=read, options=RowsOptions)
