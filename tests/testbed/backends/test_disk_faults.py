"""Disks that go wrong, in whole runs: proven where validators do as they must, found where one does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.backends.simulated_log import SimulatedLog
from testbed.backends.simulation import SimulationBackend
from testbed.runner.run import Options, run
from testbed.simulation.disk import Disk
from testbed.verdict import Outcome
from tests.testbed.forging import ROOT

THREE = ROOT / "scenarios" / "restart-with-sign-state-wiped.toml"
FOUR = ROOT / "scenarios" / "disk-faults.toml"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_three_wait_for_whoever_lost_its_sign_state(tmp_path: Path, seed: int) -> None:
    result = run(Options(THREE, "simulation", seed, tmp_path, is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]
    progress = [window["progress"] for window in result.summary["timeline"]]
    assert progress == ["must_not", "must_not", "must_not", "must", "must"]
    proven = {verdict.check for verdict in result.verdicts if verdict.outcome is Outcome.PROVEN}
    assert {"journals", "invariant 7 double_sign", "invariant 18 no_quorum", "no_progress_without_quorum"} <= proven


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_go_on_without_it(tmp_path: Path, seed: int) -> None:
    result = run(Options(FOUR, "simulation", seed, tmp_path, is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]
    assert {window["progress"] for window in result.summary["timeline"]} == {"must"}


def test_same_seed_same_history(tmp_path: Path) -> None:
    hashes = {
        run(Options(FOUR, "simulation", 5, tmp_path / name, is_silent=True)).summary["history"]["sha256"]
        for name in ("one", "other")
    }
    assert len(hashes) == 1


def test_running_validators_recover_by_the_real_command(tmp_path: Path) -> None:
    text = THREE.read_text("utf-8")
    steps = text.split("\n\n")
    wanted = [
        step for step in steps if 'fault = "' not in step or 'fault = "sign_state_wiped"\nnode = "validator-3"' in step
    ]
    path = tmp_path / "scenario.toml"
    path.write_text("\n\n".join(wanted), "utf-8")
    result = run(Options(path, "processes", 1, tmp_path / "runs", is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]
    assert [window["fault"] for window in result.summary["timeline"]] == ["sign_state_wiped"]


def test_found_where_a_validator_signs_on_without_its_sign_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(disk: Disk, reason: str = "") -> None:
        disk.records, disk.sign_floor, disk.abstain_reason = [], (0, 0, 0), ""

    monkeypatch.setattr(Disk, "wipe_sign_state", forget)
    result = run(Options(FOUR, "simulation", 1, tmp_path, is_silent=True))
    assert result.exit_code == 1
    assert "validator-3 does not abstain" in result.summary["first_line"]


def test_found_where_a_recovery_goes_back_below_what_was_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's slot is taken as it is, here one height after the genesis."""
    recover = SimulationBackend.recover

    def recover_low(self: SimulationBackend, node: str, height: int, round: int) -> str:
        said = recover(self, node, height, round)
        self._disks[node].sign_floor = (1, 0, 2)
        return said

    monkeypatch.setattr(SimulationBackend, "recover", recover_low)
    result = run(Options(FOUR, "simulation", 1, tmp_path, is_silent=True))
    assert result.exit_code == 1
    assert result.summary["first_line"].startswith(
        "VIOLATED invariant 7 double_sign: validator-3 begins with sign-state up"
    )


def test_found_where_a_torn_write_is_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedLog, "_read", lambda self: 0)
    result = run(Options(FOUR, "simulation", 1, tmp_path, is_silent=True))
    assert result.exit_code == 1
    assert "says nothing of the torn write" in result.summary["first_line"]
