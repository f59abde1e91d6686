"""The command `testbed twins`: one key in two nodes, and every way to split the network round by round."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tana.types.errors import SettingsError
from testbed.cli_telling import Jobs, Progress, told
from testbed.verdict import Outcome

if TYPE_CHECKING:
    from testbed.byzantine.twins import TwinsOutcome

BATCH = 16


def twins(
    *,
    rounds: Annotated[int, typer.Option(help="Rounds that are split, each in every way.")] = 2,
    groups: Annotated[int, typer.Option(help="Into how many groups at most.")] = 2,
    seeds: Annotated[int, typer.Option(help="Draw so many scenarios at random; 0: go through all of them.")] = 0,
    only: Annotated[int | None, typer.Option(help="Run the scenario of this number, and tell what it is.")] = None,
    jobs: Jobs = "auto",
) -> None:
    """Give one of four validators a twin with the same key, in every scenario of partitions; judge each.

    Exit code: 0 nothing was violated, 1 violated, 2 could not tell, 130 interrupted.
    """
    from testbed.byzantine.twins import count_scenarios, make_scenario, run_scenario
    from testbed.simulation.fuzz import resolve_jobs

    with told():
        total = _check(rounds, groups, seeds, only)
        workers = resolve_jobs(jobs)
    if only is not None:
        scenario = make_scenario(only, rounds, groups)
        outcome = run_scenario(only, scenario)
        typer.echo(scenario.describe())
        typer.echo(f"VIOLATED {outcome.violation}" if outcome.violation else "nothing violated")
        raise typer.Exit(int(bool(outcome.violation)))
    numbers: Sequence[int] = range(total)
    if seeds:
        from testbed.byzantine.twins import draw_number

        numbers = [draw_number(seed, rounds, groups) for seed in range(seeds)]
    typer.echo(
        f"{len(numbers)} of {count_scenarios(rounds, groups)} scenarios: {rounds} rounds, up to {groups} groups",
        err=True,
    )
    done = split = 0
    began = time.monotonic()
    progress = Progress()
    with told():
        for outcome in _run_all(numbers, rounds, groups, workers):
            done, split = done + 1, split + outcome.is_split
            if outcome.violation:
                again = f"testbed twins --rounds {rounds} --groups {groups} --only {outcome.number}"
                typer.echo(f"VIOLATED scenario {outcome.number}: {outcome.violation}\nagain: {again}")
                raise typer.Exit(Outcome.VIOLATED.exit_code)
            a_minute = 60 * done / max(time.monotonic() - began, 0.001)
            progress.show(f"{done} of {len(numbers)} scenarios, {a_minute:.0f} a minute")
    progress.end()
    typer.echo(f"nothing violated: {done} scenarios, in {split} of them the twins contradicted each other")


def _check(rounds: int, groups: int, seeds: int, only: int | None) -> int:
    """How many scenarios there are. Raises `SettingsError` that names the option."""
    from testbed.byzantine.twins import count_scenarios

    if not 1 <= rounds <= 10:
        raise SettingsError(f"--rounds is {rounds}", remedy="give a number from 1 to 10", field="rounds")
    if not 1 <= groups <= 5:
        raise SettingsError(f"--groups is {groups}", remedy="give a number from 1 to 5: five nodes", field="groups")
    if seeds < 0:
        raise SettingsError(f"--seeds is {seeds}", remedy="give how many to draw, or 0 for all", field="seeds")
    total = count_scenarios(rounds, groups)
    if only is not None and not 0 <= only < total:
        raise SettingsError(f"--only is {only}", remedy=f"give a number from 0 to {total - 1}", field="only")
    return total


def _run_all(numbers: Sequence[int], rounds: int, groups: int, jobs: int) -> Iterator[TwinsOutcome]:
    batches = (tuple(numbers[start : start + BATCH]) for start in range(0, len(numbers), BATCH))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = {pool.submit(run_batch, batch, rounds, groups) for batch in itertools.islice(batches, 2 * jobs)}
        try:
            while running:
                done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    running |= {pool.submit(run_batch, batch, rounds, groups) for batch in itertools.islice(batches, 1)}
                    yield from future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def run_batch(numbers: Sequence[int], rounds: int, groups: int) -> list[TwinsOutcome]:
    """Run some scenarios, one after the other."""
    from testbed.byzantine.twins import make_scenario, run_scenario

    return [run_scenario(number, make_scenario(number, rounds, groups)) for number in numbers]
