"""Twilio: a hash over the address that it called and what the form said."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urlsplit

from services.ingest.verify.macs import encoded_base64
from services.ingest.verify.proof import Request, Stamp, Unverified, as_bytes, check_any, header

FORM = "application/x-www-form-urlencoded"
_SIGNATURE = "x-twilio-signature"
_SETTINGS = "x-twilio-webhooks-signature-settings"
_ALGORITHMS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_BODY_HASH = "bodySHA256"
_MOST_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class Twilio:
    """twilio.com/docs, "Webhooks security". There is no timestamp: a replay is recognised by its content alone.

    Name and value of a field are joined without anything between them, so the scheme itself cannot tell `ab=c` from
    `a=bc`; we can do no better than Twilio's own validator there.
    """

    in_payload: ClassVar[bool] = False

    def read_key(self, secret: str) -> bytes:
        """See `Scheme`. The account's auth token, or the secret of a shared key."""
        return secret.encode()

    def check(
        self,
        keys: Sequence[bytes],
        request: Request,
        now: float | None,  # noqa: ARG002 - it signs no time
        certificates: Mapping[str, bytes],  # noqa: ARG002 - for schemes that have them
    ) -> None:
        """See `Scheme`."""
        given = as_bytes(header(request.headers, _SIGNATURE))
        algorithm = _algorithm(request.headers.get(_SETTINGS, ""))
        try:
            contents = _contents(request)
        except ValueError:
            raise Unverified("bad_signature") from None
        expected = [encoded_base64(hmac.digest(key, content, algorithm)) for key in keys for content in contents]
        check_any(expected, [given])

    def seal(self, secret: str, request: Request, stamp: Stamp) -> Request:  # noqa: ARG002 - it signs no time
        """See `Scheme`. A body that is no form has its hash added to the address."""
        if not _is_form(request):
            joint = "&" if "?" in request.url else "?"
            proof = {_BODY_HASH: sha256(request.body).hexdigest()}
            request = request._replace(url=f"{request.url}{joint}{urlencode(proof)}", query={**request.query, **proof})
        signature = encoded_base64(
            hmac.digest(self.read_key(secret), (request.url + _fields(request)).encode(), "sha1")
        )
        return request._replace(headers={**request.headers, _SIGNATURE: signature.decode()})


def _algorithm(settings: str) -> str:
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            if (known := _ALGORITHMS.get(value.strip().upper())) is None:
                raise Unverified("unknown_algorithm")
            return known
    return "sha1"


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


def _contents(request: Request) -> Sequence[bytes]:
    """Return what may have been signed: Twilio is not of one mind whether the port belongs to the address."""
    if not request.url.isprintable() or " " in request.url:
        raise ValueError("no address that anybody calls")  # what `urlsplit` would silently leave out
    parts = urlsplit(request.url)
    if not _is_form(request):
        claimed = parse_qs(parts.query).get(_BODY_HASH, [""])[0]
        if not hmac.compare_digest(as_bytes(claimed), sha256(request.body).hexdigest().encode()):
            raise Unverified("bad_body_hash")
    fields = _fields(request)
    return [(url + fields).encode() for url in {_with_port(parts), _without_port(parts)}]


def _with_port(parts: SplitResult) -> str:
    if parts.port:
        return parts.geturl()
    return parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}").geturl()


def _without_port(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl() if parts.port else parts.geturl()


def _fields(request: Request) -> str:
    """Return names and values of a form as they are signed: sorted, and nothing between them."""
    if not _is_form(request) or not request.body:
        return ""
    fields: dict[str, set[str]] = {}
    # Strict: what Twilio sends is well formed, and what is not could be read in two ways.
    text = request.body.decode("ascii")
    for name, value in parse_qsl(
        text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS
    ):
        fields.setdefault(name, set()).add(value)
    return "".join(name + value for name in sorted(fields) for value in sorted(fields[name]))
