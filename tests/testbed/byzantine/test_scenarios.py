"""Every scenario about traitors, in simulation: proven, but for the negative control, which must be detected."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.runner.run import Options, Result, run
from testbed.scenario import load_scenario
from testbed.steps import Byzantine
from tests.testbed.forging import ROOT

BETRAYED = sorted(
    path
    for path in (ROOT / "scenarios").glob("*.toml")
    if any(isinstance(step, Byzantine) for step in load_scenario(path).steps)
)
MUST_FAIL = ("negative-control", "negative-control-seven")


def run_scenario(path: Path, folder: Path) -> Result:
    return run(Options(path, "simulation", runs_dir=folder, is_silent=True))


@pytest.mark.parametrize("path", [path for path in BETRAYED if path.stem not in MUST_FAIL], ids=lambda path: path.stem)
def test_proven(path: Path, tmp_path: Path) -> None:
    result = run_scenario(path, tmp_path)
    assert result.exit_code == 0, result.verdicts[0]


@pytest.mark.parametrize("name", MUST_FAIL)
def test_the_negative_control_is_detected(name: str, tmp_path: Path) -> None:
    result = run_scenario(ROOT / "scenarios" / f"{name}.toml", tmp_path)
    assert result.exit_code == 1
    assert result.summary["first_line"].startswith("VIOLATED agreement: validator-")
