"""A cluster for a benchmark: brought up by the testbed's own steps, then left to the caller."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from testbed.backends.base import Backend, Request
from testbed.cluster import Cluster
from testbed.history import History
from testbed.runner.run import SIMPLE_STEPS, interruptible
from testbed.runner.setup import setup
from testbed.scenario import load_scenario
from testbed.screen import SilentScreen
from testbed.steps import get_step_name

FOLDER = Path(__file__).parent


class BenchBackend(Backend, Protocol):
    """A backend whose nodes are processes of this machine and listen where this machine reaches them."""

    def get_url(self, request: Request) -> str: ...

    def get_pid(self, node: str) -> int: ...


@dataclass
class BenchCluster:
    """A running cluster and how long it took to come up, in ms."""

    cluster: Cluster
    backend: BenchBackend
    up_ms: float
    folder: Path
    """Where the nodes' folders and logs are, until it ends."""

    def get_ledger_url(self, node: str) -> str:
        return self.backend.get_url(Request(node, "ledger", "GET", ""))

    def read_height(self, node: str) -> int:
        """The last final height that a validator answers."""
        height: int = self.cluster.ask(node, "status", "GET", "/health").body["currentHeight"]
        return height

    def find_height(self, node: str) -> int:
        """The same, −1 while it does not answer."""
        body = self.cluster.ask(node, "status", "GET", "/health").body
        return int(body["currentHeight"]) if isinstance(body, dict) and "currentHeight" in body else -1

    def wait_height(self, height: int) -> None:
        """Wait until every validator answers that height."""
        nodes = self.cluster.plan.node_ids
        reached = self.cluster.wait_until(
            lambda: all(self.read_height(node) >= height for node in nodes), f"height {height}", 60_000
        )
        assert reached, f"height {height} was not reached within a minute"

    def read_cpu_s(self) -> float:
        """Processor time that all validators have used so far, in seconds (Linux)."""
        ticks = 0
        for node in self.cluster.plan.node_ids:
            fields = Path(f"/proc/{self.backend.get_pid(node)}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def read_memory_mib(self, node: str) -> float:
        """Resident memory of a node's process, in MiB (Linux: VmRSS)."""
        status = Path(f"/proc/{self.backend.get_pid(node)}/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(kib) / 1024


@contextmanager
def running_cluster(scenario_file: str, backend_name: str = "processes", network: str = "") -> Iterator[BenchCluster]:
    """Bring the scenario's cluster up, hand it out, and end it. Raises `TanaError` where it cannot be."""
    scenario = load_scenario(FOLDER / scenario_file)
    with tempfile.TemporaryDirectory(prefix="tana-bench-") as name, interruptible():
        folder = Path(name)
        (folder / "logs").mkdir()
        clock = time.perf_counter()
        plan, made = setup(scenario, backend_name, 1, folder, network)
        backend = cast("BenchBackend", made)
        try:
            cluster = Cluster(plan, backend, [], History(folder / "history.jsonl"), SilentScreen())
            for step in scenario.steps:
                SIMPLE_STEPS[get_step_name(step)](cluster, step)
            yield BenchCluster(cluster, backend, (time.perf_counter() - clock) * 1000, folder)
        finally:
            backend.cleanup()
