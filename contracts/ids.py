"""Derived ids: the same report always has the same id, whoever derives it and however often.

An id is a UUIDv8 (RFC 9562) over BLAKE2b of its parts, written in the canonical lower-case form of 36 characters.
"""

from hashlib import blake2b

_VERSION_8 = 0x8 << 76
_VARIANT = 0x2 << 62
_KEEP = ~((0xF << 76) | (0x3 << 62)) & ((1 << 128) - 1)


def derive_id(*parts: str) -> str:
    """Return the UUIDv8 of `parts`, in order. Parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ."""
    encoded = [part.encode() for part in parts]
    content = b"".join([len(part).to_bytes(4, "big") + part for part in encoded])
    number = int.from_bytes(blake2b(content, digest_size=16).digest(), "big")
    name = f"{number & _KEEP | _VERSION_8 | _VARIANT:032x}"
    # Formatted by hand: the UUID class takes four times as long, and every record needs three ids.
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"


def interaction_id(kind: str, system: str, native_id: str) -> str:
    """Return the id of the mail, call, ticket … that `system` knows as `native_id`.

    `system` is the *source system* ("zendesk:acme", the constant "mail"), never a mailbox, a delivery or an import run.
    """
    return derive_id("interaction", kind, system, native_id)


def event_id(interaction: str, event_kind: str, report: str) -> str:
    """Return the id of one report about an interaction.

    `report` is what makes the report distinct: its native event id, else a digest of the source's own bytes.
    """
    return derive_id("event", interaction, event_kind, report)


def digest(content: bytes) -> str:
    """Return 32 hexadecimal characters of BLAKE2b over a source's bytes."""
    return blake2b(content, digest_size=16).hexdigest()
