"""Connections to the broker that aiokafka would leave to the garbage collector are closed when they are given up.

It loses one where a client is cancelled, or fails, before the broker's first answer (a service is told to stop, or a
deadline passes), and one that is still being made when its client is closed.

And a client that has heard of no broker at all is not connected, whatever aiokafka says: see `_bootstrap_whole`.
"""

from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from aiokafka import client
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError

_bootstrap = AIOKafkaClient.bootstrap
_close = AIOKafkaClient.close
_create = client.create_conn

_first: ContextVar[WeakSet[Any] | None] = ContextVar("first connections of a client", default=None)
_closed: WeakSet[AIOKafkaClient] = WeakSet()


def install() -> None:
    """Let aiokafka's clients, who offer no setting for it, make and close connections in these ways."""
    client.create_conn = _create_kept
    AIOKafkaClient.bootstrap = _bootstrap_whole
    AIOKafkaClient.close = _close_all


async def _bootstrap_whole(self: AIOKafkaClient) -> None:
    made: WeakSet[Any] = WeakSet()
    token = _first.set(made)
    _closed.discard(self)
    try:
        await _bootstrap(self)
        if not self.cluster.brokers():
            # A broker that is just starting answers before it is a member of its cluster, and names nobody, not even
            # itself. Should it go away once more, such a client has nobody left to ask, for ever.
            await _close_all(self)
            message = "the broker is only starting: it names no broker yet"
            raise KafkaConnectionError(message)
    except BaseException:
        for connection in list(made):
            connection.close()
        raise
    finally:
        _first.reset(token)


async def _close_all(self: AIOKafkaClient) -> None:
    _closed.add(self)
    await _close(self)


async def _create_kept(host: str, port: int, **options: Any) -> Any:
    connection = await _create(host, port, **options)
    made = _first.get()
    if made is not None:
        made.add(connection)
    # Of all but the first the client is told that they have ended.
    if getattr(options.get("on_close"), "__self__", None) in _closed:
        connection.close()
    return connection
