"""Transfers while a validator lies about transactions: sent until it has had its turn to."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.runner.run import Options, run
from tests.testbed.forging import ROOT

FOUR = ROOT / "scenarios" / "byzantine-four.toml"


def write_censorship(folder: Path) -> Path:
    """A scenario in which one transfer is all that the first proposer's block has."""
    steps = FOUR.read_text("utf-8").split("\n\n")
    wanted = [step for step in steps if 'do = "byzantine"' not in step or "censorship" in step]
    path = folder / "scenario.toml"
    path.write_text("\n\n".join(wanted).replace("transfers = 30", "transfers = 1"), "utf-8")
    return path


@pytest.mark.parametrize("seed", range(1, 7))
def test_sent_again_until_the_censor_was_proposer(tmp_path: Path, seed: int) -> None:
    result = run(Options(write_censorship(tmp_path), "simulation", seed, tmp_path / "runs", is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]


def test_found_where_nobody_censors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("testbed.byzantine.proposals.Censorship.forge", lambda self, block: block)
    path = write_censorship(tmp_path)
    path.write_text(path.read_text("utf-8").replace("transfers = 1", "transfers = 1\ntimeout_ms = 4000"), "utf-8")
    result = run(Options(path, "simulation", 1, tmp_path / "runs", is_silent=True))
    assert result.exit_code == 1
    assert "validator-4 told no lie" in result.summary["first_line"]
