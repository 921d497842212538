"""The examples of docs/kpis.md, computed by hand there and from scratch here."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import get_args
from zoneinfo import ZoneInfo

import pytest

from contracts.kpis import Kpi
from services.metrics.domain.fold import fold_account
from tests.unit.metrics.builders import BERLIN, MARIA, TOM, call, mail, meeting, order, refund, ticket, uid

AS_OF = date(2026, 3, 2)
PAGE = Path(__file__).parents[3] / "docs" / "kpis.md"


def on(text: str) -> datetime:
    """A moment by a clock in Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"))


EXAMPLE = (
    mail(1, on("2026-03-02 09:00"), people=[(MARIA, "from")], touch_class="support"),
    mail(2, on("2026-03-02 11:00"), "out", people=[(MARIA, "to")]),
    mail(3, on("2026-03-01 08:00"), "out", people=[(MARIA, "to")], automatic="newsletter"),
    call(4, on("2026-02-27 10:00"), "out", people=[(TOM, "callee")]),
    call(5, on("2026-02-27 09:00"), "out", "missed", people=[(TOM, "callee")]),
    call(6, on("2026-02-20 16:00"), "in", "missed", people=[(TOM, "caller")], touch_class="support"),
    meeting(7, on("2026-02-10 14:00")),
    ticket(8, on("2026-02-24 09:00"), on("2026-02-24 11:00")),
    ticket(9, on("2026-02-25 09:00"), on("2026-02-25 10:00")),
    ticket(10, on("2026-02-20 09:00"), on("2026-02-28 19:00")),
    ticket(11, on("2026-03-02 08:00"), priority="urgent"),
    mail(12, on("2026-02-25 09:30"), people=[(MARIA, "from")], touch_class="support", ticket_id=uid(9)),
    order(13, on("2026-01-12 12:00"), "1000.00"),
    order(14, on("2026-02-11 12:00"), "400.00"),
    refund(15, on("2026-02-26 12:00"), "150.00", 14),
    order(16, on("2026-02-28 12:00"), "90.00", cancelled=on("2026-03-01 09:00")),
    refund(17, on("2026-03-01 12:00"), "90.00", 16),
)
FOLD = fold_account(EXAMPLE, AS_OF, BERLIN, "EUR")


@pytest.mark.parametrize(
    ("kpi", "window", "value"),
    [
        ("touches_out", 30, 3),
        ("touches_out", 7, 2),
        ("touches_in", 30, 2),
        ("support_requests", 30, 6),
        ("support_requests", 7, 4),
        ("tickets_opened", 30, 4),
        ("tickets_resolved", 30, 3),
        ("resolution_hours_mean", 30, Decimal("68.3333")),
        ("resolution_hours_median", 30, Decimal("2.0000")),
        ("resolution_hours_p90", 30, Decimal("162.0000")),
        ("orders", 30, 1),
        ("orders", 90, 2),
        ("net_revenue", 30, Decimal("250.00")),
        ("net_revenue", 90, Decimal("1250.00")),
        ("repeat_purchase_rate", 30, Decimal("100.0000")),
        ("repeat_purchase_rate", 7, None),
    ],
)
def test_the_documented_value_is_the_computed_one(kpi: str, window: int, value: object) -> None:
    currency = "EUR" if kpi == "net_revenue" else None
    assert FOLD.values[kpi, window, currency][0] == value
    section = PAGE.read_text(encoding="utf-8").split(f"{kpi}", 1)[1].split("\n### ", 1)[0]
    assert "not defined" in section if value is None else f"**{value}" in section


def test_the_documented_previous_window() -> None:
    assert FOLD.values["support_requests", 7, None] == (4, 2)


def test_what_is_documented_beside_the_kpis() -> None:
    assert FOLD.last_touches["two_way", "support", None] == (on("2026-03-02 11:00"), uid(2))
    assert [(item[1], item[2], item[3]) for item in FOLD.open_items] == [(uid(11), "open_ticket", "urgent")]
    assert (FOLD.orders, FOLD.gaps, FOLD.p90_gap_days) == (2, 1, Decimal("30.0000"))
    assert (FOLD.tickets_norm, FOLD.history_since) == (None, date(2026, 1, 12))


def test_every_kpi_is_documented() -> None:
    headings = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("### ")]
    assert [kpi for kpi in get_args(Kpi) if not any(kpi in heading for heading in headings)] == []
