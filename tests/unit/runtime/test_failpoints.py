"""Named places: silent unless armed, then counted, and obedient once."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime import failpoints
from services.runtime.failpoints import InjectedFault, RuntimeFailpoint, reach
from services.runtime.settings import RuntimeSettings, SettingsError, load

PLACE = RuntimeFailpoint.COMMITTING


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[Path]:
    """A folder of orders for a service called sample."""
    failpoints.arm("sample", tmp_path)
    yield tmp_path
    failpoints.disarm()


def order(folder: Path, **what: object) -> None:
    """Order something at the place, as the nemesis does."""
    fresh = folder / "fresh"
    fresh.write_text(json.dumps({PLACE.value: what}))
    fresh.replace(folder / "sample.json")


def test_without_orders_a_place_is_only_counted(armed: Path) -> None:
    reach(PLACE)
    reach(RuntimeFailpoint.RELAY_READ)

    lines = (armed / "hits.log").read_text().splitlines()
    assert lines == [f"sample {os.getpid()} transaction.committing", f"sample {os.getpid()} relay.read"]


def test_a_place_fails_once_at_the_visit_that_was_ordered(armed: Path) -> None:
    order(armed, action="fail", on=2)

    reach(PLACE)
    with pytest.raises(InjectedFault, match=r"transaction\.committing"):
        reach(PLACE)
    reach(PLACE)


def test_a_new_order_counts_from_the_beginning(armed: Path) -> None:
    order(armed, action="fail", on=1)
    with pytest.raises(InjectedFault):
        reach(PLACE)

    os.utime(armed / "sample.json", ns=(1, 1))

    with pytest.raises(InjectedFault):
        reach(PLACE)


def test_an_order_for_another_replica_is_not_ours(armed: Path) -> None:
    order(armed, action="fail", pid=os.getpid() + 1)
    reach(PLACE)

    order(armed, action="fail", pid=os.getpid())
    with pytest.raises(InjectedFault):
        reach(PLACE)


def test_disarmed_nothing_is_written(armed: Path) -> None:
    failpoints.disarm()

    reach(PLACE)

    assert (armed / "hits.log").read_text() == ""


def test_production_refuses_failpoints(tmp_path: Path) -> None:
    environment = {
        "TENURE_ENVIRONMENT": "production",
        "TENURE_KAFKA_BOOTSTRAP": "kafka:9092",
        "TENURE_DATABASE_URL": "postgresql://there/tenure",
        "TENURE_FAILPOINTS": str(tmp_path),
    }

    with pytest.raises(SettingsError, match="TENURE_FAILPOINTS breaks things on purpose"):
        load(RuntimeSettings, environment)
