"""Amounts: decimal strings at the edge, integers inside."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.types.errors import InvalidInput
from tana.types.money import MAX_UNITS, format_amount, parse_amount


@given(st.integers(0, MAX_UNITS), st.integers(0, 18))
def test_round_trip(units: int, decimals: int) -> None:
    assert parse_amount(format_amount(units, decimals), decimals) == units


@given(st.integers(-MAX_UNITS, MAX_UNITS))
def test_sign_is_printed_in_front(units: int) -> None:
    assert format_amount(units, 2).startswith("-") == (units < 0)


@pytest.mark.parametrize(
    ("text", "decimals", "units"),
    [
        ("0", 2, 0),
        ("0.00", 2, 0),
        ("100", 2, 10_000),
        ("12.5", 2, 1250),
        ("12.50", 2, 1250),
        ("0.00000001", 8, 1),
        ("7", 0, 7),
        ("92233720368547758.07", 2, MAX_UNITS),
        ("9.223372036854775807", 18, MAX_UNITS),
    ],
)
def test_parse(text: str, decimals: int, units: int) -> None:
    assert parse_amount(text, decimals) == units


@pytest.mark.parametrize(("units", "decimals", "text"), [(1050, 2, "10.50"), (5, 8, "0.00000005"), (7, 0, "7")])
def test_format(units: int, decimals: int, text: str) -> None:
    assert format_amount(units, decimals) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "-1",
        "+1",
        "01",
        "00",
        "1.",
        ".5",
        "1.234",
        "1,5",
        "1_000",
        "1e2",
        "0x1",
        "NaN",
        "Infinity",
        "١",
        "１",
        "1" * 20,
        "1." + "0" * 19,
        "92233720368547758.08",
        "9223372036854775807",
        1,
        1.5,
        None,
        True,
        ["1"],
    ],
)
def test_invalid_amount(text: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_amount(text, 2, "price")
    assert caught.value.code == "malformed_amount"
    assert caught.value.field == "price"


def test_invalid_places_where_the_currency_has_none() -> None:
    with pytest.raises(InvalidInput):
        parse_amount("1.0", 0)
