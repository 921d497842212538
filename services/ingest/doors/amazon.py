"""What Amazon SNS has us fetch: the certificates of its signatures, and the address that begins a subscription.

Both are at Amazon's own hosts or are not fetched at all; how much, how long, how often and how many at once is bounded.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx2
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from services.ingest.verify.asymmetric import is_sns_host

_LARGEST = 64 * 1024
_SECONDS = 1.2
_PROBE_SECONDS = 5.0
_AT_ONCE = 4
_MOST_KNOWN = 32
_KNOWN_SECONDS = 24 * 3600.0
_UNKNOWN_SECONDS = 10.0
"""After a failure an address is left alone for so long."""
_LONGEST_URL = 2048
_MOST_CONFIRMATIONS = 8
_PAUSES = (0.0, 2.0, 10.0)
_log = structlog.get_logger(__name__)

Get = Callable[[str], Awaitable[bytes]]
"""address → body of a 200. Raises `Unreachable`."""


class Unreachable(Exception):
    """Amazon could not be asked, or answered nothing of use. Later it may."""


class Amazon:
    """Fetches, remembers, confirms. `get` is the way out; `seconds` is how long a message waits for a certificate."""

    def __init__(self, get: Get, seconds: float = _SECONDS) -> None:
        self._get = get
        self._seconds = seconds
        self.certificates: dict[str, bytes] = {}
        """DER public keys by the address of their certificate."""
        self._failed: dict[str, float] = {}
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._confirming: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Nothing runs until it is needed."""

    async def stop(self) -> None:
        """Give up what is under way: Amazon sends its message again."""
        tasks = [*self._fetching.values(), *self._confirming]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def learn(self, url: str) -> None:
        """Fetch a certificate from an address that the verifier has allowed; raise `Unreachable` when it takes long."""
        now = time.monotonic()
        if self._failed.get(url, 0.0) > now:
            raise Unreachable
        task = self._fetching.get(url)
        if task is None:
            if len(self._fetching) >= _AT_ONCE:
                raise Unreachable
            task = self._fetching[url] = asyncio.create_task(self._fetch(url), name="SNS certificate")
            task.add_done_callback(lambda _: self._fetching.pop(url, None))
        try:
            # Whoever else waits for the same certificate must not lose it because one caller has gone.
            await asyncio.wait_for(asyncio.shield(task), self._seconds)
        except TimeoutError:
            raise Unreachable from None

    def confirm(self, url: str, source: str) -> bool:
        """Call the address that begins a subscription, after the answer; return False when it is no such address.

        The message that named it was verified; all the same it must be Amazon's. Raises `Unreachable` when too much is
        under way.
        """
        if not _confirms(url):
            return False
        if len(self._confirming) >= _MOST_CONFIRMATIONS:
            raise Unreachable
        task = asyncio.create_task(self._confirm(url, source), name="SNS confirmation")
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)
        return True

    async def _fetch(self, url: str) -> None:
        try:
            key, seconds = _read(await self._get(url))
        except (Unreachable, ValueError) as error:
            if len(self._failed) >= _MOST_KNOWN:
                self._failed.clear()
            self._failed[url] = time.monotonic() + _UNKNOWN_SECONDS
            _log.warning("a certificate of Amazon SNS cannot be had", error=type(error).__name__)
            raise Unreachable from None
        while len(self.certificates) >= _MOST_KNOWN:
            del self.certificates[next(iter(self.certificates))]
        self.certificates[url] = key
        asyncio.get_running_loop().call_later(seconds, self.certificates.pop, url, None)

    async def _confirm(self, url: str, source: str) -> None:
        for pause in _PAUSES:
            await asyncio.sleep(pause)
            with contextlib.suppress(Unreachable):
                await self._get(url)
                # The address holds the subscription's token: it is not for the log.
                _log.info("subscription to Amazon SNS confirmed", source=source)
                return
        _log.warning("subscription to Amazon SNS not confirmed; have Amazon request it again", source=source)


def _read(pem: bytes) -> tuple[bytes, float]:
    """Return the public key of a certificate and for how many seconds it may be remembered."""
    certificate = load_pem_x509_certificate(pem)
    now = datetime.now(UTC)
    left = (certificate.not_valid_after_utc - now).total_seconds()
    key = certificate.public_key()
    if left <= 0 or now < certificate.not_valid_before_utc or not isinstance(key, RSAPublicKey):
        raise ValueError("not valid")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), min(left, _KNOWN_SECONDS)


def _confirms(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return (
        len(url) <= _LONGEST_URL
        and url.isprintable()
        and parts.scheme == "https"
        and is_sns_host(parts.netloc)
        and parts.path in {"", "/"}
        and parse_qs(parts.query).get("Action") == ["ConfirmSubscription"]
    )


class BoundedGet:
    """The way out: follows no redirect, and reads no more and no longer than a certificate needs."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._client: httpx2.AsyncClient | None = None

    async def __call__(self, url: str) -> bytes:
        """Return the body of a 200; raise `Unreachable`."""
        if self._client is None:
            # Most companies have no source at Amazon: reading the trusted authorities takes a while.
            self._client = httpx2.AsyncClient(follow_redirects=False, timeout=self._seconds)
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds), self._client.stream("GET", url) as response:
                if response.status_code != httpx2.codes.OK:
                    raise Unreachable
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > _LARGEST:
                        raise Unreachable
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError):
            raise Unreachable from None
        return bytes(body)

    async def reaches(self, url: str) -> bool:
        """Say whether anybody answers there, whatever the answer is."""
        try:
            async with httpx2.AsyncClient(follow_redirects=False, timeout=_PROBE_SECONDS) as client:
                await client.head(url)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            return False
        return True

    async def aclose(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
