"""What a fault is: three verbs, and what it did. Faults never name a backend; they act through the cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol


class Cluster(Protocol):
    """What faults may do to a cluster and ask it."""

    def kill(self, node: str) -> None: ...

    def restart(self, node: str) -> None: ...

    def is_running(self, node: str) -> bool: ...

    def control(self, node: str, key: str, value: str) -> None: ...

    def get_health(self, node: str) -> dict[str, Any] | None:
        """The last `/health` answer of a validator, None where it gives none now."""

    def get_mesh_row(self, node: str) -> dict[str, Any] | None:
        """The mesh's last row about a node."""

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_ms: int) -> bool:
        """Watch the cluster until the condition holds; False where it does not in time."""


class NotApplied(Exception):
    """The fault could not be applied, or nothing shows that it was. The message says why."""


class Fault:
    """Base of all faults, on one node. Instances keep what they saw between the verbs."""

    kind: ClassVar[str]
    removes_power: ClassVar[bool]
    """Whether the node cannot vote meanwhile: the quorum arithmetic of the plan counts on it."""

    def __init__(self, cluster: Cluster, node: str, timeout_ms: int) -> None:
        self.cluster = cluster
        self.node = node
        self.timeout_ms = timeout_ms

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
