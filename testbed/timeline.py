"""The fault timeline of a scenario: what each of its moments must do to the chain, by quorum arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from testbed.byzantine import ALL_BEHAVIOURS
from testbed.faults import FAULTS
from testbed.steps import Byzantine, Perturb, ReplaceKey, Step

MUST, MUST_NOT, MAY = "must", "must_not", "may"


@dataclass(frozen=True)
class FaultWindow:
    """One fault of the timeline, and whether the chain must or must not progress while it is on."""

    step: int
    fault: str
    node: str
    progress: str
    why: str
    broken: tuple[str, ...] = ()
    """The validators that cannot vote meanwhile, or do not."""
    guilty: tuple[str, ...] = ()
    """The validators against whom evidence must be committed meanwhile."""


def make_timeline(
    node_ids: Sequence[str], node_powers: Sequence[int], steps: Sequence[Step]
) -> tuple[FaultWindow, ...]:
    """What each fault and lie must do to the chain. Whoever is punished has no power from then on."""
    powers = dict(zip(node_ids, node_powers, strict=True))
    doubtful: dict[str, int] = {}
    """Those that may have been punished: whoever lied while nothing was certain."""
    timeline = []
    for index, step in enumerate(steps):
        if isinstance(step, Perturb):
            fault = FAULTS[step.fault]
            broken = fault.find_broken(step.node, step.peers, node_ids)
            progress, why = _expect(powers, doubtful, broken)
            target = step.node or fault.fixed_target
            timeline.append(FaultWindow(index, step.fault, target, progress, why, tuple(sorted(broken))))
        elif isinstance(step, ReplaceKey):
            powers[step.node], powers[step.by] = 0, powers[step.node]
        elif isinstance(step, Byzantine):
            window = _make_lie_window(index, step, powers, doubtful)
            timeline.append(window)
            if window.guilty:
                powers |= dict.fromkeys(window.guilty, 0)
            elif ALL_BEHAVIOURS[step.behaviour].is_punished:
                doubtful |= dict.fromkeys(step.nodes, 0)
    return tuple(timeline)


def _expect(
    powers: dict[str, int], doubtful: dict[str, int], broken: Collection[str], traitors: Collection[str] = ()
) -> tuple[str, str]:
    """What holds whether the doubtful have been punished or not."""
    progress, why = compute_expectation(powers, broken, traitors)
    if progress == compute_expectation(powers | doubtful, broken, traitors)[0]:
        return progress, why
    return MAY, f"{why}, unless {', '.join(sorted(doubtful))} lost its power"


def _make_lie_window(index: int, step: Byzantine, powers: dict[str, int], doubtful: dict[str, int]) -> FaultWindow:
    behaviour = ALL_BEHAVIOURS[step.behaviour]
    # Who withholds now and then only may be as good as there.
    is_broken = behaviour.is_withholding and step.trigger.is_certain
    broken = tuple(sorted(step.nodes)) if is_broken else ()
    progress, why = _expect(powers, doubtful, broken, step.nodes)
    is_proven = behaviour.is_punished and progress == MUST
    guilty = tuple(sorted(node for node in step.nodes if powers[node])) if is_proven else ()
    return FaultWindow(index, step.behaviour, ", ".join(step.nodes), progress, why, broken, guilty)


def compute_expectation(
    powers: Mapping[str, int], broken: Collection[str], traitors: Collection[str] = ()
) -> tuple[str, str]:
    """Whether the chain must, must not or may progress, and why in words.

    `broken` nodes cannot vote or do not; `traitors` vote, but nothing may be expected of them.
    """
    total = sum(powers.values())
    left = sum(power for node, power in powers.items() if node not in broken)
    correct = sum(power for node, power in powers.items() if node not in broken and node not in traitors)
    relation = f"power {left} of {total} is left"
    if 3 * left <= 2 * total:
        return MUST_NOT, f"{relation}, not more than two thirds"
    if 3 * correct > 2 * total:
        return (
            MUST,
            f"{relation}, more than two thirds" if correct == left else f"power {correct} of {total} is correct",
        )
    return MAY, f"{relation}, but only {correct} of it is correct"
