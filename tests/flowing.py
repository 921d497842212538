"""What a service that runs inside a test says of its flow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2 as httpx

_LOOK_SECONDS = 0.05


async def flow_of(operations_port: int, within: float) -> dict[str, Any]:
    """What /flow says now; nothing while something is away."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{operations_port}", timeout=within) as client:
        try:
            answer = await client.get("/flow")
        except httpx.ConnectError:  # it has only just been started
            return {}
    return dict(answer.json()) if answer.status_code == httpx.codes.OK else {}


async def drained(operations_port: Callable[[], int], within: float) -> dict[str, Any]:
    """Wait, at most `within` seconds, until everything has flowed; the port is asked for anew each time."""
    async with asyncio.timeout(within):
        while not (flow := await flow_of(operations_port(), within)).get("drained"):
            await asyncio.sleep(_LOOK_SECONDS)
    return flow
