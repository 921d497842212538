"""Proofs that are a secret itself: in a header, as a password, in the body. All that can be done is to compare well."""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from services.ingest.verify.macs import encoded_hex
from services.ingest.verify.proof import (
    ONCE_SECONDS,
    Request,
    Stamp,
    Unverified,
    as_bytes,
    check_age,
    check_any,
    header,
    unix,
)

_SHORTEST_OF_OURS = 16
_LONGEST_TOKEN = 128


@dataclass(frozen=True, slots=True)
class HeaderToken:
    """A secret that the provider sends with every request."""

    in_payload: ClassVar[bool] = False

    name: str
    bearer: bool = False
    """Whether `Authorization: Bearer …` does as well, where a provider has no field for another header."""
    shortest: int = 1
    """Characters that it must have, where the secret is ours to choose."""

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`."""
        if len(secret) < self.shortest or not secret.isascii() or not secret.isprintable() or " " in secret:
            raise ValueError("a token is long enough, of plain characters, without blanks")
        return secret.encode()

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,  # noqa: ARG002 - a token has no age
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> None:
        """See `Scheme`."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if not self.bearer or self.name in request.headers or kind.lower() != "bearer":
            token = header(request.headers, self.name)
        check_any(keys, [as_bytes(token)])

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:  # noqa: ARG002 - a token has no age
        """See `Scheme`."""
        return request._replace(headers={**request.headers, self.name: secret})


@dataclass(frozen=True, slots=True)
class Basic:
    """RFC 7617. The secret is `user:password`."""

    in_payload: ClassVar[bool] = False

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`."""
        user, colon, password = secret.partition(":")
        if not user or not colon or len(password) < _SHORTEST_OF_OURS:
            raise ValueError(f"write user:password, the password at least {_SHORTEST_OF_OURS} characters")
        return base64.b64encode(secret.encode())

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,  # noqa: ARG002 - a password has no age
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> None:
        """See `Scheme`."""
        kind, _, credentials = header(request.headers, "authorization").partition(" ")
        if kind.lower() != "basic":
            raise Unverified("missing_signature")
        check_any(keys, [as_bytes(credentials)])

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:  # noqa: ARG002 - a password has no age
        """See `Scheme`."""
        credentials = self.read_key(secret).decode()
        return request._replace(headers={**request.headers, "authorization": f"Basic {credentials}"})


@dataclass(frozen=True, slots=True)
class BodyToken:
    """A secret in a field of the JSON body, as Aircall sends it."""

    in_payload: ClassVar[bool] = True

    field: str

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`."""
        return secret.encode()

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,  # noqa: ARG002 - a token has no age
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> None:
        """See `Scheme`."""
        token = request.payload.get(self.field) if isinstance(request.payload, dict) else None
        if not isinstance(token, str) or not token:
            raise Unverified("missing_token")
        if not any([hmac.compare_digest(token.encode("utf-8", "replace"), key) for key in keys]):  # noqa: C419 - all
            raise Unverified("bad_token")

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:  # noqa: ARG002 - a token has no age
        """See `Scheme`."""
        payload = {**(request.payload or orjson.loads(request.body)), self.field: secret}
        return request._replace(payload=payload, body=orjson.dumps(payload))


@dataclass(frozen=True, slots=True)
class Mailgun:
    """documentation.mailgun.com, "Securing webhooks": timestamp, token and their hash, in the form or the JSON.

    The rest of the body is not signed. So a token counts once: see `replays`.
    """

    in_payload: ClassVar[bool] = True

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`. The webhook signing key."""
        return secret.encode()

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> str:
        """See `Scheme`."""
        fields = request.payload if isinstance(request.payload, dict) else {}
        if isinstance(fields.get("signature"), dict):
            fields = fields["signature"]
        timestamp, token = _short(fields.get("timestamp")), _short(fields.get("token"))
        # Of a subaccount's event the second one is made with the key of the account above.
        given = [_short(fields[name]) for name in ("signature", "parent-signature") if fields.get(name)]
        if not timestamp or not token or not given:
            raise Unverified("missing_signature")
        try:
            signed_at = unix(timestamp)
        except ValueError:
            raise Unverified("bad_timestamp") from None
        if now is not None:
            check_age(signed_at, now, ONCE_SECONDS)
        check_any([_mailgun(key, timestamp, token) for key in keys], [as_bytes(one) for one in given])
        return token

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:
        """See `Scheme`. For JSON; `mailgun_fields` gives what a form must hold."""
        payload = {**(request.payload or orjson.loads(request.body)), "signature": mailgun_fields(secret, stamp)}
        return request._replace(payload=payload, body=orjson.dumps(payload))


def mailgun_fields(secret: str, stamp: Stamp) -> dict[str, str]:
    """Return the three fields that prove a delivery of Mailgun."""
    timestamp, token = str(stamp.seconds), stamp.identifier
    signature = _mailgun(secret.encode(), timestamp, token).decode()
    return {"timestamp": timestamp, "token": token, "signature": signature}


def without_signature(payload: Any, body: bytes) -> bytes:
    """Return a delivery of Mailgun with its signatures made unreadable: for minutes they would vouch for anything."""
    fields = payload if isinstance(payload, dict) else {}
    if isinstance(fields.get("signature"), dict):
        fields = fields["signature"]
    for name in ("signature", "parent-signature"):
        if _short(fields.get(name)):
            signature = _short(fields[name]).encode("utf-8", "replace")
            body = body.replace(signature, b"x" * len(signature))
    return body


def _mailgun(key: bytes, timestamp: str, token: str) -> bytes:
    return encoded_hex(hmac.digest(key, (timestamp + token).encode("utf-8", "replace"), "sha256"))


def _short(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if 0 <= value < 1 << 63 else ""
    return value if isinstance(value, str) and len(value) <= _LONGEST_TOKEN else ""
