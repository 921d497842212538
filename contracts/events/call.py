"""Telephone calls, leg by leg: transfers and ring groups make several legs of one call."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.events.base import Event
from contracts.values import Kind, Line, NativeId


class CallLegEnded(Event):
    """One leg of a call has ended.

    The call is completed when a person answered a leg, missed when the root ended unanswered. A source that tells
    moments and no lengths states the entries `answered` (by a person) and `ended` instead of `talk_seconds`.
    """

    TYPE: ClassVar[str] = "tenure.call.leg-ended.v1"
    KIND: ClassVar[Kind] = Kind.CALL

    leg: NativeId
    root: bool = True
    """Whether this is the leg that the caller is on."""
    direction: Literal["in", "out"]
    answered_by_person: bool
    talk_seconds: Annotated[int, Field(ge=0, le=7 * 24 * 3600)] = 0
    tags: Annotated[tuple[Line, ...], Field(max_length=50)] = ()
