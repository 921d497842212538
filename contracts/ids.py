"""Derived ids: the same report always has the same id, whoever derives it and however often.

An id is a UUIDv8 (RFC 9562) over BLAKE2b of its parts, written in the canonical lower-case form of 36 characters.
"""

import time
from functools import lru_cache
from hashlib import blake2b
from os import urandom

# The two bits of the variant, in the first of four hexadecimal digits.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def derive_id(*parts: str) -> str:
    """Return the UUIDv8 of `parts`, in order. Parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ."""
    return _uuid8(b"".join([_part(part) for part in parts]))


def _part(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded


@lru_cache(maxsize=4096)
def _parts(*texts: str) -> bytes:
    # Kinds, systems and types are few.
    return b"".join([_part(text) for text in texts])


def _uuid8(content: bytes) -> str:
    # Formatted by hand: the UUID class takes four times as long, and every record needs two ids.
    name = blake2b(content, digest_size=16).hexdigest()
    return f"{name[:8]}-{name[8:12]}-8{name[13:16]}-{_VARIANT[name[16]]}{name[17:20]}-{name[20:]}"


# What follows is an id of 36 characters.
_EVENT = _part("event") + (36).to_bytes(4, "big")


# Whoever reads a record asks for the same id several times.
@lru_cache(maxsize=16_384)
def interaction_id(kind: str, system: str, native_id: str) -> str:
    """Return the id of the mail, call, ticket … that `system` knows as `native_id`.

    `system` is the *source system* ("zendesk:acme", the constant "mail"), never a mailbox, a delivery or an import run.
    """
    return _uuid8(_parts("interaction", kind, system) + _part(native_id))


def event_id(interaction: str, event_kind: str, report: str) -> str:
    """Return the id of one report about an interaction.

    `report` is what makes the report distinct: its native event id, else a digest of the source's own bytes.
    """
    return _uuid8(_EVENT + interaction.encode() + _parts(event_kind) + _part(report))


def new_id() -> str:
    """Return a new UUIDv7."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """Return new UUIDv7, each a tenth of what the package that makes them takes: milliseconds, then chance."""
    when, chance = f"{time.time_ns() // 1_000_000:012x}", urandom(10 * count).hex()
    head = f"{when[:8]}-{when[8:]}-7"
    return [
        f"{head}{chance[at : at + 3]}-{_VARIANT[chance[at + 3]]}{chance[at + 4 : at + 7]}-{chance[at + 7 : at + 19]}"
        for at in range(0, 20 * count, 20)
    ]


def digest(content: bytes) -> str:
    """Return 32 hexadecimal characters of BLAKE2b over a source's bytes."""
    return blake2b(content, digest_size=16).hexdigest()
