"""A connection that ends while it is being made ready is the infrastructure's fault, in whatever words it says so."""

from __future__ import annotations

import asyncio
from random import Random
from urllib.parse import urlsplit

import asyncpg
import pytest
import uvloop

from services.runtime.faults import Fault, judge
from services.runtime.postgres import acquire, create_pool, register_codecs, savepoint, transaction
from tests.faults.proxy import Proxy
from tests.integration.runtime.harness import Rig


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


async def test_a_part_that_may_fail_by_itself_is_not_rolled_back_on_a_connection_that_is_silent(one_rig: Rig) -> None:
    direct = urlsplit(one_rig.database.worker)
    proxy = Proxy(Random(1), target=direct.port or 5432)  # noqa: S311 - nothing is drawn here
    through = direct._replace(netloc=direct.netloc.replace(f":{direct.port}", f":{proxy.port}")).geturl()
    pool = await create_pool(through, command_seconds=3600)

    async def fall_silent() -> None:
        async with transaction(pool) as connection, savepoint(connection):
            await asyncio.to_thread(proxy.leave_half_open)
            await connection.execute("select 1", timeout=1)

    try:
        # Each further question would be waited for for an hour.
        silent = asyncio.create_task(fall_silent())
        done, _ = await asyncio.wait({silent}, timeout=60)
        assert done
        assert isinstance(silent.exception(), TimeoutError | asyncpg.InterfaceError)
    finally:
        silent.cancel()
        await asyncio.gather(silent, return_exceptions=True)
        proxy.close()
        pool.terminate()


async def test_one_silent_connection_is_waited_for_and_not_all_that_stood_beside_it(one_rig: Rig) -> None:
    direct = urlsplit(one_rig.database.worker)
    proxy = Proxy(Random(1), target=direct.port or 5432)  # noqa: S311 - nothing is drawn here
    through = direct._replace(netloc=direct.netloc.replace(f":{direct.port}", f":{proxy.port}")).geturl()
    pool = await create_pool(through, command_seconds=5)
    try:
        together = asyncio.Barrier(4)

        async def use() -> None:
            async with acquire(pool) as connection:
                await together.wait()
                await connection.execute("select 1")

        await asyncio.gather(*(use() for _ in range(4)))
        assert pool.get_idle_size() == 4
        await asyncio.to_thread(proxy.leave_half_open)
        with pytest.raises((TimeoutError, asyncpg.InterfaceError)):
            async with transaction(pool) as connection:
                await connection.execute("select 1")
        # New connections pass: each of these would be the next silent one.
        for _ in range(4):
            async with transaction(pool) as connection:
                assert await connection.fetchval("select 1") == 1
    finally:
        proxy.close()
        pool.terminate()
