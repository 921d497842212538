"""What is signed or encrypted in a mail (S/MIME, PGP): signed parts are read unproven, encrypted ones stay shut."""

from typing import Literal

from services.ingest.domain.mail_mime import Part

Protection = Literal["signed", "encrypted"]

_ENVELOPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
"""The object identifier 1.2.840.113549.1.7.2, encoded."""
_DATA = bytes.fromhex("06092a864886f70d010701")
_SEQUENCE, _OCTETS, _OCTET_PARTS, _EXPLICIT, _SET, _INTEGER = 0x30, 0x04, 0x24, 0xA0, 0x31, 0x02
_MOST_PIECES = 10_000
_PGP_MESSAGE = "-----BEGIN PGP MESSAGE-----"
_PGP_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"


class _NotEncoded(Exception):
    """The bytes are not the structure that was expected."""


def is_envelope(part: Part) -> bool:
    """Say whether a part is an S/MIME envelope."""
    return part.kind in _ENVELOPES


def protection_of(root: Part, text: str) -> Protection | None:
    """Return how a mail is protected, going by its outermost part, and by its text where PGP stands in that."""
    subtype = root.parameter("smime-type").lower()
    if root.kind == "multipart/encrypted" or (is_envelope(root) and not subtype.startswith("signed")):
        return "encrypted"
    if root.kind == "multipart/signed" or is_envelope(root):
        return "signed"
    if text.lstrip().startswith(_PGP_MESSAGE):
        return "encrypted"
    return "signed" if _PGP_SIGNED in text else None


def signed_content(envelope: bytes) -> bytes | None:
    """Return what a signed S/MIME envelope (CMS SignedData, RFC 5652) holds, or None where it holds nothing readable.

    `envelope` may be cut off: of long content the beginning is returned.
    """
    try:
        outer = _inside(envelope, 0, _SEQUENCE)
        if not outer.startswith(_SIGNED_DATA):
            return None
        signed = _inside(_inside(outer, len(_SIGNED_DATA), _EXPLICIT), 0, _SEQUENCE)
        after_version = _after(signed, 0, _INTEGER)
        content = _inside(signed, _after(signed, after_version, _SET), _SEQUENCE)
        if not content.startswith(_DATA):
            return None
        return _octets(_inside(content, len(_DATA), _EXPLICIT))
    except (_NotEncoded, IndexError):
        return None


def _header(data: bytes, at: int) -> tuple[int, int, int | None]:
    """Return (tag, where the content begins, its length; None: until an end mark)."""
    tag, first = data[at], data[at + 1]
    if first < 0x80:  # noqa: PLR2004 - a short length (X.690, 8.1.3.4)
        return tag, at + 2, first
    if first == 0x80:  # noqa: PLR2004 - the indefinite form (8.1.3.6)
        return tag, at + 2, None
    size = first & 0x7F
    if size > 4:  # noqa: PLR2004 - longer than any mail
        raise _NotEncoded
    return tag, at + 2 + size, int.from_bytes(data[at + 2 : at + 2 + size], "big")


def _inside(data: bytes, at: int, expected: int) -> bytes:
    tag, begin, length = _header(data, at)
    if tag != expected:
        raise _NotEncoded
    return data[begin:] if length is None else data[begin : begin + length]


def _after(data: bytes, at: int, expected: int) -> int:
    tag, begin, length = _header(data, at)
    if tag != expected or length is None:
        raise _NotEncoded
    return begin + length


def _octets(data: bytes) -> bytes:
    tag, begin, length = _header(data, 0)
    if tag == _OCTETS and length is not None:
        return data[begin : begin + length]
    if tag != _OCTET_PARTS:
        raise _NotEncoded
    # Programs that write while they read send the content in pieces.
    end = len(data) if length is None else min(len(data), begin + length)
    pieces = []
    for _ in range(_MOST_PIECES):
        if begin + 2 > end or data[begin] != _OCTETS:
            break
        _, start, size = _header(data, begin)
        if size is None:
            break
        pieces.append(data[start : start + size])
        begin = start + size
    return b"".join(pieces)
