"""Records and requests that nobody can take: what is wrong with each, and who must keep it as a dead letter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from random import Random
from typing import Any

from contracts.codec import encode
from contracts.envelope import Envelope, format_instant
from contracts.events import Event
from tests.faults.drafts import interaction_record
from tests.faults.history import Delivery, Publication

Headers = tuple[tuple[str, bytes], ...]
DEEP = 10_000

READERS = {
    "tenure.interactions": ("accounts",),
    "tenure.inbound": ("ingest",),
    "tenure.activity": ("metrics", "notifier"),
    "tenure.accounts": ("metrics", "notifier"),
    "tenure.kpis": ("notifier",),
}
"""Who must keep what it cannot read from a topic."""


def _broken_values(good: dict[str, Any], token: str) -> Iterator[tuple[str, bytes | None]]:
    """What may be wrong with a value. `token` makes each one distinct."""
    text = json.dumps(good)
    yield "no JSON", f'{{"broken": "{token}", '.encode()
    yield "NUL in a name", json.dumps({**good, "source": f"hub\0{token}"}).encode()
    yield "not a number", text.replace("{", f'{{"token": "{token}", "revision": {{"order": NaN}}, ', 1).encode()
    yield (
        "a huge integer",
        json.dumps({**good, "revision": {"authority": 1, "order": "@", "digest": "0" * 32}, "token": token})
        .replace('"@"', "9" * 400)
        .encode(),
    )
    yield "nested too deep", f'{{"{token}": {"[" * DEEP}{"]" * DEEP}}}'.encode()
    yield "bytes that are no text", b"\xff\xfe" + token.encode()


def _broken_headers(good: Headers) -> Iterator[tuple[str, Headers]]:
    """What may be wrong with headers."""
    named = dict(good)
    yield "no headers", ()
    yield "a header of bytes that are no text", tuple({**named, "ce_id": b"\xff\xfe\x00"}.items())
    yield "another specversion", tuple({**named, "ce_specversion": b"0.3"}.items())
    yield "a time that is none", tuple({**named, "ce_time": b"yesterday"}.items())
    yield "a type of nobody", tuple({**named, "ce_type": b"tenure.weather.changed.v1"}.items())
    family = named["ce_type"].decode().rpartition(".")[0]
    yield "a version newer than ours", tuple({**named, "ce_type": f"{family}.v9".encode()}.items())


def poison_interactions(random: Random, name: str, event: Event, at: datetime) -> Publication:
    """One unreadable record on `tenure.interactions`."""
    good = json.loads(encode(event))
    headers = interaction_record(event, at)
    choices = [(why, value, headers) for why, value in _broken_values(good, name)]
    choices += [(why, json.dumps({**good, "note": name}).encode(), broken) for why, broken in _broken_headers(headers)]
    choices.append(("no value", None, headers))
    other = tuple({**dict(headers), "ce_subject": b"00000000-0000-8000-8000-000000000000"}.items())
    choices.append(("an id that is not derived", json.dumps({**good, "note": name}).encode(), other))
    return _publication(random, name, "tenure.interactions", choices)


def poison_inbound(random: Random, name: str, item: dict[str, Any]) -> Publication:
    """One unacceptable record on `tenure.inbound`."""
    structured: Headers = (("content-type", b"application/cloudevents+json"),)
    broken = [
        ("a field that nobody knows", {**item, "data": {**item["data"], "colour": "blue"}, "id": name}),
        ("a type of nobody", {**item, "type": "tenure.weather.changed.v1", "id": name}),
        ("a version newer than ours", {**item, "type": item["type"].replace(".v1", ".v7"), "id": name}),
        ("no time", {**{key: item[key] for key in item if key != "time"}, "id": name}),
        ("a time of 1970", {**item, "time": "1970-01-01T00:00:00Z", "id": name}),
        ("a NUL", {**item, "subject": f"order\0{name}"}),
        ("no publisher", {**{key: item[key] for key in item if key != "source"}, "id": name}),
    ]
    choices: list[tuple[str, bytes | None, Headers]] = [
        (why, json.dumps(wrong).encode(), structured) for why, wrong in broken
    ]
    choices += [(why, value, structured) for why, value in _broken_values(item, name)]
    choices.append(("no value", None, structured))
    return _publication(random, name, "tenure.inbound", choices)


def poison_internal(random: Random, name: str, at: datetime) -> Publication:
    """One record that one of our own topics should never carry."""
    topic = random.choice(("tenure.activity", "tenure.accounts", "tenure.kpis"))
    types = {
        "tenure.activity": "tenure.attribution.v1",
        "tenure.accounts": "tenure.account.v1",
        "tenure.kpis": "tenure.kpis.v1",
    }
    subject = "00000000-0000-8000-8000-000000000001"
    headers = tuple(
        Envelope(id=name, source="/stranger", type=types[topic], subject=subject, time=at, recordedtime=at).headers()
    )
    good = {"account_id": subject, "version": 1, "at": format_instant(at)}
    choices = [(why, value, headers) for why, value in _broken_values(good, name)]
    choices += [(why, json.dumps({**good, "note": name}).encode(), broken) for why, broken in _broken_headers(headers)]
    return _publication(random, name, topic, choices)


def _publication(
    random: Random, name: str, topic: str, choices: Sequence[tuple[str, bytes | None, Headers]]
) -> Publication:
    why, value, headers = random.choice(choices)
    # a compacted topic takes no record without a key, and nobody one without key and value
    keys = (name.encode(), b"\xff\x00", None)
    compacted = topic in {"tenure.accounts", "tenure.kpis"}
    key = random.choice(keys[:2] if compacted or value is None else keys)
    return Publication(
        name=name, topic=topic, key=key, value=value, headers=headers, dead_in=READERS[topic], poison=why
    )


def unacceptable(random: Random, item: dict[str, Any]) -> dict[str, Any]:
    """A CloudEvent like `item` that no door takes."""
    return random.choice(
        (
            {**item, "type": "tenure.weather.changed.v1"},
            {**item, "type": item["type"].replace(".v1", ".v7")},
            {**item, "time": "2031-01-01T00:00:00Z"},
            {**item, "data": {**item["data"], "colour": "blue"}},
            {**item, "specversion": "0.3"},
        )
    )


def refused_requests(random: Random, name: str, item: dict[str, Any]) -> Delivery:
    """A request that the door of events must refuse, with the status."""
    choices: list[tuple[int, bytes, bool]] = [
        (400, b'{"specversion": "1.0", ', False),
        (401, json.dumps(item).encode(), True),
        (413, json.dumps({**item, "padding": "x" * (1 << 20)}).encode(), False),
        *((422, json.dumps(unacceptable(random, item)).encode(), False) for _ in range(4)),
    ]
    status, body, forged = random.choice(choices)
    return Delivery(
        name=name,
        source="hub",
        path="/v1/events",
        media="application/cloudevents+json",
        body=body,
        signature="forged" if forged else "standard",
        secret_file="hub.secret",
        refused=status,
    )
