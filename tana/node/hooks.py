"""Where a testbed can watch a real node, make it lie, fall silent or lose its clock. Production has none of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tana.crypto.keys import Signer, Verifier
from tana.ledger.ledger import Ledger
from tana.node.effects import Effect, LogRecord
from tana.node.inputs import Input
from tana.node.machine import Machine
from tana.types.genesis import Genesis


@dataclass(frozen=True)
class Beginning:
    """What a machine is made from, besides its ledger: enough to make the very same one again.

    `signer` is the node's key whether or not the machine may sign with it; `abstain_reason` says why it may not.
    """

    genesis: Genesis
    machine: Machine
    signer: Signer
    verifier: Verifier
    records: Sequence[LogRecord]
    sign_floor: tuple[int, int, int]
    abstain_reason: str


class Hooks:
    """What a node does of its own accord; a subclass in the testbed overrides it."""

    def now_ms(self) -> int:
        """The wall clock, in ms since 1970."""
        return time.time_ns() // 1_000_000

    def may_send_heartbeat(self) -> bool:
        """Whether a heartbeat may leave now."""
        return True

    def get_route(self, address: tuple[str, int]) -> tuple[str, int]:
        """Where to dial a peer that says that it listens at this address."""
        return address

    def wrap_ledger(self, ledger: Ledger) -> Ledger:
        """The ledger that the machine uses."""
        return ledger

    def on_begin(self, beginning: Beginning) -> None:
        """The machine is made and has not taken a step."""

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        """One step of the machine: what it was told, when, and what it wants. Returns the effects to perform."""
        return effects


NO_HOOKS = Hooks()
