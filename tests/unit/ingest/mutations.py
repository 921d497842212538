"""Seeded damage to what providers send: a value that is another, a name that is gone, bytes that are none of both."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from services.ingest.sources.registry import WEBHOOKS

EXAMPLES = Path(__file__).with_name("examples")
_NESTED: Any = "deep"
for _ in range(40):
    _NESTED = {"a": [_NESTED]}
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63 - 1, -(2**63), 10**40, 1.5, -0.0, 1e308, float("inf"), float("nan"),
    "", " ", "0", "-1", "1e9", "NaN", "é" * 300, "x" * 70_000, "\x00", "\ud800", "a\x00b", "\u202e", "\ufeff",
    "2026-03-02T09:30:00Z", "2026-03-02T09:30:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-02-30",
    "-12.5", "1,5", "١٢", "1" * 400, "mailto:", "@", "a@b", "a@[127.0.0.1]", "bob@acme.example", "+", "+49", "00000",
    "client:anna", "sip:1@example.com", "anonymous", "<>", "<script>", "%s", "../../etc/passwd", "=1+1",
    [], {}, [None], [[]], {"": ""}, [{"id": None}], [1, "a", None, {}], {"id": 1}, _NESTED,
)  # fmt: skip
"""What a reader that trusts its provider stumbles over."""


def goldens(provider: str) -> list[dict[str, Any]]:
    """The golden requests of a provider."""
    paths = sorted((EXAMPLES / provider).glob("*.json"))
    return [golden for path in paths if "headers" in (golden := json.loads(path.read_text(encoding="utf-8")))]


def providers() -> list[str]:
    """All providers that have golden requests as JSON or forms."""
    return sorted(name for name in WEBHOOKS if goldens(name))


def damaged(chance: random.Random, value: Any) -> Any:
    """The same JSON, damaged in one to three places."""
    value = copy.deepcopy(value)
    for _ in range(chance.randrange(1, 4)):
        value = _damage(chance, value)
    return value


def _damage(chance: random.Random, value: Any) -> Any:
    if isinstance(value, (dict, list)) and value and chance.random() < 0.9:
        place = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        way = chance.random()
        if way < 0.15:
            del value[place]
        elif way < 0.2 and isinstance(value, dict):
            value[str(chance.choice(ODD))[:50]] = value.pop(place)
        elif way < 0.25 and isinstance(value, list):
            value += value[:20] * chance.randrange(1, 20)
        else:
            value[place] = _damage(chance, value[place])
        return value
    if isinstance(value, str) and value and chance.random() < 0.3:
        position = chance.randrange(len(value))
        return value[:position] + chance.choice(["", "\x00", "é", "9", "-", " ", "\ud83d"]) + value[position + 1 :]
    return copy.deepcopy(chance.choice(ODD))


def text(chance: random.Random) -> str:
    """An odd text of bounded length."""
    return str(chance.choice([odd for odd in ODD if isinstance(odd, (str, int, float))]))[:5000]


def damaged_body(chance: random.Random, body: bytes) -> bytes:
    """The same bytes with some of them exchanged, taken out, doubled, or none of them."""
    way = chance.random()
    if way < 0.15:
        return chance.randbytes(chance.randrange(0, 2000))
    if way < 0.25:
        return chance.choice([b"", b"null", b"[]", b"{}", b'""', b"0", b"[" * 70, b'{"a":' * 70, b"\xff\xfe{}", b"-"])
    changed = bytearray(body or b"{}")
    for _ in range(chance.randrange(1, 8)):
        position = chance.randrange(len(changed)) if changed else 0
        piece = chance.choice([b"", b'"', b"{", b"}", b"]", b",", b"\x00", b"\\u0000", b"\\ud800", b"\xff", b"9" * 50])
        changed[position : position + chance.randrange(0, 4)] = piece
    return bytes(changed)


def golden_body(golden: dict[str, Any]) -> bytes:
    """The bytes of a golden request."""
    return urlencode(golden["form"]).encode() if "form" in golden else orjson.dumps(golden["body"])


_ONCE: dict[str, list[dict[str, Any]]] = {}


def goldens_once(provider: str) -> list[dict[str, Any]]:
    """The golden requests, read once."""
    if provider not in _ONCE:
        _ONCE[provider] = goldens(provider)
    return _ONCE[provider]
