"""docs/scenarios.md: its lists are what the code says (`--rewrite` writes them), its example is a scenario."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.catalogue import render_catalogue, replace_catalogue
from testbed.checkers import CHECKERS
from testbed.faults import FAULTS
from testbed.scenario import load_scenario

DOCUMENT = Path(__file__).parents[2] / "docs" / "scenarios.md"


def test_lists_in_the_docs_are_those_of_the_code(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("rewrite"):
        DOCUMENT.write_text(replace_catalogue(DOCUMENT.read_text("utf-8")), "utf-8")
    text = DOCUMENT.read_text("utf-8")
    assert replace_catalogue(text) == text


def test_catalogue_has_every_part() -> None:
    catalogue = render_catalogue()
    for name in [*FAULTS, *(checker.name for checker in CHECKERS)]:
        assert f"`{name}`" in catalogue


def test_the_example_in_the_docs_is_a_scenario(tmp_path: Path) -> None:
    example = DOCUMENT.read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "example.toml"
    path.write_text(example, "utf-8")
    assert load_scenario(path).validators == 4


def test_a_stale_document_is_noticed() -> None:
    stale = DOCUMENT.read_text("utf-8").replace("`kill`", "`hug`")
    assert replace_catalogue(stale) != stale
