"""The routes of the public port, and the limits around them."""

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.ingest.doors.events import Events
from services.ingest.doors.hot import HotDoors
from services.ingest.doors.imports import Imports
from services.ingest.doors.mail import MailDoor
from services.ingest.doors.webhooks import Webhooks
from services.ingest.reception import Reception
from services.ingest.settings import Source
from services.runtime import problems
from services.runtime.auth import TokenVerifier
from services.runtime.limits import Limits


def build_api(reception: Reception, sources: Mapping[str, Source], verifier: TokenVerifier | None) -> ASGIApp:
    """Return the public ASGI app. Without a `verifier` the doors for operators stay shut."""
    hot = {
        "/v1/webhooks/": Webhooks(reception, sources).take,
        "/v1/events": Events(reception, sources).take,
    }
    # Listed again so that a GET is answered with 405 and not as if there were nothing.
    taken = [
        Route("/v1/webhooks/{source}", _only_post, methods=["POST"]),
        Route("/v1/events", _only_post, methods=["POST"]),
    ]
    routes = [
        *taken,
        Route("/v1/mail/{mailbox}", MailDoor(reception, sources).post, methods=["POST"]),
        Route("/v1/imports/{source}", Imports(reception, sources, verifier).post, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    problems.install(app)
    return Limits(HotDoors(hot, app))


async def _only_post(_request: Request) -> Response:
    """Stand behind the routes that `HotDoors` serves; only a wrong method ever comes this far."""
    raise HTTPException(405, headers={"Allow": "POST"})
