"""Fuzzing: run one seed after the other, on several processes, until one violates something.

What a worker sends back is small: a seed can be run again, and then it tells its whole story.
"""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tana.types.errors import SettingsError
from testbed.simulation.drawing import make_schedule
from testbed.simulation.schedule import MAX_NODES
from testbed.simulation.world import World
from testbed.trace import Violation

SEEDS_PER_BATCH = 5
"""Few enough that progress is seen, many enough that handing them out costs nothing."""
GARBAGE_OBJECTS = 50_000
"""So many new objects before a worker looks for garbage; a run of 60 heights makes some millions."""


@dataclass(frozen=True)
class FuzzOptions:
    """What the command line asks for. `jobs` 1 runs in this very process."""

    seeds: int = 1000
    first_seed: int = 1
    nodes: int = 4
    heights: int = 60
    jobs: int = 1

    def check(self) -> None:
        """Raises `SettingsError` that names the option."""
        bounds = {
            "seeds": (self.seeds, 1, 100_000_000),
            "nodes": (self.nodes, 1, MAX_NODES),
            "heights": (self.heights, 3, 1_000_000),
            "jobs": (self.jobs, 1, 256),
        }
        for name, (value, least, most) in bounds.items():
            if not least <= value <= most:
                raise SettingsError(f"--{name} is {value}", remedy=f"give a number from {least} to {most}", field=name)


@dataclass(frozen=True)
class SeedResult:
    """What became of one seed. `decisions` counts the blocks that all nodes together made durable."""

    seed: int
    violation: Violation | None
    trace_hash: str
    heights: int
    decisions: int
    steps: int
    virtual_ms: int
    acknowledged: int
    faults_asked: int
    faults_touched: int


@dataclass
class FuzzResult:
    """What became of all seeds so far. `failed` is the violation with the lowest seed."""

    seeds: int = 0
    heights: int = 0
    steps: int = 0
    virtual_ms: int = 0
    acknowledged: int = 0
    faults_asked: int = 0
    faults_touched: int = 0
    seconds: float = 0.0
    sample: SeedResult | None = None
    """The seed with the lowest number: what is run once more elsewhere."""
    failed: SeedResult | None = None

    def add(self, result: SeedResult) -> None:
        self.seeds += 1
        if self.sample is None or result.seed < self.sample.seed:
            self.sample = result
        self.heights += result.heights
        self.steps += result.steps
        self.virtual_ms += result.virtual_ms
        self.acknowledged += result.acknowledged
        self.faults_asked += result.faults_asked
        self.faults_touched += result.faults_touched
        if result.violation is not None and (self.failed is None or result.seed < self.failed.seed):
            self.failed = result


def resolve_jobs(text: str) -> int:
    """How many processes: `auto` is one for each core that we may use. Raises `SettingsError`."""
    if text == "auto":
        return len(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"--jobs is {text!r}", remedy="give a number of processes, or auto", field="jobs")
    return int(text)


def run_seed(seed: int, nodes: int, heights: int) -> SeedResult:
    """Run what one seed decides."""
    outcome = World(make_schedule(seed, nodes, heights)).run()
    return SeedResult(
        seed=seed,
        violation=outcome.violation,
        trace_hash=outcome.trace_hash,
        heights=outcome.heights,
        decisions=outcome.decisions,
        steps=outcome.steps,
        virtual_ms=outcome.virtual_ms,
        acknowledged=outcome.acknowledged,
        faults_asked=len(outcome.windows),
        faults_touched=sum(bool(window.evidence) for window in outcome.windows),
    )


def run_batch(seeds: tuple[int, ...], nodes: int, heights: int) -> list[SeedResult]:
    """Run seeds one after the other, up to the first violation."""
    results = []
    for seed in seeds:
        results.append(run_seed(seed, nodes, heights))
        if results[-1].violation is not None:
            break
    # A run is full of cycles: with what it leaves gone at once, memory stays as it is however many seeds there are.
    gc.collect()
    return results


def prepare_worker() -> None:
    """Let the collector of garbage look seldom, and never at what was imported: runs make much and keep nothing."""
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)


def fuzz(options: FuzzOptions, on_progress: Callable[[FuzzResult], None]) -> FuzzResult:
    """Run all seeds, or up to the first violation; `on_progress` hears of it after every few.

    Raises `SettingsError` for options that make no sense.
    """
    options.check()
    result = FuzzResult()
    began = time.monotonic()
    for batch in _run_batches(options):
        for item in batch:
            result.add(item)
        result.seconds = time.monotonic() - began
        on_progress(result)
        if result.failed is not None:
            break
    return result


def _run_batches(options: FuzzOptions) -> Iterator[list[SeedResult]]:
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    batches = [tuple(seeds[start : start + SEEDS_PER_BATCH]) for start in range(0, len(seeds), SEEDS_PER_BATCH)]
    if options.jobs == 1:
        for batch in batches:
            yield run_batch(batch, options.nodes, options.heights)
        return
    # Spawned, not forked: each worker is an interpreter of its own, whatever threads this one has.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, context, prepare_worker) as pool:
        waiting = iter(batches)
        running = {
            pool.submit(run_batch, batch, options.nodes, options.heights)
            for batch in itertools.islice(waiting, 2 * options.jobs)
        }
        try:
            while running:
                done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    for batch in itertools.islice(waiting, 1):
                        running.add(pool.submit(run_batch, batch, options.nodes, options.heights))
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
