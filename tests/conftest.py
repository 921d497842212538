"""What every test may ask for: one real Kafka and one real PostgreSQL for the whole session, whatever the workers.

They are started by the first test that needs them and stopped when the session ends, however it ends. Where
TENURE_TEST_KAFKA (host:port) or TENURE_TEST_POSTGRES (a superuser's connection string) name running ones, these are
used; the head of pytest's report says which. A Docker engine is not asked for, also where one answers: to run on the
images of Kafka and PostgreSQL, start them and name them in these two variables.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from hypothesis import settings

from contracts.topics import TOPICS, Topic
from deploy.databases import DatabaseAccess
from deploy.local.instance import Instance, this_process
from deploy.local.kafka import VERSION as KAFKA_VERSION
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.local.processes import LocalFault, ProcessRecord
from deploy.topics import create_topics, delete_topics
from tests.databases import clone_database, copy_database, drop_database

# No test asserts on elapsed time, and neither does the one that makes examples up.
settings.register_profile("tenure", deadline=None)
settings.load_profile("tenure")

T = TypeVar("T")
_DIRECTORY = pytest.StashKey[Path]()
_OWNER = pytest.StashKey[ProcessRecord]()


class CreateTopics(Protocol):
    """Creates topics under the test's prefix; returns the physical name by the logical one."""

    def __call__(self, topics: Iterable[Topic] = TOPICS, *, partitions: int = 3) -> dict[str, str]:
        """Returns when the broker knows them."""


def run_blocking(task: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine from a fixture, whether or not the test's own event loop is running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, task).result()


def pytest_configure(config: pytest.Config) -> None:
    """The controller owns the directory of the session's servers; workers are told."""
    handed_over = getattr(config, "workerinput", None)
    if handed_over is None:
        config.stash[_DIRECTORY] = Path(tempfile.gettempdir()) / f"tenure-test-{uuid.uuid4().hex}"
        config.stash[_OWNER] = this_process()
    else:
        config.stash[_DIRECTORY] = Path(handed_over["tenure_directory"])
        config.stash[_OWNER] = ProcessRecord(**handed_over["tenure_owner"])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called when xdist is about to start a worker."""
    node.workerinput["tenure_directory"] = str(node.config.stash[_DIRECTORY])
    node.workerinput["tenure_owner"] = asdict(node.config.stash[_OWNER])


def pytest_unconfigure(config: pytest.Config) -> None:
    """The end, also after Ctrl-C; after a SIGKILL the guard does the same."""
    if hasattr(config, "workerinput") or _DIRECTORY not in config.stash:
        return
    Instance(config.stash[_DIRECTORY]).stop_all()


def pytest_report_header() -> list[str]:
    """Which servers the tests run against."""
    kafka = os.environ.get("TENURE_TEST_KAFKA", f"Apache Kafka {KAFKA_VERSION}, a process of this session")
    named = "TENURE_TEST_POSTGRES" in os.environ
    postgres = "the one of TENURE_TEST_POSTGRES" if named else "PostgreSQL 18, a process of this session"
    return [f"kafka: {kafka}", f"postgres: {postgres}"]


@pytest.fixture(scope="session")
def session_instance(request: pytest.FixtureRequest) -> Instance:
    """Where the session's servers are written down; begun by whoever comes first."""
    instance = Instance(request.config.stash[_DIRECTORY])
    instance.directory.mkdir(mode=0o711, exist_ok=True)
    with instance.exclusively("begin"):
        if not instance.exists():
            instance.begin(request.config.stash[_OWNER], fresh=False)
            instance.remember(ephemeral=True)
    return instance


def _shared(instance: Instance, name: str, start: Callable[[], str]) -> str:
    """The address of a server that the first caller starts and everybody uses."""
    with instance.exclusively(name):
        facts = instance.state().facts
        if name not in facts:
            try:
                address = start()
            except LocalFault as fault:
                pytest.exit(str(fault), returncode=1)
            instance.remember(**{name: address})
            return address
        return str(facts[name])


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """host:port of the session's Kafka."""
    if given := os.environ.get("TENURE_TEST_KAFKA"):
        return given
    instance: Instance = request.getfixturevalue("session_instance")

    def start() -> str:
        spawned = partial(instance.add, "kafka")
        kafka = LocalKafka(instance.directory / "kafka", short_lived=True, report=print, spawned=spawned)
        kafka.start()
        return kafka.bootstrap

    return _shared(instance, "kafka", start)


@pytest.fixture(scope="session")
def postgres_admin(request: pytest.FixtureRequest) -> str:
    """The superuser's connection string of the session's PostgreSQL."""
    if given := os.environ.get("TENURE_TEST_POSTGRES"):
        return given
    instance: Instance = request.getfixturevalue("session_instance")

    def start() -> str:
        spawned = partial(instance.add, "postgres")
        postgres = LocalPostgres(instance.directory / "postgres", durable=False, spawned=spawned)
        postgres.start()
        return postgres.admin_dsn

    return _shared(instance, "postgres", start)


@pytest.fixture
def topic_prefix() -> str:
    """Unique to the test: for topics, consumer groups and transactional ids."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture
def make_topics(kafka_bootstrap: str, topic_prefix: str) -> Iterator[CreateTopics]:
    """Creates the contracts' topics, or the given ones, under `topic_prefix`; deleted afterwards."""
    made: list[str] = []

    def create(topics: Iterable[Topic] = TOPICS, *, partitions: int = 3) -> dict[str, str]:
        wanted = tuple(topics)
        made.extend(
            run_blocking(
                create_topics(kafka_bootstrap, prefix=topic_prefix, topics=wanted, embedded=True, partitions=partitions)
            )
        )
        return {topic.name: topic_prefix + topic.name for topic in wanted}

    yield create
    if made:
        run_blocking(delete_topics(kafka_bootstrap, made))


@pytest.fixture
def database(postgres_admin: str) -> Iterator[Callable[[str], DatabaseAccess]]:
    """`database("accounts")`: a fresh migrated database with owner, worker and api connection strings."""
    made: list[str] = []

    def clone(service: str) -> DatabaseAccess:
        cloned = run_blocking(clone_database(postgres_admin, service))
        made.append(cloned.name)
        return cloned

    yield clone
    for name in made:
        run_blocking(drop_database(postgres_admin, name))


@pytest.fixture
def backup(postgres_admin: str) -> Iterator[Callable[[DatabaseAccess], DatabaseAccess]]:
    """`backup(access)`: a copy of a database as it is now; nobody may be connected to it meanwhile."""
    made: list[str] = []

    def copy(source: DatabaseAccess) -> DatabaseAccess:
        copied = run_blocking(copy_database(postgres_admin, source))
        made.append(copied.name)
        return copied

    yield copy
    for name in made:
        run_blocking(drop_database(postgres_admin, name))
