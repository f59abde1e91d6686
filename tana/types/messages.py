"""Messages between peers: votes and proposals, what a node holds, evidence, transactions, final blocks.

The structs decode strictly: a wrong type, length or field count is refused by `decode_message`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from tana.types.block import Certificate, CommitSignature, RawTransaction
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.fields import Hash, Height, PublicKey, Round
from tana.types.sign_bytes import proposal_sign_bytes, vote_sign_bytes
from tana.types.vote import PRECOMMIT, PREVOTE, VOTE_NAMES, Proposal, Vote

__all__ = [
    "PRECOMMIT",
    "PREVOTE",
    "VOTE_NAMES",
    "Announcement",
    "BlockPart",
    "Blocks",
    "BlocksRequest",
    "EvidenceMessage",
    "FinalBlock",
    "PastVotes",
    "PeerMessage",
    "Proposal",
    "RoundVotes",
    "Transactions",
    "Vote",
    "VoteQuorum",
    "decode_message",
    "proposal_sign_bytes",
    "vote_sign_bytes",
]


class BlockPart(msgspec.Struct, frozen=True, array_like=True, tag="block", forbid_unknown_fields=True):
    """The bytes of a proposed block. Unsigned: its hash is what a proposal signs."""

    height: Height
    data: bytes


class RoundVotes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node holds of one round.

    `prevotes` and `precommits` have a tag of `TAG_BYTES` for each validator of the height's set, in its order (see
    `tana/consensus/votes.py`), `proposal` has one or is empty. Tags tell values apart, so that two nodes to which one
    validator said different things find out. The flags say that one value has a quorum in this node's eyes.
    """

    round: Round
    proposal: Annotated[bytes, msgspec.Meta(max_length=4)]
    prevotes: Annotated[bytes, msgspec.Meta(max_length=1024)]
    precommits: Annotated[bytes, msgspec.Meta(max_length=1024)]
    has_prevote_quorum: bool
    has_precommit_quorum: bool


class PastVotes(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node holds of a height decided lately."""

    height: Height
    rounds: Annotated[tuple[RoundVotes, ...], msgspec.Meta(max_length=4)]


class Announcement(msgspec.Struct, frozen=True, array_like=True, tag="announce", forbid_unknown_fields=True):
    """What a node has of its current height, so that a peer can send what it lacks (and nothing else).

    `height` is the height being decided; `blocks` are the hashes of the proposed blocks it holds whole, `past` what
    it was told of the heights before, `accused` the validators against whom it holds evidence.
    """

    height: Height
    round: Annotated[int, msgspec.Meta(ge=-1, le=2**31)]
    step: Annotated[int, msgspec.Meta(ge=0, le=3)]
    rounds: Annotated[tuple[RoundVotes, ...], msgspec.Meta(max_length=64)]
    blocks: Annotated[tuple[Hash, ...], msgspec.Meta(max_length=64)]
    past: Annotated[tuple[PastVotes, ...], msgspec.Meta(max_length=16)]
    accused: Annotated[tuple[PublicKey, ...], msgspec.Meta(max_length=64)]


class VoteQuorum(msgspec.Struct, frozen=True, array_like=True, tag="quorum", forbid_unknown_fields=True):
    """Votes of one round for one value (None: nil) with more than two thirds of the power: a polka or a commit, whole.

    For a peer that does not see the quorum though it may have heard from every validator: a traitor told it otherwise.
    """

    kind: Annotated[int, msgspec.Meta(ge=1, le=2)]
    height: Height
    round: Round
    block_hash: Hash | None
    signatures: Annotated[tuple[CommitSignature, ...], msgspec.Meta(max_length=256)]

    def list_votes(self) -> list[Vote]:
        return [
            Vote(self.kind, self.height, self.round, self.block_hash, item.validator, item.signature)
            for item in self.signatures
        ]


class EvidenceMessage(msgspec.Struct, frozen=True, array_like=True, tag="evidence", forbid_unknown_fields=True):
    """Evidence on its way to whoever proposes next."""

    evidence: Evidence


class Transactions(msgspec.Struct, frozen=True, array_like=True, tag="transactions", forbid_unknown_fields=True):
    """Transactions on their way into the peers' mempools."""

    transactions: Annotated[tuple[RawTransaction, ...], msgspec.Meta(max_length=1000)]


class BlocksRequest(msgspec.Struct, frozen=True, array_like=True, tag="get_blocks", forbid_unknown_fields=True):
    """Asks for final blocks from `first_height` on; the answer holds as many as fit."""

    first_height: Height
    last_height: Height


class FinalBlock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A final block's bytes with a certificate for it."""

    data: bytes
    certificate: Certificate


class Blocks(msgspec.Struct, frozen=True, array_like=True, tag="blocks", forbid_unknown_fields=True):
    """The answer to a `BlocksRequest`: consecutive final blocks, possibly none."""

    blocks: Annotated[tuple[FinalBlock, ...], msgspec.Meta(max_length=256)]


PeerMessage = (
    Vote | Proposal | BlockPart | VoteQuorum | Announcement | EvidenceMessage | Transactions | BlocksRequest | Blocks
)

_message_decoder: msgspec.msgpack.Decoder[PeerMessage] = msgspec.msgpack.Decoder(PeerMessage)


def decode_message(data: bytes) -> PeerMessage:
    """A message from a peer's frame. Raises `InvalidInput` for any other bytes."""
    try:
        return _message_decoder.decode(data)
    # A tag that is not UTF-8 is a UnicodeDecodeError, which is no DecodeError.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the frame cannot be decoded: {error}", code="malformed_frame") from None
