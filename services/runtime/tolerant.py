"""Header names that are no UTF-8 must not stop a partition.

aiokafka decodes header names strictly, inside its compiled record iterator: one such record raises out of `getmany`
for ever. Kafka's own clients never write one, but any program may. Here the batch is decoded once more, leniently,
from the failing record on: bytes that are no UTF-8 become surrogates (`surrogateescape`) and can be written back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.util import decode_varint

_LENGTH_AT = 8
_OVERHEAD = 12
_MAGIC_AT = 16
_V2 = 2


def install() -> None:
    """Let aiokafka's fetcher, which offers no setting for it, read records through `TolerantRecords`."""
    fetcher.MemoryRecords = TolerantRecords


class TolerantRecords:
    """The batches of one fetch response, as aiokafka's `MemoryRecords` gives them."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Return the size of the response; the fetcher asks when it holds no complete batch."""
        return len(self._content)

    def has_next(self) -> bool:
        """Say whether a complete batch follows; the broker may cut the last one."""
        return self._end() is not None

    def next_batch(self) -> Any:
        """Return the next batch."""
        end = self._end()
        if end is None:
            return None
        batch = self._content[self._at : end]
        self._at = end
        magic = batch[_MAGIC_AT]
        return _TolerantBatch(bytes(batch)) if magic >= _V2 else LegacyRecordBatch(batch, magic)

    def _end(self) -> int | None:
        if len(self._content) - self._at <= _MAGIC_AT:
            return None
        length = int.from_bytes(self._content[self._at + _LENGTH_AT : self._at + _OVERHEAD], "big", signed=True)
        end = self._at + _OVERHEAD + length
        return end if end <= len(self._content) else None


class _TolerantBatch:
    """A record batch that is decoded by aiokafka's compiled code until that gives up, then by `_LenientBatch`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._strict = DefaultRecordBatch(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strict, name)

    def __next__(self) -> Any:
        # The fetcher reads a control batch's one record this way.
        return next(self._strict)

    def __iter__(self) -> Iterator[Any]:
        given = 0
        try:
            for record in self._strict:
                yield record
                given += 1
        except UnicodeDecodeError:
            for index, record in enumerate(_LenientBatch(self._content).records()):
                if index >= given:
                    yield record


class _LenientBatch:
    """aiokafka's Python implementation of a batch, with header names that may be any bytes."""

    def __init__(self, content: bytes) -> None:
        self._batch = _DefaultRecordBatchPy(content)

    def records(self) -> Iterator["_LenientRecord"]:
        self._batch._maybe_uncompress()  # noqa: SLF001 - the part of it that we share
        content, at = bytes(self._batch._buffer), self._batch._pos  # noqa: SLF001 - see above
        for _ in range(self._batch._num_records):  # noqa: SLF001 - see above
            record, at = self._record(content, at)
            yield record

    def _record(self, content: bytes, at: int) -> tuple["_LenientRecord", int]:
        # Record => length, attributes (one byte), timestamp delta, offset delta, key, value, headers; all varints.
        _, at = decode_varint(content, at)
        delta, at = decode_varint(content, at + 1)
        offset, at = decode_varint(content, at)
        key, at = _sized(content, at)
        value, at = _sized(content, at)
        count, at = decode_varint(content, at)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, at = _sized(content, at)
            header, at = _sized(content, at)
            headers.append(((name or b"").decode("utf-8", "surrogateescape"), header))
        stamp = self._batch.max_timestamp if self._batch.timestamp_type else self._batch.first_timestamp + delta
        return _LenientRecord(
            self._batch.base_offset + offset, stamp, self._batch.timestamp_type, key, value, headers
        ), at


@dataclass(frozen=True, slots=True)
class _LenientRecord:
    """One record as the fetcher reads it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


def _sized(content: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(content, at)
    return (None, at) if size < 0 else (content[at : at + size], at + size)
