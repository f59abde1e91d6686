"""What an invariant is: it judges the steps of correct nodes while they happen, in O(1) each, and gives one verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from testbed.checkers.base import ENDED_EARLY
from testbed.invariants.facts import Violation, World
from testbed.needs import FEEDS, find_backends
from testbed.verdict import Outcome, Verdict

TITLE = "invariant "
"""How the checks of invariants are named, with number and name."""

HANDLERS = (
    "on_begin",
    "on_end",
    "on_wipe",
    "on_signed",
    "on_vote",
    "on_proposal",
    "on_sent",
    "on_timer",
    "on_commit",
    "on_final",
    "on_halt",
    "on_gauges",
    "on_submitted",
    "on_acknowledged",
    "on_expect",
    "on_runs",
)
"""What an invariant may have. The first argument is the `NodeFacts` of a correct node, where there is one:

on_begin(node, begin)       an incarnation begins              on_end(node, reason)      it died or was stopped
on_wipe(node)               its data folder is emptied         on_final(node, commit)    the first commit of a height
on_signed(node, message)    a vote or proposal it signs now    on_sent(node, message)    a vote, proposal or block
on_vote(node, vote)         a vote of others it accepts        on_proposal(node, proposal)
on_commit(node, commit)     a block is final for it            on_halt(node, reason)     it will not go on
on_gauges(node, gauges)     what it holds in memory            on_acknowledged(node, transaction_id, height)
on_submitted(transaction)   a client sends a transaction       on_runs(first, second)    hashes of two runs of one seed
on_timer(node, timer)       a timer it sets
on_expect(expectation)      quorum arithmetic says what the chain must do from now on, or until now

What concerns the height it decides (`node.polkas`, `node.locked_round`) is as before the message in `on_signed`, and
the first commit of a height is in `world.commits` when `on_commit` is called.
"""


class Invariant:
    """Base of all invariants. `world` is shared by all of one trace; a handler that is not there is never called."""

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

    def find_missing(self) -> str:
        """What did not happen in this run, so that there was nothing to judge; empty where there was."""
        return ""

    def summarize(self) -> str:
        """What was proven, in a few words with numbers."""
        raise NotImplementedError
