"""How providers try out an address before they use it, and what they want to hear.

Each is a `handshake` (after the proof) or a `challenge` (before it) of a `Provider`.
"""

import hmac
import json
import re
from collections.abc import Sequence

from services.ingest.domain.provider import Delivery, Reply

_ECHOED = re.compile(r"[\x21-\x7e]{1,256}")
_PING = re.compile(rb"webhook_id=[0-9]{1,12}")


def sns_confirmation(delivery: Delivery, _keys: Sequence[bytes]) -> Reply | None:
    """Amazon SNS (handshake): a subscription begins when the address in its signed message has been called."""
    payload = delivery.payload
    kind = payload.get("Type") if isinstance(payload, dict) else None
    if kind == "SubscriptionConfirmation":
        return Reply(confirm=str(payload["SubscribeURL"]))
    # Somebody ended the subscription; the address in it would begin it anew, which is theirs to decide.
    return Reply() if kind == "UnsubscribeConfirmation" else None


def validation_token(delivery: Delivery, _keys: Sequence[bytes]) -> Reply | None:
    """RingCentral (challenge): a header that must come back. It is sent once, before there is anything to prove by."""
    token = delivery.headers.get("validation-token", "")
    return Reply(headers={"Validation-Token": token}) if _ECHOED.fullmatch(token) else None


def woocommerce_ping(delivery: Delivery, _keys: Sequence[bytes]) -> Reply | None:
    """WooCommerce (challenge): an unsigned form with the webhook's number, when a webhook is saved."""
    return Reply() if _PING.fullmatch(delivery.body) and "x-wc-webhook-signature" not in delivery.headers else None


def slack_verification(delivery: Delivery, _keys: Sequence[bytes]) -> Reply | None:
    """Slack (handshake): `url_verification`, whose challenge must come back."""
    payload = delivery.payload
    if not isinstance(payload, dict) or payload.get("type") != "url_verification":
        return None
    challenge = payload.get("challenge")
    return Reply(json.dumps({"challenge": challenge}).encode()) if isinstance(challenge, str) else None


def crc_validation(delivery: Delivery, keys: Sequence[bytes]) -> Reply | None:
    """Zoom and its kind (handshake): a token that must come back together with its keyed hash.

    Only after the proof: before it, anybody could have us sign what they like with the source's secret.
    """
    payload = delivery.payload
    if not isinstance(payload, dict) or payload.get("event") != "endpoint.url_validation" or not keys:
        return None
    inner = payload.get("payload")
    token = inner.get("plainToken") if isinstance(inner, dict) else None
    if not isinstance(token, str) or not _ECHOED.fullmatch(token):
        return None
    encrypted = hmac.new(keys[0], token.encode(), "sha256").hexdigest()
    return Reply(json.dumps({"plainToken": token, "encryptedToken": encrypted}).encode())
