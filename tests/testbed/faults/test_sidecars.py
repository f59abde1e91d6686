"""sidecar_stopped, sidecar_restarted, key_expired, tailscale_down: off the tailnet, and back on it as the same node."""

from __future__ import annotations

import pytest

from testbed.faults.base import Fault, NotApplied
from testbed.faults.key_expired import KeyExpired
from testbed.faults.sidecar_restarted import SidecarRestarted
from testbed.faults.sidecar_stopped import SidecarStopped
from testbed.faults.sidecars import describe_state
from testbed.faults.tailscale_down import TailscaleDown
from tests.testbed.faults.fakes import NODE, FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_state_in_words(cluster: FakeCluster) -> None:
    assert describe_state(cluster.containers, NODE) == "validator-1's sidecar says Running"
    cluster.containers.act(NODE, "sidecar", "stop")
    assert describe_state(cluster.containers, NODE) == "validator-1's sidecar says nothing"


def test_stopped_is_seen_by_a_neighbour(cluster: FakeCluster) -> None:
    fault = SidecarStopped(cluster, NODE, 1)
    fault.apply()
    assert fault.verify() == ("validator-1's sidecar does not run; validator-2's says that validator-1 is offline")
    assert "7 packets had no way but the default gateway" in fault.describe_effect()


def test_restarted_is_the_same_node(cluster: FakeCluster) -> None:
    fault = SidecarRestarted(cluster, NODE, 1)
    fault.apply()
    assert fault.verify() == "validator-1's sidecar was seen down, and is node 1 with 100.64.0.1 again"
    assert SidecarRestarted.find_broken(NODE, (), [NODE]) == frozenset()


def test_expired_key_is_told_by_the_sidecar(cluster: FakeCluster) -> None:
    fault = KeyExpired(cluster, NODE, 1)
    fault.apply()
    assert cluster.containers.expired == {NODE}
    assert fault.verify() == "validator-1's sidecar says NoState: the key has expired"


def test_told_down_its_sidecar_may_end_until_it_is_up_again(cluster: FakeCluster) -> None:
    fault = TailscaleDown(cluster, NODE, 1)
    fault.apply()
    assert fault.verify() == "validator-1's sidecar says Stopped"
    assert cluster.containers.excused == {(NODE, "sidecar")}
    assert fault.describe_effect() == "a chain at height 7 lost a voter's tailnet"


def test_down_only_once_its_supervisor_has_seen_it(cluster: FakeCluster) -> None:
    fault = TailscaleDown(cluster, NODE, 1)
    fault.apply()
    cluster.containers.unsteady.add(NODE)
    with pytest.raises(NotApplied, match="validator-1 is on the tailnet after `tailscale down`"):
        fault.verify()


@pytest.mark.parametrize("kind", [SidecarStopped, KeyExpired, TailscaleDown])
def test_back_only_once_its_supervisor_has_seen_it(cluster: FakeCluster, kind: type[Fault]) -> None:
    fault = kind(cluster, NODE, 1)
    fault.apply()
    fault.verify()
    cluster.containers.unsteady.add(NODE)
    with pytest.raises(NotApplied, match="validator-1 does not come back to the tailnet"):
        fault.undo()


@pytest.mark.parametrize("kind", [SidecarStopped, SidecarRestarted, KeyExpired, TailscaleDown])
def test_invalid_not_on_the_tailnet(cluster: FakeCluster, kind: type[Fault]) -> None:
    cluster.containers.down.add((NODE, "sidecar"))
    with pytest.raises(NotApplied, match="validator-1 was not on the tailnet"):
        kind(cluster, NODE, 1).apply()


@pytest.mark.parametrize("kind", [SidecarStopped, KeyExpired, TailscaleDown])
def test_invalid_another_node_comes_back(cluster: FakeCluster, kind: type[Fault]) -> None:
    fault = kind(cluster, NODE, 1)
    fault.apply()
    cluster.containers.loses_identity = True
    with pytest.raises(NotApplied, match=r"was node 1 with 100\.64\.0\.1 and came back as 11"):
        fault.undo()


def test_invalid_sidecar_goes_on(cluster: FakeCluster) -> None:
    fault = SidecarStopped(cluster, NODE, 1)
    fault.apply()
    cluster.containers.down.clear()
    with pytest.raises(NotApplied, match="validator-1's sidecar still runs"):
        fault.verify()


def test_invalid_key_cannot_be_expired(cluster: FakeCluster) -> None:
    fault = KeyExpired(cluster, NODE, 1)
    fault.apply()
    cluster.containers.obeys = False
    with pytest.raises(
        NotApplied, match="headscale nodes expire --identifier 1 --disable ended with 1: Error: no such"
    ):
        fault.undo()


def test_invalid_key_is_still_good(cluster: FakeCluster) -> None:
    fault = KeyExpired(cluster, NODE, 1)
    fault.apply()
    cluster.containers.expired.clear()
    with pytest.raises(NotApplied, match="still on the tailnet with an expired key"):
        fault.verify()
