"""`testbed fuzz`, `testbed replay` of a seed, `testbed shrink`: what a simulated run of a schedule is asked for."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tana.types.errors import SettingsError
from testbed.cli_telling import Jobs, Progress, told
from testbed.compiled import run_compiled
from testbed.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from testbed.simulation.fuzz import FuzzOptions, FuzzResult
    from testbed.simulation.schedule import Schedule
    from testbed.story import Zoom

RECENT_LINES = 20
"""How many events before a violation are repeated at the end of a story."""
SHRINK_RUNS = 150
"""How many runs a failed fuzz spends on making its schedule smaller; `testbed shrink` has more patience."""


def fuzz(
    *,
    seeds: Annotated[int, typer.Option(help="How many seeds to try.")] = 1000,
    first_seed: Annotated[int, typer.Option(help="The first of them.")] = 1,
    nodes: Annotated[int, typer.Option(help="Validators of each run.")] = 4,
    heights: Annotated[int, typer.Option(help="Blocks of each run.")] = 60,
    jobs: Jobs = "auto",
    runs_dir: Annotated[Path, typer.Option(help="Where the folder of a failed run is made.")] = Path("runs"),
    shrunk: Annotated[bool, typer.Option("--shrink/--no-shrink", help="Make the schedule that fails minimal.")] = True,
    compiled: Annotated[bool, typer.Option("--compiled", help="Compile first: for campaigns of thousands.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Run seeds in virtual time, each with faults of its own, until one violates an invariant.

    Exit code: 0 nothing was violated, 1 violated, 2 could not tell, 130 interrupted.
    """
    from testbed.runner.setup import make_runs_dir
    from testbed.simulation.fuzz import FuzzOptions, resolve_jobs
    from testbed.simulation.fuzz import fuzz as run_fuzz

    folder = None
    with told():
        if compiled:
            run_compiled(["-m", "testbed", *sys.argv[1:]])
        make_runs_dir(runs_dir)
        options = FuzzOptions(seeds, first_seed, nodes, heights, resolve_jobs(jobs))
        progress = Progress(is_silent=as_json)
        result = run_fuzz(options, lambda result: progress.show(describe_progress(result, seeds)))
        failed = result.failed
        size = describe_size(nodes, heights)
        if failed is not None:
            folder = _leave_behind(failed.seed, options, runs_dir, progress, is_shrunk=shrunk)
        again = _judge_sample(result, options)
        progress.end()
    command = f"testbed replay {failed.seed}{size}" if failed is not None else ""
    outcome = Outcome.PROVEN if failed is None and again.outcome is Outcome.PROVEN else Outcome.VIOLATED
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
            "determinism": again.line,
            "command": command,
            "folder": str(folder or ""),
        }
        typer.echo(json.dumps(facts, ensure_ascii=False))
    elif failed is not None:
        typer.echo(f"VIOLATED seed {failed.seed}: {failed.violation}\nviolated: {folder}\nagain: {command}")
    elif outcome is Outcome.VIOLATED:
        typer.echo(str(again))
    else:
        typer.echo(f"nothing violated: {describe_progress(result, seeds)}")
    raise typer.Exit(outcome.exit_code)


def _judge_sample(result: FuzzResult, options: FuzzOptions) -> Verdict:
    """Invariant 20: one of the seeds once more, in another interpreter."""
    from testbed.simulation.again import judge_again
    from testbed.simulation.drawing import make_schedule

    assert result.sample is not None, "at least one seed was run"
    return judge_again(make_schedule(result.sample.seed, options.nodes, options.heights), result.sample.trace_hash)


def replay_seed(subject: str, nodes: int, heights: int, zoom: Zoom, *, as_json: bool) -> int:
    """Run a seed, or a schedule's file, again; print its story, and return the exit code. Raises `SettingsError`."""
    from testbed.cli_replay import check_zoom
    from testbed.simulation.again import judge_again
    from testbed.simulation.failure import make_summary, run_and_tell

    schedule = find_schedule(subject, nodes, heights)
    check_zoom(zoom, [schedule.get_name(node) for node in range(schedule.nodes)])
    told = run_and_tell(schedule)
    again = judge_again(schedule, told.outcome.trace_hash)
    violation = told.outcome.violation
    is_same = again.outcome is Outcome.PROVEN
    outcome = Outcome.PROVEN if violation is None and is_same else Outcome.VIOLATED
    if as_json:
        summary = make_summary(told, {"replay": f"testbed replay {subject}"}, None)
        facts = {**summary, "verdict": outcome.value, "is_same_again": is_same, "story": told.teller.to_json(zoom)}
        typer.echo(json.dumps(facts, ensure_ascii=False, default=str))
        return outcome.exit_code
    typer.echo(describe_schedule(schedule))
    for line in told.teller.tell(zoom):
        typer.echo(line)
    if violation is not None:
        recent = told.teller.lines[-RECENT_LINES:]
        typer.echo(f"the last {len(recent)} events before the violation:")
        for item in recent:
            typer.echo(f"  {item}")
        typer.echo(f"VIOLATED {violation}")
    if not is_same:
        typer.echo(str(again))
    typer.echo(
        f"trace {told.outcome.trace_hash}, the same in two interpreters" if is_same else "run it again to see it differ"
    )
    typer.echo(f"{outcome.value}: {told.outcome.heights} heights, {told.outcome.steps} steps")
    return outcome.exit_code


def shrink(
    seed: Annotated[str, typer.Argument(metavar="SEED|FILE", help="A seed, or a schedule's file.")],
    *,
    nodes: Annotated[int, typer.Option(help="Validators of the run.")] = 4,
    heights: Annotated[int, typer.Option(help="Blocks of the run.")] = 60,
    out: Annotated[Path | None, typer.Option(help="The file to write; minimal-SEED.json where left out.")] = None,
) -> None:
    """Make the schedule of a seed minimal: what can be left out while the same invariant is violated.

    Prints the schedule and writes it to a file that replay takes. Exit code: 1 violated, 2 nothing is violated.
    """
    from testbed.simulation.schedule import format_schedule
    from testbed.simulation.shrink import shrink as make_minimal
    from testbed.simulation.world import run_schedule

    with told():
        schedule = find_schedule(seed, nodes, heights)
        outcome = run_schedule(schedule)
        if outcome.violation is None:
            raise SettingsError(
                f"{seed} violates nothing: there is nothing to shrink", remedy="give a seed that fuzz names"
            )
        progress = Progress(is_silent=False)
        minimal = make_minimal(
            schedule, outcome, lambda runs, best: progress.show(f"{runs} runs, {len(best.faults)} faults left")
        )
        progress.end()
        path = out or Path(f"minimal-{schedule.seed}.json")
        text = format_schedule(minimal.schedule)
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror}", field="out") from None
    typer.echo(text, nl=False)
    typer.echo(
        f"{len(schedule.faults)} faults became {len(minimal.schedule.faults)} in {minimal.runs} runs\n"
        f"VIOLATED {minimal.outcome.violation}\nagain: testbed replay {path}"
    )
    raise typer.Exit(Outcome.VIOLATED.exit_code)


def find_schedule(subject: str, nodes: int, heights: int) -> Schedule:
    """What a seed decides, or what a file says. Raises `SettingsError`."""
    from testbed.simulation.drawing import make_schedule
    from testbed.simulation.fuzz import FuzzOptions
    from testbed.simulation.schedule import load_schedule

    if not subject.removeprefix("-").isdigit():
        return load_schedule(Path(subject))
    FuzzOptions(nodes=nodes, heights=heights).check()
    return make_schedule(int(subject), nodes, heights)


def describe_size(nodes: int, heights: int) -> str:
    """The options that a seed needs besides, where they are not those that it has by itself."""
    return "" if (nodes, heights) == (4, 60) else f" --nodes {nodes} --heights {heights}"


def describe_schedule(schedule: Schedule) -> str:
    """A schedule in one line."""
    parts = [f"seed {schedule.seed}: {schedule.nodes} nodes, {schedule.heights} heights, {len(schedule.faults)} faults"]
    parts.append("real signatures" if schedule.has_real_signatures else "stand-in signatures")
    if schedule.powers:
        parts.append(f"powers {' '.join(map(str, schedule.powers))}")
    if schedule.has_wire:
        parts.append("every message encoded and decoded")
    if schedule.adversary_ms:
        parts.append(f"deciding votes held back for {schedule.adversary_ms} ms")
    if schedule.has_split_locks:
        parts.append("locks clash before phase 2")
    parts += [f"{schedule.get_name(traitor.node)} lies ({traitor.behaviour})" for traitor in schedule.traitors]
    if schedule.broken:
        how = "mute" if schedule.is_broken_mute else "down"
        parts.append(f"{' '.join(map(schedule.get_name, schedule.broken))} {how} in phase 2")
    return ", ".join(parts)


def _leave_behind(seed: int, options: FuzzOptions, runs_dir: Path, progress: Progress, *, is_shrunk: bool) -> Path:
    """Run a seed that fails again, with its story, and write everything into a folder."""
    from testbed.simulation.drawing import make_schedule
    from testbed.simulation.failure import run_and_tell, write_failure
    from testbed.simulation.shrink import shrink as make_minimal

    told = run_and_tell(make_schedule(seed, options.nodes, options.heights))
    minimal = None
    if is_shrunk and told.outcome.violation is not None:
        shrunk = make_minimal(
            told.schedule,
            told.outcome,
            lambda runs, best: progress.show(f"seed {seed} fails; {runs} runs, {len(best.faults)} faults left"),
            SHRINK_RUNS,
        )
        minimal = shrunk.schedule
    size = describe_size(options.nodes, options.heights)
    commands = {"replay": f"testbed replay {seed}{size}", "shrink": f"testbed shrink {seed}{size}"}
    return write_failure(runs_dir, told, commands, minimal, datetime.datetime.now(datetime.UTC))


def describe_progress(result: FuzzResult, seeds: int) -> str:
    """How far it is and how fast it goes, in one line."""
    seconds = max(result.seconds, 0.001)
    return (
        f"{result.seeds} of {seeds} seeds, {result.heights} heights, {result.faults_touched} faults that touched"
        f" something, {result.acknowledged} transactions; {60 * result.seeds / seconds:.0f} seeds/min,"
        f" {result.heights / seconds:.0f} heights/s"
    )
