"""Standard Webhooks' signature of a body that is never held as a whole."""

import base64
import hmac
import time
from collections.abc import Mapping, Sequence

from services.ingest.verify.proof import Unverified, as_bytes, check_age, check_any, header, unix


class StreamedProof:
    """Checks one request: begin with its headers, `feed` its body, then `check`.

    Beginning raises `Unverified` for what no body could make right: no signature, or one that is too old.
    """

    def __init__(self, keys: Sequence[bytes], headers: Mapping[str, str], *, now: float | None = None) -> None:
        self._given = as_bytes(header(headers, "webhook-signature")).split(b" ")
        identifier, timestamp = header(headers, "webhook-id"), header(headers, "webhook-timestamp")
        try:
            signed_at = unix(timestamp)
        except (ValueError, OverflowError):
            raise Unverified("bad_timestamp") from None
        check_age(signed_at, time.time() if now is None else now)
        begin = as_bytes(f"{identifier}.{timestamp}.")
        self._macs = [hmac.new(key, begin, "sha256") for key in keys]

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        for mac in self._macs:
            mac.update(chunk)

    def check(self) -> None:
        """Raise `Unverified` unless one of the keys signed the body."""
        check_any([b"v1," + base64.b64encode(mac.digest()) for mac in self._macs], self._given)
