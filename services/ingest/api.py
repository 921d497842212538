"""The routes of the public port, and the limits around them."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from services.ingest.doors.events import Events
from services.ingest.doors.webhooks import Webhooks
from services.ingest.reception import Reception
from services.ingest.settings import Source
from services.runtime import problems
from services.runtime.limits import Limits


def build_api(reception: Reception, sources: Mapping[str, Source]) -> ASGIApp:
    """Return the public ASGI app."""
    routes: list[BaseRoute] = [
        Route("/v1/events", Events(reception, sources).post, methods=["POST"]),
        Route("/v1/webhooks/{source}", Webhooks(reception, sources).post, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    problems.install(app)
    return Limits(app)
