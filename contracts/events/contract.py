"""Contracts."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from contracts.events.base import Event
from contracts.values import Kind, Money, Name


class ContractReport(Event):
    """What a report may state about a contract."""

    KIND: ClassVar[Kind] = Kind.CONTRACT

    effective_on: date | None = None
    """The day from which what is reported counts."""
    value: Money | None = None
    recurring: Money | None = None
    """Recurring value of twelve months."""
    starts_on: date | None = None
    due_on: date | None = None
    notice_on: date | None = None
    """The last day on which notice can be given."""
    auto_renewal: bool | None = None
    products: Annotated[tuple[Name, ...], Field(max_length=500)] | None = None


class ContractSigned(ContractReport):
    """A contract was signed."""

    TYPE: ClassVar[str] = "tenure.contract.signed.v1"
    ENTRY: ClassVar[str] = "signed"


class ContractRenewed(ContractReport):
    """A contract was renewed on its terms."""

    TYPE: ClassVar[str] = "tenure.contract.renewed.v1"
    ENTRY: ClassVar[str] = "renewed"


class ContractExtended(ContractReport):
    """A contract was extended or enlarged."""

    TYPE: ClassVar[str] = "tenure.contract.extended.v1"
    ENTRY: ClassVar[str] = "extended"


class ContractExpired(ContractReport):
    """A contract ran out."""

    TYPE: ClassVar[str] = "tenure.contract.expired.v1"
    ENTRY: ClassVar[str] = "expired"


class ContractCancelled(ContractReport):
    """A contract was cancelled."""

    TYPE: ClassVar[str] = "tenure.contract.cancelled.v1"
    ENTRY: ClassVar[str] = "cancelled"
