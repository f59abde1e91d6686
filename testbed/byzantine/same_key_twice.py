"""The same key in two nodes: a second machine with the same key runs beside the first. P, E

It is what an operator gets who starts a copy of a validator. Both machines are correct, each by itself, and hear the
same messages; their clocks differ by a little, so they build different blocks and sign both.
"""

from __future__ import annotations

from collections.abc import Sequence

from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Mempool
from tana.node.effects import Broadcast, Effect, Send, SetTimer
from tana.node.hooks import Beginning
from tana.node.inputs import Input, PeerConnected, Started, Submitted, Timer, TimerFired
from tana.node.machine import Machine
from tana.types.messages import BlockPart, Proposal, Vote
from testbed.byzantine.base import Behaviour

CLOCK_AHEAD_MS = 3
TIMERS = "twin/"
"""Timers of the second machine carry this before their kind: the first one does not know them and passes them over."""


class SameKeyTwice(Behaviour):
    """Runs a second node with the same key, which signs what it thinks best. P, E"""

    kind = "same_key_twice"
    is_punished = True

    def on_begin(self, beginning: Beginning) -> None:
        super().on_begin(beginning)
        first = beginning.machine.ledger
        ledger = Ledger(
            beginning.genesis,
            beginning.verifier,
            tree=first.tree,
            height=first.height,
            block_hash=first.block_hash,
            time_ms=first.time_ms,
        )
        self.twin = Machine(
            beginning.machine.config,
            ledger,
            Mempool(ledger),
            beginning.signer,
            beginning.verifier,
            own_key=beginning.signer.public_key,
        )

        self._has_started = False

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        changed = super().on_step(input, now_ms, effects)
        if not self._has_started:
            self._has_started = True
            facts: list[Input] = [Started(), *map(PeerConnected, self.peers)]
            for fact in facts:
                changed += self._step_twin(fact, now_ms + CLOCK_AHEAD_MS)
            if isinstance(input, Started | PeerConnected):
                return changed
        return changed + self._step_twin(input, now_ms + CLOCK_AHEAD_MS)

    def _step_twin(self, input: Input, now_ms: int) -> list[Effect]:
        match input:
            case TimerFired(timer):
                if not timer.kind.startswith(TIMERS):
                    return []
                own = Timer(timer.kind.removeprefix(TIMERS), timer.height, timer.round)
                return self._mute(self.twin.step(TimerFired(own), now_ms))
            case Submitted():
                return []  # Its clients are the first one's; it hears of their transactions from the peers.
        return self._mute(self.twin.step(input, now_ms))

    def _mute(self, effects: Sequence[Effect]) -> list[Effect]:
        """What leaves of the second machine's effects: its words while the trigger is on, and its timers."""
        said: list[Effect] = []
        for effect in effects:
            match effect:
                case SetTimer(timer, delay_ms):
                    said.append(SetTimer(Timer(TIMERS + timer.kind, timer.height, timer.round), delay_ms))
                case Broadcast(Vote() | Proposal() | BlockPart() as message) | Send(
                    _, Vote() | Proposal() | BlockPart() as message
                ) if self.is_on_for(message):
                    self.note_lie(message.height)
                    said.append(effect)
                case _:
                    pass
        queued, self.queued = self.queued, []
        return said + queued
