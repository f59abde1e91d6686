"""tailscale_down: `tailscale down` on a member: it leaves the tailnet and keeps its key. Undone by `tailscale up`."""

from __future__ import annotations

from tana.node.tailscale import TailnetNode
from tana.types.errors import TanaError
from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import Firewall, find_subnet, make_guard
from testbed.faults.sidecars import describe_state, get_identity, is_same_again, is_steady, read_status
from testbed.needs import CONTAINERS, TAILNET

STOPPED = "Stopped"


class TailscaleDown(Fault):
    """Seen with tailscale 1.102.3: the image's own supervisor ends when its daemon is told to go down, so that the
    sidecar starts again, remembers that it is down, and stays so; every minute it starts once more."""

    kind = "tailscale_down"
    removes_power = True
    needs = frozenset({CONTAINERS, TAILNET})
    _identity: TailnetNode
    _guard: Firewall
    _height_before = -1

    def apply(self) -> None:
        containers = self.cluster.containers
        self._height_before = self.get_height_before()
        self._identity = get_identity(containers, self.node)
        self._guard = make_guard(containers, self.node, find_subnet(containers, self.node))
        self._guard.insert()
        containers.excuse(self.node, "sidecar")
        self._tell("down")

    def verify(self) -> str:
        containers = self.cluster.containers

        def is_down() -> bool:
            status = read_status(containers, self.node)
            # Told up again before its supervisor has noticed, the sidecar would end in the middle of that.
            return status is not None and status.state == STOPPED and not is_steady(containers, self.node)

        self.require(is_down, f"{self.node} to be down", f"{self.node} is on the tailnet after `tailscale down`")
        return describe_state(containers, self.node)

    def undo(self) -> None:
        containers = self.cluster.containers

        def is_up() -> bool:
            if is_same_again(containers, self.node, self._identity):
                return True
            # Once may not be enough: the sidecar may be starting again just now.
            self._tell("up")
            return False

        self.require(
            is_up,
            f"{self.node} to be on the tailnet again",
            lambda: f"{self.node} does not come back to the tailnet: {describe_state(containers, self.node)}",
        )
        containers.watch(self.node, "sidecar")
        self._guard.remove()

    def describe_effect(self) -> str:
        return f"a chain at height {self._height_before} lost a voter's tailnet" if self._height_before > 0 else ""

    def _tell(self, word: str) -> None:
        try:
            self.cluster.containers.run(self.node, "sidecar", ["tailscale", word])
        except TanaError as error:
            # The command may end with the container around it: what counts is what the daemon says afterwards.
            if not self.cluster.containers.is_up(self.node, "anchor"):
                raise NotApplied(f"`tailscale {word}` cannot be run on {self.node}: {error.message}") from None
