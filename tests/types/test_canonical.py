"""Canonical JSON, held against what JavaScript prints, and against hostile texts."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tana.types import canonical
from tana.types.errors import InvalidInput
from tests.types.ecmascript import NUMBERS, TEXTS

safe_integers = st.integers(-(2**53), 2**53)
numbers = safe_integers | st.floats(allow_nan=False, allow_infinity=False)
# Python strings may hold surrogates one by one; JSON.parse never leaves a pair of them apart.
words = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words | st.integers(0, 2**33).map(str), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(("text", "printed"), NUMBERS + TEXTS)
def test_prints_what_javascript_prints(text: str, printed: str) -> None:
    assert canonical.dumps(canonical.loads(text)) == printed


@pytest.mark.parametrize(("text", "printed"), NUMBERS + TEXTS)
def test_what_is_printed_prints_the_same(text: str, printed: str) -> None:
    assert canonical.dumps(canonical.loads(printed)) == printed


@given(values)
def test_printed_values_read_back(value: Any) -> None:
    printed = canonical.dumps(value)
    # As doubles: a big one prints as a whole number, and Python reads that as an exact integer.
    assert json.loads(printed, parse_int=float) == value
    assert canonical.dumps(canonical.loads(printed)) == printed
    assert canonical.loads(canonical.to_utf8(printed)) == canonical.loads(printed)


@given(values)
def test_any_json_spelling_has_one_canonical_text(value: Any) -> None:
    spelled = json.dumps(value, indent=1, ensure_ascii=True)
    assert canonical.dumps(canonical.loads(spelled)) == canonical.dumps(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back_as_the_same_double(number: float) -> None:
    assert float(canonical.format_number(number)) == number


@given(st.text())
def test_every_string_has_utf8(text: str) -> None:
    literal = canonical.quote(text)
    assert json.loads(literal.encode("utf-8")) == json.loads(json.dumps(text))
    assert canonical.to_utf8(text).decode("utf-8") is not None


def test_lone_surrogates_become_replacement_characters_in_bytes() -> None:
    assert canonical.to_utf8("a\ud800b") == "a\ufffdb".encode()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10**400])
def test_numbers_that_json_lacks_print_as_null(number: float) -> None:
    assert canonical.dumps(number) == "null"


def test_nesting_up_to_the_bound() -> None:
    text = "[" * canonical.MAX_DEPTH + "]" * canonical.MAX_DEPTH
    assert canonical.dumps(canonical.loads(text)) == text


@pytest.mark.parametrize("character", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [canonical.MAX_DEPTH + 1, 500, 200_000])
def test_invalid_nesting(character: str, depth: int) -> None:
    closing = "]" if character == "[" else "}"
    text = character * depth + "1" + closing * depth
    with pytest.raises(InvalidInput) as caught:
        canonical.dumps(canonical.loads(text))
    assert caught.value.code == "malformed_json"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "[Infinity]",
        '{"a":-Infinity}',
        "{'a':1}",
        '{"a":1,}',
        "[1,]",
        "01",
        "+1",
        ".5",
        "1.",
        "0x10",
        '"\t"',
        '"\\x41"',
        '"\\ud8"',
        '"open',
        "[1] 2",
        "\ufeff1",
        "undefined",
        "True",
        "1" * 5000,
        b"\xff",
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
    ],
)
def test_invalid_text(text: str | bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        canonical.loads(text)
    assert caught.value.code == "malformed_json"


@pytest.mark.parametrize("value", [b"bytes", {1: "a"}, {None: 1}, {1, 2}, object(), {"a": [b"x"]}])
def test_invalid_type(value: Any) -> None:
    with pytest.raises(InvalidInput):
        canonical.dumps(value)
