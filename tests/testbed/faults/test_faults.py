"""Faults against a cluster that does, or does not do, what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.faults import FAULTS, HeartbeatStopped, Kill
from testbed.faults.base import NotApplied


class FakeCluster:
    """A cluster of one node whose parts can be made not to obey."""

    def __init__(self) -> None:
        self.is_up = True
        self.health: dict[str, Any] | None = {"height": 7, "state": "validating"}
        self.row: dict[str, Any] | None = {"status": "active", "last_heartbeat": 1}
        self.obeys = True

    def kill(self, node: str) -> None:
        if self.obeys:
            self.is_up, self.health = False, None

    def restart(self, node: str) -> None:
        if self.obeys:
            self.is_up, self.health = True, {"height": 7, "state": "syncing"}

    def is_running(self, node: str) -> bool:
        return self.is_up

    def control(self, node: str, key: str, value: str) -> None:
        assert key == "heartbeat"
        if self.obeys and self.row is not None:
            self.row["status"] = "offline" if value == "off" else "active"

    def get_health(self, node: str) -> dict[str, Any] | None:
        return self.health

    def get_mesh_row(self, node: str) -> dict[str, Any] | None:
        return self.row

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_ms: int) -> bool:
        return condition()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_apply_verify_undo(cluster: FakeCluster, kind: str) -> None:
    fault = FAULTS[kind](cluster, "validator-1", 1)
    fault.apply()
    assert "validator-1" in fault.verify()
    assert fault.describe_effect()
    fault.undo()
    assert cluster.health is not None
    assert cluster.row is not None
    assert cluster.row["status"] == "active"


def test_kill_of_what_does_not_run(cluster: FakeCluster) -> None:
    cluster.is_up = False
    with pytest.raises(NotApplied, match="validator-1 was not running"):
        Kill(cluster, "validator-1", 1).apply()


def test_kill_that_kills_nothing(cluster: FakeCluster) -> None:
    cluster.obeys = False
    fault = Kill(cluster, "validator-1", 1)
    fault.apply()
    with pytest.raises(NotApplied, match="still answers"):
        fault.verify()


def test_kill_from_which_the_node_does_not_return(cluster: FakeCluster) -> None:
    fault = Kill(cluster, "validator-1", 1)
    fault.apply()
    cluster.obeys = False
    with pytest.raises(NotApplied, match="does not answer after its restart"):
        fault.undo()


def test_kill_before_the_first_block_touches_nothing(cluster: FakeCluster) -> None:
    cluster.health = {"height": 0, "state": "validating"}
    fault = Kill(cluster, "validator-1", 1)
    fault.apply()
    assert fault.describe_effect() == ""


def test_heartbeat_of_a_node_that_is_not_active(cluster: FakeCluster) -> None:
    cluster.row = {"status": "pending", "last_heartbeat": None}
    with pytest.raises(NotApplied, match="mesh says pending"):
        HeartbeatStopped(cluster, "validator-1", 1).apply()


def test_heartbeat_that_goes_on(cluster: FakeCluster) -> None:
    cluster.obeys = False
    fault = HeartbeatStopped(cluster, "validator-1", 1)
    fault.apply()
    with pytest.raises(NotApplied, match="still active on the mesh, last heartbeat 1"):
        fault.verify()


def test_heartbeat_that_does_not_come_back(cluster: FakeCluster) -> None:
    fault = HeartbeatStopped(cluster, "validator-1", 1)
    fault.apply()
    cluster.obeys = False
    with pytest.raises(NotApplied, match="stays offline"):
        fault.undo()
