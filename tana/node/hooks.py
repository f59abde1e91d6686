"""Where a testbed can make a real node lie, fall silent or lose its clock. A validator in production has none of it."""

from __future__ import annotations

import time

from tana.ledger.ledger import Ledger
from tana.node.effects import Effect


class Hooks:
    """What a node does of its own accord; a subclass in the testbed overrides it."""

    def now_ms(self) -> int:
        """The wall clock, in ms since 1970."""
        return time.time_ns() // 1_000_000

    def may_send_heartbeat(self) -> bool:
        """Whether a heartbeat may leave now."""
        return True

    def wrap_ledger(self, ledger: Ledger) -> Ledger:
        """The ledger that the machine uses."""
        return ledger

    def on_effects(self, effects: list[Effect]) -> list[Effect]:
        """The effects of one step that are performed."""
        return effects


NO_HOOKS = Hooks()
