"""mbox files: every mail once, as it was, from wherever reading goes on."""

from __future__ import annotations

import io
import mailbox
import tracemalloc
from email.message import EmailMessage
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.mail_mime import MimeReader, ReadMail
from services.ingest.domain.mbox import MOST_HELD, read_mail, split_mbox


def written(path: Path, texts: list[str]) -> bytes:
    """A file as Python's own library writes it."""
    box = mailbox.mbox(path)
    for number, text in enumerate(texts):
        mail = EmailMessage()
        mail["From"] = "bob@acme.example"
        mail["Message-ID"] = f"<{number}@acme.example>"
        mail.set_content(text)
        box.add(mail)
    box.close()
    return path.read_bytes()


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_every_mail_is_there_once_with_its_text(tmp_path: Path, ends: bytes) -> None:
    texts = ["Hello", "From here on\n\nFrom Monday 2026 we deliver\n>From me", "", "last"]
    content = written(tmp_path / "box", texts).replace(b"\n", ends)
    letters = list(split_mbox(io.BytesIO(content)))
    mails = [letter.mail for letter in letters if isinstance(letter.mail, bytes)]
    assert [mail.split(b"<")[1].split(b"@")[0] for mail in mails] == [b"0", b"1", b"2", b"3"]
    assert b"From Monday 2026 we deliver" in mails[1]
    assert letters[-1].end == len(content)
    for before, after in pairwise(letters):
        assert next(split_mbox(io.BytesIO(content), before.end)) == after


@given(st.binary(max_size=400))
def test_any_bytes_are_read_to_their_end(content: bytes) -> None:
    head = b"From bob@acme.example Mon Mar  2 09:30:00 2026\nFrom: bob@acme.example\n\n"
    letters = list(split_mbox(io.BytesIO(head + content)))
    assert letters[-1].end == len(head + content)
    assert all(one.start < one.end for one in letters)


def test_a_file_that_is_no_mbox_holds_no_mail() -> None:
    assert list(split_mbox(io.BytesIO(b"Subject: x\n\nFrom 2026 on\n"))) == []


class Endless(io.RawIOBase):
    """A file with one mail whose attachment has so many bytes, which are never in memory."""

    def __init__(self, size: int) -> None:
        self._head = (
            b"From bob@acme.example Mon Mar  2 09:30:00 2026\nFrom: bob@acme.example\nMessage-ID: <1@acme.example>\n"
            b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n--b\n"
            b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n"
        )
        self._line = b"QUJD" * 19 + b"\n"
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        """It can be."""
        return True

    def seekable(self) -> bool:
        """To its beginning."""
        return True

    def seek(self, place: int, whence: int = 0) -> int:
        """Stay at the beginning."""
        assert (place, whence) == (0, 0)
        return 0

    def readinto(self, buffer: Any) -> int:
        """Write the next bytes."""
        left = self._size - self._place
        if left <= 0:
            return 0
        source = self._head if self._place == 0 else self._line
        taken = source[: min(len(buffer), left)]
        buffer[: len(taken)] = taken
        self._place += len(taken)
        return len(taken)


def test_of_a_mail_of_any_size_a_few_megabytes_are_held() -> None:
    size = 24 * 1024 * 1024
    tracemalloc.start()
    try:
        [letter] = list(split_mbox(cast("IO[bytes]", io.BufferedReader(Endless(size)))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    assert letter.end == size
    assert isinstance(letter.mail, ReadMail)
    assert b"Hello" in letter.mail.kept
    assert letter.mail.size == size - len(b"From bob@acme.example Mon Mar  2 09:30:00 2026\n")


@pytest.mark.parametrize("more", [0, 1])
def test_a_mail_reads_the_same_however_large_it_has_to_be_to_be_held(more: int) -> None:
    text = b"From: bob@acme.example\n\n" + b"x" * (MOST_HELD - 24 + more)
    whole = MimeReader()
    whole.feed(text)
    [letter] = split_mbox(io.BytesIO(b"From bob@acme.example Mon Mar  2 09:30:00 2026\n" + text))
    single = read_mail(io.BytesIO(text))
    for mail in (letter.mail, single):
        assert isinstance(mail, ReadMail) == bool(more)
        if isinstance(mail, ReadMail):
            assert (mail.digest, mail.kept) == (whole.close().digest, whole.close().kept)
        else:
            assert mail == text
