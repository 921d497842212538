"""Mail that reads well and cannot be abused; web hooks that reach only what they may."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from contracts.alerts import AlertEvent, AlertEvidence, AlertOpened, EvidenceFigure, EvidenceItem
from contracts.ids import derive_id
from contracts.values import Kind
from services.notifier.channels.addresses import Refused, resolve
from services.notifier.channels.mail import MailChannel
from services.notifier.channels.webhook import (
    SecretMissing,
    WebhookChannel,
    left_alone,
    new_client,
    payload,
    read_secret,
    sign,
)
from services.notifier.domain.delivery import Job, Notice, SmtpServer
from services.notifier.domain.recipients import Destination
from services.notifier.domain.retry import GIVE_UP_AFTER, next_attempt
from tests.unit.notifier.states import ACCOUNT, NOON

CHANNEL = MailChannel(
    SmtpServer("127.0.0.1", 1, starttls=False),
    sender="Tenure <tenure@brightwell.example>",
    console_url="https://t.example/",
)
ANNA = Destination(derive_id("anna"), "mail", "Anna Berg", "anna@brightwell.example")


def event(**changed: object) -> AlertEvent:
    stated = {
        "alert_id": derive_id("alert"),
        "account_id": ACCOUNT,
        "version": 1,
        "rule": "stale_touch",
        "rule_version": 3,
        "severity": "warn",
        "state": "open",
        "dedup_key": "stale_touch:x:account",
        "title": "No touch with Northwind Labs for 15 days",
        "explanation": "The last real touch was on 15 Feb 2026: meeting with Maria Keller.",
        "evidence": AlertEvidence(
            items=(
                EvidenceItem(
                    interaction_id=derive_id("meeting"),
                    kind=Kind.MEETING,
                    occurred_at=datetime(2026, 2, 15, 23, 30, tzinfo=UTC),
                    summary="meeting with Maria Keller",
                ),
            ),
            figures=(EvidenceFigure(name="days without a real touch", value="15", threshold="14"),),  # type: ignore[arg-type]
            horizon=NOON,
            unverified=("desk: last delivery 1 Mar 2026, 12:00 CET; it cannot be polled",),
        ),
        "opened_at": NOON,
        "changed_at": NOON,
    }
    return AlertOpened.model_validate({**stated, **changed})


def job(*events: AlertEvent, to: Destination = ANNA, account_name: str = "Northwind Labs") -> Job:
    notices = tuple(Notice("opened", one, account_name) for one in events or (event(),))
    return Job(derive_id("delivery"), to, notices, 0, NOON, NOON, derive_id("lease"), ZoneInfo("Europe/Berlin"))


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_a_mail_says_what_happened_on_what_evidence_by_which_rule_and_what_to_do() -> None:
    message = CHANNEL.compose(job())
    assert message["Subject"] == "Warning: No touch with Northwind Labs for 15 days"
    for kind in ("plain", "html"):
        body = text_of(message, kind)
        for part in (
            "The last real touch was on 15 Feb 2026",
            "16 Feb 2026, 00:30 CET: meeting with Maria Keller",
            "days without a real touch",
            "Known up to 2 Mar 2026, 12:00 CET",
            "Not verified: desk: last delivery",
            "Call or write to them today",
            "stale touch, version 3",
            f"https://t.example/alerts/{derive_id('alert')}",
        ):
            assert part in body, (kind, part)
    assert "\n\n\n" not in text_of(message)


def test_every_attempt_sends_the_same_message_under_the_same_id() -> None:
    first, second = CHANNEL.compose(job()), CHANNEL.compose(job())
    assert first["Message-ID"] == second["Message-ID"] == f"<{derive_id('delivery')}@brightwell.example>"
    assert text_of(first) == text_of(second)


def test_several_alerts_in_one_message_are_counted_and_all_shown() -> None:
    other = event(alert_id=derive_id("other"), account_id=derive_id("b"), title="12 tickets from Acme in 30 days")
    message = CHANNEL.compose(job(event(), other))
    assert message["Subject"] == "2 alerts on 2 accounts"
    assert "2. 12 tickets from Acme in 30 days" in text_of(message)
    many = CHANNEL.compose(job(*[event()] * 60))
    assert "And 10 more" in text_of(many)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_of_a_customer_can_add_a_header_or_a_recipient(title: str, name: str) -> None:
    hostile = event(title=f"{title}\r\nBcc: all@victim.example\n\nx{title}".replace("\x00", ""))
    to = Destination(ANNA.destination_id, "mail", f"{name}\r\nTo: all@victim.example", ANNA.address)
    message = CHANNEL.compose(job(hostile, to=to))
    head = bytes(message).split(b"\r\n\r\n", 1)[0]
    names = {line.split(b":")[0].lower() for line in head.split(b"\r\n") if line[:1] not in {b" ", b"\t"}}
    assert names <= {
        b"subject", b"from", b"to", b"date", b"message-id", b"auto-submitted", b"x-auto-response-suppress",
        b"mime-version", b"content-type",
    }  # fmt: skip
    assert [address.addr_spec for address in message["To"].addresses] == [ANNA.address]


def test_html_of_a_customer_is_shown_and_not_run() -> None:
    hostile = event(title='<script>alert("x")</script>', explanation='<img src=x onerror="x()">')
    html = text_of(CHANNEL.compose(job(hostile, account_name="<b>Acme</b>")), "html")
    assert "<script>" not in html
    assert "<img" not in html
    assert "&lt;b&gt;Acme" in html


async def test_an_address_that_is_none_is_an_outcome_and_nothing_is_sent() -> None:
    for address in ("anna@brightwell.example, all@victim.example", "anna", "anna@x.example\r\nBcc: b@c.example"):
        outcome = await CHANNEL.deliver(job(to=Destination("x", "mail", "Anna", address)))
        assert outcome.outcome.startswith("the address cannot be written to"), address


ENCODINGS = [
    *(
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "localhost",
        "0",
        "0.0.0.0",  # noqa: S104 - it must be refused
    ),
    *("10.0.0.1", "10.1", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.1", "169.254.169.254", "0xa9fea9fe"),
    *("100.64.0.1", "198.18.0.1", "192.0.0.1", "192.0.2.1", "203.0.113.7", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
    *("255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]"),
    *("[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[2002:7f00:1::]", "[2002:a00:1::1]", "[64:ff9b::7f00:1]"),
    *("[64:ff9b::a00:1]", "[2001:db8::1]", "[2001:0:7f00:1::]", "[64:ff9b:1::1]", "[100::1]", "[::ffff:a9fe:a9fe]"),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ENCODINGS)
async def test_no_way_to_write_a_private_address_is_reached(scheme: str, host: str) -> None:
    with pytest.raises((Refused, OSError)):
        await resolve(f"{scheme}://{host}/hook", ())


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/", "file:///etc/passwd", "https://user:pw@8.8.8.8/", "https:///x", "https://8.8.8.8:99999/",
     "https://8.8.8.8/a b", "gopher://8.8.8.8/", "https://8.8.8.8\\@127.0.0.1/", "", "https://8.8.8.8/\u2028"],
)  # fmt: skip
async def test_urls_that_are_not_plain_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        await resolve(url, ())


async def test_public_addresses_are_reached_over_https_only() -> None:
    assert str((await resolve("https://8.8.8.8/hook?a=b", ())).address) == "8.8.8.8"
    with pytest.raises(Refused, match="https"):
        await resolve("http://8.8.8.8/hook", ())


async def test_a_network_that_the_settings_allow_is_reached_and_its_neighbour_is_not() -> None:
    allowed = (ip_network("127.0.0.0/8"), ip_network("10.1.0.0/16"))
    assert (await resolve("http://127.0.0.1:8080/", allowed)).port == 8080
    assert (await resolve("http://10.1.2.3/", allowed)).port == 80
    with pytest.raises(Refused):
        await resolve("http://10.2.0.1/", allowed)


async def test_a_name_is_looked_up_once_and_the_checked_address_is_connected_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[httpx2.Request] = []

    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    async def keep(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(302, headers={"location": "http://127.0.0.1/"}, content=nothing())

    answers = iter(["8.8.4.4", "127.0.0.1"])

    async def rebinding(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", (next(answers), 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebinding, raising=False)
    secret = "whsec_" + base64.b64encode(b"x" * 32).decode()
    (tmp_path / "s").write_text(secret)
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(keep), trust_env=False)
    hook = Destination("x", "webhook", "CRM", "https://hooks.example/in", secret_file="s")
    outcome = await WebhookChannel(client, secrets=tmp_path, allowed=()).deliver(job(to=hook))
    (request,) = sent
    assert (request.url.host, request.headers["host"]) == ("8.8.4.4", "hooks.example")
    assert request.extensions["sni_hostname"] == "hooks.example"
    assert (outcome.delivered, outcome.outcome) == (False, "answered 302")
    assert Webhook(secret).verify(request.content, dict(request.headers))


def test_our_signature_is_that_of_the_standard() -> None:
    moment = datetime.now(UTC)
    ours = sign(b"k" * 32, "msg", int(moment.timestamp()), b'{"a":1}')
    theirs = Webhook(base64.b64encode(b"k" * 32).decode()).sign("msg", moment, '{"a":1}')
    assert ours == theirs


def test_the_payload_is_the_same_for_every_attempt() -> None:
    assert payload(job()) == payload(job())


@pytest.mark.parametrize("name", ["../s", "/etc/passwd", "missing", "", None, "..", "short", "no-base64"])
def test_a_secret_must_lie_in_its_folder_and_be_long_enough(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "short").write_text("whsec_" + base64.b64encode(b"short").decode())
    (tmp_path / "no-base64").write_text("whsec_***")
    with pytest.raises(SecretMissing) as refused:
        read_secret(tmp_path, name)
    assert "***" not in str(refused.value)


async def test_the_client_for_hooks_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with new_client() as client:
        assert not client.trust_env
        assert not client.follow_redirects


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 200))
def test_a_delivery_is_tried_for_at_least_three_days_and_never_waits_longer_than_an_hour(
    attempts: int, luck: float, hours: float
) -> None:
    now = NOON + timedelta(hours=hours)
    again = next_attempt(attempts, NOON, now, first=timedelta(seconds=15), luck=luck)
    assert (again is None) == (now - NOON >= GIVE_UP_AFTER)
    if again is not None:
        assert timedelta(seconds=7) < again - now <= timedelta(hours=1)


@pytest.mark.parametrize(
    ("status", "said", "seconds"),
    [(429, "120", 120), (503, " 7 ", 7), (500, "120", None), (429, None, None), (429, "soon", None), (429, "-5", None)],
)
def test_a_receiver_may_ask_to_be_left_alone(status: int, said: str | None, seconds: int | None) -> None:
    assert left_alone(status, said) == (None if seconds is None else timedelta(seconds=seconds))


def test_a_moment_until_which_to_be_left_alone_is_understood() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    found = left_alone(429, until)
    assert found is not None
    assert timedelta(hours=1) < found <= timedelta(hours=2)
    assert left_alone(429, "Wed, 21 Oct 2015 07:28:00 GMT") == timedelta()


def test_who_asks_to_be_left_alone_is_for_a_day_at_most() -> None:
    first = timedelta(seconds=15)
    asked = next_attempt(1, NOON, NOON, first=first, luck=0, leave_alone=timedelta(hours=2))
    assert asked == NOON + timedelta(hours=2)
    assert next_attempt(1, NOON, NOON, first=first, luck=0, leave_alone=timedelta(days=9)) == NOON + timedelta(days=1)
    assert next_attempt(1, NOON, NOON, first=first, luck=1, leave_alone=timedelta(seconds=1)) == NOON + first
