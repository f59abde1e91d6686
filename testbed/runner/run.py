"""A whole run: setup, the scenario's steps, check, cleanup, report."""

from __future__ import annotations

import datetime
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tana.types.errors import TanaError
from testbed.checkers import make_checkers
from testbed.cluster import Cluster
from testbed.history import History
from testbed.needs import get_offers
from testbed.plan import Plan
from testbed.runner.check import add_verdicts, check
from testbed.runner.cleanup import cleanup, remove_data
from testbed.runner.inside import Inside, judge_inside
from testbed.runner.load import load
from testbed.runner.membership import replace_key
from testbed.runner.perturb import betray, perturb
from testbed.runner.report import make_summary, write_report
from testbed.runner.settle import converge, heartbeats, progress
from testbed.runner.setup import link_latest, make_run_folder, setup
from testbed.runner.start import (
    approve,
    make_genesis,
    refuse_forged_approval,
    refuse_outsider,
    refuse_unapproved,
    register,
    start,
)
from testbed.runner.tailnet import STEPS as TAILNET_STEPS
from testbed.scenario import load_scenario
from testbed.screen import Screen, make_screen
from testbed.steps import Byzantine, Converge, Load, Perturb, Step, describe_step, get_step_name
from testbed.verdict import Outcome, RunEnded, Verdict, judge
from testbed.workload import Workload

EXIT_INTERRUPTED = 130
SIMPLE_STEPS: dict[str, Callable[[Cluster, Any], None]] = {
    "start": start,
    "register": register,
    "refuse_unapproved": refuse_unapproved,
    "refuse_forged_approval": refuse_forged_approval,
    "refuse_outsider": refuse_outsider,
    "approve": approve,
    "genesis": make_genesis,
    "progress": progress,
    "heartbeats": heartbeats,
    "replace_key": replace_key,
    **TAILNET_STEPS,
}


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    scenario_path: Path
    backend: str
    seed: int = 1
    runs_dir: Path = Path("runs")
    keep_data: bool = False
    is_silent: bool = False
    network: str = ""
    """`tailnet` or `bridge`, for the backend docker."""


@dataclass
class Result:
    """A finished run."""

    outcome: Outcome
    verdicts: list[Verdict]
    summary: dict[str, Any]
    folder: Path
    is_interrupted: bool = False
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return EXIT_INTERRUPTED if self.is_interrupted else self.outcome.exit_code


def run(options: Options) -> Result:
    """Run a scenario. Raises `TanaError` where it could not even begin; every other end is in the result."""
    scenario = load_scenario(options.scenario_path, get_offers(options.backend, options.network))
    begun = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    folder = make_run_folder(options.runs_dir, scenario.name, begun)
    try:
        plan, backend = setup(scenario, options.backend, options.seed, folder, options.network)
    except BaseException:
        # Nothing has begun: there is nothing to report.
        shutil.rmtree(folder, ignore_errors=True)
        raise
    link_latest(folder)
    place = f"{options.backend} ({options.network})" if options.network else options.backend
    title = f"{scenario.name} on {place}, {scenario.validators} validators, seed {options.seed}"
    screen = make_screen(title, is_silent=options.is_silent)
    cluster = Cluster(plan, backend, make_checkers(), History(folder / "history.jsonl"), screen)
    steps: list[dict[str, Any]] = []
    ended, is_interrupted = None, False
    with interruptible():
        try:
            run_steps(cluster, screen, steps)
        except RunEnded as end:
            ended = end.verdict
        except KeyboardInterrupt:
            is_interrupted = True
            ended = Verdict("run", Outcome.COULD_NOT_TELL, "interrupted")
        except TanaError as error:
            ended = Verdict("run", Outcome.COULD_NOT_TELL, str(error))
        except Exception as error:
            (folder / "logs" / "testbed.log").write_text(traceback.format_exc(), "utf-8")
            ended = Verdict(
                "run", Outcome.COULD_NOT_TELL, f"the testbed itself failed: {error!r}, see logs/testbed.log"
            )
    verdicts = check(cluster.checkers, ended)
    with uninterruptible():
        unclean = None
        try:
            cleanup(cluster, folder)
        except TanaError as error:
            # What was found stands. What could not be ended is told beside it.
            unclean = Verdict("cleanup", Outcome.COULD_NOT_TELL, str(error))
        is_looked_into = unclean is None and not is_interrupted
        inside = look_inside(folder, is_complete=ended is None) if is_looked_into else Inside([])
        verdicts = add_verdicts(verdicts, inside.verdicts, has_ended_early=ended is not None)
        outcome = judge(verdicts)
        has_failed = outcome is not Outcome.PROVEN and not is_interrupted
        if unclean is not None:
            verdicts.insert(len(verdicts) if has_failed else 0, unclean)
            outcome = judge(verdicts)
        elif not (options.keep_data or has_failed):
            remove_data(folder)
        facts = {
            "scenario": scenario.name,
            "description": scenario.description,
            "backend": options.backend,
            "network": options.network,
            "validators": scenario.validators,
            "powers": list(scenario.get_powers()),
            "seed": options.seed,
            "command": describe_command(options),
            "replay_command": f"testbed replay {folder}",
            "begun": begun.isoformat(timespec="milliseconds"),
            "duration_ms": round((time.monotonic() - clock) * 1000),
            "steps": steps,
            "timeline": [
                {"fault": item.fault, "node": item.node, "progress": item.progress, "why": item.why}
                for item in plan.timeline
            ],
            "history": {"events": cluster.history.count, "sha256": cluster.history.compute_hash()},
        }
        summary = make_summary(cluster, verdicts, outcome, facts, inside)
        write_report(folder, summary, verdicts)
    return Result(outcome, verdicts, summary, folder, is_interrupted, steps)


def look_inside(folder: Path, *, is_complete: bool) -> Inside:
    """What the nodes' journals tell. Where they cannot be read, that is the verdict."""
    try:
        return judge_inside(folder, is_complete=is_complete)
    except TanaError as error:
        return Inside([Verdict("journals", Outcome.COULD_NOT_TELL, str(error))])
    except Exception as error:
        with (folder / "logs" / "testbed.log").open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        line = f"the testbed itself failed: {error!r}, see logs/testbed.log"
        return Inside([Verdict("journals", Outcome.COULD_NOT_TELL, line)])


def run_steps(cluster: Cluster, screen: Screen, steps: list[dict[str, Any]]) -> None:
    """The scenario's steps, one after the other."""
    record_run(cluster, cluster.plan)
    scenario = cluster.plan.scenario
    workload: Workload | None = None
    for index, step in enumerate(scenario.steps):
        words = describe_step(step)
        screen.begin_step(words, index + 1, len(scenario.steps))
        cluster.record("step", name=words, phase="begun")
        clock, cluster_ms = time.monotonic(), cluster.backend.now_ms()
        steps.append({"step": words, "is_done": False})
        workload = run_step(cluster, index, step, workload)
        cluster.record("step", name=words, phase="done")
        duration_ms = round((time.monotonic() - clock) * 1000)
        steps[-1] |= {"is_done": True, "wall_ms": duration_ms, "cluster_ms": cluster.backend.now_ms() - cluster_ms}
        screen.end_step(words, steps[-1]["cluster_ms"])


def run_step(cluster: Cluster, index: int, step: Step, workload: Workload | None) -> Workload | None:
    if isinstance(step, Load):
        return load(cluster, step)
    if isinstance(step, Perturb | Byzantine):
        window = next(window for window in cluster.plan.timeline if window.step == index)
        if isinstance(step, Byzantine):
            return betray(cluster, step, window) or workload
        perturb(cluster, step, window)
    elif isinstance(step, Converge):
        converge(cluster, step, workload)
    else:
        SIMPLE_STEPS[get_step_name(step)](cluster, step)
    return workload


def record_run(cluster: Cluster, plan: Plan) -> None:
    cluster.record(
        "run",
        scenario=plan.scenario.name,
        seed=plan.seed,
        start_ms=cluster.start_ms,
        is_virtual=cluster.backend.is_virtual,
        steps=[get_step_name(step) for step in plan.scenario.steps],
        traitors=list(plan.traitors),
        sovereign=plan.sovereign.public_text,
        validators=[
            {"node_id": node.node_id, "public_key": node.key.public_text, "power": node.power} for node in plan.nodes
        ],
    )


def describe_command(options: Options) -> str:
    """The command that runs this again."""
    network = f" --network {options.network}" if options.network else ""
    return f"testbed run {options.scenario_path} --backend {options.backend}{network} --seed {options.seed}"


@contextmanager
def interruptible() -> Iterator[None]:
    """While it lasts, being asked to end is the same as Ctrl-C, also where a shell that put us into the background
    had Ctrl-C ignored. Under nohup a hang-up stays ignored."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    with _signals(interrupt, numbers):
        yield


@contextmanager
def uninterruptible() -> Iterator[None]:
    """While it lasts, Ctrl-C is ignored: cleaning up takes a moment and must not be left half done."""
    with _signals(signal.SIG_IGN, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        yield


@contextmanager
def _signals(handler: Any, numbers: Sequence[signal.Signals]) -> Iterator[None]:
    try:
        before = [(number, signal.signal(number, handler)) for number in numbers]
    except ValueError:
        # Not the main thread (a test, a notebook): signals are not ours to handle.
        before = []
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)
