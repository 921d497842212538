"""Clients that are not ours: confluent-kafka and the `cloudevents` package."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from confluent_kafka import Consumer, Producer, TopicPartition

_PATIENCE = 60.0


@dataclass(frozen=True)
class ForeignRecord:
    """A record as confluent-kafka gives it."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    def as_event(self) -> BaseCloudEvent:
        """As the `cloudevents` package reads it; raises what that raises."""
        return from_kafka_event(KafkaMessage(headers=self.headers, key=self.key, value=self.value or b""))


def read_all(bootstrap: str, topic: str) -> list[ForeignRecord]:
    """Every record that the topic has now, read by confluent-kafka."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"foreign-{time.time_ns()}",
            "enable.auto.commit": False,
            # as a reader of a transactional producer should
            "isolation.level": "read_committed",
            "enable.partition.eof": False,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=_PATIENCE).topics[topic].partitions
        ends = {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_PATIENCE)[1]
            for number in partitions
        }
        consumer.assign([TopicPartition(topic, number, 0) for number, end in ends.items() if end > 0])
        return list(_until(consumer, topic, ends))
    finally:
        consumer.close()


def _until(consumer: Any, topic: str, ends: dict[int, int]) -> Iterable[ForeignRecord]:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        for message in consumer.consume(500, timeout=0.5):
            if message.error() is None:
                yield ForeignRecord(message.key(), message.value(), dict(message.headers() or []))
        # positions, not offsets of records: markers of transactions take offsets too
        where = consumer.position([TopicPartition(topic, number) for number, end in ends.items() if end > 0])
        if all(place.offset >= ends[place.partition] for place in where):
            return
    raise AssertionError(f"{topic} could not be read to its end")


def put(bootstrap: str, topic: str, records: Sequence[ForeignRecord]) -> None:
    """Place records directly on a topic, as anybody with access to the broker could."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    refused: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            refused.append(str(error))

    for record in records:
        headers: dict[str, str | bytes | None] = {**record.headers}
        producer.produce(topic, key=record.key, value=record.value, headers=headers, on_delivery=delivered)
    if producer.flush(_PATIENCE) or refused:
        raise AssertionError(f"records could not be placed on {topic}: {refused}")
