"""Topology: in the end the mesh lists every validator, with its own key and all its services, and nobody else."""

from __future__ import annotations

from typing import Any

from testbed.checkers.base import Checker, join_names, shorten
from testbed.history import Event

SERVICES = frozenset(("ledger", "t4", "consensus"))


class Topology(Checker):
    name = "topology"
    steps = frozenset({"converge"})

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[str, str] = {}
        self._last: list[dict[str, Any]] | None = None
        self._has_converged = self._is_final = False

    def on_run(self, event: Event) -> None:
        self._keys = {validator["node_id"]: validator["public_key"] for validator in event.data["validators"]}

    def on_convergence(self, event: Event) -> None:
        self._has_converged = True

    def on_topology(self, event: Event) -> None:
        self._last, self._is_final = event.data["nodes"], self._has_converged
        for node in self._last:
            key = self._keys.get(node["id"])
            if key is None:
                self.violate(f"mesh lists {node['id']}, which is not among {join_names(self._keys)}")
            elif node["public_key"] != key:
                self.violate(f"mesh lists {node['id']} with key {shorten(node['public_key'][8:])} ≠ {shorten(key[8:])}")

    def find_missing(self) -> str:
        if self._last is None or not self._is_final:
            return "the mesh was not asked for its topology after convergence"
        listed = {node["id"]: frozenset(node["services"]) for node in self._last}
        for node_id in self._keys:
            if node_id not in listed:
                self.violate(f"{node_id} is not in the mesh's topology, which lists {join_names(sorted(listed))}")
            elif missing := SERVICES - listed[node_id]:
                self.violate(f"{node_id} is in the mesh's topology without its services {join_names(sorted(missing))}")
        return ""

    def summarize(self) -> str:
        self.facts = {"nodes": sorted(self._keys)}
        return f"{len(self._keys)} validators with {len(SERVICES)} services each"
