"""Canonical JSON: the text that existing Tana clients sign, exactly as JavaScript's `JSON.stringify` prints it.

Rules (ECMA-262, `SerializeJSONProperty`, `Number::toString`, `OrdinaryOwnPropertyKeys`):
no spaces; object keys that are array indices first and ascending, then the rest in insertion order;
non-ASCII is not escaped; lone surrogates are escaped in lower case; a number is an IEEE double in its
shortest form, `1e+21` from 10^21 upwards and `1e-7` from 10^-7 downwards; NaN and infinities print as null.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from json.encoder import encode_basestring
from typing import Any, cast

from tana.types.errors import InvalidInput

MAX_DEPTH = 64
"""Objects and arrays nested deeper than this are refused: no client needs them and recursion must be bounded."""

_MAX_ARRAY_INDEX = 2**32 - 2
_SAFE_INTEGER = 2**53
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ARRAY_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z", re.ASCII)

_encode_basestring = cast("Any", encode_basestring)


def dumps(value: Any) -> str:
    """The text that `JSON.stringify(value)` prints.

    Takes what `loads` returns: dict with str keys, list, str, int, float, bool, None.
    Raises `InvalidInput` for any other type and for nesting deeper than `MAX_DEPTH`.
    """
    return _write(value, 0)


def quote(text: str) -> str:
    """One JSON string literal: quotes and control characters escaped, lone surrogates as \\udxxx."""
    literal: str = _encode_basestring(text)
    if literal.isascii():
        return literal
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", literal)


def loads(text: str | bytes) -> Any:
    """The value of a JSON text, read as `JSON.parse` reads it (the last of two equal keys wins).

    Raises `InvalidInput` for anything that is not JSON, for NaN and Infinity (JSON has neither), for nesting
    deeper than Python reads, and for bytes that are not UTF-8.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return _decoder.decode(text)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the text is not UTF-8 at byte {error.start}", code="malformed_json") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"the text is not JSON: {error.msg} at character {error.pos}", code="malformed_json"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the text is not JSON that can be read: {error}", code="malformed_json") from None


def to_utf8(text: str) -> bytes:
    """The bytes of a text as JavaScript's TextEncoder gives them: a lone surrogate becomes U+FFFD."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\ufffd", text).encode("utf-8")


def format_number(number: float) -> str:
    """A double as ECMAScript prints it (ECMA-262, Number::toString, radix 10)."""
    if math.isnan(number) or math.isinf(number):
        return "null"
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent_text = repr(abs(number)).partition("e")
    integer, _, fraction = mantissa.partition(".")
    digits = (integer + fraction).lstrip("0")
    # The point stands `point` digits behind the first significant digit's left edge.
    point = len(integer) + int(exponent_text or 0) - (len(integer + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    exponent = point - 1
    tail = "." + digits[1:] if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if exponent > 0 else '-'}{abs(exponent)}"


def _write(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _write_integer(value)
    if isinstance(value, float):
        return format_number(value)
    if depth >= MAX_DEPTH:
        raise InvalidInput(f"the value is nested deeper than {MAX_DEPTH} levels", code="malformed_json")
    if isinstance(value, dict):
        members = [f"{quote(key)}:{_write(value[key], depth + 1)}" for key in _ordered_keys(value)]
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_write(item, depth + 1) for item in value) + "]"
    raise InvalidInput(f"{type(value).__name__} has no JSON form", code="malformed_json")


def _write_integer(value: int) -> str:
    if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return str(value)
    try:
        return format_number(float(value))
    except OverflowError:
        return "null"


def _ordered_keys(value: dict[str, Any]) -> Iterable[str]:
    has_indices = False
    for key in value:
        if not isinstance(key, str):
            raise InvalidInput("an object's keys must be strings", code="malformed_json")
        has_indices = has_indices or "0" <= key[:1] <= "9"
    if not has_indices:
        return value
    indices = [key for key in value if _is_array_index(key)]
    return sorted(indices, key=int) + [key for key in value if not _is_array_index(key)]


def _is_array_index(key: str) -> bool:
    return _ARRAY_INDEX.match(key) is not None and int(key) <= _MAX_ARRAY_INDEX


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
