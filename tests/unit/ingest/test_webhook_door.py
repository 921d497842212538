"""The webhook door up to the broker: proofs, handshakes and bounds. Without a broker what is authentic is a 503."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pytest_httpserver import HTTPServer
from werkzeug import Request as Asked
from werkzeug import Response as Given

from services.ingest.domain import handshakes
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Mapped, Origin
from services.ingest.domain.provider import FORM, JSON, MULTIPART, BoundProvider, Delivery, NoOptions, Provider, Reply
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source, SourceConfiguration
from services.ingest.doors.amazon import Amazon, BoundedGet, Unreachable
from services.ingest.doors.hot import Answer, Knock, RawAnswer
from services.ingest.doors.trimming import PlainTrimmer
from services.ingest.doors.webhooks import Webhooks
from services.ingest.publisher import Publisher
from services.ingest.reception import Reception
from services.ingest.settings import IngestSettings
from services.ingest.statistics import Statistics
from services.ingest.verify import Request, read_key, seal
from services.ingest.verify.proof import Stamp
from services.ingest.verify.tokens import mailgun_fields
from services.runtime.clock import RealClock
from services.runtime.problems import Problem
from services.runtime.settings import load
from services.runtime.telemetry import Telemetry
from tests.unit.ingest.proofs import AMAZON, CERTIFICATE, MESSAGE, OLD, TOPIC

SETTINGS = load(
    IngestSettings,
    {
        "TENURE_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "TENURE_DATABASE_URL": "postgresql://nobody@127.0.0.1/nothing",
        "TENURE_SOURCES_FILE": "none",
        "TENURE_OPERATIONS_PORT": "0",
    },
)
CONFIRM = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=t&Token=2336412f37fb"
HEADERS = {"content-type": "application/json", "host": "tenure.example"}


def certificate(days: int = 1) -> bytes:
    """A certificate of the key that signs in these tests, valid for so many days from now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(AMAZON.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=9))
    return builder.not_valid_after(now + timedelta(days=days)).sign(AMAZON, SHA256()).public_bytes(Encoding.PEM)


class Outside:
    """What Amazon answers, and what it was asked."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, url: str) -> bytes:
        """The body, or nobody there."""
        self.asked.append(url)
        await asyncio.sleep(0)
        if url not in self.answers:
            raise Unreachable
        return self.answers[url]


class Door:
    """The door for one source."""

    def __init__(self, provider: Provider[Any], secrets: Sequence[str], get: Outside, url: str | None = None) -> None:
        keys = tuple(read_key(provider.scheme, secret) for secret in secrets)
        configuration = SourceConfiguration(provider.name, "system:one", (), NoOptions(), provider.scheme)
        source = Source("one", configuration, keys)
        self.statistics = Statistics()
        publisher = Publisher("nowhere", SETTINGS)
        telemetry = Telemetry("ingest", SETTINGS)
        reception = Reception(publisher, self.statistics, telemetry, RealClock(), Directory([], "DE"))
        self.amazon = Amazon(get)
        bound = {"one": BoundProvider(provider, provider.bind(NoOptions()))}
        self.webhooks = Webhooks(reception, {"one": source}, bound, self.amazon, url)

    async def post(
        self, headers: Mapping[str, str], body: bytes, path: str = "/v1/webhooks/one", query: bytes = b""
    ) -> tuple[int, Answer | RawAnswer | Problem]:
        """Status and answer."""
        try:
            answer = await self.webhooks.take("one", Knock(headers, body, query, path))
        except Problem as problem:
            return problem.status, problem
        return answer.status, answer

    @property
    def rejected(self) -> Mapping[str, int]:
        """Counted refusals, by reason."""
        return dict(self.statistics.take()["one"].rejected)


def nothing(_delivery: Delivery, _origin: Origin, _options: NoOptions) -> Mapped:
    """Reads no delivery as anything of interest."""
    return Mapped(ignored="nothing")


def provider(scheme: SchemeName, **more: Any) -> Provider[NoOptions]:
    """A provider whose every delivery is taken and ignored."""
    return Provider(name="made-up", scheme=scheme, read=nothing, options=NoOptions, **more)


def message(**fields: str) -> dict[str, str]:
    """A message of SNS, signed now."""
    sealed = seal(SchemeName.SNS, OLD[SchemeName.SNS].signing, Request("", {}, b"", payload={**MESSAGE, **fields}))
    signed: dict[str, str] = sealed.payload
    return signed


SNS = provider(SchemeName.SNS, media=JSON | {"text/plain"}, handshake=handshakes.sns_confirmation)
PLAIN = {"content-type": "text/plain; charset=UTF-8"}


async def test_a_certificate_is_fetched_once_and_kept() -> None:
    get = Outside({CERTIFICATE: certificate()})
    door = Door(SNS, [TOPIC], get)
    body = orjson.dumps(message())
    answers = await asyncio.gather(*(door.post(PLAIN, body) for _ in range(20)))
    assert {status for status, _ in answers} == {200}
    assert get.asked == [CERTIFICATE]


@pytest.mark.parametrize("answer", [b"", b"no certificate", certificate(days=-1), None])
async def test_without_its_certificate_a_message_is_to_come_again(answer: bytes | None) -> None:
    get = Outside({} if answer is None else {CERTIFICATE: answer})
    door = Door(SNS, [TOPIC], get)
    for _ in range(3):
        status, problem = await door.post(PLAIN, orjson.dumps(message()))
        assert status == 503
        assert isinstance(problem, Problem)
        assert problem.headers["Retry-After"]
    # An address that fails is left alone for a while: strangers cannot make us ask Amazon again and again.
    assert get.asked == [CERTIFICATE]


async def test_a_message_of_another_topic_makes_us_ask_nobody() -> None:
    get = Outside({CERTIFICATE: certificate()})
    door = Door(SNS, [TOPIC + "-other"], get)
    assert (await door.post(PLAIN, orjson.dumps(message())))[0] == 401
    assert get.asked == []


async def test_a_subscription_is_confirmed_at_amazons_address_after_the_answer() -> None:
    get = Outside({CERTIFICATE: certificate(), CONFIRM: b"<ConfirmSubscriptionResponse/>"})
    door = Door(SNS, [TOPIC], get)
    body = orjson.dumps(message(Type="SubscriptionConfirmation", Token="2336412f37fb", SubscribeURL=CONFIRM))
    assert (await door.post(PLAIN, body))[0] == 200
    await asyncio.wait_for(_asked(get, CONFIRM), 10)
    await door.amazon.stop()


async def _asked(get: Outside, url: str) -> None:
    while url not in get.asked:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription",
        "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic",
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Action=DeleteTopic",
        "https://sns.eu-central-1.amazonaws.com:8443/?Action=ConfirmSubscription",
        "https://a@sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-central-1.amazonaws.com/x?Action=ConfirmSubscription",
        "https://[::1/?Action=ConfirmSubscription",
        "https://169.254.169.254/latest?Action=ConfirmSubscription",
    ],
)
async def test_no_other_address_is_called_even_when_it_is_signed(url: str) -> None:
    get = Outside({CERTIFICATE: certificate(), url: b""})
    door = Door(SNS, [TOPIC], get)
    body = orjson.dumps(message(Type="SubscriptionConfirmation", Token="2336412f37fb", SubscribeURL=url))
    assert (await door.post(PLAIN, body))[0] == 422
    await asyncio.sleep(0)
    assert get.asked == [CERTIFICATE]


async def test_the_end_of_a_subscription_is_not_undone() -> None:
    get = Outside({CERTIFICATE: certificate(), CONFIRM: b""})
    door = Door(SNS, [TOPIC], get)
    body = orjson.dumps(message(Type="UnsubscribeConfirmation", Token="2336412f37fb", SubscribeURL=CONFIRM))
    assert (await door.post(PLAIN, body))[0] == 200
    assert get.asked == [CERTIFICATE]


async def test_only_so_much_is_asked_of_amazon_at_once() -> None:
    never = asyncio.Event()
    asked: list[str] = []

    async def get(url: str) -> bytes:
        asked.append(url)
        await never.wait()
        return b""

    amazon = Amazon(get, seconds=0.1)
    urls = [CERTIFICATE.replace("0123456789abcdef0123", f"{number:020}") for number in range(50)]
    waiting = [asyncio.ensure_future(amazon.learn(url)) for url in urls]
    done, _ = await asyncio.wait(waiting, timeout=10)
    assert len(done) == 50
    assert all(isinstance(task.exception(), Unreachable) for task in done)
    assert len(asked) == 4
    assert all(amazon.confirm(CONFIRM, "one") for _ in range(8))
    with pytest.raises(Unreachable):
        amazon.confirm(CONFIRM, "one")
    await amazon.stop()


async def test_the_way_out_follows_nothing_and_reads_little(httpserver: HTTPServer) -> None:
    def drip(_request: Asked) -> Given:
        def body() -> Any:
            for _ in range(100):
                yield b"x"
                time.sleep(0.05)

        return Given(body())

    httpserver.expect_request("/good").respond_with_data(b"certificate")
    httpserver.expect_request("/away").respond_with_data(b"", status=302, headers={"Location": "/good"})
    httpserver.expect_request("/broken").respond_with_data(b"", status=500)
    httpserver.expect_request("/large").respond_with_data(b"x" * 70_000)
    httpserver.expect_request("/slow").respond_with_handler(drip)
    get = BoundedGet(seconds=0.5)
    assert await get(httpserver.url_for("/good")) == b"certificate"
    for path in ("/away", "/broken", "/large", "/slow"):
        with pytest.raises(Unreachable):
            await get(httpserver.url_for(path))
    for url in ("http://127.0.0.1:9/", "http://[::1", "nonsense"):
        with pytest.raises(Unreachable):
            await get(url)
    await get.aclose()


async def test_a_token_of_mailgun_vouches_for_one_body_only() -> None:
    secret = "key-0123456789abcdef"
    door = Door(provider(SchemeName.MAILGUN, media=FORM | MULTIPART | JSON), [secret], Outside({}))
    fields = mailgun_fields(secret, Stamp(int(time.time()), "t" * 50))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    first = urlencode({"sender": "ina@kundin.example", **fields}).encode()
    written_otherwise = urlencode({**fields, "sender": "ina@kundin.example"}).replace("%40", "@").encode()
    other = urlencode({"sender": "eve@evil.example", **fields}).encode()
    # The order of fields is not for us to interpret; a repeated delivery of Mailgun has the same.
    assert (await door.post(headers, first))[0] == 200
    assert (await door.post(headers, first))[0] == 200
    assert (await door.post(headers, other))[0] == 401
    assert (await door.post(headers, written_otherwise))[0] == 401
    assert door.rejected == {"replayed": 2}


async def test_behind_a_proxy_the_public_address_is_what_was_signed() -> None:
    public = "https://tenure.example/hooks"
    body = urlencode({"CallSid": "CA1"}).encode()
    form = {"content-type": "application/x-www-form-urlencoded", "host": "10.0.0.7:8080"}
    url = f"{public}/v1/webhooks/one?site=b%20c"
    signed = seal(SchemeName.TWILIO, "twilio-token", Request(url, form, body)).headers
    twilio = provider(SchemeName.TWILIO, media=FORM)
    seen = {}
    for configured in (public, public + "/", None):
        door = Door(twilio, ["twilio-token"], Outside({}), configured)
        seen[configured], _ = await door.post(signed, body, query=b"site=b%20c")
    assert seen == {public: 200, public + "/": 200, None: 401}
    straight = seal(SchemeName.TWILIO, "twilio-token", Request("https://10.0.0.7:8080/v1/webhooks/one", form, body))
    assert (await Door(twilio, ["twilio-token"], Outside({})).post(straight.headers, body))[0] == 200


async def test_what_is_authentic_waits_for_the_broker() -> None:
    taken = replace(provider(SchemeName.SHOPIFY), read=_odd)
    door = Door(taken, ["shpss_secret"], Outside({}))
    signed = seal(SchemeName.SHOPIFY, "shpss_secret", Request("", HEADERS, b"{}"))
    assert (await door.post(signed.headers, signed.body))[0] == 503
    assert (await door.post(HEADERS, b"{}"))[0] == 401
    assert door.rejected == {"unavailable": 1, "missing_signature": 1}


@pytest.mark.parametrize("media", ["application/json", "application/xml", "multipart/form-data", "text/\xe9", ""])
@pytest.mark.parametrize("body", [b"", b"{", b'{"a":1,"a":2}', b"<order/>", b"\xff", b"[" * 100 + b"]" * 100])
async def test_what_is_authentic_is_never_refused_for_what_it_says(media: str, body: bytes) -> None:
    door = Door(replace(provider(SchemeName.SHOPIFY), read=_odd), ["shpss_secret"], Outside({}))
    signed = seal(SchemeName.SHOPIFY, "shpss_secret", Request("", {**HEADERS, "content-type": media}, body))
    # Without a broker it is to come again; with one it is kept.
    assert (await door.post(signed.headers, body))[0] == 503
    assert (await door.post(signed.headers, body + b" "))[0] == 401
    assert door.rejected == {"unavailable": 1, "bad_signature": 1}


@pytest.mark.parametrize(
    ("scheme", "headers", "held"),
    [
        (SchemeName.SHOPIFY, {"content-length": "1048576"}, False),
        (SchemeName.SHOPIFY, {"content-length": "1048577"}, True),
        (SchemeName.SHOPIFY, {}, True),
        (SchemeName.SHOPIFY, {"content-length": "9" * 5_000}, True),
        (SchemeName.AIRCALL, {"content-length": "1048577"}, False),
        (SchemeName.AIRCALL, {}, False),
    ],
)
def test_a_large_body_is_held_where_it_can_be_proven_without_being_read(
    scheme: SchemeName, headers: Mapping[str, str], *, held: bool
) -> None:
    door = Door(provider(scheme), ["a-secret-of-some-length"], Outside({}))
    assert isinstance(door.webhooks.trimmer("one", headers), PlainTrimmer) is held


def test_nobody_elses_megabytes_are_read_where_headers_alone_are_the_proof() -> None:
    door = Door(provider(SchemeName.TOKEN), ["a-secret-of-some-length"], Outside({}))
    with pytest.raises(Problem) as refused:
        door.webhooks.trimmer("one", {"x-tenure-token": "a-guess-of-some-length"})
    assert (refused.value.status, door.rejected) == (401, {"bad_signature": 1})
    assert door.webhooks.trimmer("one", {"x-tenure-token": "a-secret-of-some-length"}) is not None


def _odd(_delivery: Delivery, _origin: Origin, _options: NoOptions) -> Mapped:
    # Validation fails as a mapping's would.
    NoOptions.model_validate({"unknown": 1})
    return Mapped()


async def test_a_mail_that_takes_too_long_to_read_does_not_keep_its_provider_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.ingest.doors.webhooks._READING_SECONDS", 0.05)
    monkeypatch.setattr("services.ingest.doors.webhooks._ANSWER_SECONDS", 0.2)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_delivery: Delivery, _origin: Origin, _options: NoOptions) -> Mapped:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        return Mapped(ignored="late")

    large = replace(provider(SchemeName.SHOPIFY, large=True), read=slow)
    door = Door(large, ["shpss_secret"], Outside({}))
    signed = seal(SchemeName.SHOPIFY, "shpss_secret", Request("", HEADERS, b"{}"))
    answers = await asyncio.gather(*(door.post(signed.headers, signed.body) for _ in range(7)))
    # Kept raw, if there were a broker; the places of four stay taken until their threads end, and three find none.
    assert [status for status, _ in answers] == [503] * 7
    released.set()
    await asyncio.sleep(0)
    status, answer = await door.post(signed.headers, signed.body)
    assert (status, isinstance(answer, Answer) and answer.content["ignored"]) == (200, "late")


async def test_ringcentrals_token_comes_back_before_there_is_a_secret() -> None:
    ringcentral = provider(SchemeName.RINGCENTRAL, challenge=handshakes.validation_token)
    door = Door(ringcentral, ["a-verification-token"], Outside({}))
    status, answer = await door.post({"validation-token": "5f8b7f2e-a1d4"}, b"")
    assert status == 200
    assert isinstance(answer, RawAnswer)
    assert answer.headers == {"Validation-Token": "5f8b7f2e-a1d4"}
    for odd in ("", "a b", "é", "x" * 257, "a\r\nSet-Cookie: b"):
        assert (await door.post({**HEADERS, "validation-token": odd}, b"{}"))[0] == 401
    assert (await door.post({**HEADERS, "verification-token": "a-verification-token"}, b"{}"))[0] == 200


async def test_woocommerce_may_try_the_address_out() -> None:
    woocommerce = provider(SchemeName.WOOCOMMERCE, challenge=handshakes.woocommerce_ping)
    door = Door(woocommerce, ["woo-secret"], Outside({}))
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await door.post(form, b"webhook_id=17"))[0] == 200
    for body in (b"webhook_id=17&a=b", b"webhook_id=", b"{}"):
        assert (await door.post(form, body))[0] in {401, 415}


def test_slack_gets_its_challenge_back() -> None:
    challenge = Delivery({"type": "url_verification", "challenge": "3eZbrw1aBm"}, b"", {})
    assert handshakes.slack_verification(challenge, []) == Reply(b'{"challenge": "3eZbrw1aBm"}')
    odd: list[Any] = [None, [], {"type": "event_callback"}, {"type": "url_verification", "challenge": 7}]
    for payload in odd:
        assert handshakes.slack_verification(Delivery(payload, b"", {}), []) is None


def test_zoom_gets_its_token_back_with_the_hash_of_it() -> None:
    """The values are `printf %s qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac secret-token`."""
    payload: dict[str, Any] = {"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}
    reply = handshakes.crc_validation(Delivery(payload, b"", {}), [b"secret-token"])
    assert reply is not None
    assert orjson.loads(reply.body) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": ENCRYPTED}
    for odd in ({}, {"plainToken": 7}, {"plainToken": ""}, None, {"plainToken": "x" * 300}):
        delivery = Delivery({"event": "endpoint.url_validation", "payload": odd}, b"", {})
        assert handshakes.crc_validation(delivery, [b"secret-token"]) is None


ENCRYPTED = "5b72bd117f184f54093c1c3c11499c1d13e6d56dc0d96e6b78fbfecedc953b75"
