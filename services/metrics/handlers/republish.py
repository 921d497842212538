"""KPIs said again: `services.runtime.republish.States` of metrics."""

import asyncpg

from contracts.envelope import Envelope
from contracts.ids import derive_id
from contracts.kpis import AccountKpis
from contracts.topics import KPIS
from services.metrics.domain.publish import content, envelope_of
from services.metrics.domain.state import AccountState
from services.metrics.handlers.tables import Tables
from services.runtime.outbox import OutboxMessage, append
from services.runtime.republish import Order, Said

_EPOCH_SHIFT = 40
_NOBODY = "00000000-0000-0000-0000-000000000000"


class KpisAgain:
    """What was last said of every account, on `tenure.kpis`."""

    name = "kpis"

    def __init__(self, tables: Tables, currency: str) -> None:
        self._states = tables.states
        self._currency = currency

    async def say_again(self, connection: asyncpg.Connection, after: str | None, order: Order) -> Said:
        """Lock the next accounts, in order of id, and append what was said of them to the outbox."""
        found = await self._states.lock_after(connection, after or _NOBODY, order.limit, self._currency)
        epoch = await self._states.epoch(connection)
        messages, renewed = [], []
        for account, state in sorted(found.items()):
            if state.digest is None:
                continue
            body, digest = content(state)
            if order.fresh_versions or digest != state.digest:
                # Another digest: what is said of the same figures has changed with the software.
                state.version, state.digest = max(state.version, epoch << _EPOCH_SHIFT) + 1, digest
                renewed.append(state)
            messages.append(_message(account, state, body, order))
        if renewed:
            await self._states.save(connection, renewed)
        await append(connection, messages)
        return Said(len(messages), max(found) if len(found) == order.limit else None)


def _message(account: str, state: AccountState, body: bytes, order: Order) -> OutboxMessage:
    envelope = Envelope(
        id=derive_id("kpis", account, str(state.version)),
        source="/metrics",
        type=AccountKpis.TYPE,
        subject=account,
        time=order.recorded_at,
        recordedtime=order.recorded_at,
        republished=order.run_id,
    )
    return OutboxMessage(KPIS, account, envelope, envelope_of(state, body, order.recorded_at))
