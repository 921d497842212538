"""Whose fault is an error? That of the infrastructure (wait, try again), of one record (set it aside), or ours."""

import asyncio
from enum import Enum

import asyncpg
from aiokafka.errors import KafkaError

from contracts.envelope import Unreadable


class Fault(Enum):
    """What the consumer loop does about an error."""

    TRANSIENT = "transient"
    """The infrastructure's: the whole batch is tried again, for as long as it takes."""
    DATA = "data"
    """The record's: found by bisection, becomes a dead letter."""
    VERDICT = "verdict"
    """The handler says so (`Rejected`, `Unreadable`): like DATA, but never counted as ours."""


class Rejected(Exception):
    """Raised by a handler about a record it will never accept: `reason` is a stable code, `detail` is for a person.

    With `event_id` (the envelope's id) the loop sets that record aside at once; without it, it searches by bisection.
    """

    def __init__(self, reason: str, detail: str, *, event_id: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.event_id = event_id


class Unfinished(Exception):
    """Raised when a component stops without having ended its work: the text says what was given back or left."""


# SQLSTATE classes (PostgreSQL, appendix A) about the server's state, not about the data sent to it.
_TRANSIENT_CLASSES = frozenset(
    {
        "08",  # connection
        "25",  # transaction state: idle time-out, a read-only standby after a failover
        "26",  # a prepared statement vanished behind a pooler
        "28",  # credentials that are being rotated
        "3D",  # database not there yet
        "40",  # deadlock, serialization
        "42",  # table, column or privilege missing: the migration has not run yet
        "53",  # disk full, out of memory, too many connections
        "55",  # lock not available, object in use
        "57",  # shutdown, cancelled
        "58",  # input/output error
    }
)


def judge(error: BaseException) -> Fault:
    """Say whose fault `error` is. What is not known to be the infrastructure's is the record's."""
    if isinstance(error, Rejected | Unreadable):
        return Fault.VERDICT
    if isinstance(error, asyncpg.PostgresError):
        state = getattr(error, "sqlstate", None) or ""
        # 0A000 with this text: a migration changed a table under a cached plan; the next attempt plans anew.
        stale_plan = isinstance(error, asyncpg.InvalidCachedStatementError)
        return Fault.TRANSIENT if state[:2] in _TRANSIENT_CLASSES or stale_plan else Fault.DATA
    if isinstance(error, asyncpg.InterfaceError):
        return Fault.DATA if isinstance(error, ValueError) else Fault.TRANSIENT
    if isinstance(error, OSError | KafkaError | asyncio.TimeoutError | asyncpg.InternalClientError):
        return Fault.TRANSIENT
    return Fault.DATA


def reason_of(error: BaseException) -> tuple[str, str]:
    """Return a stable reason code and a detail for the dead letter that `error` causes."""
    if isinstance(error, Rejected | Unreadable):
        return error.reason, error.detail
    return "handler_error", f"{type(error).__name__}: {error}"[:2000]
