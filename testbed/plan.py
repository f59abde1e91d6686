"""The plan of a run: keys from the seed, ports, and the timeline of its faults."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tana.crypto.keys import KeyPair
from testbed.ports import Ports
from testbed.scenario import Scenario
from testbed.steps import Byzantine
from testbed.timeline import FaultWindow, make_timeline


@dataclass(frozen=True)
class NodePlan:
    """One validator: its keys, its power, and the ports it listens on."""

    node_id: str
    key: KeyPair
    service_keys: dict[str, KeyPair]
    power: int
    ports: Ports


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
        make_timeline(scenario.node_ids, scenario.get_powers(), scenario.steps),
        tuple(node_id for node_id in scenario.node_ids if node_id in traitors),
    )


def make_key(seed: int, label: str) -> KeyPair:
    """A key pair that only the seed and the label decide. For testbeds: such a key protects nothing."""
    return KeyPair.from_seed(hashlib.sha256(f"tana/testbed/{seed}/{label}".encode()).digest())
