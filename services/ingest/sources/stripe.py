"""Stripe: subscriptions as contracts, invoices, payments that failed, orders and refunds.

An event holds the whole object as it was when the event was made. Stripe promises no order of delivery and gives no
sequence: events count by the second in which they were made, and within one by what they say (a creation before a
change, a change before an end). The version of the API is the endpoint's; objects of all versions are read.
"""

from collections.abc import Mapping

from services.ingest.domain.mapping import Mapped, Origin, Unmapped, id_at, moment_of, object_at
from services.ingest.domain.provider import Delivery, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.commerce import counted, mapping_in
from services.ingest.sources.stripe_billing import INVOICES, SUBSCRIPTIONS
from services.ingest.sources.stripe_event import Read, StripeOptions, Told
from services.ingest.sources.stripe_orders import ORDERS, REFUNDS

_READERS: Mapping[str, Read] = {**SUBSCRIPTIONS, **INVOICES, **ORDERS, **REFUNDS}


def read(delivery: Delivery, origin: Origin, options: StripeOptions) -> Mapped:
    """Map a verified event. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    if payload.get("object") == "v2.core.event":
        # It names an object and does not hold it; the endpoint must be one of snapshots.
        raise Unmapped("thin_event")
    kind = payload.get("type")
    if payload.get("object") != "event" or not isinstance(kind, str):
        raise Unmapped("not_an_event")
    if payload.get("livemode") is not True and not options.test_mode:
        return Mapped(ignored="test_mode")
    reader = _READERS.get(kind)
    if reader is None:
        return Mapped(ignored=counted(kind))
    data = object_at(payload, "data")
    told = Told(
        id=id_at(payload, "id"),
        type=kind,
        at=moment_of(payload.get("created"), "created"),
        object=object_at(data, "object"),
        before=mapping_in(data, "previous_attributes"),
        body=delivery.body,
        origin=origin,
        options=options,
    )
    found = reader(told)
    if isinstance(found, str):
        return Mapped(ignored=found)
    return Mapped(found)


PROVIDER = Provider(name="stripe", scheme=SchemeName.STRIPE, read=read, options=StripeOptions)
