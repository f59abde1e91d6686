"""A net of machines some of which lie."""

from __future__ import annotations

from tana.crypto.keys import verify
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input
from tana.node.machine import MachineConfig
from testbed.invariants.accountability import Accountability
from testbed.invariants.agreement import Agreement
from testbed.trace import Begin, Trace
from tests.node.machine_net import MachineNet, NetNode


class TraitorNet(MachineNet):
    """`hooks` by the node's index; every node without one is correct."""

    def __init__(self, count: int, hooks: dict[int, Hooks], config: MachineConfig | None = None) -> None:
        self.hooks = hooks
        super().__init__(count, config=config)

    def _boot(self, node: NetNode) -> None:
        if node.index in self.hooks:
            beginning = Beginning(self.genesis, node.machine, node.key, verify, (), (0, 0, 0), "")
            self.hooks[node.index].on_begin(beginning)
        super()._boot(node)

    def give(self, node: NetNode, input: Input) -> None:
        if not node.is_up:
            return
        effects = node.machine.step(input, self.now_ms)
        if node.index in self.hooks:
            effects = self.hooks[node.index].on_step(input, self.now_ms, effects)
        for effect in effects:
            self._perform(node, effect)

    @property
    def correct(self) -> list[NetNode]:
        return [node for node in self.nodes if node.index not in self.hooks]

    def correct_hashes_at(self, height: int) -> set[bytes]:
        return {node.chain[height - 1][0].hash for node in self.correct if len(node.chain) >= height}


class TracedTraitorNet(TraitorNet):
    """The same with a trace, which knows who lies: what its invariants say of a fork."""

    def __init__(self, count: int, hooks: dict[int, Hooks]) -> None:
        self.trace = Trace([Agreement(), Accountability()], is_virtual=True)
        super().__init__(count, hooks)

    def _boot(self, node: NetNode) -> None:
        ledger = node.machine.ledger
        begin = Begin(
            key=node.key.public_key,
            incarnation=1,
            height=ledger.height,
            validators=ledger.validators,
            sign_floor=(0, 0, 0),
            is_correct=node.index not in self.hooks,
            chain_id=ledger.chain_id,
            state_root=ledger.state_root,
            block_hash=ledger.block_hash,
            genesis=self.genesis,
        )
        self.trace.begin(f"validator-{node.index}", self.now_ms, begin)
        super()._boot(node)

    def give(self, node: NetNode, input: Input) -> None:
        if not node.is_up:
            return
        effects = node.machine.step(input, self.now_ms)
        self.trace.step(f"validator-{node.index}", self.now_ms, input, effects)
        if node.index in self.hooks:
            effects = self.hooks[node.index].on_step(input, self.now_ms, effects)
        for effect in effects:
            self._perform(node, effect)
