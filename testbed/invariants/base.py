"""What an invariant is: it judges the steps of correct nodes while they happen, in O(1) each, and gives one verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from tana.node.inputs import Timer
from tana.node.machine import MachineGauges
from tana.types.transaction import SignedTransaction
from testbed.checkers.base import ENDED_EARLY
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, Expectation, NodeFacts, Violation, World
from testbed.invariants.statements import Statement
from testbed.needs import FEEDS, find_backends
from testbed.verdict import Outcome, Verdict

TITLE = "invariant "
"""How the checks of invariants are named, with number and name."""


class Invariant:
    """Base of all invariants. `world` is shared by all of one trace; a handler that one does not have is never called.

    What concerns the height that a node decides (`node.polkas`, `node.locked_round`) is as before the statement in
    `on_signed`, and the first commit of a height is in `world.commits` when `on_commit` is called. Nodes are correct
    ones.
    """

    number: ClassVar[int]
    """As in the list of invariants in docs/scenarios.md."""
    name: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    """The feeds without which it cannot tell (see `testbed.needs`)."""

    def __init__(self) -> None:
        self.world = World()
        self.violation: Violation | None = None
        self.on_violation: Callable[[Violation], None] = lambda violation: None

    @classmethod
    def get_backends(cls) -> tuple[str, ...]:
        """The backends that can feed it."""
        return find_backends(cls.needs)

    @property
    def title(self) -> str:
        return f"{TITLE}{self.number} {self.name}"

    def violate(self, line: str, node: str = "", **facts: object) -> None:
        """Record a violation; the first one of each invariant counts."""
        if self.violation is None:
            self.violation = Violation(self.number, self.name, line, self.world.now_ms, node, facts)
            self.on_violation(self.violation)

    def finish(self, missing_feeds: dict[str, str], *, is_complete: bool = True) -> Verdict:
        """The verdict over the whole trace. `missing_feeds` says of each feed that was not whole what it lacked.

        A run that ended early proves nothing. A feed that was not whole makes "could not tell", never a pass.
        """
        lacking = next((missing_feeds[feed] for feed in FEEDS if feed in self.needs and feed in missing_feeds), "")
        if self.violation is None and is_complete and not lacking:
            # May find a violation that only the end shows.
            lacking = self.find_missing()
            is_asked = False
        else:
            is_asked = True
        if self.violation is not None:
            return Verdict(self.title, Outcome.VIOLATED, self.violation.line, dict(self.violation.facts))
        if not is_complete:
            return Verdict(self.title, Outcome.COULD_NOT_TELL, ENDED_EARLY)
        if lacking:
            return Verdict(self.title, Outcome.COULD_NOT_TELL if is_asked else Outcome.NOT_ASKED, lacking)
        return Verdict(self.title, Outcome.PROVEN, self.summarize())

    # ------------------------------------------------------------------ handlers

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        """An incarnation begins."""

    def on_end(self, node: NodeFacts, reason: str) -> None:
        """It died or was stopped."""

    def on_wipe(self, node: NodeFacts) -> None:
        """Its data folder is emptied."""

    def on_signed(self, node: NodeFacts, statement: Statement) -> None:
        """A vote or proposal that it signs now."""

    def on_sent(self, node: NodeFacts, statement: Statement) -> None:
        """A vote or proposal that it sends, its own or another's."""

    def on_vote(self, node: NodeFacts, vote: Statement) -> None:
        """A vote of another that it accepts."""

    def on_proposal(self, node: NodeFacts, proposal: Statement) -> None:
        """A proposal of another that it accepts."""

    def on_timer(self, node: NodeFacts, timer: Timer) -> None:
        """A timer that it sets."""

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        """A block is final for it."""

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        """The first commit of a height."""

    def on_halt(self, node: NodeFacts, reason: str) -> None:
        """It will not go on."""

    def on_gauges(self, node: NodeFacts, gauges: MachineGauges) -> None:
        """What it holds in memory."""

    def on_submitted(self, transaction: SignedTransaction) -> None:
        """A client sends a transaction."""

    def on_acknowledged(self, node: NodeFacts, transaction_id: str, height: int) -> None:
        """It told a client that a transaction is final."""

    def on_expect(self, expectation: Expectation) -> None:
        """Quorum arithmetic says what the chain must do from now on, or until now."""

    def on_runs(self, first: str, second: str) -> None:
        """The hashes of the traces of two runs of one seed."""

    # ------------------------------------------------------------------ the verdict

    def find_missing(self) -> str:
        """What did not happen in this run, so that there was nothing to judge; empty where there was."""
        return ""

    def summarize(self) -> str:
        """What was proven, in a few words with numbers."""
        raise NotImplementedError
