"""Split locks: validators lock different blocks, nothing is decided meanwhile, and a correct quorum goes on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tana.consensus.tendermint import Tendermint
from testbed.planting import Patch
from testbed.simulation.schedule import Schedule, TimingPlan
from testbed.simulation.world import World

HASTY = TimingPlan(propose_timeout_ms=60, prevote_timeout_ms=30, precommit_timeout_ms=30, timeout_delta_ms=15)
SPLIT = Schedule(seed=1, nodes=4, heights=10, broken=(3,), has_split_locks=True, timing=HASTY)


def run(schedule: Schedule) -> World:
    world = World(schedule)
    world.run()
    return world


@pytest.mark.parametrize("nodes", [4, 7])
def test_locks_clash_and_a_quorum_goes_on(nodes: int) -> None:
    broken = (3,) if nodes == 4 else (5, 6)
    worlds = [run(replace(SPLIT, seed=seed, nodes=nodes, broken=broken)) for seed in range(8)]
    assert [world.violation for world in worlds] == [None] * len(worlds)
    clashes = [world for world in worlds if world.clashing_locks > 1]
    assert len(clashes) >= 3
    for world in clashes:
        # Nothing was decided while votes were held back, and what was decided then took more than one round.
        certificates = [world.disks[0].blocks.get_block(height) for height in range(6, 11)]
        assert any(stored is not None and stored.certificate.round > 1 for stored in certificates)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("self.locked_round <= proposal.valid_round", "self.locked_round == -1", "two_phase"),
        ("self.locked_round <= proposal.valid_round", "self.locked_round < 9", "lock_rule"),
    ],
)
def test_a_lock_that_is_never_released_or_too_early_is_found(old: str, new: str, name: str) -> None:
    patch = Patch()
    patch.edit(Tendermint, "_try_prevote", old, new)
    try:
        violations = [run(replace(SPLIT, seed=seed)).violation for seed in range(12)]
    finally:
        patch.undo()
    assert name in {violation.name for violation in violations if violation is not None}
