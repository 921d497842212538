"""Generic web hooks, signed as Standard Webhooks says: each step of an alert as a CloudEvent over HTTP."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson

from contracts.envelope import format_instant
from contracts.values import json_safe
from services.notifier.channels.addresses import Network, Refused, Target, resolve
from services.notifier.domain.delivery import Attempt, Job, Notice

_SECONDS = 10.0
_ANSWER_BYTES = 64 * 1024
_LONGEST_SECONDS = 10**8
_SECRET_BYTES = 24
"""The least that Standard Webhooks asks of a secret."""


class SecretMissing(Exception):
    """The secret file cannot be used; the text says why, without the secret."""


class WebhookChannel:
    """Posts deliveries. `secrets` is the folder that destinations' secret files lie in."""

    def __init__(self, client: httpx2.AsyncClient, *, secrets: Path | None, allowed: Sequence[Network]) -> None:
        self._client = client
        self._secrets = secrets
        self._allowed = allowed

    async def deliver(self, job: Job) -> Attempt:
        """Post once; 2xx is success, everything else is an outcome, to be tried again. Redirects are not followed."""
        try:
            secret = read_secret(self._secrets, job.destination.secret_file)
            # Over everything, the look-up and a body that drips included.
            async with asyncio.timeout(_SECONDS):
                target = await resolve(job.destination.address, self._allowed)
                status, retry_after = await self._post(target, job, secret)
        except SecretMissing as missing:
            return Attempt(delivered=False, outcome=str(missing))
        except Refused as refused:
            return Attempt(delivered=False, outcome=f"refused: {refused}")
        except (httpx2.TimeoutException, TimeoutError):
            return Attempt(delivered=False, outcome=f"no answer within {_SECONDS:.0f} s")
        except (httpx2.HTTPError, OSError) as fault:
            return Attempt(delivered=False, outcome=f"could not be reached: {type(fault).__name__}")
        if httpx2.codes.is_success(status):
            return Attempt(delivered=True, outcome=f"answered {status}")
        return Attempt(delivered=False, outcome=f"answered {status}", leave_alone=left_alone(status, retry_after))

    async def _post(self, target: Target, job: Job, secret: bytes) -> tuple[int, str | None]:
        body = payload(job)
        # Signed anew for each attempt: receivers refuse old timestamps. The id stays: it is the idempotency key.
        moment = int(time.time())
        headers = {
            "host": _host(target),
            "content-type": "application/cloudevents-batch+json",
            "user-agent": "Tenure",
            "webhook-id": job.delivery_id,
            "webhook-timestamp": str(moment),
            "webhook-signature": sign(secret, job.delivery_id, moment, body),
        }
        literal = f"[{target.address}]" if target.address.version == 6 else str(target.address)  # noqa: PLR2004 - IPv6
        request = self._client.build_request(
            "POST",
            f"{target.scheme}://{literal}:{target.port}{target.path}",
            content=body,
            headers=headers,
            timeout=_SECONDS,
            # The connection goes to the address that was checked; the certificate must be for the name.
            extensions={"sni_hostname": target.host},
        )
        response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            read = 0
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > _ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
        return response.status_code, response.headers.get("retry-after")


def left_alone(status: int, retry_after: str | None) -> timedelta | None:
    """Return for how long an answer asks to be left alone: Retry-After of a 429 or 503, in seconds or as a date."""
    if status not in {httpx2.codes.TOO_MANY_REQUESTS, httpx2.codes.SERVICE_UNAVAILABLE} or not retry_after:
        return None
    if retry_after.strip().isdecimal():
        return timedelta(seconds=min(int(retry_after[:12]), _LONGEST_SECONDS))
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(aware - datetime.now(UTC), timedelta())


def new_client() -> httpx2.AsyncClient:
    """Return a client that uses no proxy, no .netrc and keeps no cookies of strangers."""
    return httpx2.AsyncClient(
        trust_env=False, follow_redirects=False, limits=httpx2.Limits(max_keepalive_connections=0)
    )


def payload(job: Job) -> bytes:
    """Return the batch of CloudEvents that a delivery carries: the same bytes for every attempt."""
    return orjson.dumps([_cloud_event(notice) for notice in job.notices], option=orjson.OPT_SORT_KEYS)


def _cloud_event(notice: Notice) -> dict[str, Any]:
    event = notice.event
    return {
        "specversion": "1.0",
        "id": f"{event.alert_id}.{event.version}",
        "source": "/notifier",
        "type": event.TYPE,
        "subject": event.alert_id,
        "time": format_instant(event.changed_at),
        "datacontenttype": "application/json",
        "data": {**json_safe(event), "account_name": notice.account_name},
    }


def sign(secret: bytes, message_id: str, moment: int, body: bytes) -> str:
    """Return the header webhook-signature over id, timestamp (seconds since 1970) and body."""
    signed = b".".join((message_id.encode(), str(moment).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def read_secret(folder: Path | None, name: str | None) -> bytes:
    """Return the secret in a file of the secrets folder ("whsec_…"); raise `SecretMissing`."""
    if folder is None or not name:
        raise SecretMissing("no secret: set TENURE_SECRETS_DIR and the destination's secret_file")
    if Path(name).name != name or name in {".", ".."}:
        raise SecretMissing("the secret file must be a plain name inside TENURE_SECRETS_DIR")
    try:
        text = (folder / name).read_text(encoding="ascii").strip()
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (OSError, UnicodeDecodeError, binascii.Error):
        raise SecretMissing(f"the secret file {name} is missing or holds no whsec_ secret") from None
    if len(secret) < _SECRET_BYTES:
        raise SecretMissing(f"the secret in {name} is shorter than {_SECRET_BYTES} bytes")
    return secret


def _host(target: Target) -> str:
    name = f"[{target.host}]" if ":" in target.host else target.host
    return name if target.port == {"http": 80, "https": 443}[target.scheme] else f"{name}:{target.port}"
