"""inside: the nodes' journals are replayed, and the invariants judge what happened inside of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tana.node.machine import Machine
from tana.types.messages import PRECOMMIT, PREVOTE, VOTE_NAMES
from testbed.invariants.accountability import Accountability
from testbed.invariants.facts import Violation
from testbed.replay import Replay, Run, load_run
from testbed.story import StoryTeller
from testbed.verdict import Verdict

EVENTS_BEFORE, EVENTS_AFTER = 15, 5
"""What a failed run shows of the story around the first violation."""


@dataclass(frozen=True)
class Inside:
    """What the journals tell: verdicts, where each node stood in the end, and the story around a violation."""

    verdicts: list[Verdict]
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    violation: dict[str, Any] | None = None
    faults: list[dict[str, Any]] = field(default_factory=list)
    """What was broken: when each phase was, in ms since the start, and at which heights."""


def judge_inside(folder: Path, *, is_complete: bool) -> Inside:
    """Replay the journals in a run's folder. A run without any beginning has nothing inside to judge."""
    run = load_run(folder)
    replay = Replay(run)
    teller = StoryTeller({node.key.public_key: name for name, node in replay.nodes.items()})
    replay.watchers.append(teller)
    replay.play()
    verdicts = replay.finish(is_complete=is_complete)
    nodes = {name: describe_machine(node.machine) for name, node in replay.nodes.items() if node.machine is not None}
    found = replay.trace.violation
    violation = None if found is None else describe_violation(found, teller)
    accountability = next(item for item in replay.trace.invariants if isinstance(item, Accountability))
    if violation is not None and not accountability.find_missing():
        violation["named"] = accountability.summarize()
    return Inside(verdicts, nodes, violation, list_faults(run))


def describe_violation(violation: Violation, teller: StoryTeller) -> dict[str, Any]:
    """The first invariant violated: its two facts, and the story around that moment."""
    return {
        "invariant": violation.number,
        "name": violation.name,
        "line": violation.line,
        "at_ms": violation.at_ms,
        "node": violation.node,
        "facts": violation.facts,
        "story": list_around(teller, violation.at_ms),
    }


def list_faults(run: Run) -> list[dict[str, Any]]:
    """The windows of the faults in the order in which they were asked for."""
    windows: list[dict[str, Any]] = []
    for event in run.events:
        if event["kind"] != "fault":
            continue
        if event["phase"] == "asked":
            windows.append({"fault": event["fault"], "target": event["target"]})
        phase = {"at_ms": event["at_ms"], "heights": event["heights"], "evidence": event["evidence"]}
        windows[-1][event["phase"]] = phase
    return windows


def list_around(teller: StoryTeller, at_ms: int) -> list[str]:
    """The lines of the story before and after a moment."""
    before = [line for line in teller.lines if line.at_ms <= at_ms][-EVENTS_BEFORE:]
    after = [line for line in teller.lines if line.at_ms > at_ms][:EVENTS_AFTER]
    return [str(line) for line in (*before, *after)]


def describe_machine(machine: Machine) -> dict[str, Any]:
    """Where a node stood at its last step: height, round, step, lock and valid value, votes held, who is missing."""
    core, status = machine.core, machine.status()
    names = {item.public_key: item.node_id for item in core.validators.validators}
    held = {}
    for round in core.votes.rounds():
        for kind in (PREVOTE, PRECOMMIT):
            tally = core.votes.get(round, kind)
            voters = {
                names[key]: [(vote.block_hash or b"").hex()[:8] or "nil" for vote in tally.get(key)]
                for key in names
                if tally.get(key)
            }
            if voters:
                held[f"round {round} {VOTE_NAMES[kind]}"] = voters
    return {
        "state": status.state,
        "reason": status.reason,
        "height": status.height,
        "deciding_height": status.deciding_height,
        "round": status.round,
        "step": status.step,
        "locked_round": core.locked_round,
        "locked_block": (core.locked_hash or b"").hex(),
        "valid_round": core.valid_round,
        "valid_block": (core.valid_hash or b"").hex(),
        "votes": held,
        "missing": list(status.missing),
        "step_power": status.step_power,
        "quorum_power": status.quorum_power,
    }
