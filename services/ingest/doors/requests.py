"""What the doors have in common: reading a body, refusing it, and answering when the broker is away."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.ingest import strict_json
from services.ingest.publisher import TooLarge, Unavailable
from services.runtime.problems import FieldError, Problem

RETRY_AFTER_SECONDS = 2
_JSON = frozenset({"application/json", "text/json"})


def unsigned() -> Problem:
    """Return the one answer to everything that is not authentic."""
    return Problem(401, "Not authentic", "The signature is missing, wrong or too old.", "unsigned")


def unknown_source() -> Problem:
    """Return the answer to a source that is not configured."""
    return Problem(
        404, "Unknown source", "No such source is configured here; ask your operator for the address.", "unknown-source"
    )


def unavailable() -> Problem:
    """Return the answer while the broker is away or overrun."""
    return Problem(
        503,
        "Not accepted for now",
        "What you sent could not be stored for certain; send the same again, it will count once.",
        "unavailable",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def refusal(error: Unavailable | TooLarge) -> Problem:
    """Return the answer to what the publisher could not deliver."""
    if isinstance(error, TooLarge):
        return Problem(413, "Too large", "A single event is larger than can be stored; send less text.", "too-large")
    return unavailable()


def foreign_address() -> Problem:
    """Return the answer to a handshake that would have us call a stranger."""
    detail = "The address that would confirm the subscription is not Amazon's; look at who sent the message."
    return Problem(422, "Not confirmed", detail, "foreign-address")


def without_content(why: str) -> Problem:
    """Return the answer to a mail that is not understood and, without its content, cannot be kept to be replayed."""
    detail = f"The mail says nothing that can be kept without its content ({why}); look at its headers."
    return Problem(422, "Mail not understood", detail, "unmapped")


def media_of(content_type: str) -> str:
    """Return a media type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def uncompressed(headers: Mapping[str, str]) -> str:
    """Return the media type without parameters, whichever it is; raise 415 for a compressed body."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "Compressed body", "Send the body without Content-Encoding.", "content-encoding")
    return media_of(headers.get("content-type", ""))


def check_media(headers: Mapping[str, str], accepted: frozenset[str] = _JSON) -> str:
    """Return the media type without parameters; raise 415 for another, or for a compressed body."""
    media = uncompressed(headers)
    if media not in accepted:
        raise Problem(415, "Unknown media type", f"Send Content-Type: {' or '.join(sorted(accepted))}.", "media-type")
    return media


async def read_body(request: Request) -> bytes:
    """Return the body; the limit is the middleware's."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise Problem(400, "Incomplete body", "The connection ended before the body did.", "incomplete") from None


def parse(body: bytes) -> Any:
    """Return the strictly parsed JSON; raise 400 naming the field and the remedy."""
    try:
        return strict_json.loads(body)
    except strict_json.BadJson as bad:
        raise bad_json(bad) from None


def bad_json(bad: strict_json.BadJson) -> Problem:
    """Return the answer to bytes that are no acceptable JSON."""
    errors = [FieldError(bad.field or "body", bad.message, bad.remedy)]
    return Problem(
        400, "Not acceptable JSON", f"{bad.message[:1].upper()}{bad.message[1:]}; {bad.remedy}.", "bad-json", errors
    )


def bad_form() -> Problem:
    """Return the answer to a form that cannot be read."""
    errors = [FieldError("body", "is not the form that Content-Type says", "send it as the provider does, unchanged")]
    return Problem(400, "Not a form", "The body is not the form that Content-Type says.", "bad-form", errors)


def answer(content: Mapping[str, Any], status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")
