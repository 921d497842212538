"""Every figure can be traced to what it rests on."""

from typing import get_args

from contracts.kpis import Kpi
from services.metrics.store.reading import EVIDENCE


def test_every_kpi_says_which_interactions_are_behind_it() -> None:
    assert set(EVIDENCE) == set(get_args(Kpi))
