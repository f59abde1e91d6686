"""control_down: the tailnet's control server, and the relay in it, are stopped. Undone by starting it again."""

from __future__ import annotations

from testbed.backends.base import CONTROL, MESH
from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import Firewall, find_subnet, make_guard
from testbed.faults.sidecars import describe_state, get_identity, read_status
from testbed.needs import CONTAINERS, TAILNET


class ControlDown(Fault):
    """Who is in stays in: the nodes' keys and addresses need no control server, nor do their direct paths."""

    kind = "control_down"
    removes_power = False
    needs = frozenset({CONTAINERS, TAILNET})
    fixed_target = CONTROL
    _guards: tuple[Firewall, ...] = ()
    _missed_by: tuple[str, ...] = ()

    def apply(self) -> None:
        containers = self.cluster.containers
        if not containers.is_up(CONTROL, "service"):
            raise NotApplied(f"{CONTROL} was not running")
        members = (*self.cluster.node_ids, MESH)
        for member in members:
            get_identity(containers, member)
        subnet = find_subnet(containers, members[0])
        self._guards = tuple(make_guard(containers, member, subnet) for member in members)
        for guard in self._guards:
            guard.insert()
        containers.act(CONTROL, "service", "stop")

    def verify(self) -> str:
        if self.cluster.containers.is_up(CONTROL, "service"):
            raise NotApplied(f"{CONTROL} still runs")
        nodes = self.cluster.node_ids
        self.require(
            lambda: all(self._is_connected(node) is False for node in nodes),
            f"every sidecar to miss {CONTROL}",
            f"{CONTROL} does not run, and some sidecar does not miss it",
        )
        self._missed_by = nodes
        return f"{CONTROL} does not run; the sidecars of {', '.join(nodes)} say that they have lost it"

    def undo(self) -> None:
        containers, nodes = self.cluster.containers, self.cluster.node_ids
        containers.act(CONTROL, "service", "start")
        self.require(
            lambda: all(self._is_connected(node) is True for node in nodes),
            f"every sidecar to have {CONTROL} again",
            lambda: "; ".join(describe_state(containers, node) for node in nodes if not self._is_connected(node)),
        )
        for guard in self._guards:
            guard.remove()

    def describe_effect(self) -> str:
        return f"{len(self._missed_by)} sidecars lost their control server" if self._missed_by else ""

    def _is_connected(self, node: str) -> bool | None:
        """Whether a sidecar has its control server, as it says itself; None where it says nothing."""
        status = read_status(self.cluster.containers, node)
        return status.self_node.is_online if status is not None and status.self_node is not None else None
