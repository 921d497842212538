"""Faults that need more than a signal: another build of ourselves, another time, another past."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from contracts.topics import ACCOUNTS, ACTIVITY, KPIS, Topic
from deploy.databases import SERVICES, create_database, database_name
from deploy.local.instance import CHECKOUT
from deploy.local.system import Launch
from tests.faults.ground import Ground
from tests.faults.sinks import Mood
from tests.faults.strike import Strike

OLDER_BUILD = "acd9641"
"""It reads and writes the same topics and tables, as far as it knows them. Builds from before `mailbox_of` keep
other keys of identities at some mail providers: none of them was released, and their keys are not migrated."""
_SKEW_DAYS = 3


def older_build() -> Path | None:
    """A checkout of the older build; None where this checkout has no history that reaches there."""
    target = CHECKOUT / ".tenure" / f"build-{OLDER_BUILD}"
    if not (target / "services").is_dir():
        command = ["git", "-C", str(CHECKOUT), "archive", OLDER_BUILD, "contracts", "services", "deploy"]
        packed = subprocess.run(command, capture_output=True, check=False)
        if packed.returncode != 0:
            return None
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(target, filter="data")
    return target


def rolling_upgrade(strike: Strike) -> None:
    """Services of the older build run beside ours, then ours take over one by one; then back, and forth again."""
    build = older_build()
    if build is None:
        return
    ground = strike.ground
    old = {"PYTHONPATH": str(build)}
    for service in strike.chance.sample(SERVICES, 3 if strike.thorough else 1):
        replica = f"{service}-2"
        ground.system.launches[replica] = Launch(("-m", f"services.{service}.app"), old)
        ground.start(replica)
        strike.wait(3.0, 5.0)
        ground.system.stop_part(service)
        strike.wait(0.5, 2.0)
        ground.start(service)
        strike.wait(2.0, 4.0)
        ground.system.stop_part(replica)


def faketime_library() -> Path | None:
    """libfaketime: named by TENURE_LIBFAKETIME, of the system, or of the Python package of this name."""
    named = os.environ.get("TENURE_LIBFAKETIME")
    package = importlib.util.find_spec("libfaketime")
    places = [Path(named)] if named else []
    places += Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    places += [Path("/usr/lib/faketime/libfaketime.so.1"), Path("/usr/lib64/faketime/libfaketime.so.1")]
    if package is not None and package.origin is not None:
        places += Path(package.origin).parent.rglob("libfaketime.so.1")
    return next((place for place in places if place.is_file()), None)


def clock_skew(strike: Strike) -> None:
    """A service wakes up three days behind or ahead of everybody's real time."""
    library = faketime_library()
    if library is None:
        return
    ground = strike.ground
    for service in strike.chance.sample(SERVICES, 3 if strike.thorough else 1):
        sign = strike.chance.choice("+-")
        skewed = {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{sign}{_SKEW_DAYS}d",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        ground.kill(service)
        ground.skewed.add(service)
        ground.system.launches[service] = Launch(("-m", f"services.{service}.app"), skewed)
        if service == "notifier":
            # what fails is tried again in a while of the database's time, and not given up
            ground.sinks.mood = Mood.FAILING
        ground.start(service)
        strike.wait(6.0, 12.0)


def back_up(ground: Ground, service: str) -> None:
    """Copy a service's database, as a physical backup would; the service is away meanwhile."""
    name = database_name(service)
    ground.kill(service)
    ground.end_sessions(f"{service}%")
    _copy(ground, service, name, f"{name}_backup")
    ground.start(service)


def restore(ground: Ground, service: str) -> None:
    """Put the backup in the database's place and say so, as the operator's page has it."""
    name = database_name(service)
    for part in (service, *(part for part in ground.replicas if part.startswith(f"{service}-"))):
        ground.kill(part)
    ground.administer(f"drop database {name} with (force)", f"alter database {name}_backup rename to {name}")
    command = ground.tenure("restored", service)
    if command.returncode != 0:
        raise RuntimeError(f"`tenure restored {service}` failed: {command.stdout}{command.stderr}")
    ground.start(service)


def restored_backup(strike: Strike) -> None:
    """A service's database becomes what it was some reports ago."""
    service = strike.chance.choice(SERVICES)
    strike.wait(0.0, 0.5)
    # An edit that is not in the backup is lost, and rightly so; reports are read again.
    while service == "accounts" and not strike.only_deliveries():
        time.sleep(0.02)
    back_up(strike.ground, service)
    strike.wait(1.0, 3.0)
    restore(strike.ground, service)


def _copy(ground: Ground, service: str, name: str, copy: str) -> None:
    import asyncpg  # noqa: PLC0415

    async def run() -> None:
        connection = await asyncpg.connect(ground.system.postgres.admin_dsn)
        try:
            await connection.execute(f"drop database if exists {copy} with (force)")
            await create_database(connection, service, copy, template=name)
        finally:
            await connection.close()

    asyncio.run(run())


_REDELIVERED: tuple[Topic, ...] = (ACTIVITY, ACCOUNTS, KPIS)


def redelivery(strike: Strike) -> None:
    """What our services published comes again: as after a relay's crash, and where nothing is compacted, worse."""
    for _ in strike.times(1, 3):
        strike.wait(0.5, 1.5)
        asyncio.run(_again(strike.ground, strike.chance))


async def _again(ground: Ground, chance: Random) -> None:
    prefix = ground.system.plan.topic_prefix
    consumer = AIOKafkaConsumer(bootstrap_servers=ground.bootstrap, isolation_level="read_committed")
    producer = AIOKafkaProducer(bootstrap_servers=ground.bootstrap, acks="all")
    await consumer.start()
    await producer.start()
    try:
        for topic in _REDELIVERED:
            records = await everything(consumer, prefix + topic.name)
            if topic.cleanup == "compact":
                # the last record of a key stays the last: a relay that died repeats its last rounds, in their order
                keys = {record.key for record in records}
                chosen = set(chance.sample(sorted(keys, key=str), len(keys) * 3 // 10))
                again = [record for record in records if record.key in chosen]
            else:
                again = chance.sample(records, len(records) * 3 // 10)
            for record in again:
                await producer.send(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    partition=record.partition,
                )
        await producer.flush()
    finally:
        await consumer.stop()
        await producer.stop()


async def everything(consumer: AIOKafkaConsumer, topic: str) -> Sequence[ConsumerRecord]:
    """Return all records of a physical topic, per partition in order."""
    partitions = [TopicPartition(topic, number) for number in sorted(await _numbers(consumer, topic))]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    found: list[ConsumerRecord] = []
    while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
        for records in (await consumer.getmany(timeout_ms=200)).values():
            found += records
    return found


async def _numbers(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    consumer.assign([TopicPartition(topic, 0)])
    found = consumer.partitions_for_topic(topic)
    while found is None:
        await asyncio.sleep(0.1)
        found = consumer.partitions_for_topic(topic)
    return set(found)
