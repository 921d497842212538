"""What the OpenAPI document says about the doors: they are plain routes, which FastAPI knows nothing of."""

from typing import Any

from contracts.events import BY_TYPE
from services.ingest.doors.events import LARGEST_BATCH
from services.ingest.doors.imports import MOST_LINES

DESCRIPTION = (
    "Where events come in. What is answered with 2xx is with the broker and counts once, however often it is sent; "
    "503 means: send the same again. docs/sources/ has a page for each provider."
)
_TEXT = {"type": "string", "minLength": 1, "maxLength": 1024}
_CLOUD_EVENT = {
    "type": "object",
    "description": "CloudEvents 1.0; contracts/schemas/ has the JSON Schema of the data of each type.",
    "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {**_TEXT, "description": "the report: the same each time it is sent"},
        "source": {**_TEXT, "description": "the publisher, as a URI reference"},
        "type": {"enum": sorted(BY_TYPE)},
        "subject": {**_TEXT, "description": "what the source system calls the order, ticket, call …"},
        "time": {"type": "string", "format": "date-time", "description": "when it happened"},
        "sequence": {"type": ["string", "integer"], "description": "the source's own order of its reports"},
        "datacontenttype": {"const": "application/json"},
        "traceparent": {"type": "string"},
        "data": {"type": "object"},
    },
}
_COUNTED = {
    "type": "object",
    "required": ["accepted"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0, "description": "events that are with the broker"},
        "ignored": {"type": "string", "description": "why it says nothing that concerns us"},
        "unmapped": {"type": "string", "description": "why it is not understood; it is kept, to be replayed"},
    },
}
_WRONG = {"type": "array", "items": {"$ref": "#/components/schemas/Problem/properties/errors/items"}}
_RESULTS = {
    "type": "object",
    "required": ["accepted", "rejected", "results"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "rejected": {"type": "integer", "minimum": 0},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "status"],
                "properties": {
                    "index": {"type": "integer", "minimum": 0},
                    "status": {"enum": ["accepted", "rejected"]},
                    "id": {"type": "string", "format": "uuid", "description": "our id of the event"},
                    "interaction": {"type": "string", "format": "uuid"},
                    "errors": _WRONG,
                },
            },
        },
    },
}
_LINES = {
    "type": "object",
    "required": ["accepted", "rejected"],
    "properties": {
        "accepted": {"type": "integer", "minimum": 0},
        "ignored": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "lines by reason"},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["line", "errors"],
                "properties": {"line": {"type": "integer", "minimum": 1}, "errors": _WRONG},
            },
        },
        "dry_run": {"const": True, "description": "dry run only: nothing was taken; the numbers say what would be"},
        "types": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "dry run only: events by type; `meetings planned` are those that calendars speak of",
        },
        "first": {
            "type": "array",
            "maxItems": 3,
            "items": {"type": "object"},
            "description": "dry run only: the data of the first events",
        },
        "events": {
            "type": "array",
            "description": "dry run with `events=true` only: every event; accounts' `POST /v1/rehearsals` says of them"
            " which it has already and whose parties nobody knows",
            "items": {
                "type": "object",
                "required": ["type", "data"],
                "properties": {"type": {"enum": sorted(BY_TYPE)}, "data": {"type": "object"}},
            },
        },
    },
}
_SIGNED: list[dict[str, list[str]]] = [{"webhookId": [], "webhookTimestamp": [], "webhookSignature": []}]
_OPERATOR: list[dict[str, list[str]]] = [{"HTTPBearer": []}]


def doors() -> dict[str, Any]:
    """Return paths and components of the doors."""
    return {
        "paths": {
            "/v1/webhooks/{source}": {"post": _webhook()},
            "/v1/events": {"post": _events()},
            "/v1/mail/{mailbox}": {"post": _mail()},
            "/v1/imports/{source}": {"post": _import()},
            "/v1/replay/{source}": {"post": _replay()},
        },
        "components": {
            "schemas": {"CloudEvent": _CLOUD_EVENT, "Counted": _COUNTED, "Results": _RESULTS, "Lines": _LINES},
            "securitySchemes": {
                "HTTPBearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A JWT of the company's identity provider",
                },
                "webhookId": _header("webhook-id", "Standard Webhooks: the delivery's id"),
                "webhookTimestamp": _header("webhook-timestamp", "Standard Webhooks: Unix seconds, at most 300 off"),
                "webhookSignature": _header("webhook-signature", "Standard Webhooks: v1,<base64 of the HMAC-SHA256>"),
            },
        },
    }


def _webhook() -> dict[str, Any]:
    return {
        "tags": ["doors"],
        "summary": "Take a provider's webhook",
        "description": "The body is the provider's, and so is the proof that it is: a signature or a secret, in"
        " headers, body or address, as its page in docs/sources/ says. A provider's handshake is answered as it asks."
        " What is authentic is answered with 200 even where it cannot be understood or is no JSON: it is kept whole.",
        "operationId": "take_webhook",
        "parameters": [_path("source", "a source of sources.toml")],
        "requestBody": {
            "required": True,
            "content": {
                media: {"schema": {}}
                for media in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")
            },
        },
        "responses": {"200": _answer("Taken, ignored or kept", "Counted", "*/*", "text/plain")},
        # How a delivery proves itself depends on the source; the Problem of one that does not is a 401.
        "security": [{}],
    }


def _events() -> dict[str, Any]:
    event = {"$ref": "#/components/schemas/CloudEvent"}
    return {
        "tags": ["doors"],
        "summary": "Take CloudEvents",
        "description": "Structured, binary (attributes as ce- headers, the data as the body) or as a batch of at most"
        f" {LARGEST_BATCH}, of which the good go in and the bad come back.",
        "operationId": "take_events",
        "parameters": [
            {
                "name": "tenure-source",
                "in": "header",
                "required": False,
                "description": "which source is meant, where several could have signed",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/cloudevents+json": {"schema": event},
                "application/cloudevents-batch+json": {
                    "schema": {"type": "array", "minItems": 1, "maxItems": LARGEST_BATCH, "items": event}
                },
                "application/json": {"schema": {"type": "object"}},
            },
        },
        "responses": {
            "202": _answer("All accepted", "Results"),
            "207": _answer("Some accepted, some rejected", "Results"),
        },
        "security": _SIGNED,
    }


def _mail() -> dict[str, Any]:
    return {
        "tags": ["doors"],
        "summary": "Take a raw mail",
        "operationId": "take_mail",
        "parameters": [_path("mailbox", "a source of the provider mail")],
        "requestBody": {"required": True, "content": {"message/rfc822": {"schema": {}}}},
        "responses": {
            "200": _answer("Ignored or kept", "Counted"),
            "202": _answer("Taken", "Counted"),
        },
        "security": _SIGNED,
    }


def _import() -> dict[str, Any]:
    return {
        "tags": ["operators"],
        "summary": "Take history",
        "description": f"A CloudEvent a line, at most {MOST_LINES} lines; to a mailbox a mail a line, in base64, or a"
        " calendar. A live report of the same thing stands above it.",
        "operationId": "take_import",
        "parameters": [
            _path("source", "a source of the provider import, or a mailbox"),
            {
                "name": "dry_run",
                "in": "query",
                "required": False,
                "description": "only say what would become of the lines",
                "schema": {"type": "boolean", "default": False},
            },
            {
                "name": "events",
                "in": "query",
                "required": False,
                "description": "dry run: show every event instead of the first three",
                "schema": {"type": "boolean", "default": False},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {media: {"schema": {}} for media in ("application/x-ndjson", "application/ndjson")},
        },
        "responses": {"200": _answer("Good lines are in, bad ones come back", "Lines")},
        "security": _OPERATOR,
    }


def _replay() -> dict[str, Any]:
    return {
        "tags": ["operators"],
        "summary": "Take again what was kept raw",
        "description": "The body is the dead letter's value; the headers that were kept with it are sent as headers.",
        "operationId": "take_replay",
        "parameters": [_path("source", "the source that it came from")],
        "requestBody": {"required": True, "content": {"*/*": {"schema": {}}}},
        "responses": {"200": _answer("Understood now", "Counted")},
        "security": _OPERATOR,
    }


def _path(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
    }


def _header(name: str, description: str) -> dict[str, Any]:
    return {"type": "apiKey", "in": "header", "name": name, "description": description}


def _answer(description: str, schema: str, *others: str) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": {**content, **{media: {"schema": {}} for media in others}}}
