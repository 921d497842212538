"""A mail is read in bounded memory, however it comes in pieces, and reads the same without its attachments."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import tnefparse  # type: ignore[import-untyped]  # it is published without types
from msgspec.structs import replace

from contracts.ids import digest
from services.ingest.domain import mail_mime
from services.ingest.domain.mail_mime import MimeReader, ReadMail, read_mail
from services.ingest.domain.mapping import Unmapped
from services.ingest.sources.mail import map_mail
from services.ingest.sources.mail_message import Mail, payload_of, text_of_html
from services.ingest.sources.mail_sealed import signed_content
from services.ingest.sources.mail_tnef import read_tnef
from tests.unit.ingest.golden import FOLDER, MAILBOX, mails, origin, plain, told

RAWS = [path.read_bytes() for path in mails()]
HEAD = b"From: bob@acme.example\r\nTo: anna@brightwell.example\r\nMessage-ID: <1@acme.example>\r\n"


def in_pieces(raw: bytes, sizes: Iterator[int]) -> ReadMail:
    reader, position = MimeReader(), 0
    while position < len(raw):
        size = next(sizes)
        reader.feed(raw[position : position + size])
        position += size
    return reader.close()


def random_sizes(seed: int) -> Iterator[int]:
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    while True:
        yield chance.choice((1, 2, 3, 17, 400))


@pytest.mark.parametrize("raw", RAWS, ids=[path.stem for path in mails()])
def test_a_mail_reads_the_same_in_any_pieces_and_again_from_what_was_kept(raw: bytes) -> None:
    whole = read_mail(raw)
    assert whole.digest == digest(raw)
    assert whole.size == len(raw)
    for seed in range(3):
        pieces = in_pieces(raw, random_sizes(seed))
        assert pieces.kept == whole.kept
        assert [(part.kind, part.body) for part in pieces.root.leaves()] == [
            (part.kind, part.body) for part in whole.root.leaves()
        ]
    again = read_mail(whole.kept)
    assert again.kept == whole.kept
    said, said_again = (
        [event.model_dump(exclude={"revision"}) for event in told(map_mail(read, MAILBOX, origin("mail")))]
        for read in (whole, again)
    )
    assert said == said_again


def with_attachment(size: int) -> Iterator[bytes]:
    yield HEAD + b'Content-Type: multipart/mixed; boundary="m"\r\n\r\n--m\r\nContent-Type: text/plain\r\n\r\nHello\r\n'
    yield b"--m\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    line = b"JVBERi0xLjQKJVBERi0xLjQKJVBERi0xLjQKJVBERi0xLjQKJVBERi0xLjQKJVBERi0xLjQK\r\n" * 800
    for _ in range(size // len(line)):
        yield line
    yield b"--m\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\n--m--\r\n"


def test_of_fifty_megabytes_a_few_kilobytes_are_held() -> None:
    tracemalloc.start()
    try:
        reader = MimeReader()
        for chunk in with_attachment(50_000_000):
            reader.feed(chunk)
        read = reader.close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read.size > 49_000_000
    assert len(read.kept) < 1000
    assert peak < 1_000_000
    assert Mail(read).text == "Hello"
    assert Mail(read).calendars == [b"BEGIN:VCALENDAR"]


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 9_000_000,
        b"\r\n" * 4_000_000,
        b"--" * 4_000_000,
        b"--m\r\n" * 1_500_000,
        b"--m\r\nX: " + b"y" * 9_000_000,
        b"--m\r\n" + b"X-Header: y\r\n" * 200_000,
        b"--m\r\nContent-Type: message/rfc822\r\n\r\n" * 100_000,
        b"".join(b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (n, n + 1) for n in range(20_000)),
        b"".join(b"--m\r\nContent-Type: text/plain\r\n\r\n" + b"z" * 600_000 + b"\r\n" for _ in range(12)),
    ],
    ids=["one line", "blank lines", "dashes", "boundaries", "a long header", "headers", "mails", "depth", "texts"],
)
def test_hostile_structures_stay_within_bounds(body: bytes) -> None:
    read = read_mail(HEAD + b"Content-Type: multipart/mixed; boundary=m\r\n\r\n" + body)
    assert len(read.kept) < 4_000_000
    assert sum(1 for _ in read.root.leaves()) <= 501
    assert map_mail(read, MAILBOX, origin("mail")).events


@pytest.mark.parametrize(
    ("header", "piece"),
    [
        ("Content-Type", ":;"),
        ("Content-Disposition", 'attachment; a="'),
        ("Subject", "=?utf-8?q?a?= "),
        ("Subject", "- "),
        ("Keywords", "a,"),
        ("References", "<a"),
        ("Received", ";"),
    ],
)
def test_hostile_headers_take_no_longer_than_their_length(header: str, piece: str) -> None:
    # The bound is the time limit of the suite: what is quadratic takes minutes here.
    value = piece * (1_000_000 // len(piece))
    raw = f"From: bob@acme.example\r\nAuto-Submitted: auto-replied\r\n{header}: {value}\r\n\r\nHello".encode()
    assert map_mail(raw, MAILBOX, origin("mail")).events


def test_a_body_beyond_its_limit_is_cut_at_the_same_place_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in range(95, 106):
        monkeypatch.setitem(mail_mime._LIMITS, "text/plain", limit)  # noqa: SLF001 - a limit that is quickly reached
        for ending in (b"\r\n", b"\n"):
            body = (b"0123456789" * 3 + ending) * 5
            head = HEAD + b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/plain\r\n\r\n"
            first = read_mail(head + body + b"--m--\r\n")
            again = read_mail(first.kept)
            assert again.kept == first.kept
            assert [part.body for part in again.root.leaves()] == [part.body for part in first.root.leaves()]


def envelope(name: str) -> bytes:
    return next(
        payload_of(part)
        for part in read_mail((FOLDER / "mail" / f"{name}.eml").read_bytes()).root.leaves()
        if part.end - part.start > 100
    )


def test_winmail_dat_reads_as_another_reader_reads_it() -> None:
    data = envelope("winmail_dat")
    ours, theirs = read_tnef(data), tnefparse.TNEF(data)
    assert ours is not None
    assert ours.text == theirs.body.rstrip("\x00") if isinstance(theirs.body, str) else theirs.body
    assert ours.message_class == "IPM.Note"
    assert not ours.is_calendar


def test_counts_in_winmail_dat_are_not_believed() -> None:
    data = bytearray(envelope("winmail_dat"))
    for place in range(len(data) - 4):
        changed = bytes(data[:place]) + struct.pack("<I", 0xFFFFFFFF) + bytes(data[place + 4 :])
        read_tnef(changed)
        read_tnef(bytes(data[:place]))


def test_a_signed_envelope_is_read_in_both_ways_to_write_one_and_any_other_bytes_are_none() -> None:
    der = envelope("smime_opaque_signed")
    content = signed_content(der)
    assert content is not None
    assert b"We take ten, signed." in content
    # As OpenSSL writes while it reads: lengths unknown, content in pieces.
    pieces = b"".join(b"\x04\x03" + content[at : at + 3] for at in range(0, 30, 3))
    version_and_digests = b"\x02\x01\x01\x31\x00"
    data = bytes.fromhex("06092a864886f70d010701")
    signed = bytes.fromhex("06092a864886f70d010702")
    streamed = (
        b"\x30\x80" + signed + b"\xa0\x80\x30\x80" + version_and_digests + b"\x30\x80" + data
        + b"\xa0\x80\x24\x80" + pieces + b"\x00\x00" * 7
    )  # fmt: skip
    assert signed_content(streamed) == content[:30]
    chance = random.Random(3)  # noqa: S311 - the same in every run
    for _ in range(500):
        changed = bytearray(der)
        changed[chance.randrange(80)] = chance.randrange(256)
        signed_content(bytes(changed))
        signed_content(bytes(der[: chance.randrange(100)]))


def test_ten_thousand_recipients_are_all_looked_at_and_those_whom_it_concerns_are_kept() -> None:
    colleagues = b", ".join(b"p%d@brightwell.example" % number for number in range(9_998))
    raw = HEAD.replace(b"bob@acme", b"max@brightwell") + b"Cc: " + colleagues + b", erin@acme.example\r\n\r\nHello"
    (event,) = told(map_mail(raw, MAILBOX, origin("mail")))
    addresses = {party.identities[0].value for party in event.parties}
    assert len(event.parties) == 1000
    assert {"max@brightwell.example", "anna@brightwell.example", "erin@acme.example"} <= addresses


def test_deep_html_is_read_without_walking_it() -> None:
    for tag in ("<div>", "<b>", "<blockquote>", "<table><tr><td>", "<a "):
        text_of_html(tag * 20_000 + "hello")
    assert text_of_html("<div>" * 10_000 + "hello") == "hello"


def test_a_mail_of_nobody_is_not_understood() -> None:
    for raw in (b"", b"\r\n", b"no mail", b"From: nobody\r\n\r\nHello", b"\x00" * 1000):
        with pytest.raises(Unmapped, match="no_sender"):
            map_mail(raw, MAILBOX, origin("mail"))


def test_which_report_it_is_does_not_depend_on_when_it_came() -> None:
    for raw in RAWS:
        early, late = (
            plain(map_mail(raw, MAILBOX, replace(origin("mail"), received_at=datetime(2026, 3, day, tzinfo=UTC))))
            for day in (10, 12)
        )
        if isinstance(early, list):
            assert [(one["id"], one["revision"]) for one in early] == [(one["id"], one["revision"]) for one in late]
