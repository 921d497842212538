"""Mutated mails: whatever is done to one, it becomes events or is not understood, and what must not be kept is not.

`TENURE_TEST_FUZZ=100000` mutates for as long as one likes; the same mutations come in every run.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import orjson
import pytest
from pydantic import ValidationError

from contracts.codec import encode
from contracts.events import Event
from contracts.standins import model_of
from services.ingest.domain.mail_mime import read_mail
from services.ingest.domain.mapping import Mapped, Unmapped
from services.ingest.sources.mail import map_mail
from tests.unit.ingest.golden import MAILBOX, mails, origin

ROUNDS = int(os.environ.get("TENURE_TEST_FUZZ", "200"))
RAWS = [path.read_bytes() for path in mails()]
SECRET_MAILBOX = replace(MAILBOX, content=False)
# What breaks readers: ends of everything, half of everything, and what means something elsewhere.
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"--", b"--b\r\n", b"--b--\r\n", b'"', b"<", b">", b"@", b";"),
    *(b"=?", b"?=", b"=?utf-8?b?", b"=?utf-7?q?+AGE-?=", b"=", b"=\r\n", b"%", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2"),
    *(b"Content-Type: multipart/mixed; boundary=b\r\n", b"Content-Type: text/html\r\n", b"charset=utf-16"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: message/rfc822\r\n\r\n", b"Date: 99 Foo 99999\r\n"),
    *(b"From: x\r\n", b"Message-ID: <>\r\n", b"References: <a@b> <", b"boundary*0=b; boundary*1=c", b"charset=idna"),
    *(b"Auto-Submitted: auto-replied\r\n", b"Content-Type: application/ms-tnef\r\n", b"X-MS-Journal-Report:\r\n"),
    *(b"Sensitivity: private\r\n", b",", b" " * 500),
)


def mutated(chance: random.Random) -> bytes:
    """A golden mail with some things done to it."""
    raw = bytearray(chance.choice(RAWS))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        place = chance.randrange(len(raw) + 1)
        match chance.randrange(6):
            case 0:
                raw[place : place + chance.randrange(80)] = b""
            case 1:
                raw[place:place] = chance.choice(PIECES)
            case 2:
                raw[place : place + 1] = bytes([chance.randrange(256)])
            case 3:
                other = chance.choice(RAWS)
                begin = chance.randrange(len(other))
                raw[place:place] = other[begin : begin + chance.randrange(400)]
            case 4:
                lines = bytes(raw).split(b"\r\n")
                chance.shuffle(lines)
                raw = bytearray(b"\r\n".join(lines))
            case _:
                raw = bytearray(raw[:place] + raw[place : place + 60] * chance.choice((2, 50)) + raw[place:])
    return bytes(raw)


def mapped(raw: bytes, *, content: bool) -> Mapped:
    try:
        return map_mail(raw, MAILBOX if content else SECRET_MAILBOX, origin("mail"))
    except (Unmapped, ValidationError):
        return Mapped(ignored="not_understood")


def test_a_mutated_mail_is_understood_or_not_and_nothing_else_happens() -> None:
    chance = random.Random("mails")  # noqa: S311 - the same in every run
    for _ in range(ROUNDS):
        raw = mutated(chance)
        found = mapped(raw, content=True)
        for event in found.events:
            assert encode(model_of(event))
        read = read_mail(raw)
        assert read_mail(read.kept).kept == read.kept


def test_of_a_mutated_mail_nothing_is_kept_where_nothing_may_be() -> None:
    chance = random.Random("secrets")  # noqa: S311 - the same in every run
    for _ in range(ROUNDS // 2):
        assert_bare(mapped(mutated(chance), content=False))


@pytest.mark.parametrize("raw", RAWS, ids=[path.stem for path in mails()])
def test_words_of_a_mailbox_without_content_go_nowhere(raw: bytes) -> None:
    canary = b"canary7"
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = [line + b" " + canary if line.lower().startswith(b"subject:") else line for line in head.split(b"\r\n")]
    marked = b"\r\n".join(lines) + b"\r\n\r\n" + body.replace(b" ", b" " + canary + b" ")
    found = mapped(marked, content=False)
    assert_bare(found)
    assert canary not in b"".join(map(encode, map(model_of, found.events)))
    found = mapped(raw.replace(b"SUMMARY:", b"SUMMARY:" + canary), content=False)
    assert canary not in orjson.dumps([repr(notice) for notice in found.notices])


def assert_bare(found: Mapped) -> None:
    for event in found.events:
        stated: Event = model_of(event)
        assert stated.title is None
        assert stated.text is None
        assert getattr(stated, "away_until", None) is None
    for notice in found.notices:
        assert "SUMMARY" not in notice.body
        assert "DESCRIPTION" not in notice.body
