"""Runs on the backend docker as processes of their own, and what is in the engine of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from testbed.backends.docker_model import PROJECT_LABEL, ROOT

FOREVER = 10_000


def start_testbed(scenario: Path, runs_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    """`testbed run` on the backend docker."""
    command = [sys.executable, "-m", "testbed", "run", str(scenario), "--backend", "docker"]
    command += ["--runs-dir", str(runs_dir), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_project(runs_dir: Path) -> str:
    """The Compose project of the latest run."""
    name: str = json.loads((runs_dir / "latest" / "compose.json").read_text("utf-8"))["name"]
    return name


def list_left(project: str) -> list[str]:
    """What the engine has of a project."""
    label = f"label={PROJECT_LABEL}={project}"
    return [
        line
        for kind in (["ps", "-a"], ["network", "ls"], ["volume", "ls"])
        for line in docker(*kind, "-q", "--filter", label).splitlines()
    ]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout
