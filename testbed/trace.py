"""The trace of a run: every step of every node in one order, given to the invariants as it happens.

The simulator feeds it live, a replay of journals afterwards. It is called for every step of every node, so what nobody
asks for costs nothing: lists of handlers are made once, and each effect is looked at once, by its type.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from tana.crypto.keys import Verifier, verify
from tana.node.effects import Append, Broadcast, Commit, Effect, Flush, Halt, Send, SetTimer, Signed
from tana.node.inputs import Input
from tana.node.machine import MachineGauges
from tana.types.messages import PREVOTE, BlockPart, Proposal, Vote
from tana.types.transaction import SignedTransaction
from testbed.invariants.base import HANDLERS, Invariant
from testbed.invariants.facts import Begin, Expectation, NodeFacts, Phase, Progress, Violation, World
from testbed.needs import CHAIN, EXPECTATIONS, GAUGES, RUNS, STEPS, TRANSACTIONS
from testbed.verdict import Verdict

__all__ = ["Begin", "Expectation", "Trace", "Violation"]

SENT = frozenset({Vote, Proposal, BlockPart})
"""What `on_sent` is about."""


class Trace:
    """Gives events to invariants. `violation` is the first one that any of them found. Times are in ms.

    `verifier` checks signatures where it matters that they are real: the one that the nodes use. In virtual time
    (`is_virtual`) the bounds of liveness are in rounds.

    Events must come in an order in which nothing is received before it was sent.
    """

    def __init__(
        self, invariants: Sequence[Invariant], verifier: Verifier = verify, *, is_virtual: bool = False
    ) -> None:
        self.invariants = tuple(invariants)
        self.violation: Violation | None = None
        self.world = World(verifier, is_virtual=is_virtual)
        self.world.missing |= {
            STEPS: "no node's steps were recorded",
            CHAIN: "the trace does not begin at the genesis",
            GAUGES: "no node's gauges were recorded",
            TRANSACTIONS: "it is not known what was submitted",
            EXPECTATIONS: "it is not known what had to happen",
            RUNS: "the seed was run once",
        }
        for invariant in invariants:
            invariant.world = self.world
            invariant.on_violation = self._on_violation
            unknown = [name for name in dir(invariant) if name.startswith("on_") and name not in _KNOWN]
            assert not unknown, f"{invariant.name} has handlers that nobody calls: {unknown}"

        def collect(name: str) -> tuple[Callable[..., None], ...]:
            return tuple(getattr(invariant, name) for invariant in invariants if hasattr(invariant, name))

        self._on_begin, self._on_end = collect("on_begin"), collect("on_end")
        self._on_wipe, self._on_final = collect("on_wipe"), collect("on_final")
        self._on_signed = collect("on_signed")
        self._on_vote, self._on_proposal = collect("on_vote"), collect("on_proposal")
        self._on_sent, self._on_commit, self._on_halt = collect("on_sent"), collect("on_commit"), collect("on_halt")
        self._on_timer = collect("on_timer")
        self._on_gauges = collect("on_gauges")
        self._on_submitted, self._on_acknowledged = collect("on_submitted"), collect("on_acknowledged")
        self._on_expect, self._on_runs = collect("on_expect"), collect("on_runs")
        self._watch: dict[type[Any], Callable[[NodeFacts, Any], None]] = {
            Append: self._append,
            Flush: self._flush,
            Commit: self._commit,
        }
        if self._on_sent:
            self._watch |= {Broadcast: self._send, Send: self._send}
        if self._on_halt:
            self._watch[Halt] = self._halt
        if self._on_timer:
            self._watch[SetTimer] = self._set_timer

    # ------------------------------------------------------------------ nodes

    def begin(self, node: str, at_ms: int, begin: Begin) -> None:
        """An incarnation of a node begins, before its first step."""
        self.world.now_ms = at_ms
        self.world.missing.pop(STEPS, None)
        facts = self.world.begin(node, begin)
        if begin.is_correct:
            for handler in self._on_begin:
                handler(facts, begin)

    def step(self, node: str, at_ms: int, input: Input, effects: Sequence[Effect]) -> None:
        """One step of a node: what it was told, and the effects that were performed.

        They are as its machine gave them, before any hook added a lie; of a step that a crash cut short, the first
        ones.
        """
        world = self.world
        facts = world.nodes[node]
        if not facts.is_correct:
            return
        world.now_ms = at_ms
        get = self._watch.get
        for effect in effects:
            watch = get(effect.__class__)
            if watch is not None:
                watch(facts, effect)

    def gauges(self, node: str, at_ms: int, gauges: MachineGauges) -> None:
        """What a node holds in memory at this moment."""
        self.world.now_ms = at_ms
        self.world.missing.pop(GAUGES, None)
        facts = self.world.nodes[node]
        if facts.is_correct:
            for handler in self._on_gauges:
                handler(facts, gauges)

    def end(self, node: str, at_ms: int, reason: str) -> None:
        """A node died or was stopped; what it had not flushed is lost."""
        self.world.now_ms = at_ms
        facts = self.world.nodes[node]
        facts.is_up = False
        if facts.is_correct:
            for handler in self._on_end:
                handler(facts, reason)
        facts.lose_pending()

    def close(self, node: str) -> None:
        """The record of a node has ended. If the node goes on nevertheless, it is not whole."""
        facts = self.world.nodes.get(node)
        if facts is not None:
            self.world.ended.add(facts.key)

    def wipe(self, node: str, at_ms: int) -> None:
        """A fault emptied the data folder of a node that is down: it may begin before its first block again."""
        self.world.now_ms = at_ms
        facts = self.world.nodes[node]
        facts.keep_log()
        if facts.is_correct:
            for handler in self._on_wipe:
                handler(facts)

    def wipe_sign_state(self, node: str, at_ms: int) -> None:
        """A fault took the log of a node that is down: it may have forgotten its lock."""
        self.world.now_ms = at_ms
        self.world.nodes[node].forget_lock()

    # ------------------------------------------------------------------ clients and harness

    def submitted(self, at_ms: int, transaction: SignedTransaction) -> None:
        """A client sends a transaction, perhaps not for the first time."""
        self.world.now_ms = at_ms
        self.world.missing.pop(TRANSACTIONS, None)
        for handler in self._on_submitted:
            handler(transaction)

    def acknowledged(self, at_ms: int, node: str, transaction_id: str, height: int) -> None:
        """A node told a client that a transaction is final at a height."""
        self.world.now_ms = at_ms
        facts = self.world.nodes[node]
        if facts.is_correct:
            for handler in self._on_acknowledged:
                handler(facts, transaction_id, height)

    def expect(  # noqa: PLR0917 - the order is that of a sentence
        self,
        at_ms: int,
        phase: Phase,
        progress: Progress,
        nodes: Collection[str],
        why: str,
        missing: Collection[str] = (),
        *,
        rounds_growing: int = 0,
    ) -> None:
        """From now on (`begin`), or until now (`end`), `nodes` must, must not or may commit new blocks."""
        self.world.now_ms = at_ms
        self.world.missing.pop(EXPECTATIONS, None)
        expectation = Expectation(phase, progress, tuple(nodes), tuple(missing), why, rounds_growing)
        for handler in self._on_expect:
            handler(expectation)

    def compare_runs(self, first: str, second: str) -> None:
        """The hashes of the traces of two runs of one seed."""
        self.world.missing.pop(RUNS, None)
        for handler in self._on_runs:
            handler(first, second)

    def offer(self, feed: str) -> None:
        """A feed is whole, even if nothing came through it."""
        self.world.missing.pop(feed, None)

    def miss(self, feed: str, what: str) -> None:
        """A feed is not whole (a node's journal is missing, say): who needs it cannot tell."""
        self.world.lost[feed] = what

    def finish(self, *, is_complete: bool = True) -> list[Verdict]:
        """The verdict of each invariant, in their order."""
        missing = {**self.world.missing, **self.world.lost}
        return [invariant.finish(missing, is_complete=is_complete) for invariant in self.invariants]

    # ------------------------------------------------------------------ what a step consists of

    def _append(self, facts: NodeFacts, effect: Append) -> None:
        record = effect.record
        if record.__class__ is Signed:
            self._sign(facts, record.message)
        else:
            self._see(facts, record.message)

    def _flush(self, facts: NodeFacts, effect: Flush) -> None:
        facts.pending.clear()

    def _send(self, facts: NodeFacts, effect: Broadcast | Send) -> None:
        message = effect.message
        if message.__class__ in SENT:
            for handler in self._on_sent:
                handler(facts, message)

    def _set_timer(self, facts: NodeFacts, effect: SetTimer) -> None:
        for handler in self._on_timer:
            handler(facts, effect.timer)

    def _halt(self, facts: NodeFacts, effect: Halt) -> None:
        for handler in self._on_halt:
            handler(facts, effect.reason)

    def _sign(self, facts: NodeFacts, message: Any) -> None:
        self.world.signatures.add(message)
        facts.pending.append(message.signature)
        for handler in self._on_signed:
            handler(facts, message)
        if message.__class__ is Vote:
            if message.kind == PREVOTE:
                self._count(facts, message)
            elif message.block_hash is not None:
                facts.lock_before = (message.signature, facts.locked_round, facts.locked_hash)
                facts.locked_round, facts.locked_hash = message.round, message.block_hash
                facts.precommit_height = message.height
        else:
            facts.proposals.add((message.round, message.block_hash))
        facts.round = max(facts.round, message.round)

    def _see(self, facts: NodeFacts, message: Any) -> None:
        kind = message.__class__
        if kind is Vote:
            for handler in self._on_vote:
                handler(facts, message)
            if message.kind == PREVOTE and self.world.is_genuine(message):
                self._count(facts, message)
        elif kind is BlockPart:
            facts.blocks_logged.append(message.data)
        else:
            for handler in self._on_proposal:
                handler(facts, message)
            if self.world.is_genuine(message):
                facts.proposals.add((message.round, message.block_hash))

    def _count(self, facts: NodeFacts, vote: Vote) -> None:
        """A prevote that a node holds, by a member of the set of that height."""
        power = facts.validators.powers.get(vote.validator, 0) if facts.validators is not None else 0
        if vote.height == facts.height + 1 and power:
            voters = facts.polkas.get((vote.round, vote.block_hash))
            if voters is None:
                voters = facts.polkas[vote.round, vote.block_hash] = {}
            voters[vote.validator] = power

    def _commit(self, facts: NodeFacts, commit: Commit) -> None:
        world, height = self.world, commit.block.height
        is_first = height not in world.commits
        if is_first:
            world.advance(commit, facts.name)
        for handler in self._on_commit:
            handler(facts, commit)
        if is_first:
            for handler in self._on_final:
                handler(facts, commit)
        facts.enter(height + 1, world.sets.get(height + 1))
        facts.tip = commit.block.hash

    def _on_violation(self, violation: Violation) -> None:
        if self.violation is None:
            self.violation = violation


_KNOWN = frozenset((*HANDLERS, "on_violation"))
