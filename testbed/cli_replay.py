"""`testbed replay RUN_FOLDER`: a run's journals are fed into the machine again, and its story is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from tana.types.errors import SettingsError
from testbed.replay import Replay, load_run
from testbed.runner.inside import list_around
from testbed.story import StoryTeller, Zoom
from testbed.verdict import Outcome, Verdict, judge


def replay_folder(folder: Path, zoom: Zoom, *, as_json: bool) -> int:
    """Replay a run's folder, print story and verdicts, and return the exit code. Raises `SettingsError`."""
    run = load_run(folder)
    if not run.journals:
        typer.echo(f"could not tell: {folder} has no journals")
        return Outcome.COULD_NOT_TELL.exit_code
    check_zoom(zoom, run.node_ids)
    replay = Replay(run)
    teller = StoryTeller({node.key.public_key: name for name, node in replay.nodes.items()})
    replay.watchers.append(teller)
    replay.play()
    verdicts = replay.finish()
    outcome = judge(verdicts)
    if as_json:
        typer.echo(json.dumps(make_json(replay, teller, zoom, verdicts, outcome), ensure_ascii=False))
    else:
        for line in teller.tell(zoom):
            typer.echo(line)
        violation = replay.trace.violation
        if violation is not None and not zoom.is_on:
            typer.echo(f"around {violation.at_ms} ms:")
            for line in list_around(teller, violation.at_ms):
                typer.echo(line)
        for line in format_replay(verdicts, outcome):
            typer.echo(line)
    return outcome.exit_code


def check_zoom(zoom: Zoom, node_ids: Sequence[str]) -> None:
    """Raises `SettingsError` that names the option, where there is nothing to look at."""
    if zoom.node and zoom.node not in node_ids:
        raise SettingsError(
            f"--node {zoom.node}: there is no such node", remedy=f"use one of {', '.join(node_ids)}", field="node"
        )
    if zoom.height < 0:
        raise SettingsError(f"--height is {zoom.height}", remedy="give a height from 1", field="height")


def make_json(
    replay: Replay, teller: StoryTeller, zoom: Zoom, verdicts: list[Verdict], outcome: Outcome
) -> dict[str, object]:
    divergence = replay.divergence
    return {
        "verdict": outcome.value,
        "steps": replay.steps,
        "divergence": None
        if divergence is None
        else {"node": divergence.node, "step": divergence.step, "at_ms": divergence.at_ms, "line": divergence.line},
        "checks": [{"check": item.check, "outcome": item.outcome.value, "line": item.line} for item in verdicts],
        "story": teller.to_json(zoom),
    }


def format_replay(verdicts: list[Verdict], outcome: Outcome) -> list[str]:
    """What came of it: whatever is not proven in full, and how many are."""
    lines = [str(item) for item in verdicts if item.outcome not in (Outcome.PROVEN, Outcome.NOT_ASKED)]
    journals = next(item for item in verdicts if item.check == "journals")
    if journals.outcome is Outcome.PROVEN:
        lines.append(f"replayed: {journals.line}")
    proven = sum(item.outcome is Outcome.PROVEN for item in verdicts) - (journals.outcome is Outcome.PROVEN)
    idle = sum(item.outcome is Outcome.NOT_ASKED for item in verdicts)
    lines.append(f"{outcome.value.replace('_', ' ')}: {proven} invariants hold, {idle} had nothing to judge")
    return lines
