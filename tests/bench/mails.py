"""Reading mail: an mbox of ten thousand, mapped to what it says, against the standard library that only parses it.

The file is as mailboxes are: short answers with what they quote, HTML, a few long threads, attachments on every tenth,
out-of-office replies, newsletters, invitations, bounces, and every thousandth mail carries ten megabytes.
"""

from __future__ import annotations

import base64
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import compat32
from pathlib import Path
from typing import IO, Any

import psutil

from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Origin
from services.ingest.domain.mbox import split_mbox
from services.ingest.sources.mail import Mailbox, map_mail
from tests.bench.figures import Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground

MAILS = 10_000
THROUGHPUT = Figure("mails", "an mbox of 10,000 mails, mapped to what they say", "parsing it with the standard library")
MEMORY = Figure("mails-memory", "memory at most, over the first 2,500 of these mails", "over all of them", first=0.9)
_NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
_QUOTED = "On Fri, Feb 27, 2026 at 4:00 PM Anna Brandt <anna@brightwell.example> wrote:\n"
_LARGE_EVERY = 1000
_KINDS = ("plain", "reply", "html", "attachment", "away", "newsletter", "invitation", "bounce", "thread", "reply")


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """One process each; the end state is how many of each kind there are."""

    def run(mails: int, *, mapped: bool) -> dict[str, Any]:
        return ground.apart("tests.bench.mails:job", mails=mails, mapped=mapped)

    def rate(*, mapped: bool) -> float:
        return float(run(MAILS, mapped=mapped)["per_second"])

    rates = alternate(plan.rounds, step, parsing=lambda: rate(mapped=False), mapping=lambda: rate(mapped=True))
    step("memory")
    few, all_of_them = (float(run(mails, mapped=True)["resident"]) for mails in (MAILS // 4, MAILS))
    mebibyte = 2**20
    note = f"{few / mebibyte:.0f} MiB at most over the first quarter, {all_of_them / mebibyte:.0f} MiB over all"
    return [
        compare(THROUGHPUT, rates["mapping"], rates["parsing"]),
        Measured(MEMORY, (few / all_of_them,), {}, note),
    ]


async def job(*, mails: int, mapped: bool) -> dict[str, Any]:
    """Mails a second, and the most memory that the process had; raises CheckFailed for another end state."""
    with tempfile.TemporaryDirectory(prefix="tenure-mails-") as folder:
        path = Path(folder) / "mbox"
        write_mbox(path, mails)
        found: Counter[str] = Counter()
        origin = Origin("bench", "mail", Directory(["brightwell.example"]), _NOW)
        mailbox = Mailbox("anna@brightwell.example")
        before = psutil.Process().memory_info().rss
        began = time.perf_counter()
        with path.open("rb") as stream:
            if not mapped:
                for mail in _split(stream):
                    message_from_bytes(mail, policy=compat32)
                    found["parsed"] += 1
            for letter in split_mbox(stream) if mapped else ():
                for event in map_mail(letter.mail, mailbox, origin).events:
                    found[getattr(event, "automatic", None) or event.TYPE] += 1
        seconds = time.perf_counter() - began
    expect("mails", dict(found), _expected(mails) if mapped else {"parsed": mails})
    return {"per_second": mails / seconds, "resident": most_memory(), "before": before}


def most_memory() -> int:
    """The most memory, in bytes, that this process has had since its program was loaded."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` would count what the process that started this one had until then.
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _split(stream: IO[bytes]) -> Iterator[bytes]:
    """The mails of an mbox, each held whole: what one would write for a parser that reads nothing else."""
    lines: list[bytes] = []
    for line in stream:
        if line.startswith(b"From "):
            if lines:
                yield b"".join(lines)
            lines = []
        else:
            lines.append(line.removeprefix(b">") if line.startswith(b">From ") else line)
    yield b"".join(lines)


def _expected(mails: int) -> dict[str, int]:
    each = Counter(_KINDS[number % len(_KINDS)] for number in range(mails))
    by_hand = sum(each[kind] for kind in ("plain", "reply", "html", "attachment", "thread"))
    return {
        "tenure.email.received.v1": by_hand,
        "out_of_office": each["away"],
        "newsletter": each["newsletter"],
        "calendar": each["invitation"],
        "bounce": each["bounce"],
        "tenure.contact.bounced.v1": each["bounce"],
    }


def write_mbox(path: Path, mails: int) -> None:
    """Writes so many mails, the same ones each time."""
    chance = random.Random(7)  # noqa: S311 - the same mails in every run
    with path.open("wb") as stream:
        for number in range(mails):
            stream.write(b"From bob@acme.example Mon Mar  2 09:30:05 2026\n")
            for piece in _mail(number, chance):
                stream.write(piece.encode().replace(b"\nFrom ", b"\n>From "))
            stream.write(b"\n")


def _mail(number: int, chance: random.Random) -> Iterator[str]:
    kind = _KINDS[number % len(_KINDS)]
    words = " ".join(chance.choice(("sensors", "Lieferung", "l'offre", "März", "ten", "factura")) for _ in range(60))
    sender = (
        "Mailer-Daemon <mailer-daemon@mx.acme.example>"
        if kind == "bounce"
        else f"Bob Møller <bob{number % 97}@acme.example>"
    )
    yield (
        "Received: from mx.acme.example by mx.brightwell.example; Mon, 2 Mar 2026 09:30:05 +0100\n"
        f"From: {sender}\nTo: Anna Brandt <anna@brightwell.example>, max@brightwell.example\n"
        f"Subject: {'Automatic reply: ' if kind == 'away' else ''}=?utf-8?q?Angebot_f=C3=BCr_M=C3=A4rz?= {number}\n"
        f"Date: Mon, 2 Mar 2026 09:29:{number % 60:02} +0100\nMessage-ID: <{number}@acme.example>\nMIME-Version: 1.0\n"
    )
    yield from _BODIES[kind](words, number)


def _plain(words: str, _number: int) -> Iterator[str]:
    yield f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nHello Anna,\n\n{words}\n\nBob\n"


def _reply(words: str, number: int) -> Iterator[str]:
    yield f"References: <{number - 1}@acme.example>\nContent-Type: text/plain; charset=utf-8\n\n{words}\n\n{_QUOTED}"
    yield "".join(f"> {words}\n" for _ in range(5))


def _thread(words: str, number: int) -> Iterator[str]:
    yield f"References: {' '.join(f'<{number - back}@acme.example>' for back in range(60, 0, -1))}\n"
    yield f"Content-Type: text/plain; charset=utf-8\n\n{words}\n\n"
    for level in range(1, 30):
        yield "> " * level + _QUOTED + "".join("> " * (level + 1) + words + "\n" for _ in range(4))


def _html(words: str, _number: int) -> Iterator[str]:
    quoted = f'<div class="gmail_quote">{_QUOTED}<blockquote>{words * 4}</blockquote></div>'
    yield "Content-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/html; charset=utf-8\n\n"
    yield f"<html><body><p>{words}</p>{'<table><tr><td>x</td></tr></table>' * 20}{quoted}</body></html>\n--a--\n"


def _attachment(words: str, number: int) -> Iterator[str]:
    size = 10_000_000 if number % _LARGE_EVERY == 3 else 30_000
    content = base64.encodebytes(number.to_bytes(4, "big") * (size // 4)).decode()
    yield f"Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: text/plain; charset=utf-8\n\n{words}\n"
    yield f"--m\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n{content}--m--\n"


def _away(_words: str, _number: int) -> Iterator[str]:
    yield "Auto-Submitted: auto-replied\nContent-Type: text/plain; charset=utf-8\n\n"
    yield "I am out of office until 15 March 2026.\n"


def _newsletter(words: str, _number: int) -> Iterator[str]:
    yield f"List-Unsubscribe: <mailto:u@acme.example>\nContent-Type: text/html\n\n<p>{words * 10}</p>\n"


def _invitation(_words: str, number: int) -> Iterator[str]:
    yield "Content-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\nReview\n--c\n"
    yield "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\n"
    yield f"UID:{number}@acme.example\nDTSTAMP:20260302T080000Z\nDTSTART:20260305T090000Z\nSUMMARY:Review\n"
    yield "ORGANIZER:mailto:bob@acme.example\nATTENDEE:mailto:anna@brightwell.example\n"
    yield "END:VEVENT\nEND:VCALENDAR\n--c--\n"


def _bounce(_words: str, number: int) -> Iterator[str]:
    yield "Return-Path: <>\nContent-Type: multipart/report; report-type=delivery-status; boundary=d\n\n"
    yield "--d\n\nSorry.\n--d\n"
    yield "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx.acme.example\n\n"
    yield f"Final-Recipient: rfc822; gone{number}@acme.example\nAction: failed\nStatus: 5.1.1\n\n--d\n"
    yield f"Content-Type: message/rfc822\n\nMessage-ID: <offer-{number}@brightwell.example>\n\nx\n--d--\n"


_BODIES = {
    "plain": _plain,
    "reply": _reply,
    "thread": _thread,
    "html": _html,
    "attachment": _attachment,
    "away": _away,
    "newsletter": _newsletter,
    "invitation": _invitation,
    "bounce": _bounce,
}
