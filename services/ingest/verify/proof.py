"""What every scheme works on: one request, the keys of a source, and the ways in which a proof can fail."""

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

TOLERANCE_SECONDS = 300
ONCE_SECONDS = 9 * 3600
"""How old a token may be that a provider uses once. Mailgun sends for eight hours again what was not accepted, after
five minutes for the first time, and signs it once."""
_LONGEST_PROOF = 4096
_LONGEST_UNIX = 12


class Unverified(Exception):
    """The request is not authentic. `reason` is for our counters only: the answer tells nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CertificateNeeded(Unverified):
    """Nothing can be said without the certificate at `url`, an address that the scheme allows. Fetch it and ask again.

    Until then it counts as not authentic.
    """

    def __init__(self, url: str) -> None:
        super().__init__("certificate_unknown")
        self.url = url


class Request(NamedTuple):
    """A request as far as proofs go."""

    url: str
    """As the provider called it: public address, path and query. Only some schemes sign it."""
    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes
    query: Mapping[str, str] = {}
    payload: Any = None
    """The body as it was read (JSON, or a form's first value of each name), for proofs that ride in it."""


class Stamp(NamedTuple):
    """What a provider adds when it signs."""

    seconds: int
    """Unix time."""
    identifier: str
    """Its name for the delivery, or a token that it uses once."""


class Scheme(Protocol):
    """One row of the table."""

    @property
    def in_payload(self) -> bool:
        """Whether the proof rides in the body: one that cannot be read then has none."""

    def read_key(self, secret: str) -> bytes:
        """Return the key of a secret as the provider shows it; raise ValueError when it cannot be one."""

    def check(
        self, keys: Sequence[bytes], request: Request, now: float | None, certificates: Mapping[str, bytes]
    ) -> str | None:
        """Return when one of `keys` vouches for the request; raise `Unverified` otherwise.

        `now` is Unix time, None for any age. `certificates` are DER public keys by the address of their certificate.
        What is returned is a token that the provider uses once, or None.
        """

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:
        """Return the request with the proof that the provider would give it."""


def header(headers: Mapping[str, str], name: str) -> str:
    """Return what a proof needs of the headers; raise `Unverified` when it is missing or beyond any sense."""
    value = headers.get(name, "")
    if not value:
        raise Unverified("missing_signature")
    if len(value) > _LONGEST_PROOF:
        raise Unverified("bad_signature")
    return value


def check_age(signed_at: float, now: float, oldest: float = TOLERANCE_SECONDS) -> None:
    """Raise `Unverified` for what was signed longer than `oldest` seconds ago, or will be in five minutes."""
    if not -TOLERANCE_SECONDS <= now - signed_at <= oldest:
        raise Unverified("stale")


def check_any(expected: Sequence[bytes], given: Sequence[bytes]) -> None:
    """Raise `Unverified` when none of `given` is one of `expected`. Takes as long whichever it is."""
    matches = False
    for right in expected:
        for candidate in given:
            matches |= hmac.compare_digest(right, candidate)
    if not matches:
        raise Unverified("bad_signature")


def as_bytes(text: str) -> bytes:
    """Return what a header said, byte by byte."""
    return text.encode("latin-1", "replace")


def unbase64(text: str) -> bytes:
    """Return the bytes of canonical base64; raise `Unverified` for any other way to write them."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unverified("bad_signature") from None
    if base64.b64encode(decoded).decode() != text:
        raise Unverified("bad_signature")
    return decoded


def unix(text: str) -> float:
    """Read a plain count of seconds since 1970."""
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_UNIX:
        raise ValueError("not a count of seconds")
    return int(text)


def rfc3339(text: str) -> float:
    """Read an RFC 3339 time as Unix time."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    return moment.timestamp()


def write_rfc3339(seconds: int) -> str:
    """Write Unix time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
