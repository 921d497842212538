"""Only what was signed with one of the secrets, lately, and unchanged since, is let in."""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import (
    SCHEMES,
    TOLERANCE_SECONDS,
    CertificateNeeded,
    Request,
    Unverified,
    read_key,
    seal,
    sign,
    verify,
)
from services.ingest.verify.replays import KEPT_SECONDS, OnceOnly
from tests.unit.ingest.proofs import (
    BODY,
    CERTIFICATES,
    KEYS,
    MESSAGE,
    NEW,
    NOW,
    OLD,
    TIMED,
    TOPIC,
    Tampering,
    accepted,
    genuine,
    genuine_once,
    read,
    unsealed,
)

MUTATIONS = int(os.environ.get("TENURE_TEST_MUTATIONS", "400"))
"""Of each scheme. 100000 is what the guarantees name."""


def test_every_scheme_has_a_row_here_and_in_the_documents() -> None:
    assert set(SCHEMES) == set(SchemeName)
    page = Path(__file__).parents[3] / "docs" / "sources" / "proofs.md"
    rows = [line.split("|")[1].strip() for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert set(SchemeName) == set(rows[2:])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_old_and_new_secret_are_valid_together(scheme: SchemeName) -> None:
    for pairs in (OLD, NEW):
        # Of SNS all topics are signed with Amazon's one key.
        request = genuine(scheme, pairs[scheme].signing)
        assert accepted(scheme, request)


@pytest.mark.parametrize("scheme", sorted(TIMED - {SchemeName.SNS, SchemeName.MAILGUN}))
def test_a_signature_is_valid_for_five_minutes_either_way(scheme: SchemeName) -> None:
    request = genuine(scheme)
    for apart in (-TOLERANCE_SECONDS, 0, TOLERANCE_SECONDS):
        assert accepted(scheme, request, NOW + apart)
    for apart in (-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1, 10**9):
        assert not accepted(scheme, request, NOW + apart)


def test_a_message_of_sns_is_valid_for_as_long_as_amazon_tries_to_deliver_it() -> None:
    request = genuine(SchemeName.SNS)
    for apart in (-300, 0, 3900):
        assert accepted(SchemeName.SNS, request, NOW + apart)
    for apart in (-301, 3901, 10**9):
        assert not accepted(SchemeName.SNS, request, NOW + apart)


def test_a_delivery_of_mailgun_is_valid_for_as_long_as_it_is_sent_again() -> None:
    """It comes again after five minutes at the earliest, with the signature of the first time, for eight hours."""
    request = genuine(SchemeName.MAILGUN)
    for apart in (-300, 0, 301, 8 * 3600 + 5 * 60):
        assert accepted(SchemeName.MAILGUN, request, NOW + apart)
    for apart in (-301, 9 * 3600 + 1, 10**9):
        assert not accepted(SchemeName.MAILGUN, request, NOW + apart)


async def test_a_token_is_remembered_for_as_long_as_it_lets_anything_pass() -> None:
    seen = OnceOnly()
    await seen.check("mail", "token", "one", NOW)
    await seen.check("mail", "another", "one", NOW + 9 * 3600 + 300)
    with pytest.raises(Unverified, match="replayed"):
        await seen.check("mail", "token", "two", NOW + 9 * 3600 + 300)


@pytest.mark.parametrize("scheme", sorted(TIMED))
def test_an_operators_replay_may_be_of_any_age(scheme: SchemeName) -> None:
    request = read(scheme, genuine(scheme))
    verify(scheme, KEYS[scheme], request, now=NOW + 10**8, any_age=True, certificates=CERTIFICATES)


@pytest.mark.parametrize(
    "timestamp", ["", "now", "NaN", "inf", "-1", "1e9", "1772440000.5", "٣", "9" * 400, "1772440000 "]
)
def test_a_timestamp_is_a_plain_number_of_seconds(timestamp: str) -> None:
    for scheme, name in (
        (SchemeName.STANDARD_WEBHOOKS, "webhook-timestamp"),
        (SchemeName.SLACK, "x-slack-request-timestamp"),
        (SchemeName.SENDGRID, "x-twilio-email-event-webhook-timestamp"),
    ):
        request = genuine(scheme)
        assert not accepted(scheme, request._replace(headers={**request.headers, name: timestamp}))
    stripe = genuine(SchemeName.STRIPE)
    header = stripe.headers["stripe-signature"].replace("t=1772440000", f"t={timestamp}")
    assert not accepted(SchemeName.STRIPE, stripe._replace(headers={**stripe.headers, "stripe-signature": header}))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_mutated_request_is_accepted(scheme: SchemeName) -> None:
    tampering = Tampering(scheme, random.Random(f"mutations of {scheme}"))  # noqa: S311 - the same in every run
    for _ in range(MUTATIONS):
        mutated = tampering.mutate()
        assert not accepted(scheme, mutated), mutated


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=30)
@given(data=st.data())
def test_whatever_stands_in_headers_and_body_is_refused_and_breaks_nothing(
    scheme: SchemeName, data: st.DataObject
) -> None:
    once = genuine_once(scheme)
    names = sorted(once.headers)
    headers = data.draw(st.dictionaries(st.sampled_from([*names, "authorization"]), st.text(max_size=60)))
    body = data.draw(st.one_of(st.binary(max_size=80), st.just(once.body)))
    if headers.items() >= dict(once.headers).items() or SCHEMES[scheme].in_payload:
        body = body[:-1]
    assert not accepted(scheme, Request("https://tenure.example/\ud800[", headers, body, payload=body.hex()))


@pytest.mark.parametrize(
    ("scheme", "secrets"),
    [
        (SchemeName.STANDARD_WEBHOOKS, ["", "whsec_", "whsec_!!!", "whsec_c2hvcnQ="]),
        (SchemeName.SHOPIFY, ["", "  "]),
        (SchemeName.TOKEN, ["short", "with a blank in the middle of it", "größer-als-sechzehn-Zeichen"]),
        (SchemeName.BASIC, ["no-colon-in-this-secret-at-all", ":only-a-password-here", "user:short"]),
        (SchemeName.SENDGRID, ["", "MFkw", base64.b64encode(b"no key at all").decode()]),
        (SchemeName.SNS, ["inbound-mail", "arn:aws:sqs:eu-central-1:123456789012:q", f"{TOPIC}*"]),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused_at_the_start(scheme: SchemeName, secrets: list[str]) -> None:
    for secret in secrets:
        with pytest.raises(ValueError):  # noqa: PT011 - which one is a detail; settings say it in their own words
            read_key(scheme, secret)


def test_a_token_in_the_body_is_one_of_ours_or_refused() -> None:
    keys = [b"old", b"new"]
    verify(SchemeName.AIRCALL, keys, Request("", {}, b"", payload={"token": "new"}))
    for token in (None, "", 7, ["new"], "ne", "newer", "NEW", "\ud800"):
        for payload in ({"token": token}, {}, [token], token):
            with pytest.raises(Unverified):
                verify(SchemeName.AIRCALL, keys, Request("", {}, b"", payload=payload))


def test_a_bearer_token_does_where_a_provider_has_no_other_header() -> None:
    secret = OLD[SchemeName.TOKEN].shown
    for headers in ({"x-tenure-token": secret}, {"authorization": f"Bearer {secret}"}):
        assert accepted(SchemeName.TOKEN, Request("", headers, BODY))
    for headers in (
        {"x-tenure-token": "another", "authorization": f"Bearer {secret}"},
        {"authorization": f"Basic {secret}"},
        {"authorization": secret},
    ):
        assert not accepted(SchemeName.TOKEN, Request("", headers, BODY))


def test_a_parent_account_vouches_for_what_happens_in_its_subaccounts() -> None:
    signed = genuine(SchemeName.MAILGUN).payload
    proof = {**signed["signature"], "parent-signature": signed["signature"]["signature"], "signature": "0" * 64}
    assert accepted(
        SchemeName.MAILGUN, Request("", {}, b"{}")._replace(body=orjson.dumps({**signed, "signature": proof}))
    )


def test_mailgun_puts_its_proof_into_a_form_as_well() -> None:
    fields = {**genuine(SchemeName.MAILGUN).payload["signature"], "sender": "ina@kundin.example"}
    token = verify(SchemeName.MAILGUN, KEYS[SchemeName.MAILGUN], Request("", {}, b"", payload=fields), now=NOW)
    assert token == fields["token"]


async def test_a_token_that_is_used_once_does_not_come_again_with_something_else() -> None:
    seen = OnceOnly(most=3)
    await seen.check("mail", "token", "one", NOW)
    await seen.check("mail", "token", "one", NOW + 10)  # the provider had no answer, and sends it again
    await seen.check("other", "token", "another source", NOW)
    with pytest.raises(Unverified):
        await seen.check("mail", "token", "two", NOW + 20)
    for number in range(100):
        await seen.check("mail", str(number), "filling", NOW + 30)
    assert len(seen) <= 4


async def test_what_was_seen_is_forgotten_when_its_timestamp_lets_nothing_pass_any_more() -> None:
    seen = OnceOnly()
    for number in range(50):
        await seen.check("mail", str(number), "one", NOW)
    await seen.check("mail", "later", "one", NOW + KEPT_SECONDS + 1)
    assert len(seen) == 1


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["Größe", "", None])
def test_both_signatures_of_sns_are_read(version: str, subject: str | None) -> None:
    message = {**MESSAGE, "SignatureVersion": version, "Subject": subject}
    request = unsealed(SchemeName.SNS)._replace(payload=message)
    assert accepted(SchemeName.SNS, seal(SchemeName.SNS, OLD[SchemeName.SNS].signing, request, now=NOW))


def test_a_confirmation_of_sns_signs_the_address_that_confirms_it() -> None:
    message = {
        **MESSAGE,
        "Type": "SubscriptionConfirmation",
        "Token": "2336412f37",
        "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
    }
    request = unsealed(SchemeName.SNS)._replace(payload=message)
    sealed = seal(SchemeName.SNS, OLD[SchemeName.SNS].signing, request, now=NOW)
    assert accepted(SchemeName.SNS, sealed)
    for name in ("SubscribeURL", "Token", "Type", "Message"):
        payload = {**sealed.payload, name: "https://evil.example/"}
        assert not accepted(SchemeName.SNS, sealed._replace(body=orjson.dumps(payload)))


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-0123456789abcdef.pem",
        "https://evil.example/SimpleNotificationService-0123456789abcdef.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-0123456789abcdef.pem",
        "https://evil.example\\@sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-0123456789abcdef.pem",
        "https://evilsns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
        "https://bucket.s3.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
        "https://sns.eu-central-1.amazonaws.com/../bucket/SimpleNotificationService-0123456789abcdef.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem?x=1",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem#x",
        "https://sns.eu-central-1.amazonaws.com/other.pem",
        "https://sns.eu-central-1.amazonaws.com\n/SimpleNotificationService-0123456789abcdef.pem",
        "https://sns.\u0435u-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
        "https://[::1]/SimpleNotificationService-0123456789abcdef.pem",
        "https://[/SimpleNotificationService-0123456789abcdef.pem",
        "file:///etc/passwd",
        "",
    ],
)
def test_no_certificate_is_asked_for_but_amazons(url: str) -> None:
    request = genuine(SchemeName.SNS)
    strange = request._replace(payload={**request.payload, "SigningCertURL": url})
    with pytest.raises(Unverified) as refused:
        verify(SchemeName.SNS, KEYS[SchemeName.SNS], strange, now=NOW)
    assert not isinstance(refused.value, CertificateNeeded)


def test_a_certificate_is_asked_for_only_when_everything_else_is_right() -> None:
    request = genuine(SchemeName.SNS)
    with pytest.raises(CertificateNeeded) as needed:
        verify(SchemeName.SNS, KEYS[SchemeName.SNS], request, now=NOW)
    assert needed.value.url == MESSAGE["SigningCertURL"]
    for field, value in (("TopicArn", f"{TOPIC}-x"), ("Timestamp", "2020-01-01T00:00:00Z"), ("SignatureVersion", "3")):
        strange = request._replace(payload={**request.payload, field: value})
        with pytest.raises(Unverified) as refused:
            verify(SchemeName.SNS, KEYS[SchemeName.SNS], strange, now=NOW)
        assert not isinstance(refused.value, CertificateNeeded)


def test_headers_alone_are_enough_for_most_schemes() -> None:
    headers = sign(SchemeName.SHOPIFY, OLD[SchemeName.SHOPIFY].shown, BODY)
    assert accepted(SchemeName.SHOPIFY, Request("", headers, BODY))
