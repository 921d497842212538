"""Migrations on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from deploy.databases import create_database, migrate
from tests.databases import clone_database, drop_database


async def test_migrations_that_are_started_at_the_same_time_wait_for_one_another(postgres_admin: str) -> None:
    # The roles are there once a database was cloned; they keep their passwords.
    known = await clone_database(postgres_admin, "ingest")
    name = f"test_ingest_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres_admin)
    try:
        await create_database(connection, "ingest", name)
        owner = known.owner.replace(f"/{known.name}", f"/{name}")
        with ThreadPoolExecutor(3) as threads:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(threads, migrate, "ingest", owner) for _ in range(3)))
        fresh = await asyncpg.connect(owner)
        applied = await fresh.fetch("select version from schema_migrations")
        assert len(applied) == len({row["version"] for row in applied}) > 0
        assert await fresh.fetchval("select count(*) from kafka_offset") == 0
        await fresh.close()
    finally:
        await connection.close()
        for database in (name, known.name):
            await drop_database(postgres_admin, database)
