"""A run whose cluster cannot be ended: what it found stands, and what is left is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tana.types.errors import Unavailable
from testbed.backends.simulation import SimulationBackend
from testbed.runner.run import Options, Result, run
from tests.testbed.forging import CONVERGE


def run_without_cleanup(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    def fail(backend: SimulationBackend) -> None:
        raise Unavailable("the engine stopped answering", remedy="start it again")

    monkeypatch.setattr(SimulationBackend, "cleanup", fail)
    return run(Options(CONVERGE, "simulation", runs_dir=folder, is_silent=True))


def test_proven_run_that_cannot_be_ended_could_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_without_cleanup(tmp_path, monkeypatch)
    assert result.exit_code == 2
    line = "could not tell cleanup: the engine stopped answering (start it again)"
    assert result.summary["first_line"] == line
    assert (result.folder / "summary.json").exists()


def test_violation_is_not_hidden_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tana.types.validator_set.ValidatorSet.quorum_power", 2)
    monkeypatch.setattr("tana.types.validator_set.ValidatorSet.is_quorum", lambda self, power: power >= 2)
    result = run_without_cleanup(tmp_path, monkeypatch)
    assert result.exit_code == 1
    assert result.summary["first_line"].startswith("VIOLATED certificates: ")
    assert [verdict.check for verdict in result.verdicts].count("cleanup") == 1
