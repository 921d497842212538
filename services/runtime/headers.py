"""Kafka headers as JSON in a column: `[[name, text], …]`; a value that is no text is `{"base64": …}`, none is null."""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import orjson

Headers = Sequence[tuple[str, bytes | None]]


def dump_headers(headers: Headers) -> str:
    """Return `headers` as JSON text."""
    try:
        return orjson.dumps([(name, None if value is None else value.decode()) for name, value in headers]).decode()
    except (UnicodeDecodeError, TypeError):
        # Rare: a replayed record with bytes in its headers. Lone surrogates (bytes in a name) do not survive JSON.
        return orjson.dumps(
            [(name.encode("utf-8", "replace").decode(), _tolerant(value)) for name, value in headers]
        ).decode()


def load_headers(text: str) -> list[tuple[str, bytes | None]]:
    """Return what `dump_headers` wrote."""
    pairs = orjson.loads(text)
    try:
        return [(name, value.encode()) for name, value in pairs]
    except AttributeError:
        return [(name, _bytes(value)) for name, value in pairs]


def _tolerant(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(value).decode()}


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode()
    return None if value is None else b64decode(value["base64"])
