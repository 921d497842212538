"""Events that are plainly written are read in one go, many together; nobody can tell, but by the time it takes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import orjson

from services.ingest.domain.schemes import SchemeName
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_acceptance import PLACED

OF_THE_DELIVERY = {"ce_recordedtime", "ce_traceparent"}


def order(number: int) -> dict[str, Any]:
    """One order of its own."""
    return {**PLACED, "id": f"{number}-1", "subject": str(number)}


def spaced(item: dict[str, Any]) -> bytes:
    """The same, written with blanks: the door's ordinary way reads it."""
    return json.dumps(item).encode()


async def test_both_ways_lead_to_the_same_record(ingest: Ingest) -> None:
    first, second = await ingest.events_door(PLACED), await ingest.events_door(spaced(PLACED))

    assert first.status_code == second.status_code == 202, first.text + second.text
    assert first.json() == second.json()
    one, other = await ingest.published(2)
    assert (one.key, one.value) == (other.key, other.value)
    assert [name for name, _ in one.headers] == [name for name, _ in other.headers]
    same = [[pair for pair in record.headers if pair[0] not in OF_THE_DELIVERY] for record in (one, other)]
    assert same[0] == same[1]
    assert ("ce_publisher", b"/erp") in one.headers


async def test_each_of_many_at_once_gets_its_own_answer(ingest: Ingest) -> None:
    def send(number: int) -> Any:
        item = order(number)
        match number % 6:
            case 0:
                return ingest.post("/v1/events", orjson.dumps(item), SchemeName.STANDARD_WEBHOOKS, "mail.secret")
            case 1:
                return ingest.events_door({**item, "type": "tenure.order.unheard.v1"})
            case 2:
                return ingest.events_door(spaced(item))
            case 3:
                return ingest.events_door(item, tenure_source="desk")
            case 4:
                return ingest.events_door(b'{"specversion": ')
            case _:
                return ingest.events_door(item)

    answers: list[httpx2.Response] = await asyncio.gather(*(send(number) for number in range(60)))

    wanted = {0: 401, 1: 422, 2: 202, 3: 401, 4: 400, 5: 202}
    assert [answer.status_code for answer in answers] == [wanted[number % 6] for number in range(60)]
    ids = {answer.json()["results"][0]["id"] for answer in answers if answer.status_code == 202}
    assert len(ids) == 20
    assert {dict(record.headers)["ce_id"].decode() for record in await ingest.published(20)} == ids


async def test_a_trace_that_somebody_looks_at_goes_on(start_ingest: StartIngest, tmp_path: Any) -> None:
    ingest = await start_ingest(trace_file=tmp_path / "spans.jsonl", trace_sample_ratio=0.0)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for number, sampled in enumerate(("00", "01")):
        answer = await ingest.events_door(order(number), traceparent=f"00-{trace}-00f067aa0ba902b7-{sampled}")
        assert answer.status_code == 202, answer.text
    parents = {dict(record.headers)["ce_traceparent"].decode() for record in await ingest.published(2)}
    assert {parent[:36] for parent in parents} == {f"00-{trace}-"}
    assert {parent[-2:] for parent in parents} == {"00", "01"}


async def test_an_event_that_no_record_can_hold_takes_no_other_of_its_batch_with_it(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(record_limit="2000")
    large = {**order(1), "data": {"text": "x" * 5000}}
    alone = await ingest.events_door(large)
    assert alone.status_code == 413
    batch = await ingest.events_door([order(0), large, order(2)], "application/cloudevents-batch+json")
    answer = batch.json()
    assert (batch.status_code, answer["accepted"], answer["rejected"]) == (207, 2, 1), answer
    assert [one["status"] for one in answer["results"]] == ["accepted", "rejected", "accepted"]
    assert {event.interaction.native_id for event in await ingest.events(2)} == {"0", "2"}
