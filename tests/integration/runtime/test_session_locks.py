"""Locks that outlive transactions: one replica at a time, and none for ever."""

from __future__ import annotations

import asyncio
from random import Random
from urllib.parse import urlsplit

import pytest

from services.runtime.faults import Fault, judge
from services.runtime.postgres import acquire, create_pool
from services.runtime.session_locks import held
from tests.faults.proxy import Proxy
from tests.integration.runtime.harness import Rig, eventually

_KEY = 4711


async def _free(one_rig: Rig) -> bool:
    async with held(one_rig.pool, _KEY, silence=30) as ours:
        return ours


async def test_one_at_a_time_has_it_and_the_next_one_afterwards(one_rig: Rig) -> None:
    async with held(one_rig.pool, _KEY, silence=30) as ours:
        assert ours
        assert not await _free(one_rig)
    assert await _free(one_rig)


async def test_it_is_given_back_when_the_work_fails(one_rig: Rig) -> None:
    with pytest.raises(ZeroDivisionError):
        async with held(one_rig.pool, _KEY, silence=30):
            raise ZeroDivisionError
    assert await _free(one_rig)


async def test_a_connection_that_had_it_may_be_idle_again_for_as_long_as_before(one_rig: Rig) -> None:
    pool = await create_pool(one_rig.database.worker, max_size=1)
    try:
        async with acquire(pool) as connection:
            before = await connection.fetchval("show idle_session_timeout")
        async with held(pool, _KEY, silence=30) as ours:
            assert ours
        async with acquire(pool) as connection:
            assert await connection.fetchval("show idle_session_timeout") == before
    finally:
        await pool.close()


async def test_whoever_holds_it_keeps_it_for_longer_than_the_silence(one_rig: Rig) -> None:
    async with held(one_rig.pool, _KEY, silence=1) as ours:
        assert ours
        await asyncio.sleep(2.5)
        assert not await _free(one_rig)


async def test_who_is_not_heard_of_any_more_loses_it_although_the_connection_stands(one_rig: Rig) -> None:
    direct = urlsplit(one_rig.database.worker)
    proxy = Proxy(Random(1), target=direct.port or 5432)  # noqa: S311 - nothing is drawn here
    through = direct._replace(netloc=direct.netloc.replace(f":{direct.port}", f":{proxy.port}")).geturl()
    pool = await create_pool(through, command_seconds=5)
    began = asyncio.Event()

    async def work() -> None:
        async with held(pool, _KEY, silence=2) as ours:
            assert ours
            began.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    try:
        await asyncio.wait_for(began.wait(), 30)
        await asyncio.to_thread(proxy.leave_half_open)
        await eventually(lambda: _free(one_rig), "somebody else can take it")
        with pytest.raises(ConnectionError, match="is lost") as lost:
            await asyncio.wait_for(working, 30)
        assert judge(lost.value) is Fault.TRANSIENT
    finally:
        proxy.close()
        pool.terminate()
