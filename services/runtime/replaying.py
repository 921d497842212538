"""What distinguishes a replayed record: for which reader of its topic it is, and under which key it first came."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import asyncpg
from msgspec import structs

from contracts.topics import TOPICS
from services.runtime.dead_letters import DeadLetter
from services.runtime.outbox import RawRecord

_REPLAY_FOR, _REPLAY_KEY = "tenure-replay-for", "tenure-replay-key"
_COMPACTED = frozenset(topic.name for topic in TOPICS if topic.cleanup == "compact")


def again(row: asyncpg.Record, now: datetime) -> RawRecord:
    """Return the record of a letter as it goes through its topic again: as it came, and for whom.

    On a compacted topic under a key of its own: the state that it tells may have been told anew since, and what is
    last under a key is all that remains of it.
    """
    headers = [
        *zip((name.decode("utf-8", "replace") for name in row["header_names"]), row["header_values"], strict=True),
        (_REPLAY_FOR, row["handler"].encode()),
    ]
    key: bytes | None = row["record_key"]
    if row["topic"] in _COMPACTED:
        headers.append((_REPLAY_KEY, key or b""))
        key = f"replay:{row['id']}".encode()
    return RawRecord(row["topic"], key, row["value"], headers, row["recordedtime"] or now)


def kept_by(service: str, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Return the letters that `service` has to keep, as they first came.

    What was replayed for another reader of its topic, and cannot be read here either, has its letter here already.
    """
    kept = []
    for letter in letters:
        record = letter.record
        said = {name: value for name, value in record.headers if name in {_REPLAY_FOR, _REPLAY_KEY}}
        if said.get(_REPLAY_FOR, service.encode()) != service.encode():
            continue
        if said:
            headers = [(name, value) for name, value in record.headers if name not in said]
            first = structs.replace(record, headers=headers, key=said.get(_REPLAY_KEY, record.key))
            letter = replace(letter, record=first)  # noqa: PLW2901 - the same letter, as it first came
        kept.append(letter)
    return kept
