"""Reading records that consist of pieces which many records share: the same piece is read once.

A KPI state has 44 values, most of them nothing or a small number. To check 132 decimals costs four times as much as all
the rest of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.standin_types import copied

_SHORT = 128
"""Bytes of a piece that is worth keeping: longer ones name interactions."""
_AT_MOST = 10_000


class Piecewise:
    """Decodes what `msgspec.json.Decoder(whole)` does; `field` of `whole` is a tuple of structs."""

    def __init__(self, whole: type[msgspec.Struct], field: str, piece: type[msgspec.Struct]) -> None:
        self._whole = whole
        self._field = field
        self._plain = msgspec.json.Decoder(whole)
        self._outer = msgspec.json.Decoder(_unread(whole, field))
        self._piece = msgspec.json.Decoder(piece)
        self._known: dict[bytes, Any] = {}

    def decode(self, value: bytes) -> Any:
        """Return the struct; raise `msgspec.MsgspecError` or what its checks raise."""
        given = self._outer.decode(value)
        fields = {name: getattr(given, name) for name in given.__struct_fields__}
        text = bytes(fields[self._field])
        if text == b"[]":
            fields[self._field] = ()
            return self._whole(**fields)
        if not (text.startswith(b"[{") and text.endswith(b"}]")):
            return self._plain.decode(value)
        try:
            fields[self._field] = self._pieces(text[2:-2].split(b"},{"))
        except msgspec.MsgspecError:
            # Wrong, or the pieces are not where they seemed to be.
            return self._plain.decode(value)
        return self._whole(**fields)

    def _pieces(self, texts: Sequence[bytes]) -> tuple[Any, ...]:
        known = self._known
        return tuple([known.get(text) or self._read(text) for text in texts])

    def _read(self, text: bytes) -> Any:
        found = self._piece.decode(b"{%b}" % text)
        if len(text) <= _SHORT:
            if len(self._known) >= _AT_MOST:
                self._known.clear()
            self._known[text] = found
        return found


def _unread(whole: type[msgspec.Struct], unread: str) -> type[msgspec.Struct]:
    """Return the struct with the field `unread` left as it came, demanded, and without checks over several fields."""
    return msgspec.defstruct(
        f"Unread{whole.__name__}",
        **copied(whole, retyped={unread: msgspec.Raw}),
        kw_only=True,
        gc=False,
        forbid_unknown_fields=True,
    )
