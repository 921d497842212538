"""The OpenAPI and AsyncAPI documents in docs/api: `make docs` writes them, a test compares them with the code."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from contracts import asyncapi
from services.accounts.app import build as build_accounts
from services.accounts.settings import AccountsSettings
from services.ingest.app import build as build_ingest
from services.ingest.settings import IngestSettings
from services.metrics.app import build as build_metrics
from services.metrics.settings import MetricsSettings
from services.notifier.app import build as build_notifier
from services.notifier.settings import NotifierSettings
from services.runtime.auth import Issuer
from services.runtime.openapi import URL
from services.runtime.service import Service
from services.runtime.settings import RuntimeSettings, load

FOLDER = Path(__file__).parents[3] / "docs" / "api"
_BUILD: Mapping[str, tuple[type[Any], Callable[[Any], Awaitable[Service]]]] = {
    "ingest": (IngestSettings, build_ingest),
    "accounts": (AccountsSettings, build_accounts),
    "metrics": (MetricsSettings, build_metrics),
    "notifier": (NotifierSettings, build_notifier),
}


async def documents() -> dict[str, dict[str, Any]]:
    """Every document by the name of its file. Wires the services; none of them reaches for broker or database."""
    found: dict[str, dict[str, Any]] = {"asyncapi.json": asyncapi.document()}
    with tempfile.TemporaryDirectory() as folder:
        nowhere = environ(Path(folder))
        for name, (kind, build) in _BUILD.items():
            settings: RuntimeSettings = load(kind, nowhere)
            service = await build(settings)
            try:
                found[f"{name}.openapi.json"] = await _told(service)
            finally:
                for close in service.resources:
                    await close()
    return found


async def _told(service: Service) -> dict[str, Any]:
    """What the service itself answers to whoever asks."""
    assert service.api is not None
    transport = httpx2.ASGITransport(service.api)
    async with httpx2.AsyncClient(transport=transport, base_url="http://tenure.example") as client:
        response = await client.get(URL)
    assert response.status_code == httpx2.codes.OK
    told: dict[str, Any] = response.json()
    return told


def environ(folder: Path) -> dict[str, str]:
    """Settings that lead nowhere."""
    issuer = Issuer(folder / "issuer", "https://login.example", "tenure")
    (folder / "sources.toml").write_text("")
    nowhere = "postgresql://nobody@127.0.0.1/nothing"
    return {
        "TENURE_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "TENURE_DATABASE_URL": nowhere,
        "TENURE_API_DATABASE_URL": nowhere,
        "TENURE_HTTP_PORT": "0",
        "TENURE_OPERATIONS_PORT": "0",
        "TENURE_AUTH_JWKS_FILE": str(issuer.jwks_file),
        "TENURE_AUTH_ISSUER": issuer.issuer,
        "TENURE_AUTH_AUDIENCE": issuer.audience,
        "TENURE_TIME_ZONE": "Europe/Berlin",
        "TENURE_REPORTING_CURRENCY": "EUR",
        "TENURE_SOURCES_FILE": str(folder / "sources.toml"),
        "TENURE_INGEST_OPERATIONS_URL": "http://127.0.0.1:9",
        "TENURE_ACCOUNTS_OPERATIONS_URL": "http://127.0.0.1:9",
        "TENURE_METRICS_OPERATIONS_URL": "http://127.0.0.1:9",
        "TENURE_SMTP_HOST": "127.0.0.1",
        "TENURE_MAIL_FROM": "tenure@tenure.example",
        "TENURE_CONSOLE_URL": "https://tenure.example",
    }


def text(document: dict[str, Any]) -> str:
    """The document as it is checked in."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


async def write() -> None:
    """Renew the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, document in (await documents()).items():
        (FOLDER / name).write_text(text(document), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(write())
