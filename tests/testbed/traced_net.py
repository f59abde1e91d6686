"""Real machines in virtual time whose every step goes into a trace."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tana.node.inputs import Input
from tana.types.transaction import SignedTransaction
from testbed.invariants.base import Invariant
from testbed.trace import Begin, Trace
from tests.node.machine_net import MachineNet, NetNode


class TracedNet(MachineNet):
    """A `MachineNet` of correct validators that loses a part of its messages, and the trace of what they do."""

    def __init__(self, invariants: Sequence[Invariant], count: int = 4, loss: float = 0.0, seed: int = 1) -> None:
        self.trace = Trace(invariants)
        self._incarnations = [0] * count
        chance = random.Random(seed)
        super().__init__(count)
        self.is_lost = lambda sender, receiver, message: chance.random() < loss

    def _boot(self, node: NetNode) -> None:
        self._incarnations[node.index] += 1
        ledger = node.machine.ledger
        begin = Begin(
            key=node.key.public_key,
            incarnation=self._incarnations[node.index],
            height=ledger.height,
            validators=ledger.validators,
            sign_floor=node.machine.core._sign_floor,
            is_correct=True,
            chain_id=ledger.chain_id,
            state_root=ledger.state_root,
            block_hash=ledger.block_hash,
            genesis=self.genesis,
        )
        self.trace.begin(self.name(node.index), self.now_ms, begin)
        super()._boot(node)

    def name(self, index: int) -> str:
        return f"validator-{index}"

    def give(self, node: NetNode, input: Input) -> None:
        if not node.is_up:
            return
        effects = node.machine.step(input, self.now_ms)
        self.trace.step(self.name(node.index), self.now_ms, input, effects)
        for effect in effects:
            self._perform(node, effect)

    def submit(self, index: int, *transactions: SignedTransaction) -> object:  # type: ignore[override]
        for transaction in transactions:
            self.trace.submitted(self.now_ms, transaction)
        return super().submit(index, *transactions)

    def stop(self, index: int) -> None:
        super().stop(index)
        self.trace.end(self.name(index), self.now_ms, "killed")
