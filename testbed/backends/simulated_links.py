"""Links of the simulation as faults of scenarios act on them: by validators' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from testbed.backends.base import Pair
from testbed.simulation.network import Network


class SimulatedLinks:
    """See `testbed.backends.base.Links`."""

    def __init__(self, network: Network, keys: Mapping[str, bytes]) -> None:
        self._network = network
        self._keys = keys
        self._added_ms = 0
        """How much longer than usual a message may take."""
        self._delayed = self._sent = 0
        """As of the last change of that: messages delayed, and sent."""

    def cut(self, pairs: Sequence[Pair]) -> None:
        self._network.cut_links([(self._keys[one], self._keys[other]) for one, other in pairs])

    def heal(self, pairs: Sequence[Pair]) -> None:
        self._network.heal_links([(self._keys[one], self._keys[other]) for one, other in pairs])

    def carries(self, pair: Pair) -> bool:
        return not self._network.is_cut(self._keys[pair[0]], self._keys[pair[1]])

    def change_rate(self, kind: str, by: float) -> None:
        self._network.change_rate(kind, by)

    def change_delay(self, least_by_ms: int, most_by_ms: int) -> None:
        self._delayed, self._sent = self.count("delayed"), self._network.sent
        self._added_ms += most_by_ms
        self._network.conditions.delay_ms_min += least_by_ms
        self._network.conditions.delay_ms_max += most_by_ms

    def count(self, what: str) -> int:
        network = self._network
        counts = {
            "sent": network.sent,
            "cut": network.cut,
            "lost": network.lost,
            "duplicated": network.duplicated,
            "reordered": network.reordered,
            "delayed": self._delayed + (network.sent - self._sent if self._added_ms else 0),
        }
        return counts[what]
