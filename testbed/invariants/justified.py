"""Justified: a precommit for a block needs a polka seen before, a prevote its proposal, a proposal its turn.

A later round needs precommits of a quorum in the one before (L47), or a third of the power there or beyond (L55); and
who has seen a third of the power beyond its round says nothing more in it. Precommits of a quorum for the block on
which a node is locked, of whichever round, end the height (L49). A restart may forget what was seen.

Whose turn a round is follows from a rotation computed here again. A precommitted block's bytes must be in the log
before the precommit: otherwise, after a crash of all, nobody could show the block that is final.
"""

from __future__ import annotations

from tana.types.messages import PRECOMMIT
from tana.types.vote import PROPOSAL
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.facts import Begin, NodeFacts, SetFacts
from testbed.invariants.statements import Slot, Statement
from testbed.invariants.tally import Tally
from testbed.needs import STEPS

Reached = dict[bytes, tuple[int, int]]
"""The last round of each validator that has come further than round 0, and its power."""


class _Rounds:
    """What a node has seen of the rounds of the height it decides."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.signed = 0
        """The last round in which it signed something."""
        self.precommits: dict[int, Tally] = {}
        """Who precommitted anything, by round."""
        self.reached: Reached = {}
        self.reached_lately: Reached = {}
        """The same, as far as it was seen since the node began."""
        self.commits: dict[tuple[int, bytes], Tally] = {}
        """Who precommitted a block, by round and block: seen since then, and in that round or later."""

    def add_precommit(self, vote: Statement, power: int) -> None:
        tally = self.precommits.get(vote.round)
        if tally is None:
            tally = self.precommits[vote.round] = Tally()
        tally.add(vote.validator, power)
        # Of votes of rounds ahead a node keeps a few only.
        if vote.block_hash is not None and vote.round <= self.signed:
            value = (vote.round, vote.block_hash)
            tally = self.commits.get(value)
            if tally is None:
                tally = self.commits[value] = Tally()
            tally.add(vote.validator, power)

    def add_round(self, vote: Statement, power: int) -> None:
        for reached in (self.reached, self.reached_lately):
            if vote.round > reached.get(vote.validator, (-1, 0))[0]:
                reached[vote.validator] = (vote.round, power)


class Justified(Invariant):
    number = 9
    name = "justified"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._precommits = 0
        self._proposals = 0
        self._rounds: dict[str, _Rounds] = {}
        self._floors: dict[str, Slot] = {}
        self._logged: dict[str, tuple[int, bytes, int]] = {}
        """Height and block of a node's last precommit, and how many blocks its log held by then."""

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        # Whose sign-state was lost begins above what it may have signed: it need not show how it came there.
        self._floors[node.name] = begin.sign_floor
        if node.name in self._rounds:
            self._rounds[node.name].reached_lately = {}
            self._rounds[node.name].commits = {}

    def on_signed(self, node: NodeFacts, statement: Statement) -> None:
        if statement.height != node.height + 1:
            return
        self._judge_round(node, statement)
        block_hash = statement.block_hash
        if statement.kind == PROPOSAL:
            self._judge_turn(node, statement)
            if statement.valid_round >= 0 and not node.has_polka(statement.valid_round, block_hash):
                self._violate(
                    node, statement, f"proposes with valid round {statement.valid_round}, of which it saw no polka"
                )
            return
        if block_hash is None:
            return
        if statement.kind == PRECOMMIT:
            self._precommits += 1
            self._logged[node.name] = (statement.height, block_hash, len(node.blocks_logged))
            if not node.has_polka(statement.round, block_hash):
                tally = node.polkas.get((statement.round, block_hash))
                power = tally.power if tally is not None else 0
                quorum = node.validators.quorum if node.validators is not None else 0
                seen = f"prevotes of power {power} that it had seen, of {quorum} needed"
                self._violate(node, statement, f"precommits {block_hash.hex()[:8]}… ≠ {seen}")
        elif (statement.round, block_hash) not in node.proposals:
            self._violate(
                node, statement, f"prevotes {block_hash.hex()[:8]}…, which nobody proposed to it in that round"
            )

    def on_proposal(self, node: NodeFacts, proposal: Statement) -> None:
        if proposal.height == node.height + 1:
            self._judge_turn(node, proposal)

    def on_vote(self, node: NodeFacts, vote: Statement) -> None:
        if vote.height == node.height + 1:
            self._note_round(node, vote, self._get_rounds(node))

    def on_wipe(self, node: NodeFacts) -> None:
        # It commits again what it had committed, and its log need not hold that any more.
        if self._logged.get(node.name, (0, b"", 0))[0] <= node.height:
            self._logged.pop(node.name, None)

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        height, block_hash, count = self._logged.get(node.name, (0, b"", 0))
        if height != decision.height or block_hash != decision.block_hash:
            return
        if decision.block.data not in node.blocks_logged[:count]:
            self.violate(
                f"{node.name} at height {height} precommitted {block_hash.hex()[:8]}… ≠ its log,"
                " which did not hold that block's bytes yet",
                node.name,
                height=height,
            )

    def _get_rounds(self, node: NodeFacts) -> _Rounds:
        rounds = self._rounds.get(node.name)
        if rounds is None or rounds.height != node.height + 1:
            rounds = self._rounds[node.name] = _Rounds(node.height + 1)
        return rounds

    @staticmethod
    def _note_round(node: NodeFacts, vote: Statement, rounds: _Rounds) -> None:
        # Nobody asks who has come to round 0 and no further.
        if vote.kind != PRECOMMIT and vote.round == 0:
            return
        power = node.get_power(vote.validator)
        if vote.kind == PRECOMMIT:
            rounds.add_precommit(vote, power)
        if vote.round > 0:
            rounds.add_round(vote, power)

    def _judge_round(self, node: NodeFacts, statement: Statement) -> None:
        """The first message of a round above 0: why is it there?"""
        rounds, validators = self._get_rounds(node), node.validators
        is_new = statement.round > rounds.signed
        if validators is not None:
            if is_new:
                self._judge_entry(node, statement, rounds, validators)
            # What wakes a node may be a vote of a later round: then its proposal for round 0 comes first.
            if statement.kind != PROPOSAL or statement.round > 0:
                self._judge_stay(node, statement, rounds, validators)
        if is_new:
            rounds.signed = statement.round
        if statement.kind != PROPOSAL:
            self._note_round(node, statement, rounds)

    def _judge_entry(self, node: NodeFacts, statement: Statement, rounds: _Rounds, validators: SetFacts) -> None:
        """Why it is in a later round than before."""
        round = statement.round
        floor_height, floor_round, _ = self._floors.get(node.name, (0, 0, 0))
        if (statement.height, round) <= (floor_height, floor_round + 1):
            return
        tally = rounds.precommits.get(round - 1)
        waited = tally.power if tally is not None else 0
        beyond = sum(power for reached, power in rounds.reached.values() if reached >= round)
        if waited < validators.quorum and 3 * beyond < validators.total:
            reason = f"precommits of power {waited} in round {round - 1}, of {validators.quorum} needed"
            self._violate(node, statement, f"is in that round ≠ {reason}, and power {beyond} there or beyond")

    def _judge_stay(self, node: NodeFacts, statement: Statement, rounds: _Rounds, validators: SetFacts) -> None:
        """Why it is not in a later round, or at the next height."""
        if rounds.reached_lately:
            ahead = [item for item in rounds.reached_lately.values() if item[0] > statement.round]
            power = sum(power for _, power in ahead)
            if ahead and 3 * power >= validators.total:
                last = min(round for round, _ in ahead)
                self._violate(node, statement, f"is still in that round ≠ round {last}, where it saw power {power}")
        for (round, block_hash), tally in rounds.commits.items():
            if tally.power >= validators.quorum and block_hash == node.locked_hash:
                reason = f"precommits of power {tally.power} for {block_hash.hex()[:8]}… in round {round}"
                self._violate(node, statement, f"goes on with that height ≠ {reason}, of which it knew")

    def _judge_turn(self, node: NodeFacts, proposal: Statement) -> None:
        self._proposals += 1
        validators = node.validators
        if validators is None:
            return
        expected = validators.get_proposer(proposal.round)
        if proposal.validator != expected:
            what = (
                "proposes" if proposal.validator == node.key else f"accepts {self._describe(node, proposal)}'s proposal"
            )
            self._violate(node, proposal, f"{what} ≠ {validators.describe(expected)}, whose turn it is")

    @staticmethod
    def _describe(node: NodeFacts, proposal: Statement) -> str:
        return node.validators.describe(proposal.validator) if node.validators is not None else ""

    def _violate(self, node: NodeFacts, statement: Statement, reason: str) -> None:
        self.violate(
            f"{node.name} at height {statement.height} round {statement.round} {reason}",
            node.name,
            height=statement.height,
            round=statement.round,
        )

    def find_missing(self) -> str:
        return "" if self._precommits and self._proposals else "no correct node accepted a proposal and precommitted it"

    def summarize(self) -> str:
        return f"{self._precommits} precommits after a polka, {self._proposals} proposals by whose turn it was"
