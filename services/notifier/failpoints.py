"""Places around the notifier's own durable effects outside of its database; see `services/runtime/failpoints.py`."""

from enum import StrEnum


class NotifierFailpoint(StrEnum):
    """The places of the notifier."""

    DELIVERY_CLAIMED = "delivery.claimed"
    """A delivery is leased, nothing of it is sent."""
    DELIVERY_SENT = "delivery.sent"
    """The other side has answered, or did not in time; nobody has written down what."""
    DELIVERY_SETTLED = "delivery.settled"
    """It is written down."""
