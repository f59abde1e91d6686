"""Money: integers of a currency's smallest unit inside, decimal strings at the edges."""

from __future__ import annotations

import re

from tana.types.errors import InvalidInput

MAX_UNITS = 2**63 - 1
"""The largest amount or balance, in smallest units: what SQLite and every client's 64-bit integer can hold."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,18}))?\Z", re.ASCII)


def parse_amount(text: str, decimals: int, field: str = "amount") -> int:
    """The smallest units of a decimal string, for a currency with `decimals` places.

    Raises `InvalidInput` for signs, exponents, blanks, more places than the currency has, or over `MAX_UNITS`.
    """
    match = _DECIMAL.match(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidInput(f'{field} must be a decimal string such as "12.50"', code="malformed_amount", field=field)
    integer, fraction = match.groups("")
    if len(fraction) > decimals:
        raise InvalidInput(
            f"{field} has {len(fraction)} decimal places and the currency has {decimals}",
            code="malformed_amount",
            field=field,
        )
    units = int(integer + fraction.ljust(decimals, "0"))
    if units > MAX_UNITS:
        raise InvalidInput(f"{field} is larger than {MAX_UNITS} smallest units", code="malformed_amount", field=field)
    return units


def format_amount(units: int, decimals: int) -> str:
    """The decimal string of smallest units, with all the currency's places: `format_amount(1050, 2) == "10.50"`."""
    sign = "-" if units < 0 else ""
    if decimals == 0:
        return f"{sign}{abs(units)}"
    integer, fraction = divmod(abs(units), 10**decimals)
    return f"{sign}{integer}.{fraction:0{decimals}d}"
