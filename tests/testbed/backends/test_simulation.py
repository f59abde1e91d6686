"""The simulation: the default scenario in virtual time, the same history for the same seed, honest disks and links."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.backends.base import MESH, Request
from testbed.backends.simulation import SimulationBackend
from testbed.checkers import make_checkers
from testbed.cluster import Cluster
from testbed.history import History
from testbed.plan import make_plan
from testbed.ports import Ports
from testbed.runner.run import Options, Result, record_run, run, run_steps
from testbed.scenario import Scenario, parse_scenario
from testbed.screen import SilentScreen
from tests.testbed.forging import CONVERGE, ROOT

JOIN = "\n".join(f'[[steps]]\ndo = "{step}"' for step in ("start", "register", "approve", "genesis", "progress"))


def make_scenario(validators: int, tail: str = "", powers: str = "") -> Scenario:
    head = f'name = "test"\ndescription = "A test."\nvalidators = {validators}\n{powers}\n'
    return parse_scenario(f"{head}{JOIN}\n{tail}", "test.toml")


def make_cluster(scenario: Scenario, seed: int = 1) -> tuple[Cluster, SimulationBackend]:
    plan = make_plan(scenario, seed, 8190, [Ports(1, 2, 3, 4)] * scenario.validators)
    backend = SimulationBackend(plan)
    cluster = Cluster(plan, backend, make_checkers(), History(), SilentScreen())
    record_run(cluster, plan)
    return cluster, backend


def bring_up(validators: int) -> tuple[Cluster, SimulationBackend]:
    """A cluster that has made its first block."""
    cluster, backend = make_cluster(make_scenario(validators))
    run_steps(cluster, SilentScreen(), [])
    return cluster, backend


def run_file(folder: Path, text: str, seed: int = 1) -> Result:
    path = folder / "scenario.toml"
    path.write_text(text, "utf-8")
    return run(Options(path, "simulation", seed, folder / "runs", is_silent=True))


def test_same_seed_same_history_in_two_interpreters(tmp_path: Path) -> None:
    hashes = []
    for hash_seed in ("1", "77"):
        folder = tmp_path / hash_seed
        command = [sys.executable, "-m", "testbed", "run", str(CONVERGE), "--backend", "simulation"]
        command += ["--runs-dir", str(folder), "--seed", "5", "--json"]
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True, stdout=subprocess.DEVNULL
        )
        hashes.append((folder / "latest" / "history.jsonl").read_bytes())
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("seed", range(20, 26))
def test_default_scenario_is_proven_for_other_seeds(tmp_path: Path, seed: int) -> None:
    result = run(Options(CONVERGE, "simulation", seed, tmp_path, is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]


def test_links_and_clocks_may_go_wrong(tmp_path: Path) -> None:
    result = run(Options(ROOT / "scenarios" / "link-faults.toml", "simulation", 3, tmp_path, is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]
    assert [window["progress"] for window in result.summary["timeline"]][:3] == ["must_not", "must", "must"]


def test_links_are_cut_in_every_shape(tmp_path: Path) -> None:
    result = run(Options(ROOT / "scenarios" / "cut-links.toml", "simulation", 2, tmp_path, is_silent=True))
    assert result.exit_code == 0, result.summary["first_line"]
    assert [window["progress"] for window in result.summary["timeline"]] == ["must", "must_not", *4 * ["must"]]


def test_four_validators_go_on_without_one(tmp_path: Path) -> None:
    text = CONVERGE.read_text("utf-8").replace("validators = 3", "validators = 4")
    result = run_file(tmp_path, text)
    assert result.exit_code == 0, result.summary["first_line"]
    assert [window["progress"] for window in result.summary["timeline"]] == ["must", "must"]
    checks = {check["check"]: check["outcome"] for check in result.summary["checks"]}
    assert checks["no_progress_without_quorum"] == "not_asked"


def test_weights_decide_who_is_spare(tmp_path: Path) -> None:
    text = CONVERGE.read_text("utf-8").replace("validators = 3", "validators = 3\npowers = [3, 3, 1]")
    result = run_file(tmp_path, text)
    assert result.exit_code == 0, result.summary["first_line"]
    assert result.summary["timeline"][1]["progress"] == "must", "6 of 7 are left"


def test_a_killed_validator_answers_nothing_and_comes_back_with_its_chain() -> None:
    cluster, backend = bring_up(4)
    height = cluster.view.read_height["validator-2"]
    cluster.kill("validator-2")
    assert not backend.is_running("validator-2")
    assert cluster.ask("validator-2", "status", "GET", "/health").status == 0
    cluster.restart("validator-2")
    assert cluster.ask("validator-2", "status", "GET", "/health").body["currentHeight"] >= height


def test_a_kill_loses_what_was_not_flushed() -> None:
    _, backend = bring_up(1)
    disk = backend._disks["validator-1"]
    unflushed: Any = object()
    disk.append(unflushed)
    before = list(disk.records)
    backend.kill("validator-1")
    backend.start_validator("validator-1")
    assert disk.records[: len(before)] == before
    assert all(record is not unflushed for record in disk.records)


def test_a_paused_validator_stands_still_and_goes_on() -> None:
    cluster, backend = bring_up(4)
    backend.pause("validator-4")
    assert cluster.ask("validator-4", "status", "GET", "/health").body == "no answer in time"
    others = ("validator-1", "validator-2", "validator-3")
    goal = max(cluster.view.read_height.values()) + 3
    assert cluster.wait_until(
        lambda: all(cluster.view.read_height[node] >= goal for node in others), "three more blocks", 10_000
    )
    assert cluster.view.read_height["validator-4"] < goal
    backend.resume("validator-4")
    assert cluster.wait_until(lambda: cluster.view.read_height["validator-4"] >= goal, "the fourth", 10_000)


def test_the_mesh_may_be_gone_and_remembers() -> None:
    cluster, backend = bring_up(2)
    backend.kill(MESH)
    assert backend.request_all([Request(MESH, MESH, "GET", "/health")])[0].status == 0
    backend.start_mesh()
    listed = cluster.ask_mesh("GET", "/nodes?status=all").body["nodes"]
    assert [row["id"] for row in listed] == ["validator-1", "validator-2"]
