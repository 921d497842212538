"""What stands beside the webhook door: servers that do nothing, and what FastAPI's and FastStream's guides show."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from faststream.kafka import KafkaBroker
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from contracts.events.order import OrderLine
from contracts.values import Instant, Line, Money, Party, Reference

BOOTSTRAP = "TENURE_BENCH_KAFKA"
TOPIC = "TENURE_BENCH_TOPIC"


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads a request and answers 202."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def route() -> FastAPI:
    """The same as most would write it: a route of FastAPI that reads the body and answers 202."""
    app = FastAPI()

    @app.post("/v1/events")
    async def take(request: Request) -> Response:
        await request.body()
        return Response(status_code=202)

    return app


class Data(BaseModel):
    """What the shop says of an order."""

    parties: tuple[Party, ...]
    references: tuple[Reference, ...]
    net: Money
    lines: tuple[OrderLine, ...]


class CloudEvent(BaseModel):
    """One order as a structured CloudEvent."""

    specversion: Line
    id: Line
    source: Line
    type: Line
    subject: Line
    time: Instant
    data: Data


def guides() -> FastAPI:
    """FastAPI and pydantic read the event, FastStream publishes it with acks=all. Signatures are not looked at."""
    broker = KafkaBroker(os.environ[BOOTSTRAP], acks="all", enable_idempotence=True, logger=None)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        await broker.start()
        yield
        await broker.stop()

    app = FastAPI(lifespan=running)

    @app.post("/v1/events", status_code=202)
    async def take(event: CloudEvent) -> dict[str, Any]:
        await broker.publish(event, os.environ[TOPIC], key=event.subject.encode(), headers={"ce_id": event.id})
        return {"accepted": 1, "id": event.id}

    return app
