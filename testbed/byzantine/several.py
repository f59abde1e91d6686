"""Several behaviours in one node: what one of them says, the next may change again."""

from __future__ import annotations

from collections.abc import Sequence

from tana.node.effects import Effect
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input
from testbed.byzantine.base import Behaviour


class Several(Hooks):
    """Behaviours in their order."""

    def __init__(self, behaviours: Sequence[Behaviour]) -> None:
        self._behaviours = tuple(behaviours)

    def on_begin(self, beginning: Beginning) -> None:
        for behaviour in self._behaviours:
            behaviour.on_begin(beginning)

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        for behaviour in self._behaviours:
            effects = behaviour.on_step(input, now_ms, effects)
        return effects
