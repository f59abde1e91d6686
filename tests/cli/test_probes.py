"""How a node's health is said in a few words."""

from __future__ import annotations

from typing import Any

import pytest

from tana.cli.probes import describe_progress


@pytest.mark.parametrize(
    ("health", "words"),
    [
        ({"state": "syncing", "syncing": {"height": 1200, "target": 10_000}}, "syncing 1200/10000"),
        ({"state": "validating"}, "validating"),
        ({}, "running"),
        ({"state": "syncing", "syncing": "of an older version"}, "syncing"),
    ],
)
def test_progress_in_words(health: dict[str, Any], words: str) -> None:
    assert describe_progress(health) == words
