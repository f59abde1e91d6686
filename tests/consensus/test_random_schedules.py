"""Seeded chaos: messages lost, doubled and reordered, timers at any moment, crashes between any two effects.

Safety is asserted all along (one block per height, certificates that verify, nothing signed twice), liveness after the
chaos ends. A seed names a run: a failing one is reproduced by its number alone.
"""

from __future__ import annotations

import random

import pytest

from tana.consensus.certificate import verify_certificate
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

    def run(self) -> None:
        for _ in range(CHAOS_STEPS):
            self.act()
            self.check_agreement()
        self.heal()
        self.check_certificates()

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
        stop_after = dice.randrange(6) if dice.random() < self.crash else None
        cluster.give(envelope.receiver, envelope.message, stop_after)

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

    def check_certificates(self) -> None:
        for node in self.cluster.nodes:
            for height, (block, certificate) in node.decided.items():
                assert certificate.block_hash == block.hash
                verify_certificate(certificate, CHAIN_ID, self.cluster.set_of(height), verify_stand_in)


@pytest.mark.parametrize("seed", SEEDS)
def test_safe_in_chaos_and_live_after_it(seed: int) -> None:
    Chaos(seed).run()


def test_two_forged_decisions_are_noticed() -> None:
    chaos = Chaos(3)
    chaos.heal()
    first, second = chaos.cluster.nodes[0], chaos.cluster.nodes[-1]
    assert first is not second
    second.decided[1] = second.decided[2]
    with pytest.raises(AssertionError, match="two blocks"):
        chaos.check_agreement()
