"""The documents of the APIs are valid, and say what the services do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from contracts.topics import TOPICS
from tests.unit.docs.apis import FOLDER, documents, text

OPENAPI = sorted(FOLDER.glob("*.openapi.json"))


async def test_the_documents_say_what_the_code_says() -> None:
    generated = {name: text(document) for name, document in (await documents()).items()}
    checked_in = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert generated.keys() == checked_in.keys(), "run `make docs`"
    for name, document in generated.items():
        assert document == checked_in[name], f"{name}: run `make docs`"


@pytest.mark.parametrize("name", [path.name for path in OPENAPI])
def test_an_openapi_document_is_valid(name: str) -> None:
    validate(read(name))


@pytest.mark.parametrize("name", [path.name for path in OPENAPI])
def test_every_operation_says_who_may_call_it_and_how_it_fails(name: str) -> None:
    for path, item in read(name)["paths"].items():
        for method, operation in item.items():
            assert operation["security"], f"{method} {path}"
            problem = operation["responses"]["default"]["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert operation["summary"]
    assert "HTTPValidationError" not in json.dumps(read(name))


def test_every_channel_of_the_asyncapi_document_is_a_topic_with_its_readers_and_writers() -> None:
    told = read("asyncapi.json")
    assert told["asyncapi"].startswith("3.")
    assert [channel["address"] for channel in told["channels"].values()] == [topic.name for topic in TOPICS]
    flows = {
        (name.partition("-")[0], operation["action"], operation["channel"]["$ref"].rpartition("/")[2])
        for name, operation in told["operations"].items()
    }
    writes = {(topic.producer, "send", topic.name) for topic in TOPICS if topic.producer != "outside"}
    reads = {(who, "receive", topic.name) for topic in TOPICS for who in topic.consumers if who != "anyone"}
    assert flows == writes | reads


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    told = read("asyncapi.json")
    for reference in references(told):
        if reference.startswith("#/"):
            place: Any = told
            for step in reference[2:].split("/"):
                place = place[step]
        else:
            assert (FOLDER / reference).resolve().is_file(), reference


def test_every_message_has_a_name_a_payload_and_headers() -> None:
    told = read("asyncapi.json")
    for name, message in told["components"]["messages"].items():
        assert message["name"] == name
        assert "payload" in message or message["contentType"] == "application/octet-stream"
        assert message.get("headers") or message["traits"]
    used = {name for channel in told["channels"].values() for name in channel["messages"]}
    assert used == told["components"]["messages"].keys()


def read(name: str) -> Any:
    """A document as it is checked in."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def references(value: Any) -> Iterator[str]:
    """Every `$ref` below."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name == "$ref":
                yield member
            else:
                yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)
