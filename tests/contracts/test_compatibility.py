"""The compatibility check sees what would break an old reader or an old record, and lets additions pass."""

from copy import deepcopy
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, create_model

from contracts.codec import ALL_TYPES
from contracts.documents import SCHEMAS, schema_of, stored
from contracts.events import EVENTS, OrderPlaced, TicketOpened
from contracts.values import Kind, Model, Money
from tests.contracts.compatibility import breaks

TICKET = schema_of(TicketOpened.TYPE, TicketOpened)
ORDER = schema_of(OrderPlaced.TYPE, OrderPlaced)


def changed_ticket(**fields: Any) -> dict[str, Any]:
    model = create_model("TicketOpened", __base__=TicketOpened, **fields)
    return schema_of(TicketOpened.TYPE, model)


@pytest.mark.parametrize("name", sorted(ALL_TYPES))
def test_the_models_match_the_schemas_that_are_checked_in(name: str) -> None:
    assert schema_of(name, ALL_TYPES[name]) == stored(SCHEMAS, name), "run `make schemas`"


@pytest.mark.parametrize("name", sorted(ALL_TYPES))
def test_an_unchanged_schema_breaks_nothing(name: str) -> None:
    schema = stored(SCHEMAS, name)
    assert breaks(schema, schema) == []


def test_every_schema_that_is_checked_in_belongs_to_a_type() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(ALL_TYPES)


def test_a_new_optional_field_may_come_within_a_version() -> None:
    assert breaks(TICKET, changed_ticket(queue=(str | None, None))) == []


def test_a_new_required_field_breaks_old_records() -> None:
    assert any("record of the old version" in reason for reason in breaks(TICKET, changed_ticket(queue=(str, ...))))


def test_another_type_of_a_field_breaks_both_sides() -> None:
    assert len(breaks(TICKET, changed_ticket(rating=(str | None, None)))) == 2


def test_a_wider_enumeration_breaks_old_readers() -> None:
    wider = Literal["low", "normal", "high", "urgent", "blocker"]
    assert any("reader of the old version" in r for r in breaks(TICKET, changed_ticket(priority=(wider | None, None))))


def test_a_narrower_enumeration_breaks_old_records() -> None:
    narrower = Literal["low", "normal", "high"]
    assert any(
        "record of the old version" in r for r in breaks(TICKET, changed_ticket(priority=(narrower | None, None)))
    )


def test_a_tighter_bound_breaks_old_records() -> None:
    tighter = Annotated[int, Field(ge=1, le=3)] | None
    assert any(
        "record of the old version" in reason for reason in breaks(TICKET, changed_ticket(rating=(tighter, None)))
    )


def test_a_removed_field_is_missed_by_old_readers() -> None:
    without = deepcopy(ORDER)
    del without["properties"]["net"]
    assert any("net is gone" in reason for reason in breaks(ORDER, without))


def test_a_field_that_becomes_optional_breaks_old_readers() -> None:
    loosened = deepcopy(ORDER)
    loosened["required"].remove("occurred_at")
    assert any("reader of the old version" in reason for reason in breaks(ORDER, loosened))


def test_a_renamed_field_inside_a_nested_value_is_seen() -> None:
    renamed = deepcopy(ORDER)
    money = renamed["$defs"][Money.__name__]
    money["properties"]["code"] = money["properties"].pop("currency")
    money["required"] = ["amount", "code"]
    assert len(breaks(ORDER, renamed)) == 3


def test_a_reader_lets_through_a_field_that_came_later() -> None:
    class Later(TicketOpened):
        TYPE: ClassVar[str] = TicketOpened.TYPE
        queue: str = "hardware"

    example = stored(SCHEMAS.parent / "examples", TicketOpened.TYPE)["data"]
    written = Later.model_validate(example).model_dump_json()
    read = TicketOpened.model_validate_json(written)
    assert read == TicketOpened.model_validate(example)
    assert read.interaction.kind is Kind.TICKET


def test_every_event_is_frozen_and_names_its_version() -> None:
    for event in EVENTS:
        assert issubclass(event, Model)
        assert event.model_config["frozen"] is True
        assert event.TYPE.startswith("tenure.")
        assert event.TYPE.endswith(".v1")
