"""What a failed simulated run leaves behind: a folder that says what happened, and how to see it happen again."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from testbed.backends.simulated_validator import format_time
from testbed.runner.report import get_versions, interleave_logs
from testbed.runner.setup import link_latest, make_run_folder
from testbed.simulation.cast import BEGIN_MS
from testbed.simulation.schedule import Schedule, format_schedule
from testbed.simulation.world import Outcome, World
from testbed.story import StoryTeller, Zoom

RECENT = 40
"""Lines of the story before the violation that the summary repeats."""


@dataclass
class Told:
    """A schedule that was run with somebody listening."""

    schedule: Schedule
    outcome: Outcome
    world: World
    teller: StoryTeller


def run_and_tell(schedule: Schedule) -> Told:
    """Run a schedule and write its story down."""
    world = World(schedule)
    teller = StoryTeller({identity.key: identity.name for identity in world.identities})
    world.listener = teller
    return Told(schedule, world.run(), world, teller)


def write_failure(
    runs_dir: Path, told: Told, commands: dict[str, str], minimal: Schedule | None, now: datetime.datetime
) -> Path:
    """The folder of a failed run. `commands` are what to type, by what it does. Raises `SettingsError`."""
    folder = make_run_folder(runs_dir, f"fuzz-{told.schedule.seed}", now)
    link_latest(folder)
    (folder / "schedule.json").write_text(format_schedule(told.schedule), "utf-8")
    if minimal is not None:
        (folder / "minimal.json").write_text(format_schedule(minimal), "utf-8")
    (folder / "story.txt").write_text("".join(f"{line}\n" for line in told.teller.tell(Zoom())), "utf-8")
    summary = json.dumps(make_summary(told, commands, minimal), indent=2, ensure_ascii=False, default=_describe)
    (folder / "summary.json").write_text(summary + "\n", "utf-8")
    _write_logs(folder / "logs", told)
    return folder


def make_summary(told: Told, commands: dict[str, str], minimal: Schedule | None) -> dict[str, Any]:
    """Everything that a reader of a failed run needs first."""
    schedule, outcome = told.schedule, told.outcome
    violation = outcome.violation
    return {
        "verdict": "proven" if violation is None else "violated",
        "first_line": str(violation) if violation is not None else "",
        "scenario": "fuzz",
        "backend": "simulation",
        "seed": schedule.seed,
        "validators": schedule.nodes,
        "powers": list(schedule.get_powers()),
        "command": commands["replay"],
        "commands": commands,
        "trace_hash": outcome.trace_hash,
        "virtual_ms": outcome.virtual_ms,
        "violation": None
        if violation is None
        else {
            "invariant": violation.number,
            "name": violation.name,
            "line": violation.line,
            "node": violation.node,
            "at_ms": violation.at_ms,
            "facts": dict(violation.facts),
        },
        "nodes": told.world.describe_nodes(),
        "faults": [
            {
                **msgspec.to_builtins(window.plan),
                "applied_ms": window.applied_ms,
                "undone_ms": window.undone_ms,
                "evidence": window.evidence,
            }
            for window in outcome.windows
        ],
        "minimal_faults": None if minimal is None else len(minimal.faults),
        "recent_events": [line.to_json() for line in told.teller.lines[-RECENT:]],
        "versions": get_versions(),
    }


def _write_logs(folder: Path, told: Told) -> None:
    """Every node's own lines, and all of them together."""
    for name in (*(identity.name for identity in told.world.identities), ""):
        lines = [
            json.dumps({"timestamp": format_time(BEGIN_MS + line.at_ms), "event": line.kind, **line.to_json()})
            for line in told.teller.lines
            if line.node == name
        ]
        (folder / f"{name or 'faults'}.log").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    interleave_logs(folder)


def _describe(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
