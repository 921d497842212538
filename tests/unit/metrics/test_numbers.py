"""Rounding is defined once: four decimals, half to even, from the exact ratio; money is exact."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.numbers import add, hours, money, percentile, ratio


@given(st.integers(-(10**18), 10**18), st.integers(1, 10**12))
def test_a_ratio_is_rounded_half_to_even(numerator: int, denominator: int) -> None:
    assert ratio(numerator, denominator) == Decimal(round(Fraction(numerator, denominator) * 10_000)).scaleb(-4)


def test_ties_go_to_the_even_neighbour() -> None:
    assert [str(ratio(each, 20_000)) for each in (1, 3, 5, -1, -3)] == [
        "0.0000",
        "0.0002",
        "0.0002",
        "0.0000",
        "-0.0002",
    ]


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=50), st.sampled_from([5, 9]))
def test_percentiles_interpolate_as_percentile_cont_does(values: list[int], tenths: int) -> None:
    ordered = sorted(values)
    place = Fraction(tenths * (len(ordered) - 1), 10)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    exact = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    assert percentile(ordered, tenths) == Decimal(round(exact * 10_000)).scaleb(-4)


def test_hours_of_three_resolutions() -> None:
    assert [str(figure) for figure in hours([7_200_000_000, 3_600_000_000, 36_000_000_000])] == [
        "4.3333",
        "2.0000",
        "8.4000",
    ]


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        ("12.5", "12.50"),
        ("12.500", "12.50"),
        ("0.0010", "0.001"),
        ("0E+3", "0.00"),
        ("-0.00", "0.00"),
        ("1E+3", "1000.00"),
    ],
)
def test_money_has_one_way_to_be_written(amount: str, written: str) -> None:
    assert str(money(Decimal(amount))) == written


def test_sums_of_money_are_exact_beyond_the_default_precision() -> None:
    assert (
        str(add(Decimal("123456789012345678901234567890.01"), Decimal("0.000001")))
        == "123456789012345678901234567890.010001"
    )
