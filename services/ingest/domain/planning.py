"""What a planned meeting will say when it has begun; pure."""

from collections.abc import Iterator, Sequence

from contracts.events import InteractionRestored, InteractionWithdrawn, MeetingHeld
from contracts.ids import digest
from contracts.values import Authority, InteractionKey, Kind, Party, PartyRole, Revision
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import MAPPER
from services.ingest.domain.meetings import (
    CALENDAR_SYSTEM,
    UNINVITED,
    Drafted,
    Guest,
    Occurrence,
    Planned,
    Withdrawal,
    native_id,
    stepped,
)
from services.ingest.domain.reports import encoded, key_of, reported, revision_of

_REPORT = "calendar"
"""One report for each meeting: a change replaces what was said before, the people who were invited then included."""
_ABSENT = frozenset({"declined", UNINVITED})
_MOST_PARTIES = 1000


def comes(guest: Guest) -> bool:
    """Say whether somebody can be thought to come. Who organises does, and who has not answered may."""
    return guest.organises or guest.state not in _ABSENT


def draft(uid: str, occurrence: Occurrence, directory: Directory) -> Drafted | None:
    """Return the meeting with the event to publish; None where we do not meet anybody.

    That is a meeting among ourselves, one that everybody else declined, and one that each of us declined.
    """
    coming = [guest for guest in occurrence.guests if comes(guest)]
    if not any(not directory.is_own(guest.address) for guest in coming):
        return None
    ours = [guest for guest in occurrence.guests if directory.is_own(guest.address)]
    if ours and not any(comes(guest) for guest in ours):
        return None
    event = reported(
        MeetingHeld,
        {
            "interaction": key_of(Kind.MEETING, CALENDAR_SYSTEM, native_id(uid, occurrence.instance)),
            "report": _REPORT,
            "revision": revision_of(occurrence.authority, occurrence.order, MAPPER, occurrence.body_digest),
            "source": occurrence.source,
            "occurred_at": occurrence.starts_at,
            "parties": tuple(_parties(coming, directory)),
            "title": occurrence.title,
            "text": occurrence.text,
            "form": occurrence.form if occurrence.form in {"on_site", "business_review"} else "remote",
            "minutes": occurrence.minutes,
        },
    )
    return Drafted(occurrence, encoded(event))


def _key(uid: str, instance: str) -> InteractionKey:
    return InteractionKey(kind=Kind.MEETING, system=CALENDAR_SYSTEM, native_id=native_id(uid, instance))


def _parties(guests: Sequence[Guest], directory: Directory) -> Iterator[Party]:
    for guest in guests[:_MOST_PARTIES]:
        role: PartyRole = "organiser" if guest.organises else "attendee"
        party = directory.party(role, address=guest.address, name=guest.name)
        if party is not None:
            yield party


def begun(uid: str, row: Planned) -> Sequence[MeetingHeld | InteractionRestored]:
    """Return what is published of a meeting that has begun."""
    event = MeetingHeld.model_validate_json(row.report)
    if not row.withdrawn:
        return [event]
    revision = _revision(uid, row.instance, stepped(row.order, row.flips + 1))
    restored = InteractionRestored(
        interaction=_key(uid, row.instance),
        report=_REPORT,
        revision=revision,
        source=row.source,
        occurred_at=row.starts_at,
        reason="planned again",
    )
    return [event, restored]


def withdrawn(uid: str, withdrawal: Withdrawal, row: Planned) -> InteractionWithdrawn:
    """Return what is published of a meeting that was held as we thought, and was not."""
    return InteractionWithdrawn(
        interaction=_key(uid, withdrawal.instance),
        report=_REPORT,
        revision=_revision(uid, withdrawal.instance, withdrawal.order),
        source=withdrawal.source,
        occurred_at=MeetingHeld.model_validate_json(row.report).occurred_at,
        reason="called off or moved",
    )


def _revision(uid: str, instance: str, order: int) -> Revision:
    return Revision(
        authority=Authority.LIVE, order=order, mapper=MAPPER, digest=digest(native_id(uid, instance).encode())
    )
