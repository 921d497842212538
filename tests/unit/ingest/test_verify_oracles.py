"""Our verifier, and what the providers themselves publish: their packages, and the examples in their documentation."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st
from sendgrid.helpers.eventwebhook import EventWebhook
from standardwebhooks import Webhook, WebhookVerificationError
from twilio.request_validator import RequestValidator

from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import Request, Unverified, read_key, seal, sign, verify
from tests.unit.ingest.proofs import BODY, KEYS, NOW, OLD

SECRET = OLD[SchemeName.STANDARD_WEBHOOKS].shown
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
FIELDS = st.dictionaries(st.text("abcXYZ_019", min_size=1, max_size=8), TEXTS, max_size=6)


def passes(scheme: SchemeName, keys: list[bytes], request: Request, now: float | None = None) -> bool:
    try:
        verify(scheme, keys, request, now=now)
    except Unverified:
        return False
    return True


# published examples


def test_the_example_of_githubs_documentation_passes() -> None:
    headers = {"x-hub-signature": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    assert passes(SchemeName.JIRA, [b"It's a Secret to Everybody"], Request("", headers, b"Hello, World!"))


def test_the_example_of_atlassians_documentation_passes() -> None:
    headers = {"x-hub-signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"}
    assert passes(SchemeName.JIRA, [b"It's a Secret to Everybody"], Request("", headers, b"Hello World!"))


def test_the_example_of_slacks_documentation_passes() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
        b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "x-slack-request-timestamp": "1531420618",
    }
    keys = [b"8f742231b10e8888abcd99yyyzzz85a5"]
    assert passes(SchemeName.SLACK, keys, Request("", headers, body), now=1531420618)
    assert not passes(SchemeName.SLACK, keys, Request("", headers, body + b"0"), now=1531420618)


TWILIO_EXAMPLE = {
    "CallSid": "CA1234567890ABCDE",
    "Caller": "+14158675309",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
}


def test_the_example_of_twilios_documentation_passes() -> None:
    headers = {
        "x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
    }
    url = "https://mycompany.com/myapp.php?foo=1&bar=2"
    request = Request(url, headers, urlencode(TWILIO_EXAMPLE).encode())
    assert passes(SchemeName.TWILIO, [b"12345"], request)
    assert passes(SchemeName.TWILIO, [b"12345"], request._replace(url=url.replace(".com", ".com:443")))
    assert not passes(SchemeName.TWILIO, [b"12345"], request._replace(url=url + "&x"))


# vendors' packages


@settings(max_examples=100)
@given(body=TEXTS.map(str.encode), identifier=st.text("abcdef_0123456789", min_size=1, max_size=40))
def test_we_sign_as_the_standard_webhooks_package_does(body: bytes, identifier: str) -> None:
    moment = datetime.now(UTC)
    theirs = Webhook(SECRET).sign(identifier, moment, body.decode())
    ours = sign(SchemeName.STANDARD_WEBHOOKS, SECRET, body, identifier=identifier, now=moment.timestamp())
    assert ours["webhook-signature"] == theirs
    Webhook(SECRET).verify(body, ours, json_parse=False)
    verify(SchemeName.STANDARD_WEBHOOKS, KEYS[SchemeName.STANDARD_WEBHOOKS], Request("", ours, body))


@settings(max_examples=100)
@given(garbage=st.text("v1,a=+/ \t", max_size=60))
def test_we_refuse_what_the_standard_webhooks_package_refuses(garbage: str) -> None:
    moment = datetime.now(UTC)
    genuine = sign(SchemeName.STANDARD_WEBHOOKS, SECRET, BODY, identifier="m", now=moment.timestamp())
    headers = {**genuine, "webhook-signature": f"{garbage} {genuine['webhook-signature']}"}
    try:
        Webhook(SECRET).verify(BODY, headers)
    except (WebhookVerificationError, ValueError):
        return
    verify(SchemeName.STANDARD_WEBHOOKS, KEYS[SchemeName.STANDARD_WEBHOOKS], Request("", headers, BODY))


@settings(max_examples=100)
@given(body=TEXTS)
def test_we_sign_as_the_stripe_package_does(body: str) -> None:
    secret, now = "whsec_made_up", int(time.time())
    theirs = stripe.WebhookSignature.generate_signature_header(body, secret, timestamp=now)
    ours = sign(SchemeName.STRIPE, secret, body.encode(), now=now)
    assert ours["stripe-signature"] == theirs
    assert stripe.WebhookSignature.verify_header(body, ours["stripe-signature"], secret, tolerance=300)
    assert passes(SchemeName.STRIPE, [secret.encode()], Request("", {"stripe-signature": theirs}, body.encode()))


@settings(max_examples=200)
@given(header=st.text("t=v1,0a 7", max_size=40), where=st.sampled_from(["before", "after", "alone"]))
def test_we_refuse_what_the_stripe_package_refuses(header: str, where: str) -> None:
    secret = "whsec_made_up"
    genuine = sign(SchemeName.STRIPE, secret, BODY)["stripe-signature"]
    text = {"before": f"{header},{genuine}", "after": f"{genuine},{header}", "alone": header}[where]
    try:
        stripe.WebhookSignature.verify_header(BODY, text, secret, tolerance=300)
    except stripe.SignatureVerificationError:
        assert not passes(SchemeName.STRIPE, [secret.encode()], Request("", {"stripe-signature": text}, BODY))


@settings(max_examples=150)
@given(fields=FIELDS, port=st.sampled_from(["", ":443", ":8443"]), query=st.sampled_from(["", "?a=1&b=%20"]))
def test_we_sign_forms_as_the_twilio_package_does(fields: dict[str, str], port: str, query: str) -> None:
    url = f"https://tenure.example{port}/v1/webhooks/phone{query}"
    request = Request(url, {"content-type": "application/x-www-form-urlencoded"}, urlencode(fields).encode())
    ours = seal(SchemeName.TWILIO, "token", request)
    assert RequestValidator("token").validate(url, fields, ours.headers["x-twilio-signature"])
    theirs = RequestValidator("token").compute_signature(url, fields)
    assert passes(
        SchemeName.TWILIO, [b"token"], request._replace(headers={**ours.headers, "x-twilio-signature": theirs})
    )


def test_we_read_the_longer_hash_of_the_twilio_package_too() -> None:
    url = "https://tenure.example/v1/webhooks/phone"
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-twilio-webhooks-signature-settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256",
        "x-twilio-signature": RequestValidator("token").compute_signature(url, TWILIO_EXAMPLE, "HMAC_SHA256"),
    }
    request = Request(url, headers, urlencode(TWILIO_EXAMPLE).encode())
    assert passes(SchemeName.TWILIO, [b"token"], request)
    for algorithm in ("HMAC_SHA1", "HMAC_MD5", "none"):
        other = {**headers, "x-twilio-webhooks-signature-settings": f"algorithm={algorithm}"}
        assert not passes(SchemeName.TWILIO, [b"token"], request._replace(headers=other))


@settings(max_examples=100)
@given(body=TEXTS)
def test_we_sign_other_bodies_as_the_twilio_package_does(body: str) -> None:
    request = Request("https://tenure.example/v1/webhooks/phone", {"content-type": "application/json"}, body.encode())
    ours = seal(SchemeName.TWILIO, "token", request)
    assert RequestValidator("token").validate(ours.url, body, ours.headers["x-twilio-signature"])
    assert passes(SchemeName.TWILIO, [b"token"], ours)
    assert not passes(SchemeName.TWILIO, [b"token"], ours._replace(body=ours.body + b" "))
    # Without its hash in the address, a body that is no form is not signed at all.
    plain = RequestValidator("token").compute_signature(request.url, {})
    bare = request._replace(headers={**request.headers, "x-twilio-signature": plain})
    assert not passes(SchemeName.TWILIO, [b"token"], bare)


@settings(max_examples=60)
@given(body=TEXTS)
def test_we_read_what_the_sendgrid_package_reads(body: str) -> None:
    pair = OLD[SchemeName.SENDGRID]
    ours = seal(SchemeName.SENDGRID, pair.signing, Request("", {}, body.encode()), now=NOW)
    signature = ours.headers["x-twilio-email-event-webhook-signature"]
    timestamp = ours.headers["x-twilio-email-event-webhook-timestamp"]
    theirs: Any = EventWebhook(pair.shown)
    assert theirs.verify_signature(body, signature, timestamp)
    assert not theirs.verify_signature(body + " ", signature, timestamp)
    keys = [read_key(SchemeName.SENDGRID, pair.shown)]
    assert passes(SchemeName.SENDGRID, keys, ours, now=NOW)
    assert not passes(SchemeName.SENDGRID, keys, ours._replace(body=ours.body + b" "), now=NOW)


def test_a_key_of_sendgrid_may_be_written_as_pem() -> None:
    shown = OLD[SchemeName.SENDGRID].shown
    pem = f"-----BEGIN PUBLIC KEY-----\n{shown[:64]}\n{shown[64:]}\n-----END PUBLIC KEY-----"
    assert read_key(SchemeName.SENDGRID, pem) == read_key(SchemeName.SENDGRID, shown)


# what has no package: the hash, computed as their documentation says and nothing of ours


@pytest.mark.parametrize(
    ("scheme", "header", "value"),
    [
        (SchemeName.SHOPIFY, "x-shopify-hmac-sha256", "JjteDPqyp8dg4yOjEUSZEYcSr2TXAZnIJJq4xa6IJZw="),
        (SchemeName.WOOCOMMERCE, "x-wc-webhook-signature", "JjteDPqyp8dg4yOjEUSZEYcSr2TXAZnIJJq4xa6IJZw="),
        (SchemeName.TYPEFORM, "typeform-signature", "sha256=JjteDPqyp8dg4yOjEUSZEYcSr2TXAZnIJJq4xa6IJZw="),
        (
            SchemeName.DELIGHTED,
            "x-delighted-webhook-signature",
            "sha256=263b5e0cfab2a7c760e323a3114499118712af64d70199c8249ab8c5ae88259c",
        ),
        (SchemeName.INTERCOM, "x-hub-signature", "sha1=f5e7d13c740f00c647d94ff6a6031d84e76625d6"),
        (SchemeName.ZAMMAD, "x-hub-signature", "sha1=f5e7d13c740f00c647d94ff6a6031d84e76625d6"),
    ],
)
def test_a_hash_is_written_as_openssl_writes_it(scheme: SchemeName, header: str, value: str) -> None:
    """`printf %s '{"id":4711}' | openssl dgst -sha256 -hmac topsecret -binary | base64`, and `-hex`, `-sha1`."""
    assert sign(scheme, "topsecret", b'{"id":4711}') == {header: value}
