"""Announcements: what a node holds of its height, and what a peer that announces less is to be sent.

Links lose messages. So a node says at an interval what it holds, and whoever holds more sends the difference: its own
votes and those of others, proposals and blocks, until the height is superseded. Nothing is sent twice on a guess, and
two nodes without a link between them still hear of each other through a third.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tana.consensus.past import describe_round
from tana.consensus.tendermint import Tendermint
from tana.consensus.votes import TAG_TWO, VoteTally, compute_proposal_tag
from tana.types.block import CommitSignature
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    Announcement,
    BlockPart,
    Proposal,
    RoundVotes,
    Vote,
    VoteQuorum,
)

MAX_ROUNDS_ANNOUNCED = 64
_NO_VOTES = RoundVotes(0, b"", b"", b"", has_prevote_quorum=False, has_precommit_quorum=False)


def create_announcement(core: Tendermint, accused: Iterable[bytes] = ()) -> Announcement:
    """What `core` holds of the height it decides and of those before. Of very many rounds the latest are listed.

    `accused` are the validators against whom this node holds evidence.
    """
    rounds = sorted({*core.votes.rounds(), *core.proposals})[-MAX_ROUNDS_ANNOUNCED:]
    return Announcement(
        height=core.height,
        round=core.round,
        step=int(core.step),
        rounds=tuple(describe_round(core, round) for round in rounds),
        blocks=tuple(sorted(core.blocks)),
        past=core.past.summarize(),
        accused=tuple(accused),
    )


Lacking = Vote | Proposal | BlockPart | VoteQuorum


def find_lacking(core: Tendermint, peer: Announcement) -> list[Lacking]:
    """What this node holds, that a peer at the same height needs and has not announced. Proposals come first.

    Needed are the rounds from the peer's previous one on, those that a re-proposal refers to, our own valid value's
    and the deciding one. Of a quorum that the peer does not see it gets all votes in one message: single ones
    would not do where a traitor has told the peer two other values.
    """
    assert peer.height == core.height
    held = {item.round: item for item in peer.rounds}
    lacking: list[Lacking] = []
    for round in _needed_rounds(core, peer):
        item = held.get(round, _NO_VOTES)
        proposal = core.proposals.get(round)
        prevotes, precommits = core.votes.get(round, PREVOTE), core.votes.get(round, PRECOMMIT)
        named = [prevotes.find_quorum()[1], precommits.find_quorum()[1]]
        if proposal is not None:
            named.insert(0, proposal.block_hash)
            if item.proposal not in (TAG_TWO, compute_proposal_tag(proposal)):
                lacking.append(proposal)
        for block_hash in dict.fromkeys(named):
            if block_hash is not None and block_hash in core.blocks and block_hash not in peer.blocks:
                lacking.append(BlockPart(core.height, core.blocks[block_hash].data))
        lacking += _lacking_votes(prevotes, (PREVOTE, core.height, round), item.prevotes, item.has_prevote_quorum)
        lacking += _lacking_votes(
            precommits, (PRECOMMIT, core.height, round), item.precommits, item.has_precommit_quorum
        )
    return lacking


def _lacking_votes(
    tally: VoteTally, place: tuple[int, int, int], tags: bytes, has_quorum: bool
) -> Sequence[Vote | VoteQuorum]:
    """Of one tally; `place` is its kind, height and round."""
    found, block_hash = tally.find_quorum()
    if not found or has_quorum:
        return tally.lacking_from(tags)
    signatures = tuple(CommitSignature(vote.validator, vote.signature) for vote in tally.select(block_hash))
    others = [vote for vote in tally.lacking_from(tags) if vote.block_hash != block_hash]
    return [VoteQuorum(*place, block_hash, signatures), *others]


def _needed_rounds(core: Tendermint, peer: Announcement) -> list[int]:
    known = {*core.votes.rounds(), *core.proposals}
    needed = {round for round in known if round >= peer.round - 1}
    needed |= {proposal.valid_round for round, proposal in core.proposals.items() if round in needed}
    needed |= {core.valid_round} | ({core.votes.decision[0]} if core.votes.decision else set())
    return sorted(needed & known)
