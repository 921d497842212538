"""Where a job's processor time goes, by looking at its stack every millisecond of it: cheap, and deaf to neighbours."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deploy.local.instance import CHECKOUT

_EVERY = 0.001  # seconds of processor time
_LINES = 60


@contextmanager
def sampled(report: Path | None) -> Iterator[None]:
    """Writes shares of processor time to `report`: inside a function alone, and with what it calls. None: nothing."""
    if report is None:
        yield
        return
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        seen: set[str] = set()
        if frame is not None:
            alone[_name(frame)] += 1
        while frame is not None:
            seen.add(_name(frame))
            frame = frame.f_back
        within.update(seen)

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        total = max(1, alone.total())
        lines = [f"{total} samples"]
        for title, counts in (("alone", alone), ("with what it calls", within)):
            lines.append(f"\n{title}")
            lines += [f"{count / total:6.1%}  {name}" for name, count in counts.most_common(_LINES)]
        report.write_text("\n".join(lines) + "\n")


def _name(frame: FrameType) -> str:
    code = frame.f_code
    return f"{code.co_filename.removeprefix(f'{CHECKOUT}/').rpartition('site-packages/')[2]} {code.co_qualname}"
