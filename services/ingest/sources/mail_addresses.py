"""Headers of addresses (RFC 5322) as people and programs write them: groups, semicolons, brackets that never close."""

import email.utils
import re
from collections.abc import Iterable
from email.utils import getaddresses
from typing import Any

from services.ingest.sources.mail_charsets import decoded_words

MOST_ADDRESSES = 20_000
# Later releases of Python read addresses strictly unless told otherwise; earlier ones cannot be told.
_TOLERANT: dict[str, Any] = {"strict": False} if getattr(email.utils, "supports_strict_parsing", False) else {}
_AROUND = " \t'\"<>[](){},;"
_WHOLE = re.compile(r"[^\s@<>()\[\],;:\"']{1,64}@[^\s@<>()\[\],;:\"']{1,255}")
_LONGEST = 500_000
"""Characters of a header that are read: ten thousand people fit."""
_LONGEST_RESCUED = 100_000


def read_addresses(values: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, address) of everybody in these headers, in order; names decoded, addresses as written.

    Addresses are read before encoded words are decoded: a decoded comma would split them.
    """
    found: list[tuple[str, str]] = []
    for value in values:
        found += _of_one(value) or _rescued(value)
        if len(found) >= MOST_ADDRESSES:
            break
    return found[:MOST_ADDRESSES]


def _of_one(value: str) -> list[tuple[str, str]]:
    try:
        pairs = getaddresses([value[:_LONGEST]], **_TOLERANT)
    except (ValueError, IndexError, RecursionError):
        return []
    found = []
    for display, written in pairs:
        name, address = display, written.strip(_AROUND)
        if "@" not in address and "@" in name:
            # A name with the address in brackets behind it, read the other way round
            name, address = address, name.strip(_AROUND)
        if address.count("@") == 1 and not address.startswith("@") and _WHOLE.fullmatch(address):
            found.append((decoded_words(name), address))
    return found


def _rescued(value: str) -> list[tuple[str, str]]:
    """Return what looks like an address in a header that cannot be read as one."""
    if "@" not in value and "=?" not in value:
        return []
    plain = decoded_words(value)[:_LONGEST_RESCUED]
    found = []
    position = 0
    for match in _WHOLE.finditer(plain):
        name = plain[position : match.start()].strip(" \t\r\n<\"',;()")
        position = match.end()
        found.append((name if "@" not in name else "", match.group().strip(_AROUND + ".")))
    return found
