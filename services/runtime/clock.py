"""One clock for all services: real, or a file that the demo and the tests step. Leases and signatures use real time."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from contracts.envelope import format_instant
from services.runtime.settings import RuntimeSettings, SettingsError


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class RealClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)


class FileClock:
    """Reads the time from a file that holds one RFC 3339 moment and is replaced atomically by rename."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._moment = datetime.min.replace(tzinfo=UTC)
        self.now()

    def now(self) -> datetime:
        """Return what the file says; raise `SettingsError` when it is missing or holds something else."""
        try:
            state = self._path.stat()
            stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
            if stamp != self._stamp:
                self._moment = _read(self._path)
                self._stamp = stamp
        except OSError as away:
            why = f"cannot be read ({away.strerror}); create it with one RFC 3339 moment"
            message = f"TENURE_CLOCK: the file {self._path} {why}."
            raise SettingsError(message) from None
        return self._moment


def write_moment(path: Path, moment: datetime) -> None:
    """Step a file clock: replace `path` atomically by one that holds `moment` (aware)."""
    fresh = path.with_suffix(path.suffix + ".next")
    fresh.write_text(format_instant(moment) + "\n", encoding="ascii")
    fresh.replace(path)


def build_clock(settings: RuntimeSettings) -> Clock:
    """Return the clock that the settings ask for. Production refuses any but the real one (see `RuntimeSettings`)."""
    if settings.clock == "real":
        return RealClock()
    return FileClock(Path(settings.clock.removeprefix("file:")))


def _read(path: Path) -> datetime:
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        message = f"TENURE_CLOCK: {path} holds {text[:40]!r}; write one RFC 3339 moment such as 2026-03-02T09:30:00Z."
        raise SettingsError(message) from None
    if moment.tzinfo is None:
        message = f"TENURE_CLOCK: the moment in {path} has no offset; write 2026-03-02T09:30:00Z."
        raise SettingsError(message)
    return moment.astimezone(UTC)
