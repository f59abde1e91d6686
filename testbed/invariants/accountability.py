"""Accountability: evidence names only the guilty, and a fork names enough of them.

A fork in one round: whoever signed both certificates, at least 2·quorum − total of the power. A fork across rounds is
judged from the whole trace: two certificates alone do not tell who forgot a lock. Amnesiacs are those who precommitted
the first block and in a later round voted for the other, though no polka for it, of a round from the first on, had been
there. In either case none of the named may be a correct node.

And the guilty do not get away: a correct node that holds both votes of a double vote puts them into the next block that
it makes itself, two heights on at the latest.
"""

from __future__ import annotations

from collections.abc import Iterable

from tana.types.block import Certificate
from tana.types.evidence import Evidence
from tana.types.messages import PREVOTE
from tana.types.vote import PROPOSAL
from testbed.invariants.base import Invariant
from testbed.invariants.decision import Decision
from testbed.invariants.double_sign import describe_value
from testbed.invariants.facts import NodeFacts, SetFacts
from testbed.invariants.statements import HEIGHTS_REMEMBERED, Statement
from testbed.needs import STEPS

Voters = dict[tuple[int, int, bytes | None], set[bytes]]
"""Who voted, by kind, round and value."""


class Accountability(Invariant):
    number = 13
    name = "accountability"
    needs = frozenset({STEPS})

    def __init__(self) -> None:
        super().__init__()
        self._votes: dict[int, Voters] = {}
        """By height the votes of others than correct nodes."""
        self._named: set[bytes] = set()
        self._accused: dict[bytes, int] = {}
        self._evidence = 0
        self._forks = 0
        self._heard: dict[str, tuple[int, dict[tuple[bytes, int, int], bytes | None]]] = {}
        """By node the height it decides, and what others than correct nodes voted in it."""
        self._known: dict[str, dict[bytes, int]] = {}
        """By node the offenders it knows of, and since which height."""
        self._made: dict[bytes, str] = {}
        """Who made a block, by its hash: whoever was the first to propose it."""

    def on_signed(self, node: NodeFacts, statement: Statement) -> None:
        if statement.kind == PROPOSAL and statement.valid_round < 0 and statement.block_hash is not None:
            self._made[statement.block_hash] = node.name

    def on_vote(self, node: NodeFacts, vote: Statement) -> None:
        # What correct nodes sign is in the book of statements.
        if vote.validator not in self.world.correct:
            self._note(vote)
            self._compare(node, vote)

    def on_end(self, node: NodeFacts, reason: str) -> None:
        # What it knew was in its memory.
        self._known.pop(node.name, None)
        self._heard.pop(node.name, None)

    def on_final(self, node: NodeFacts, decision: Decision) -> None:
        for evidence in decision.block.evidence:
            fault = self._find_fault(evidence, decision)
            self._evidence += 1
            self._accused[evidence.validator] = decision.height
            if fault:
                what = f"evidence of a double {evidence.kind} at height {evidence.height}"
                self.violate(
                    f"{node.name} at height {decision.height} committed {what} against"
                    f" {self._describe(evidence.validator)} ≠ {fault}",
                    node.name,
                    height=decision.height,
                    accused=evidence.validator.hex(),
                )
        self._judge_silence(decision)

    def _judge_silence(self, decision: Decision) -> None:
        """Whoever made the block knew of nobody whom it should have accused."""
        maker = self._made.get(decision.block_hash, "")
        members = self.world.sets.get(decision.height)
        for validator, since in list(self._known.get(maker, {}).items()):
            if validator in self._accused:
                del self._known[maker][validator]
            elif decision.height >= since + 2 and members is not None and validator in members.powers:
                self.violate(
                    f"{maker} knows of a double vote by {self._describe(validator)} since height {since}"
                    f" ≠ the block that it made at height {decision.height}, which does not hold the evidence",
                    maker,
                    height=decision.height,
                    offender=validator.hex(),
                )
        if len(self._made) > HEIGHTS_REMEMBERED:
            self._made.clear()

    def _compare(self, node: NodeFacts, vote: Statement) -> None:
        """Note who gave a node two votes of one slot, at the height that it decides."""
        if vote.height != node.height + 1:
            return
        height, heard = self._heard.get(node.name, (0, {}))
        if height != vote.height:
            heard = {}
            self._heard[node.name] = (vote.height, heard)
        slot = (vote.validator, vote.kind, vote.round)
        if heard.setdefault(slot, vote.block_hash) != vote.block_hash:
            self._known.setdefault(node.name, {}).setdefault(vote.validator, vote.height)

    def _find_fault(self, evidence: Evidence, decision: Decision) -> str:
        """Why evidence does not convict whom it names, empty where it does."""
        if evidence.validator in self.world.correct:
            return "who is correct"
        if evidence.validator in self._accused:
            return f"who was convicted at height {self._accused[evidence.validator]} already"
        first, second = Statement(evidence.first), Statement(evidence.second)
        if first.slot != second.slot or first.validator != second.validator:
            return "two messages of one height, round and kind"
        if describe_value(first) == describe_value(second):
            return "two messages that differ"
        chain_id = decision.header.chain_id
        for statement in (first, second):
            signed = statement.message.sign_bytes(chain_id)
            if not self.world.verifier(statement.validator, signed, statement.signature):
                return "who did not sign that"
        members = self.world.sets.get(evidence.height)
        return "" if members is None or evidence.validator in members.powers else "who was no member"

    def on_commit(self, node: NodeFacts, decision: Decision) -> None:
        first = self.world.commits[decision.height]
        if decision.block_hash != first.block_hash and node.validators is not None:
            self._forks += 1
            one, other = sorted((first.certificate, decision.certificate), key=lambda item: item.round)
            self._judge_fork(one, other, node.validators)

    def _judge_fork(self, one: Certificate, other: Certificate, validators: SetFacts) -> None:
        signed_one = {item.validator for item in one.signatures}
        if one.round == other.round:
            guilty = signed_one & {item.validator for item in other.signatures}
            what = f"double precommits in round {one.round}"
        else:
            guilty = signed_one & self._find_turncoats(one, other)
            what = f"amnesia between rounds {one.round} and {other.round}"
        self._name(guilty)
        power = sum(validators.powers.get(key, 0) for key in guilty)
        bound = 2 * validators.quorum - validators.total
        names = ", ".join(sorted(validators.describe(key) for key in guilty)) or "nobody"
        innocent = sorted(self.world.correct[key] for key in guilty if key in self.world.correct)
        if innocent:
            self.violate(
                f"the fork at height {one.height} names {', '.join(innocent)} for {what} ≠ correct", height=one.height
            )
        elif power < bound:
            self.violate(
                f"the fork at height {one.height} names {names} for {what}, power {power} ≠ at least {bound}",
                height=one.height,
            )

    def _find_turncoats(self, one: Certificate, other: Certificate) -> set[bytes]:
        """Who voted for the second block, above the first one's round, where nothing had unlocked it yet.

        That is the first round above in which anybody did so with a polka's worth of prevotes, or else any vote.
        """
        votes = self._list_voters(one.height)
        for round in range(one.round + 1, other.round + 1):
            voters = votes.get((PREVOTE, round, other.block_hash), set())
            if voters and self._is_quorum(one.height, voters):
                return voters
        turncoats = {item.validator for item in other.signatures}
        for (_, round, value), voters in votes.items():
            if value == other.block_hash and one.round < round <= other.round:
                turncoats |= voters
        return turncoats

    def _is_quorum(self, height: int, voters: Iterable[bytes]) -> bool:
        validators = self.world.sets[height]
        return sum(validators.powers.get(key, 0) for key in voters) >= validators.quorum

    def _note(self, vote: Statement) -> None:
        votes = self._votes.get(vote.height)
        if votes is None:
            votes = self._votes[vote.height] = {}
            for height in [height for height in self._votes if height <= vote.height - HEIGHTS_REMEMBERED]:
                del self._votes[height]
        votes.setdefault((vote.kind, vote.round, vote.block_hash), set()).add(vote.validator)

    def _list_voters(self, height: int) -> Voters:
        """What anybody voted at a height."""
        votes = {value: set(voters) for value, voters in self._votes.get(height, {}).items()}
        for statement in self.world.statements.list_height(height):
            if statement.kind != PROPOSAL:
                value = (statement.kind, statement.round, statement.block_hash)
                votes.setdefault(value, set()).add(statement.validator)
        return votes

    def _name(self, guilty: Iterable[bytes]) -> None:
        self._named.update(guilty)

    def _describe(self, key: bytes) -> str:
        known = (members.names[key] for members in self.world.sets.values() if key in members.names)
        return next(known, key.hex()[:8])

    def find_missing(self) -> str:
        return "" if self._evidence or self._forks else "nobody was accused: no evidence was committed, and no fork"

    def summarize(self) -> str:
        names = ", ".join(sorted({self._describe(key) for key in (*self._named, *self._accused)}))
        return f"{self._evidence} pieces of evidence and {self._forks} forks name {names}, all of them guilty"
