"""What every bench stands on: one real Kafka, one real PostgreSQL, databases and topics made as they are needed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from contracts.topics import TOPICS, Topic
from deploy.databases import DatabaseAccess, create_database, with_database
from deploy.local.instance import Instance, this_process
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.topics import create_topics, delete_topics
from tests.bench.apart import run_apart, run_together
from tests.bench.figures import Step
from tests.databases import clone_database, drop_database

T = TypeVar("T")


def blocking(task: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine from code without a loop, also where a test's loop runs around it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, task).result()


@dataclass(slots=True)
class Ground:
    """Servers for the benches. What is made here is gone when `cleared` ends."""

    instance: Instance
    kafka: str  # host:port
    postgres: str  # the superuser's connection string
    partitions: int | None = None  # None: as contracts/topics.py has them
    _topics: list[str] = field(default_factory=list)
    _databases: list[str] = field(default_factory=list)

    def topics(self, wanted: Iterable[Topic] = TOPICS, *, partitions: int | None = None) -> str:
        """The prefix under which fresh topics have been created."""
        prefix = f"b{uuid.uuid4().hex[:8]}."
        count = partitions or self.partitions
        made = create_topics(self.kafka, prefix=prefix, topics=wanted, embedded=True, partitions=count)
        self._topics += blocking(made)
        return prefix

    def database(self, service: str) -> DatabaseAccess:
        """A fresh migrated database of a service."""
        made = blocking(clone_database(self.postgres, service))
        self._databases.append(made.name)
        return made

    def copy(self, template: DatabaseAccess) -> DatabaseAccess:
        """A database that begins as `template` is now; nobody may be connected to the template."""
        name = f"bench_{template.service}_{uuid.uuid4().hex[:12]}"
        blocking(_copy(self.postgres, template, name))
        self._databases.append(name)
        owner, worker, api = (with_database(dsn, name) for dsn in (template.owner, template.worker, template.api))
        return replace(template, name=name, owner=owner, worker=worker, api=api)

    def admin(self, database: str) -> str:
        """The superuser's connection string to one of the databases."""
        return with_database(self.postgres, database)

    def plain_database(self) -> str:
        """The superuser's connection string to a fresh empty database, for the baselines."""
        name = f"bench_plain_{uuid.uuid4().hex[:12]}"
        blocking(_execute(self.postgres, f"create database {name}"))
        self._databases.append(name)
        return self.admin(name)

    def drop(self, database: DatabaseAccess) -> None:
        """Drops a copy that has served."""
        self._databases.remove(database.name)
        blocking(drop_database(self.postgres, database.name))

    def settle(self) -> None:
        """Writes out what earlier runs left dirty, so that the next one does not pay for it."""
        blocking(_execute(self.postgres, "checkpoint"))

    def execute(self, database: str, *statements: str) -> None:
        """Runs statements as the superuser."""
        blocking(_execute(self.admin(database), *statements))

    def rows(self, database: str, query: str) -> list[asyncpg.Record]:
        """Asks a database as the superuser."""
        return blocking(_fetch(self.admin(database), query))

    def apart(self, job: str, **arguments: Any) -> dict[str, Any]:
        """Runs a job in a process of its own; see `apart`."""
        return run_apart(self.instance, job, **arguments)

    def together(self, job: str, processes: int, **arguments: Any) -> list[dict[str, Any]]:
        """Runs a job in so many processes at once, which meet before they begin; see `consuming.meet`."""
        place = self.instance.directory / "jobs" / f"meeting-{uuid.uuid4().hex}"
        place.mkdir(parents=True)
        return run_together(self.instance, job, processes, meeting=str(place), together=processes, **arguments)

    @contextmanager
    def cleared(self) -> Iterator[None]:
        """Removes at the end what was made within, also after a fault."""
        topics, databases = len(self._topics), len(self._databases)
        try:
            yield
        finally:
            gone, self._topics[topics:] = self._topics[topics:], []
            if gone:
                blocking(delete_topics(self.kafka, gone))
            dropped, self._databases[databases:] = self._databases[databases:], []
            for name in dropped:
                blocking(drop_database(self.postgres, name))


@contextmanager
def prepared(directory: Path, step: Step) -> Iterator[Ground]:
    """Servers with their files below `directory`; everything is stopped and deleted at the end, however it comes."""
    instance = Instance(directory)
    instance.begin(this_process())
    instance.remember(ephemeral=True)
    kafka = LocalKafka(directory / "kafka", report=step)
    postgres = LocalPostgres(directory / "postgres")
    try:
        for name, server in (("postgres", postgres), ("kafka", kafka)):
            step(f"starting {name}")
            server.start()
            if server.record is not None:
                instance.add(name, server.record)
        yield Ground(instance, kafka.bootstrap, postgres.admin_dsn)
    finally:
        step("stopping the servers")
        instance.stop_all()
        instance.remove()


async def _copy(admin_dsn: str, template: DatabaseAccess, name: str) -> None:
    connection = await asyncpg.connect(admin_dsn)
    try:
        # a pool that was just closed may still be seen for a moment
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", template.name
        )
        await create_database(connection, template.service, name, template=template.name)
    finally:
        await connection.close()


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
