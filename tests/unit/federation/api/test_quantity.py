"""Quantities as the API server writes them, to the last digit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.api.kubernetes.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("1", "1"),
        ("+1.5", "1.5"),
        ("-2", "-2"),
        (".5", "0.5"),
        ("5.", "5"),
        ("100m", "0.1"),
        ("3920m", "3.92"),
        ("12u", "0.000012"),
        ("7n", "0.000000007"),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("16326504Ki", "16718340096"),
        ("1M", "1000000"),
        ("1Mi", "1048576"),
        ("1.5Gi", "1610612736"),
        ("2T", "2000000000000"),
        ("1Ti", "1099511627776"),
        ("1P", "1000000000000000"),
        ("1Pi", "1125899906842624"),
        ("8E", "8000000000000000000"),
        ("7Ei", "8070450532247928832"),
        ("12e6", "12000000"),
        ("12E6", "12000000"),
        ("5e-1", "0.5"),
        ("1e99", "9223372036854775807"),
        ("-64Ei", "-9223372036854775807"),
    ],
)
def test_reads_every_form_exactly(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1ki", "1mi", "m", "1.2.3", "0x10", "1e", "NaN", "Infinity", "1_0", "٣", "1\n", "1" * 65]
)
def test_refuses_an_invalid_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        parse_quantity(text)


@given(st.integers(0, 2**63 - 1))
def test_a_number_of_bytes_survives_whatever_its_size(count: int) -> None:
    assert parse_quantity(str(count)) == count
    assert parse_quantity(f"{count}m") * 1000 == count
