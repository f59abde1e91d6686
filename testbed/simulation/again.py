"""One more run of a schedule, in an interpreter of its own with another hash seed: what invariant 20 compares.

It runs the plain sources, also where this interpreter runs compiled ones: both must give the same trace.

`python -m testbed.simulation.again` reads a schedule from its standard input and prints the hash of its trace.
"""

from __future__ import annotations

import os
import subprocess
import sys

from testbed.compiled import drop_compiled
from testbed.invariants.determinism import Determinism
from testbed.simulation.schedule import Schedule, format_schedule, parse_schedule
from testbed.simulation.world import run_schedule
from testbed.trace import Trace
from testbed.verdict import Verdict


def judge_again(schedule: Schedule, trace_hash: str) -> Verdict:
    """Whether the schedule gives the same trace again. `trace_hash` is that of a run in this interpreter."""
    trace = Trace([Determinism()])
    trace.compare_runs(trace_hash, run_elsewhere(schedule))
    [verdict] = trace.finish()
    return verdict


def run_elsewhere(schedule: Schedule) -> str:
    """The hash of the schedule's trace in a fresh interpreter. Raises `CalledProcessError` where that fails."""
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-m", "testbed.simulation.again"],
        input=format_schedule(schedule),
        env={**drop_compiled(os.environ), "PYTHONHASHSEED": hash_seed},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def main() -> None:
    schedule = parse_schedule(sys.stdin.read(), "standard input")
    print(run_schedule(schedule).trace_hash)


if __name__ == "__main__":
    main()
