"""Meetings, visits, notes and chat."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.events.base import Event
from contracts.values import Direction, Kind


class MeetingHeld(Event):
    """A meeting or visit took place; `occurred_at` is its start."""

    TYPE: ClassVar[str] = "tenure.meeting.held.v1"
    KIND: ClassVar[Kind] = Kind.MEETING

    form: Literal["on_site", "remote", "business_review"]
    minutes: Annotated[int, Field(ge=0, le=14 * 24 * 60)] | None = None


class NoteWritten(Event):
    """Somebody of ours wrote a note about an account."""

    TYPE: ClassVar[str] = "tenure.note.written.v1"
    KIND: ClassVar[Kind] = Kind.NOTE


class ChatMessageSent(Event):
    """A message in Teams, Slack, WhatsApp or the like."""

    TYPE: ClassVar[str] = "tenure.chat.message-sent.v1"
    KIND: ClassVar[Kind] = Kind.CHAT

    direction: Direction
