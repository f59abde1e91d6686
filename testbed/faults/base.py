"""What a fault is: three verbs, and what it did. Faults never name a backend; they act through the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from testbed.backends.base import Answer, Containers, Cuts, Links, Losses
from testbed.damage import Harm


class Cluster(Protocol):
    """What faults may do to a cluster and ask it."""

    @property
    def node_ids(self) -> tuple[str, ...]:
        """Every validator."""

    @property
    def containers(self) -> Containers:
        """For faults that need containers only: on other backends it is a bug to ask."""

    @property
    def cuts(self) -> Cuts:
        """For faults that cut links: in scenarios without one it is a bug to ask."""

    @property
    def losses(self) -> Losses:
        """For faults that lose messages or packets: in scenarios without one it is a bug to ask."""

    @property
    def links(self) -> Links:
        """For faults of links: on backends that have none of their own it is a bug to ask."""

    def kill(self, node: str) -> None: ...

    def stop(self, node: str) -> None: ...

    def restart(self, node: str) -> None: ...

    def pause(self, node: str) -> None: ...

    def resume(self, node: str) -> None: ...

    def is_running(self, node: str) -> bool: ...

    def control(self, node: str, key: str, value: str) -> None: ...

    def damage(self, node: str, how: str) -> Harm:
        """Damage the data of a validator that does not run."""

    def recover(self, node: str, height: int, round: int) -> str:
        """`tana validator recover` on a validator that does not run; what it says. Raises `Conflict` with the code
        `slot_too_low`."""

    def ask(self, target: str, port: str, method: str, path: str, body: Any = None) -> Answer: ...

    def get_health(self, node: str) -> dict[str, Any] | None:
        """The last `/health` answer of a validator, None where it gives none now."""

    def get_mesh_row(self, node: str) -> dict[str, Any] | None:
        """The mesh's last row about a node."""

    def list_logged(self, node: str, event: str) -> list[dict[str, Any]]:
        """What a node has logged by that name, as far as it goes into the history."""

    def get_signed_height(self, node: str) -> int:
        """The highest block whose certificate holds a precommit of this validator, 0 for none."""

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_ms: int) -> bool:
        """Watch the cluster until the condition holds; False where it does not in time."""


class NotApplied(Exception):
    """The fault could not be applied, or nothing shows that it was. The message says why."""


class Fault:
    """Base of all faults, on one node. Instances keep what they saw between the verbs."""

    kind: ClassVar[str]
    removes_power: ClassVar[bool]
    """Whether the node cannot vote meanwhile: the quorum arithmetic of the plan counts on it."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the backend must have for it, see `testbed.needs`."""
    fixed_target: ClassVar[str] = ""
    """The member that it always acts on; empty where the scenario names a validator."""
    takes_peers: ClassVar[bool] = False
    """Whether it is between the node and some others that the scenario may name."""

    def __init__(self, cluster: Cluster, node: str, timeout_ms: int, peers: Sequence[str] = ()) -> None:
        self.cluster = cluster
        self.node = node
        self.timeout_ms = timeout_ms
        self.peers = tuple(peers)

    @classmethod
    def find_broken(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> frozenset[str]:
        """The validators that cannot vote while it is on."""
        return frozenset({node} if cls.removes_power else ())

    @classmethod
    def is_void(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> bool:
        """Whether there is nothing among these validators that it could touch."""
        return False

    def apply(self) -> None:
        """Do it. Raises `NotApplied` where it cannot be done."""
        raise NotImplementedError

    def verify(self) -> str:
        """What shows, from outside, that it is on. Raises `NotApplied` where nothing does."""
        raise NotImplementedError

    def undo(self) -> None:
        """Take it away and wait until the node itself is well. Raises `NotApplied` where it does not come back."""
        raise NotImplementedError

    def describe_effect(self) -> str:
        """What it touched while it was on; empty where it touched nothing, which proves nothing."""
        raise NotImplementedError

    # ------------------------------------------------------------------ for faults

    def require(self, condition: Callable[[], bool], what: str, complaint: str | Callable[[], str]) -> None:
        """Wait until the condition holds. Raises `NotApplied` with the complaint where it does not in time."""
        if not self.cluster.wait_until(condition, what, self.timeout_ms):
            raise NotApplied(complaint if isinstance(complaint, str) else complaint())

    def get_height_before(self) -> int:
        """The height of a node that is well. Raises `NotApplied` where it does not run or answer."""
        health = self.cluster.get_health(self.node)
        if health is None or not self.cluster.is_running(self.node):
            raise NotApplied(f"{self.node} was not running")
        height: int = health["height"]
        return height

    def wait_connected(self) -> None:
        """Wait until the node has a connection to every other that runs. Raises `NotApplied`."""
        self.get_height_before()

        def count_missing() -> int:
            others = sum(self.cluster.is_running(node) for node in self.cluster.node_ids if node != self.node)
            return others - int((self.cluster.get_health(self.node) or {}).get("peers", 0))

        self.require(
            lambda: count_missing() <= 0,
            f"{self.node} to be connected to all others",
            lambda: f"{self.node} lacks connections to {count_missing()} others: there is too little to end",
        )

    def wait_answer(self, after: str) -> None:
        """Wait until the node answers again after something. Raises `NotApplied`."""
        self.require(
            lambda: self.cluster.get_health(self.node) is not None,
            f"{self.node} to answer after {after}",
            f"{self.node} does not answer after {after}",
        )
