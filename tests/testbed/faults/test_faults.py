"""Faults against a cluster that does, or does not do, what it is told."""

from __future__ import annotations

import pytest

from testbed.backends.base import CONTROL
from testbed.faults import FAULTS, HeartbeatStopped, Kill
from testbed.faults.base import NotApplied
from testbed.faults.pause import Pause
from testbed.faults.restart import Restart
from testbed.faults.stop import Stop
from testbed.needs import CONNECTIONS, CUTS, LINKS, LOSSES
from tests.testbed.faults.fakes import NODE, ROW, FakeCluster

OF_LINKS = {CUTS, LOSSES, LINKS, CONNECTIONS}
KINDS = sorted(kind for kind, fault in FAULTS.items() if kind != "policy_denied" and not fault.needs & OF_LINKS)
"""Those that the fake can play; the others have tests of their own."""


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.mark.parametrize("kind", KINDS)
def test_apply_verify_undo(cluster: FakeCluster, kind: str) -> None:
    target = FAULTS[kind].fixed_target or NODE
    fault = FAULTS[kind](cluster, target, 1)
    fault.apply()
    assert target in fault.verify()
    assert fault.describe_effect()
    fault.undo()
    assert cluster.get_health(NODE) is not None
    assert cluster.row == ROW
    containers = cluster.containers
    assert not any((containers.down, containers.disconnected, containers.expired, containers.told_down))
    assert not containers.excused, "what ends from now on is nobody's wish"
    assert not any(containers.chains.values()), "no rule is left behind"


@pytest.mark.parametrize("kind", KINDS)
def test_invalid_nothing_is_obeyed(cluster: FakeCluster, kind: str) -> None:
    cluster.disobey()
    fault = FAULTS[kind](cluster, FAULTS[kind].fixed_target or NODE, 1)

    def try_it() -> None:
        fault.apply()
        fault.verify()

    with pytest.raises(NotApplied):
        try_it()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"restart", "sidecar_restarted", "torn_write", "data_wiped"}))
def test_invalid_not_undone(cluster: FakeCluster, kind: str) -> None:
    fault = FAULTS[kind](cluster, FAULTS[kind].fixed_target or NODE, 1)
    fault.apply()
    fault.verify()
    cluster.disobey()
    with pytest.raises(NotApplied):
        fault.undo()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"heartbeat_stopped", "control_down"}))
def test_invalid_node_does_not_run(cluster: FakeCluster, kind: str) -> None:
    cluster.is_up = False
    with pytest.raises(NotApplied, match="validator-1 was not running"):
        FAULTS[kind](cluster, NODE, 1).apply()


@pytest.mark.parametrize("kind", ["kill", "stop", "pause", "restart", "disconnect", "sidecar_stopped"])
def test_a_fault_before_the_first_block_touches_nothing(cluster: FakeCluster, kind: str) -> None:
    cluster.health = {"height": 0, "state": "validating"}
    fault = FAULTS[kind](cluster, NODE, 1)
    fault.apply()
    assert fault.describe_effect() == ""


def test_control_server_that_does_not_run(cluster: FakeCluster) -> None:
    cluster.containers.down.add((CONTROL, "service"))
    with pytest.raises(NotApplied, match="headscale was not running"):
        FAULTS["control_down"](cluster, CONTROL, 1).apply()


def test_kill_that_kills_nothing(cluster: FakeCluster) -> None:
    cluster.obeys = False
    fault = Kill(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(NotApplied, match="still answers after kill -9"):
        fault.verify()


def test_stop_that_stops_nothing(cluster: FakeCluster) -> None:
    cluster.obeys = False
    fault = Stop(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(NotApplied, match="still answers after being asked to end"):
        fault.verify()


def test_kill_from_which_the_node_does_not_return(cluster: FakeCluster) -> None:
    fault = Kill(cluster, NODE, 1)
    fault.apply()
    cluster.obeys = False
    with pytest.raises(NotApplied, match="does not answer after its restart"):
        fault.undo()


def test_restart_from_which_the_node_does_not_return(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "restart", lambda node: None)
    with pytest.raises(NotApplied, match="does not answer after its restart"):
        Restart(cluster, NODE, 1).apply()


def test_restart_takes_no_power_away() -> None:
    assert Stop.find_broken(NODE, (), [NODE]) == {NODE}
    assert Restart.find_broken(NODE, (), [NODE]) == frozenset()


def test_pause_of_a_node_that_still_answers(cluster: FakeCluster) -> None:
    cluster.obeys = False
    fault = Pause(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(NotApplied, match="still answers although it is paused"):
        fault.verify()


def test_heartbeat_of_a_node_that_is_not_active(cluster: FakeCluster) -> None:
    cluster.row = {"status": "pending", "last_heartbeat": None}
    with pytest.raises(NotApplied, match="mesh says pending"):
        HeartbeatStopped(cluster, NODE, 1).apply()


def test_heartbeat_that_goes_on(cluster: FakeCluster) -> None:
    cluster.obeys = False
    fault = HeartbeatStopped(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(NotApplied, match="still active on the mesh, last heartbeat 1"):
        fault.verify()


def test_heartbeat_that_does_not_come_back(cluster: FakeCluster) -> None:
    fault = HeartbeatStopped(cluster, NODE, 1)
    fault.apply()
    cluster.obeys = False
    with pytest.raises(NotApplied, match="stays offline"):
        fault.undo()
