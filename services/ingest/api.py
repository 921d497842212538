"""The routes of the public port, and the limits around them."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from services.ingest.domain.mapping import MapMail, ReadCloudEvent
from services.ingest.domain.provider import BoundProvider
from services.ingest.domain.source import Source
from services.ingest.domain.written import OpenLines
from services.ingest.doors import erasures
from services.ingest.doors import sources as standing
from services.ingest.doors.amazon import Amazon
from services.ingest.doors.description import DESCRIPTION, doors
from services.ingest.doors.events import Events
from services.ingest.doors.hot import Door, HotDoors, Take
from services.ingest.doors.imports import Imports, ReadCalendar, Readers
from services.ingest.doors.mail import MailDoor
from services.ingest.doors.rehearsal import Post, Rehearsals
from services.ingest.doors.replay import LARGEST_KEPT, Replay
from services.ingest.doors.sources import Probe, Standings
from services.ingest.doors.trimming import LARGEST_BODY, MOST_HELD
from services.ingest.doors.webhooks import Webhooks
from services.ingest.reception import Reception
from services.ingest.verify.replays import Once
from services.runtime import openapi, problems
from services.runtime.auth import TokenVerifier
from services.runtime.limits import Limits, Streamed

_MAILS = Streamed(body=LARGEST_BODY, held=MOST_HELD)


@dataclass(frozen=True, slots=True)
class Mappings:
    """How the doors read what comes in."""

    webhooks: Mapping[str, BoundProvider]
    mails: Mapping[str, MapMail]
    cloudevent: ReadCloudEvent
    lines: OpenLines
    calendar: ReadCalendar


def build_api(
    reception: Reception,
    sources: Mapping[str, Source],
    mappings: Mappings,
    verifier: TokenVerifier | None,
    dead_letters: APIRouter | None,
    *,
    amazon: Amazon,
    public_url: str | None = None,
    watched: tuple[Standings, Probe] | None = None,
    once: Once | None = None,
    erase: erasures.Erase | None = None,
) -> ASGIApp:
    """Return the public ASGI app, without its limits. Without a `verifier` the doors for operators stay shut."""

    def webhooks_to(behind: Reception) -> Take:
        return Webhooks(behind, sources, mappings.webhooks, amazon, public_url).take

    def events_to(behind: Reception) -> Take:
        return Events(behind, sources, mappings.cloudevent).take

    events = Events(reception, sources, mappings.cloudevent, mappings.lines)

    def mail_to(behind: Reception) -> Post:
        return MailDoor(behind, sources, mappings.mails).post

    tried = Rehearsals(reception, verifier)
    webhooks = Webhooks(reception, sources, mappings.webhooks, amazon, public_url, once=once, together=True)
    hot = {
        "/v1/webhooks/": Door(tried.hot(webhooks.take, webhooks_to), webhooks.trimmer, webhooks.too_large),
        "/v1/events": Door(tried.hot(events.take, events_to)),
    }
    mail = tried.plain(mail_to(reception), mail_to)
    readers = Readers(mappings.lines, mappings.cloudevent, mappings.mails, mappings.calendar)
    imports = Imports(reception, sources, readers, verifier)
    replay = Replay(reception, sources, mappings.webhooks, mappings.mails, verifier)
    app = FastAPI(title="Tenure ingest", version="1", docs_url=None, redoc_url=None, openapi_url=openapi.URL)
    # Plain routes: FastAPI's own would parse bodies that are ours to read.
    app.add_route("/v1/mail/{mailbox}", mail, methods=["POST"])
    app.add_route("/v1/imports/{source}", imports.post, methods=["POST"])
    app.add_route("/v1/replay/{source}", replay.post, methods=["POST"])
    # POST to these two never comes this far; they stand here so that another method is answered with 405.
    app.add_route("/v1/webhooks/{source}", _only_post, methods=["POST"])
    app.add_route("/v1/events", _only_post, methods=["POST"])
    if dead_letters is not None:
        app.include_router(dead_letters)
    if watched is not None and verifier is not None:
        app.include_router(standing.router(*watched, verifier))
    if erase is not None and verifier is not None:
        app.include_router(erasures.router(erase, verifier))
    problems.install(app)
    openapi.publish(app, DESCRIPTION, doors())
    return HotDoors(hot, app)


def limited(app: ASGIApp) -> Limits:
    """Return the app with the limits of the public port around it."""
    return Limits(app, routes={"/v1/replay/": LARGEST_KEPT}, streamed=_streamed)


def _streamed(path: str) -> Streamed | None:
    """Whole mails pass through these doors, cut down as they come; what holds a body whole refuses large ones."""
    return _MAILS if path.startswith(("/v1/webhooks/", "/v1/mail/")) else None


async def _only_post(_request: Request) -> Response:
    raise HTTPException(405, headers={"Allow": "POST"})
