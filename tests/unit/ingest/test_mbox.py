"""mbox files: every mail once, as it was, from wherever reading goes on."""

from __future__ import annotations

import io
import mailbox
from email.message import EmailMessage
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.mbox import split_mbox


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
    assert [letter.raw.split(b"<")[1].split(b"@")[0] for letter in letters] == [b"0", b"1", b"2", b"3"]
    assert b"From Monday 2026 we deliver" in letters[1].raw
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
