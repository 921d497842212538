"""Columns of a batch as PostgreSQL arrays in binary form, made in a few passes over all of their elements.

asyncpg looks at every element of an array three times, and PostgreSQL takes longer to parse an array literal than to
store what it says. So whole columns are put together here, as the wire has them, and `register` lets asyncpg pass them
on as they are; lists are taken as before, and results come as lists.

Statements unnest in their select list, `select unnest($1::uuid[]) as id, unnest($2::text[]) as …`, which keeps no copy
of every column as `from unnest(…, …)` does. Both fill up what is shorter with nulls: a column without any value is sent
as an empty array. Arrays of arrays are flattened by `unnest`, so these travel as texts, made by `literal_…`.
"""

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, cast

import asyncpg

_NULL = b"\xff\xff\xff\xff"
_NULL_HEX = "ffffffff"
_HEADER = struct.Struct(">iiIii")
_EMPTY = struct.Struct(">iiI")
_LENGTH = struct.Struct(">i")
_ALONE = _HEADER.size + _LENGTH.size
"""Bytes before the first element."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_DAY_ZERO = date(2000, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_TRUE, _FALSE = b"\0\0\0\1\1", b"\0\0\0\1\0"
_BOOLEAN, _BYTEA, _TEXT, _BIGINT, _DATE, _TIMESTAMPTZ, _UUID = 16, 17, 25, 20, 1082, 1184, 2950
# Lengths as they stand before an element, for those that occur.
_LENGTHS = tuple(_LENGTH.pack(size) for size in range(4096))
_LENGTHS_LATIN = tuple(length.decode("latin-1") for length in _LENGTHS)
# PostgreSQL can store no NUL in text, so it can stand between texts while quotes are put into all of them at once.
_BETWEEN = "\x00"


class Packed(bytes):
    """An array of one dimension as the wire has it."""

    __slots__ = ()


def ids(values: Iterable[str | None]) -> Packed:
    """Return `uuid[]` of ids in canonical form."""
    given = _given(values)
    try:
        text = "00000010" + "00000010".join(given)
        nulls = False
    except TypeError:
        text = "".join([_NULL_HEX if one is None else f"00000010{one}" for one in given])
        nulls = True
    return _whole(_UUID, len(given), bytes.fromhex(text.replace("-", "")) if given else b"", nulls=nulls)


def numbers(values: Iterable[int | None]) -> Packed:
    """Return `bigint[]`."""
    return _eights(_BIGINT, _given(values))


def moments(values: Iterable[datetime | None]) -> Packed:
    """Return `timestamptz[]` of aware moments."""
    return _eights(_TIMESTAMPTZ, [None if one is None else _micros(one) for one in values])


def days(values: Iterable[date | None]) -> Packed:
    """Return `date[]`."""
    given = _given(values)
    pieces = [_NULL if one is None else _day(one) for one in given]
    return _whole(_DATE, len(given), b"".join(pieces), nulls=None in given)


def flags(values: Iterable[bool]) -> Packed:
    """Return `boolean[]`."""
    given = _given(values)
    pieces = [_TRUE if one else _FALSE if one is not None else _NULL for one in given]
    return _whole(_BOOLEAN, len(given), b"".join(pieces), nulls=None in given)


def texts(values: Iterable[str | None]) -> Packed:
    """Return `text[]`. Raises ValueError when a text holds NUL."""
    given = _given(values)
    if None in given:
        pieces = [_NULL if one is None else _sized(one.encode()) for one in given]
        content = b"".join(pieces)
        if any(one is not None and "\0" in one for one in given):
            _refuse_nul()
        return _whole(_TEXT, len(given), content, nulls=True)
    joined = "".join(given)
    if "\0" in joined:
        _refuse_nul()
    # One character, one byte, none of them too long: then nothing has to be encoded by itself.
    if joined.isascii() and (not given or max(map(len, given)) < len(_LENGTHS)):
        laid: list[Any] = [None] * (2 * len(given))
        laid[::2] = [_LENGTHS_LATIN[len(one)] for one in given]
        laid[1::2] = given
        return _whole(_TEXT, len(given), "".join(laid).encode("latin-1"))
    return _whole(_TEXT, len(given), b"".join([_sized(one.encode()) for one in given]))


def blobs(values: Iterable[bytes | None]) -> Packed:
    """Return `bytea[]`."""
    given = _given(values)
    pieces = [_NULL if one is None else _sized(one) for one in given]
    return _whole(_BYTEA, len(given), b"".join(pieces), nulls=None in given)


def or_nothing(pack: Callable[[Sequence[Any]], Packed], values: Sequence[Any]) -> Packed:
    """Return `pack(values)`, or an empty array where all of them are None: `unnest` fills it up."""
    return pack(()) if values.count(None) == len(values) else pack(values)


def literal_ids(values: Iterable[str]) -> str:
    """Return the text of an array of ids: nothing in them needs quotes."""
    return "{" + ",".join(values) + "}"


def literal_numbers(values: Iterable[int]) -> str:
    """Return the text of an array of whole numbers."""
    return "{" + ",".join(map(str, values)) + "}"


def literal_texts(values: Iterable[str]) -> str:
    """Return the text of an array of any texts. Raises ValueError when one of them holds NUL."""
    given = list(values)
    if not given:
        return "{}"
    joined = _BETWEEN.join(given)
    if joined.count(_BETWEEN) != len(given) - 1:
        _refuse_nul()
    if "\\" in joined:
        joined = joined.replace("\\", "\\\\")
    if '"' in joined:
        joined = joined.replace('"', '\\"')
    return '{"' + joined.replace(_BETWEEN, '","') + '"}'


def register(connection: asyncpg.Connection) -> None:
    """Let `connection` take packed arrays, and lists as before; results of these types are lists."""
    # asyncpg offers codecs of one's own for single values only; what it does with arrays is a row of calls for each
    # element. Types of `pg_catalog` have the same numbers everywhere.
    settings = connection._protocol.get_settings()  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    for number, name, pack, read in _TYPES:
        settings.add_python_codec(number, name, "pg_catalog", [], "scalar", _taking(pack), _reading(read), "binary")


def _taking(pack: Callable[[Any], Packed]) -> Callable[[Any], bytes]:
    def take(value: Any) -> bytes:
        if type(value) is Packed:
            return value
        if isinstance(value, str | bytes):
            message = "a list is expected, not one text"
            raise TypeError(message)
        return pack(value)

    return take


def _reading(read: Callable[[bytes], Any]) -> Callable[[bytes], list[Any]]:
    def elements(content: bytes) -> list[Any]:
        dimensions, nulls, element = _EMPTY.unpack_from(content)
        if dimensions == 0:
            return []
        if dimensions > 1:
            message = "arrays have one dimension here"
            raise ValueError(message)
        if element == _BIGINT and not nulls:
            return list(_strides((len(content) - _HEADER.size) // 12).unpack_from(content, _HEADER.size))
        if not nulls and len(content) == _ALONE + _LENGTH.unpack_from(content, _HEADER.size)[0]:
            return [read(content[_ALONE:])]
        place, found = _HEADER.size, list[Any]()
        while place < len(content):
            (size,) = _LENGTH.unpack_from(content, place)
            place += 4
            if size < 0:
                found.append(None)
            else:
                found.append(read(content[place : place + size]))
                place += size
        return found

    return elements


@lru_cache(maxsize=256)
def _strides(count: int) -> struct.Struct:
    """Numbers without the lengths before them; counts of figures are always equally many."""
    return struct.Struct(">" + "4xq" * count)


def _given(values: Iterable[Any]) -> Sequence[Any]:
    return values if isinstance(values, list | tuple) else list(values)


def _whole(element: int, count: int, content: bytes, *, nulls: bool = False) -> Packed:
    if not count:
        return Packed(_EMPTY.pack(0, 0, element))
    return Packed(_HEADER.pack(1, nulls, element, count, 1) + content)


def _eights(element: int, values: Sequence[int | None]) -> Packed:
    try:
        eights = array("q", cast("Sequence[int]", values))
    except TypeError:  # some are None
        pieces = [_NULL if one is None else _LENGTHS[8] + one.to_bytes(8, "big", signed=True) for one in values]
        return _whole(element, len(values), b"".join(pieces), nulls=True)
    if sys.byteorder == "little":
        eights.byteswap()
    # In fours there can be something between them: the length before each.
    content = bytearray(_LENGTHS[8] + bytes(8)) * len(values)
    if values:
        laid, halves = memoryview(content).cast("I"), memoryview(eights).cast("B").cast("I")
        laid[1::3], laid[2::3] = halves[::2], halves[1::2]
    return _whole(element, len(values), bytes(content))


def _sized(content: bytes) -> bytes:
    size = len(content)
    return (_LENGTHS[size] if size < len(_LENGTHS) else _LENGTH.pack(size)) + content


# The same moments and days stand in several columns of a batch.
@lru_cache(maxsize=20_000)
def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=20_000)
def _day(day: date) -> bytes:
    return _LENGTHS[4] + _LENGTH.pack(day.toordinal() - _DAY_ZERO)


def _refuse_nul() -> None:
    message = "a text holds NUL, which PostgreSQL cannot store"
    raise ValueError(message)


def _id(content: bytes) -> str:
    text = content.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _whole_number(content: bytes) -> int:
    return int.from_bytes(content, "big", signed=True)


_TYPES: tuple[tuple[int, str, Callable[[Any], Packed], Callable[[bytes], Any]], ...] = (
    (1000, "_bool", flags, lambda content: content == b"\1"),
    (1001, "_bytea", blobs, bytes),
    (1009, "_text", texts, lambda content: content.decode()),
    (1016, "_int8", numbers, _whole_number),
    (1182, "_date", days, lambda content: date.fromordinal(_whole_number(content) + _DAY_ZERO)),
    (1185, "_timestamptz", moments, lambda content: _EPOCH + timedelta(microseconds=_whole_number(content))),
    (2951, "_uuid", ids, _id),
)
