"""key_expired: the control server lets a node's key expire, which cuts it off at once. Undone by lifting the expiry."""

from __future__ import annotations

from tana.node.tailscale import RUNNING, TailnetNode
from tana.types.errors import TanaError
from testbed.backends.base import CONTROL
from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import Firewall, find_subnet, make_guard
from testbed.faults.sidecars import describe_state, get_identity, is_same_again, read_status
from testbed.needs import CONTAINERS, TAILNET


class KeyExpired(Fault):
    """Seen with headscale 0.29.2 and tailscale 1.102.3: the sidecar is told within a second, leaves the tailnet, and
    offers new keys again and again. An auth key does not help a tagged node (`tailscale up --force-reauth` hangs,
    headscale#3371): once the control server lifts the expiry, the sidecar comes back by itself, as the same node.
    """

    kind = "key_expired"
    removes_power = True
    needs = frozenset({CONTAINERS, TAILNET})
    _identity: TailnetNode
    _guard: Firewall
    _seen = ""

    def apply(self) -> None:
        containers = self.cluster.containers
        self.get_height_before()
        self._identity = get_identity(containers, self.node)
        self._guard = make_guard(containers, self.node, find_subnet(containers, self.node))
        self._guard.insert()
        containers.excuse(self.node, "sidecar")
        self._expire()

    def verify(self) -> str:
        containers = self.cluster.containers

        def is_out() -> bool:
            status = read_status(containers, self.node)
            return status is not None and status.state != RUNNING

        self.require(
            is_out, f"{self.node} to leave the tailnet", f"{self.node} is still on the tailnet with an expired key"
        )
        self._seen = describe_state(containers, self.node)
        return self._seen

    def undo(self) -> None:
        containers = self.cluster.containers
        self._expire("--disable")
        self.require(
            lambda: is_same_again(containers, self.node, self._identity),
            f"{self.node} to be on the tailnet again",
            lambda: f"{self.node} does not come back to the tailnet: {describe_state(containers, self.node)}",
        )
        containers.watch(self.node, "sidecar")
        self._guard.remove()

    def describe_effect(self) -> str:
        return f"{self.node} had to leave the tailnet" if self._seen else ""

    def _expire(self, *options: str) -> None:
        command = ["headscale", "nodes", "expire", "--identifier", self._identity.id, *options]
        try:
            code, output = self.cluster.containers.run(CONTROL, "service", command)
        except TanaError as error:
            raise NotApplied(f"{CONTROL} cannot be asked: {error.message}") from None
        if code:
            raise NotApplied(f"{' '.join(command)} ended with {code}: {output.strip()[-300:]}")
