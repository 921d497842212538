"""Bodies with whole mails in them are cut down as they come, in bounded memory, and say what they said."""

from __future__ import annotations

import json
import random
import time
from urllib.parse import parse_qs, urlencode

import pytest

from services.ingest.doors import bodies, trimming
from services.ingest.doors.trimming import JsonTrimmer, MultipartTrimmer, Trimmer, UrlencodedTrimmer, trimmer_of
from services.ingest.verify import SchemeName, Unverified, read_key, sign
from services.ingest.verify.streamed import StreamedProof
from tests.unit.ingest.golden import webhooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def cut(trimmer: Trimmer, body: bytes) -> bytes:
    for start in range(0, len(body), 65536):
        trimmer.feed(body[start : start + 65536])
    return trimmer.close()


def test_json_without_long_strings_comes_out_as_it_went_in() -> None:
    chance = random.Random(2)  # noqa: S311 - the same in every run
    for path in webhooks():
        for ascii_only in (True, False):
            body = json.dumps(json.loads(path.read_bytes()), ensure_ascii=ascii_only).encode()
            trimmer, position = JsonTrimmer(), 0
            while position < len(body):
                size = chance.randrange(1, 200)
                trimmer.feed(body[position : position + size])
                position += size
            assert trimmer.close() == body


@pytest.mark.parametrize("filler", ["x", "ä", "€", "😀", '\\"', "\n", "\x01", "\\"])
@pytest.mark.parametrize("shift", range(7))
def test_a_long_string_is_cut_and_the_rest_stays_json(filler: str, shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "_LONGEST_STRING", 100)
    value = {"a": "y" * shift + filler * 500, "b": [1, "kept"]}
    for ascii_only in (True, False):
        body = json.dumps(value, ensure_ascii=ascii_only).encode()
        for step in (1, 7, 4096):
            trimmer = JsonTrimmer()
            for start in range(0, len(body), step):
                trimmer.feed(body[start : start + step])
            left = json.loads(trimmer.close())
            assert left["b"] == [1, "kept"]
            assert str(value["a"]).startswith(left["a"].rstrip("\ud83d"))
            assert 1 < len(left["a"]) <= 101


def test_of_many_long_strings_each_keeps_its_beginning() -> None:
    body = json.dumps({"Attachments": [{"Content": "A" * 1_500_000} for _ in range(10)], "Subject": "s"}).encode()
    left = cut(JsonTrimmer(), body)
    assert len(left) < trimming.MOST_HELD
    assert len(json.loads(left)["Attachments"][-1]["Content"]) >= 4096
    assert json.loads(left)["Subject"] == "s"


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(trimming.TooMuch):
        cut(JsonTrimmer(), b"[" * (trimming.MOST_HELD + 1))


def multipart(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return body + b"--b--\r\n"


@pytest.mark.parametrize("step", [1, 13, 65536])
def test_files_of_a_form_are_emptied_and_its_fields_stay(step: int) -> None:
    body = multipart(
        ('name="subject"', "Grüße".encode("latin-1")),
        ('name="attachment1"; filename="a.pdf"\r\nContent-Type: application/pdf', b"%PDF" * 1000),
        ('name="attachment2"; filename="i.ics"\r\nContent-Type: text/calendar', b"BEGIN:VCALENDAR"),
        ('name="charsets"', b"{}"),
    )
    trimmer = trimmer_of({"content-type": "multipart/form-data; boundary=b"})
    for start in range(0, len(body), step):
        trimmer.feed(body[start : start + step])
    read = bodies.read("multipart/form-data", "multipart/form-data; boundary=b", trimmer.close())
    assert read.payload == {"subject": "Gr\udcfc\udcdfe", "charsets": "{}"}
    assert read.files == {"attachment1": b"", "attachment2": b"BEGIN:VCALENDAR"}


def test_a_whole_mail_in_a_form_loses_its_attachments_only() -> None:
    mail = (
        b'From: a@b.example\r\nContent-Type: multipart/mixed; boundary="m"\r\n\r\n'
        b"--m\r\nContent-Type: application/pdf\r\n\r\n"
        + b"JVBERi0xLjQK\r\n" * 500_000
        + b"--m\r\nContent-Type: text/plain\r\n\r\nHello\r\n--m--\r\n"
    )
    left = cut(MultipartTrimmer(b"b"), multipart(('name="email"', mail)))
    assert len(left) < 1000
    assert b"Hello" in left


@pytest.mark.parametrize(
    "body", [b"", b"no form", multipart(('name="a"', b"x"))[:-4], b"--b\r\nbad header\r\n\r\nx\r\n--b--\r\n"]
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(bodies.UnreadableForm):
        cut(MultipartTrimmer(b"b"), body)


def test_long_values_of_a_urlencoded_form_are_cut_between_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in range(90, 100):
        monkeypatch.setattr(trimming, "_LONGEST_STRING", most)
        body = urlencode({"body-mime": "ü%&=" * 100, "token": "t"}).encode()
        left = parse_qs(cut(UrlencodedTrimmer(), body).decode(), errors="strict" if most % 2 else "replace")
        assert left["token"] == ["t"]


def prove(key: bytes, headers: dict[str, str], body: bytes) -> None:
    proof = StreamedProof([key], headers)
    proof.feed(body)
    proof.check()


def test_the_streamed_proof_is_the_same_as_the_whole_one() -> None:
    chance = random.Random(1)  # noqa: S311 - the same in every run
    key = read_key(SchemeName.STANDARD_WEBHOOKS, SECRET)
    body = b"From: a@b.example\r\n\r\nHello"
    headers = sign(SchemeName.STANDARD_WEBHOOKS, SECRET, body, identifier="m1")
    proof = StreamedProof([b"another", key], headers)
    for byte in body:
        proof.feed(bytes([byte]))
    proof.check()
    for _ in range(500):
        name = chance.choice([*headers, "body"])
        said = dict(headers)
        sent = bytearray(body)
        if name == "body":
            sent[chance.randrange(len(sent))] ^= 1 << chance.randrange(8)
        else:
            place = chance.randrange(len(said[name]))
            said[name] = said[name][:place] + chr(ord(said[name][place]) ^ 1) + said[name][place + 1 :]
        with pytest.raises(Unverified):
            prove(key, said, bytes(sent))
    for late in (-301, 301):
        with pytest.raises(Unverified, match="stale"):
            StreamedProof([key], headers, now=time.time() + late)
    with pytest.raises(Unverified, match="missing_signature"):
        StreamedProof([key], {})
