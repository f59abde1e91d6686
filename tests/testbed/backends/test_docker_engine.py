"""Finding an engine and a Compose that are new enough, and what the complaints of Docker mean to people."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tana.types.errors import SettingsError, Unavailable
from testbed.backends.choice import choose_backend
from testbed.backends.docker_engine import Compose, explain, find_engine, is_out_of_reach

GOOD = {
    "version": "echo 20.10.24 1.41",
    "compose": "echo 2.26.1-4",
    "context": "echo unix:///var/run/docker.sock",
}


def put_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    """A `docker` that answers its first word as given, in the PATH."""
    cases = "".join(f"{word}) {script};;\n" for word, script in (GOOD | answers).items())
    program = folder / "docker"
    program.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}esac\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_engine_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path, monkeypatch)
    engine = find_engine()
    assert (engine.version, engine.compose, engine.host) == ("20.10.24", "2.26.1-4", "unix:///var/run/docker.sock")
    assert str(engine) == "Docker 20.10.24, Compose 2.26.1-4"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"version": "exit 1"}, "no Docker engine answers (start it"),
        ({"version": "echo 'permission denied while trying' >&2; exit 1"}, "refuses this user (join the group docker"),
        ({"version": "echo 19.03.15 1.40"}, "the Docker engine 19.03.15 is too old (API 1.40) (install Docker 20.10"),
        ({"compose": "echo \"'compose' is not a docker command\" >&2; exit 1"}, "Compose v2 is missing (install"),
        ({"compose": "echo v2.17.3"}, "Docker Compose 2.17.3 is too old (install 2.24.4 or later"),
    ],
)
def test_invalid_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], words: str) -> None:
    put_docker(tmp_path, monkeypatch, **answers)
    with pytest.raises(Unavailable) as caught:
        find_engine()
    assert words in str(caught.value)
    assert "or run plain processes with BACKEND=processes" in str(caught.value)


def test_invalid_no_docker_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="Docker is not installed"):
        find_engine()


def test_auto_is_docker_where_an_engine_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path, monkeypatch)
    backend, network, words = choose_backend("auto", None)
    assert (backend, network) == ("docker", "tailnet")
    assert words == (
        "backend: docker, network tailnet (Docker 20.10.24, Compose 2.26.1-4);"
        " choose with BACKEND=docker|processes|simulation and NETWORK=tailnet|bridge"
    )
    assert choose_backend("auto", "bridge")[:2] == ("docker", "bridge")


def test_auto_is_processes_otherwise_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path, monkeypatch, version="exit 1")
    backend, network, words = choose_backend("auto", "tailnet")
    assert (backend, network) == ("processes", "")
    assert words.startswith("backend: plain processes, as no Docker engine answers; choose with BACKEND=")


def test_what_is_asked_for_by_name_is_taken() -> None:
    assert choose_backend("docker", None) == ("docker", "tailnet", "")
    assert choose_backend("simulation", None) == ("simulation", "", "")


def test_invalid_network_of_a_backend_without() -> None:
    with pytest.raises(SettingsError, match="the backend simulation has no network to choose"):
        choose_backend("simulation", "bridge")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("one\nError: write /x: no space left on device", "the engine's disk is full (free some: docker system df"),
        (
            'Error response from daemon: error gathering device information: "/dev/net/tun": no such file or directory',
            "the engine's machine has no /dev/net/tun (load it with `sudo modprobe tun`, or use NETWORK=bridge)",
        ),
        (
            "driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: port is already allocated",
            "Bind for 127.0.0.1:80 failed: port is already allocated (stop what listens on that port)",
        ),
        ("could not find an available, non-overlapping IPv4 address pool", "no subnet left for another network"),
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "stopped answering"),
        ("('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))", "stopped answering (start it"),
        ("failed to resolve reference docker.io/a/b: dial tcp: i/o timeout", "TAILSCALE_IMAGE, HEADSCALE_IMAGE"),
        ("step 1\nfailed: exit 3\n\n", "it failed: failed: exit 3 (see"),
        ("", "it failed: it said nothing"),
    ],
)
def test_complaints_are_one_line_with_a_remedy(output: str, words: str) -> None:
    error = explain("it failed", output)
    assert words in str(error)
    assert "\n" not in str(error)
    assert error.remedy


@pytest.mark.parametrize(
    ("output", "is_image"),
    [
        ("failed to solve: python:3.11-slim: failed to do request: dial tcp: lookup registry: no such host", True),
        ('Error response from daemon: Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connection refused', True),
        ('pypi.org: no such host\nfailed to solve: process "pip install" did not complete successfully: exit 1', False),
        ("failed to solve: no space left on device", False),
    ],
    ids=["base", "pull", "step", "disk"],
)
def test_an_image_is_out_of_reach_or_a_step_of_its_recipe_failed(output: str, is_image: bool) -> None:
    assert is_out_of_reach(output) == is_image


def test_compose_that_fails_or_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_docker(tmp_path, monkeypatch, compose='case "$*" in *create) exec sleep 600;; *) echo no >&2; exit 1;; esac')
    compose = Compose("p", [tmp_path / "f.yml"], os.environ, tmp_path)
    with pytest.raises(Unavailable, match="docker compose start failed: no"):
        compose.run("start", timeout_s=30)
    with pytest.raises(Unavailable, match="docker compose create did not end within 1 s"):
        compose.run("create", timeout_s=1)
