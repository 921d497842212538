"""A mail may be broken in any way: it becomes an event or is passed on raw, and nothing else ever happens."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import ValidationError

from contracts.events import EmailReceived
from contracts.interactions import assemble
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.options import MailOptions
from services.ingest.domain.privacy import PrivacyRule, Rules
from services.ingest.sources.mail import Mailbox, map_mail
from services.ingest.sources.mail_reply import newest_reply
from tests.unit.ingest.golden import MAILBOX, mails, origin, told

ORIGINAL = b"From: bob@acme.example\r\nTo: anna@brightwell.example\r\nMessage-ID: <1@acme.example>\r\n"
DATE = b"Date: Mon, 2 Mar 2026 09:00:00 +0100\r\n"
SEEDS = [path.read_bytes() for path in mails()]


def the_mail(raw: bytes, mailbox: Mailbox = MAILBOX) -> EmailReceived:
    event = told(map_mail(raw, mailbox, origin("mail")))[0]
    assert isinstance(event, EmailReceived)
    return event


@settings(max_examples=400)
@given(st.sampled_from(SEEDS), st.integers(0, 10_000), st.binary(max_size=40), st.integers(0, 200))
def test_a_mail_with_bytes_cut_out_and_put_in_never_breaks_anything(seed: bytes, at: int, put: bytes, cut: int) -> None:
    position = at % len(seed)
    with contextlib.suppress(Unmapped, ValidationError):
        map_mail(seed[:position] + put + seed[position + cut :], MAILBOX, origin("mail"))


@settings(max_examples=300)
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


def golden(name: str) -> bytes:
    return next(path.read_bytes() for path in mails() if path.stem == name)


def test_a_rewritten_copy_is_the_same_mail_only_if_it_carries_the_original_id() -> None:
    rewritten = golden("rewritten_by_ses")
    sent = rewritten.replace(b"<0102018e-rewritten@eu-west-1.amazonses.com>", b"<offer-42@brightwell.example>")
    sent = sent.replace(b"X-Original-Message-ID: <offer-42@brightwell.example>\r\n", b"")
    without = rewritten.replace(b"X-Original-Message-ID: <offer-42@brightwell.example>\r\n", b"")
    one, same, other = (
        map_mail(raw, MAILBOX, origin("mail")).events[0].interaction for raw in (sent, rewritten, without)
    )
    assert one == same
    assert one != other


def test_a_mail_that_a_group_sent_on_under_its_own_name_is_the_one_that_came_directly() -> None:
    through = the_mail(golden("through_a_group_that_rewrites_from"))
    direct = the_mail(golden("through_our_own_list"))
    assert through.interaction == direct.interaction
    assert through.direction == "in"


def test_what_a_mailbox_at_a_free_mail_provider_sends_is_ours() -> None:
    raw = (ORIGINAL + DATE).replace(b"bob@acme.example", b"Anna.Brandt+x@gmail.com").replace(b"anna@b", b"bob@b")
    raw = raw.replace(b"bob@brightwell.example", b"bob@acme.example") + b"\r\nHello"
    assert the_mail(raw).direction == "in"
    alias = Mailbox(MAILBOX.address, aliases=frozenset({"anna.brandt@gmail.com"}))
    directory = Directory(["brightwell.example"], own_addresses=["anna.brandt@gmail.com"])
    by_alias = map_mail(raw, alias, origin("mail")).events[0]
    by_directory = map_mail(raw, MAILBOX, replace(origin("mail"), directory=directory)).events[0]
    for event in (by_alias, by_directory):
        assert event.TYPE == "tenure.email.sent.v1"
        assert [party.ours for party in event.parties] == [True, False]


@pytest.mark.parametrize(("excerpt", "text"), [(20_000, "Our own words"), (3, "Our"), (4, "Our"), (0, None)])
def test_of_a_text_no_more_is_kept_than_the_mailbox_says(excerpt: int, text: str | None) -> None:
    event = the_mail(ORIGINAL + DATE + b"Subject: s\r\n\r\nOur own words", Mailbox(MAILBOX.address, excerpt=excerpt))
    assert event.title == "s"
    assert event.text == text


def test_the_options_of_a_mailbox_are_the_mailbox() -> None:
    options = MailOptions(mailbox="a@b.example", content=False, internal=True, aliases=("c@d.example",), excerpt=5)
    expected = Mailbox("a@b.example", content=False, internal=True, aliases=frozenset({"c@d.example"}), excerpt=5)
    assert Mailbox.of(options) == expected


@pytest.mark.parametrize("status", ["5.1.1", "5.0.0", "5.4.310", "5.2.1"])
def test_what_says_that_nobody_is_there_bounces_a_contact(status: str) -> None:
    events = map_mail(golden("bounce").replace(b"5.1.1", status.encode()), MAILBOX, origin("mail")).events
    assert [event.TYPE for event in events[1:]] == ["tenure.contact.bounced.v1"]


@pytest.mark.parametrize("status", ["5.2.2", "5.3.4", "5.7.1", "5.6.0", "4.1.1", "2.0.0"])
def test_what_is_wrong_with_the_mail_or_for_now_bounces_nobody(status: str) -> None:
    assert len(map_mail(golden("bounce").replace(b"5.1.1", status.encode()), MAILBOX, origin("mail")).events) == 1


def test_a_notification_belongs_to_the_mail_that_it_gives_back() -> None:
    event = the_mail(golden("bounce_that_gives_headers_back"))
    assert "<offer-42@brightwell.example>" in {reference.value for reference in event.references}


def test_of_two_hundred_references_the_first_and_the_last_are_kept() -> None:
    ids = [f"<{number}@acme.example>" for number in range(200)]
    event = the_mail(ORIGINAL + DATE + f"References: {' '.join(ids)}\r\n\r\nx".encode())
    found = [one.value for one in event.references]
    assert found[0] == ids[0]
    assert set(ids[-90:]) < set(found)
    assert len(found) == 100


def test_an_invitation_says_whom_one_will_meet_and_without_content_not_why() -> None:
    raw = golden("invitation_with_a_calendar")
    (notice,) = map_mail(raw, MAILBOX, origin("mail")).notices
    assert "Review" in notice.body
    (bare,) = map_mail(raw, Mailbox(MAILBOX.address, content=False), origin("mail")).notices
    assert bare.uid == notice.uid
    assert "Review" not in bare.body


def test_a_mail_that_a_privacy_rule_leaves_out_is_counted_and_nothing_else() -> None:
    rules = Rules((PrivacyRule(name="lawyers", domains=("acme.example",)),))
    mapped = map_mail(ORIGINAL + DATE + b"\r\nx", MAILBOX, replace(origin("mail"), privacy=rules))
    assert (mapped.events, mapped.ignored) == ((), "privacy:lawyers")
