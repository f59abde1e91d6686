"""Twins: one key in two nodes, and every way to split the network round by round (LibraBFT Twins, arXiv:2004.10617).

A scenario says which of four validators has a twin and, for each of the first rounds, which nodes hear each other. Both
twins are correct machines that do not know of each other; together they equivocate in every way that the partitions
allow. A round's split is healed some time after somebody has come to that round: for without a quorum of votes, for
whatever, nobody leaves it. No scenario may break safety, and after the heal every correct validator must go on. The
rotation of proposers is fixed, so which validator has the twin decides whether a leader is split.

Scenarios are numbered: number 0 up to `count_scenarios` are all there are for so many rounds and groups, in one order.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tana.crypto.keys import KeyPair
from tana.node.effects import Commit, Effect
from tana.node.inputs import Input
from tana.node.machine import MachineConfig
from tana.types.genesis import Genesis, GenesisCurrency, GenesisParameters, GenesisValidator
from tana.types.messages import PeerMessage
from testbed.invariants import make_invariants
from testbed.plan import make_key
from testbed.simulation.clock import Clock
from testbed.simulation.disk import Disk
from testbed.simulation.network import Endpoint, Network
from testbed.simulation.node import Identity, SimulatedNode
from testbed.simulation.scheduler import Scheduler
from testbed.simulation.signing import StandInKey, verify_stand_in
from testbed.trace import Begin, Trace

BEGIN_MS = 1_750_000_000_000
NODES = 4
GOAL_HEIGHT = 4
"""Everybody must come so far; partitions are over at height 1."""
LIMIT_MS = 60_000
SPLIT_MS = 700
"""How long a round is split: longer than all its timeouts together."""
CONFIG = MachineConfig(
    propose_timeout_ms=200,
    prevote_timeout_ms=100,
    precommit_timeout_ms=100,
    timeout_delta_ms=50,
    empty_block_interval_ms=10,
    announce_interval_ms=100,
    sync_timeout_ms=200,
)

Groups = tuple[int, ...]
"""For each node (the twin last) the number of its group: nodes of one group hear each other."""


@dataclass(frozen=True)
class TwinsScenario:
    """Who has a twin, and who hears whom in each of the first rounds."""

    twinned: int
    rounds: tuple[Groups, ...]

    def describe(self) -> str:
        names = [*(f"validator-{number + 1}" for number in range(NODES)), f"validator-{self.twinned + 1}'"]
        splits = []
        for round, groups in enumerate(self.rounds):
            members = [
                " ".join(name for name, group in zip(names, groups, strict=True) if group == chosen)
                for chosen in range(max(groups) + 1)
            ]
            splits.append(f"round {round}: {' | '.join(members)}")
        return f"validator-{self.twinned + 1} has a twin; {'; '.join(splits)}"


@dataclass(frozen=True)
class TwinsOutcome:
    """How a scenario ended; `violation` is empty where all is well."""

    number: int
    violation: str
    is_split: bool
    """Whether the twins ever said different things: a scenario in which they did not says little."""


@functools.cache
def list_partitions(groups_max: int) -> tuple[Groups, ...]:
    """Every way to divide the nodes and the twin into at most so many groups, each once."""
    found: list[Groups] = [(0,)]
    for _ in range(NODES):
        # Restricted growth: the next node joins a group that there is, or opens the next one.
        found = [(*groups, group) for groups in found for group in range(min(max(groups) + 2, groups_max))]
    return tuple(found)


def count_scenarios(rounds: int, groups_max: int) -> int:
    """How many scenarios there are."""
    return int(NODES * len(list_partitions(groups_max)) ** rounds)


def make_scenario(number: int, rounds: int, groups_max: int) -> TwinsScenario:
    """The scenario of a number."""
    partitions = list_partitions(groups_max)
    number, twinned = divmod(number, NODES)
    chosen: list[Groups] = []
    for _ in range(rounds):
        number, index = divmod(number, len(partitions))
        chosen.append(partitions[index])
    assert number == 0, "no such scenario"
    return TwinsScenario(twinned, tuple(chosen))


def draw_number(seed: int, rounds: int, groups_max: int) -> int:
    """The number of a random scenario: for more rounds than can be gone through one by one."""
    return random.Random(f"twins/{seed}").randrange(count_scenarios(rounds, groups_max))


@functools.cache
def make_chain() -> tuple[tuple[KeyPair, ...], Genesis]:
    """The keys of the validators, in the order in which they propose at first, and their genesis."""
    keys = sorted((make_key(0, f"twins/{number}") for number in range(NODES)), key=lambda key: key.public_key)
    genesis = Genesis(
        version=1,
        createdAt=BEGIN_MS - 1,
        sovereign=make_key(0, "sovereign").public_text,
        currencies=(GenesisCurrency("USD", 2),),
        validators=tuple(
            GenesisValidator(f"validator-{number + 1}", key.public_text, 1) for number, key in enumerate(keys)
        ),
        accounts=(),
        parameters=GenesisParameters(),
    )
    return tuple(keys), genesis


class _TwinNetwork(Network):
    """Links by node, not by key: what is sent to the twins' key comes to both, if their groups hear the sender."""

    def __init__(self, scheduler: Scheduler, rounds: Sequence[Groups]) -> None:
        super().__init__(scheduler, "twins", has_wire=False)
        self._rounds = rounds
        self._clock = scheduler
        self._members: list[SimulatedNode] = []
        self._places: dict[str, int] = {}
        self._entered_ms: dict[int, int] = {}
        """When a message of a round was sent first."""

    def join(self, endpoint: Endpoint) -> None:
        assert isinstance(endpoint, SimulatedNode)
        self._places[endpoint.name] = len(self._members)
        self._members.append(endpoint)
        for other in self._members:
            if other.key != endpoint.key:
                self._clock.call_after(1, endpoint.on_connected, other.key)
                self._clock.call_after(1, other.on_connected, endpoint.key)

    def broadcast(self, source: Endpoint, message: PeerMessage) -> None:
        self._spread(source, message, self._members)

    def send(self, source: Endpoint, peer: bytes, message: PeerMessage) -> None:
        self._spread(source, message, [target for target in self._members if target.key == peer])

    def _spread(self, source: Endpoint, message: PeerMessage, targets: Sequence[SimulatedNode]) -> None:
        assert isinstance(source, SimulatedNode)
        core = source.machine.core
        groups = self._find_groups(max(core.round, 0)) if core.height == 1 else None
        for target in targets:
            if target.key == source.key:
                continue
            if groups is None or groups[self._places[source.name]] == groups[self._places[target.name]]:
                self._clock.call_after(1, target.on_message, source.key, message)

    def _find_groups(self, round: int) -> Groups | None:
        """Who hears whom in a round at this moment, None where all do."""
        now_ms = self._clock.now_ms
        since_ms = now_ms - self._entered_ms.setdefault(round, now_ms)
        return self._rounds[round] if round < len(self._rounds) and since_ms < SPLIT_MS else None


class TwinsWorld:
    """Four validators and a twin at work on one scenario."""

    def __init__(self, scenario: TwinsScenario) -> None:
        self.scenario = scenario
        self.violation = ""
        self.is_split = False
        self._scheduler = Scheduler(BEGIN_MS)
        self._network = _TwinNetwork(self._scheduler, scenario.rounds)
        self._trace = Trace(make_invariants(), verify_stand_in, is_virtual=True)
        keys, self._genesis = make_chain()
        correct = (number for number in range(NODES) if number != scenario.twinned)
        self._heights = dict.fromkeys((f"validator-{number + 1}" for number in correct), 0)
        self._nodes: list[SimulatedNode] = []
        for number in (*range(NODES), scenario.twinned):
            is_twin = len(self._nodes) == NODES
            name = f"validator-{number + 1}{chr(39) if is_twin else ''}"
            node = SimulatedNode(
                Identity(name, StandInKey(keys[number].public_key), verify_stand_in),
                Disk(),
                CONFIG,
                scheduler=self._scheduler,
                # The twin's clock differs, so that both of them never build the same block.
                clock=Clock(self._scheduler, offset_ms=3 if is_twin else 0),
                network=self._network,
                watcher=self,
            )
            self._nodes.append(node)

    def run(self) -> None:
        """Up to the first violation, or until every correct validator has gone on."""
        for node in self._nodes:
            node.begin(self._genesis)
        self._scheduler.run_until(BEGIN_MS + LIMIT_MS)
        if not self.violation and min(self._heights.values()) < GOAL_HEIGHT:
            heights = ", ".join(f"{name} {height}" for name, height in self._heights.items())
            self.violation = f"not everybody went on within {LIMIT_MS} ms: heights {heights}"

    # ------------------------------------------------------------------ Watcher

    def on_begin(self, node: SimulatedNode) -> None:
        ledger = node.machine.ledger
        begin = Begin(
            key=node.key,
            incarnation=1,
            height=ledger.height,
            validators=ledger.validators,
            sign_floor=(0, 0, 0),
            is_correct=node.name in self._heights,
            chain_id=ledger.chain_id,
            state_root=ledger.state_root,
            block_hash=ledger.block_hash,
            genesis=self._genesis,
        )
        self._trace.begin(node.name, self._scheduler.now_ms - BEGIN_MS, begin)

    def on_step(self, node: SimulatedNode, input: Input, effects: Sequence[Effect]) -> None:
        self._trace.step(node.name, self._scheduler.now_ms - BEGIN_MS, input, effects)
        if self._trace.violation is not None and not self.violation:
            self.violation = str(self._trace.violation)
            self._scheduler.stop()

    def on_commit(self, node: SimulatedNode, commit: Commit) -> None:
        if node.name in self._heights:
            self._heights[node.name] = commit.block.height
            if min(self._heights.values()) >= GOAL_HEIGHT:
                self._scheduler.stop()

    def on_report(self, node: SimulatedNode, name: str, fields: Mapping[str, object]) -> None:
        if name == "equivocation":
            self.is_split = True
        if name == "halted" and node.name in self._heights and not self.violation:
            self.violation = f"{node.name} will not go on: {fields['reason']}"
            self._scheduler.stop()

    def on_dropped(self, node: SimulatedNode, transactions: Sequence[tuple[str, str]]) -> None:
        """There are no transactions."""

    def on_death(self, node: SimulatedNode, error: Exception | None) -> None:
        if not self.violation:
            self.violation = f"{node.name} ended by itself: {type(error).__name__}: {error}"
            self._scheduler.stop()


def run_scenario(number: int, scenario: TwinsScenario) -> TwinsOutcome:
    """Run one scenario to its end."""
    world = TwinsWorld(scenario)
    world.run()
    return TwinsOutcome(number, world.violation, world.is_split)
