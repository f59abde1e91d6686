"""direct_path_blocked and control_down: what sidecars say of their paths and of their control server."""

from __future__ import annotations

import pytest

from testbed.backends.base import CONTROL
from testbed.faults.base import NotApplied
from testbed.faults.control_down import ControlDown
from testbed.faults.direct_path_blocked import DirectPathBlocked
from tests.testbed.faults.fakes import MEMBERS, NODE, FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_relayed(cluster: FakeCluster) -> None:
    fault = DirectPathBlocked(cluster, NODE, 1)
    fault.apply()
    assert cluster.containers.chains[NODE]["tana-direct"] == [
        "-p udp --sport 41641 -j DROP",
        "-p udp --dport 41641 -j DROP",
    ]
    assert fault.verify().startswith(
        "validator-1 reaches validator-2 by relay tana, validator-3 by relay tana; 14 packets"
    )
    assert "bytes from validators through the relay and none directly" in fault.describe_effect()
    fault.undo()


def test_invalid_paths_stay_direct(cluster: FakeCluster) -> None:
    cluster.containers.drops_packets = False
    fault = DirectPathBlocked(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(
        NotApplied, match=r"not relayed: validator-1 reaches validator-2 directly at 192\.168\.16\.3:41641"
    ):
        fault.verify()
    assert fault.describe_effect() == ""


def test_invalid_nothing_comes_through_the_relay(cluster: FakeCluster) -> None:
    cluster.containers.has_relay_traffic = False
    fault = DirectPathBlocked(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(NotApplied, match="validator-1 receives nothing through the relay"):
        fault.verify()


def test_invalid_was_relayed_before(cluster: FakeCluster) -> None:
    DirectPathBlocked(cluster, "validator-2", 1).apply()
    with pytest.raises(NotApplied, match="validator-1 had no direct path to every validator"):
        DirectPathBlocked(cluster, NODE, 1).apply()


def test_control_server_is_missed_by_every_sidecar(cluster: FakeCluster) -> None:
    fault = ControlDown(cluster, CONTROL, 1)
    fault.apply()
    assert all("tana-guard" in cluster.containers.chains[member] for member in MEMBERS)
    assert "the sidecars of validator-1, validator-2, validator-3 say that they have lost it" in fault.verify()
    assert fault.describe_effect() == "3 sidecars lost their control server"


def test_invalid_control_server_goes_on(cluster: FakeCluster) -> None:
    fault = ControlDown(cluster, CONTROL, 1)
    fault.apply()
    cluster.containers.down.clear()
    with pytest.raises(NotApplied, match="headscale still runs"):
        fault.verify()


def test_invalid_control_server_does_not_return(cluster: FakeCluster) -> None:
    fault = ControlDown(cluster, CONTROL, 1)
    fault.apply()
    cluster.containers.obeys = False
    with pytest.raises(NotApplied, match="validator-1's sidecar says Running"):
        fault.undo()
