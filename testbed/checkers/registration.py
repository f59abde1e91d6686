"""Registration: a node is pending until the sovereign approves it, gets nothing before, and forgeries are refused."""

from __future__ import annotations

from testbed.checkers.base import Checker
from testbed.history import Event


class Registration(Checker):
    name = "registration"
    steps = frozenset({"refuse_unapproved", "refuse_forged_approval", "refuse_outsider"})

    def __init__(self) -> None:
        super().__init__()
        self._approved: set[str] = set()
        self._pending: set[str] = set()
        self._active: set[str] = set()
        self._refusals: dict[str, int | str] = {}
        self._not_shown: dict[str, str] = {}

    def on_approval(self, event: Event) -> None:
        self._approved.add(event.data["target"])

    def on_mesh_nodes(self, event: Event) -> None:
        for node in event.data["nodes"]:
            node_id, status = node["id"], node["status"]
            if status == "pending":
                self._pending.add(node_id)
                continue
            if node_id not in self._approved:
                self.violate(f"{node_id} is {status} on the mesh and the sovereign has not approved it")
            elif node_id not in self._pending:
                self.violate(f"{node_id} is {status} on the mesh and was never pending")
            self._active.add(node_id)

    def on_topology(self, event: Event) -> None:
        for node in event.data["nodes"]:
            if node["id"] not in self._approved:
                self.violate(f"{node['id']} is in the mesh's topology and the sovereign has not approved it")

    def on_block(self, event: Event) -> None:
        if event.node not in self._approved:
            self.violate(
                f"{event.node} at height {event.data['height']}: it has a block and the sovereign has not approved it"
            )

    def on_refusal(self, event: Event) -> None:
        what, status, wanted = event.data["what"], event.data["status"], event.data["wanted"]
        if status not in wanted:
            words = " or ".join(str(number) for number in wanted)
            self.violate(f"{event.node} answered {what} with {status} ≠ {words}")
        self._refusals[what] = status

    def on_not_shown(self, event: Event) -> None:
        self._not_shown[event.data["what"]] = event.data["why"]

    def find_missing(self) -> str:
        if not self._refusals:
            return "nothing that must be refused was tried"
        waiting = [node for node in self.node_ids if node not in self._pending or node not in self._active]
        return f"{', '.join(waiting)} was not seen to go from pending to active" if waiting else ""

    def summarize(self) -> str:
        self.facts = {
            "refusals": dict(self._refusals),
            "approved": sorted(self._approved),
            "not_shown": dict(self._not_shown),
        }
        tail = "".join(f"; not shown: {what} ({why})" for what, why in self._not_shown.items())
        words = f"{len(self._refusals)} kinds of trespass refused{tail}"
        return f"{len(self._approved)} pending, then active by approval; {words}"
