"""The API of metrics over a test's database, asked as somebody, without a server in between."""

from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx2 as httpx

from services.metrics.api import Reads, create_api
from services.metrics.store import reading
from services.runtime.auth import Issuer, TokenVerifier
from services.runtime.freshness import Freshness
from tests.unit.metrics.builders import BERLIN


class SteppedClock:
    """A clock that a test sets."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """Return the moment that was set."""
        return self.moment


class Front:
    """Asks the API; `fresh` says whether the accounts topic has no lag."""

    def __init__(self, pool: asyncpg.Pool, api_pool: asyncpg.Pool, folder: Path, moment: datetime) -> None:
        self.clock = SteppedClock(moment)
        self.issuer = Issuer(folder, "test", "tenure")
        self.fresh = True
        self.seconds = 0.0
        freshness = Freshness(self._lag, lambda: self.seconds)
        verifier = TokenVerifier(self.issuer.jwks_file, "test", "tenure")
        reads = Reads(pool=api_pool, table=reading, days=BERLIN, clock=self.clock, currency="EUR", freshness=freshness)
        self._app = create_api(reads=reads, verifier=verifier, worker_pool=pool, table=reading, currency="EUR")

    async def _lag(self) -> int:
        return 0 if self.fresh else 1

    async def ask(
        self, path: str, subject: str | None = "boss", roles: tuple[str, ...] = (), **more: Any
    ) -> httpx.Response:
        """Send a request as `subject`; None sends no token."""
        headers = {} if subject is None else {"Authorization": f"Bearer {self.issuer.issue(subject, roles)}"}
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics") as client:
            return await client.request(more.pop("method", "GET"), path, headers=headers, **more)


def values(body: Any, window: int = 7) -> dict[str, tuple[str | None, str | None]]:
    """KPI → (value, previous) of one window; of several currencies the last."""
    return {one["kpi"]: (one["value"], one["previous"]) for one in body["values"] if one["window"] == window}
