"""Tokens that a provider uses once, where its signature covers nothing but the token."""

from collections import OrderedDict

from services.ingest.verify.proof import TOLERANCE_SECONDS, Unverified

_MOST = 100_000
_SECONDS = 2 * TOLERANCE_SECONDS + 1


class OnceOnly:
    """Remembers what came with a token, for as long as its timestamp lets it pass, and for so many at most.

    The same again is a delivery that was repeated, and passes; something else under a known token is a forgery.
    The memory is this process's: beside another replica a token holds once in each.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._seen: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def __len__(self) -> int:
        """How many tokens are remembered."""
        return len(self._seen)

    def check(self, source: str, token: str, content: str, now: float) -> None:
        """Raise `Unverified` when `token` came with another `content` (a digest) before. `now` is Unix time."""
        while self._seen and (len(self._seen) > self._most or next(iter(self._seen.values()))[0] < now - _SECONDS):
            self._seen.popitem(last=False)
        _, before = self._seen.setdefault((source, token), (now, content))
        if before != content:
            raise Unverified("replayed")
