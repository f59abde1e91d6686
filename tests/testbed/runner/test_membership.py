"""A key replaced while the chain runs: proven where the new one votes, found where the old one goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.cluster import Cluster
from testbed.runner.run import Options, run
from testbed.verdict import Outcome
from tests.testbed.forging import ROOT

SCENARIO = ROOT / "scenarios" / "key-replacement.toml"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_key_is_replaced_and_put_back(tmp_path: Path, seed: int) -> None:
    result = run(Options(SCENARIO, "simulation", seed, tmp_path, is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]
    proven = {verdict.check for verdict in result.verdicts if verdict.outcome is Outcome.PROVEN}
    assert {"journals", "invariant 14 validator_sets", "certificates", "convergence"} <= proven


def test_found_where_the_old_key_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "get_signed_height", lambda self, node: 1_000)
    result = run(Options(SCENARIO, "simulation", 1, tmp_path, is_silent=True))
    assert result.exit_code == 1
    assert "validator_sets: validator-4 at height 1000: its key signed" in result.summary["first_line"]


def test_found_where_the_new_key_does_not_vote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cluster, "get_signed_height", lambda self, node: 0)
    result = run(Options(SCENARIO, "simulation", 1, tmp_path, is_silent=True))
    assert result.exit_code == 1
    assert "validator-5 to vote in the place of validator-4" in result.summary["first_line"]
