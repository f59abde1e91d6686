"""Vote before flush: a vote leaves while its record in the log may still be lost."""

from tana.node import machine
from tana.node.effects import Broadcast, Effect
from testbed.planting import Patch

CAUGHT_BY = ("double_sign",)


def plant(patch: Patch) -> None:
    order = machine.order_effects

    def order_wrongly(effects: list[Effect]) -> list[Effect]:
        # Nothing crosses a commit: within one step, words come first and the log after them.
        return (
            order(effects) if any(type(item).__name__ == "Commit" for item in effects) else _speak_first(order(effects))
        )

    patch.set(machine, "order_effects", order_wrongly)


def _speak_first(effects: list[Effect]) -> list[Effect]:
    words: list[Effect] = [effect for effect in effects if isinstance(effect, Broadcast)]
    return words + [effect for effect in effects if not isinstance(effect, Broadcast)]
