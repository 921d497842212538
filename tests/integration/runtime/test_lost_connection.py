"""A connection that ends while it is being made ready is the infrastructure's fault, in whatever words it says so."""

from __future__ import annotations

import asyncpg
import pytest
import uvloop

from services.runtime.faults import Fault, judge
from services.runtime.postgres import register_codecs


def test_a_connection_lost_before_it_is_ready_is_a_transient_fault(postgres_admin: str) -> None:
    async def lose() -> None:
        connection = await asyncpg.connect(postgres_admin)
        with pytest.raises(asyncpg.PostgresConnectionError):
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")
        await register_codecs(connection)

    # in the services' own event loop: it has words of its own
    with pytest.raises(Exception) as lost:  # noqa: PT011 - which one is what is asked
        uvloop.run(lose())
    assert judge(lost.value) is Fault.TRANSIENT
