"""setup: the run's own folder, the plan, and the backend, before anything starts."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tana.types.errors import SettingsError
from testbed.backends.base import Backend
from testbed.plan import Plan, make_plan
from testbed.ports import HeldPorts, Ports
from testbed.scenario import Scenario

BACKENDS = {
    "docker": "containers, on a tailnet of their own or a plain bridge, real time",
    "processes": "plain processes on this machine, real time",
    "simulation": "one process, virtual time, seeded",
}


def make_run_folder(runs_dir: Path, scenario: str, now: datetime.datetime) -> Path:
    """A new folder `<UTC time>-<scenario>` that no other run has. Raises `SettingsError`."""
    stem = f"{now:%Y%m%dT%H%M%SZ}-{scenario}"
    make_runs_dir(runs_dir)
    with _told_of(runs_dir):
        for number in itertools.count(1):
            folder = runs_dir / (stem if number == 1 else f"{stem}-{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                (folder / "logs").mkdir()
                break
    return folder


def make_runs_dir(runs_dir: Path) -> None:
    """The folder of all runs. Raises `SettingsError` where it cannot be made, or is no folder."""
    with _told_of(runs_dir):
        runs_dir.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _told_of(runs_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingsError(
            f"the runs folder {runs_dir} cannot be written: {error.strerror}",
            remedy="give another one with --runs-dir",
            field="runs_dir",
        ) from None


def link_latest(folder: Path) -> None:
    """Point `latest` beside the run's folder to it; whoever reads it sees the old or the new run."""
    temporary = folder.parent / f".latest-{os.getpid()}-{folder.name}"
    temporary.symlink_to(folder.name)
    temporary.replace(folder.parent / "latest")


def setup(scenario: Scenario, backend_name: str, seed: int, folder: Path, network: str = "") -> tuple[Plan, Backend]:
    """The plan and the backend that will carry it out. `network` is for the backend docker.

    Raises `SettingsError` for a backend that there is not, `Unavailable` for one that does not work here.
    """
    if backend_name == "docker":
        from testbed.backends.docker import make_docker_backend
        from testbed.backends.docker_model import MESH_PORT, PORTS

        plan = make_plan(scenario, seed, MESH_PORT, [PORTS for _ in scenario.node_ids])
        return plan, make_docker_backend(plan, folder, network, say=_tell)
    if backend_name == "processes":
        from testbed.backends.processes import ProcessesBackend

        held = HeldPorts()
        try:
            plan = make_plan(scenario, seed, held.take(), [held.take_validator() for _ in scenario.node_ids])
        except BaseException:
            held.release()
            raise
        return plan, ProcessesBackend(plan, folder, held)
    if backend_name == "simulation":
        from testbed.backends.simulation import SimulationBackend

        ports = [
            Ports(8080 + 1000 * i, 8180 + 1000 * i, 9000 + 1000 * i, 9001 + 1000 * i)
            for i in range(scenario.validators)
        ]
        plan = make_plan(scenario, seed, 8190, ports)
        return plan, SimulationBackend(plan)
    raise SettingsError(
        f"there is no backend {backend_name!r}", remedy=f"use one of {', '.join(BACKENDS)}", field="backend"
    )


def _tell(line: str) -> None:
    """Progress before there is a screen. Not on standard output, which `--json` keeps for the summary."""
    print(line, file=sys.stderr, flush=True)
