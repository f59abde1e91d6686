"""How fast the simulator is, with faults and all invariants on, and its memory.

    make bench-sim BENCH_ARGS="--seeds 600 --memory-seeds 10000"
    make bench-sim BENCH_ARGS="--plain --memory-seeds 0"    # without compiling first

Two loads over all cores: long chains in steady trouble, for heights a second, and the seeds of `testbed fuzz`, as
violent as they come, for seeds a minute. Memory is measured in one process over many short runs: what is left of a run
would add up.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from testbed.compiled import is_compiled, run_compiled
from testbed.simulation.fuzz import FuzzOptions, FuzzResult, fuzz, prepare_worker, resolve_jobs
from testbed.simulation.schedule import LinkPlan, PlannedFault, Schedule, TimingPlan
from testbed.simulation.world import Outcome, World

WARM_UP_SHARE = 0.1
"""Imports and caches fill within the first runs: what counts is what grows afterwards."""


def measure_seeds(seeds: int, nodes: int, heights: int, jobs: int) -> dict[str, object]:
    """Seeds a minute as `testbed fuzz` runs them, the time of starting its processes included."""
    began_s = read_cpu_s()
    result = fuzz(FuzzOptions(seeds, 1, nodes, heights, jobs), lambda result: None)
    cpu_s = read_cpu_s() - began_s
    assert result.failed is None, f"seed {result.failed.seed} fails: {result.failed.violation}"
    return {
        "seeds": result.seeds,
        "heights_of_a_seed": heights,
        "seeds_per_minute": round(60 * result.seeds / result.seconds),
        "seeds_heights_per_second": round(result.heights / result.seconds),
        "seeds_heights_per_cpu_second": round(result.heights / cpu_s),
        "seeds_steps_per_height": round(result.steps / result.heights, 1),
        "microseconds_of_cpu_per_step": round(1e6 * cpu_s / result.steps, 1),
        "faults_that_touched": result.faults_touched,
        "transactions": result.acknowledged,
    }


def make_chain_schedule(seed: int, nodes: int, heights: int) -> Schedule:
    """A long chain in steady trouble: bad links throughout, and another fault every ten heights.

    Faults come in the first six tenths of the heights; then one node is down for two tenths, then all is well.
    """
    draw = random.Random(f"{seed}/chain")
    faults = [
        PlannedFault("crash", 0, 0, 100, (draw.randrange(nodes),), draw.randrange(30)),
        PlannedFault("loss", 0, 0, 100, rate=0.2),
        PlannedFault("halves", 0, 0, 100, tuple(range(nodes // 2))),
        PlannedFault("delay", 0, 0, 100, by=20),
        PlannedFault("isolated", 0, 0, 100, (draw.randrange(nodes),), is_noticed=True),
        PlannedFault("duplicate", 0, 0, 100, rate=0.3),
        PlannedFault("pause", 0, 0, 100, (draw.randrange(nodes),)),
        PlannedFault("reorder", 0, 0, 100, rate=0.3),
    ]
    return Schedule(
        seed=seed,
        nodes=nodes,
        heights=heights,
        timing=TimingPlan(60, 30, 30, 15, 20, 100, 200),
        links=LinkPlan(loss=0.01, duplicate=0.01, reorder=0.01),
        transaction_interval_ms=100,
        faults=tuple(
            msgspec.structs.replace(fault, at_height=height)
            for height, fault in zip(range(10, heights * 6 // 10, 10), itertools.cycle(faults), strict=False)
        ),
        broken=(nodes - 1,),
    )


def run_chain(schedule: Schedule) -> Outcome:
    outcome = World(schedule).run()
    assert outcome.violation is None, f"chain {schedule.seed} fails: {outcome.violation}"
    return outcome


def measure_chains(chains: int, nodes: int, heights: int, jobs: int) -> dict[str, object]:
    """Heights a second of long chains, over all processes once they have started."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context, prepare_worker) as pool:
        # Each process is there once it has run something.
        list(pool.map(run_chain, [make_chain_schedule(0, nodes, 10)] * 4 * jobs))
        began_s = time.monotonic()
        schedules = [make_chain_schedule(seed, nodes, heights) for seed in range(1, chains + 1)]
        outcomes = list(pool.map(run_chain, schedules))
        seconds = time.monotonic() - began_s
    decided = sum(outcome.heights for outcome in outcomes)
    return {
        "chains": chains,
        "heights_of_a_chain": heights,
        "heights_per_second": round(decided / seconds),
        "steps_per_height": round(sum(outcome.steps for outcome in outcomes) / decided, 1),
        "chain_faults_that_touched": sum(bool(item.evidence) for outcome in outcomes for item in outcome.windows),
    }


class _Memory(NamedTuple):
    blocks: int
    resident_mb: float


def measure_memory(seeds: int, heights: int) -> dict[str, object]:
    """Memory of one process after the first tenth of the seeds and after the last.

    What leaks shows in the blocks of memory that Python holds between two batches. The resident memory, in MB, shows
    the largest run so far as well: the system gets little of it back.
    """
    warm_up = max(int(seeds * WARM_UP_SHARE), 1)
    first = last = _Memory(0, 0)
    most_mb = 0.0

    def sample(result: FuzzResult) -> None:
        nonlocal first, last, most_mb
        if result.seeds >= warm_up:
            last = _Memory(sys.getallocatedblocks(), read_resident_mb())
            first = first if first.blocks else last
            most_mb = max(most_mb, last.resident_mb)

    result = fuzz(FuzzOptions(seeds, 1, 4, heights, 1), sample)
    assert result.failed is None, f"seed {result.failed.seed} fails: {result.failed.violation}"
    return {
        "memory_seeds": result.seeds,
        "memory_heights_of_a_run": heights,
        "blocks_after_warm_up": first.blocks,
        "blocks_at_the_end": last.blocks,
        "resident_mb_after_warm_up": round(first.resident_mb, 1),
        "resident_mb_max": round(most_mb, 1),
        "resident_mb_at_the_end": round(last.resident_mb, 1),
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
    parser.add_argument("--chains", type=int, default=8, help="long chains; 0 leaves them out")
    parser.add_argument("--chain-heights", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=200, help="seeds of the fuzzer; 0 leaves them out")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--heights", type=int, default=60, help="of each seed")
    parser.add_argument("--jobs", default="auto")
    parser.add_argument("--memory-seeds", type=int, default=500, help="0 leaves the memory out")
    parser.add_argument("--memory-heights", type=int, default=6)
    parser.add_argument("--plain", action="store_true", help="measure the sources as they are, not compiled")
    arguments = parser.parse_args()
    if not arguments.plain:
        run_compiled(sys.argv)
    jobs, nodes = resolve_jobs(arguments.jobs), arguments.nodes
    found: dict[str, object] = {"compiled": is_compiled(), "nodes": nodes, "jobs": jobs}
    if arguments.chains:
        found |= measure_chains(arguments.chains, nodes, arguments.chain_heights, jobs)
    if arguments.seeds:
        found |= measure_seeds(arguments.seeds, nodes, arguments.heights, jobs)
    if arguments.memory_seeds:
        found |= measure_memory(arguments.memory_seeds, arguments.memory_heights)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
