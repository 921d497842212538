"""A mail may be broken in any way: it becomes an event or is passed on raw, and nothing else ever happens."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.events import EmailReceived
from contracts.interactions import assemble
from services.ingest.domain.mapping import Unmapped
from services.ingest.sources.mail import Mailbox, map_mail, newest_reply
from tests.unit.ingest.golden import MAILBOX, mails, origin

ORIGINAL = b"From: bob@acme.example\r\nTo: anna@brightwell.example\r\nMessage-ID: <1@acme.example>\r\n"
DATE = b"Date: Mon, 2 Mar 2026 09:00:00 +0100\r\n"
SEEDS = [path.read_bytes() for path in mails()]


def the_mail(raw: bytes, mailbox: Mailbox = MAILBOX) -> EmailReceived:
    event = map_mail(raw, mailbox, origin("mail")).events[0]
    assert isinstance(event, EmailReceived)
    return event


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), st.integers(0, 10_000), st.binary(max_size=40), st.integers(0, 200))
def test_a_mail_with_bytes_cut_out_and_put_in_never_breaks_anything(seed: bytes, at: int, put: bytes, cut: int) -> None:
    position = at % len(seed)
    with contextlib.suppress(Unmapped, ValidationError):
        map_mail(seed[:position] + put + seed[position + cut :], MAILBOX, origin("mail"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=500))
def test_a_mail_of_any_bytes_never_breaks_anything(body: bytes) -> None:
    assert the_mail(ORIGINAL + DATE + b"\r\n" + body).mailbox == MAILBOX.address


def test_the_same_mail_in_two_mailboxes_is_one_interaction() -> None:
    raw = ORIGINAL + DATE + b"\r\nHello"
    anna = the_mail(b"Received: from x by y; Mon, 2 Mar 2026 09:00:05 +0100\r\n" + raw)
    max_ = the_mail(
        b"Received: from x by y; Mon, 2 Mar 2026 09:00:03 +0100\r\n" + raw, Mailbox("max@brightwell.example")
    )
    assert anna.interaction == max_.interaction
    assert anna.id != max_.id
    assert assemble([anna, max_]).occurred_at == datetime(2026, 3, 2, 8, 0, 3, tzinfo=UTC)


def test_a_forged_message_id_is_another_mail() -> None:
    forged = (ORIGINAL + DATE).replace(b"bob@", b"mallory@")
    assert the_mail(ORIGINAL + DATE + b"\r\nx").interaction != the_mail(forged + b"\r\nx").interaction


def test_without_a_message_id_the_words_are_part_of_the_identity() -> None:
    bare = ORIGINAL.replace(b"Message-ID: <1@acme.example>\r\n", b"") + DATE
    assert the_mail(bare + b"\r\none").interaction == the_mail(bare + b"\r\none").interaction
    assert the_mail(bare + b"\r\none").interaction != the_mail(bare + b"\r\ntwo").interaction


def test_a_mailbox_without_content_keeps_who_and_when_only() -> None:
    event = the_mail(ORIGINAL + DATE + b"Subject: s\r\n\r\nsecret", Mailbox(MAILBOX.address, content=False))
    assert event.title is None
    assert event.text is None
    assert event.parties


@pytest.mark.parametrize(
    "quoted",
    [
        "On Mon, Mar 2, 2026 at 9:00 AM Anna <a@b.example> wrote:\n> hi",
        "Am Mo., 2. März 2026 um 09:00 Uhr schrieb Anna <a@b.example>:\n> hallo",
        "El lun, 2 mar 2026 a las 9:00, Anna (<a@b.example>) escribió:\n> hola",
        "Em seg., 2 de mar. de 2026 às 09:00, Anna <a@b.example> escreveu:\n> olá",
        "-----Original Message-----\nFrom: Anna\nSent: x\nTo: y\nSubject: z\n\nhello",
        "-----Ursprüngliche Nachricht-----\nVon: A\nGesendet: Montag\nAn: B\nBetreff: C\n\nhallo",
    ],
)
def test_only_the_newest_words_are_kept(quoted: str) -> None:
    assert newest_reply(f"My own words.\n\n{quoted}\n") == "My own words."


def test_a_mail_that_only_forwards_keeps_its_words() -> None:
    assert newest_reply("On Mon, Mar 2, 2026 at 9:00 AM Anna <a@b.example> wrote:\n> hi") is not None


def test_ten_thousand_recipients_are_cut_to_a_thousand() -> None:
    many = b"Cc: " + b", ".join(b"p%d@acme.example" % number for number in range(10_000)) + b"\r\n"
    assert len(the_mail(ORIGINAL + DATE + many + b"\r\nx").parties) <= 1002
