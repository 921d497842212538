"""What the pages tell a desk's rules to send is what the mappings read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from contracts.interactions import assemble
from tests.unit.ingest.desks import OPENED, life, read
from tests.unit.ingest.golden import FOLDER

PAGES = Path(__file__).parents[3] / "docs" / "sources"


def documented(desk: str) -> str:
    """The JSON with placeholders on a desk's page."""
    text = (PAGES / f"{desk}.md").read_text(encoding="utf-8")
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def filled(template: str, values: dict[str, Any]) -> dict[str, Any]:
    """The template as the desk would send it; a placeholder that nothing fills is empty."""
    body = json.loads(re.sub(r"\{\{(.*?)\}\}", lambda name: json.dumps(str(values.get(name[1], "")))[1:-1], template))
    return {"headers": {}, "body": body}


def test_the_json_of_freshdesk_s_page_tells_a_ticket() -> None:
    given = life("freshdesk")[0]["body"]["freshdesk_webhook"]
    fields = {name.removeprefix("ticket_"): value for name, value in given.items()}
    values = {f"ticket.{name}": value for name, value in fields.items()}
    people = ("agent", "requester")
    values |= {
        f"ticket.{who}.{name.removeprefix(f'{who}_')}": fields[name]
        for who in people
        for name in fields
        if name.startswith(who)
    }
    (event,) = read(
        "freshdesk", filled(documented("freshdesk"), values | {"triggered_event": fields["triggered_event"]})
    )
    (golden,) = read("freshdesk", life("freshdesk")[0])
    assert event.model_dump(exclude={"revision", "report"}) == golden.model_dump(exclude={"revision", "report"})
    assert assemble([event]).occurred_at == OPENED


def test_the_json_of_zendesk_s_page_tells_a_rating() -> None:
    example = json.loads((FOLDER / "zendesk" / "trigger_rated.json").read_text(encoding="utf-8"))
    ticket = example["body"]["ticket"]
    values = {f"ticket.{name}": ticket[name] for name in ("id", "status", "priority", "tags")}
    values |= {f"ticket.requester.{name}": value for name, value in ticket["requester"].items()}
    values |= {
        "ticket.title": ticket["subject"],
        "ticket.created_at_with_timestamp": ticket["created_at"],
        "ticket.updated_at_with_timestamp": ticket["updated_at"],
        "ticket.organization.id": ticket["organization_id"],
        "satisfaction.current_rating": ticket["satisfaction"],
    }
    (event,) = read("zendesk", filled(documented("zendesk"), values))
    (golden,) = read("zendesk", example)
    assert event.model_dump(exclude={"revision", "report"}) == golden.model_dump(exclude={"revision", "report"})


@pytest.mark.parametrize(
    "event", ["updated", "agent_replied", "requester_replied", "rated", "deleted", "spam", "restored"]
)
def test_each_word_for_an_event_of_freshdesk_s_page_is_understood(event: str) -> None:
    assert f"`{event}`" in (PAGES / "freshdesk.md").read_text(encoding="utf-8")
    example = json.loads(json.dumps(life("freshdesk")[7]))
    example["body"]["freshdesk_webhook"] |= {"event": event, "ticket_latest_public_comment": "Anna Berg : <p>Yes</p>"}
    assert read("freshdesk", example)
