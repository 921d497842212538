"""What an event of Stripe tells: what happened, when, and to which object, whatever the version of the API."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from contracts.events import Event
from contracts.values import Kind, Party
from services.ingest.domain.mapping import Origin, id_at, micros, moment_of, optional_text
from services.ingest.domain.provider import Options
from services.ingest.domain.reports import key_of
from services.ingest.sources.commerce import country_of, mapping_in

OrdersFrom = Literal["checkout", "charges", "invoices"]


class StripeOptions(Options):
    """What of an account counts."""

    test_mode: bool = False
    """Whether events of the test mode count too."""
    orders: tuple[OrdersFrom, ...] = ("checkout",)
    """What is an order and brings revenue: paid checkouts, every charge, invoices; several, or none."""


_RANKS = {"created": 0, "updated": 1, "deleted": 2}


class Told(NamedTuple):
    """One event: what happened, and to which object."""

    id: str
    type: str
    at: datetime
    object: Mapping[str, Any]
    before: Mapping[str, Any]
    """Of an update, the earlier values of what changed."""
    body: bytes
    origin: Origin
    options: StripeOptions

    @property
    def native(self) -> str:
        """The object's own id."""
        return id_at(self.object, "id")

    def report(self, kind: Kind, native: str | None = None, *, order: int | None = None) -> dict[str, Any]:
        """Return what every report out of this event states."""
        rank = _RANKS.get(self.type.rpartition(".")[2], 1)
        return {
            "interaction": key_of(kind, self.origin.system, native or self.native),
            "report": self.id,
            "revision": self.origin.revision(micros(self.at) + rank if order is None else order, self.body),
            "source": self.origin.source,
        }

    def moment(self, *path: str) -> datetime | None:
        """Return the time at `path` in the object, or None."""
        value: Any = self.object
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return None if value is None else moment_of(value, ".".join(path))

    def customer(self) -> tuple[Party, ...]:
        """Return who pays: the customer's id, and what the object says about the person."""
        thing, details = (
            self.object,
            mapping_in(self.object, "customer_details") or mapping_in(self.object, "billing_details"),
        )
        raw = thing.get("customer")
        customer = raw if isinstance(raw, str) else mapping_in(thing, "customer").get("id")
        address = mapping_in(thing, "customer_address") or mapping_in(details, "address")
        named = self.origin.named(customer) if isinstance(customer, str) and customer else None
        party = self.origin.directory.party(
            "customer",
            address=optional_text(thing, "customer_email")
            or optional_text(details, "email")
            or optional_text(thing, "receipt_email"),
            phone=optional_text(thing, "customer_phone") or optional_text(details, "phone"),
            region=country_of(address, "country"),
            person=named,
            organisation=named,
            name=optional_text(thing, "customer_name") or optional_text(details, "name"),
        )
        return () if party is None else (party,)


Read = Callable[[Told], Sequence[Event] | str]
"""Events of ours, or the name under which an event is counted as of no interest."""
