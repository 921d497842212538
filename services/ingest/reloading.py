"""Notices that sources.toml or a secret has changed, and has the new configuration used once all of it is right."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from services.ingest.configuration import Examined, examine, secrets_folder
from services.ingest.domain.source import Source
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.telemetry import Metrics

_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 0.3
"""A file that is being written is read once it has not changed for so long: half of it might be right by chance."""
_SURE_SECONDS = 5.0
"""The same, where it would take something away: the rest of a large file may be on its way, privacy rules with it."""
_MOST_FILES = 2000
_SHOWN = 20

Seen = Mapping[str, tuple[int, int, int] | None]
"""What identifies the content of files, by path: inode, size, time of change. None: not there."""
Use = Callable[[Examined], Awaitable[None]]
_log = structlog.get_logger(__name__)


class Reloader:
    """Looks at the files every second, and at once on SIGHUP. What is wrong is said, and what was right stays.

    What would take something away must have stood for a while, unless somebody asks for it by SIGHUP: a file that is
    written in place may be right in the middle of it.
    """

    def __init__(
        self,
        path: Path,
        secrets_dir: Path | None,
        first: Examined,
        use: Use,
        metrics: Metrics,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`first` is what was read when the service was built; `use` takes what is read later."""
        self._pause = pause
        self._path = path
        self._secrets_dir = secrets_dir
        self._use = use
        self._metrics = metrics
        self._current = first
        self._seen: Seen | None = None
        self._wrong: tuple[str, ...] = ()
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        metrics.configuration_good.set(1)

    async def start(self) -> None:
        """Begin to look."""
        # In a thread that is not the main one nobody can listen to signals; files are looked at all the same.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        self._task = lasting(self._run(), name="configuration")

    async def stop(self) -> None:
        """Stop looking."""
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def part(self, _now: datetime) -> Part:
        """Return what `/flow` says about the configuration."""
        status = "ok" if not self._wrong else "refused: the files are wrong, and what was right before is used"
        details: dict[str, Any] = {"status": status, "wrong": list(self._wrong[:_SHOWN])}
        if self._wrong:
            details["error"] = self._wrong[0]
        return Part(drained=True, details=details)

    async def look(self, *, asked: bool = False) -> bool:
        """Read the files if they have changed, or somebody `asked`; return whether something else is used now."""
        seen = await asyncio.to_thread(self._look)
        if seen == self._seen and not asked:
            return False
        while True:
            await self._pause(_SETTLE_SECONDS)
            examined = await asyncio.to_thread(examine, self._path, self._secrets_dir)
            again = await asyncio.to_thread(self._look)
            if again == seen and not asked and _takes_away(self._current, examined):
                await self._pause(_SURE_SECONDS)
                again = await asyncio.to_thread(self._look)
            if again == seen:
                break
            seen = again
        self._seen = seen
        try:
            return await self._take(examined)
        except BaseException:
            # Some of it may not be used yet: the next look takes it again, changed or not.
            self._seen = None
            raise

    async def _take(self, examined: Examined) -> bool:
        self._wrong = tuple(str(mistake) for mistake in examined.mistakes)
        self._metrics.configuration_good.set(0 if self._wrong else 1)
        if self._wrong:
            self._metrics.configuration_reloads.labels("refused").inc()
            _log.error("the new configuration is wrong; the one before stays", mistakes=self._wrong[:_SHOWN])
            return False
        if (examined.file, examined.sources) == (self._current.file, self._current.sources):
            self._metrics.configuration_reloads.labels("unchanged").inc()
            return False
        before = self._current
        await self._use(examined)
        self._current = examined
        self._metrics.configuration_reloads.labels("loaded").inc()
        _log.info("another configuration is used", **_difference(before.sources, examined.sources))
        return True

    async def _run(self) -> None:
        while True:
            asked = self._asked.is_set()
            self._asked.clear()
            try:
                await self.look(asked=asked)
            except Exception as error:  # noqa: BLE001 - whatever it was, what is used goes on, and the next look may succeed
                _log.error("looking at the configuration failed", exc_info=error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), _LOOK_SECONDS)

    def _look(self) -> Seen:
        """Return what identifies the files, links followed: Kubernetes swaps a link to a folder with all of them."""
        folder = secrets_folder(self._path, self._secrets_dir)
        paths = {self._path, *_entries(folder), *(_entries(self._path) if self._path.is_dir() else ())}
        for source in self._current.sources.values():
            password = getattr(source.configuration.options, "password_file", None)
            named = [*source.configuration.secret_files, *([password] if password else [])]
            paths |= {folder / name for name in named}
        return {str(path): _identity(path) for path in sorted(paths)}


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for _, entry in zip(range(_MOST_FILES), entries, strict=False)]
    except OSError:
        return []


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _takes_away(before: Examined, after: Examined) -> bool:
    """Say whether a right configuration lacks something that was there: a source, a privacy rule, a domain of ours."""
    if after.mistakes:
        return False
    return (
        not before.sources.keys() <= after.sources.keys()
        or not set(before.file.privacy.rules) <= set(after.file.privacy.rules)
        or not set(before.file.own_domains) <= set(after.file.own_domains)
    )


def _difference(before: Mapping[str, Source], after: Mapping[str, Source]) -> dict[str, list[str]]:
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
    }
