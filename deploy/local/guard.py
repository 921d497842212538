"""Watches over an instance's owner and cleans up after it: `python -m deploy.local.guard DIRECTORY`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from deploy.local.instance import Instance

_LOOK_EVERY = 0.5  # seconds
_PATIENCE = 10.0  # seconds; whoever started all this was killed, so an unclean end of the rest is no surprise


def watch(directory: Path) -> None:
    """Returns when there is nothing left to watch over."""
    instance = Instance(directory)
    while instance.exists():
        state = instance.state()
        if state.owner is None:
            return
        if state.owner.find() is None:
            instance.stop_all(patience=_PATIENCE)
            return
        time.sleep(_LOOK_EVERY)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
