"""The OpenAPI document of a service: what FastAPI knows of it, with the errors that we really answer."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.runtime.problems import CONTENT_TYPE

URL = "/v1/openapi.json"
_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_UNUSED = ("HTTPValidationError", "ValidationError")
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details: what went wrong, which field, what to do.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "description": "a stable name of the kind of problem, or about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message", "remedy"],
                "properties": {
                    "field": {"type": "string", "description": "a path such as lines.0.amount"},
                    "message": {"type": "string"},
                    "remedy": {"type": "string", "description": "what to write instead"},
                },
            },
        },
    },
}
PROBLEM_RESPONSE = {
    "description": "Not done; the body says why and what to do",
    "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def publish(app: FastAPI, description: str, more: Mapping[str, Any] | None = None) -> None:
    """Make `app` say `document` about itself. Call it when all its routes are there."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app, description, more or {})
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # as FastAPI's own documentation does


def document(app: FastAPI, description: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document. `more` holds paths and components of routes that FastAPI does not know."""
    told: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=description, routes=app.routes, openapi_version="3.1.0"
    )
    told["paths"] = dict(sorted({**told["paths"], **more.get("paths", {})}.items()))
    components = told.setdefault("components", {})
    for kind, named in more.get("components", {}).items():
        components.setdefault(kind, {}).update(named)
    schemas = components.setdefault("schemas", {})
    for path in told["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                responses = operation["responses"]
                # FastAPI announces its own errors; ours look otherwise.
                if "422" in responses and "HTTPValidationError" in str(responses["422"]):
                    del responses["422"]
                responses["default"] = PROBLEM_RESPONSE
    for name in _UNUSED:
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["schemas"] = dict(sorted(schemas.items()))
    return told
