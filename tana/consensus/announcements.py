"""Announcements: what a node holds of its height, and what a peer that announces less is to be sent.

Links lose messages. So a node says at an interval what it holds, and whoever holds more sends the difference: its own
votes and those of others, proposals and blocks, until the height is superseded. Nothing is sent twice on a guess, and
two nodes without a link between them still hear of each other through a third.
"""

from __future__ import annotations

from tana.consensus.tendermint import Tendermint
from tana.types.messages import (
    PRECOMMIT,
    PREVOTE,
    Announcement,
    BlockPart,
    Proposal,
    RoundVotes,
    Vote,
)

MAX_ROUNDS_ANNOUNCED = 64


def create_announcement(core: Tendermint) -> Announcement:
    """What `core` holds of the height it decides. Of very many rounds the latest are listed."""
    rounds = sorted({*core.votes.rounds(), *core.proposals})[-MAX_ROUNDS_ANNOUNCED:]
    return Announcement(
        height=core.height,
        round=core.round,
        step=int(core.step),
        rounds=tuple(
            RoundVotes(
                round=round,
                prevotes_mask=core.votes.get(round, PREVOTE).mask(),
                precommits_mask=core.votes.get(round, PRECOMMIT).mask(),
                proposal=round in core.proposals,
            )
            for round in rounds
        ),
        blocks=tuple(sorted(core.blocks)),
    )


def find_lacking(core: Tendermint, peer: Announcement) -> list[Vote | Proposal | BlockPart]:
    """What this node holds, that a peer at the same height needs and has not announced. Proposals come first.

    Needed are the rounds from the peer's previous one on, those that a re-proposal refers to, and the deciding one.
    """
    assert peer.height == core.height
    held = {item.round: item for item in peer.rounds}
    lacking: list[Vote | Proposal | BlockPart] = []
    for round in _needed_rounds(core, peer):
        item = held.get(round) or RoundVotes(round, b"", b"", proposal=False)
        proposal = core.proposals.get(round)
        if proposal is not None and not item.proposal:
            lacking.append(proposal)
        block = core.blocks.get(proposal.block_hash) if proposal is not None else None
        if block is not None and block.hash not in peer.blocks:
            lacking.append(BlockPart(core.height, block.data))
        lacking += core.votes.get(round, PREVOTE).missing_from(item.prevotes_mask)
        lacking += core.votes.get(round, PRECOMMIT).missing_from(item.precommits_mask)
    return lacking


def _needed_rounds(core: Tendermint, peer: Announcement) -> list[int]:
    known = {*core.votes.rounds(), *core.proposals}
    needed = {round for round in known if round >= peer.round - 1}
    needed |= {proposal.valid_round for round, proposal in core.proposals.items() if round in needed}
    needed |= {core.valid_round} | ({core.votes.decision[0]} if core.votes.decision else set())
    return sorted(needed & known)
