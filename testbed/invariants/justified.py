"""Justified: a precommit for a block needs a polka seen before, a prevote its proposal, a proposal its turn.

A later round needs precommits of a quorum in the one before (L47), or a third of the power there or beyond (L55); and
who has seen a third of the power beyond its round says nothing more in it. Precommits of a quorum for the block on
which a node is locked, of whichever round, end the height (L49). A restart may forget what was seen.

Whose turn a round is follows from a rotation computed here again. A precommitted block's bytes must be in the log
before the precommit: otherwise, after a crash of all, nobody could show the block that is final.
"""

from __future__ import annotations

from tana.node.effects import Commit
from tana.types.messages import PRECOMMIT, Proposal, Vote
from testbed.invariants.base import Invariant
from testbed.invariants.facts import Begin, NodeFacts
from testbed.needs import STEPS


class _Rounds:
    """What a node has seen of the rounds of the height it decides."""

    def __init__(self, height: int) -> None:
        self.height = height
        self.signed = 0
        """The last round in which it signed something."""
        self.precommits: dict[int, dict[bytes, int]] = {}
        """Power by validator that precommitted anything, by round."""
        self.reached: dict[bytes, tuple[int, int]] = {}
        """The last round of each validator, and its power."""
        self.reached_lately: dict[bytes, tuple[int, int]] = {}
        """The same, as far as it was seen since the node began."""
        self.commits: dict[tuple[int, bytes], dict[bytes, int]] = {}
        """Who precommitted a block, by round and block, and its power: seen since then, and in that round or later."""


class Justified(Invariant):
    number = 9
    name = "justified"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._precommits = 0
        self._proposals = 0
        self._rounds: dict[str, _Rounds] = {}
        self._floors: dict[str, tuple[int, int, int]] = {}
        self._logged: dict[str, tuple[int, bytes, int]] = {}
        """Height and block of a node's last precommit, and how many blocks its log held by then."""

    def on_begin(self, node: NodeFacts, begin: Begin) -> None:
        # Whose sign-state was lost begins above what it may have signed: it need not show how it came there.
        self._floors[node.name] = begin.sign_floor
        if node.name in self._rounds:
            self._rounds[node.name].reached_lately = {}
            self._rounds[node.name].commits = {}

    def on_signed(self, node: NodeFacts, message: Vote | Proposal) -> None:
        if message.height != node.height + 1:
            return
        self._judge_round(node, message)
        if isinstance(message, Proposal):
            self._judge_turn(node, message)
            if message.valid_round >= 0 and not node.has_polka(message.valid_round, message.block_hash):
                self._violate(
                    node, message, f"proposes with valid round {message.valid_round}, of which it saw no polka"
                )
            return
        block_hash = message.block_hash
        if block_hash is None:
            return
        if message.kind == PRECOMMIT:
            self._precommits += 1
            self._logged[node.name] = (message.height, block_hash, len(node.blocks_logged))
            if not node.has_polka(message.round, block_hash):
                voters = node.polkas.get((message.round, block_hash), {})
                quorum = node.validators.quorum if node.validators is not None else 0
                seen = f"prevotes of power {sum(voters.values())} that it had seen, of {quorum} needed"
                self._violate(node, message, f"precommits {block_hash.hex()[:8]}… ≠ {seen}")
        elif (message.round, block_hash) not in node.proposals:
            self._violate(node, message, f"prevotes {block_hash.hex()[:8]}…, which nobody proposed to it in that round")

    def on_proposal(self, node: NodeFacts, proposal: Proposal) -> None:
        if proposal.height == node.height + 1:
            self._judge_turn(node, proposal)

    def on_vote(self, node: NodeFacts, vote: Vote) -> None:
        if vote.height == node.height + 1:
            self._note_round(node, vote)

    def on_wipe(self, node: NodeFacts) -> None:
        # It commits again what it had committed, and its log need not hold that any more.
        if self._logged.get(node.name, (0, b"", 0))[0] <= node.height:
            self._logged.pop(node.name, None)

    def on_commit(self, node: NodeFacts, commit: Commit) -> None:
        height, block_hash, count = self._logged.get(node.name, (0, b"", 0))
        if height != commit.block.height or block_hash != commit.block.hash:
            return
        if all(data != commit.block.data for data in node.blocks_logged[:count]):
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

    def _note_round(self, node: NodeFacts, vote: Vote) -> None:
        rounds = self._get_rounds(node)
        power = node.validators.powers.get(vote.validator, 0) if node.validators is not None else 0
        if vote.kind == PRECOMMIT:
            rounds.precommits.setdefault(vote.round, {})[vote.validator] = power
            # Of votes of rounds ahead a node keeps a few only.
            if vote.block_hash is not None and vote.round <= rounds.signed:
                rounds.commits.setdefault((vote.round, vote.block_hash), {})[vote.validator] = power
        for reached in (rounds.reached, rounds.reached_lately):
            if vote.round > reached.get(vote.validator, (-1, 0))[0]:
                reached[vote.validator] = (vote.round, power)

    def _judge_round(self, node: NodeFacts, message: Vote | Proposal) -> None:
        """The first message of a round above 0: why is it there?"""
        rounds, round = self._get_rounds(node), message.round
        floor_height, floor_round, _ = self._floors.get(node.name, (0, 0, 0))
        is_new = round > rounds.signed and (message.height, round) > (floor_height, floor_round + 1)
        if is_new and round > 0 and node.validators is not None:
            waited = sum(rounds.precommits.get(round - 1, {}).values())
            beyond = sum(power for reached, power in rounds.reached.values() if reached >= round)
            if waited < node.validators.quorum and 3 * beyond < node.validators.total:
                reason = f"precommits of power {waited} in round {round - 1}, of {node.validators.quorum} needed"
                self._violate(node, message, f"is in that round ≠ {reason}, and power {beyond} there or beyond")
        self._judge_stay(node, message, rounds)
        rounds.signed = max(rounds.signed, round)
        if isinstance(message, Vote):
            self._note_round(node, message)

    def _judge_stay(self, node: NodeFacts, message: Vote | Proposal, rounds: _Rounds) -> None:
        """Why it is not in a later round, or at the next height."""
        validators = node.validators
        # What wakes a node may be a vote of a later round: then its proposal for round 0 comes first.
        if validators is None or (isinstance(message, Proposal) and message.round == 0):
            return
        ahead = [item for item in rounds.reached_lately.values() if item[0] > message.round]
        power = sum(power for _, power in ahead)
        if ahead and 3 * power >= validators.total:
            last = min(round for round, _ in ahead)
            self._violate(node, message, f"is still in that round ≠ round {last}, where it saw power {power}")
        for (round, block_hash), voters in rounds.commits.items():
            power = sum(voters.values())
            if block_hash == node.locked_hash and power >= validators.quorum:
                reason = f"precommits of power {power} for {block_hash.hex()[:8]}… in round {round}, of which it knew"
                self._violate(node, message, f"goes on with that height ≠ {reason}")

    def _judge_turn(self, node: NodeFacts, proposal: Proposal) -> None:
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
    def _describe(node: NodeFacts, proposal: Proposal) -> str:
        return node.validators.describe(proposal.validator) if node.validators is not None else ""

    def _violate(self, node: NodeFacts, message: Vote | Proposal, reason: str) -> None:
        self.violate(
            f"{node.name} at height {message.height} round {message.round} {reason}",
            node.name,
            height=message.height,
            round=message.round,
        )

    def find_missing(self) -> str:
        return "" if self._precommits and self._proposals else "no correct node accepted a proposal and precommitted it"

    def summarize(self) -> str:
        return f"{self._precommits} precommits after a polka, {self._proposals} proposals by whose turn it was"
