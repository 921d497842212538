"""The API of accounts under test: callers with tokens, a clock that stands, real roles and row-level security."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx2 as httpx

from deploy.databases import DatabaseAccess
from services.accounts.api import build_api, resources
from services.accounts.api.access import Desk
from services.accounts.store.edits import EditTables
from services.accounts.store.views import Views
from services.runtime.auth import Issuer, TokenVerifier
from services.runtime.postgres import create_pool
from tests.unit.accounts.events import MONDAY

BERLIN = ZoneInfo("Europe/Berlin")


class StandingClock:
    """Stands until a test moves it."""

    def __init__(self) -> None:
        self.moment = MONDAY

    def now(self) -> datetime:
        """The moment that was set."""
        return self.moment


@dataclass
class Company:
    """The API as several callers see it."""

    api: Any
    issuer: Issuer
    clock: StandingClock
    writing: asyncpg.Pool
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    def caller(self, subject: str, roles: Iterable[str] = ()) -> httpx.AsyncClient:
        """A client with a token for `subject`."""
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.api),
            base_url="http://accounts",
            headers={"Authorization": f"Bearer {self.issuer.issue(subject, roles)}"},
        )
        self.clients.append(client)
        return client

    @property
    def admin(self) -> httpx.AsyncClient:
        """A caller who may do everything."""
        return self.caller("root", ["admin"])

    async def upload(self, table: str, text: str | bytes, **query: Any) -> httpx.Response:
        """An import by an operator."""
        return await self.caller("importer", ["operator"]).post(
            f"/v1/imports/{table}", content=text, params=query, headers={"Content-Type": "text/csv"}
        )


@asynccontextmanager
async def opened(
    access: DatabaseAccess, folder: Path, wake: Callable[[], None] = lambda: None
) -> AsyncIterator[Company]:
    """The API on a test's database."""
    issuer = Issuer(folder, "test", "tenure")
    clock = StandingClock()
    reading = await create_pool(access.api, max_size=4)
    writing = await create_pool(access.worker, max_size=4, lock_timeout_ms=200)
    desk = Desk(
        reading=reading,
        writing=writing,
        open_views=Views,
        open_edits=EditTables,
        verifier=TokenVerifier(issuer.jwks_file, "test", "tenure"),
        clock=clock,
        zone=BERLIN,
        region="DE",
        wake=wake,
    )
    company = Company(build_api(resources(desk, BERLIN)), issuer, clock, writing)
    try:
        yield company
    finally:
        for client in company.clients:
            await client.aclose()
        await reading.close()
        await writing.close()
