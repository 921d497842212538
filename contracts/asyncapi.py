"""The AsyncAPI 3 document of the topics: who sends what where, generated from `topics` and `events`."""

from collections.abc import Sequence
from typing import Any

from contracts.events import BY_TYPE, UNMAPPED_TYPE
from contracts.topics import INBOUND, TOPICS, Topic

VERSION = "3.0.0"
_SCHEMAS = "../../contracts/schemas"
_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
_ANY_EVENT = "tenure.<family>.<event>.v1"
_INBOUND = "cloudevent"
_TEXT = {"type": "string", "minLength": 1}
_MOMENT = {"type": "string", "format": "date-time"}


def document() -> dict[str, Any]:
    """Return the document, as plain JSON. Schemas of payloads are references to the files in contracts/schemas."""
    messages = sorted({name for topic in TOPICS for name in _types(topic)} - {_INBOUND})
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Tenure",
            "version": "1",
            "description": "Every topic of Tenure. Records are CloudEvents 1.0 in Kafka's binary mode: attributes are "
            "`ce_` headers, the value is the data. A setting may put a prefix before every topic.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "TENURE_KAFKA_BOOTSTRAP",
                "variables": {"bootstrap": {"description": "host:port of a broker of yours", "default": "kafka:9092"}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": dict(sorted((name, action) for topic in TOPICS for name, action in _operations(topic))),
        "components": {
            "messages": {_INBOUND: _inbound(), **{name: _message(name) for name in messages}},
            "messageTraits": {"cloudevent": {"headers": _headers()}},
        },
    }


def _types(topic: Topic) -> Sequence[str]:
    if topic is INBOUND:
        return [_INBOUND]
    names: list[str] = []
    for name in topic.types:
        names += sorted(BY_TYPE) if name == _ANY_EVENT else [name]
    return names


def _channel(topic: Topic) -> dict[str, Any]:
    config: dict[str, Any] = {
        "cleanup.policy": [topic.cleanup],
        "max.message.bytes": topic.max_message_bytes,
    }
    if topic.retention_ms is not None:
        config["retention.ms"] = topic.retention_ms
    return {
        "address": topic.name,
        "description": f"{topic.carries[:1].upper()}{topic.carries[1:]}. Key: {topic.key}.",
        "servers": [{"$ref": "#/servers/broker"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _types(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replication,
                "topicConfiguration": config,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations(topic: Topic) -> list[tuple[str, dict[str, Any]]]:
    channel = {"$ref": f"#/channels/{topic.name}"}
    short = topic.name.removeprefix("tenure.")
    found = []
    if topic.producer != "outside":
        summary = f"{topic.producer} writes what others read"
        found.append((f"{topic.producer}-sends-{short}", {"action": "send", "channel": channel, "summary": summary}))
    for consumer in topic.consumers:
        if consumer != "anyone":
            summary = f"{consumer} reads, as the consumer group of its name"
            group = {"groupId": {"type": "string", "const": consumer}, "bindingVersion": "0.5.0"}
            action = {"action": "receive", "channel": channel, "summary": summary, "bindings": {"kafka": group}}
            found.append((f"{consumer}-receives-{short}", action))
    return found


def _message(name: str) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": name,
        "title": name,
        "traits": [{"$ref": "#/components/messageTraits/cloudevent"}],
    }
    if name == UNMAPPED_TYPE:
        summary = "What is authentic and not understood, byte for byte; tenure_unmapped says why"
        return {**message, "summary": summary, "contentType": "application/octet-stream"}
    schema = {"$ref": f"{_SCHEMAS}/{name}.json"}
    return {**message, "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": schema}}


def _inbound() -> dict[str, Any]:
    """What others write: fewer attributes, and data without what follows from them."""
    attributes = dict.fromkeys(("ce_id", "ce_source", "ce_subject"), _TEXT)
    return {
        "name": _INBOUND,
        "title": "A CloudEvent of another system",
        "summary": "Binary mode as described here, or structured mode with content-type application/cloudevents+json; "
        "docs/sources/cloudevents.md says what the attributes mean",
        "headers": {
            "type": "object",
            "required": ["ce_specversion", *attributes, "ce_type", "ce_time"],
            "properties": {
                "ce_specversion": {"const": "1.0"},
                **attributes,
                "ce_type": {"enum": sorted(BY_TYPE)},
                "ce_time": _MOMENT,
                "ce_sequence": {**_TEXT, "pattern": "^[0-9]{1,18}$"},
            },
        },
        "payload": {"type": "object"},
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_recordedtime"],
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {**_TEXT, "description": "the same for the same report, always"},
            "ce_source": _TEXT,
            "ce_type": _TEXT,
            "ce_subject": _TEXT,
            "ce_time": {**_MOMENT, "description": "when it happened"},
            "ce_recordedtime": {**_MOMENT, "description": "when ingest accepted the report that caused it"},
            "ce_traceparent": {**_TEXT, "description": "W3C trace context"},
            "ce_republished": {**_TEXT, "description": "the run that said a state again"},
            "content-type": {"const": "application/json"},
        },
    }
