"""Mutants: bugs planted one at a time, each to be caught by the ordinary fuzzer. A testbed that misses one is too weak.

A mutant is a file in tests/mutants/: its docstring says what is wrong, `plant` makes it so, and `CAUGHT_BY` names the
invariants that may catch it. Each is hunted in a process of its own, so that nothing of it stays behind.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import multiprocessing
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tana.types.errors import SettingsError
from testbed.planting import Patch

BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
FOLDER = Path("tests/mutants")
HEIGHTS = 20
NODES = (4, 4, 7)
"""Sizes of the clusters that seeds are tried on, in turn."""


@dataclass(frozen=True)
class Mutant:
    """A planted bug."""

    name: str
    bug: str
    caught_by: tuple[str, ...]
    path: Path


@dataclass(frozen=True)
class Hunt:
    """How a mutant was caught. `invariant` is empty where it was not; `line` is what was violated.

    `seconds` are those that one core was at work: how busy the machine is besides does not count.
    """

    name: str
    invariant: str
    line: str
    seed: int
    nodes: int
    seeds: int
    seconds: float
    is_expected: bool
    is_in_time: bool = True
    """False where the seed that caught it took longer than the hunt was given."""

    @property
    def is_caught(self) -> bool:
        return self.is_expected and self.is_in_time


def list_mutants(folder: Path) -> list[Mutant]:
    """Every mutant, by name. Raises `SettingsError` where the folder has none."""
    mutants = []
    for path in sorted(folder.glob("[a-z]*.py")):
        module = _load(path)
        bug = " ".join((module.__doc__ or "").split())
        mutants.append(Mutant(path.stem, bug, tuple(module.CAUGHT_BY), path))
    if not mutants:
        raise SettingsError(f"{folder}: there are no mutants", remedy="run it in the project's folder")
    return mutants


def plant(mutant: Mutant, patch: Patch) -> None:
    """Make the code of this process wrong."""
    _load(mutant.path).plant(patch)


def hunt(mutant: Mutant, limit_s: float) -> Hunt:
    """Run ordinary seeds with the bug planted, until one of them catches it. For a process of its own."""
    from testbed.simulation.fuzz import run_seed

    patch = Patch()
    plant(mutant, patch)
    began = time.process_time()
    seeds = 0
    try:
        while time.process_time() - began < limit_s:
            nodes = NODES[seeds % len(NODES)]
            seeds += 1
            violation = run_seed(seeds, nodes, HEIGHTS).violation
            if violation is not None:
                seconds = time.process_time() - began
                return Hunt(
                    mutant.name,
                    violation.name,
                    violation.line,
                    seed=seeds,
                    nodes=nodes,
                    seeds=seeds,
                    seconds=seconds,
                    is_expected=violation.name in mutant.caught_by,
                    is_in_time=seconds <= limit_s,
                )
    finally:
        patch.undo()
    return Hunt(mutant.name, "", "", 0, 0, seeds, time.process_time() - began, is_expected=False)


def hunt_all(mutants: Sequence[Mutant], limit_s: float, jobs: int) -> Iterator[Hunt]:
    """Hunt each mutant, several at a time, each in a fresh process; results come as they are known."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        running = [pool.submit(hunt, mutant, limit_s) for mutant in mutants]
        try:
            for future in concurrent.futures.as_completed(running):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def render_row(mutant: Mutant, hunt: Hunt) -> str:
    """A row of the Markdown table: the bug, what caught it, with which seed, after how many seeds and seconds."""
    caught = f"`{hunt.invariant}`" if hunt.is_caught else "**not caught**"
    seed = f"{hunt.seed}, {hunt.nodes} nodes" if hunt.seed else "–"
    return f"| `{mutant.name}` | {mutant.bug} | {caught} | {seed} | {hunt.seeds} | {hunt.seconds:.1f} |"


def update_table(text: str, rows: Mapping[str, str], known: Collection[str]) -> str:
    """A document with these rows in its table, by mutant. Others stay as they are, but for mutants that are gone."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    kept = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    lines = [row for name, row in sorted({**kept, **rows}.items()) if name in known]
    head = ["| mutant | bug | caught by | seed | seeds | seconds |", "| --- | --- | --- | --- | --- | --- |"]
    return f"{before}{BEGIN}\n\n" + "\n".join([*head, *lines]) + f"\n\n{END}{after}"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mutant_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
