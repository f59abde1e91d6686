"""Seeded chaos: messages lost, doubled and reordered, timers at any moment, crashes between any two effects.

Safety is asserted all along (one block per height, certificates that verify, nothing signed twice), liveness after the
chaos ends. A seed names a run: a failing one is reproduced by its number alone.
"""

from __future__ import annotations

import random

import msgspec
import pytest

from tana.consensus.certificate import verify_certificate
from tana.crypto.evidence import is_evidence_signed
from tana.types.evidence import Evidence
from tana.types.messages import Proposal, Vote
from tests.consensus.helpers import CHAIN_ID, Cluster, verify_stand_in

SEEDS = range(120)
CHAOS_STEPS = 400
HEAL_ROUNDS = 60


class Chaos:
    """One seeded run."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        size = self.random.choice([1, 2, 3, 4, 4, 4, 5, 7])
        self.cluster = Cluster([self.random.choice([1, 1, 1, 2, 3]) for _ in range(size)], collect_lines=False)
        self.loss = self.random.choice([0.0, 0.05, 0.3])
        self.crash = self.random.choice([0.0, 0.01, 0.05])
        self.timer = self.random.choice([0.05, 0.2])
        self.traitor = self.choose_traitor()

    def choose_traitor(self) -> int | None:
        """In half of the runs a node that says one thing to some and another to others, if the rest is a quorum."""
        validators = self.cluster.validators
        index = self.random.randrange(len(validators))
        rest = validators.total_power - validators.validators[index].power
        return index if validators.is_quorum(rest) and self.random.random() < 0.5 else None

    def run(self) -> None:
        for _ in range(CHAOS_STEPS):
            self.act()
            self.check_agreement()
        self.heal()
        self.check_certificates()
        self.check_accusations()

    def act(self) -> None:
        cluster, dice = self.cluster, self.random
        node = dice.choice(cluster.nodes)
        if node.is_down:
            if dice.random() < 0.3:
                cluster.restart(node.index)
        elif dice.random() < self.timer and node.timers:
            cluster.fire(node.index, dice.choice(sorted(node.timers)))
        elif dice.random() < 0.1:
            cluster.work(node.index)
        elif dice.random() < 0.1:
            other = dice.choice(cluster.nodes)
            if other is not node and not other.is_down:
                cluster.announce(node.index, other.index)
        elif cluster.queue:
            self.deliver_one()
        else:
            cluster.sync()

    def deliver_one(self) -> None:
        cluster, dice = self.cluster, self.random
        envelope = cluster.queue.pop(dice.randrange(min(len(cluster.queue), 8)))
        if dice.random() < self.loss:
            return
        if dice.random() < 0.05:
            cluster.queue.append(envelope)
        message = envelope.message
        if envelope.sender == self.traitor and isinstance(message, Vote | Proposal) and dice.random() < 0.5:
            message = self.twist(message)
        stop_after = dice.randrange(6) if dice.random() < self.crash else None
        cluster.give(envelope.receiver, message, stop_after)

    def twist(self, message: Vote | Proposal) -> Vote | Proposal:
        """Another message for the same slot, signed by the traitor; what it only relays stays as it is."""
        assert self.traitor is not None
        if message.validator != self.cluster.validators.validators[self.traitor].public_key:
            return message
        values = [b"x" * 32, b"y" * 32] + ([None] if isinstance(message, Vote) else [])
        return self.cluster.lie(self.traitor, msgspec.structs.replace(message, block_hash=self.random.choice(values)))

    def heal(self) -> None:
        """Everyone up, every message delivered: each node must decide three more heights."""
        cluster = self.cluster
        for node in cluster.nodes:
            if node.is_down:
                cluster.restart(node.index)
        target = max(node.core.height for node in cluster.nodes) + 3
        for _ in range(HEAL_ROUNDS):
            for node in cluster.nodes:
                cluster.work(node.index)
            for _ in range(3):
                cluster.deliver()
                cluster.sync()
                cluster.announce_all()
                cluster.deliver()
                self.check_agreement()
            if all(node.core.height >= target for node in cluster.nodes):
                return
            for node in cluster.nodes:
                for kind in sorted(node.timers):
                    if kind in node.timers:
                        cluster.fire(node.index, kind)
        raise AssertionError(f"no progress: {[(n.core.height, n.core.round, n.core.step.name) for n in cluster.nodes]}")

    def check_agreement(self) -> None:
        heights = {height for node in self.cluster.nodes for height in node.decided}
        for height in heights:
            assert len(self.cluster.decisions(height)) == 1, f"height {height} has two blocks"

    def check_accusations(self) -> None:
        """Nobody but the traitor is ever accused, and what it is accused of holds."""
        guilty = [] if self.traitor is None else [self.cluster.validators.validators[self.traitor].public_key]
        for found in self.cluster.accused.values():
            for evidence in found:
                evidence.check_form()
                assert evidence.validator in guilty, "a correct node is framed"
                assert is_evidence_signed(evidence, CHAIN_ID, verify_stand_in)

    def check_certificates(self) -> None:
        for node in self.cluster.nodes:
            for height, (block, certificate) in node.decided.items():
                assert certificate.block_hash == block.hash
                verify_certificate(certificate, CHAIN_ID, self.cluster.set_of(height), verify_stand_in)


@pytest.mark.parametrize("seed", SEEDS)
def test_safe_in_chaos_and_live_after_it(seed: int) -> None:
    Chaos(seed).run()


def test_traitors_are_found_out_in_most_runs() -> None:
    runs = [chaos for chaos in map(Chaos, range(60)) if chaos.traitor is not None]
    for chaos in runs:
        chaos.run()
    assert sum(bool(chaos.cluster.accused) for chaos in runs) > len(runs) // 2


def test_a_framed_node_is_noticed() -> None:
    chaos = Chaos(3)
    chaos.heal()
    chaos.traitor = None
    vote = Vote(1, 1, 0, None, b"", b"")
    votes = [chaos.cluster.lie(0, msgspec.structs.replace(vote, block_hash=value)) for value in (None, b"x" * 32)]
    chaos.cluster.accused[1] = [Evidence.create(*votes)]
    with pytest.raises(AssertionError, match="framed"):
        chaos.check_accusations()


def test_two_forged_decisions_are_noticed() -> None:
    chaos = Chaos(3)
    chaos.heal()
    first, second = chaos.cluster.nodes[0], chaos.cluster.nodes[-1]
    assert first is not second
    second.decided[1] = second.decided[2]
    with pytest.raises(AssertionError, match="two blocks"):
        chaos.check_agreement()
