"""Simulated runs: same seed, same trace, whatever the interpreter; faults touch something; planted bugs are found."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tana.consensus.tendermint import Tendermint
from tana.node.machine import Machine
from tana.types.block import Block
from tana.types.validator_set import ValidatorSet
from testbed.simulation.disk import Disk
from testbed.simulation.drawing import make_schedule
from testbed.simulation.schedule import FAULT_KINDS, FaultKind, PlannedFault, Schedule, TimingPlan, TraitorPlan
from testbed.simulation.world import World, run_schedule
from tests.testbed.forging import ROOT

CALM = Schedule(seed=1, nodes=4, heights=15, transaction_interval_ms=20)
HASTY = TimingPlan(propose_timeout_ms=200, prevote_timeout_ms=100, precommit_timeout_ms=100, timeout_delta_ms=50)

RUN = """
import sys
from testbed.simulation.drawing import make_schedule
from testbed.simulation.world import run_schedule
for seed in map(int, sys.argv[1:]):
    outcome = run_schedule(make_schedule(seed, heights=9))
    print(outcome.trace_hash, outcome.violation)
"""


def test_same_seeds_same_traces_in_two_interpreters() -> None:
    """Some with real signatures, some with a wire, traitors and restarts: nothing may depend on hashes of this run."""
    schedules = [(seed, make_schedule(seed, heights=20)) for seed in range(1, 200)]
    wanted: tuple[Callable[[Schedule], bool], ...] = (
        lambda item: item.has_real_signatures and not item.has_wire,
        lambda item: item.has_wire and not item.traitors,
        lambda item: bool(item.traitors) and not item.has_wire,
    )
    busy = [(seed, item) for seed, item in schedules if len(item.faults) > 3]
    seeds = [next(seed for seed, item in busy if is_wanted(item)) for is_wanted in wanted]
    answers = []
    for hash_seed in ("1", "77"):
        command = [sys.executable, "-c", RUN, *map(str, seeds)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        answers.append(done.stdout)
    assert answers[0] == answers[1]
    assert len(set(answers[0].splitlines())) == len(seeds)


def test_a_calm_run_is_quick_and_whole() -> None:
    outcome = run_schedule(CALM)
    assert outcome.violation is None
    assert outcome.heights >= 15
    assert outcome.acknowledged > 5
    assert outcome.windows == []


def test_another_seed_gives_another_trace() -> None:
    assert run_schedule(CALM).trace_hash != run_schedule(replace(CALM, seed=2)).trace_hash


def test_messages_fare_the_same_on_a_wire() -> None:
    """Encoding is no decision: only the objects differ."""
    assert run_schedule(CALM).trace_hash == run_schedule(replace(CALM, has_wire=True)).trace_hash


FAULTS: dict[FaultKind, PlannedFault] = {
    kind: PlannedFault(kind, 2, duration_ms=150, nodes=(1,), effects=7, rate=0.3, by=40, is_noticed=False)
    for kind in FAULT_KINDS
} | {
    "halves": PlannedFault("halves", 2, duration_ms=150, nodes=(0, 2)),
    "one_way": PlannedFault("one_way", 2, duration_ms=150, nodes=(1, 2)),
    "crash_locked": PlannedFault("crash_locked", 2, duration_ms=2000),
    "half_connected": PlannedFault("half_connected", 2, duration_ms=150, nodes=(1, 2), is_noticed=True),
    "power": PlannedFault("power", 2, duration_ms=300, nodes=(1,), by=2),
    "leave": PlannedFault("leave", 2, duration_ms=300, nodes=(1,)),
    "join": PlannedFault("join", 2, duration_ms=300, nodes=(3,), by=1),
    "denied": PlannedFault("denied", 2, duration_ms=300, nodes=(1,)),
    "replaced_key": PlannedFault("replaced_key", 2, duration_ms=300, nodes=(1, 3)),
}
STANDSTILL = PlannedFault("halves", 3, duration_ms=2500, nodes=(0, 2))
"""Lets time pass: without a quorum nothing goes on."""


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_each_fault_touches_something_and_is_undone(kind: FaultKind) -> None:
    faults: tuple[PlannedFault, ...] = (FAULTS[kind],)
    if kind == "mesh_down":
        faults = (replace(FAULTS[kind], duration_ms=2500), STANDSTILL)
    powers = (1, 1, 1, 0) if kind in ("join", "replaced_key") else ()
    # Nobody is locked for long unless somebody holds votes back.
    adversary_ms = 400 if kind == "crash_locked" else 0
    world = World(replace(CALM, heights=40, powers=powers, faults=faults, adversary_ms=adversary_ms))
    outcome = world.run()
    assert outcome.violation is None
    window = outcome.windows[0]
    assert window.evidence, "it touched something"
    assert 0 <= window.applied_ms <= window.undone_ms
    network, conditions = world.network, world.network.conditions
    assert not any(network.is_cut(one, other) for one in world.keys for other in world.keys)
    assert (conditions.loss, conditions.duplicate, conditions.reorder) == (0, 0, 0)
    assert all(clock.offset_ms == 0 for clock in world.clocks) or kind == "clock_drift"
    assert all(clock.drift_ppm == 0 for clock in world.clocks)
    nodes = [world.get_node(number) for number in range(4)]
    assert all(node is not None and not node.is_paused for node in nodes)


def test_a_node_without_its_sign_state_abstains_and_follows() -> None:
    world = World(replace(CALM, faults=(FAULTS["wiped_sign_state"],)))
    assert world.run().violation is None
    node = world.get_node(1)
    assert node is not None
    assert node.machine.status().state == "abstaining"
    assert node.machine.status().height >= CALM.heights


def test_a_node_whose_sign_state_is_recovered_signs_again() -> None:
    world = World(replace(CALM, heights=40, faults=(FAULTS["recovered_sign_state"],)))
    assert world.run().violation is None
    node, disk = world.get_node(1), world.disks[1]
    assert node is not None
    assert (node.incarnation, node.machine.status().state, disk.abstain_reason) == (3, "validating", "")
    signers = [
        height
        for height in range(1, 40)
        if (stored := disk.blocks.get_block(height)) is not None
        and any(item.validator == node.key for item in stored.certificate.signatures)
    ]
    assert signers[-1] > 30
    assert len(signers) < 39, "for some heights it abstained"


def test_a_recovery_waits_until_everybody_says_what_they_have_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = PlannedFault("crash", 1, duration_ms=600, nodes=(2,))
    world = World(replace(CALM, heights=40, faults=(crash, FAULTS["recovered_sign_state"])))
    answers: list[bool] = []
    recover = world.recover

    def watch(number: int) -> bool:
        answers.append(recover(number))
        return answers[-1]

    monkeypatch.setattr(world, "recover", watch)
    assert world.run().violation is None
    assert not answers[0], "one of them was down"
    assert answers[-1]


@pytest.mark.parametrize("below", [5, 10, 100])
def test_a_recovery_below_what_was_signed_is_found(monkeypatch: pytest.MonkeyPatch, below: int) -> None:
    monkeypatch.setattr("testbed.simulation.world.compute_recovery_height", lambda seen: max(1, max(seen) - below))
    fault = replace(FAULTS["recovered_sign_state"], at_height=20)
    violation = run_schedule(replace(CALM, heights=60, faults=(fault,))).violation
    assert violation is not None
    assert violation.name == "double_sign"
    assert "validator-2 begins with sign-state up to" in violation.line


def test_a_new_log_in_the_place_of_a_lost_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that signs on as if nothing had been lost contradicts itself in some seed."""
    monkeypatch.setattr(Disk, "wipe_sign_state", lambda self: self.recover((0, 0, 0)))
    wiped = tuple(replace(FAULTS["wiped_sign_state"], at_height=height, duration_ms=5) for height in range(2, 20))
    schedule = replace(CALM, heights=40, timing=HASTY, adversary_ms=300, faults=wiped)
    found = (run_schedule(replace(schedule, seed=seed)).violation for seed in range(1, 40))
    violation = next((item for item in found if item is not None), None)
    assert violation is not None
    assert violation.name == "double_sign"
    assert "validator-2 signed two messages as " in violation.line


def test_a_key_in_the_place_of_another_votes_and_the_old_one_signs_nothing_more() -> None:
    replaced = PlannedFault("replaced_key", 4, duration_ms=300, nodes=(1, 4))
    crash = PlannedFault("crash", 6, duration_ms=60, nodes=(1,), effects=3)
    world = World(replace(CALM, nodes=5, heights=40, powers=(1, 1, 1, 1, 0), faults=(replaced, crash)))
    outcome = world.run()
    assert outcome.violation is None
    assert "committed at height" in outcome.windows[0].evidence
    old, new = world.get_node(1), world.get_node(4)
    assert old is not None
    assert new is not None
    assert (old.machine.status().state, new.machine.status().state) == ("following", "validating")
    members = new.machine.ledger.validators.members
    assert members.by_key[new.key].node_id == "validator-2", "on the chain it is the same validator"
    assert old.key not in members.by_key


def test_an_old_key_that_signs_on_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node takes itself for a validator whatever the set says."""
    monkeypatch.setattr(Tendermint, "is_signing", property(lambda self: self._signer is not None))
    replaced = PlannedFault("replaced_key", 4, duration_ms=300, nodes=(1, 4))
    schedule = replace(CALM, nodes=5, heights=40, powers=(1, 1, 1, 1, 0), faults=(replaced,))
    violation = run_schedule(schedule).violation
    assert violation is not None
    assert violation.name == "validator_sets"
    assert "in which its key is not" in violation.line


def test_pinned_a_precommit_that_was_never_durable_locks_nothing() -> None:
    """A crash between a precommit's append and its flush: the invariant took the node for locked."""
    assert run_schedule(make_schedule(948, 7, 40)).violation is None


def test_validators_join_leave_and_change_while_the_chain_goes_on() -> None:
    faults = (
        PlannedFault("join", 2, nodes=(4,), by=1),
        PlannedFault("power", 6, nodes=(0,), by=2),
        PlannedFault("leave", 12, nodes=(2,)),
        PlannedFault("crash", 14, duration_ms=60, nodes=(4,), effects=5),
    )
    world = World(replace(CALM, nodes=5, heights=50, powers=(1, 1, 1, 1, 0), faults=faults))
    assert world.run().violation is None
    node = world.get_node(0)
    assert node is not None
    members = node.machine.ledger.validators.members
    names = {item.node_id: item.power for item in members.validators}
    assert names == {"validator-1": 2, "validator-2": 1, "validator-4": 1, "validator-5": 1}
    left = world.get_node(2)
    assert left is not None
    assert left.machine.status().state == "following"
    assert left.machine.status().height >= 50


def test_a_denied_node_is_cut_off_once_it_has_left_the_set() -> None:
    world = World(replace(CALM, heights=40, faults=(FAULTS["denied"],)))
    assert world.run().violation is None
    node = world.get_node(1)
    assert node is not None
    assert node.machine.status().peers == ()
    assert node.machine.status().height < 30


def test_a_chain_without_a_quorum_stands_still_and_goes_on_after_it_is_healed() -> None:
    halves = PlannedFault("halves", 3, duration_ms=2000, nodes=(0, 1))
    outcome = run_schedule(replace(CALM, faults=(halves,)))
    assert outcome.violation is None
    assert outcome.virtual_ms > 2000


def test_the_adversary_locks_a_node_alone_and_costs_rounds_only() -> None:
    world = World(replace(CALM, heights=30, timing=HASTY, adversary_ms=800))
    outcome = world.run()
    assert outcome.violation is None
    assert world.network.delayed > 20
    certificates = [world.disks[0].blocks.get_block(height) for height in range(1, 19)]
    assert any(stored is not None and stored.certificate.round > 0 for stored in certificates)


def test_two_nodes_without_a_link_go_on_once_timeouts_are_longer_than_the_way_round() -> None:
    """Seed 335 of runs of four heights: 20 ms for a proposal that two announcements of 200 ms must carry."""
    schedule = make_schedule(335, heights=4)
    assert schedule.unlinked
    assert schedule.timing.announce_interval_ms > schedule.timing.propose_timeout_ms
    assert run_schedule(schedule).violation is None


def test_a_convicted_traitor_that_still_votes_does_not_fall_over_its_other_lies() -> None:
    """Seed 70066 of runs of 40 heights, made minimal: it wanted to build a block, and is no validator any more."""
    lies = (("future_flood", 0.1, 0), ("double_precommit", 0.1, 0), ("proposal_out_of_turn", 0.5, 500))
    traitors = tuple(TraitorPlan(2, behaviour, probability, from_ms) for behaviour, probability, from_ms in lies)
    schedule = Schedule(seed=70066, nodes=4, heights=20, adversary_ms=60, traitors=traitors)
    assert run_schedule(schedule).violation is None


def test_a_forgotten_lock_is_found_through_the_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Tendermint._answer_proposal

    def forget(
        self: Tendermint, block: Block, objection: str | None, is_free: bool, lines: tuple[int, int, int]
    ) -> None:
        answer(self, block, objection, True, lines)

    monkeypatch.setattr(Tendermint, "_answer_proposal", forget)
    violations = (
        run_schedule(replace(CALM, seed=seed, heights=40, timing=HASTY, adversary_ms=800)).violation
        for seed in range(5)
    )
    assert any(violation is not None and violation.name == "lock_rule" for violation in violations)


def test_a_quorum_one_too_low_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 3 * power >= 2 * self.total_power - 2)
    halves = PlannedFault("halves", 3, duration_ms=2000, nodes=(0, 1))
    violation = run_schedule(replace(CALM, faults=(halves,))).violation
    assert violation is not None
    assert "quorum" in violation.line


def test_a_node_that_ends_by_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Machine, *arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Machine, "_finalize", fail)
    violation = run_schedule(CALM).violation
    assert violation is not None
    assert "ended by itself: RuntimeError: a bug" in violation.line


def test_a_quorum_that_does_not_go_on_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who never starts another round waits for ever for the proposal of the one that is down."""
    monkeypatch.setattr(Tendermint, "on_timeout", lambda self, timer, now_ms: [])
    violation = run_schedule(replace(CALM, broken=(3,))).violation
    assert violation is not None
    assert violation.name == "two_phase"
    assert "a quorum is healed and the others stay broken" in violation.line


def test_a_disk_is_emptied_only_while_its_node_is_down() -> None:
    # Its operator restarted the node between the crash of the fault and its end.
    assert run_schedule(make_schedule(1190, 4, 6)).violation is None
