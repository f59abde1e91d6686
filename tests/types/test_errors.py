"""The tree of errors and its words."""

from __future__ import annotations

import pytest

from tana.types import errors
from tana.types.errors import InvalidInput, TanaError


def test_body_has_what_there_is() -> None:
    assert TanaError("broken").to_json() == {"error": "broken", "code": "error"}
    assert InvalidInput("no", field="amount", remedy="yes", code="odd").to_json() == {
        "error": "no",
        "code": "odd",
        "field": "amount",
        "remedy": "yes",
    }


def test_text_ends_with_the_remedy() -> None:
    assert str(TanaError("it broke", remedy="mend it")) == "it broke (mend it)"
    assert str(TanaError("it broke")) == "it broke"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("InvalidInput", 400),
        ("TooLarge", 413),
        ("Unauthorized", 401),
        ("Forbidden", 403),
        ("NotFound", 404),
        ("Conflict", 409),
        ("RateLimited", 429),
        ("Unavailable", 503),
    ],
)
def test_http_statuses(name: str, status: int) -> None:
    assert getattr(errors, name).http_status == status


def test_codes_are_unique_over_the_tree() -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, TanaError)]
    codes = [item.default_code for item in classes]
    assert len(set(codes)) == len(codes)
