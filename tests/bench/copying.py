"""A, the measure of every consumer: one process, aiokafka's getmany → COPY of the raw records, no checks."""

from __future__ import annotations

from typing import Any

import asyncpg
from aiokafka import ConsumerRecord

from tests.bench.figures import expect
from tests.bench.ground import Ground
from tests.bench.stream import Pace, reading

_FETCH_WAIT_MS = 1000


def copy_raw(ground: Ground, topic: str, records: int, batch: int, database: str) -> float:
    """Records a second. `database` is a connection string to an empty database, which is left empty again."""
    ground.settle()
    # Of few records there must be several batches, or there is no pace.
    several = min(batch, max(1, records // 4))
    arguments = {"bootstrap": ground.kafka, "topic": topic, "records": records, "batch": several, "database": database}
    return float(ground.apart("tests.bench.copying:job", **arguments)["per_second"])


async def job(*, bootstrap: str, topic: str, records: int, batch: int, database: str) -> dict[str, Any]:
    """Copies until `records` are in the table; raises CheckFailed when others or fewer are there in the end."""
    connection = await asyncpg.connect(database)
    pace = Pace()
    try:
        # the plainest table there can be
        await connection.execute("drop table if exists raw_record")
        await connection.execute(
            "create table raw_record (partition_id integer, record_offset bigint, key bytea, value bytea)"
        )
        async with reading(bootstrap, topic) as consumer:
            while pace.total < records:
                fetched = await consumer.getmany(timeout_ms=_FETCH_WAIT_MS, max_records=batch)
                rows = [_row(record) for records_of_one in fetched.values() for record in records_of_one]
                if rows:
                    await connection.copy_records_to_table("raw_record", records=rows)
                    pace.committed(pace.total + len(rows))
        # how many distinct records there are
        found = await connection.fetchval(
            "select count(*) from (select distinct partition_id, record_offset from raw_record)"
        )
        expect("raw records copied", found, records)
        await connection.execute("drop table raw_record")
    finally:
        await connection.close()
    return {"per_second": pace.per_second, "processor_us": pace.processor_us}


def _row(record: ConsumerRecord) -> tuple[int, int, bytes | None, bytes | None]:
    return record.partition, record.offset, record.key, record.value
