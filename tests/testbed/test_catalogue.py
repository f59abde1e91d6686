"""docs/scenarios.md: its lists are what the code says (`--rewrite` writes them), its example is a scenario."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.byzantine import BEHAVIOURS, Behaviour
from testbed.catalogue import describe_outcome, render_behaviours, render_catalogue, replace_catalogue
from testbed.checkers import CHECKERS, Checker
from testbed.faults import FAULTS
from testbed.invariants import INVARIANTS, Invariant
from testbed.needs import FEEDS
from testbed.scenario import load_scenario

DOCUMENT = Path(__file__).parents[2] / "docs" / "scenarios.md"
BYZANTINE = DOCUMENT.with_name("byzantine.md")


@pytest.mark.parametrize(("document", "render"), [(DOCUMENT, render_catalogue), (BYZANTINE, render_behaviours)])
def test_lists_in_the_docs_are_those_of_the_code(
    document: Path, render: Callable[[], str], pytestconfig: pytest.Config
) -> None:
    if pytestconfig.getoption("rewrite"):
        document.write_text(replace_catalogue(document.read_text("utf-8"), render), "utf-8")
    text = document.read_text("utf-8")
    assert replace_catalogue(text, render) == text


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_a_behaviour_says_what_must_happen(behaviour: type[Behaviour]) -> None:
    said = (behaviour.__doc__ or "").splitlines()[0].rpartition(". ")[2]
    of_three = " (n=3: H)" if describe_outcome(behaviour, 3, 1) == "H" else ""
    assert said == describe_outcome(behaviour, 4, 1) + of_three
    assert describe_outcome(behaviour, 4, 1) == describe_outcome(behaviour, 7, 2)


def test_catalogue_has_every_part() -> None:
    catalogue = render_catalogue()
    names = [*FAULTS, *(checker.name for checker in CHECKERS), *(invariant.name for invariant in INVARIANTS)]
    for name in names:
        assert f"`{name}`" in catalogue


@pytest.mark.parametrize("part", [*CHECKERS, *INVARIANTS], ids=lambda part: part.name)
def test_every_check_says_who_can_feed_it(part: type[Checker] | type[Invariant]) -> None:
    assert part.needs <= set(FEEDS)
    assert part.get_backends(), "a check that nobody can feed judges nothing"


def test_the_example_in_the_docs_is_a_scenario(tmp_path: Path) -> None:
    example = DOCUMENT.read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
    path = tmp_path / "example.toml"
    path.write_text(example, "utf-8")
    assert load_scenario(path).validators == 4


def test_a_stale_document_is_noticed() -> None:
    stale = DOCUMENT.read_text("utf-8").replace("`kill`", "`hug`")
    assert replace_catalogue(stale) != stale
