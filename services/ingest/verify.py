"""Who sent this? One verifier for every signature scheme, described by a table, and the signer that mirrors it.

All comparisons take constant time and try every secret, so that secrets can be rotated: old and new are valid together.
The age of a signature is measured by the machine's clock, never by a simulated one.
"""

import base64
import binascii
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256

TOLERANCE_SECONDS = 300
_LONGEST_HEADER = 4096
_LONGEST_UNIX = 12


class Unverified(Exception):
    """The request is not authentic. `reason` is for our counters only: the answer tells nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SchemeName(StrEnum):
    """The schemes that the table knows."""

    STANDARD_WEBHOOKS = "standard-webhooks"
    ZENDESK = "zendesk"
    SHOPIFY = "shopify"


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one provider signs: which headers, which bytes, how secrets and signatures are written."""

    signature_header: str
    timestamp_header: str | None
    """None: the scheme has no timestamp, so a replay is recognised by its content alone."""
    id_header: str | None
    content: Callable[[str, str, bytes], bytes]
    """(id, timestamp, body) → the bytes that are signed."""
    key: Callable[[str], bytes]
    """The secret as the provider shows it → the key. Raises ValueError when it is written wrongly."""
    prefix: str = ""
    """Before each signature in the header, which may then hold several, separated by spaces."""
    read_time: Callable[[str], float] = float
    write_time: Callable[[int], str] = str


def _unix(text: str) -> float:
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_UNIX:
        raise ValueError("not a count of seconds")
    return int(text)


def _rfc3339(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    return moment.timestamp()


def _write_rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _standard_key(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if len(key) < 16:  # noqa: PLR2004 - the specification asks for 24 to 64 bytes; shorter ones can be guessed
        raise ValueError("too short")
    return key


SCHEMES: Mapping[SchemeName, Scheme] = {
    # standardwebhooks.com, version 1.0
    SchemeName.STANDARD_WEBHOOKS: Scheme(
        signature_header="webhook-signature",
        timestamp_header="webhook-timestamp",
        id_header="webhook-id",
        content=lambda identifier, timestamp, body: f"{identifier}.{timestamp}.".encode() + body,
        key=_standard_key,
        prefix="v1,",
        read_time=_unix,
    ),
    # developer.zendesk.com, "Verifying webhook authenticity"
    SchemeName.ZENDESK: Scheme(
        signature_header="x-zendesk-webhook-signature",
        timestamp_header="x-zendesk-webhook-signature-timestamp",
        id_header=None,
        content=lambda _, timestamp, body: timestamp.encode() + body,
        key=str.encode,
        read_time=_rfc3339,
        write_time=_write_rfc3339,
    ),
    # shopify.dev, "Verify webhook deliveries": only the body is signed, topic and shop are not
    SchemeName.SHOPIFY: Scheme(
        signature_header="x-shopify-hmac-sha256",
        timestamp_header=None,
        id_header=None,
        content=lambda _, __, body: body,
        key=str.encode,
    ),
}


def read_key(scheme: SchemeName, secret: str) -> bytes:
    """Return the key of a secret as the provider shows it; raise ValueError when it cannot be one."""
    key = SCHEMES[scheme].key(secret.strip())
    if not key:
        raise ValueError("empty")
    return key


def verify(
    scheme: SchemeName,
    keys: Sequence[bytes],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float | None = None,
    any_age: bool = False,
) -> None:
    """Return when `headers` sign `body` with one of `keys`; raise `Unverified` otherwise.

    `headers` has lower-case names. `now` is Unix time, by default the machine's. `any_age` is for an operator's replay.
    """
    rules = SCHEMES[scheme]
    given = _header(headers, rules.signature_header)
    identifier = "" if rules.id_header is None else _header(headers, rules.id_header)
    timestamp = "" if rules.timestamp_header is None else _header(headers, rules.timestamp_header)
    if timestamp and not any_age:
        _check_age(rules, timestamp, time.time() if now is None else now)
    signatures = _signatures(rules, given)
    content = rules.content(identifier, timestamp, body)
    if not _any_matches(keys, content, signatures):
        raise Unverified("bad_signature")


def sign(
    scheme: SchemeName, secret: str, body: bytes, *, identifier: str = "", now: float | None = None
) -> dict[str, str]:
    """Return the headers that sign `body`, as the provider would send them. `secret` as the provider shows it.

    `now` is Unix time, by default the machine's; `identifier` is the webhook-id, where the scheme has one.
    """
    rules = SCHEMES[scheme]
    timestamp = rules.write_time(int(time.time() if now is None else now))
    mac = hmac.digest(read_key(scheme, secret), rules.content(identifier, timestamp, body), sha256)
    headers = {rules.signature_header: rules.prefix + base64.b64encode(mac).decode()}
    if rules.timestamp_header is not None:
        headers[rules.timestamp_header] = timestamp
    if rules.id_header is not None:
        headers[rules.id_header] = identifier
    return headers


def verify_token(keys: Sequence[bytes], token: object) -> None:
    """Check a token that rides in the body, as Aircall sends it; raise `Unverified` when it is none of `keys`."""
    if not isinstance(token, str) or not token:
        raise Unverified("missing_token")
    given = token.encode("utf-8", "replace")
    matches = [hmac.compare_digest(given, key) for key in keys]
    if not any(matches):
        raise Unverified("bad_token")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise Unverified("missing_signature")
    if len(value) > _LONGEST_HEADER:
        raise Unverified("bad_signature")
    return value


def _check_age(rules: Scheme, timestamp: str, now: float) -> None:
    try:
        signed_at = rules.read_time(timestamp)
    except (ValueError, OverflowError):
        raise Unverified("bad_timestamp") from None
    if not abs(now - signed_at) <= TOLERANCE_SECONDS:
        raise Unverified("stale")


def _signatures(rules: Scheme, given: str) -> list[bytes]:
    """Return the signatures in the header that are written as the scheme has them."""
    candidates = given.split(" ") if rules.prefix else [given]
    found = []
    for candidate in candidates:
        if candidate.startswith(rules.prefix):
            try:
                found.append(base64.b64decode(candidate[len(rules.prefix) :], validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _any_matches(keys: Sequence[bytes], content: bytes, signatures: Sequence[bytes]) -> bool:
    matches = False
    for key in keys:
        expected = hmac.digest(key, content, sha256)
        for signature in signatures:
            matches |= hmac.compare_digest(expected, signature)
    return matches
