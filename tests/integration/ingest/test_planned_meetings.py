"""Meetings that calendars announce are published when they have begun: from a real CalDAV server, and from mail."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import orjson
import pytest

from contracts.events import Event, InteractionWithdrawn, MeetingHeld
from deploy.local.processes import ProcessRecord, free_port, spawn, stop, wait_until
from services.ingest.verify import SchemeName
from services.runtime import failpoints
from services.runtime.clock import write_moment
from tests.integration.ingest.conftest import Ingest, StartIngest

LOGIN = ("anna", "calendar-password")
PEOPLE = "ORGANIZER:mailto:anna@brightwell.example\r\nATTENDEE;CN=Bob:mailto:bob@acme.example\r\n"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Calendar:
    """A calendar on a CalDAV server (Radicale) in a process of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "users").write_text(":".join(LOGIN))
        port = free_port()
        options = {
            "--server-hosts": f"127.0.0.1:{port}",
            "--auth-type": "htpasswd",
            "--auth-htpasswd-filename": str(folder / "users"),
            "--auth-htpasswd-encryption": "plain",
            "--storage-filesystem-folder": str(folder / "storage"),
        }
        program = f"from radicale.__main__ import run; run()  # {folder}"
        arguments = [each for pair in options.items() for each in pair]
        self.url = f"http://127.0.0.1:{port}/anna/customers/"
        log = folder / "radicale.log"
        self._record: ProcessRecord = spawn([sys.executable, "-c", program, *arguments], mark=str(folder), log=log)
        wait_until(self._answers, record=self._record, what="The CalDAV server", log=log)
        self._ask("MKCALENDAR", self.url)

    def stop(self) -> None:
        """Ends the server."""
        stop(self._record, patience=5)

    def put(self, name: str, times: str, *, sequence: int = 0, more: str = PEOPLE) -> None:
        """Puts an entry in, or changes it."""
        self._ask("PUT", f"{self.url}{name}.ics", content=invitation(name, times, sequence=sequence, more=more))

    def delete(self, name: str) -> None:
        """Takes an entry out."""
        self._ask("DELETE", f"{self.url}{name}.ics")

    def _answers(self) -> bool:
        try:
            return httpx2.get(self.url, auth=LOGIN).status_code > 0
        except httpx2.HTTPError:
            return False

    def _ask(self, method: str, url: str, **more: Any) -> None:
        httpx2.request(method, url, auth=LOGIN, headers={"content-type": "text/calendar"}, **more).raise_for_status()


def invitation(uid: str, times: str, *, sequence: int = 0, more: str = PEOPLE, method: str = "") -> str:
    does = f"METHOD:{method}\r\n" if method else ""
    head = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Test//EN\r\n{does}"
    event = (
        f"BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20260220T1000{sequence:02}Z\r\nSEQUENCE:{sequence}\r\nSUMMARY:{uid}\r\n"
    )
    return f"{head}{event}{times}\r\n{more}END:VEVENT\r\nEND:VCALENDAR\r\n"


@pytest.fixture
def caldav(tmp_path: Path) -> Iterator[Calendar]:
    server = Calendar(tmp_path / "caldav")
    yield server
    server.stop()


async def drained(ingest: Ingest, **wanted: object) -> dict[str, Any]:
    """Waits until everything that is due at the clock is with the broker."""
    async with asyncio.timeout(60):
        while True:
            body = (await ingest.operations.get("/flow")).json()
            meetings = body["parts"]["meetings"]
            if body["drained"] and all(meetings[name] == value for name, value in wanted.items()):
                return dict(body)
            await asyncio.sleep(0.1)


def held(events: list[Event]) -> list[tuple[str, str]]:
    return sorted(
        (str(event.title), f"{event.occurred_at:%m-%d %H:%M}") for event in events if isinstance(event, MeetingHeld)
    )


async def test_a_calendar_and_invitations_become_meetings_when_they_have_begun(
    start_ingest: StartIngest, caldav: Calendar, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    write_moment(clock, NOON)
    (tmp_path / "caldav.password").write_text(LOGIN[1])
    caldav.put("review", "DTSTART:20260302T080000Z\r\nDTEND:20260302T090000Z")
    caldav.put("weekly", "DTSTART;TZID=Europe/Berlin:20260303T100000\r\nRRULE:FREQ=WEEKLY")
    caldav.put("private", "DTSTART:20260302T080000Z\r\nCLASS:PRIVATE")
    caldav.put("lunch", "DTSTART:20260302T110000Z", more="")
    caldav.put("past", "DTSTART:20260220T110000Z")
    configuration = (
        f'[sources.calendar]\nprovider = "caldav"\nurl = "{caldav.url}"\nusername = "anna"\n'
        'password_file = "caldav.password"\nmailbox = "anna@brightwell.example"\npoll_seconds = 0.2\n'
        '[[privacy]]\nname = "private"\nsensitivity = ["private"]\n'
    )
    ingest = await start_ingest(configuration, clock=f"file:{clock}", time_zone="Europe/Berlin")
    body = await drained(ingest)
    assert held(await ingest.events(1)) == [("past", "02-20 11:00")]
    assert body["parts"]["meetings"]["next_start"] == "2026-03-02T08:00:00Z"

    for sequence, method in ((0, "REQUEST"), (1, "CANCEL")):
        for uid in ("visit", "call")[: 2 - sequence]:
            times = "DTSTART:20260302T140000Z" + ("\r\nSTATUS:CANCELLED" if sequence else "")
            part = invitation(uid, times, sequence=sequence, method=method)
            mail = (
                f"From: Bob <bob@acme.example>\r\nTo: anna@brightwell.example\r\nMessage-ID: <{uid}{sequence}@acme>\r\n"
                f"Date: Sun, 1 Mar 2026 11:00:00 +0000\r\nContent-Type: text/calendar; method={method}\r\n\r\n{part}"
            ).encode()
            answer = await ingest.post(
                "/v1/mail/mail-anna", mail, SchemeName.STANDARD_WEBHOOKS, "mail.secret", content_type="message/rfc822"
            )
            assert answer.status_code == 202
    write_moment(clock, NOON + timedelta(days=3))
    await drained(ingest)
    expected = [("call", "03-02 14:00"), ("past", "02-20 11:00"), ("review", "03-02 08:00"), ("weekly", "03-03 09:00")]
    events = await ingest.events(7)
    assert held(events) == expected

    caldav.put("review", "DTSTART:20260310T080000Z", sequence=1)
    caldav.delete("weekly")
    write_moment(clock, NOON + timedelta(days=4))
    await drained(ingest, planned=1)
    write_moment(clock, NOON + timedelta(days=20))
    await drained(ingest, planned=0)
    events = await ingest.events(10)
    assert held(events) == sorted([*expected, ("review", "03-10 08:00")])
    (withdrawn,) = [event for event in events if isinstance(event, InteractionWithdrawn)]
    assert withdrawn.interaction.native_id == "review"


async def test_what_two_replicas_planned_is_published_once_whatever_breaks_meanwhile(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    clock, orders = tmp_path / "clock", tmp_path / "orders"
    orders.mkdir()
    write_moment(clock, NOON)
    first = await start_ingest(clock=f"file:{clock}")
    second = await start_ingest(clock=f"file:{clock}", database_url=first.settings.database_url)
    part = invitation("daily", "DTSTART:20260302T140000Z\r\nRRULE:FREQ=DAILY;COUNT=40", method="REQUEST")
    mail = (
        "From: Bob <bob@acme.example>\r\nTo: anna@brightwell.example\r\nMessage-ID: <1@acme>\r\n"
        f"Date: Sun, 1 Mar 2026 11:00:00 +0000\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\n{part}"
    ).encode()
    for replica in (first, second):
        answer = await replica.post(
            "/v1/mail/mail-anna", mail, SchemeName.STANDARD_WEBHOOKS, "mail.secret", content_type="message/rfc822"
        )
        assert answer.status_code == 202
    failpoints.arm("ingest", orders)
    try:
        # Now and then a transaction fails just before its commit, or just after it.
        places = ("transaction.committing", "transaction.committed")
        for number in range(40):
            write_moment(clock, NOON + timedelta(days=number))
            order = {places[number % len(places)]: {"action": "fail", "on": 1}}
            (orders / "ingest.json").write_bytes(orjson.dumps(order))
            await asyncio.sleep(0.05)
    finally:
        failpoints.disarm()
    assert b" fail" in (orders / "hits.log").read_bytes()
    await first.stop()
    write_moment(clock, NOON + timedelta(days=45))
    await drained(second, planned=0)

    meetings = [event for event in await second.events(42) if isinstance(event, MeetingHeld)]
    assert len({event.id for event in meetings}) == len(meetings) == 40


async def test_while_the_database_is_away_only_invitations_wait_with_their_sender(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere")
    head = "From: Bob <bob@acme.example>\r\nTo: anna@brightwell.example\r\nMessage-ID: <{number}@acme>\r\n"
    part = invitation("visit", "DTSTART:20260302T140000Z", method="REQUEST")
    invites = f"{head.format(number=1)}Content-Type: text/calendar; method=REQUEST\r\n\r\n{part}".encode()
    plain = f"{head.format(number=2)}\r\nHello\r\n".encode()
    answers = [
        await ingest.post(
            "/v1/mail/mail-anna", mail, SchemeName.STANDARD_WEBHOOKS, "mail.secret", content_type="message/rfc822"
        )
        for mail in (invites, plain)
    ]
    assert [answer.status_code for answer in answers] == [503, 202]
    assert answers[0].headers["retry-after"]


async def test_whoever_is_erased_is_forgotten_in_what_is_planned(start_ingest: StartIngest, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    write_moment(clock, NOON)
    ingest = await start_ingest(clock=f"file:{clock}", time_zone="Europe/Berlin")
    eve = "ATTENDEE;CN=Eve:mailto:eve@acme.example\r\n"
    planned = {
        "both": ("DTSTART:20260302T140000Z", PEOPLE + eve),
        "alone": ("DTSTART:20260302T150000Z", PEOPLE),
        "weekly": ("DTSTART:20260303T090000Z\r\nRRULE:FREQ=WEEKLY;COUNT=30", PEOPLE.replace("bob@", "BOB@") + eve),
        "other": ("DTSTART:20260302T160000Z", PEOPLE.replace("Bob", "Kim").replace("bob@", "kim@")),
    }
    for uid, (times, people) in planned.items():
        part = invitation(uid, times, more=people, method="REQUEST")
        mail = (
            f"From: Kim <kim@acme.example>\r\nTo: anna@brightwell.example\r\nMessage-ID: <{uid}@acme>\r\n"
            f"Date: Sun, 1 Mar 2026 11:00:00 +0000\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\n{part}"
        ).encode()
        answer = await ingest.post(
            "/v1/mail/mail-anna", mail, SchemeName.STANDARD_WEBHOOKS, "mail.secret", content_type="message/rfc822"
        )
        assert answer.status_code == 202, answer.text
    whom = {"addresses": ["Bob@acme.example"]}
    assert (await ingest.http.post("/v1/erasures", json=whom, headers=ingest.bearer())).status_code == 403
    for touched in (3, 0):
        erased = await ingest.http.post("/v1/erasures", json=whom, headers=ingest.bearer("operator"))
        assert erased.json() == {"meetings": touched}
    connection = await asyncpg.connect(ingest.settings.database_url)
    try:
        for table, column in (
            ("planned_series", "words"),
            ("planned_series", "answers"),
            ("planned_meeting", "report"),
        ):
            question = f"select count(*) from {table} where {column}::text ilike '%bob%'"  # noqa: S608 - names above
            assert await connection.fetchval(question) == 0
    finally:
        await connection.close()

    write_moment(clock, NOON + timedelta(days=2, hours=20))
    await drained(ingest)
    events = [event for event in await ingest.events(4 + 3) if isinstance(event, MeetingHeld)]
    assert sorted((str(event.interaction.native_id).partition("/")[0], event.title) for event in events) == [
        ("both", None),
        ("other", "other"),
        ("weekly", None),
    ]
    assert not any(
        "bob" in identity.value for event in events for party in event.parties for identity in party.identities
    )
    wrong = await ingest.http.post("/v1/erasures", json={"addresses": ["bob"]}, headers=ingest.bearer("operator"))
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "addresses.0")


async def test_a_meeting_with_a_very_long_name_is_one_like_others(start_ingest: StartIngest, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    write_moment(clock, NOON)
    ingest = await start_ingest(clock=f"file:{clock}")
    # Of letters that do not repeat, so that nothing about it can be packed.
    uid = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(900))
    part = invitation(uid, "DTSTART:20260302T140000Z", method="REQUEST").replace(f"SUMMARY:{uid}", "SUMMARY:long")
    mail = (
        "From: Bob <bob@acme.example>\r\nTo: anna@brightwell.example\r\nMessage-ID: <1@acme>\r\n"
        "Date: Sun, 1 Mar 2026 11:00:00 +0000\r\nContent-Type: text/calendar; method=REQUEST; charset=utf-8\r\n"
        f"\r\n{part}"
    ).encode()
    answer = await ingest.post(
        "/v1/mail/mail-anna", mail, SchemeName.STANDARD_WEBHOOKS, "mail.secret", content_type="message/rfc822"
    )
    assert answer.status_code == 202, answer.text
    write_moment(clock, NOON + timedelta(days=2))
    await drained(ingest, planned=0)
    assert held(await ingest.events(2)) == [("long", "03-02 14:00")]
