"""The servers that tests and demo run on."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts.topics import INTERACTIONS, TOPICS
from deploy.databases import SERVICES, DatabaseAccess, with_database
from deploy.topics import check_topics, list_topics
from tests.conftest import CreateTopics


async def test_a_record_written_to_kafka_is_read_back(
    kafka_bootstrap: str, topic_prefix: str, make_topics: CreateTopics
) -> None:
    name = make_topics([INTERACTIONS])[INTERACTIONS.name]
    assert name == f"{topic_prefix}{INTERACTIONS.name}"
    async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, enable_idempotence=True) as producer:
        await producer.send_and_wait(name, b"value", key=b"key", headers=[("ce_id", b"1")])
    async with AIOKafkaConsumer(
        name, bootstrap_servers=kafka_bootstrap, group_id=f"{topic_prefix}readers", auto_offset_reset="earliest"
    ) as consumer:
        record = await consumer.getone()
    assert (record.key, record.value, list(record.headers)) == (b"key", b"value", [("ce_id", b"1")])


async def test_the_topics_of_the_contracts_are_created_as_written_down(
    kafka_bootstrap: str, topic_prefix: str, make_topics: CreateTopics
) -> None:
    before = await check_topics(kafka_bootstrap, prefix=topic_prefix, embedded=True)
    assert {(difference.setting, difference.found) for difference in before} == {("topic", "missing")}
    make_topics(partitions=24)
    assert await check_topics(kafka_bootstrap, prefix=topic_prefix, embedded=True) == []
    assert await list_topics(kafka_bootstrap, prefix=topic_prefix) == {topic_prefix + t.name: 24 for t in TOPICS}


@pytest.mark.parametrize("service", SERVICES)
async def test_each_login_of_a_service_reaches_its_own_database(
    service: str, database: Callable[[str], DatabaseAccess]
) -> None:
    own = database(service)
    for dsn, group in ((own.owner, "tenure_owner"), (own.worker, "tenure_worker"), (own.api, "tenure_api")):
        connection = await asyncpg.connect(dsn)
        try:
            assert await connection.fetchval("select current_database()") == own.name
            assert await connection.fetchval("select pg_has_role(current_user, $1, 'member')", group)
            assert not await connection.fetchval("select rolsuper from pg_roles where rolname = current_user")
        finally:
            await connection.close()


async def test_no_login_reaches_the_database_of_another_service(database: Callable[[str], DatabaseAccess]) -> None:
    accounts, metrics = database("accounts"), database("metrics")
    for dsn in (accounts.owner, accounts.worker, accounts.api):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(with_database(dsn, metrics.name))


async def test_only_the_owner_may_create_tables(database: Callable[[str], DatabaseAccess]) -> None:
    own = database("accounts")
    for dsn in (own.worker, own.api):
        connection = await asyncpg.connect(dsn)
        try:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("create table anything (id int)")
        finally:
            await connection.close()
