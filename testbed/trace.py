"""The trace of a run: every step of every node in one order, given to the invariants as it happens.

The simulator feeds it live, a replay of journals afterwards. It is called for every step of every node, so what nobody
asks for costs nothing: who has a handler is found out once, and votes, proposals and commits are asked for their fields
once for all invariants.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from tana.crypto.keys import Verifier, verify
from tana.node.effects import Append, Broadcast, Commit, Effect, Flush, Halt, Send, SetTimer, Signed
from tana.node.inputs import Input
from tana.node.machine import MachineGauges
from tana.types.messages import PREVOTE, BlockPart, Proposal, Vote
from tana.types.transaction import SignedTransaction
from tana.types.vote import PROPOSAL
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, Expectation, NodeFacts, Phase, Progress, Violation, World
from testbed.invariants.statements import Statement
from testbed.needs import CHAIN, EXPECTATIONS, GAUGES, RUNS, STEPS, TRANSACTIONS
from testbed.verdict import Verdict

__all__ = ["Begin", "Expectation", "Trace", "Violation"]

# Names that are final need not be looked up each time where this is compiled.
_APPEND: Final[type] = Append
_FLUSH: Final[type] = Flush
_BROADCAST: Final[type] = Broadcast
_SEND: Final[type] = Send
_SET_TIMER: Final[type] = SetTimer
_COMMIT: Final[type] = Commit
_HALT: Final[type] = Halt
_SIGNED: Final[type] = Signed
_VOTE: Final[type] = Vote
_PROPOSAL: Final[type] = Proposal
_BLOCK_PART: Final[type] = BlockPart


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

        def collect(name: str) -> tuple[Invariant, ...]:
            """Those that have a handler of their own."""
            inherited = getattr(Invariant, name)
            return tuple(invariant for invariant in invariants if getattr(type(invariant), name) is not inherited)

        self._on_begin, self._on_end = collect("on_begin"), collect("on_end")
        self._on_wipe, self._on_final = collect("on_wipe"), collect("on_final")
        self._on_signed, self._on_sent = collect("on_signed"), collect("on_sent")
        self._on_vote, self._on_proposal = collect("on_vote"), collect("on_proposal")
        self._on_commit, self._on_halt = collect("on_commit"), collect("on_halt")
        self._on_timer, self._on_gauges = collect("on_timer"), collect("on_gauges")
        self._on_submitted, self._on_acknowledged = collect("on_submitted"), collect("on_acknowledged")
        self._on_expect, self._on_runs = collect("on_expect"), collect("on_runs")

    # ------------------------------------------------------------------ nodes

    def begin(self, node: str, at_ms: int, begin: Begin) -> None:
        """An incarnation of a node begins, before its first step."""
        self.world.now_ms = at_ms
        self.world.missing.pop(STEPS, None)
        facts = self.world.begin(node, begin)
        if begin.is_correct:
            for invariant in self._on_begin:
                invariant.on_begin(facts, begin)

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
        for effect in effects:
            kind = type(effect)
            if kind is _APPEND:
                self._append(facts, effect)
            elif kind is _BROADCAST or kind is _SEND:
                self._send(facts, effect)
            elif kind is _SET_TIMER:
                self._set_timer(facts, effect)
            elif kind is _FLUSH:
                facts.pending.clear()
            elif kind is _COMMIT:
                self._commit(facts, effect)
            elif kind is _HALT:
                self._halt(facts, effect)

    def gauges(self, node: str, at_ms: int, gauges: MachineGauges) -> None:
        """What a node holds in memory at this moment."""
        self.world.now_ms = at_ms
        self.world.missing.pop(GAUGES, None)
        facts = self.world.nodes[node]
        if facts.is_correct:
            for invariant in self._on_gauges:
                invariant.on_gauges(facts, gauges)

    def end(self, node: str, at_ms: int, reason: str) -> None:
        """A node died or was stopped; what it had not flushed is lost."""
        self.world.now_ms = at_ms
        facts = self.world.nodes[node]
        facts.is_up = False
        if facts.is_correct:
            for invariant in self._on_end:
                invariant.on_end(facts, reason)
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
            for invariant in self._on_wipe:
                invariant.on_wipe(facts)

    def wipe_sign_state(self, node: str, at_ms: int) -> None:
        """A fault took the log of a node that is down: it may have forgotten its lock."""
        self.world.now_ms = at_ms
        self.world.nodes[node].forget_lock()

    # ------------------------------------------------------------------ clients and harness

    def submitted(self, at_ms: int, transaction: SignedTransaction) -> None:
        """A client sends a transaction, perhaps not for the first time."""
        self.world.now_ms = at_ms
        self.world.missing.pop(TRANSACTIONS, None)
        for invariant in self._on_submitted:
            invariant.on_submitted(transaction)

    def acknowledged(self, at_ms: int, node: str, transaction_id: str, height: int) -> None:
        """A node told a client that a transaction is final at a height."""
        self.world.now_ms = at_ms
        facts = self.world.nodes[node]
        if facts.is_correct:
            for invariant in self._on_acknowledged:
                invariant.on_acknowledged(facts, transaction_id, height)

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
        for invariant in self._on_expect:
            invariant.on_expect(expectation)

    def compare_runs(self, first: str, second: str) -> None:
        """The hashes of the traces of two runs of one seed."""
        self.world.missing.pop(RUNS, None)
        for invariant in self._on_runs:
            invariant.on_runs(first, second)

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

    def _append(self, facts: NodeFacts, effect: Any) -> None:
        record = effect.record
        kind = type(record)
        if kind is _SIGNED:
            self._sign(facts, record.message)
        else:
            self._see(facts, record.message)

    def _send(self, facts: NodeFacts, effect: Any) -> None:
        message = effect.message
        kind = type(message)
        if kind is _VOTE or kind is _PROPOSAL:
            statement = self.world.statements.read(message)
            for invariant in self._on_sent:
                invariant.on_sent(facts, statement)

    def _set_timer(self, facts: NodeFacts, effect: Any) -> None:
        for invariant in self._on_timer:
            invariant.on_timer(facts, effect.timer)

    def _halt(self, facts: NodeFacts, effect: Any) -> None:
        for invariant in self._on_halt:
            invariant.on_halt(facts, effect.reason)

    def _sign(self, facts: NodeFacts, message: Vote | Proposal) -> None:
        statement = Statement(message)
        self.world.statements.note(statement)
        facts.pending.append(statement)
        for invariant in self._on_signed:
            invariant.on_signed(facts, statement)
        if statement.kind == PROPOSAL:
            facts.add_proposal(statement)
        elif statement.kind == PREVOTE:
            facts.add_prevote(statement)
        elif statement.block_hash is not None:
            facts.lock(statement)
        facts.round = max(facts.round, statement.round)

    def _see(self, facts: NodeFacts, message: Any) -> None:
        kind = type(message)
        if kind is _BLOCK_PART:
            facts.blocks_logged.append(message.data)
            return
        world = self.world
        statement = world.statements.read(message)
        if statement.kind == PROPOSAL:
            for invariant in self._on_proposal:
                invariant.on_proposal(facts, statement)
            if world.is_genuine(statement):
                facts.add_proposal(statement)
        else:
            for invariant in self._on_vote:
                invariant.on_vote(facts, statement)
            if statement.kind == PREVOTE and world.is_genuine(statement):
                facts.add_prevote(statement)

    def _commit(self, facts: NodeFacts, commit: Any) -> None:
        world, decision = self.world, Decision(commit)
        height = decision.height
        is_first = height not in world.commits
        if is_first:
            world.advance(decision, facts.name)
        for invariant in self._on_commit:
            invariant.on_commit(facts, decision)
        if is_first:
            for invariant in self._on_final:
                invariant.on_final(facts, decision)
        facts.enter(height + 1, world.sets.get(height + 1))
        facts.tip = decision.block_hash

    def _on_violation(self, violation: Violation) -> None:
        if self.violation is None:
            self.violation = violation


_KNOWN = frozenset((*dir(Invariant), "on_violation"))
