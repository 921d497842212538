"""Service desks and survey tools through the real door: signed, shuffled and repeated, and still one ticket each."""

from __future__ import annotations

from collections import defaultdict
from http import HTTPStatus
from random import Random
from typing import Any

import httpx2
import orjson

from contracts.details import SurveyDetail, TicketDetail
from contracts.events import Event
from contracts.interactions import assemble
from contracts.values import Kind
from services.ingest.sources.registry import WEBHOOKS
from services.ingest.verify import Request, seal
from tests.integration.ingest.conftest import SECRETS, Ingest, StartIngest
from tests.unit.ingest.desks import DESKS, OPENED, RESOLVED_AGAIN, life, told

SURVEYS = ("delighted", "typeform")
OPTIONS = {
    "jira": 'satisfaction = "customfield_10031"',
    "zammad": 'rating = "csat"',
    "delighted": 'organization = "Account"',
}
SOURCES = "".join(
    f"""
[sources.my-{name}]
provider = "{name}"
system = "{name}:brightwell"
secret_files = ["desk.secret"]
{OPTIONS.get(name, "")}
"""
    for name in (*DESKS, *SURVEYS)
)


async def deliver(ingest: Ingest, name: str, example: dict[str, Any], *, signed: bool = True) -> httpx2.Response:
    """Posts a golden delivery as the provider would."""
    path, body = f"/v1/webhooks/my-{name}", orjson.dumps(example["body"])
    request = Request(f"http://ingest{path}", {**example["headers"], "content-type": "application/json"}, body)
    if signed:
        request = seal(WEBHOOKS[name].scheme, SECRETS["desk.secret"], request)
    return await ingest.http.post(path, content=request.body, headers=dict(request.headers))


async def test_the_life_of_a_ticket_comes_in_from_every_desk_in_any_order(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(SOURCES)
    deliveries = [(name, example) for name in (*DESKS, *SURVEYS) for example in life(name)]
    random = Random(7)  # noqa: S311 - not for secrets
    random.shuffle(deliveries)
    again = deliveries[:10]
    for name, example in (*deliveries, *again):
        answer = await deliver(ingest, name, example)
        assert answer.status_code == HTTPStatus.OK, (name, answer.text)

    expected = sum(len(events) for name in (*DESKS, *SURVEYS) for events in told(name))
    repeated = sum(len(told(name)[life(name).index(example)]) for name, example in again)
    reports: dict[str, list[Event]] = defaultdict(list)
    for event in await ingest.events(expected + repeated):
        reports[event.interaction.id].append(event)

    things = [assemble(about_one) for about_one in reports.values()]
    tickets = [thing.detail for thing in things if isinstance(thing.detail, TicketDetail)]
    assert len(tickets) == len(DESKS)
    for ticket in tickets:
        assert (ticket.opened_at, ticket.resolved_at, ticket.rating) == (OPENED, RESOLVED_AGAIN, 5)
    assert sorted(thing.key.system for thing in things if thing.kind is Kind.COMMENT) == sorted(
        f"{desk}:brightwell" for desk in (*DESKS, *DESKS)
    )
    answers = sorted(
        (thing.detail.survey, thing.detail.score) for thing in things if isinstance(thing.detail, SurveyDetail)
    )
    assert answers == [("csat", 4), ("nps", 9), ("nps", 9)]


async def test_what_is_unsigned_or_not_wanted_leaves_nothing_behind(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(SOURCES)
    for name in (*DESKS, *SURVEYS):
        answer = await deliver(ingest, name, life(name)[0], signed=False)
        assert answer.status_code == HTTPStatus.UNAUTHORIZED, name
    for name, body in (
        ("intercom", {"topic": "ping", "data": {"item": {"type": "ping"}}}),
        ("zendesk", {}),
        ("jira", {"webhookEvent": "worklog_updated"}),
        ("delighted", {"event_type": "unsubscribe.created"}),
    ):
        answer = await deliver(ingest, name, {"headers": {}, "body": body})
        assert answer.status_code == HTTPStatus.OK
        assert answer.json()["ignored"] in {"ping", "test", "worklog_updated", "unsubscribe.created"}
    await ingest.published(0)
