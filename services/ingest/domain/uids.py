"""Which mails of a folder have been read, and which have not; pure.

An IMAP server gives each mail of a folder a number (UID) that only grows while its UIDVALIDITY stays. What has been
read is kept as ranges of UIDs, so that a folder can be compared whole: a mail that was missed, whatever the reason, is
one that lies there and is not among them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime


class UidSet:
    """UIDs as sorted, disjoint ranges (first, after the last)."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges = sorted((first, after) for first, after in ranges if first < after)
        self._starts = [first for first, _ in self._ranges]

    @classmethod
    def of(cls, uids: Iterable[int]) -> "UidSet":
        """Return the ranges of these UIDs."""
        ranges: list[tuple[int, int]] = []
        for uid in sorted(set(uids)):
            if ranges and ranges[-1][1] == uid:
                ranges[-1] = (ranges[-1][0], uid + 1)
            else:
                ranges.append((uid, uid + 1))
        return cls(ranges)

    @property
    def ranges(self) -> Sequence[tuple[int, int]]:
        """The ranges, ascending."""
        return tuple(self._ranges)

    def __contains__(self, uid: int) -> bool:
        place = bisect_right(self._starts, uid) - 1
        return place >= 0 and uid < self._ranges[place][1]


@dataclass(frozen=True, slots=True)
class FolderState:
    """What is known of a folder: everything in `read` under this `uid_validity` is with the broker, or none of ours."""

    uid_validity: int
    last_uid: int
    read: UidSet = field(default_factory=UidSet)
    total: int | None = None
    """How many mails lay in it when it was last looked at, those that are none of ours included."""
    checked_at: datetime | None = None
    """The system's clock when it was last compared whole."""
    compared: int = 0
    """How many mails that are ours lay in it then."""
    missing: int = 0
    """How many of these are not with the broker: not given, too large, or not understood where nothing may be kept."""


@dataclass(frozen=True, slots=True)
class FolderLook:
    """A folder as the server has it now."""

    uid_validity: int
    total: int
    uid_next: int | None = None
    """What the next mail will be numbered, where the server says it."""


def starting_point(state: FolderState | None, look: FolderLook) -> FolderState:
    """Return what to go on from: nothing, when the folder is another one than before."""
    if state is None or state.uid_validity != look.uid_validity:
        return FolderState(look.uid_validity, 0)
    return state


def seems_set_back(state: FolderState, look: FolderLook) -> bool:
    """Say whether a number that has been read may be given to another mail, as by a server from an older copy."""
    return look.uid_next is not None and look.uid_next <= state.last_uid


def has_moved(state: FolderState, look: FolderLook, new: int) -> bool:
    """Say whether something else happened to a folder than `new` mails that came: it must be compared whole."""
    return state.total is None or look.total != state.total + new


def unread(state: FolderState, lying_there: Iterable[int]) -> list[int]:
    """Return what lies in the folder and has not been read, oldest first."""
    return sorted(uid for uid in lying_there if uid not in state.read)
