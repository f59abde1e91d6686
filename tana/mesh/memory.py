"""A store in memory, for simulation and tests: what it was given survives a mesh that is made anew over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from tana.mesh.records import Change, InsertGenesis, InsertNode, InsertSovereign, Snapshot, UpdateNode


class MeshStore(Protocol):
    """Where the mesh remembers. `write` returns once the changes are durable, all of them or none.

    Raises `StorageError` where it cannot; the mesh then forgets the request as if it had never come.
    """

    def load(self) -> Snapshot: ...

    def write(self, changes: Sequence[Change], last_event_id: int) -> None: ...

    def close(self) -> None: ...


class MemoryStore:
    """Keeps a `Snapshot`. Durable for as long as the object lives."""

    def __init__(self) -> None:
        self._snapshot = Snapshot()

    def load(self) -> Snapshot:
        return self._snapshot

    def write(self, changes: Sequence[Change], last_event_id: int) -> None:
        snapshot = self._snapshot
        for change in changes:
            match change:
                case InsertNode(node):
                    snapshot = replace(snapshot, nodes=(*snapshot.nodes, node))
                case UpdateNode(node):
                    snapshot = replace(
                        snapshot, nodes=tuple(node if old.id == node.id else old for old in snapshot.nodes)
                    )
                case InsertSovereign(sovereign):
                    snapshot = replace(snapshot, sovereigns=(*snapshot.sovereigns, sovereign))
                case InsertGenesis(signed):
                    snapshot = replace(snapshot, genesis=signed)
        self._snapshot = replace(snapshot, last_event_id=last_event_id)

    def close(self) -> None:
        """Nothing to close."""
