"""`testbed fuzz`, `testbed replay` of a seed, `testbed shrink`: what a simulated run of a schedule is asked for."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tana.types.errors import TanaError
from testbed.verdict import Outcome

if TYPE_CHECKING:
    from testbed.simulation.fuzz import FuzzResult

PLAIN_INTERVAL_S = 10.0
"""Without a terminal: how often a line tells how far it is."""


def fuzz(
    *,
    seeds: Annotated[int, typer.Option(help="How many seeds to try.")] = 1000,
    first_seed: Annotated[int, typer.Option(help="The first of them.")] = 1,
    nodes: Annotated[int, typer.Option(help="Validators of each run.")] = 4,
    heights: Annotated[int, typer.Option(help="Blocks of each run.")] = 60,
    jobs: Annotated[str, typer.Option(help="Processes, or auto for one on each core.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Run seeds in virtual time, each with faults of its own, until one violates an invariant.

    Exit code: 0 nothing was violated, 1 violated, 2 could not tell, 130 interrupted.
    """
    from testbed.simulation.fuzz import FuzzOptions, resolve_jobs
    from testbed.simulation.fuzz import fuzz as run_fuzz

    try:
        options = FuzzOptions(seeds, first_seed, nodes, heights, resolve_jobs(jobs))
        progress = _Progress(seeds, is_silent=as_json)
        result = run_fuzz(options, progress.show)
        progress.end()
    except TanaError as error:
        typer.echo(f"could not tell: {error}", err=True)
        raise typer.Exit(Outcome.COULD_NOT_TELL.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    failed = result.failed
    size = "" if (nodes, heights) == (4, 60) else f" --nodes {nodes} --heights {heights}"
    command = f"testbed replay {failed.seed}{size}" if failed is not None else ""
    outcome = Outcome.PROVEN if failed is None else Outcome.VIOLATED
    if as_json:
        facts = {
            "verdict": outcome.value,
            "seeds": result.seeds,
            "heights": result.heights,
            "steps": result.steps,
            "faults_asked": result.faults_asked,
            "faults_touched": result.faults_touched,
            "acknowledged": result.acknowledged,
            "seconds": round(result.seconds, 3),
            "failed_seed": failed.seed if failed is not None else None,
            "violation": str(failed.violation) if failed is not None else "",
            "command": command,
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif failed is not None:
        typer.echo(f"VIOLATED seed {failed.seed}: {failed.violation}\nagain: {command}")
    else:
        typer.echo(f"nothing violated: {describe_progress(result, seeds)}")
    raise typer.Exit(outcome.exit_code)


class _Progress:
    """One calm line that is written over on a terminal, a line now and then elsewhere."""

    def __init__(self, seeds: int, *, is_silent: bool) -> None:
        self._seeds = seeds
        self._is_silent = is_silent
        self._is_terminal = sys.stderr.isatty()
        self._shown = time.monotonic()

    def show(self, result: FuzzResult) -> None:
        if self._is_silent:
            return
        line = describe_progress(result, self._seeds)
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
        elif time.monotonic() - self._shown > PLAIN_INTERVAL_S:
            self._shown = time.monotonic()
            typer.echo(line, err=True)

    def end(self) -> None:
        if self._is_terminal and not self._is_silent:
            sys.stderr.write("\r\x1b[K")


def describe_progress(result: FuzzResult, seeds: int) -> str:
    """How far it is and how fast it goes, in one line."""
    seconds = max(result.seconds, 0.001)
    return (
        f"{result.seeds} of {seeds} seeds, {result.heights} heights, {result.faults_touched} faults that touched"
        f" something, {result.acknowledged} transactions; {60 * result.seeds / seconds:.0f} seeds/min,"
        f" {result.heights / seconds:.0f} heights/s"
    )
