"""How fast the simulator is, with faults and all invariants on: heights and seeds over all cores, and its memory.

    make bench-sim BENCH_ARGS="--seeds 600 --memory-seeds 10000"

Runs of 60 heights are what docs/performance.md quotes. Memory is measured in one process over many short runs: what is
left of a run would add up.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
from pathlib import Path

from testbed.simulation.fuzz import FuzzOptions, FuzzResult, fuzz, resolve_jobs

WARM_UP_SHARE = 0.1
"""Imports and caches fill within the first runs: what counts is what grows afterwards."""


def measure_speed(seeds: int, nodes: int, heights: int, jobs: int) -> dict[str, object]:
    """Heights a second and seeds a minute over all processes, the time of starting them included."""
    began_s = read_cpu_s()
    result = fuzz(FuzzOptions(seeds, 1, nodes, heights, jobs), lambda result: None)
    cpu_s = read_cpu_s() - began_s
    assert result.failed is None, f"seed {result.failed.seed} fails: {result.failed.violation}"
    return {
        "nodes": nodes,
        "heights_of_a_run": heights,
        "jobs": jobs,
        "seeds": result.seeds,
        "seeds_per_minute": round(60 * result.seeds / result.seconds),
        "heights_per_second": round(result.heights / result.seconds),
        "steps_per_second": round(result.steps / result.seconds),
        "heights_per_cpu_second": round(result.heights / cpu_s),
        "microseconds_of_cpu_per_step": round(1e6 * cpu_s / result.steps, 1),
        "faults_that_touched": result.faults_touched,
        "transactions": result.acknowledged,
    }


def measure_memory(seeds: int, heights: int) -> dict[str, object]:
    """Resident memory of one process after the first tenth of the seeds and after the last, in MB."""
    warm_up = max(int(seeds * WARM_UP_SHARE), 1)
    samples: list[float] = []

    def sample(result: FuzzResult) -> None:
        if result.seeds >= warm_up:
            samples.append(read_resident_mb())

    result = fuzz(FuzzOptions(seeds, 1, 4, heights, 1), sample)
    assert result.failed is None, f"seed {result.failed.seed} fails: {result.failed.violation}"
    return {
        "memory_seeds": result.seeds,
        "memory_heights_of_a_run": heights,
        "resident_mb_after_warm_up": round(samples[0], 1),
        "resident_mb_max": round(max(samples), 1),
        "resident_mb_at_the_end": round(samples[-1], 1),
    }


def read_cpu_s() -> float:
    """Processor time of this process and of those that it has waited for: a crowded machine spoils it least."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


def read_resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--heights", type=int, default=60)
    parser.add_argument("--jobs", default="auto")
    parser.add_argument("--memory-seeds", type=int, default=500, help="0 leaves the memory out")
    parser.add_argument("--memory-heights", type=int, default=6)
    arguments = parser.parse_args()
    found = measure_speed(arguments.seeds, arguments.nodes, arguments.heights, resolve_jobs(arguments.jobs))
    if arguments.memory_seeds:
        found |= measure_memory(arguments.memory_seeds, arguments.memory_heights)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
