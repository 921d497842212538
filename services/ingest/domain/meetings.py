"""Meetings that are known ahead: what calendars say about them, and what follows for each of them; pure.

A meeting is published when its start has passed. Until then, and for a while after, what was said last about it is
kept: an invitation, a change, a cancellation, an answer, in whatever order they come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from contracts.values import EARLIEST, Authority

CALENDAR_SYSTEM = "calendar"
"""The system of every meeting: an invitation by mail and a calendar folder speak of the same one."""
SINGLE = ""
"""The instance of a meeting that does not recur, and of a whole series."""
UNINVITED = "uninvited"
"""The state of somebody whom the organiser took off the list."""
PLAN_AHEAD = timedelta(days=60)
"""How far ahead the instances of a series are written down."""
_MOST_WORDS = 2_000
"""Of a series: changes of single instances that are kept."""
_MOST_ANSWERS = 5_000
_STEP_BITS = 8
_STAMP_BITS = 34
_MOST_SEQUENCE = (1 << 20) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Method(StrEnum):
    """What a notice does."""

    STATE = "state"
    """It says how the meeting is planned (iTIP REQUEST and PUBLISH; a calendar's own entry)."""
    CANCEL = "cancel"
    """It calls the meeting, or an instance of it, off."""
    ANSWER = "answer"
    """Somebody says whether they come (iTIP REPLY), or was uninvited."""
    VANISH = "vanish"
    """Its calendar lists it no more; nobody said that it is called off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Who comes and who does not."""

    address: str
    """Normalised."""
    state: str
    """PARTSTAT in lower case: accepted, declined, tentative, needs-action, delegated; or `UNINVITED`."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What one component of a calendar object says about a meeting."""

    uid: str
    instance: str
    """Which instance of a series, as its original start; `SINGLE`: the whole."""
    method: Method
    order: int
    """Its SEQUENCE, then its DTSTAMP; see `order_of`."""
    body: str = ""
    """The VEVENT, without what we do not read and without what must not be kept."""
    zones: tuple[str, ...] = ()
    """The VTIMEZONEs that its times need; zones that everybody knows are named only."""
    recurs: bool = False
    onwards: bool = False
    """Whether it is about this instance and all that follow."""
    organiser: str | None = None
    """Normalised."""
    answers: tuple[Answer, ...] = ()
    since: datetime | None = None
    """Instances of a series that began before are none of ours."""
    authority: int = Authority.LIVE


@dataclass(frozen=True, slots=True)
class Word:
    """The last word about a series or an instance."""

    order: int
    source: str
    """The configured source that brought it."""
    body: str
    zones: tuple[str, ...] = ()
    recurs: bool = False
    cancelled: bool = False
    onwards: bool = False
    organiser: str | None = None
    authority: int = Authority.LIVE
    vanished: int | None = None
    """The order that it had before its calendar listed it no more: it may be back."""


@dataclass(frozen=True, slots=True)
class Series:
    """Everything that was said last about one UID."""

    uid: str
    words: Mapping[str, Word] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, tuple[int, str]]] = field(default_factory=dict)
    """By instance, then by address: order and state."""
    since: datetime | None = None

    @property
    def recurs(self) -> bool:
        """Whether it has several instances."""
        whole = self.words.get(SINGLE)
        return whole.recurs if whole is not None else bool(self.words)

    @property
    def organiser(self) -> str | None:
        """Return who may change it, where that is known."""
        return next((word.organiser for _, word in sorted(self.words.items()) if word.organiser), None)

    @property
    def called_off(self) -> Mapping[str, int]:
        """The order of what called instances off by name, and under `SINGLE` that of the last word about the whole.

        What has only vanished from its calendar says nothing about meetings that took place.
        """
        said = {name: word for name, word in self.words.items() if word.vanished is None}
        return {name: word.order for name, word in said.items() if word.cancelled or name == SINGLE}


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who organises or is invited, as the calendar names them."""

    address: str
    name: str | None
    state: str
    """PARTSTAT in lower case."""
    organises: bool = False


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One meeting as it is planned now."""

    instance: str
    starts_at: datetime
    minutes: int | None
    """None: a whole day or more, or unknown."""
    order: int
    own_order: int
    """Of what was said about this instance itself; 0: nothing, only the series as a whole."""
    source: str
    body_digest: str
    guests: tuple[Guest, ...]
    title: str | None
    text: str | None
    form: str
    authority: int = Authority.LIVE


class State(StrEnum):
    """Where a planned meeting stands."""

    PLANNED = "planned"
    HELD = "held"
    CALLED_OFF = "called_off"


@dataclass(frozen=True, slots=True)
class Planned:
    """One meeting as it is written down."""

    instance: str
    starts_at: datetime
    state: State
    order: int
    flips: int
    """How often it has been withdrawn and restored: what comes later must stand above what came before."""
    withdrawn: bool
    """Whether the last thing published about it is that it does not stand."""
    source: str
    report: bytes
    """The event to publish, as JSON."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """An occurrence with the event that will be published about it."""

    occurrence: Occurrence
    report: bytes


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A meeting that was published does not stand. `order` is that of its revision."""

    instance: str
    source: str
    order: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be written down, forgotten and published."""

    rows: tuple[Planned, ...] = ()
    gone: tuple[str, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()


def order_of(sequence: int, stamped: datetime | None) -> int:
    """Return the place of a notice among those about the same meeting: its SEQUENCE, then its DTSTAMP."""
    seconds = 0 if stamped is None else max(0, int((stamped - _EPOCH).total_seconds()))
    bounded = min(max(sequence, 0), _MOST_SEQUENCE)
    return ((bounded << _STAMP_BITS) | min(seconds, (1 << _STAMP_BITS) - 1)) << _STEP_BITS


def stepped(order: int, flips: int) -> int:
    """Return the order of a revision that follows `flips` withdrawals and restorations under the same notice."""
    return order | min(flips, (1 << _STEP_BITS) - 1)


def native_id(uid: str, instance: str) -> str:
    """Return what a meeting is known by everywhere: its UID, and the instance's original start."""
    return uid if instance == SINGLE else f"{uid}/{instance}"


def learn(series: Series, notice: Notice, source: str) -> Series | None:
    """Return the series with what a notice adds; None when it says nothing new.

    A word stands until one of a higher order comes, so the order of arrival does not matter. Nobody but the organiser
    changes a meeting.
    """
    if notice.method is Method.ANSWER:
        return _answered(series, notice)
    if series.organiser and notice.organiser and notice.organiser != series.organiser:
        return None
    known = series.words.get(notice.instance)
    if notice.method is Method.VANISH:
        if known is None or known.cancelled:
            return None
        vanished = replace(known, order=notice.order, cancelled=True, vanished=known.order)
        return replace(series, words={**series.words, notice.instance: vanished})
    if known is not None and known.vanished is not None and notice.method is Method.STATE and source == known.source:
        # It is back where it vanished, and stands as it did unless it says something newer.
        known = replace(known, order=known.vanished, cancelled=False, vanished=None)
        series = replace(series, words={**series.words, notice.instance: known})
        return _said(series, notice, source) or series
    return _said(series, notice, source)


def _said(series: Series, notice: Notice, source: str) -> Series | None:
    known = series.words.get(notice.instance)
    if known is None and len(series.words) >= _MOST_WORDS:
        return None
    if known is not None and (known.authority, known.order) >= (notice.authority, notice.order):
        return None
    cancelled = notice.method is Method.CANCEL
    if cancelled and known is not None:
        # A cancellation repeats only some of what was planned.
        word = replace(known, order=notice.order, cancelled=True, onwards=notice.onwards, vanished=None)
    else:
        word = Word(
            order=notice.order,
            source=source if known is None else known.source,
            body=notice.body,
            zones=notice.zones,
            recurs=notice.recurs,
            cancelled=cancelled,
            onwards=notice.onwards,
            organiser=notice.organiser,
            authority=notice.authority,
        )
    # Instances that began before we heard of the series stay as they were when it is changed.
    since = series.since if series.words else notice.since
    return replace(series, words={**series.words, notice.instance: word}, since=since)


def ending(series: Series, source: str, now: datetime) -> Sequence[Notice]:
    """Return what says that everything which `source` alone said of a series has vanished there."""
    notices = []
    for instance, word in series.words.items():
        if word.source != source or word.cancelled:
            continue
        sequence = word.order >> (_STAMP_BITS + _STEP_BITS)
        order = max(order_of(sequence, now), word.order + (1 << _STEP_BITS))
        notices.append(
            Notice(
                series.uid,
                instance,
                Method.VANISH,
                order,
                onwards=word.onwards,
                organiser=word.organiser,
                authority=word.authority,
            )
        )
    return notices


def _answered(series: Series, notice: Notice) -> Series | None:
    known = dict(series.answers.get(notice.instance, {}))
    fresh = {
        answer.address: (notice.order, answer.state)
        for answer in notice.answers
        if known.get(answer.address, (0, ""))[0] < notice.order
    }
    if not fresh or len(known) + len(fresh) > _MOST_ANSWERS or len(series.answers) >= _MOST_WORDS:
        return None
    return replace(series, answers={**series.answers, notice.instance: {**known, **fresh}})


def decide(
    rows: Mapping[str, Planned],
    drafts: Sequence[Drafted],
    *,
    recurs: bool,
    called_off: Mapping[str, int],
    now: datetime,
    planned_until: datetime | None = None,
) -> Changes:
    """Return what follows from `drafts`, all meetings of one UID that stand now, for those that are written down.

    `called_off`: the order of what called off an instance by name; under `SINGLE` that of the last word about the
    whole. What has been held stays as it was when only its series changes or ends: those meetings did take place, and
    no others up to `planned_until`, to where a series was written down before.
    """
    changed: list[Planned] = []
    withdrawals: list[Withdrawal] = []
    gone: list[str] = []
    standing = {draft.occurrence.instance: draft for draft in drafts}
    for draft in standing.values():
        fresh, withdrawal = _placed(rows, draft, recurs=recurs, now=now, past=min(now, planned_until or EARLIEST))
        changed += [fresh] if fresh is not None else []
        withdrawals += [withdrawal] if withdrawal is not None else []
    for instance, row in rows.items():
        if instance in standing or row.state is State.CALLED_OFF:
            continue
        if row.state is State.PLANNED and not row.withdrawn and row.flips == 0:
            gone.append(instance)
        elif row.state is State.PLANNED:
            changed.append(replace(row, state=State.CALLED_OFF))
        elif (order := _order_of_end(row, called_off, recurs=recurs)) > row.order:
            off = replace(row, state=State.CALLED_OFF, withdrawn=True, flips=row.flips + 1, order=order)
            changed.append(off)
            withdrawals.append(Withdrawal(instance, row.source, stepped(off.order, off.flips)))
    return Changes(tuple(changed), tuple(gone), tuple(withdrawals))


def _order_of_end(row: Planned, called_off: Mapping[str, int], *, recurs: bool) -> int:
    own = called_off.get(row.instance, 0)
    return own if recurs or row.instance != SINGLE else max(own, called_off.get(SINGLE, 0))


def _placed(
    rows: Mapping[str, Planned], draft: Drafted, *, recurs: bool, now: datetime, past: datetime
) -> tuple[Planned | None, Withdrawal | None]:
    planned = draft.occurrence
    row = rows.get(planned.instance)
    if row is None:
        return _first(rows, draft, past), None
    fresh = replace(row, starts_at=planned.starts_at, order=max(planned.order, row.order), report=draft.report)
    if row.state is State.HELD:
        heard = planned.own_order if recurs and planned.instance != SINGLE else planned.order
        return _held_again(row, fresh, now) if heard > row.order else (None, None)
    fresh = replace(fresh, state=State.PLANNED)
    return (None if fresh == row else fresh), None


def _first(rows: Mapping[str, Planned], draft: Drafted, past: datetime) -> Planned | None:
    planned = draft.occurrence
    # A rule that changed makes no other meetings of a past that was written down when it lay ahead.
    again = planned.starts_at <= past and not planned.own_order
    # It was held before it became the first of a series, or as one of the series that it is left of.
    if again or any(row.state is State.HELD and row.starts_at == planned.starts_at for row in rows.values()):
        return None
    return Planned(
        instance=planned.instance,
        starts_at=planned.starts_at,
        state=State.PLANNED,
        order=planned.order,
        flips=0,
        withdrawn=False,
        source=planned.source,
        report=draft.report,
    )


def _held_again(row: Planned, fresh: Planned, now: datetime) -> tuple[Planned, Withdrawal | None]:
    """A meeting that was held is said to be otherwise: it is published anew, or taken back until it is held."""
    if fresh.starts_at <= now:
        return replace(fresh, state=State.PLANNED), None
    moved = replace(fresh, state=State.PLANNED, withdrawn=True, flips=row.flips + 1)
    return moved, Withdrawal(row.instance, row.source, stepped(moved.order, moved.flips))


def held(row: Planned) -> Planned:
    """Return a due meeting as it is written down once it is published. A withdrawn one is restored with it."""
    return replace(row, state=State.HELD, withdrawn=False, flips=row.flips + (1 if row.withdrawn else 0))
