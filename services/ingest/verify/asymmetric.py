"""Proofs that a provider makes with a private key: SendGrid, Amazon SNS."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from services.ingest.verify.macs import encoded_base64
from services.ingest.verify.proof import (
    TOLERANCE_SECONDS,
    CertificateNeeded,
    Request,
    Stamp,
    Unverified,
    as_bytes,
    check_age,
    header,
    rfc3339,
    unbase64,
    unix,
    write_rfc3339,
)


@dataclass(frozen=True, slots=True)
class SendGrid:
    """ECDSA on P-256 over timestamp and body (twilio.com/docs/sendgrid, "Event webhook security features")."""

    in_payload: ClassVar[bool] = False
    signature: ClassVar[str] = "x-twilio-email-event-webhook-signature"
    timestamp: ClassVar[str] = "x-twilio-email-event-webhook-timestamp"

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`. The verification key as SendGrid shows it, or the same as PEM."""
        body = "".join(line for line in secret.splitlines() if not line.startswith("-----"))
        pem = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"
        key = load_pem_public_key(pem.encode())
        if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
            raise ValueError("no key of the curve P-256")  # noqa: TRY004 - what is wrong is the value of a secret
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> None:
        """See `Scheme`."""
        given = unbase64(header(request.headers, self.signature))
        timestamp = header(request.headers, self.timestamp)
        try:
            signed_at = unix(timestamp)
        except ValueError:
            raise Unverified("bad_timestamp") from None
        if now is not None:
            check_age(signed_at, now)
        content = as_bytes(timestamp) + request.body
        if not any([_vouches(_elliptic(key), given, content) for key in keys]):  # noqa: C419 - all, whichever it is
            raise Unverified("bad_signature")

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:
        """See `Scheme`. The secret is a private key as PEM: only tests have one."""
        key = load_pem_private_key(secret.encode(), None)
        assert isinstance(key, EllipticCurvePrivateKey)  # noqa: S101 - tests only
        timestamp = str(stamp.seconds)
        signature = key.sign(as_bytes(timestamp) + request.body, ECDSA(SHA256()))
        proof = {self.signature: encoded_base64(signature).decode(), self.timestamp: timestamp}
        return request._replace(headers={**request.headers, **proof})


@lru_cache(maxsize=64)
def _elliptic(key: bytes) -> EllipticCurvePublicKey:
    loaded = load_der_public_key(key)
    assert isinstance(loaded, EllipticCurvePublicKey)  # noqa: S101 - `read_key` made it
    return loaded


def _vouches(key: EllipticCurvePublicKey, signature: bytes, content: bytes) -> bool:
    try:
        key.verify(signature, content, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


_CERTIFICATE_HOST = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(\.cn)?")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{8,64}\.pem")
_TOPIC = re.compile(r"arn:aws[a-z-]{0,20}:sns:[a-z0-9-]{3,40}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_OLDEST_SECONDS = 3600 + TOLERANCE_SECONDS
"""Amazon dates the message, not the attempt, and tries for an hour."""
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_HASHES: Mapping[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - version 1 of Amazon's choice


def is_sns_host(host: str | None) -> bool:
    """Whether a host is Amazon's SNS of some region."""
    return host is not None and _CERTIFICATE_HOST.fullmatch(host) is not None


@dataclass(frozen=True, slots=True)
class Sns:
    """Amazon SNS (docs.aws.amazon.com/sns, "Verifying the signatures of messages"), both signature versions.

    Everybody can have Amazon sign messages of a topic of their own, so what stands for a secret are the ARNs of the
    topics that we listen to.
    """

    in_payload: ClassVar[bool] = True

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`. The ARN of a topic."""
        if not _TOPIC.fullmatch(secret):
            raise ValueError("no ARN of an SNS topic")
        return secret.encode()

    def check(
        self, keys: Sequence[bytes], request: Request, now: float | None, certificates: Mapping[str, bytes]
    ) -> None:
        """See `Scheme`."""
        message = request.payload if isinstance(request.payload, dict) else {}
        if _text(message, "TopicArn").encode("utf-8", "replace") not in keys:
            raise Unverified("unknown_topic")
        content = _canonical(message)
        algorithm = _HASHES.get(_text(message, "SignatureVersion"))
        if algorithm is None:
            raise Unverified("unknown_algorithm")
        signature = unbase64(_text(message, "Signature"))
        try:
            signed_at = rfc3339(_text(message, "Timestamp"))
        except (ValueError, OverflowError):
            raise Unverified("bad_timestamp") from None
        if now is not None:
            check_age(signed_at, now, _OLDEST_SECONDS)
        url = certificate_url(message)
        key = certificates.get(url)
        if key is None:
            raise CertificateNeeded(url)
        try:
            _rsa(key).verify(signature, content, PKCS1v15(), algorithm)
        except InvalidSignature:
            raise Unverified("bad_signature") from None

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:
        """See `Scheme`. The secret is a private key as PEM: only tests have one. Version 2 unless the message says."""
        message = {
            "SignatureVersion": "2",
            "Timestamp": write_rfc3339(stamp.seconds),
            **(request.payload or orjson.loads(request.body)),
        }
        key = load_pem_private_key(secret.encode(), None)
        assert isinstance(key, RSAPrivateKey)  # noqa: S101 - tests only
        signature = key.sign(_canonical(message), PKCS1v15(), _HASHES[message["SignatureVersion"]])
        message["Signature"] = encoded_base64(signature).decode()
        return request._replace(payload=message, body=orjson.dumps(message))


def certificate_url(message: Mapping[str, Any]) -> str:
    """Return the address of the certificate that a message names; raise `Unverified` unless it is Amazon's own."""
    url = _text(message, "SigningCertURL")
    try:
        parts = urlsplit(url)
        allowed = (
            parts.scheme == "https"
            and is_sns_host(parts.netloc)  # the whole of it: neither a port nor a name before an @
            and _CERTIFICATE_PATH.fullmatch(parts.path) is not None
            and url == f"https://{parts.netloc}{parts.path}"
        )
    except ValueError:
        allowed = False
    if not allowed:
        raise Unverified("foreign_certificate")
    return url


def _canonical(message: Mapping[str, Any]) -> bytes:
    names = _SIGNED.get(_text(message, "Type"))
    if names is None:
        raise Unverified("missing_signature")
    lines = []
    for name in names:
        if name == "Subject" and message.get(name) is None:
            continue
        lines.append(f"{name}\n{_text(message, name, empty=name in {'Message', 'Subject'})}\n")
    return "".join(lines).encode("utf-8", "surrogatepass")


def _text(message: Mapping[str, Any], name: str, *, empty: bool = False) -> str:
    value = message.get(name)
    if not isinstance(value, str) or not (value or empty):
        raise Unverified("missing_signature")
    return value


@lru_cache(maxsize=64)
def _rsa(key: bytes) -> RSAPublicKey:
    loaded = load_der_public_key(key)
    if not isinstance(loaded, RSAPublicKey):
        raise Unverified("foreign_certificate")
    return loaded
