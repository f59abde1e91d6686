"""Heartbeats: each approved validator is active by its own heartbeats; one that is stopped goes offline and returns."""

from __future__ import annotations

from typing import Any

from testbed.checkers.base import Checker
from testbed.history import Event


class Heartbeats(Checker):
    name = "heartbeats"
    steps = frozenset({"heartbeats"})

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, dict[str, Any]] = {}
        self._stopped: dict[str, str] = {}
        """Nodes whose heartbeat a fault has stopped: applied → offline → undone → back."""
        self._approved: set[str] = set()

    def on_approval(self, event: Event) -> None:
        self._approved.add(event.data["target"])

    def on_mesh_nodes(self, event: Event) -> None:
        for row in event.data["nodes"]:
            node, status = row["id"], row["status"]
            self._rows[node] = row
            phase = self._stopped.get(node)
            if phase == "applied" and status == "offline":
                self._stopped[node] = "offline"
            elif phase == "undone" and status == "active":
                self._stopped[node] = "back"

    def on_fault(self, event: Event) -> None:
        if event.data["fault"] != "heartbeat_stopped":
            return
        node, phase = event.data["target"], event.data["phase"]
        if phase == "applied":
            self._stopped[node] = "offline" if self._rows.get(node, {}).get("status") == "offline" else "applied"
        elif phase == "undone":
            if self._stopped.get(node) == "applied":
                self.violate(f"{node} stayed active on the mesh although its heartbeat had stopped")
            self._stopped[node] = "undone"

    def find_missing(self) -> str:
        if not self._approved:
            return "no validator was approved"
        for node in sorted(self._approved):
            row = self._rows.get(node)
            if row is None:
                return f"the mesh did not list {node}"
            if complaint := describe_missing_heartbeat(row):
                self.violate(complaint)
            elif row["status"] != "active":
                self.violate(f"{node} is {row['status']} on the mesh in the end ≠ active")
            if self._stopped.get(node, "back") != "back":
                self.violate(f"{node} did not return to active after its heartbeat was back")
        return ""

    def summarize(self) -> str:
        self.facts = {"active": sorted(self._approved), "stopped_and_back": sorted(self._stopped)}
        tail = f"; {', '.join(sorted(self._stopped))} went offline and came back" if self._stopped else ""
        return f"{len(self._approved)} active by heartbeat{tail}"


def describe_missing_heartbeat(row: dict[str, Any]) -> str:
    """A line for a node that has sent no heartbeat since its approval, as the mesh sees it; else empty."""
    heartbeat, approved = row.get("last_heartbeat"), row.get("approved_at")
    if heartbeat is not None and (approved is None or heartbeat >= approved):
        return ""
    last = "never" if heartbeat is None else f"{approved - heartbeat} ms before it"
    return f"{row['id']} has sent no heartbeat since approval (mesh says status {row['status']}, last heartbeat {last})"
