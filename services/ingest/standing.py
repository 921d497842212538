"""How one source stands: what it sent, up to when it is complete and how that is known, and its rhythm."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

from contracts.envelope import format_instant
from services.ingest.domain.rhythm import LEAST_ACTIVE_HOURS, LEAST_DAYS, Judgement, NotYet, Rhythm, judge
from services.ingest.domain.source import Source
from services.ingest.store import Pass, StoredStatistic
from services.ingest.store_mailbox import FolderReport

_BROKEN = "broken"
_PUSHED = "it cannot be asked: nothing is known of what it has not delivered since its last delivery"
_POLLED = "its last good pass began then: everything that was there had been read"
_NEVER_READ = "no pass over it has been good yet"
_BY_HAND = "it delivers when somebody imports"


@dataclass(frozen=True, slots=True)
class Standing:
    """One configured source at one moment. `passed`: None for what delivers by itself."""

    source: Source
    sent: StoredStatistic
    passed: Pass | None
    rhythm: Rhythm | NotYet | None
    """None: it delivers when a person wants it to, so silence says nothing."""
    judgement: Judgement | None
    """None: it has no rhythm, or has never delivered."""
    broken_since: datetime | None = None
    """Since when this process knows that it cannot be read."""
    folders: Sequence[FolderReport] = ()
    """Of a mailbox."""

    @property
    def horizon(self) -> datetime | None:
        """Up to when everything that it had is known."""
        return self.sent.last_delivery if self.passed is None else self.passed.horizon

    @property
    def status(self) -> str:
        """In words that begin with ok, waiting or broken."""
        return "ok" if self.passed is None else self.passed.status

    @property
    def broken(self) -> bool:
        """Whether it cannot be read."""
        return self.status.startswith(_BROKEN)

    @property
    def quiet(self) -> bool:
        """Whether it is silent for longer than its own rhythm makes likely."""
        return self.judgement is not None and self.judgement.quiet

    def flow(self) -> dict[str, Any]:
        """Return what `/flow` says: for services and for `tenure status`."""
        return {
            "provider": self.source.configuration.provider,
            "polled": self.passed is not None,
            "horizon": _instant(self.horizon),
            "last_delivery": _instant(self.sent.last_delivery),
            "status": self.status,
            "broken_since": _instant(self.broken_since),
            "quiet": self.quiet,
            "expected_by": _instant(self.judgement.expected_by if self.judgement else None),
            "unusual_from": _instant(self.judgement.unusual_from if self.judgement else None),
            "responsible": list(self.source.configuration.responsible),
            "accepted": self.sent.accepted,
            "redelivered": self.sent.redelivered,
            "unmapped": self.sent.unmapped,
            "ignored": self.sent.ignored,
            "rejected": dict(self.sent.rejected),
        }

    def page(self) -> dict[str, Any]:
        """Return what `/v1/sources` says: for operators."""
        flow = self.flow()
        for moved in ("horizon", "quiet", "expected_by", "unusual_from", "ignored"):
            del flow[moved]
        return {
            "name": self.source.name,
            "system": self.source.configuration.system,
            **flow,
            "complete_up_to": None if self.passed is None else _instant(self.horizon),
            "known_by": self._known_by(),
            **({"folders": [_folder(one) for one in self.folders]} if self.folders else {}),
            "ignored": {"total": self.sent.ignored, "by_name": dict(self.sent.ignored_by)},
            "rhythm": self._rhythm(),
        }

    def _known_by(self) -> str:
        if self.rhythm is None:
            return _BY_HAND
        if self.passed is None:
            return _PUSHED
        if self.passed.horizon is None:
            return _NEVER_READ
        return f"{_POLLED}; {'; '.join(map(_compared, self.folders))}" if self.folders else _POLLED

    def _rhythm(self) -> dict[str, Any]:
        if isinstance(self.rhythm, Rhythm):
            judged = self.judgement
            return {
                "state": "quiet" if self.quiet else "as usual",
                "expected_by": _instant(judged.expected_by if judged else None),
                "unusual_from": _instant(judged.unusual_from if judged else None),
                "busy_hours_of_the_week": sum(chance > 0.5 for chance in self.rhythm.chances),  # noqa: PLR2004 - more often than not
            }
        if self.rhythm is None:
            return {"state": "none", "why": _BY_HAND}
        return {
            "state": "not yet",
            "why": (
                f"something came in {self.rhythm.active_hours} of at least {LEAST_ACTIVE_HOURS} hours,"
                f" on {self.rhythm.days} of at least {LEAST_DAYS} days"
            ),
        }


def _compared(folder: FolderReport) -> str:
    if folder.checked_at is None:
        return f"{folder.folder} has not been compared whole yet"
    return (
        f"{folder.folder} was compared whole at {format_instant(folder.checked_at)}:"
        f" {folder.compared - folder.missing:,} of {folder.compared:,} mails had been read"
    )


def _folder(folder: FolderReport) -> dict[str, Any]:
    return {
        "folder": folder.folder,
        "mails": folder.compared,
        "missing": folder.missing,
        "compared_at": _instant(folder.checked_at),
        "reading": {"done": folder.done, "of": folder.total} if folder.done < folder.total else None,
    }


def judged(
    rhythm: Rhythm | NotYet | None, since: datetime | None, now: datetime, zone: tzinfo, days_off: Collection[date]
) -> Judgement | None:
    """Compare the silence since `since` with a rhythm, where there is one."""
    if not isinstance(rhythm, Rhythm) or since is None:
        return None
    return judge(rhythm, since, now, zone, days_off)


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)
