"""half_open: a validator's connections end on its side alone; the others keep theirs, and hear no more of it."""

from __future__ import annotations

from testbed.faults.base import NotApplied
from testbed.faults.one_way import OneWay
from testbed.needs import CONNECTIONS, CUTS, LINKS


class HalfOpen(OneWay):
    """Cut first, so that nobody is told of the end. Once it is undone they learn of it, as they would from a host that
    is back and knows nothing of the connection."""

    kind = "half_open"
    needs = frozenset({CUTS, LINKS, CONNECTIONS})
    _resets = 0

    def apply(self) -> None:
        self.wait_connected()
        super().apply()
        self._resets = self.cluster.links.reset(self._pairs)

    def verify(self) -> str:
        if not self._resets:
            raise NotApplied(f"{self.node} had no connection that could end")
        return self.describe_effect()

    def describe_effect(self) -> str:
        return f"{self._resets} connections of {self.node} ended on its side alone" if self._resets else ""
