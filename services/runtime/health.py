"""The operations port: is it alive, is it ready, does it flow, and the metrics. Internal, without authentication."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import asyncpg
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.runtime import problems
from services.runtime.flow import FlowReport
from services.runtime.postgres import acquire
from services.runtime.telemetry import Telemetry

# Returns None when all is well, else what is wrong in a few words.
Check = Callable[[], Awaitable[str | None]]
_CHECK_SECONDS = 2.0
_FLOW_SECONDS = 10.0
_log = structlog.get_logger(__name__)


def operations_app(
    checks: Mapping[str, Check], flow: Callable[[], Awaitable[FlowReport]], telemetry: Telemetry
) -> Starlette:
    """Return the app with `/livez` (the event loop turns), `/readyz` (every check passes), `/flow` and `/metrics`."""

    async def livez(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        verdicts = dict(zip(checks, await asyncio.gather(*(_verdict(check) for check in checks.values())), strict=True))
        ready = all(verdict is None for verdict in verdicts.values())
        body = {
            "status": "ready" if ready else "not ready",
            "checks": {name: verdict or "ok" for name, verdict in verdicts.items()},
        }
        return JSONResponse(body, status_code=200 if ready else 503)

    async def show_flow(_request: Request) -> Response:
        try:
            report = await asyncio.wait_for(flow(), _FLOW_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever is away, the answer is that we do not know
            raise _unknown(error) from None
        return JSONResponse(report.body())

    async def metrics(_request: Request) -> Response:
        try:
            await asyncio.wait_for(flow(), _FLOW_SECONDS / 2)
        except Exception as error:  # noqa: BLE001 - counters are worth reading also while the broker is away
            _log.debug("gauges not refreshed", error=type(error).__name__)
        return Response(telemetry.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        # This app ends last (see `service.Service`): what others have measured until then is written out.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(telemetry.close), _CHECK_SECONDS)

    app = Starlette(
        lifespan=lifespan,
        routes=[
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/flow", show_flow),
            Route("/metrics", metrics),
        ],
    )
    problems.install(app)
    return app


def postgres_check(pool: asyncpg.Pool) -> Check:
    """Return a check that the database answers."""

    async def check() -> str | None:
        async with acquire(pool) as connection:
            await connection.fetchval("select 1")
        return None

    return check


def status_check(ready: Callable[[], bool], status: Callable[[], str]) -> Check:
    """Return a check of something that knows whether it is ready, such as a `BatchConsumer`."""

    async def check() -> str | None:
        if ready():
            return None
        return status() if status() != "running" else "no progress although records wait"

    return check


async def _verdict(check: Check) -> str | None:
    try:
        return await asyncio.wait_for(check(), _CHECK_SECONDS)
    except Exception as error:  # noqa: BLE001 - a check that fails is an answer
        return type(error).__name__


def _unknown(error: Exception) -> problems.Problem:
    detail = f"The broker or the database did not answer ({type(error).__name__}); ask again."
    return problems.Problem(503, "Unknown how far we are", detail, "flow-unknown", headers={"Retry-After": "2"})
