"""Heights decided lately: what validators said in them, so that who told each half something else is found out.

A decision needs no more than a quorum, so at the moment a height ends, two correct nodes may each hold another vote of
one validator, and neither knows. Therefore the votes and proposals of the last `HEIGHTS_KEPT` heights stay, nodes tell
each other of them in their next announcements, `TIMES_ANNOUNCED` times for links that lose some, and whoever sees
that a peer was told otherwise sends what it was told.

Late votes are kept unverified: nearly all of them are honest, and only two that conflict are worth checking.
Memory is bounded: `HEIGHTS_KEPT` heights, `ROUNDS_KEPT` rounds of each, two values for each validator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tana.consensus.votes import TAG_TWO, HeightVotes, compute_proposal_tag
from tana.crypto.keys import Verifier
from tana.types.evidence import Evidence, get_value
from tana.types.messages import PRECOMMIT, PREVOTE, PastVotes, Proposal, RoundVotes, Vote

HEIGHTS_KEPT = 16
ROUNDS_KEPT = 4
"""Of a height, the last rounds that it reached."""
TIMES_ANNOUNCED = 4
"""How often a height is in our announcements, and again after it has changed."""
CONFLICTS_SENT_MAX = 32
"""Messages sent for one announcement: a lying one must not make us send everything we have."""


class _PastHeight:
    def __init__(self, votes: HeightVotes, proposals: dict[int, Proposal], equivocal: set[int]) -> None:
        self.votes = votes
        self.proposals = proposals
        self.equivocal = equivocal
        """Rounds whose proposer is known to have made two proposals."""
        self.unverified: set[tuple[int, int, bytes]] = set()
        self.summary: PastVotes | None = None


class PastHeights:
    """The last heights' votes and proposals."""

    def __init__(self, chain_id: bytes, verifier: Verifier) -> None:
        self._chain_id = chain_id
        self._verifier = verifier
        self._heights: dict[int, _PastHeight] = {}
        self._to_announce: dict[int, int] = {}

    def remember(
        self, height: int, last_round: int, votes: HeightVotes, proposals: dict[int, Proposal], equivocal: set[int]
    ) -> None:
        """Take over the votes and proposals of a height that ends in `last_round`."""
        kept = range(max(last_round - ROUNDS_KEPT + 1, 0), last_round + 1)
        votes.keep_rounds(kept)
        if not votes.rounds():
            return
        proposals = {round: proposal for round, proposal in proposals.items() if round in kept}
        self._heights[height] = _PastHeight(votes, proposals, equivocal)
        self._to_announce[height] = TIMES_ANNOUNCED
        if len(self._heights) > HEIGHTS_KEPT:
            # Heights only grow: the first is the lowest.
            lowest = next(iter(self._heights))
            del self._heights[lowest]
            self._to_announce.pop(lowest, None)

    def on_vote(self, vote: Vote) -> Evidence | None:
        """A late vote: kept where it is its validator's first, and evidence where it conflicts and both are signed."""
        past = self._heights.get(vote.height)
        tally = past.votes.find(vote.round, vote.kind) if past is not None else None
        if past is None or tally is None or not tally.is_member(vote.validator):
            return None
        known = tally.get(vote.validator)
        if len(known) > 1 or tally.holds(vote):
            return None
        slot = (vote.round, vote.kind, vote.validator)
        if not known:
            past.unverified.add(slot)
        elif not self._is_signed(vote):
            return None
        elif slot in past.unverified:
            past.unverified.discard(slot)
            if not self._is_signed(known[0]):
                tally.remove_validator(vote.validator)
                known = ()
        tally.add(vote)
        self._on_changed(vote.height, past)
        return Evidence.create(known[0], vote) if known else None

    def on_proposal(self, proposal: Proposal) -> Evidence | None:
        """A late proposal: evidence where it is its proposer's second one for the round and is signed."""
        past = self._heights.get(proposal.height)
        known = past.proposals.get(proposal.round) if past is not None else None
        if past is None or known is None or known.validator != proposal.validator or proposal.round in past.equivocal:
            return None
        if get_value(known) == get_value(proposal) or not self._is_signed(proposal):
            return None
        past.equivocal.add(proposal.round)
        self._on_changed(proposal.height, past)
        return Evidence.create(known, proposal)

    def summarize(self) -> tuple[PastVotes, ...]:
        """What an announcement says of these heights: of those that were not announced often enough."""
        return tuple(self._summarize(height, self._heights[height]) for height in self._to_announce)

    def on_announced(self) -> None:
        """What `summarize` said was sent to every peer."""
        self._to_announce = {height: times - 1 for height, times in self._to_announce.items() if times > 1}

    def find_conflicting(self, told: Sequence[PastVotes]) -> list[Vote | Proposal]:
        """What we were told otherwise than a peer that announced `told`: the peer is to see it."""
        found: list[Vote | Proposal] = []
        for theirs in told:
            height = theirs.height
            past = self._heights.get(height)
            if past is None or theirs == self._summarize(height, past):
                continue
            for item in theirs.rounds:
                found += _find_other_proposal(past, item)
                found += past.votes.get(item.round, PREVOTE).conflicting_with(item.prevotes)
                found += past.votes.get(item.round, PRECOMMIT).conflicting_with(item.precommits)
        return found[:CONFLICTS_SENT_MAX]

    def count(self) -> int:
        """How many votes and proposals are held (a gauge for the bound of invariant 15)."""
        return sum(past.votes.count() + len(past.proposals) for past in self._heights.values())

    def _on_changed(self, height: int, past: _PastHeight) -> None:
        past.summary = None
        self._to_announce[height] = TIMES_ANNOUNCED

    def _summarize(self, height: int, past: _PastHeight) -> PastVotes:
        if past.summary is None:
            rounds = past.votes.rounds()
            past.summary = PastVotes(height, tuple(describe_round(past, round) for round in rounds))
        return past.summary

    def _is_signed(self, message: Vote | Proposal) -> bool:
        return self._verifier(message.validator, message.sign_bytes(self._chain_id), message.signature)


class RoundHolder(Protocol):
    """Whatever holds votes and proposals of one height."""

    votes: HeightVotes
    proposals: dict[int, Proposal]
    equivocal: set[int]


def describe_round(holder: RoundHolder, round: int) -> RoundVotes:
    """What `holder` has of a round, as announcements say it."""
    proposal = holder.proposals.get(round)
    prevotes, precommits = holder.votes.get(round, PREVOTE), holder.votes.get(round, PRECOMMIT)
    return RoundVotes(
        round=round,
        proposal=b"" if proposal is None else TAG_TWO if round in holder.equivocal else compute_proposal_tag(proposal),
        prevotes=prevotes.tags,
        precommits=precommits.tags,
        has_prevote_quorum=prevotes.find_quorum()[0],
        has_precommit_quorum=precommits.find_quorum()[0],
    )


def _find_other_proposal(past: _PastHeight, told: RoundVotes) -> list[Proposal]:
    ours = past.proposals.get(told.round)
    if ours is None or told.round in past.equivocal:
        return []
    tag = told.proposal
    if not tag or tag in (TAG_TWO, compute_proposal_tag(ours)):
        return []
    return [ours]
