"""disconnect: off the underlay, and back on it."""

from __future__ import annotations

import pytest

from testbed.faults.base import NotApplied
from testbed.faults.disconnect import Disconnect
from tests.testbed.faults.fakes import NODE, FakeCluster


def test_no_address_and_no_answer() -> None:
    cluster = FakeCluster()
    fault = Disconnect(cluster, NODE, 1)
    fault.apply()
    assert fault.verify() == "validator-1 has no address on the underlay and cannot be reached"
    fault.undo()
    assert cluster.get_health(NODE)


def test_invalid_address_stays() -> None:
    cluster = FakeCluster()
    cluster.containers.obeys = False
    fault = Disconnect(cluster, NODE, 1)
    fault.apply()
    with pytest.raises(NotApplied, match=r"still has 192\.168\.16\.2/20 on the underlay"):
        fault.verify()


def test_invalid_address_does_not_come_back() -> None:
    cluster = FakeCluster()
    fault = Disconnect(cluster, NODE, 1)
    fault.apply()
    cluster.containers.obeys = False
    with pytest.raises(NotApplied, match="no address on the underlay after it was connected again"):
        fault.undo()
