"""Asks the services before us how far they have come: their /flow, and our own consumer's."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import httpx2
import structlog

from services.notifier.domain.horizon import Horizons, Source, Stage
from services.runtime.flow import FlowReport

_log = structlog.get_logger(__name__)
_SECONDS = 5.0


class UpstreamFlow:
    """The horizon of the whole way. Who does not answer is not known, and what waits for it goes on waiting."""

    def __init__(
        self,
        *,
        services: Mapping[str, str],
        own: Callable[[], Awaitable[FlowReport]],
        client: httpx2.AsyncClient,
    ) -> None:
        """`services` gives operations URLs by name, in the order in which records travel, ingest first."""
        self._services = services
        self._own = own
        self._client = client

    async def horizons(self) -> Horizons:
        """Ask in order: what one service had passed on when it was asked, the next had a chance to see."""
        stages: list[Stage] = []
        sources: Mapping[str, Source] | None = None
        for service, url in self._services.items():
            body = await self._ask(service, url)
            stages.append(_stage(service, body))
            if service == "ingest":
                sources = _sources(body)
        stages.append(await self._ourselves())
        return Horizons(tuple(stages), sources)

    async def _ask(self, service: str, url: str) -> Mapping[str, Any] | None:
        try:
            answer = await self._client.get(f"{url.rstrip('/')}/flow", timeout=_SECONDS)
            answer.raise_for_status()
            body = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            _log.info("a service does not say how far it has come", service_asked=service, error=type(error).__name__)
            return None
        return body if isinstance(body, dict) else None

    async def _ourselves(self) -> Stage:
        try:
            report = await self._own()
        except Exception as error:  # noqa: BLE001 - whatever is away, the answer is that we do not know
            _log.info("our own consumer cannot say how far it has come", error=type(error).__name__)
            return Stage("notifier", None)
        return Stage("notifier", report.horizon, report.dead_letters_waiting, sum(report.lag.values()))


def _stage(service: str, body: Mapping[str, Any] | None) -> Stage:
    if body is None:
        return Stage(service, None)
    waiting = body.get("dead_letters_waiting")
    return Stage(service, _moment(body.get("horizon")), waiting if isinstance(waiting, int) else 0)


def _sources(body: Mapping[str, Any] | None) -> Mapping[str, Source] | None:
    if body is None:
        return None
    part = body.get("parts", {}).get("sources", {})
    return {name: _source(name, said) for name, said in part.items() if isinstance(said, dict)}


def _source(name: str, said: Mapping[str, Any]) -> Source:
    return Source(
        name=name,
        provider=str(said.get("provider", "")),
        polled=bool(said.get("polled")),
        horizon=_moment(said.get("horizon")),
        last_delivery=_moment(said.get("last_delivery")),
        status=str(said.get("status", "broken: it says nothing")),
        quiet=said.get("quiet") is True,
        expected_by=_moment(said.get("expected_by")),
        unusual_from=_moment(said.get("unusual_from")),
        broken_since=_moment(said.get("broken_since")),
        responsible=tuple(str(name) for name in said.get("responsible") or ()),
    )


def _moment(said: object) -> datetime | None:
    if not isinstance(said, str):
        return None
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
