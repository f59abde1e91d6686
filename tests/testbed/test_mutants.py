"""Planted bugs: every one can be planted and taken out; a few are caught here, all of them by `make mutants`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tana.consensus.tendermint import Tendermint
from tana.types.errors import SettingsError
from tana.types.validator_set import ValidatorSet
from testbed.cli import app
from testbed.cli_mutants import DOCUMENT, describe_hunt
from testbed.invariants import INVARIANTS
from testbed.mutants import BEGIN, END, FOLDER, HEIGHTS, Hunt, Mutant, hunt, list_mutants, plant
from testbed.planting import Patch
from testbed.simulation.drawing import make_schedule
from testbed.simulation.world import World
from tests.testbed.forging import ROOT

MUTANTS = {mutant.name: mutant for mutant in list_mutants(ROOT / FOLDER)}
QUICK = (
    "quorum_too_low",
    "wrong_proposer",
    "root_of_parent",
    "block_not_durable",
    "overdraft",
    "duplicate_transaction",
)
"""Caught by the first seeds."""
BESIDES = ("alive", "halted")
"""What the simulated world itself objects to."""


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_it_can_be_planted_and_taken_out(mutant: Mutant) -> None:
    before = dict(vars(Tendermint))
    quorum = ValidatorSet.is_quorum
    patch = Patch()
    plant(mutant, patch)
    patch.undo()
    assert dict(vars(Tendermint)) == before
    assert ValidatorSet.is_quorum is quorum


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_it_says_what_is_wrong_and_who_must_catch_it(mutant: Mutant) -> None:
    assert ": " in mutant.bug
    assert mutant.caught_by
    assert set(mutant.caught_by) <= {*(invariant.name for invariant in INVARIANTS), *BESIDES}


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 20


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_one_is_caught(name: str) -> None:
    found = hunt(MUTANTS[name], limit_s=60)
    assert found.is_caught, describe_hunt(found)


def test_one_that_is_not_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = Mutant("harmless", "Harmless: nothing is wrong.", ("agreement",), ROOT / FOLDER / "quorum_too_low.py")
    monkeypatch.setattr("testbed.mutants.plant", lambda mutant, patch: None)
    found = hunt(harmless, limit_s=0.5)
    assert not found.is_caught
    assert "not caught: " in describe_hunt(found)


def test_one_that_another_invariant_catches() -> None:
    unexpected = Hunt("x", "money", "too much", 3, 4, 3, 0.5, is_expected=False)
    assert not unexpected.is_caught
    assert "which it was not expected to violate" in describe_hunt(unexpected)


def test_one_that_is_caught_too_late() -> None:
    found = hunt(MUTANTS[QUICK[0]], limit_s=0.001)
    assert found.invariant
    assert not found.is_caught
    assert "too late" in describe_hunt(found)


def test_who_lags_behind_is_not_waited_for_while_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.simulation.world.HEIGHTS_AHEAD_MAX", 20)
    patch = Patch()
    plant(MUTANTS["sync_with_the_next_set"], patch)
    try:
        outcome = World(make_schedule(12, 7, HEIGHTS)).run()
    finally:
        patch.undo()
    assert outcome.violation is not None
    assert outcome.violation.name == "two_phase"
    assert "not everybody came to height 16: validator-7 is validating at height 13" in outcome.violation.line
    assert outcome.virtual_ms < 10_000, "of the 144,400 ms that the timeouts allow"


def test_invalid_source_has_moved() -> None:
    with pytest.raises(AssertionError, match=r"Tendermint\.on_timeout has 0 times: no such line"):
        Patch().edit(Tendermint, "on_timeout", "no such line", "")
    with pytest.raises(AssertionError, match="Tendermint has no on_teatime"):
        Patch().set(Tendermint, "on_teatime", None)


def test_invalid_folder_without_mutants() -> None:
    with pytest.raises(SettingsError, match="there are no mutants"):
        list_mutants(ROOT / "docs")


def test_invalid_name() -> None:
    result = CliRunner().invoke(app, ["mutants", "--only", "unicorn"])
    assert result.exit_code == 2
    assert "there is no such mutant" in result.stderr


def test_the_table_in_the_docs_has_every_mutant_caught() -> None:
    table = (ROOT / DOCUMENT).read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [line.split(" | ") for line in table.strip().splitlines()[2:]]
    assert {row[0].strip("|` ") for row in rows} == set(MUTANTS)
    for row in rows:
        mutant = MUTANTS[row[0].strip("|` ")]
        assert row[1] == mutant.bug
        assert row[2].strip("`") in mutant.caught_by
