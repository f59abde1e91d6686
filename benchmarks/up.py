"""`make bench-up`: start to first final block, idle memory, and the default scenario in simulation.

Prints the median, least and most of several runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cluster import running_cluster
from testbed.runner.run import Options, run

SCENARIO = Path(__file__).parent.parent / "scenarios" / "converge.toml"
IDLE_HEIGHTS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python -m benchmarks.up --runs 3")
    parser.add_argument("--runs", type=int, default=5, help="how often each figure is measured (default 5)")
    runs = parser.parse_args().runs
    up_ms, memory_mib, mesh_mib = measure_up(runs)
    simulation_ms = [measure_simulation() for _ in range(runs)]
    print(f"{'figure':44} {'median':>8} {'least':>8} {'most':>8}")
    show("processes: start to first final block, ms", up_ms)
    show("idle validator, MiB", memory_mib)
    show("idle mesh, MiB", mesh_mib)
    show("simulation: default scenario, ms", simulation_ms)


def measure_up(runs: int) -> tuple[list[float], list[float], list[float]]:
    """Times to the first block in ms, resident memory of validators and of the mesh in MiB."""
    up_ms, memory_mib, mesh_mib = [], [], []
    for _ in range(runs):
        with running_cluster("up.toml") as bench:
            up_ms.append(bench.up_ms)
            bench.wait_height(IDLE_HEIGHTS)
            memory_mib += [bench.read_memory_mib(node) for node in bench.cluster.plan.node_ids]
            mesh_mib.append(bench.read_memory_mib("mesh"))
    return up_ms, memory_mib, mesh_mib


def measure_simulation() -> float:
    """Wall time of the default scenario in virtual time, ms."""
    with tempfile.TemporaryDirectory(prefix="tana-bench-") as name:
        clock = time.perf_counter()
        result = run(Options(SCENARIO, "simulation", runs_dir=Path(name), is_silent=True))
        assert result.exit_code == 0, result.summary["first_line"]
        return (time.perf_counter() - clock) * 1000


def show(what: str, values: Sequence[float]) -> None:
    print(f"{what:44} {statistics.median(values):8.0f} {min(values):8.0f} {max(values):8.0f}")


if __name__ == "__main__":
    main()
