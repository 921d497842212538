"""One played scene for all tests that only look; scenes of their own for those that break something.

All tests live in one module on purpose: workers of xdist take modules whole, and a scene costs half a minute.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.receiver import Receiver
from tests.e2e.scene import Scene, scene

HOOK_SECRET = f"whsec_{base64.b64encode(b'only for this machine, 32 bytes!').decode()}"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A web hook receiver on loopback."""
    listening = Receiver(HOOK_SECRET)
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def played(receiver: Receiver) -> Iterator[Scene]:
    """The story, played once as it is told, every alert also going to `receiver`."""
    with scene(more_secrets={"hook.secret": HOOK_SECRET}) as ready:
        player = ready.theatre.player
        hook = {"kind": "webhook", "name": "CRM", "address": receiver.url, "secret_file": "hook.secret"}
        destination = player.post("notifier", "/v1/destinations", hook)["destination_id"]
        player.post("notifier", "/v1/routes", {"destination_id": destination})
        ready.begin()
        ready.play_all()
        yield ready


@pytest.fixture(scope="module")
def plain(played: Scene) -> dict[str, Any]:
    """Everything that the story led to, before any test has done something of its own."""
    return played.fingerprint()
