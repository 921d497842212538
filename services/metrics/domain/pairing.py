"""Which touch answers which: questions and their answers, and two-way touches.

A question (a mail or missed call of theirs) is answered by the first later touch of ours to the same contact; where
either contact is unknown, to the same account; whatever either refers to. Touches at the same instant do not answer
one another. A mail or chat is two-way when it is, for some contact, the first of its side after a mail or chat of the
other side at most 14 days before it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from services.metrics.domain.facts import NEVER, REPLIES, Fact

TWO_WAY_WITHIN = timedelta(days=14)

_ANYBODY = ""
"""Key of what has no known contact."""


def pair(loaded: Iterable[Fact], since: datetime) -> list[Fact]:
    """Derive again what a change at or after `since` may have altered; return the facts that differ from `loaded`.

    `loaded` holds an account's touches and missed calls from 14 days before `since` on, and the older questions that
    were unanswered or answered at or after `since`. Nothing else can change: an answer depends on what came before it.
    """
    rows = sorted((fact for fact in loaded if fact.side is not None), key=attrgetter("at"))
    questions, replies = _Questions(), _Replies()
    for at, same_instant in groupby(rows, attrgetter("at")):
        group = list(same_instant)
        questions.take(group, since)
        replies.take(group, at)
    changed = []
    for fact in rows:
        derived = fact
        if fact.interaction_id in questions.answered_at:
            derived = derived._replace(answered_at=questions.answered_at[fact.interaction_id])
        if fact.at >= since:
            supports = fact.touch_class == "routine" and fact.interaction_id in questions.support_answers
            derived = derived._replace(
                counted_class="support" if supports else fact.touch_class,
                two_way=fact.interaction_id in replies.two_way,
            )
        if derived != fact:
            changed.append(derived)
    return changed


class _Questions:
    """Meets facts in the order of time and remembers which questions still wait, by contact."""

    def __init__(self) -> None:
        self.answered_at: dict[str, datetime] = {}
        self.support_answers: set[str] = set()
        self._waiting: dict[str, list[Fact]] = {}

    def take(self, group: Sequence[Fact], since: datetime) -> None:
        """Let the answers among simultaneous facts answer what waits, then let the questions among them wait."""
        met: set[str] = set()
        for fact in group:
            if fact.answers:
                contacts = (_ANYBODY, *fact.contacts) if fact.contacts else tuple(self._waiting)
                met.update(contacts)
                if any(
                    asked.touch_class == "support" for contact in contacts for asked in self._waiting.get(contact, ())
                ):
                    self.support_answers.add(fact.interaction_id)
        for contact in met:
            for asked in self._waiting.pop(contact, ()):
                self.answered_at[asked.interaction_id] = group[0].at
        for fact in group:
            # An older question that had its answer before `since` keeps it.
            if fact.question and (fact.at >= since or fact.answered_at is None or fact.answered_at >= since):
                self.answered_at[fact.interaction_id] = NEVER
                self._waiting.setdefault(fact.contacts[0] if fact.contacts else _ANYBODY, []).append(fact)


class _Replies:
    """Meets facts in the order of time and remembers, by side and contact, the mail or chat that has no reply yet."""

    def __init__(self) -> None:
        self.two_way: set[str] = set()
        self._unreplied: dict[str, dict[str, datetime]] = {"in": {}, "out": {}}

    def take(self, group: Sequence[Fact], at: datetime) -> None:
        """Judge simultaneous facts together: they neither answer nor forestall one another."""
        written = [fact for fact in group if fact.kind in REPLIES and fact.sort is not None]
        replied: set[tuple[str, str]] = set()
        for fact in written:
            other = "out" if fact.side == "in" else "in"
            pending = self._unreplied[other]
            contacts = (_ANYBODY, *fact.contacts) if fact.contacts else tuple(pending)
            if any(contact in pending and pending[contact] >= at - TWO_WAY_WITHIN for contact in contacts):
                self.two_way.add(fact.interaction_id)
            replied.update((other, contact) for contact in contacts)
        for side, contact in replied:
            self._unreplied[side].pop(contact, None)
        for fact in written:
            for contact in fact.contacts or (_ANYBODY,):
                self._unreplied[fact.side or "in"][contact] = at
