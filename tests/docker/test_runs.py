"""Whole runs in containers: proven on both networks, side by side, and nothing left however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.backends.docker_image import WORDS
from testbed.backends.docker_model import LABEL, ROOT
from tests.docker.clusters import FOREVER, docker, list_left, read_project, start_testbed
from tests.testbed.forging import CONVERGE
from tests.testbed.small import write_small
from tests.testbed.watching import open_children, read_until, wait_all_gone


@pytest.mark.parametrize("network", ["bridge", "tailnet"])
def test_default_scenario_is_proven(tmp_path: Path, network: str) -> None:
    process = start_testbed(CONVERGE, tmp_path, "--network", network)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    folder = tmp_path / "latest"
    assert json.loads((folder / "summary.json").read_text("utf-8"))["network"] == network
    logs = {path.name for path in (folder / "logs").iterdir()}
    wanted = {"mesh.log", "validator-1.log", "validator-2.log", "validator-3.log", "interleaved.log"}
    if network == "tailnet":
        wanted |= {"headscale.log", "mesh-tailscale.log", "validator-3-tailscale.log"}
    assert wanted <= logs
    assert not (folder / "nodes").exists(), "the data of a proven run is not kept"
    assert list_left(read_project(tmp_path)) == []


def test_two_runs_at_once_do_not_collide(tmp_path: Path) -> None:
    scenario = write_small(tmp_path)
    folders = [tmp_path / "one", tmp_path / "two"]
    processes = [start_testbed(scenario, folder, "--network", "bridge", "--keep") for folder in folders]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    for folder in folders:
        assert list_left(read_project(folder)) == []
        assert (folder / "latest" / "nodes" / "validator-2" / "node" / "chain.db").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    process = start_testbed(write_small(tmp_path, FOREVER), tmp_path / "runs", "--network", "bridge")
    read_until(process, "genesis")
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 130, output
    assert list_left(read_project(tmp_path / "runs")) == []


def test_killed_harness_leaves_nothing(tmp_path: Path) -> None:
    process = start_testbed(write_small(tmp_path, FOREVER), tmp_path / "runs", "--network", "bridge")
    read_until(process, "genesis")
    children = open_children(process.pid)
    assert list_left(read_project(tmp_path / "runs")) != []
    process.kill()
    process.communicate()
    wait_all_gone(children)
    assert list_left(read_project(tmp_path / "runs")) == []


def test_harness_killed_while_it_makes_containers_leaves_nothing(tmp_path: Path) -> None:
    watch = ["docker", "events", "--filter", f"label={LABEL}={ROOT}", "--filter", "event=create"]
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as events:
        process = start_testbed(write_small(tmp_path, FOREVER), tmp_path / "runs", "--network", "bridge")
        assert events.stdout is not None
        assert events.stdout.readline()
        children = open_children(process.pid)
        process.kill()
        process.communicate()
        wait_all_gone(children)
        events.kill()
    assert list_left(read_project(tmp_path / "runs")) == []


def test_down_removes_what_is_ours_only(tmp_path: Path) -> None:
    process = start_testbed(write_small(tmp_path, FOREVER), tmp_path / "runs", "--network", "bridge")
    read_until(process, "genesis")
    image = json.loads((tmp_path / "runs" / "latest" / "compose.json").read_text("utf-8"))["services"]["mesh"]["image"]
    # Not even the watchdog lives: what nobody could prevent.
    children = open_children(process.pid)
    for pid in (process.pid, *children):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    wait_all_gone(children)
    stranger = docker("create", image).strip()
    try:
        assert list_left(read_project(tmp_path / "runs")) != []
        down = [sys.executable, "-m", "testbed", "down"]
        output = subprocess.run(down, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert output.startswith("removed from Docker: ")
        assert list_left(read_project(tmp_path / "runs")) == []
        assert docker("ps", "-aq", "--no-trunc", "--filter", f"id={stranger}").strip() == stranger
    finally:
        docker("rm", stranger)


def test_container_that_ends_is_named(tmp_path: Path) -> None:
    process = start_testbed(write_small(tmp_path, FOREVER), tmp_path / "runs", "--network", "tailnet")
    read_until(process, "genesis")
    docker("kill", f"{read_project(tmp_path / 'runs')}-validator-1-tailscale-1")
    output, _ = process.communicate()
    assert process.returncode == 2, output
    assert "could not tell run: validator-1-tailscale: it ended with exit code 137" in output
    assert list_left(read_project(tmp_path / "runs")) == []


def test_invalid_image_that_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILSCALE_IMAGE", "127.0.0.1:9/none:1")
    process = start_testbed(write_small(tmp_path), tmp_path / "runs", "--network", "tailnet")
    output, _ = process.communicate()
    assert process.returncode == 2, output
    assert "could not tell: 127.0.0.1:9/none:1 cannot be pulled (check the network" in output
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [WORDS]


def test_invalid_base_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_IMAGE", "127.0.0.1:9/none:1")
    process = start_testbed(write_small(tmp_path), tmp_path / "runs", "--network", "bridge")
    output, _ = process.communicate()
    assert process.returncode == 2, output
    assert "could not tell: 127.0.0.1:9/none:1 cannot be pulled (check the network" in output
    assert "failed to" not in output
    assert "failed to" in (tmp_path / "runs" / WORDS).read_text("utf-8")


def test_invalid_engine_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    process = start_testbed(write_small(tmp_path), tmp_path / "runs")
    output, _ = process.communicate()
    assert process.returncode == 2, output
    assert output.startswith("could not tell: no Docker engine answers (start it")
