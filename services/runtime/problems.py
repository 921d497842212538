"""Errors over HTTP as RFC 9457 problem details: what went wrong, which field, what to do. Never a traceback."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"
_TYPE_ROOT = "urn:tenure:problem:"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its path (`lines.0.amount`), what is wrong with it, what to write instead."""

    field: str
    message: str
    remedy: str


class Problem(Exception):
    """Raise anywhere below an endpoint; the caller gets it as `application/problem+json`."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        kind: str = "",
        errors: Sequence[FieldError | Mapping[str, str]] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.kind = kind
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the members of the problem details object."""
        body: dict[str, Any] = {
            "type": _TYPE_ROOT + self.kind if self.kind else "about:blank",
            "title": self.title,
            "status": self.status,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [asdict(error) if isinstance(error, FieldError) else dict(error) for error in self.errors]
        return body

    def response(self) -> Response:
        """Return the problem as an HTTP response."""
        return Response(
            orjson.dumps(self.body()), status_code=self.status, media_type=CONTENT_TYPE, headers=self.headers
        )


def invalid(
    errors: Sequence[FieldError], detail: str = "Some fields are missing or wrong; correct them and send again."
) -> Problem:
    """Return the 422 for wrong fields."""
    return Problem(422, "The request is not valid", detail, "invalid", errors)


def not_found(what: str) -> Problem:
    """Return the 404; it reads the same whether `what` does not exist or the caller may not see it."""
    return Problem(404, "Not found", f"There is no such {what}, or you may not see it.", "not-found")


def field_errors(errors: Sequence[Mapping[str, Any]]) -> list[FieldError]:
    """Turn pydantic's errors into field paths with remedies; input values are left out, they may be personal."""
    return [_field_error(error) for error in errors]


def install(app: Starlette) -> None:
    """Make `app` (FastAPI or Starlette) answer every error as a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(Exception, _on_exception)


async def _on_problem(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)  # noqa: S101 - registered for this type only
    return problem.response()


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    phrase = HTTPStatus(error.status_code).phrase
    detail = "" if error.detail == phrase else str(error.detail)
    return Problem(error.status_code, phrase, detail, headers=error.headers).response()


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    return invalid(field_errors(error.errors())).response()


async def _on_exception(request: Request, error: Exception) -> Response:
    # The log has the traceback; the caller learns only that it was ours and that a retry is allowed.
    _log.error("request failed", method=request.method, route=_route(request), exc_info=error)
    return Problem(
        500,
        "Something failed on our side",
        "It has been logged; try again, and tell your operator if it stays.",
        "internal",
    ).response()


def _route(request: Request) -> str:
    route = request.scope.get("route")
    return getattr(route, "path", "unmatched")


_REMEDIES = {
    "missing": "send the field",
    "extra_forbidden": "leave the field out",
    "json_invalid": "send valid JSON",
    "timezone_aware": "write an offset, such as 2026-03-02T09:30:00Z",
    "datetime_from_date_parsing": "write an RFC 3339 time, such as 2026-03-02T09:30:00Z",
    "datetime_parsing": "write an RFC 3339 time, such as 2026-03-02T09:30:00Z",
    "date_from_datetime_parsing": "write a date, such as 2026-03-02",
    "date_parsing": "write a date, such as 2026-03-02",
    "string_type": "send a string",
    "int_parsing": "send a whole number",
    "int_type": "send a whole number",
    "decimal_parsing": 'send a decimal number in a string, such as "12.50"',
    "decimal_type": 'send a decimal number in a string, such as "12.50"',
    "bool_parsing": "send true or false",
    "uuid_parsing": "send an id as a canonical UUID",
    "list_type": "send a list",
    "dict_type": "send an object",
    "model_type": "send an object",
    "model_attributes_type": "send an object",
}


def _field_error(error: Mapping[str, Any]) -> FieldError:
    location = [str(part) for part in error.get("loc", ())]
    if location and location[0] in {"body", "query", "path", "header"}:
        location = location[1:] or location
    kind = str(error.get("type", ""))
    message = str(error.get("msg", "is not valid")).removeprefix("Value error, ")
    return FieldError(
        ".".join(location) or "body",
        message,
        _REMEDIES.get(kind, "correct the value: " + message[:1].lower() + message[1:]),
    )
