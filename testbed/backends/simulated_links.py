"""Links of the simulation as faults of scenarios act on them: by members' names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from testbed.backends.base import MESH, Pair
from testbed.simulation.network import Network


class SimulatedLinks:
    """See `Cuts` and `Links` in `testbed.backends.base`.

    No message of the network asks the mesh: whoever does looks here whether it may.
    """

    unit = "messages"

    def __init__(self, network: Network, keys: Mapping[str, bytes]) -> None:
        self._network = network
        self._keys = keys
        self._added_ms = 0
        """How much longer than usual a message may take."""
        self._delayed = self._sent = 0
        """As of the last change of that: messages delayed, and sent."""
        self._mesh_cuts: Counter[Pair] = Counter()
        self._mesh_cut = 0
        """Questions that did not pass."""

    def cut(self, pairs: Sequence[Pair]) -> None:
        self._mesh_cuts.update(pair for pair in pairs if MESH in pair)
        self._network.cut_links(self._list_keys(pairs))

    def heal(self, pairs: Sequence[Pair]) -> None:
        self._mesh_cuts.subtract(pair for pair in pairs if MESH in pair)
        self._network.heal_links(self._list_keys(pairs))

    def carries(self, pair: Pair) -> bool:
        if MESH in pair:
            return not self._mesh_cuts[pair]
        return not self._network.is_cut(self._keys[pair[0]], self._keys[pair[1]])

    def count_cut(self) -> int:
        return self._network.cut + self._mesh_cut

    def reset(self, pairs: Sequence[Pair]) -> int:
        return self._network.reset_links(self._list_keys(pairs))

    def limit(self, bytes_per_second: int) -> None:
        self._note_delayed()
        self._network.conditions.bytes_per_second = bytes_per_second

    def may_ask_mesh(self, node: str) -> bool:
        """Whether a node's question to the mesh, and the answer, pass now."""
        may_ask = self.carries((node, MESH)) and self.carries((MESH, node))
        self._mesh_cut += not may_ask
        return may_ask

    def change_rate(self, kind: str, by: float) -> None:
        self._network.change_rate(kind, by)

    def change_delay(self, least_by_ms: int, most_by_ms: int) -> None:
        self._note_delayed()
        self._added_ms += most_by_ms
        self._network.conditions.delay_ms_min += least_by_ms
        self._network.conditions.delay_ms_max += most_by_ms

    def count(self, what: str) -> int:
        network = self._network
        counts = {
            "sent": network.sent,
            "lost": network.lost,
            "duplicated": network.duplicated,
            "reordered": network.reordered,
            "delayed": self._delayed + (network.sent - self._sent if self._is_slow() else 0),
        }
        return counts[what]

    def _is_slow(self) -> bool:
        """Whether every message takes longer than usual."""
        return bool(self._added_ms or self._network.conditions.bytes_per_second)

    def _note_delayed(self) -> None:
        self._delayed, self._sent = self.count("delayed"), self._network.sent

    def _list_keys(self, pairs: Sequence[Pair]) -> list[tuple[bytes, bytes]]:
        return [(self._keys[one], self._keys[other]) for one, other in pairs if MESH not in (one, other)]
