"""What is wrong with an engine, a control server or a sidecar is the first line of a run, with its remedy, in time.

Each case is a checkout whose Compose file is spoilt. docs/docker.md has the list.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tana.types.errors import Unavailable
from testbed.backends.docker_engine import Compose, find_engine
from testbed.backends.docker_image import SOURCES, name_images, provide_images
from testbed.backends.docker_leftovers import remove_run
from testbed.backends.docker_model import ROOT
from testbed.backends.docker_sdk import connect
from tests.docker.clusters import list_left, read_project
from tests.testbed.small import write_small

LIMIT_S = 30
"""From the start of the containers to the line."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout, of the same sources and so with the same images."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in (*SOURCES, "docker-compose.yml", "docker-compose.bridge.yml"):
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(path, folder / name)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The images of this checkout, made beforehand where they are not here."""
    names = name_images()
    compose = Compose("tana-test-images", [ROOT / "docker-compose.yml"], {**os.environ, **names}, ROOT)
    model = json.loads(compose.run("config", "--format", "json", timeout_s=LIMIT_S))
    provide_images(connect(find_engine().host), compose, model, tmp_path_factory.mktemp("images"), print)
    return names


def spoil(checkout: Path, old: str, new: str) -> None:
    file = checkout / "docker-compose.yml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")


def run_spoilt(checkout: Path, tmp_path: Path, images: dict[str, str]) -> tuple[str, float]:
    """The first line of a run on a tailnet from that checkout, and how long it took, in seconds."""
    scenario = checkout / "three.toml"
    scenario.write_text(write_small(tmp_path).read_text("utf-8").replace("validators = 2", "validators = 3"), "utf-8")
    command = [sys.executable, "-m", "testbed", "run", str(scenario), "--backend", "docker"]
    clock = time.monotonic()
    done = subprocess.run(
        [*command, "--runs-dir", str(tmp_path / "runs")],
        cwd=checkout,
        env={**os.environ, **images},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    took_s = time.monotonic() - clock
    assert done.returncode == 2, done.stdout
    assert list_left(read_project(tmp_path / "runs")) == []
    return next(line for line in done.stdout.splitlines() if line.startswith("could not tell ")), took_s


@pytest.mark.parametrize(
    "case",
    [
        (
            "TS_AUTHKEY: file:/bootstrap/key",
            "TS_AUTHKEY: hskey-auth-wrong",
            "the control server does not know the auth key: .*give the sidecars a valid auth key",
        ),
        (
            "SSL_CERT_FILE: /bootstrap/ca.crt",
            "SSL_CERT_FILE: /etc/ssl/certs/ca-certificates.crt",
            "the certificate of the control server is not trusted .*give the sidecar the authority's certificate",
        ),
        (
            "command: [serve]",
            "command: [version]",
            "auth-key: .* the control server does not answer after 20 s .*docker compose logs headscale",
        ),
        (
            "cap_add: [NET_ADMIN, NET_RAW]",
            "cap_add: []",
            "(the sidecar cannot make its tunnel|sock does not answer): .* NET_ADMIN",
        ),
        (
            "devices: [/dev/net/tun]",
            "devices: [/dev/net/tun-that-is-not-there]",
            "the engine's machine has no /dev/net/tun .*sudo modprobe tun",
        ),
        (
            "networks:\n  underlay:\n\n",
            "networks:\n  underlay: {ipam: {config: [{subnet: 100.70.0.0/24}]}}\n\n",
            "the engine gave the subnet 100.70.0.0/24, which lies in 100.64.0.0/10: .*set default-address-pools",
        ),
    ],
    ids=["auth key", "ca", "control server", "NET_ADMIN", "tun", "subnet"],
)
def test_invalid_setting_is_named(
    checkout: Path, tmp_path: Path, images: dict[str, str], case: tuple[str, str, str]
) -> None:
    """A case is what stands in the Compose file, what stands there instead, and the line."""
    old, new, words = case
    spoil(checkout, old, new)
    line, took_s = run_spoilt(checkout, tmp_path, images)
    assert re.search(words, line), line
    # Nothing is waited for without end; how long exactly is the machine's affair.
    assert took_s < 4 * LIMIT_S


def test_invalid_port_that_is_taken(images: dict[str, str]) -> None:
    project = "tana-test-port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        compose = Compose(
            project, [ROOT / "docker-compose.yml"], {**os.environ, **images, "MESH_PORT": str(port)}, ROOT
        )
        try:
            with pytest.raises(Unavailable) as caught:
                compose.run("up", "--no-deps", "--detach", "mesh-anchor", timeout_s=LIMIT_S)
        finally:
            remove_run(connect(""), project)
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "stop what listens on that port" in str(caught.value)
