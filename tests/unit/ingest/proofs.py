"""Genuine requests of every scheme, and how they may be tampered with."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import SCHEMES, Request, Unverified, read_key, seal, verify

NOW = 1_772_440_000.0
BODY = '{"type":"zen:event-type:ticket.created","note":"größer"}'.encode()
FORM = b"CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212&Note="
URL = "https://tenure.example/v1/webhooks/source?account=7"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:inbound-mail"
CERTIFICATE = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
MESSAGE = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": TOPIC,
    "Subject": "Größe",
    "Message": '{"notificationType":"Received"}',
    "SigningCertURL": CERTIFICATE,
}


def pem(key: PrivateKeyTypes) -> str:
    """A private key as text."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@dataclass(frozen=True)
class Pair:
    """A secret as the signing side has it, and what the operator writes into the secret file."""

    signing: str
    shown: str


def _elliptic() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Pair(pem(key), base64.b64encode(der).decode())


AMAZON = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CERTIFICATES = {CERTIFICATE: AMAZON.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}


def _pair(scheme: SchemeName, letter: str) -> Pair:
    if scheme is SchemeName.SENDGRID:
        return _elliptic()
    if scheme is SchemeName.SNS:
        return Pair(pem(AMAZON), TOPIC if letter == "o" else f"{TOPIC}-{letter}")
    if scheme is SchemeName.STANDARD_WEBHOOKS:
        text = "whsec_" + base64.b64encode(letter.encode() * 24).decode()
    else:
        text = f"user:{letter * 20}" if scheme is SchemeName.BASIC else f"{scheme}-{letter * 20}"
    return Pair(text, text)


OLD, NEW = ({scheme: _pair(scheme, letter) for scheme in SCHEMES} for letter in "on")
KEYS = {scheme: [read_key(scheme, OLD[scheme].shown), read_key(scheme, NEW[scheme].shown)] for scheme in SCHEMES}


def unsealed(scheme: SchemeName) -> Request:
    """What each provider would sign."""
    headers = {"content-type": "application/json"}
    if scheme is SchemeName.TWILIO:
        return Request(URL, {"content-type": "application/x-www-form-urlencoded"}, FORM)
    if scheme is SchemeName.SNS:
        return Request(URL, {"content-type": "text/plain; charset=UTF-8"}, orjson.dumps(MESSAGE), payload=dict(MESSAGE))
    return Request(URL, headers, BODY, payload=orjson.loads(BODY))


def genuine(scheme: SchemeName, secret: str | None = None, now: float = NOW) -> Request:
    """A request that the provider could have sent at `now`."""
    identifier = "0123456789abcdef" * 3
    return seal(scheme, secret or OLD[scheme].signing, unsealed(scheme), identifier=identifier, now=now)


def accepted(scheme: SchemeName, request: Request, now: float = NOW) -> bool:
    """Whether it is let in, read as the door would read it."""
    try:
        verify(scheme, KEYS[scheme], read(scheme, request), now=now, certificates=CERTIFICATES)
    except Unverified:
        return False
    return True


def read(scheme: SchemeName, request: Request) -> Request:
    """Parse the body anew where the proof rides in it: what cannot be read has no proof."""
    if not SCHEMES[scheme].in_payload:
        return request
    try:
        return request._replace(payload=orjson.loads(request.body))
    except orjson.JSONDecodeError:
        return request._replace(payload=None)


@dataclass
class Tampering:
    """Seeded changes of one genuine request. `mutate` returns one that says something else, or proves it wrongly."""

    scheme: SchemeName
    chance: random.Random
    genuine: Request = field(init=False)

    def __post_init__(self) -> None:
        self.genuine = genuine(self.scheme)

    def mutate(self) -> Request:
        """One changed request. What the scheme does not sign is left as it was, or it would be no forgery."""
        ways: list[Callable[[], Request]] = [self._header, self._missing, self._stranger, self._aged]
        if signs_body(self.scheme):
            ways += [self._flipped, self._cut, self._grown, self._joined]
        if SCHEMES[self.scheme].in_payload:
            ways += [self._proof_in_body] * 3
        if self.scheme is SchemeName.TWILIO:
            ways += [self._address]
        while True:
            mutated = self.chance.choice(ways)()
            if said(self.scheme, mutated) != said(self.scheme, self.genuine):
                return mutated

    def _header(self) -> Request:
        """A character of the proof is another one, or gone, or one more."""
        names = proofs(self.scheme, self.genuine)
        if not names:
            return self._proof_in_body()
        name = self.chance.choice(names)
        value = tampered(self.chance, self.genuine.headers[name])
        return self.genuine._replace(headers={**self.genuine.headers, name: value})

    def _missing(self) -> Request:
        names = proofs(self.scheme, self.genuine)
        if not names:
            return self._proof_in_body()
        left_out = self.chance.choice(names)
        headers = {name: value for name, value in self.genuine.headers.items() if name != left_out}
        return self.genuine._replace(headers=headers)

    def _stranger(self) -> Request:
        """Well made, by somebody who does not have the secret."""
        if self.scheme is SchemeName.SNS:
            return self._proof_in_body()
        if self.scheme is SchemeName.SENDGRID:
            return genuine(self.scheme, _STRANGER)
        text = base64.b64encode(self.chance.randbytes(24)).decode()
        return genuine(self.scheme, f"user:{text}" if self.scheme is SchemeName.BASIC else text)

    def _aged(self) -> Request:
        """Genuine, but of another time than the proof is looked at."""
        if self.scheme not in TIMED or self.scheme is SchemeName.SNS:
            return self._header()
        oldest = 9 * 3600 + 1 if self.scheme is SchemeName.MAILGUN else 301
        apart = self.chance.choice([-self.chance.randrange(oldest, 10**7), self.chance.randrange(301, 10**7)])
        return genuine(self.scheme, now=NOW + apart)

    def _flipped(self) -> Request:
        body = bytearray(self.genuine.body)
        body[self.chance.randrange(len(body))] ^= self.chance.randrange(1, 256)
        return self.genuine._replace(body=bytes(body))

    def _cut(self) -> Request:
        return self.genuine._replace(body=self.genuine.body[: self.chance.randrange(len(self.genuine.body))])

    def _grown(self) -> Request:
        more = bytes(self.chance.choices(range(256), k=self.chance.randrange(1, 5)))
        return self.genuine._replace(body=self.genuine.body + more)

    def _joined(self) -> Request:
        """The end of one header moved to where the next signed thing begins, and the other way round."""
        body = self.genuine.body
        position = self.chance.randrange(1, len(body))
        return self.genuine._replace(body=body[position:] + body[:position])

    def _address(self) -> Request:
        return self.genuine._replace(url=tampered(self.chance, self.genuine.url))

    def _proof_in_body(self) -> Request:
        """One field of what proves it, or of what it signs, is another."""
        payload = orjson.loads(self.genuine.body)
        holder = payload["signature"] if isinstance(payload.get("signature"), dict) else payload
        names = [name for name in holder if name in _IN_BODY[self.scheme]]
        name = self.chance.choice(names)
        if self.chance.random() < 0.2:
            del holder[name]
        else:
            holder[name] = self.chance.choice([tampered(self.chance, str(holder[name])), None, 7, [holder[name]], ""])
        return self.genuine._replace(body=orjson.dumps(payload), payload=payload)


_STRANGER = _elliptic().signing
_IN_BODY: Mapping[SchemeName, frozenset[str]] = {
    SchemeName.AIRCALL: frozenset({"token"}),
    SchemeName.MAILGUN: frozenset({"timestamp", "token", "signature"}),
    SchemeName.SNS: frozenset(MESSAGE) | {"Signature", "SignatureVersion", "Timestamp"},
}
TIMED = frozenset(
    {
        SchemeName.STANDARD_WEBHOOKS,
        SchemeName.STRIPE,
        SchemeName.SLACK,
        SchemeName.ZENDESK,
        SchemeName.SENDGRID,
        SchemeName.MAILGUN,
        SchemeName.SNS,
    }
)


def signs_body(scheme: SchemeName) -> bool:
    """Whether the proof covers the bytes of the body; that of SNS covers fields of it."""
    tokens = {SchemeName.TOKEN, SchemeName.BASIC, SchemeName.RINGCENTRAL}
    return scheme not in tokens and not SCHEMES[scheme].in_payload


def proofs(scheme: SchemeName, request: Request) -> list[str]:
    """The headers that hold the proof."""
    return [name for name in request.headers if name not in unsealed(scheme).headers]


def said(scheme: SchemeName, request: Request) -> object:
    """What a request says and proves, without the spelling that no reader sees: forms may be written in many ways."""
    once = genuine_once(scheme)
    proof = {
        name: _claims(scheme, value, once.headers[name])
        for name, value in request.headers.items()
        if name in proofs(scheme, once)
    }
    if scheme is not SchemeName.TWILIO:
        return proof, request.body
    try:
        fields = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        return proof, request.body, request.url
    # Field and value are joined without a mark between them: the scheme signs what comes out, not where one ends.
    return proof, "".join(name + value for name, value in sorted(fields)), request.url


def _claims(scheme: SchemeName, value: str, right: str) -> object:
    """What a header claims. Where it may hold several signatures, strange ones beside the right one say nothing."""
    if scheme is SchemeName.STANDARD_WEBHOOKS and right.startswith("v1,"):
        return right in value.split(" ") or value
    if scheme is SchemeName.BASIC:
        kind, _, credentials = value.partition(" ")
        return kind.lower(), credentials
    if scheme is SchemeName.STRIPE:
        moment, signature = right.split(",")
        parts = value.split(",")
        return (moment == next((part for part in parts if part[:2] == "t="), "") and signature in parts) or value
    return value


_ONCE: dict[SchemeName, Request] = {}


def genuine_once(scheme: SchemeName) -> Request:
    """One genuine request of each scheme, made once."""
    if scheme not in _ONCE:
        _ONCE[scheme] = genuine(scheme)
    return _ONCE[scheme]


def tampered(chance: random.Random, text: str) -> str:
    """The text with a character exchanged, taken out or put in, or nothing like it."""
    position = chance.randrange(len(text)) if text else 0
    letter = chance.choice("abcXYZ0189+/=,. v:é\x00")
    return chance.choice(
        [
            text[:position] + letter + text[position + 1 :],
            text[:position] + text[position + 1 :],
            text[:position] + letter + text[position:],
            text[:position],
            text.swapcase(),
            text + chance.choice(["=", " ", ",", "A", ",v1=0", " v1,"]),
            chance.choice(["", " ", ",", "v1,", "sha256=", "t=,v1=", "Bearer ", "Basic ", "=", "é"]),
        ]
    )
