"""Each behaviour does to the chain what its table says, with 3, 4 and 7 validators. Safety always."""

from __future__ import annotations

import pytest

from tana.crypto.keys import verify
from tana.types.messages import PREVOTE, PeerMessage, Proposal, Vote, VoteQuorum
from testbed.byzantine import BEHAVIOURS, Behaviour, Fork
from testbed.timeline import MUST, MUST_NOT, compute_expectation
from testbed.verdict import Outcome
from tests.node.machine_net import NetNode, make_deposit, make_keys
from tests.testbed.byzantine.traitors import TracedTraitorNet, TraitorNet

HEIGHTS = 8
CLUSTERS = ((3, 1), (4, 1), (7, 2))


def make_net(kind: type[Behaviour], count: int, traitors: int, seed: int = 1) -> TraitorNet:
    """`count` nodes, of which the last `traitors` lie."""
    keys = make_keys(count)
    liars = range(count - traitors, count)
    hooks = {
        index: kind(seed=f"{seed}/{index}", accomplices=[keys[other].public_key for other in liars if other != index])
        for index in liars
    }
    return TraitorNet(count, dict(hooks))


def feed(net: TraitorNet, height: int, limit_ms: int = 60_000) -> None:
    """Run until every correct node is at a height, with a deposit for each height on the way."""
    for nonce in range(height):
        net.submit(0, make_deposit(nonce))
        net.run_until(lambda goal=nonce + 1: all(len(node.chain) >= goal for node in net.correct), limit_ms)  # type: ignore[misc]


def assert_safe(net: TraitorNet) -> None:
    for height in range(1, max(len(node.chain) for node in net.nodes) + 1):
        assert len(net.correct_hashes_at(height)) <= 1, f"height {height} is forked"
    assert not any(node.halted for node in net.correct)


def is_progressing(net: TraitorNet, limit_ms: int) -> bool:
    try:
        feed(net, HEIGHTS, limit_ms)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(("count", "traitors"), CLUSTERS)
@pytest.mark.parametrize("kind", BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_outcome(kind: type[Behaviour], count: int, traitors: int) -> None:
    net = make_net(kind, count, traitors)
    if kind.kind == "forgotten_lock":
        lock_traitors_alone(net)
    names = {str(index): 1 for index in range(count)}
    liars = {str(index) for index in net.hooks}
    progress, why = compute_expectation(names, liars if kind.is_withholding else (), liars)
    has_progressed = is_progressing(net, 60_000 if progress == MUST else 15_000)
    assert_safe(net)
    if progress == MUST:
        assert has_progressed, why
    if progress == MUST_NOT:
        assert max(len(node.chain) for node in net.correct) == 0, why
    if progress == MUST:
        assert all(hook.lied for hook in net.hooks.values() if isinstance(hook, Behaviour)), "a run without lies"
    if progress == MUST:
        _assert_blame(net, kind)


def lock_traitors_alone(net: TraitorNet) -> None:
    """In round 0 of odd heights one correct node misses the proposal, and the correct ones miss the traitors' prevotes.

    So the traitors see a polka and lock, nobody else does, and the next proposer proposes something new.
    """
    liars = {net.keys[index].public_key for index in net.hooks}

    def is_lost(sender: int, receiver: int, message: PeerMessage) -> bool:
        if isinstance(message, VoteQuorum):
            return message.kind == PREVOTE and message.round == 0 and receiver not in net.hooks
        if not isinstance(message, Vote | Proposal) or message.round or message.height % 2 == 0:
            return False
        if isinstance(message, Proposal):
            victim = next(node for node in net.correct if node.key.public_key != message.validator)
            return receiver == victim.index
        return message.kind == PREVOTE and message.validator in liars and receiver not in net.hooks

    net.is_lost = is_lost


def _assert_blame(net: TraitorNet, kind: type[Behaviour]) -> None:
    """Blocks accuse nobody but liars; and whoever must be caught is, by every correct node."""
    guilty = {net.keys[index].public_key for index in net.hooks}

    def find_accused(node: NetNode) -> set[bytes]:
        return {item.validator for block, _ in node.chain for item in block.evidence}

    if kind.is_punished:
        net.run_until(lambda: all(find_accused(node) == guilty for node in net.correct))
    for node in net.correct:
        assert find_accused(node) <= guilty
        assert {str(item.fields["validator"]) for item in node.reports if item.name == "equivocation"} <= {
            key.hex() for key in guilty
        }


class TestNegativeControl:
    """Traitors with a power of 2 · quorum − total fork the chain; fewer cannot, nor any before one correct node."""

    @pytest.mark.parametrize(("count", "traitors"), [(4, 2), (7, 3)])
    def test_enough_traitors_fork_the_chain_and_are_named(self, count: int, traitors: int) -> None:
        net = TracedTraitorNet(count, dict(make_net(Fork, count, traitors).hooks))
        net.run_until(lambda: any(len(net.correct_hashes_at(height)) > 1 for height in range(1, 6)), 120_000)
        agreement, accountability = net.trace.finish()
        assert agreement.outcome is Outcome.VIOLATED
        assert accountability.outcome is Outcome.PROVEN, accountability.line
        names = ", ".join(f"validator-{index}" for index in range(count - traitors, count))
        assert f"forks name {names}, all of them guilty" in accountability.line

    @pytest.mark.parametrize(("count", "traitors"), [(3, 1), (3, 2), (4, 1), (7, 2)])
    def test_fewer_do_not(self, count: int, traitors: int) -> None:
        net = make_net(Fork, count, traitors)
        has_progressed = is_progressing(net, 20_000)
        assert_safe(net)
        assert has_progressed or count == 3


def test_same_seed_same_lies() -> None:
    runs = []
    for _ in range(2):
        net = make_net(BEHAVIOURS["replay"], 4, 1)
        feed(net, 3)
        runs.append((net.now_ms, [len(node.reports) for node in net.nodes], net.correct_hashes_at(3)))
    assert runs[0] == runs[1]


def test_lies_are_truly_signed() -> None:
    """What a double voter says would convict it: both votes carry its own good signature."""
    net = make_net(BEHAVIOURS["double_prevote"], 4, 1)
    said: dict[tuple[int, int], set[bytes | None]] = {}

    def listen(sender: int, receiver: int, message: PeerMessage) -> bool:
        if (
            sender == 3
            and isinstance(message, Vote)
            and message.kind == PREVOTE
            and message.validator == net.keys[3].public_key
        ):
            assert verify(message.validator, message.sign_bytes(net.genesis.compute_chain_id()), message.signature)
            said.setdefault((message.height, message.round), set()).add(message.block_hash)
        return False

    net.is_lost = listen
    feed(net, 3)
    assert said
    assert all(len(values) == 2 for values in said.values())
