"""What every report has in common."""

from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import Field, model_validator

from contracts.ids import event_id
from contracts.values import (
    Authority,
    Entry,
    Instant,
    InteractionKey,
    Kind,
    Line,
    Model,
    Name,
    NativeId,
    Party,
    Reference,
    Revision,
    Text,
)

M = TypeVar("M", bound=Model)


class Event(Model):
    """What a source reported at one moment. Never altered.

    A report states only the fields that it carries: None means "not stated", not "empty".
    """

    TYPE: ClassVar[str]
    """CloudEvents type, with the version."""
    KIND: ClassVar[Kind | None]
    """The kind of interaction that it reports about; None: any."""
    ENTRY: ClassVar[str | None] = None
    """The dated entry that the report adds at `occurred_at`; None: none."""

    interaction: InteractionKey
    report: NativeId
    """What makes this report distinct: its native event id, else a digest of the source's bytes."""
    revision: Revision
    source: Name
    """The configured source that delivered it."""
    occurred_at: Instant
    """When it happened, by the source's own clock."""
    parties: Annotated[tuple[Party, ...], Field(max_length=10_000)] = ()
    references: Annotated[tuple[Reference, ...], Field(max_length=1000)] = ()
    entries: Annotated[tuple[Entry, ...], Field(max_length=1000)] = ()
    """Dated entries that the report states beside its own."""
    parent: InteractionKey | None = None
    """The interaction that this one depends on: a refund's order, a comment's ticket."""
    title: Line | None = None
    text: Text | None = None
    """Content. Stays in the ledger; never leaves accounts."""

    @model_validator(mode="after")
    def _is_about_its_kind(self) -> Self:
        if self.KIND is not None and self.interaction.kind is not self.KIND:
            msg = f"interaction.kind must be {self.KIND.value!r} for {self.TYPE}"
            raise ValueError(msg)
        return self

    @cached_property
    def id(self) -> str:
        """The derived event id."""
        return event_id(self.interaction.id, self.TYPE, self.report)

    @property
    def imported(self) -> bool:
        """Whether the report entered as history."""
        return self.revision.authority == Authority.IMPORT

    @property
    def stated_entries(self) -> tuple[Entry, ...]:
        """All dated entries that this report states."""
        if self.ENTRY is None:
            return self.entries
        return (*self.entries, Entry(kind=self.ENTRY, at=self.occurred_at))

    def stated_fields(self) -> Iterable[tuple[str, Any]]:
        """Return the name and value of every field that the report carries."""
        return [(name, getattr(self, name)) for name in self.model_fields_set]

    def stated_of_kind(self) -> dict[str, Any]:
        """Return by name what the report states beside what all reports may."""
        return {
            name: value for name, value in self.stated_fields() if value is not None and name not in ENVELOPE_FIELDS
        }

    @staticmethod
    def form_of(model: type[M]) -> type[M]:
        """Return the class in which `assemble` makes a `model` out of reports of this sort; see `standins`."""
        return model


ENVELOPE_FIELDS = frozenset(Event.model_fields)
"""Fields of every report; what a subclass adds is what `assemble` folds field by field."""
