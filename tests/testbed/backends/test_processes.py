"""The processes backend: the default scenario for real, and nothing left behind however a run ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.testbed.forging import CONVERGE
from tests.testbed.watching import open_children, read_until, start_testbed, wait_all_gone

SMALL = """
name = "small"
description = "Two validators come to agree."
validators = 2

[[steps]]
do = "start"
timeout_ms = 60000

[[steps]]
do = "register"

[[steps]]
do = "approve"

[[steps]]
do = "genesis"

[[steps]]
do = "progress"
heights = {heights}
timeout_ms = 600000

[[steps]]
do = "converge"
"""


def write_small(folder: Path, heights: int = 2) -> Path:
    path = folder / "small.toml"
    path.write_text(SMALL.format(heights=heights), "utf-8")
    return path


def test_default_scenario_is_proven(tmp_path: Path) -> None:
    process = start_testbed(CONVERGE, tmp_path, "--json")
    output, _ = process.communicate()
    summary = json.loads(output)
    assert process.returncode == 0, summary["first_line"]
    assert summary["verdict"] == "proven"
    folder = tmp_path / "latest"
    logs = sorted(path.name for path in (folder / "logs").iterdir())
    assert logs == ["interleaved.log", "mesh.log", "validator-1.log", "validator-2.log", "validator-3.log"]
    assert not (folder / "nodes").exists(), "the data of a proven run is not kept"


def test_two_runs_at_once_do_not_collide(tmp_path: Path) -> None:
    scenario = write_small(tmp_path)
    processes = [start_testbed(scenario, tmp_path / "runs", "--json") for _ in range(2)]
    summaries = [json.loads(process.communicate()[0]) for process in processes]
    assert [summary["first_line"] for summary in summaries] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    folders = [path for path in (tmp_path / "runs").iterdir() if not path.is_symlink()]
    assert len(folders) == 2
    assert (tmp_path / "runs" / "latest").resolve() in [folder.resolve() for folder in folders]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_cleans_up_and_exits_130(tmp_path: Path, number: signal.Signals) -> None:
    process = start_testbed(write_small(tmp_path, heights=10_000), tmp_path / "runs")
    read_until(process, "genesis")
    children = open_children(process.pid)
    assert len(children) == 3
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "could not tell run: interrupted" in output
    wait_all_gone(children)
    summary = json.loads((tmp_path / "runs" / "latest" / "summary.json").read_text("utf-8"))
    assert summary["verdict"] == "could_not_tell"


def test_killed_harness_leaves_no_orphan(tmp_path: Path) -> None:
    process = start_testbed(write_small(tmp_path, heights=10_000), tmp_path / "runs")
    read_until(process, "genesis")
    children = open_children(process.pid)
    assert len(children) == 3
    process.kill()
    process.communicate()
    wait_all_gone(children)


def test_keep_leaves_the_data(tmp_path: Path) -> None:
    process = start_testbed(write_small(tmp_path), tmp_path / "runs", "--keep", "--json")
    process.communicate()
    assert process.returncode == 0
    nodes = tmp_path / "runs" / "latest" / "nodes"
    assert sorted(path.name for path in nodes.iterdir()) == ["mesh", "validator-1", "validator-2"]
    assert (nodes / "validator-1" / "data" / "chain.db").exists()
