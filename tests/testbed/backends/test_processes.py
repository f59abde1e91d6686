"""The processes backend: the default scenario for real, and nothing left behind however a run ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from testbed.backends.processes import has_link_faults
from testbed.scenario import load_scenario, parse_scenario
from tests.testbed.forging import CONVERGE
from tests.testbed.small import OPENING, write_small
from tests.testbed.watching import open_children, read_until, start_testbed, wait_all_gone

LINKS = f"""
name = "links"
description = "Four validators in halves, then over links that lose, double and hold up messages."
validators = 4
{OPENING}
[[steps]]
do = "progress"
timeout_ms = 60000

[[steps]]
do = "perturb"
fault = "halves"
node = "validator-1"
timeout_ms = 60000

[[steps]]
do = "perturb"
fault = "loss"
timeout_ms = 60000

[[steps]]
do = "perturb"
fault = "latency"
timeout_ms = 60000

[[steps]]
do = "converge"
"""


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


def test_faults_of_links_are_proven_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "links.toml"
    path.write_text(LINKS, "utf-8")
    process = start_testbed(path, tmp_path / "runs", "--json")
    summary = json.loads(process.communicate()[0])
    assert process.returncode == 0, summary["first_line"]
    checks = {check["check"]: check for check in summary["checks"]}
    assert checks["no_progress_without_quorum"]["outcome"] == "proven", "two of four are no quorum"
    records = checks["faults"]["facts"]["timeline"]
    assert [(record["fault"], record["phase"]) for record in records] == [
        (fault, phase) for fault in ("halves", "loss", "latency") for phase in ("asked", "applied", "undone")
    ]
    for record in records:
        assert set(record["heights"]) == {f"validator-{number}" for number in range(1, 5)}
        assert record["at_ms"] > 0
    evidence = [record["evidence"] for record in records if record["phase"] == "undone"]
    for words, line in zip(("messages were cut off", "loss met", "latency met"), evidence, strict=True):
        assert words in line


def test_no_proxy_where_no_link_goes_wrong() -> None:
    assert has_link_faults(parse_scenario(LINKS, "links.toml"))
    assert not has_link_faults(load_scenario(CONVERGE))


def test_keep_leaves_the_data(tmp_path: Path) -> None:
    process = start_testbed(write_small(tmp_path), tmp_path / "runs", "--keep", "--json")
    process.communicate()
    assert process.returncode == 0
    nodes = tmp_path / "runs" / "latest" / "nodes"
    assert sorted(path.name for path in nodes.iterdir()) == ["mesh", "validator-1", "validator-2"]
    assert (nodes / "validator-1" / "data" / "chain.db").exists()
