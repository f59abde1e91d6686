"""policy_denied: the control server's policy lets a member reach nobody, nor be reached. Undone by one that does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from tana.types.errors import TanaError, Unavailable
from testbed.backends.base import CONTROL, MESH, Containers
from testbed.commands import ask_inside, run_checked
from testbed.faults.base import Fault, NotApplied
from testbed.faults.firewall import Firewall, find_subnet, make_guard
from testbed.faults.sidecars import get_identity, read_status
from testbed.needs import CONTAINERS, TAILNET

_POLICY_URL = "https://headscale:8443/api/v1/policy"
_EVERYBODY: dict[str, Any] = {"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}


class PolicyDenied(Fault):
    kind = "policy_denied"
    removes_power = True
    needs = frozenset({CONTAINERS, TAILNET})
    _policy: Policy
    _guards: tuple[Firewall, ...] = ()
    _height_before = -1

    def apply(self) -> None:
        containers = self.cluster.containers
        self._height_before = self.get_height_before()
        ips = {member: get_identity(containers, member).ip for member in self._members}
        subnet = find_subnet(containers, self.node)
        # Without a way on the tailnet, packets for it would take the default gateway.
        self._guards = tuple(make_guard(containers, member, subnet) for member in self._members)
        for guard in self._guards:
            guard.insert()
        self._policy = Policy(containers)
        self._set(lambda: self._policy.allow_only(ip for member, ip in ips.items() if member != self.node))

    def verify(self) -> str:
        self.require(
            lambda: not self._count_known(self.node),
            f"{self.node} to know nobody on the tailnet",
            f"{self.node} still knows {self._count_known(self.node)} others on the tailnet, against the policy",
        )
        others = [name for name in self._members if name != self.node]
        self.require(
            lambda: all(self._count_known(name) == len(others) - 1 for name in others),
            f"nobody to know {self.node} on the tailnet",
            f"somebody still knows {self.node} on the tailnet, against the policy",
        )
        return f"{self.node} knows nobody on the tailnet, and its {len(others)} others only each other"

    def undo(self) -> None:
        self._set(self._policy.allow_everybody)
        self.require(
            lambda: all(self._count_known(name) == len(self._members) - 1 for name in self._members),
            "everybody to know everybody on the tailnet again",
            f"{self.node} knows {self._count_known(self.node)} others on the tailnet after the policy lets everybody",
        )
        for guard in self._guards:
            guard.remove()

    def describe_effect(self) -> str:
        return f"a chain at height {self._height_before} lost a voter to the policy" if self._height_before > 0 else ""

    @property
    def _members(self) -> tuple[str, ...]:
        return (MESH, *self.cluster.node_ids)

    def _count_known(self, member: str) -> int:
        """How many others a member's Tailscale knows; -1 where it does not answer."""
        status = read_status(self.cluster.containers, member)
        return -1 if status is None else sum(status.find_peer(name) is not None for name in self._members)

    def _set(self, change: Callable[[], None]) -> None:
        try:
            change()
        except TanaError as error:
            raise NotApplied(f"the policy cannot be set: {error.message}") from None


class Policy:
    """The control server's rules of who may reach whom. It begins without any, which is: everybody everybody."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._token = ""
        self._authority = ""

    def allow_everybody(self) -> None:
        self._set(_EVERYBODY)

    def allow_only(self, ips: Iterable[str]) -> None:
        """These may reach one another; nobody else reaches or is reached by anybody."""
        wanted = sorted(ips)
        self._set({"acls": [{"action": "accept", "src": wanted, "dst": [f"{ip}:*" for ip in wanted]}]})

    def _set(self, policy: dict[str, Any]) -> None:
        # Its own command reads a policy from a file, and its image has nothing to write one with.
        if not self._token:
            arguments = ["headscale", "apikeys", "create", "--expiration", "1h"]
            self._token = run_checked(self._containers, CONTROL, "service", arguments).split()[-1]
            self._authority = run_checked(self._containers, MESH, "sidecar", ["cat", "/bootstrap/ca.crt"])
        body = {"policy": json.dumps(policy)}
        status, answer = ask_inside(self._containers, MESH, "PUT", _POLICY_URL, body, self._token, self._authority)
        if status != 200:
            raise Unavailable(f"the control server answered a policy with {status}: {answer}")
