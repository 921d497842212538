"""Bodies of webhooks: JSON and both kinds of forms, within bounds."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header

from services.ingest import strict_json

_MOST_FIELDS = 1000
_OF_MAILS = frozenset({"body-mime", "charsets", "message-headers"})
"""Fields that only forms with a mail in them have."""


class UnreadableForm(Exception):
    """The body is no form of the kind that its media type says."""


class Body(NamedTuple):
    """What a body holds: parsed JSON, or the fields of a form and its files."""

    payload: Any
    files: Mapping[str, bytes]


def read(media: str, content_type: str, body: bytes) -> Body:
    """Parse a body; `media` is `content_type` without parameters. Raises `strict_json.BadJson` or `UnreadableForm`.

    Texts of providers may hold what cannot be stored; mappings mend or refuse it. Of a name that stands several times
    in a form the first value counts.
    """
    if media == "application/x-www-form-urlencoded":
        return Body(_urlencoded(body), {})
    if media == "multipart/form-data":
        return _multipart(content_type, body)
    # Whatever else a provider's table lets in (SNS says text/plain) is JSON.
    return Body(strict_json.loads(body, storable=False), {})


def query(raw: bytes) -> dict[str, str]:
    """Return the first value of each name in a query string; one that is none is empty."""
    try:
        return _urlencoded(raw)
    except UnreadableForm:
        return {}


def _urlencoded(body: bytes) -> dict[str, str]:
    try:
        text = body.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="surrogateescape")
    except ValueError:
        raise UnreadableForm from None
    fields: dict[str, bytes] = {}
    for name, value in pairs:
        fields.setdefault(name, value.encode("utf-8", "surrogateescape"))
    return _texts(fields)


def _multipart(content_type: str, body: bytes) -> Body:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise UnreadableForm
    fields: dict[str, bytes] = {}
    files: dict[str, bytes] = {}

    def on_field(field: Field) -> None:
        if len(fields) >= _MOST_FIELDS:
            raise UnreadableForm
        fields.setdefault(_text(field.field_name), field.value or b"")

    def on_file(file: File) -> None:
        if len(files) >= _MOST_FIELDS:
            raise UnreadableForm
        file.file_object.seek(0)
        files.setdefault(_text(file.field_name), file.file_object.read())

    # Files stay in memory: the body is there already, and its size is bounded.
    settings = {"MAX_MEMORY_FILE_SIZE": len(body) + 1}
    parser = FormParser("multipart/form-data", on_field, on_file, boundary=boundary, config=settings)
    try:
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise UnreadableForm from None
    finally:
        parser.close()
    return Body(_texts(fields), files)


def _texts(fields: Mapping[str, bytes]) -> dict[str, str]:
    """A form that carries a mail has bytes of any charset, which must arrive as they are."""
    errors = "replace" if _OF_MAILS.isdisjoint(fields) else "surrogateescape"
    return {name: value.decode("utf-8", errors) for name, value in fields.items()}


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
