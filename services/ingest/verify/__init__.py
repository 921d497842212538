"""Who sent this? One verifier for every signature scheme, described by a table, and the signer that mirrors it.

All comparisons take constant time and try every secret, so that secrets can be rotated: old and new are valid together.
The age of a signature is measured by the machine's clock, never by a simulated one.
"""

import time
from collections.abc import Mapping, Sequence

from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import macs
from services.ingest.verify.asymmetric import SendGrid, Sns
from services.ingest.verify.proof import TOLERANCE_SECONDS, CertificateNeeded, Request, Scheme, Stamp, Unverified
from services.ingest.verify.telephony import Twilio
from services.ingest.verify.tokens import Basic, BodyToken, HeaderToken, Mailgun

__all__ = [
    "SCHEMES",
    "TOLERANCE_SECONDS",
    "CertificateNeeded",
    "Request",
    "SchemeName",
    "Unverified",
    "read_key",
    "seal",
    "sign",
    "verify",
]

SCHEMES: Mapping[SchemeName, Scheme] = {
    SchemeName.STANDARD_WEBHOOKS: macs.STANDARD_WEBHOOKS,
    SchemeName.STRIPE: macs.Stripe(),
    SchemeName.SLACK: macs.SLACK,
    SchemeName.ZENDESK: macs.ZENDESK,
    SchemeName.SHOPIFY: macs.SHOPIFY,
    SchemeName.WOOCOMMERCE: macs.WOOCOMMERCE,
    SchemeName.JIRA: macs.JIRA,
    SchemeName.INTERCOM: macs.INTERCOM,
    SchemeName.ZAMMAD: macs.ZAMMAD,
    SchemeName.TYPEFORM: macs.TYPEFORM,
    SchemeName.DELIGHTED: macs.DELIGHTED,
    SchemeName.AIRCALL: BodyToken("token"),
    SchemeName.TWILIO: Twilio(),
    SchemeName.RINGCENTRAL: HeaderToken("verification-token"),
    SchemeName.SENDGRID: SendGrid(),
    SchemeName.MAILGUN: Mailgun(),
    SchemeName.SNS: Sns(),
    # Ours to choose, for providers that cannot sign: Freshdesk's automations, Postmark.
    SchemeName.TOKEN: HeaderToken("x-tenure-token", bearer=True, shortest=16),
    SchemeName.BASIC: Basic(),
}


def read_key(scheme: SchemeName, secret: str) -> bytes:
    """Return the key of a secret as the provider shows it; raise ValueError when it cannot be one."""
    key = SCHEMES[scheme].read_key(secret.strip())
    if not key:
        raise ValueError("empty")
    return key


def verify(
    scheme: SchemeName,
    keys: Sequence[bytes],
    request: Request,
    *,
    now: float | None = None,
    any_age: bool = False,
    certificates: Mapping[str, bytes] | None = None,
) -> str | None:
    """Return when one of `keys` vouches for the request; raise `Unverified` otherwise.

    `now` is Unix time, by default the machine's. `any_age` is for an operator's replay. `certificates` are the DER
    public keys that were fetched, by address; `CertificateNeeded` says which one is wanting. What is returned is a
    token that must not come again with something else (see `replays`), or None.
    """
    moment = None if any_age else time.time() if now is None else now
    return SCHEMES[scheme].check(keys, request, moment, certificates or {})


def seal(
    scheme: SchemeName, secret: str, request: Request, *, identifier: str = "", now: float | None = None
) -> Request:
    """Return the request as the provider would send it, with the proof where it belongs.

    `secret` as the provider shows it; where the provider signs with a private key, that key as PEM.
    """
    return SCHEMES[scheme].seal(secret.strip(), request, Stamp(int(time.time() if now is None else now), identifier))


def sign(
    scheme: SchemeName, secret: str, body: bytes, *, identifier: str = "", now: float | None = None
) -> dict[str, str]:
    """Return the headers that sign `body`, for the schemes that prove themselves in headers alone.

    `now` is Unix time, by default the machine's; `identifier` is the webhook-id, where the scheme has one. For all
    other schemes see `seal`.
    """
    return dict(seal(scheme, secret, Request("", {}, body), identifier=identifier, now=now).headers)
