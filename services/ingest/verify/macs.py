"""Proofs that are keyed hashes of what was sent."""

import base64
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from services.ingest.verify.proof import (
    Request,
    Stamp,
    Unverified,
    as_bytes,
    check_age,
    check_any,
    header,
    rfc3339,
    unix,
    write_rfc3339,
)


def encoded_base64(mac: bytes) -> bytes:
    """Write a hash as base64."""
    return base64.b64encode(mac)


def encoded_hex(mac: bytes) -> bytes:
    """Write a hash as lower-case hexadecimal digits."""
    return mac.hex().encode()


def secret_as_written(secret: str) -> bytes:
    """Most secrets are the key as they stand."""
    return secret.encode()


def standard_key(secret: str) -> bytes:
    """Read a Standard Webhooks secret: base64, with or without `whsec_` before it."""
    encoded = secret.removeprefix("whsec_")
    key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    if len(key) < 16:  # noqa: PLR2004 - the specification asks for 24 to 64 bytes; shorter ones can be guessed
        raise ValueError("too short")
    return key


@dataclass(frozen=True, slots=True)
class Timestamp:
    """The header that says when a request was signed."""

    header: str
    read: Callable[[str], float] = unix
    write: Callable[[int], str] = str


@dataclass(frozen=True, slots=True)
class Mac:
    """A hash in a header. What is compared is the text as the provider writes it, so no other spelling passes."""

    in_payload: ClassVar[bool] = False

    header: str
    content: Callable[[str, str, bytes], bytes]
    """(id, timestamp, body) → the bytes that are signed."""
    encode: Callable[[bytes], bytes] = encoded_base64
    algorithm: str = "sha256"
    prefix: bytes = b""
    several: bool = False
    """Whether the header may hold several signatures, separated by spaces."""
    timestamp: Timestamp | None = None
    """None: the scheme has none, so a replay is recognised by its content alone."""
    id_header: str | None = None
    key: Callable[[str], bytes] = secret_as_written

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`."""
        return self.key(secret)

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> None:
        """See `Scheme`."""
        headers = request.headers
        given = as_bytes(header(headers, self.header))
        identifier = "" if self.id_header is None else header(headers, self.id_header)
        timestamp = ""
        if self.timestamp is not None:
            timestamp = header(headers, self.timestamp.header)
            _check_time(self.timestamp.read, timestamp, now)
        content = self.content(identifier, timestamp, request.body)
        check_any([self._write(key, content) for key in keys], given.split(b" ") if self.several else [given])

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:
        """See `Scheme`."""
        timestamp = "" if self.timestamp is None else self.timestamp.write(stamp.seconds)
        content = self.content(stamp.identifier, timestamp, request.body)
        proof = {self.header: self._write(self.key(secret), content).decode()}
        if self.timestamp is not None:
            proof[self.timestamp.header] = timestamp
        if self.id_header is not None:
            proof[self.id_header] = stamp.identifier
        return request._replace(headers={**request.headers, **proof})

    def _write(self, key: bytes, content: bytes) -> bytes:
        return self.prefix + self.encode(hmac.digest(key, content, self.algorithm))


@dataclass(frozen=True, slots=True)
class Stripe:
    """Timestamp and signatures in one header: `t=1772440000,v1=…,v1=…`. Other versions than v1 prove nothing."""

    in_payload: ClassVar[bool] = False
    header: ClassVar[str] = "stripe-signature"

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`. The key is the text, `whsec_` included."""
        return secret.encode()

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> None:
        """See `Scheme`."""
        parts = [part.partition("=") for part in header(request.headers, self.header).split(",")]
        timestamp = next((value for name, _, value in parts if name == "t"), "")
        signatures = [as_bytes(value) for name, _, value in parts if name == "v1"]
        if not timestamp or not signatures or not all(equals for _, equals, _ in parts):
            raise Unverified("missing_signature")
        _check_time(unix, timestamp, now)
        check_any([_stripe(key, timestamp, request.body) for key in keys], signatures)

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:
        """See `Scheme`."""
        signature = _stripe(self.read_key(secret), str(stamp.seconds), request.body).decode()
        return request._replace(headers={**request.headers, self.header: f"t={stamp.seconds},v1={signature}"})


def _stripe(key: bytes, timestamp: str, body: bytes) -> bytes:
    return encoded_hex(hmac.digest(key, as_bytes(timestamp) + b"." + body, "sha256"))


def _check_time(read: Callable[[str], float], timestamp: str, now: float | None) -> None:
    try:
        signed_at = read(timestamp)
    except (ValueError, OverflowError):
        raise Unverified("bad_timestamp") from None
    if now is not None:
        check_age(signed_at, now)


def _body(_identifier: str, _timestamp: str, body: bytes) -> bytes:
    return body


# standardwebhooks.com, version 1.0
STANDARD_WEBHOOKS = Mac(
    header="webhook-signature",
    content=lambda identifier, timestamp, body: as_bytes(f"{identifier}.{timestamp}.") + body,
    prefix=b"v1,",
    several=True,
    timestamp=Timestamp("webhook-timestamp"),
    id_header="webhook-id",
    key=standard_key,
)
# docs.slack.dev, "Verifying requests from Slack"
SLACK = Mac(
    header="x-slack-signature",
    content=lambda _, timestamp, body: as_bytes(f"v0:{timestamp}:") + body,
    encode=encoded_hex,
    prefix=b"v0=",
    timestamp=Timestamp("x-slack-request-timestamp"),
)
# developer.zendesk.com, "Verifying webhook authenticity"
ZENDESK = Mac(
    header="x-zendesk-webhook-signature",
    content=lambda _, timestamp, body: as_bytes(timestamp) + body,
    timestamp=Timestamp("x-zendesk-webhook-signature-timestamp", rfc3339, write_rfc3339),
)
# shopify.dev, "Verify webhook deliveries": only the body is signed, topic and shop are not
SHOPIFY = Mac(header="x-shopify-hmac-sha256", content=_body)
# woocommerce.com, "Webhooks": the same, under another name
WOOCOMMERCE = Mac(header="x-wc-webhook-signature", content=_body)
# developer.atlassian.com, "Webhooks", and docs.github.com, "Validating webhook deliveries": one way of WebSub
JIRA = Mac(header="x-hub-signature", content=_body, encode=encoded_hex, prefix=b"sha256=")
# developers.intercom.com, "Signed notifications": the key is the app's client secret
INTERCOM = Mac(header="x-hub-signature", content=_body, encode=encoded_hex, algorithm="sha1", prefix=b"sha1=")
# admin-docs.zammad.org, "Webhooks"
ZAMMAD = INTERCOM
# typeform.com/developers, "Secure your webhooks"
TYPEFORM = Mac(header="typeform-signature", content=_body, prefix=b"sha256=")
# app.delighted.com/docs/api/webhooks: the key is the project's private API key
DELIGHTED = Mac(header="x-delighted-webhook-signature", content=_body, encode=encoded_hex, prefix=b"sha256=")
