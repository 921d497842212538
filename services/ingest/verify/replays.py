"""Tokens that a provider uses once, where its signature covers nothing but the token."""

from collections import OrderedDict
from typing import Protocol

from services.ingest.verify.proof import ONCE_SECONDS, TOLERANCE_SECONDS, Unverified

_MOST = 100_000
KEPT_SECONDS = ONCE_SECONDS + TOLERANCE_SECONDS + 1


class Once(Protocol):
    """Remembers what came with a token.

    The same again is a delivery that was repeated, and passes; something else under a known token is a forgery.
    """

    async def check(self, source: str, token: str, content: str, now: float) -> None:
        """Raise `Unverified` when `token` came with another `content` (a digest) before. `now` is Unix time."""
        ...


class OnceOnly:
    """`Once` in this process's memory, for as long as a token's timestamp lets it pass, and for so many at most."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._seen: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def __len__(self) -> int:
        """How many tokens are remembered."""
        return len(self._seen)

    async def check(self, source: str, token: str, content: str, now: float) -> None:
        """See `Once`."""
        while self._seen and (len(self._seen) > self._most or next(iter(self._seen.values()))[0] < now - KEPT_SECONDS):
            self._seen.popitem(last=False)
        _, before = self._seen.setdefault((source, token), (now, content))
        if before != content:
            raise Unverified("replayed")
