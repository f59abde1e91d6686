"""The plan of a run: keys from the seed, ports, and what each moment of the fault timeline must do to the chain."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tana.crypto.keys import KeyPair
from tana.types.errors import SettingsError
from testbed.byzantine import ALL_BEHAVIOURS
from testbed.faults import FAULTS
from testbed.ports import Ports
from testbed.scenario import Scenario
from testbed.steps import Byzantine, Perturb, ReplaceKey

MUST, MUST_NOT, MAY = "must", "must_not", "may"


@dataclass(frozen=True)
class NodePlan:
    """One validator: its keys, its power, and the ports it listens on."""

    node_id: str
    key: KeyPair
    service_keys: dict[str, KeyPair]
    power: int
    ports: Ports


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


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before something starts."""

    scenario: Scenario
    seed: int
    sovereign: KeyPair
    outsider: KeyPair
    """Registers, is never approved, and signs the forged approvals."""
    nodes: tuple[NodePlan, ...]
    mesh_port: int
    timeline: tuple[FaultWindow, ...]
    traitors: tuple[str, ...] = ()
    """Validators that lie at some time: nothing that they answer is judged."""

    @property
    def correct_ids(self) -> tuple[str, ...]:
        return tuple(node_id for node_id in self.node_ids if node_id not in self.traitors)

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(node.node_id for node in self.nodes)

    def get_node(self, node_id: str) -> NodePlan:
        return next(node for node in self.nodes if node.node_id == node_id)


def make_plan(scenario: Scenario, seed: int, mesh_port: int, node_ports: Sequence[Ports]) -> Plan:
    """The plan of a scenario: the same scenario and seed give the same keys."""
    powers = scenario.get_powers()
    nodes = tuple(
        NodePlan(
            node_id,
            make_key(seed, f"node/{node_id}"),
            {service: make_key(seed, f"{service}/{node_id}") for service in ("ledger", "t4", "consensus")},
            power,
            ports,
        )
        for node_id, power, ports in zip(scenario.node_ids, powers, node_ports, strict=True)
    )
    traitors = {node for step in scenario.steps if isinstance(step, Byzantine) for node in step.nodes}
    return Plan(
        scenario,
        seed,
        make_key(seed, "sovereign"),
        make_key(seed, "outsider"),
        nodes,
        mesh_port,
        make_timeline(scenario),
        tuple(node_id for node_id in scenario.node_ids if node_id in traitors),
    )


def make_timeline(scenario: Scenario) -> tuple[FaultWindow, ...]:
    """What each fault and lie must do to the chain. Whoever is punished has no power from then on."""
    powers = dict(zip(scenario.node_ids, scenario.get_powers(), strict=True))
    doubtful: dict[str, int] = {}
    """Those that may have been punished: whoever lied while nothing was certain."""
    timeline = []
    for index, step in enumerate(scenario.steps):
        if isinstance(step, Perturb):
            fault = FAULTS[step.fault]
            broken = fault.find_broken(step.node, step.peers, scenario.node_ids)
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
    if step.transfers and progress != MUST:
        raise SettingsError(
            f"steps[{index}].transfers: they could not become final, as the chain {progress.replace('_', ' ')} progress"
            f" while {', '.join(step.nodes)} lie ({why})",
            remedy="leave them out, or let fewer lie",
            field=f"steps[{index}].transfers",
        )
    is_proven = behaviour.is_punished and progress == MUST
    guilty = tuple(sorted(node for node in step.nodes if powers[node])) if is_proven else ()
    return FaultWindow(index, step.behaviour, ", ".join(step.nodes), progress, why, broken, guilty)


def make_key(seed: int, label: str) -> KeyPair:
    """A key pair that only the seed and the label decide. For testbeds: such a key protects nothing."""
    return KeyPair.from_seed(hashlib.sha256(f"tana/testbed/{seed}/{label}".encode()).digest())


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
