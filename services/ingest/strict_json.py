"""JSON as RFC 8259 means it, and no more: what two readers could understand differently is refused with its field.

Nearly every body is read by orjson and looked over once. Where anything in it might be one of the oddities that orjson
passes over, the strict parser reads it again from the start: its verdict alone counts, and it alone says what is wrong.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import orjson

from services.runtime.limits import DEPTH_LIMIT, TooDeep, check_depth

_GREATEST = 1 << 63
"""Whole numbers beyond it are no longer exact in every reader."""
_LONGEST_NUMBER = 40
_HALF = re.compile("[\ud800-\udfff]")


class BadJson(ValueError):
    """The bytes are not acceptable JSON. `field` says where ("" when that cannot be said), `remedy` what to do."""

    def __init__(self, message: str, remedy: str, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.field = field


def loads(body: bytes, *, storable: bool = True) -> Any:
    """Parse UTF-8 JSON; raise `BadJson`.

    Refused: other encodings, more than 64 levels, a name twice in one object, NaN and Infinity, whole numbers beyond
    64 bits, and with `storable` NUL characters and lone surrogates. Numbers with a fraction come back as float.
    """
    try:
        check_depth(body, DEPTH_LIMIT)
        if (plain := _read_plain(body)) is not _ODD:
            return plain
        text = body.decode("utf-8")
        parsed = _DECODER.decode(text)
    except TooDeep as error:
        raise BadJson(str(error), f"nest at most {DEPTH_LIMIT} levels") from None
    except UnicodeDecodeError as error:
        raise BadJson(f"byte {error.start} is not UTF-8", "send JSON in UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg} at character {error.pos}", "send valid JSON") from None
    except RecursionError:
        raise BadJson("JSON is nested too deep", f"nest at most {DEPTH_LIMIT} levels") from None
    # A backslash-u is the only way in for either: raw control characters and surrogates have failed above.
    if storable and "\\u" in text:
        _check_text(parsed)
    return parsed


_ODD = object()
_ALIKE = bytes.maketrans(b"0123456789+-.eE\t\n\r", b"000000000000000   ")
_LONG = b"0" * 19
"""So many characters of a number: shorter ones fit into 64 bits, whatever they say."""
_BEFORE_NUMBERS = (b":", b",", b"[", b" ")


def _read_plain(body: bytes) -> Any:
    """Parse what is plain JSON; return `_ODD` for what might not be.

    Plain is: no escaped code point, no long number, and as many colons in `body` as in what was understood, written
    anew: so no name stood twice. (Texts hold the same colons in both.)
    """
    if _holds_long_number(body) or (b"\\" in body and b"\\u" in body):
        return _ODD
    try:
        parsed = orjson.loads(body)
        # A single byte is looked for many times as fast as two are.
        names = orjson.dumps(parsed).count(b":")
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _ODD
    return parsed if names == body.count(b":") else _ODD


def _holds_long_number(body: bytes) -> bool:
    """Say whether a number might be long; a long one between quotation marks is none."""
    alike = body.translate(_ALIKE)
    if _LONG not in alike:
        return False
    return alike.startswith(_LONG) or any(before + _LONG in alike for before in _BEFORE_NUMBERS)


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadJson(f"the name {twice[:100]!r} stands twice in one object", "send each name once", twice[:100])
    return members


def _no_constant(name: str) -> float:
    raise BadJson(f"{name} is no JSON number", "leave the field out, or send a finite number")


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER or not -_GREATEST <= (number := int(digits)) < _GREATEST:
        raise BadJson("a whole number does not fit into 64 bits", "send large numbers as strings")
    return number


def _fraction(digits: str) -> float:
    if len(digits) > _LONGEST_NUMBER:
        raise BadJson("a number has too many digits", "send exact numbers as strings")
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise BadJson("a number is too large", "send large numbers as strings")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_constant=_no_constant, parse_int=_whole, parse_float=_fraction
)


def _check_text(value: Any, path: str = "") -> None:
    """Raise for a string that PostgreSQL cannot store or UTF-8 cannot write."""
    if isinstance(value, str):
        if "\x00" in value:
            raise BadJson("holds a NUL character", "remove the character U+0000", path)
        if _HALF.search(value):
            raise BadJson("holds half of a surrogate pair", "send whole characters", path)
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name, path)
            _check_text(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for position, member in enumerate(value):
            _check_text(member, f"{path}.{position}" if path else str(position))
