"""Every type has a golden example: old records that must stay readable for as long as their version lives."""

import json
from typing import Any

import jsonschema
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from contracts.codec import ALL_TYPES, decode, encode
from contracts.documents import EXAMPLES, SCHEMAS, stored
from contracts.envelope import Envelope, Unreadable
from contracts.topics import TOPICS

NAMES = sorted(ALL_TYPES)


def record(name: str) -> tuple[list[tuple[str, bytes]], bytes]:
    example = stored(EXAMPLES, name)
    return [(key, value.encode()) for key, value in example["headers"].items()], json.dumps(example["data"]).encode()


def test_every_type_has_an_example_and_every_example_a_type() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_read_and_written_back_as_it_was(name: str) -> None:
    headers, value = record(name)
    envelope = Envelope.from_headers(headers)
    model = decode(envelope, value)
    assert type(model) is ALL_TYPES[name]
    assert dict(envelope.headers()) == dict(headers)
    assert json.loads(encode(model)) == json.loads(value)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_satisfies_the_schema(name: str) -> None:
    _, value = record(name)
    jsonschema.validate(json.loads(value), stored(SCHEMAS, name))


@pytest.mark.parametrize("name", NAMES)
def test_the_cloudevents_package_reads_what_we_write(name: str) -> None:
    headers, value = record(name)
    event = from_binary(KafkaMessage(headers=dict(headers), key=b"k", value=value), JSONFormat(), CloudEvent)
    envelope = Envelope.from_headers(headers)
    assert event.get_type() == name
    assert event.get_id() == envelope.id
    assert event.get_time() == envelope.time
    assert event.get_data() == json.loads(value)


@pytest.mark.parametrize("name", NAMES)
def test_we_read_what_the_cloudevents_package_writes(name: str) -> None:
    headers, value = record(name)
    theirs = from_binary(KafkaMessage(headers=dict(headers), key=b"k", value=value), JSONFormat(), CloudEvent)
    message = to_binary(theirs, JSONFormat())
    envelope = Envelope.from_headers(message.headers)
    assert message.value is not None
    assert decode(envelope, bytes(message.value)) == decode(Envelope.from_headers(headers), value)


def test_the_topics_carry_the_types_that_exist() -> None:
    named = {name for topic in TOPICS for name in topic.types if "<" not in name and name != "tenure.unmapped.v1"}
    assert named == {
        name for name in NAMES if name.split(".")[1] in {"attribution", "account", "user", "team", "kpis", "alert"}
    }


def unreadable(name: str, change: dict[str, bytes | None], value: bytes | None = None) -> Unreadable:
    headers, good = record(name)
    changed = {key: change.get(key, content) for key, content in headers}
    kept = [(key, content) for key, content in changed.items() if content is not None]
    with pytest.raises(Unreadable) as caught:
        decode(Envelope.from_headers(kept), good if value is None else value)
    return caught.value


OPENED = "tenure.ticket.opened.v1"


@pytest.mark.parametrize(
    ("change", "reason", "names"),
    [
        ({"ce_id": None}, "bad_envelope", "ce_id"),
        ({"ce_specversion": b"0.3"}, "bad_envelope", "ce_specversion"),
        ({"ce_time": b"yesterday"}, "bad_envelope", "ce_time"),
        ({"ce_time": b"2026-03-02T09:00:00"}, "bad_envelope", "offset"),
        ({"ce_source": b"\xff\xfe"}, "bad_envelope", "bytes"),
        ({"ce_type": b"tenure.ticket.opened.v9"}, "unknown_version", "tenure.ticket.opened.v1"),
        ({"ce_type": b"tenure.weather.changed.v1"}, "unknown_type", "weather"),
        ({"ce_id": b"0198f000-0000-7000-8000-000000000009"}, "wrong_id", "ce_id"),
        ({"ce_subject": b"0198f000-0000-7000-8000-000000000009"}, "wrong_id", "ce_subject"),
    ],
)
def test_a_wrong_attribute_is_named(change: dict[str, bytes | None], reason: str, names: str) -> None:
    verdict = unreadable(OPENED, change)
    assert verdict.reason == reason
    assert names in verdict.detail


def bad_values() -> list[tuple[dict[str, Any], str]]:
    instant, party = "occurred_at", {"role": "requester", "identities": [{"kind": "address", "value": "a\x00b"}]}
    return [
        ({instant: 1772442900}, instant),
        ({instant: "2026-03-02T09:15:00"}, instant),
        ({instant: "1970-01-01T00:00:00Z"}, instant),
        ({instant: "2999-01-01T00:00:00Z"}, instant),
        ({"priority": "very"}, "priority"),
        ({"rating": 6}, "rating"),
        ({"title": "x" * 1001}, "title"),
        ({"title": "nul \x00"}, "title"),
        ({"parties": [party]}, "parties.0.identities.0.value"),
        ({"report": ""}, "report"),
        ({"revision": {"authority": 3, "order": 1, "digest": "0" * 32}}, "revision.authority"),
        ({"revision": {"authority": 1, "order": 1 << 70, "digest": "0" * 32}}, "revision.order"),
        ({"interaction": {"kind": "order", "system": "zendesk:brightwell", "native_id": "4711"}}, "ticket"),
    ]


@pytest.mark.parametrize(("change", "names"), bad_values())
def test_a_wrong_field_is_named(change: dict[str, Any], names: str) -> None:
    data = stored(EXAMPLES, OPENED)["data"] | change
    verdict = unreadable(OPENED, {}, json.dumps(data).encode())
    assert verdict.reason == "bad_data"
    assert names in verdict.detail


@pytest.mark.parametrize(
    "value",
    [b"{", b"", b"null", b"[]", b"\xff", b'{"title": NaN}', b'{"title": "\\ud800"}', b"[" * 10_000 + b"]" * 10_000],
    ids=["cut", "empty", "null", "list", "not utf-8", "NaN", "lone surrogate", "deep"],
)
def test_what_is_no_report_is_unreadable_not_a_crash(value: bytes) -> None:
    assert unreadable(OPENED, {}, value).reason == "bad_data"


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_json_is_unreadable_also_where_nobody_would_look(constant: bytes) -> None:
    value = json.dumps(stored(EXAMPLES, OPENED)["data"]).encode().replace(b"{", b'{"mood": ' + constant + b", ", 1)
    verdict = unreadable(OPENED, {}, value)
    assert verdict.reason == "bad_data"
    assert "Infinity" in verdict.detail or "NaN" in verdict.detail


def test_a_title_may_speak_of_nan() -> None:
    value = json.dumps({**stored(EXAMPLES, OPENED)["data"], "title": "NaN or Infinity?"}).encode()
    headers, _ = record(OPENED)
    assert encode(decode(Envelope.from_headers(headers), value)).count(b"NaN or Infinity?") == 1


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ({"product": "P", "quantity": "-1", "amount": "1"}, "quantity"),
        ({"product": "P", "quantity": "1", "amount": 1.5}, "amount"),
        ({"product": "P", "quantity": "1", "amount": "1e9"}, "amount"),
        ({"product": "P", "quantity": "1", "amount": "NaN"}, "amount"),
        ({"product": "P", "quantity": "9" * 30, "amount": "1"}, "quantity"),
    ],
)
def test_a_wrong_number_in_an_order_is_named(line: dict[str, Any], names: str) -> None:
    name = "tenure.order.placed.v1"
    data = stored(EXAMPLES, name)["data"] | {"lines": [line]}
    assert f"lines.0.{names}" in unreadable(name, {}, json.dumps(data).encode()).detail


def test_an_unknown_currency_is_named() -> None:
    name = "tenure.order.placed.v1"
    data = stored(EXAMPLES, name)["data"] | {"net": {"amount": "1.00", "currency": "XXX"}}
    assert "net.currency" in unreadable(name, {}, json.dumps(data).encode()).detail


def test_what_a_field_held_is_not_repeated_in_the_verdict() -> None:
    data = stored(EXAMPLES, OPENED)["data"] | {"priority": "maria.keller@aurora-optik.example"}
    assert "maria.keller" not in unreadable(OPENED, {}, json.dumps(data).encode()).detail
