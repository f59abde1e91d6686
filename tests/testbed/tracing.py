"""Traces for tests of invariants: nodes that say and do, step by step, what a test writes down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tana.crypto.merkle import EMPTY_ROOT
from tana.ledger.ledger import Execution
from tana.node.effects import Append, Broadcast, Commit, Effect, Flush, Seen, Signed
from tana.node.inputs import Received, Started
from tana.types.block import NO_EVIDENCE_ROOT, Block, Certificate, CommitSignature, Header, RawTransaction
from tana.types.genesis import Genesis
from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, Proposal, Vote
from tana.types.validator_set import Validator, ValidatorSet
from testbed.invariants.base import Invariant
from testbed.invariants.facts import Phase, Progress
from testbed.trace import Begin, Trace
from testbed.verdict import Outcome, Verdict

CHAIN_ID = b"c" * 32


def make_validators(powers: Sequence[int]) -> ValidatorSet:
    return ValidatorSet.create(
        Validator(bytes([index + 1]) * 32, power, f"validator-{index + 1}") for index, power in enumerate(powers)
    )


class Stage:
    """A trace with the given invariants and nodes 0, 1, …, all correct but the `traitors`."""

    def __init__(
        self,
        *invariants: Invariant,
        powers: Sequence[int] = (1, 1, 1, 1),
        traitors: Sequence[int] = (),
        genesis: Genesis | None = None,
        is_virtual: bool = False,
    ) -> None:
        self.trace = Trace(invariants, is_virtual=is_virtual)
        self.genesis = genesis
        self.sets = {1: make_validators(powers)}
        self.traitors = traitors
        self.now_ms = 0
        self.incarnations = [0] * len(powers)
        self.heights = [0] * len(powers)
        self.parent = CHAIN_ID
        for node in range(len(powers)):
            self.begin(node)

    # ------------------------------------------------------------------ nodes

    def key(self, node: int) -> bytes:
        return bytes([node + 1]) * 32

    def name(self, node: int) -> str:
        return f"validator-{node + 1}"

    def get_set(self, height: int) -> ValidatorSet:
        while height not in self.sets:
            last = max(self.sets)
            self.sets[last + 1] = self.sets[last].advanced()
        return self.sets[height]

    def begin(self, node: int, *, height: int | None = None, sign_floor: tuple[int, int, int] = (0, 0, 0)) -> None:
        self.incarnations[node] += 1
        tip = self.heights[node] if height is None else height
        self.heights[node] = tip
        begin = Begin(
            self.key(node),
            self.incarnations[node],
            tip,
            self.get_set(tip + 1),
            sign_floor,
            node not in self.traitors,
            CHAIN_ID,
            genesis=self.genesis,
        )
        self.trace.begin(self.name(node), self.now_ms, begin)

    def end(self, node: int, reason: str = "killed") -> None:
        self.trace.end(self.name(node), self.now_ms, reason)

    def expect(
        self,
        phase: Phase,
        progress: Progress,
        nodes: Sequence[int],
        missing: Sequence[int] = (),
        *,
        rounds_growing: int = 0,
    ) -> None:
        """Quorum arithmetic says what nodes must do, from now on or until now."""
        names, gone = [self.name(node) for node in nodes], [self.name(node) for node in missing]
        words = "as the test says"
        self.trace.expect(self.now_ms, phase, progress, names, words, gone, rounds_growing=rounds_growing)

    def do(self, node: int, *effects: Effect) -> None:
        """One step of a node with these effects."""
        self.now_ms += 1
        self.trace.step(self.name(node), self.now_ms, Started(), effects)

    # ------------------------------------------------------------------ messages

    def vote(self, node: int, kind: int, height: int, round: int, block: Block | None) -> Vote:
        value = block.hash if block is not None else None
        text = f"vote/{node}/{kind}/{height}/{round}/{value!r}"
        return Vote(kind, height, round, value, self.key(node), hashlib.sha512(text.encode()).digest())

    def proposal(self, node: int, height: int, round: int, block: Block, valid_round: int = -1) -> Proposal:
        text = f"proposal/{node}/{height}/{round}/{block.hash!r}/{valid_round}"
        return Proposal(height, round, block.hash, valid_round, self.key(node), hashlib.sha512(text.encode()).digest())

    def block(
        self, height: int, label: int = 0, transactions: Sequence[RawTransaction] = (), **header: object
    ) -> Block:
        """A block on the last committed one; blocks of different labels differ in their time."""
        fields: dict[str, object] = {
            "version": 1,
            "chain_id": CHAIN_ID,
            "height": height,
            "parent": self.parent,
            "time_ms": 1000 * height + label,
            "producer": self.key(0),
            "transaction_count": len(transactions),
            "transactions_root": EMPTY_ROOT,
            "state_root": b"s" * 32,
            "validators_hash": self.get_set(height).hash,
            "next_validators_hash": self.get_set(height + 1).hash,
            "evidence_root": NO_EVIDENCE_ROOT,
        } | header
        return Block.create(Header(**fields), transactions)  # type: ignore[arg-type]

    def sign(self, node: int, message: Vote | Proposal) -> Vote | Proposal:
        """A node signs, flushes and sends a message."""
        self.do(node, Append(Signed(message)), Flush(), Broadcast(message))
        return message

    def see(self, node: int, message: Vote | Proposal | BlockPart) -> None:
        """A node receives and accepts a message."""
        self.now_ms += 1
        self.trace.step(self.name(node), self.now_ms, Received(b"p" * 32, message), [Append(Seen(message))])

    # ------------------------------------------------------------------ whole rounds

    def certificate(self, block: Block, round: int, signers: Sequence[int]) -> Certificate:
        votes = [self.vote(node, PRECOMMIT, block.height, round, block) for node in signers]
        signatures = tuple(CommitSignature(vote.validator, vote.signature) for vote in votes)
        return Certificate(block.height, round, block.hash, signatures)

    def commit(self, node: int, block: Block, certificate: Certificate, **changed: object) -> None:
        execution = Execution(
            block=block,
            changes=changed.get("changes", ()),  # type: ignore[arg-type]
            undo=(),
            transaction_ids=tuple(hashlib.sha256(raw.text).hexdigest() for raw in block.transactions),
            state_root=changed.get("state_root", block.header.state_root),  # type: ignore[arg-type]
        )
        self.heights[node] = block.height
        self.do(node, Commit(block, certificate, execution))

    def propose(self, block: Block, round: int, nodes: Sequence[int]) -> None:
        """The proposer of a round proposes, and the nodes receive it."""
        proposer = self.get_proposer(block.height, round)
        proposal = self.proposal(proposer, block.height, round, block)
        part = BlockPart(block.height, block.data)
        self.do(proposer, Append(Seen(part)), Append(Signed(proposal)), Flush(), Broadcast(proposal), Broadcast(part))
        for node in nodes:
            if node != proposer:
                self.see(node, proposal)
                self.see(node, part)

    def poll(self, kind: int, height: int, round: int, block: Block | None, nodes: Sequence[int]) -> None:
        """The nodes all vote the same and hear of each other's votes."""
        votes = [self.vote(node, kind, height, round, block) for node in nodes]
        for node, vote in zip(nodes, votes, strict=True):
            self.sign(node, vote)
        for node in nodes:
            for vote in votes:
                if vote.validator != self.key(node):
                    self.see(node, vote)

    def decide(self, block: Block, round: int = 0, nodes: Sequence[int] = (0, 1, 2, 3)) -> None:
        """A height as it should be: proposal, prevotes, precommits, commits."""
        self.propose(block, round, nodes)
        self.poll(PREVOTE, block.height, round, block, nodes)
        self.poll(PRECOMMIT, block.height, round, block, nodes)
        for node in nodes:
            self.commit(node, block, self.certificate(block, round, nodes))
        self.parent = block.hash

    def get_proposer(self, height: int, round: int) -> int:
        return self.get_set(height).get_proposer(round).public_key[0] - 1

    # ------------------------------------------------------------------ verdicts

    def finish(self) -> Verdict:
        [verdict] = self.trace.finish()
        return verdict

    def assert_proven(self, *words: str) -> None:
        verdict = self.finish()
        assert verdict.outcome is Outcome.PROVEN, verdict
        for word in words:
            assert word in verdict.line, verdict

    def assert_violated(self, *words: str) -> None:
        verdict = self.finish()
        assert verdict.outcome is Outcome.VIOLATED, verdict
        assert self.trace.violation is not None
        for word in words:
            assert word in verdict.line, verdict
