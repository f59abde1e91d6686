"""docs/regressions.md: every trap has a test, and what the table names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "regressions.md"
TRAPS = (
    "malachite#956", "quorum#305", "tendermint#3003", "tendermint#3199", "tendermint#1575", "tendermint#247", "#3089",
    "cometbft#6031", "tendermint#3295", "malachite#850", "0.33.6", "0.28.1", "cometbft#5801", "tendermint#5833",
    "malachite#235", "hyperdrive#39",
)  # fmt: skip


def read_rows() -> list[list[str]]:
    lines = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def find_missing(reference: str) -> str:
    """Why a reference leads nowhere, empty where it leads to something."""
    name, _, test = reference.partition("::")
    path = ROOT / name
    if not path.exists():
        return f"{name} is not there"
    if test and not re.search(rf"^ *def {test}\b", path.read_text("utf-8"), re.MULTILINE):
        return f"{name} has no {test}"
    return ""


@pytest.mark.parametrize("row", read_rows(), ids=lambda row: str(row[0]))
def test_what_the_table_names_is_there(row: list[str]) -> None:
    _, _, tests, planted = row
    references = re.findall(r"`([^`]+)`", tests)
    assert references, "a trap without a test"
    assert not [missing for reference in references if (missing := find_missing(reference))]
    for mutant in re.findall(r"`([^`]+)`", planted):
        assert (ROOT / "tests" / "mutants" / f"{mutant}.py").exists(), mutant


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_is_in_the_table(trap: str) -> None:
    assert any(trap in row[1] for row in read_rows())


def test_a_reference_that_leads_nowhere_is_noticed() -> None:
    assert find_missing("tests/nowhere.py") == "tests/nowhere.py is not there"
    assert (
        find_missing("tests/test_regressions.py::test_unwritten") == "tests/test_regressions.py has no test_unwritten"
    )
    assert find_missing("tests/test_regressions.py::find_missing") == ""
