"""Faults of links: which links are cut, who cannot vote meanwhile, and that each is verified and undone."""

from __future__ import annotations

import pytest

from testbed.faults import FAULTS
from testbed.faults.base import NotApplied
from testbed.faults.halves import Halves
from testbed.faults.one_way import OneWay
from testbed.faults.partition import Partition
from testbed.faults.ring import Ring
from testbed.needs import CONNECTIONS, CUTS, LINKS, LOSSES
from tests.testbed.faults.fakes import NODE, FakeCluster

FIVE = tuple(f"validator-{number}" for number in range(1, 6))
OF_LINKS = sorted(kind for kind, fault in FAULTS.items() if fault.needs & {CUTS, LOSSES, LINKS, CONNECTIONS})


def test_halves_cut_both_ways_between_the_sides() -> None:
    pairs = Halves.list_pairs("validator-2", ("validator-5",), FIVE)
    assert len(pairs) == 2 * 2 * 3
    assert ("validator-2", "validator-1") in pairs
    assert ("validator-1", "validator-2") in pairs
    assert ("validator-2", "validator-5") not in pairs
    assert Halves.find_broken("validator-2", ("validator-5",), FIVE) == {"validator-2", "validator-5"}


def test_half_is_taken_where_nobody_is_named() -> None:
    assert Halves.find_broken("validator-5", (), FIVE) == {"validator-5", "validator-1"}


def test_a_ring_leaves_neighbours() -> None:
    pairs = Ring.list_pairs("", (), FIVE)
    assert len(pairs) == 5 * 2
    assert ("validator-1", "validator-3") in pairs
    assert not {("validator-1", "validator-2"), ("validator-1", "validator-5")} & set(pairs)
    assert Ring.find_broken("", (), FIVE) == frozenset()


def test_who_is_not_heard_by_anybody_cannot_vote() -> None:
    assert OneWay.list_pairs("validator-1", ("validator-2",), FIVE) == [("validator-1", "validator-2")]
    assert OneWay.find_broken("validator-1", ("validator-2",), FIVE) == frozenset(), "others pass its votes on"
    assert OneWay.find_broken("validator-1", (), FIVE) == {"validator-1"}


@pytest.mark.parametrize("kind", OF_LINKS)
def test_a_fault_of_links_is_verified_and_undone(kind: str) -> None:
    cluster = FakeCluster()
    cluster.node_ids = FIVE
    fault = FAULTS[kind](cluster, NODE, 100)
    fault.apply()
    links = cluster.links
    is_changed = links.cuts or any(links.rates.values()) or links.delay_ms != (0, 0) or links.bytes_per_second
    assert bool(is_changed) == (kind != "reset"), "a reset is over at once"
    assert fault.verify()
    assert fault.describe_effect()
    fault.undo()
    assert (links.cuts, links.delay_ms, links.bytes_per_second) == ([], (0, 0), 0)
    assert not any(links.rates.values())


@pytest.mark.parametrize("kind", OF_LINKS)
def test_invalid_fault_of_links_that_touches_nothing(kind: str) -> None:
    cluster = FakeCluster()
    cluster.node_ids = FIVE
    cluster.links.obeys = False
    fault = FAULTS[kind](cluster, NODE, 100)
    fault.apply()
    with pytest.raises(NotApplied):
        fault.verify()


@pytest.mark.parametrize("kind", OF_LINKS)
def test_invalid_fault_of_links_that_cannot_be_undone(kind: str) -> None:
    cluster = FakeCluster()
    cluster.node_ids = FIVE
    fault = FAULTS[kind](cluster, NODE, 100)
    fault.apply()
    fault.verify()
    cluster.links.obeys = False
    with pytest.raises(NotApplied):
        fault.undo()


def test_invalid_ring_of_three() -> None:
    with pytest.raises(NotApplied, match="ring cuts nothing among 3 validators"):
        FAULTS["ring"](FakeCluster(), "", 100).apply()


def test_a_validator_that_is_alone_is_not_cut_off_from_a_quorum() -> None:
    one = ("validator-1",)
    assert Partition.find_broken("validator-1", (), one) == OneWay.find_broken("validator-1", (), one) == frozenset()


def test_the_mesh_on_one_of_two_halves_has_no_vote() -> None:
    assert Halves.find_broken("validator-2", ("mesh",), FIVE) == {"validator-2"}


@pytest.mark.parametrize("kind", ["reset", "half_open"])
def test_connections_are_ended_once_they_are_there(kind: str) -> None:
    cluster = FakeCluster()
    cluster.node_ids = FIVE
    assert cluster.health is not None
    cluster.health["peers"] = 3
    fault = FAULTS[kind](cluster, NODE, 100)
    with pytest.raises(NotApplied, match="lacks connections to 1 others"):
        fault.apply()
    assert not cluster.links.cuts, "nothing was touched meanwhile"
