"""The topics of contracts/topics.py on any Kafka: which there are, create the missing ones, say what differs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from contracts.topics import TOPICS, Topic

_VISIBLE_WITHIN = 30.0  # seconds until a topic that was created is known to the broker that we ask


class TopicsFault(Exception):
    """The cluster cannot be asked or refuses; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A topic of the cluster that is not as contracts/topics.py wants it."""

    topic: str
    setting: str
    wanted: str
    found: str


@asynccontextmanager
async def admin_client(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client that is closed again. Raises TopicsFault when no broker answers."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        try:
            await client.start()
        except KafkaError as fault:
            raise TopicsFault(f"No Kafka broker answers at {bootstrap}.") from fault
        yield client
    finally:
        await client.close()


async def create_topics(
    bootstrap: str,
    *,
    prefix: str = "",
    topics: Iterable[Topic] = TOPICS,
    embedded: bool = False,
    partitions: int | None = None,
) -> list[str]:
    """Creates the missing topics and returns their physical names (prefix + name).

    `embedded` is the one-node broker: one replica, one in sync. `partitions` overrides the counts (tests).
    """
    async with admin_client(bootstrap) as client:
        existing = set(await client.list_topics())
        missing = [replace(topic, name=prefix + topic.name) for topic in topics if prefix + topic.name not in existing]
        if not missing:
            return []
        response = await client.create_topics(
            [
                NewTopic(
                    topic.name,
                    partitions or topic.partitions,
                    1 if embedded else topic.replication,
                    topic_configs=topic.config(embedded=embedded),
                )
                for topic in missing
            ]
        )
        for name, code, *message in response.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise TopicsFault(f"The topic {name} cannot be created: {message[0] if message else for_code(code)}")
        created = [topic.name for topic in missing]
        await _wait_until_visible(client, created)
        return created


async def _wait_until_visible(client: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    try:
        async with asyncio.timeout(_VISIBLE_WITHIN):
            while not set(names) <= set(await client.list_topics()):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TopicsFault(f"The topics were created but do not appear: {', '.join(names)}") from None


async def delete_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Deletes topics by their physical names; those that are gone already are no error."""
    async with admin_client(bootstrap) as client:
        await client.delete_topics(list(names))


async def list_topics(bootstrap: str, *, prefix: str = "") -> dict[str, int | None]:
    """Partition count by physical name of each topic of the contracts; None where the cluster lacks it."""
    async with admin_client(bootstrap) as client:
        found = {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics()}
    return {prefix + topic.name: found.get(prefix + topic.name) for topic in TOPICS}


async def check_topics(bootstrap: str, *, prefix: str = "", embedded: bool = False) -> list[Difference]:
    """What of the contracts' topics is missing or set differently; more partitions than wanted are no difference."""
    differences = []
    counts = await list_topics(bootstrap, prefix=prefix)
    async with admin_client(bootstrap) as client:
        for topic in TOPICS:
            name = prefix + topic.name
            count = counts[name]
            if count is None:
                differences.append(Difference(name, "topic", "present", "missing"))
                continue
            if count < topic.partitions:
                differences.append(Difference(name, "partitions", str(topic.partitions), str(count)))
            found = await _settings_of(client, name)
            differences += [
                Difference(name, setting, wanted, found.get(setting, "unset"))
                for setting, wanted in topic.config(embedded=embedded).items()
                if found.get(setting) != wanted
            ]
    return differences


async def _settings_of(client: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    responses = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    entries = (entry for response in responses for resource in response.resources for entry in resource[4])
    return {entry[0]: entry[1] for entry in entries}
